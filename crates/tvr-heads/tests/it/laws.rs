//! The laws themselves: they hold for every seed, and a wrong head breaks the one that it should.

use burn::module::{Module, Param};
use burn::prelude::*;
use proptest::prelude::*;
use tvr_heads::experts::ExpertInput;
use tvr_heads::laws::{self, Broken, Draw, Expected};
use tvr_heads::{
    Head, Needs, Similarity, StreamSimilarity, TextCodes, TextFeatures, Vectors, VideoCodes, VideoFeatures,
    cosine,
};
use tvr_nn::{masked_mean, unit_rows};

use crate::common::{mean_pooling, seq_transf};
use crate::conformance::{PLAIN, holds};

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4))]

    #[test]
    fn laws_hold_for_any_seed(seed: u64) {
        holds(laws::check(&mean_pooling(), &PLAIN, seed));
        holds(laws::check(&seq_transf(seed), &PLAIN, seed)); // in time
    }
}

/// What is wrong with a head that is otherwise the mean of the frames.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Wrong {
    /// Padding counts.
    Mask,
    /// Padded tokens count.
    TokenMask,
    /// A code has something of the next video's.
    NeighbourInCodes,
    /// A pair has something of the row above it: another text.
    NeighbourInPairs,
    /// A text's place in the batch counts.
    Place,
    /// Pairs on the diagonal are favoured.
    Diagonal,
    /// It divides by norms that may be 0.
    Norm,
    /// Transposed.
    Shape,
    /// Names a stream that it does not have.
    Streams,
    /// Says that it reads time.
    Timeless,
    /// Reads time and does not say so.
    Timely,
    /// A masked frame is taken times 0, which leaves a NaN.
    TimesMask,
    /// A small part of a batch has no gradient.
    Detached,
    /// Other similarities on a graph, as with dropout.
    Training,
    /// A weight that is in no record.
    Unsaved,
    /// Burn stops at its shapes.
    Panics,
    /// Says that it is a cosine, and is less.
    Cosine,
    /// Says that it is made of two cosines, and names the vectors of one.
    Cosines,
}

#[derive(Module, Debug)]
struct Flawed {
    weight: Param<Tensor<1>>,
    #[module(skip)]
    unsaved: f64,
    #[module(skip)]
    wrong: Option<Wrong>,
}

impl Flawed {
    fn new(wrong: Option<Wrong>, seed: u64) -> Self {
        let weight = Draw::new(seed).tensor([8], &Device::flex());
        Self { weight: Param::from_tensor(weight), unsaved: 1.0 + seed as f64, wrong }
    }

    fn is(&self, wrong: Wrong) -> bool {
        self.wrong == Some(wrong)
    }
}

impl Head for Flawed {
    fn needs(&self) -> Needs {
        Needs { frames: true, tokens: true, in_time: self.is(Wrong::Timeless), ..Needs::default() }
    }

    fn streams(&self) -> Vec<&'static str> {
        if self.is(Wrong::Streams) { vec!["verbs"] } else { Vec::new() }
    }

    fn code_videos(&self, videos: VideoFeatures) -> VideoCodes {
        let VideoFeatures { mut frames, mask, .. } = videos;
        let [items, steps, _] = frames.dims();
        if self.is(Wrong::Timely) {
            let device = frames.device();
            let rising =
                Tensor::<1, Int>::arange(1..steps as i64 + 1, &device).float().reshape([1, steps, 1]);
            frames = frames * rising;
        }
        let mut mean = match self.wrong {
            Some(Wrong::Mask) => frames.mean_dim(1).squeeze_dim::<2>(1),
            Some(Wrong::TimesMask) => {
                let weights = mask.float().unsqueeze_dim::<3>(2);
                (frames * weights.clone()).sum_dim(1).squeeze_dim::<2>(1)
                    / weights.sum_dim(1).squeeze_dim::<2>(1)
            }
            _ => masked_mean(frames, mask),
        };
        if self.is(Wrong::NeighbourInCodes) && items > 1 {
            let next =
                Tensor::cat(vec![mean.clone().slice_dim(0, 1..items), mean.clone().slice_dim(0, 0..1)], 0);
            mean = mean + next * 0.1;
        }
        if self.is(Wrong::Detached) && items < 3 {
            mean = mean.detach();
        }
        let mean = mean * self.weight.val().unsqueeze::<2>();
        VideoCodes::new(match self.wrong {
            Some(Wrong::Norm) => mean.clone() / mean.powf_scalar(2.0).sum_dim(1).sqrt(),
            _ => unit_rows(mean),
        })
    }

    fn code_texts(&self, texts: TextFeatures) -> TextCodes {
        let tokens = texts.tokens.unwrap();
        let mean = match self.wrong {
            Some(Wrong::TokenMask) => tokens.features.mean_dim(1).squeeze_dim::<2>(1),
            _ => masked_mean(tokens.features, tokens.mask),
        };
        TextCodes::new(unit_rows(texts.pooled + mean))
    }

    fn n_cosines(&self) -> usize {
        match self.wrong {
            Some(Wrong::Cosine) => 1,
            Some(Wrong::Cosines) => 2,
            _ => 0,
        }
    }

    fn vectors(&self, texts: &TextCodes, videos: &VideoCodes) -> Vec<Vectors> {
        vec![Vectors::of_items(texts.pooled.clone(), videos.pooled.clone())]
    }

    fn similarity(&self, texts: &TextCodes, videos: &VideoCodes) -> Similarity {
        let cosines = cosine(texts, videos);
        let [rows, columns] = cosines.dims();
        let device = cosines.device();
        let place = Tensor::<1, Int>::arange(0..rows as i64, &device).float().unsqueeze_dim::<2>(1) * 0.01;
        Similarity::of(match self.wrong {
            Some(Wrong::NeighbourInPairs) => {
                let above = Tensor::cat(
                    vec![
                        cosines.clone().slice_dim(0, rows - 1..rows),
                        cosines.clone().slice_dim(0, 0..rows - 1),
                    ]
                    .into_iter()
                    .filter(|part| part.dims()[0] > 0)
                    .collect(),
                    0,
                );
                cosines * 0.9 + above * 0.1
            }
            // So small that the first text of a tile is as it was.
            Some(Wrong::Place) => cosines * 0.5 + place,
            Some(Wrong::Diagonal) => {
                cosines * 0.9
                    + Tensor::<2>::eye(rows.max(columns), &device).slice(s![0..rows, 0..columns]) * 0.1
            }
            Some(Wrong::Shape) => cosines.transpose(),
            Some(Wrong::Cosine) => cosines * 0.9,
            Some(Wrong::Unsaved) => cosines / self.unsaved,
            Some(Wrong::Training) if cosines.is_autodiff() => cosines * 0.9,
            Some(Wrong::Panics) => cosines.slice_dim(1, 0..3) + Tensor::<2>::ones([1, 2], &device),
            _ => cosines,
        })
    }
}

/// The law that a head breaks; none where it keeps all.
fn broken(wrong: Option<Wrong>) -> Option<Broken> {
    let check = |seed: u64| laws::check(&Flawed::new(wrong, seed), &PLAIN, seed).err();
    let found: Vec<Option<Broken>> = (0..3).map(check).collect();
    let law = |broken: &Option<Broken>| broken.as_ref().map(|broken| broken.law);
    assert!(found.iter().all(|broken| law(broken) == law(&found[0])), "{found:?}");
    found.into_iter().next().unwrap()
}

#[test]
fn a_wrong_head_breaks_the_law_that_names_its_fault() {
    assert_eq!(broken(None), None);
    let expected = [
        (Wrong::Shape, "shapes_are_texts_by_videos"),
        (Wrong::Streams, "shapes_are_texts_by_videos"),
        (Wrong::Panics, "shapes_are_texts_by_videos"),
        (Wrong::Norm, "extremes_stay_finite"),
        (Wrong::Mask, "padding_changes_nothing"),
        (Wrong::TokenMask, "padded_tokens_change_nothing"),
        (Wrong::NeighbourInCodes, "chunks_give_the_same_codes"),
        (Wrong::NeighbourInPairs, "tiles_give_the_same_scores"),
        (Wrong::Place, "tiles_give_the_same_scores"),
        (Wrong::Diagonal, "tiles_give_the_same_scores"),
        (Wrong::Cosine, "cosines_make_the_similarity"),
        (Wrong::Cosines, "cosines_make_the_similarity"),
        (Wrong::Timeless, "frames_are_a_set_unless_read_in_time"),
        (Wrong::Timely, "frames_are_a_set_unless_read_in_time"),
        (Wrong::TimesMask, "broken_features_are_refused_by_name"),
        (Wrong::Training, "training_and_inference_agree"),
        (Wrong::Detached, "parts_give_the_gradient_of_the_whole"),
    ];
    for (wrong, law) in expected {
        assert_eq!(broken(Some(wrong)).map(|broken| broken.law), Some(law), "{wrong:?}");
    }
}

#[test]
fn a_look_at_other_items_breaks_every_law_of_pairs() {
    type Law = fn(&Flawed, &Expected, u64) -> Result<(), Broken>;
    let laws: [(&str, Law); 4] = [
        ("alone", laws::a_batch_of_one_is_a_row_of_many),
        ("permuted", laws::permuted_captions_permute_rows_only),
        ("one query", laws::one_query_at_a_time_is_the_whole),
        ("queries leave", laws::columns_stay_when_queries_leave),
    ];
    for (name, law) in laws {
        holds(law(&Flawed::new(None, 1), &PLAIN, 1));
        for wrong in [Wrong::NeighbourInPairs, Wrong::Place, Wrong::Diagonal] {
            assert!(law(&Flawed::new(Some(wrong), 1), &PLAIN, 1).is_err(), "{name}: {wrong:?}");
        }
    }
}

#[test]
fn a_state_that_no_record_holds_is_found() {
    let restored = |wrong| {
        let (head, other) = (Flawed::new(wrong, 1), Flawed::new(wrong, 2));
        laws::the_record_restores_the_head(&head, other, &PLAIN, 1)
    };
    holds(restored(None));
    assert_eq!(restored(Some(Wrong::Unsaved)).unwrap_err().law, "the_record_restores_the_head");
}

#[test]
fn a_broken_law_says_what_was_found() {
    let said = broken(Some(Wrong::Streams)).unwrap();
    assert_eq!(
        said.to_string(),
        "shapes_are_texts_by_videos is broken at seed 0: 5 texts, 3 videos, 4 frames: streams [], but the head names \
         [\"verbs\"]"
    );
    let said = broken(Some(Wrong::Panics)).unwrap();
    assert!(said.found.starts_with("the method panicked: "), "{said}");
}

/// Has needs that no built-in head has.
#[derive(Module, Debug)]
struct Demanding;

impl Head for Demanding {
    fn needs(&self) -> Needs {
        Needs {
            tokens: true,
            streams: vec!["verbs"],
            experts: vec![ExpertInput { name: "smell".into(), width: 19 }],
            max_frames: Some(1),
            ..Needs::default()
        }
    }

    fn streams(&self) -> Vec<&'static str> {
        vec!["verbs"]
    }

    fn code_videos(&self, videos: VideoFeatures) -> VideoCodes {
        assert_eq!(videos.frames.dims()[1..], [1, 12]);
        let smell = videos.experts.into_iter().find(|expert| expert.name == "smell").unwrap();
        let smell = masked_mean(smell.features, smell.mask).slice_dim(1, 0..12);
        VideoCodes::new(unit_rows(smell))
    }

    fn code_texts(&self, texts: TextFeatures) -> TextCodes {
        let verbs = texts.streams.iter().find(|stream| stream.name == "verbs").unwrap();
        let available = verbs.available.clone().float().unsqueeze_dim::<2>(1);
        TextCodes::new(unit_rows(verbs.pooled.clone())).with_extra("available", available)
    }

    fn similarity(&self, texts: &TextCodes, videos: &VideoCodes) -> Similarity {
        let fused = cosine(texts, videos);
        let available = texts.extra("available").unwrap().clone().squeeze_dim::<1>(1).greater_elem(0.5);
        let stream = StreamSimilarity { name: "verbs", similarity: fused.clone(), available };
        Similarity { fused, streams: vec![stream] }
    }
}

#[test]
fn a_head_gets_what_it_needs() {
    holds(laws::check(&Demanding, &Expected { width: 12, ..Expected::PLAIN }, 0));
}
