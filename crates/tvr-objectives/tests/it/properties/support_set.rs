//! Support-set: weights, leaks, bank, decoder, and captions told.

use burn::prelude::*;
use burn::tensor::DType;
use proptest::prelude::*;
use tvr_objectives::support_set::generate::{beam, greedy};
use tvr_objectives::support_set::{Captions, Decoder};
use tvr_objectives::{
    CaptionTokens, ContrastiveConfig, DecoderConfig, HingeConfig, Objective, Pairs, Support, SupportSet,
    SupportSetConfig, SymmetricConfig,
};

use crate::common::{
    Batch, Draw, Rows, VOCABULARY, WIDTH, assert_close, captions, cast, diagonal, floats, indices, matrix,
    scale, small_decoder,
};

const SUPPORTS: [Support; 4] = [Support::Identity, Support::Full, Support::Hybrid, Support::Cross];

fn config(support: Support) -> SupportSetConfig {
    SupportSetConfig { support, decoder: small_decoder(), ..SupportSetConfig::paper() }
}

fn built(config: &SupportSetConfig, seed: u64) -> SupportSet {
    let device = Device::flex();
    let _alone = crate::generator();
    device.seed(seed);
    let objective = config.init(WIDTH, VOCABULARY, &device).unwrap();
    tvr_nn::touch(&objective);
    cast(&objective, DType::F64)
}

fn decoder(seed: u64) -> Decoder {
    built(&config(Support::Full), seed).decoder
}

/// A batch of vectors of its own, of lengths other than 1.
fn batch(seed: u64, texts: usize, videos: usize) -> Batch {
    let mut draw = Draw::new(seed);
    let (of_texts, of_videos) = (draw.scores(texts, WIDTH, 2.0), draw.scores(videos, WIDTH, 2.0));
    let same = draw.same(texts, videos);
    let (of_texts, of_videos) = (matrix(&of_texts), matrix(&of_videos));
    let similarity = of_texts.clone().matmul(of_videos.clone().transpose());
    Batch {
        streams: Vec::new(),
        texts: of_texts,
        videos: of_videos,
        captions: captions(&diagonal(texts), &Device::flex()),
        same: indices(&same),
        scale: scale(1.0),
        video_ids: indices(&(10..10 + videos).collect::<Vec<_>>()),
        similarity,
    }
}

fn same_of(batch: &Batch) -> Vec<usize> {
    batch.same.to_data().iter::<i64>().map(|video| video as usize).collect()
}

/// Weights row by row.
fn weights(objective: &SupportSet, batch: &Batch) -> Rows {
    let weights = objective.told(&batch.pairs()).unwrap().weights;
    let [_, columns] = weights.dims();
    floats(&weights).chunks(columns).map(<[f64]>::to_vec).collect()
}

fn codes(objective: &SupportSet, batch: &Batch) -> Rows {
    let codes = objective.told(&batch.pairs()).unwrap().codes;
    floats(&codes).chunks(WIDTH).map(<[f64]>::to_vec).collect()
}

fn replaced_row(x: &Tensor<2>, row: usize, values: &[f64]) -> Tensor<2> {
    let [_, columns] = x.dims();
    let mut rows: Rows = floats(x).chunks(columns).map(<[f64]>::to_vec).collect();
    rows[row] = values.to_vec();
    matrix(&rows)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn p_ss_1_weights_are_a_distribution_over_the_support(
        texts in 1usize..7, videos in 2usize..6, log_temperature in -2f64..2.0, seed: u64,
    ) {
        let batch = batch(seed, texts, videos);
        let same = same_of(&batch);
        let temperature = 10f64.powf(log_temperature) as f32;
        let of = |support| weights(&built(&SupportSetConfig { temperature, ..config(support) }, 1), &batch);
        for support in SUPPORTS {
            for (text, row) in of(support).iter().enumerate() {
                assert_close(&[row.iter().sum::<f64>()], &[1.0], 1e-6);
                for (video, &weight) in row.iter().enumerate() {
                    prop_assert!(weight >= 0.0);
                    let inside = match support {
                        Support::Identity => video == same[text],
                        Support::Cross => video != same[text],
                        Support::Full | Support::Hybrid => true,
                    };
                    prop_assert!(inside || weight == 0.0);
                }
            }
        }
        let half: Vec<f64> =
            of(Support::Identity).concat().iter().zip(of(Support::Full).concat()).map(|(a, b)| (a + b) / 2.0).collect();
        assert_close(&of(Support::Hybrid).concat(), &half, 1e-12);
    }

    #[test]
    fn p_ss_2_under_cross_a_code_does_not_know_its_video(texts in 2usize..7, videos in 2usize..5, seed: u64) {
        let objective = built(&config(Support::Cross), 1);
        let mut batch = batch(seed, texts, videos);
        let (before, same) = (codes(&objective, &batch), same_of(&batch));
        for video in 0..videos {
            let kept = batch.videos.clone();
            batch.videos = replaced_row(&kept, video, &Draw::new(seed ^ 7).scores(1, WIDTH, 50.0)[0]);
            let after = codes(&objective, &batch);
            for text in 0..texts {
                // Every caption of that video, and no other.
                prop_assert_eq!(before[text] == after[text], same[text] == video);
            }
            batch.videos = kept;
        }
    }

    #[test]
    fn p_ss_2_under_identity_a_code_is_its_video(texts in 1usize..7, videos in 1usize..5, seed: u64) {
        let objective = built(&config(Support::Identity), 1);
        let mut batch = batch(seed, texts, videos);
        let before = codes(&objective, &batch);
        let rows: Rows = floats(&batch.videos).chunks(WIDTH).map(<[f64]>::to_vec).collect();
        for (code, &video) in before.iter().zip(&same_of(&batch)) {
            prop_assert_eq!(code, &rows[video]);
        }
        batch.texts = batch.texts.clone() * -3.0 + 1.0;
        prop_assert_eq!(codes(&objective, &batch), before);
    }

    #[test]
    fn p_ss_3_a_permuted_batch_has_permuted_codes_and_the_same_loss(
        texts in 1usize..7, videos in 2usize..5, seed: u64,
    ) {
        for support in SUPPORTS {
            let objective = built(&config(support), 1);
            let one = batch(seed, texts, videos);
            let [order, places] = [texts, videos].map(|items| Draw::new(seed ^ 3).order(items));
            let pick = |x: &Tensor<2>, order: &[usize]| x.clone().select(0, indices(order));
            let same: Vec<usize> = order
                .iter()
                .map(|&text| places.iter().position(|&from| from == same_of(&one)[text]).unwrap())
                .collect();
            let other = Batch {
        streams: Vec::new(),
                texts: pick(&one.texts, &order),
                videos: pick(&one.videos, &places),
                similarity: pick(&one.similarity, &order).select(1, indices(&places)),
                same: indices(&same),
                captions: captions(&order, &Device::flex()),
                scale: scale(1.0),
                video_ids: one.video_ids.clone().select(0, indices(&places)),
            };
            let (before, after) = (codes(&objective, &one), codes(&objective, &other));
            for (place, &text) in order.iter().enumerate() {
                assert_close(&after[place], &before[text], 1e-9);
            }
            let total = |batch: &Batch| objective.loss(&batch.pairs()).total.into_scalar::<f64>();
            assert_close(&[total(&other)], &[total(&one)], 1e-9);
        }
    }

    #[test]
    fn p_ss_4_the_temperature_goes_from_the_nearest_to_all_alike(
        texts in 1usize..6, videos in 2usize..6, seed: u64,
    ) {
        let batch = batch(seed, texts, videos);
        let same = same_of(&batch);
        let hot = built(&SupportSetConfig { temperature: 1e6, ..config(Support::Cross) }, 1);
        for row in weights(&hot, &batch) {
            for weight in row.into_iter().filter(|&weight| weight > 0.0) {
                assert_close(&[weight], &[1.0 / (videos - 1) as f64], 1e-4);
            }
        }
        let cold = built(&SupportSetConfig { temperature: 1e-3, ..config(Support::Cross) }, 1);
        let unit = |x: &Tensor<2>| -> Rows {
            floats(x)
                .chunks(WIDTH)
                .map(|row| {
                    let length = row.iter().map(|x| x * x).sum::<f64>().sqrt();
                    row.iter().map(|x| x / length).collect()
                })
                .collect()
        };
        let (of_texts, of_videos) = (unit(&batch.texts), unit(&batch.videos));
        for (text, row) in weights(&cold, &batch).iter().enumerate() {
            let cosine = |video: usize| of_texts[text].iter().zip(&of_videos[video]).map(|(a, b)| a * b).sum::<f64>();
            let mut others: Vec<usize> = (0..videos).filter(|&video| video != same[text]).collect();
            others.sort_by(|&a, &b| cosine(b).total_cmp(&cosine(a)));
            if others.len() == 1 || cosine(others[0]) - cosine(others[1]) >= 0.1 {
                assert_close(&[row[others[0]]], &[1.0], 1e-6);
            }
        }
    }

    #[test]
    fn p_ss_7_no_place_sees_its_own_token_or_a_later_one(place in 0usize..5, seed: u64) {
        let decoder = decoder(seed);
        let mut draw = Draw::new(seed);
        let codes = matrix(&draw.scores(3, WIDTH, 1.0));
        let tokens: Vec<usize> = (0..15).map(|_| draw.below(VOCABULARY)).collect();
        let ids = |tokens: &[usize]| indices(tokens).reshape([3, 5]);
        let before = decoder.logits(codes.clone(), ids(&tokens)).slice_dim(1, 0..place + 1);
        let mut changed = tokens.clone();
        for at in (0..15).filter(|at| at % 5 >= place) {
            changed[at] = (changed[at] + 1 + draw.below(VOCABULARY - 1)) % VOCABULARY;
        }
        let logits = decoder.logits(codes.clone(), ids(&changed));
        prop_assert_eq!(floats(&logits.clone().slice_dim(1, 0..place + 1)), floats(&before));
        if place < 4 {
            let later = decoder.logits(codes.clone(), ids(&tokens)).slice_dim(1, place + 1..5);
            prop_assert_ne!(floats(&logits.slice_dim(1, place + 1..5)), floats(&later));
        }
        // The code reaches every place.
        let other = decoder.logits(codes + 1.0, ids(&tokens));
        prop_assert_ne!(floats(&other.slice_dim(1, place..place + 1)), floats(&before.slice_dim(1, place..place + 1)));
    }
}

/// Value of the caption loss, and its gradients by the codes and the embedding.
fn caption_loss(
    decoder: &Decoder,
    codes: &Tensor<2>,
    captions: &CaptionTokens,
    of: Captions,
) -> [Vec<f64>; 3] {
    let decoder = decoder.clone().train();
    let codes = Tensor::from_inner(codes.clone()).require_grad();
    let [texts, _] = codes.dims();
    let device = codes.device();
    let captions = CaptionTokens {
        ids: captions.ids.clone().to_device(&device),
        mask: captions.mask.clone().to_device(&device),
    };
    let loss = decoder.loss(codes.clone(), &captions, &vec![true; texts], of);
    let gradients = loss.backward();
    let of_embedding = decoder.embedding.val().grad(&gradients).unwrap();
    [floats(&loss), floats(&codes.grad(&gradients).unwrap()), floats(&of_embedding)]
}

#[test]
fn p_ss_7_padding_changes_neither_loss_nor_gradient() {
    let decoder = decoder(5);
    let codes = matrix(&Draw::new(5).scores(4, WIDTH, 1.0));
    let device = Device::flex();
    for of in [Captions::Mean, Captions::Sum] {
        let plain = captions(&[0, 1, 2, 3], &device); // lengths 1 to 4 of 5
        let expected = caption_loss(&decoder, &codes, &plain, of);
        // Other tokens at padding, even such as the vocabulary does not have.
        let garbage = CaptionTokens {
            ids: plain.ids.clone().mask_fill(plain.mask.clone().bool_not(), 999),
            mask: plain.mask.clone(),
        };
        for (found, expected) in caption_loss(&decoder, &codes, &garbage, of).iter().zip(&expected) {
            assert_close(found, expected, 1e-12);
        }
        // The longest has four tokens; a padded place less.
        let short = CaptionTokens {
            ids: plain.ids.clone().slice_dim(1, 0..4),
            mask: plain.mask.clone().slice_dim(1, 0..4),
        };
        for (found, expected) in caption_loss(&decoder, &codes, &short, of).iter().zip(&expected) {
            assert_close(found, expected, 1e-9);
        }
        // A caption of nothing.
        let nothing = captions(&[0, 1, 2, 3, 4], &device);
        let rows = Tensor::<1, Int>::arange(0..5, &device).reshape([5, 1]).expand([5, 5]);
        let nothing = CaptionTokens { mask: nothing.mask.bool_and(rows.lower_elem(4)), ..nothing };
        let longer = Tensor::cat(vec![codes.clone(), codes.clone().slice_dim(0, 0..1) * 9.0], 0);
        let [loss, of_codes, of_embedding] = caption_loss(&decoder, &longer, &nothing, of);
        assert_close(&loss, &expected[0], 1e-9);
        assert_close(&of_codes[..4 * WIDTH], &expected[1], 1e-9);
        assert!(of_codes[4 * WIDTH..].iter().all(|&slope| slope == 0.0));
        assert_close(&of_embedding, &expected[2], 1e-9);
    }
}

#[test]
fn p_ss_7_the_caption_loss_is_the_mean_of_what_the_logits_say() {
    let decoder = decoder(6);
    let codes = matrix(&Draw::new(6).scores(4, WIDTH, 1.0));
    let tokens = captions(&[0, 1, 2, 3], &Device::flex());
    let logits = floats(&decoder.logits(codes.clone(), tokens.ids.clone()));
    let ids: Vec<usize> = tokens.ids.to_data().iter::<i64>().map(|id| id as usize).collect();
    for of in [Captions::Mean, Captions::Sum] {
        let expected: f64 = (0..4)
            .map(|text| {
                let length = 1 + text;
                let told: f64 = (0..length)
                    .map(|at| {
                        let row = &logits[(text * 5 + at) * VOCABULARY..][..VOCABULARY];
                        row[ids[text * 5 + at]] - row.iter().map(|x| x.exp()).sum::<f64>().ln()
                    })
                    .sum();
                -told / if of == Captions::Mean { length as f64 } else { 1.0 } / 4.0
            })
            .sum();
        assert_close(&caption_loss(&decoder, &codes, &tokens, of)[0], &[expected], 1e-9);
    }
}

#[test]
fn p_ss_7_tied_embeddings_are_one_parameter_of_the_record() {
    let decoder = decoder(7);
    struct Sizes(Vec<usize>);
    impl burn::module::ModuleVisitor for Sizes {
        fn visit_float<const D: usize>(&mut self, parameter: &burn::module::Param<Tensor<D>>) {
            self.0.push(parameter.val().shape().num_elements());
        }
    }
    let mut sizes = Sizes(Vec::new());
    decoder.visit(&mut sizes);
    let of_words = sizes.0.iter().filter(|&&size| size == VOCABULARY * small_decoder().width).count();
    assert_eq!(of_words, 1, "{:?}", sizes.0);
    // A longer row of one word raises that word's score at every place: it is the output's parameter too.
    let codes = matrix(&Draw::new(7).scores(1, WIDTH, 1.0));
    let ids = indices(&[1, 1]).reshape([1, 2]);
    let before = floats(&decoder.logits(codes.clone(), ids.clone()));
    let mut changed = decoder.clone();
    changed.embedding = changed.embedding.map(|rows| {
        let [words, width] = rows.dims();
        let row = Tensor::<1, Int>::arange(0..words as i64, &rows.device())
            .reshape([words, 1])
            .expand([words, width]);
        rows.clone().mask_where(row.equal_elem(9), rows * 3.0)
    });
    let after = floats(&changed.logits(codes, ids));
    for place in 0..2 {
        let at = place * VOCABULARY;
        assert_close(&[after[at + 9]], &[3.0 * before[at + 9]], 1e-12);
        assert_close(&after[at..at + 9], &before[at..at + 9], 1e-12);
    }
}

#[test]
fn p_ss_5_the_bank_has_no_gradient_and_what_is_masked_in_it_no_weight() {
    let mut objective = built(&SupportSetConfig { bank: 4, ..config(Support::Cross) }, 1);
    let plain = built(&config(Support::Cross), 1);
    let one = batch(1, 3, 3);
    // Entries of the batch's own videos: every text may see those of the others, and none its own.
    objective.after_step(&Batch { video_ids: one.video_ids.clone(), ..batch(2, 3, 3) }.pairs());
    let same = same_of(&one);
    for (text, row) in weights(&objective, &one).iter().enumerate() {
        assert_eq!(row.len(), 6);
        for column in 0..6 {
            assert_eq!(row[column] == 0.0, column % 3 == same[text], "{text}, {column}");
        }
    }
    // Under cross, with a single video, the bank's entries of that video are masked and change nothing.
    let lonely = batch(3, 2, 1);
    let mut own = built(&SupportSetConfig { bank: 4, ..config(Support::Cross) }, 1);
    own.after_step(&Batch { video_ids: lonely.video_ids.clone(), ..batch(4, 1, 1) }.pairs());
    let told = own.told(&lonely.pairs()).unwrap();
    assert!(floats(&told.weights).iter().all(|&weight| weight == 0.0));
    assert_eq!(told.supported, [false, false]);
    let loss = own.loss(&lonely.pairs());
    assert_eq!(loss.parts[1].1.clone().into_scalar::<f64>(), 0.0);
    assert!(loss.total.into_scalar::<f64>().is_finite());
    // Without the bank such a batch is refused, and with a stranger in the bank it works.
    let refused = lonely.pairs().check(&plain.needs()).unwrap_err();
    assert_eq!(
        refused.to_string(),
        "the objective needs at least 2 videos in a batch, but there is 1; raise train.batch"
    );
    let mut with_bank = built(&SupportSetConfig { bank: 4, ..config(Support::Cross) }, 1);
    assert!(lonely.pairs().check(&with_bank.needs()).is_err());
    with_bank.after_step(&Batch { video_ids: indices(&[77]), ..batch(5, 1, 1) }.pairs());
    lonely.pairs().check(&with_bank.needs()).unwrap();
    assert_close(&weights(&with_bank, &lonely).concat(), &[0.0, 1.0, 0.0, 1.0], 1e-12);
    assert!(with_bank.loss(&lonely.pairs()).parts[1].1.clone().into_scalar::<f64>() > 0.0);
    // No gradient.
    let training = with_bank.train();
    let device = Device::flex().autodiff();
    let lifted = Batch {
        streams: Vec::new(),
        texts: Tensor::from_inner(lonely.texts.clone()).require_grad(),
        videos: Tensor::from_inner(lonely.videos.clone()).require_grad(),
        similarity: Tensor::from_inner(lonely.similarity.clone()),
        same: lonely.same.clone().to_device(&device),
        scale: Tensor::from_inner(scale(1.0)),
        captions: captions(&[0, 1], &device),
        video_ids: lonely.video_ids.clone().to_device(&device),
    };
    let gradients = training.loss(&lifted.pairs()).total.backward();
    let bank = training.bank.as_ref().unwrap();
    assert!(!bank.vectors.val().is_require_grad() && bank.vectors.val().grad(&gradients).is_none());
    assert!(training.decoder.embedding.val().grad(&gradients).is_some());
}

#[test]
fn p_ss_5_gradients_flow_through_the_weights_into_both_sides() {
    let objective = built(&SupportSetConfig { caption_weight: 1.0, ..config(Support::Cross) }, 2).train();
    let plain = batch(8, 3, 3);
    let device = Device::flex().autodiff();
    let lifted = Batch {
        streams: Vec::new(),
        texts: Tensor::from_inner(plain.texts.clone()).require_grad(),
        videos: Tensor::from_inner(plain.videos.clone()).require_grad(),
        similarity: Tensor::from_inner(plain.similarity.clone()),
        same: plain.same.clone().to_device(&device),
        scale: Tensor::from_inner(scale(1.0)),
        captions: captions(&[0, 1, 2], &device),
        video_ids: plain.video_ids.clone().to_device(&device),
    };
    let gradients = objective.loss(&lifted.pairs()).total.backward();
    for side in [&lifted.texts, &lifted.videos] {
        assert!(floats(&side.grad(&gradients).unwrap()).iter().any(|slope| slope.abs() > 1e-9));
    }
}

#[test]
fn p_ss_8_without_weight_the_captions_count_for_nothing() {
    let batch = batch(9, 4, 4);
    let lambda = |caption_weight| built(&SupportSetConfig { caption_weight, ..config(Support::Cross) }, 3);
    let hinge = HingeConfig::paper().init().unwrap().loss(&batch.pairs()).total.into_scalar::<f64>();
    assert_eq!(lambda(0.0).loss(&batch.pairs()).total.into_scalar::<f64>(), hinge);
    let weighted = lambda(2.0).loss(&batch.pairs());
    let caption = weighted.parts[1].1.clone().into_scalar::<f64>();
    assert_close(&[weighted.total.into_scalar()], &[hinge + 2.0 * caption], 1e-12);
    assert!(caption > 0.0);
    // No part of the decoder has a gradient.
    let similarity = Tensor::from_inner(batch.similarity.clone()).require_grad();
    let device = similarity.device();
    let lifted = Batch {
        streams: Vec::new(),
        similarity,
        texts: Tensor::from_inner(batch.texts.clone()),
        videos: Tensor::from_inner(batch.videos.clone()),
        same: batch.same.clone().to_device(&device),
        scale: Tensor::from_inner(scale(1.0)),
        captions: captions(&[0, 1, 2, 3], &device),
        video_ids: batch.video_ids.clone().to_device(&device),
    };
    let objective = lambda(0.0).train();
    let gradients = objective.loss(&lifted.pairs()).total.backward();
    assert!(objective.decoder.embedding.val().grad(&gradients).is_none());
    assert!(objective.decoder.prefix.weight.val().grad(&gradients).is_none());
    // InfoNCE in place of the hinge.
    let contrastive = ContrastiveConfig::Symmetric(SymmetricConfig::ours());
    let objective =
        built(&SupportSetConfig { contrastive, caption_weight: 0.0, ..config(Support::Cross) }, 3);
    let expected = SymmetricConfig::ours().init().unwrap().loss(&batch.pairs()).total.into_scalar::<f64>();
    assert_eq!(objective.loss(&batch.pairs()).total.into_scalar::<f64>(), expected);
}

#[test]
fn the_parts_say_how_narrow_the_support_is() {
    let batch = batch(10, 5, 4);
    for support in SUPPORTS {
        let objective = built(&config(support), 4);
        let loss = objective.loss(&batch.pairs());
        let names: Vec<&str> = loss.parts.iter().map(|(name, _)| name.as_ref()).collect();
        assert_eq!(names, ["contrastive", "caption", "largest_weight"]);
        let rows = weights(&objective, &batch);
        let expected = rows.iter().map(|row| row.iter().copied().fold(0.0, f64::max)).sum::<f64>() / 5.0;
        assert_close(&[loss.parts[2].1.clone().into_scalar()], &[expected], 1e-12);
    }
}

#[test]
fn a_saved_bank_and_decoder_go_on_as_if_never_stopped() {
    let config = SupportSetConfig { bank: 5, ..config(Support::Cross) };
    let mut objective = built(&config, 5);
    for seed in 20..23 {
        let ids = indices(&(0..3).map(|at| 3 * seed as usize + at).collect::<Vec<_>>());
        objective.after_step(&Batch { video_ids: ids, ..batch(seed, 3, 3) }.pairs());
    }
    let next = batch(30, 3, 3);
    let value = |objective: &SupportSet| objective.loss(&next.pairs()).total.into_scalar::<f64>();
    let bytes = objective.clone().into_record().into_bytes().unwrap();
    let record = burn::store::ModuleRecord::from_bytes(bytes).unwrap();
    let resumed = built(&config, 6);
    assert_ne!(value(&resumed), value(&objective));
    assert_eq!(value(&resumed.try_load_record(record).unwrap()), value(&objective));
}

/// The best caption by trying all: the largest mean among those that end.
fn best_of_all(decoder: &Decoder, code: &Tensor<2>, end: u32) -> Vec<u32> {
    let words = VOCABULARY as u32;
    let mut open: Vec<(Vec<u32>, f64)> = vec![(Vec::new(), 0.0)];
    let mut best: Option<(Vec<u32>, f64)> = None;
    for length in 0..decoder.max_tokens() {
        let mut grown = Vec::new();
        for (tokens, sum) in open {
            let mut ids: Vec<usize> = tokens.iter().map(|&token| token as usize).collect();
            ids.push(0);
            let count = ids.len();
            let row = floats(&decoder.logits(code.clone(), indices(&ids).reshape([1, count])));
            let row = &row[length * VOCABULARY..];
            let total = row.iter().map(|x| x.exp()).sum::<f64>().ln();
            for word in 0..words {
                let sum = sum + row[word as usize] - total;
                let mut tokens = tokens.clone();
                tokens.push(word);
                if word == end {
                    let mean = sum / tokens.len() as f64;
                    if best.as_ref().is_none_or(|(_, before)| mean > *before) {
                        best = Some((tokens, mean));
                    }
                } else {
                    grown.push((tokens, sum));
                }
            }
        }
        open = grown;
    }
    let mut tokens = best.unwrap().0;
    tokens.pop();
    tokens
}

#[test]
fn a_beam_of_all_beginnings_finds_the_best_caption_and_one_of_one_is_greedy() {
    let small = DecoderConfig { max_tokens: 3, ..small_decoder() };
    let device = Device::flex();
    let alone = crate::generator();
    device.seed(11);
    let objective = SupportSetConfig { decoder: small, ..config(Support::Full) };
    let objective = objective.init(WIDTH, VOCABULARY, &device).unwrap();
    tvr_nn::touch(&objective);
    drop(alone);
    let mut decoder = cast(&objective, DType::F64).decoder;
    // Weights as drawn say all words alike.
    decoder.embedding = decoder.embedding.map(|rows| rows * 40.0);
    let codes = matrix(&Draw::new(11).scores(4, WIDTH, 2.0));
    let end = 2;
    let told = beam(&decoder, &codes, end, VOCABULARY.pow(2)).unwrap();
    let first = greedy(&decoder, &codes, end).unwrap();
    assert_eq!(first, beam(&decoder, &codes, end, 1).unwrap());
    for item in 0..4 {
        let code = codes.clone().slice_dim(0, item..item + 1);
        assert_eq!(told[item], best_of_all(&decoder, &code, end), "{item}");
        // The likeliest first word, whatever else is in the batch.
        let row = floats(&decoder.logits(code.clone(), indices(&[0]).reshape([1, 1])));
        let word = (0..VOCABULARY).max_by(|&a, &b| row[a].total_cmp(&row[b])).unwrap() as u32;
        assert_eq!(first[item].first(), (word != end).then_some(&word));
        assert_eq!(greedy(&decoder, &code, end).unwrap(), first[item..=item].to_vec());
        assert!(first[item].len() <= 3 && !first[item].contains(&end));
    }
}

#[test]
fn settings_outside_their_domain_are_refused_by_name() {
    let refuse = |config: SupportSetConfig| {
        config.init(WIDTH, VOCABULARY, &Device::flex()).map(|_| ()).unwrap_err().to_string()
    };
    let cross = || config(Support::Cross);
    assert_eq!(
        refuse(SupportSetConfig { temperature: 0.0, ..cross() }),
        "support-set: temperature = 0, but it must be a number above 0"
    );
    assert_eq!(
        refuse(SupportSetConfig { caption_weight: -1.0, ..cross() }),
        "support-set: caption_weight = -1, but it must be a number of 0 or above"
    );
    assert_eq!(
        refuse(SupportSetConfig { bank: 4, ..config(Support::Identity) }),
        "support-set: bank = 4, but it must be 0 where support = \"identity\""
    );
    let decoder = |change: &dyn Fn(&mut DecoderConfig)| {
        let mut config = cross();
        change(&mut config.decoder);
        refuse(config)
    };
    assert_eq!(
        decoder(&|decoder| decoder.layers = 0),
        "support-set: decoder.layers = 0, but it must be a number above 0"
    );
    assert_eq!(
        decoder(&|decoder| decoder.heads = 3),
        "support-set: decoder: block: width = 8 is not a multiple of heads = 3"
    );
    let none = config(Support::Cross).init(WIDTH, 0, &Device::flex()).map(|_| ()).unwrap_err().to_string();
    assert_eq!(none, "support-set: vocabulary = 0, but it must be a number above 0");
    let told = |end, width| {
        let codes = matrix(&Draw::new(1).scores(1, WIDTH, 1.0));
        beam(&decoder_of_one(), &codes, end, width).unwrap_err().to_string()
    };
    assert_eq!(told(0, 0), "support-set: beam width = 0, but it must be a number above 0");
    assert_eq!(told(99, 1), "support-set: end token = 99, but it must be below the decoder's vocabulary");
}

fn decoder_of_one() -> Decoder {
    decoder(1)
}

#[test]
fn a_text_row_of_a_recipe_makes_the_settings() {
    let text = r#"{"support": "full", "bank": 64, "contrastive": {"kind": "symmetric"}}"#;
    let config: SupportSetConfig = serde_json::from_str(text).unwrap();
    assert_eq!((config.support, config.bank, config.temperature), (Support::Full, 64, 0.1));
    assert_eq!(config.contrastive, ContrastiveConfig::Symmetric(SymmetricConfig::ours()));
    assert_eq!(config.decoder, DecoderConfig::ours());
    assert_eq!(serde_json::from_str::<SupportSetConfig>("{}").unwrap(), SupportSetConfig::paper());
    let error = serde_json::from_str::<SupportSetConfig>(r#"{"lambda": 1.0}"#).unwrap_err();
    assert!(error.to_string().contains("unknown field `lambda`"), "{error}");
}

#[test]
fn a_batch_without_vectors_or_captions_is_refused_by_name() {
    let batch = batch(1, 3, 3);
    let needs = built(&config(Support::Full), 1).needs();
    let refuse = |pairs: Pairs| pairs.check(&needs).unwrap_err().to_string();
    assert_eq!(
        refuse(Pairs { videos: None, ..batch.pairs() }),
        "the objective needs video vectors, but the batch carries none"
    );
    assert_eq!(
        refuse(Pairs { captions: None, ..batch.pairs() }),
        "the objective needs caption tokens, but the batch carries none"
    );
    assert_eq!(
        refuse(Pairs { video_ids: None, ..batch.pairs() }),
        "the objective needs video numbers, but the batch carries none"
    );
}
