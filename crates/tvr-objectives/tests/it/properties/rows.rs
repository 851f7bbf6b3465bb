//! Shares of a batch: the losses that are sums over rows.

use burn::prelude::*;
use burn::tensor::DType;
use proptest::prelude::*;
use tvr_objectives::{
    DualSoftmaxConfig, HingeConfig, NclConfig, Objective, Pairs, Positives, Rows, SymmetricConfig, Term,
    Weighted,
};

use crate::common::{Draw, assert_close, floats, indices, matrix};

/// Loss, parts and gradient of a batch that is judged in shares cut at these places.
fn in_shares(
    objective: &impl Objective,
    scores: &Tensor<2>,
    same: &[usize],
    cuts: [&[usize]; 2],
) -> (Vec<f64>, Vec<f64>) {
    let scores = Tensor::from_inner(scores.clone()).require_grad();
    let same = indices(same);
    let scale = Tensor::<1>::full([1], 3.0, (&Device::flex(), DType::F64));
    let mut sums: Option<Vec<Tensor<1>>> = None;
    for (texts, videos) in cuts[0].windows(2).zip(cuts[1].windows(2)) {
        let (texts, videos) = (texts[0]..texts[1], videos[0]..videos[1]);
        let of_texts = scores.clone().slice_dim(0, texts.clone());
        let of_videos = scores.clone().slice_dim(1, videos.clone());
        let rows = Rows {
            of_texts: &of_texts,
            of_videos: Some(&of_videos),
            scale: Tensor::from_inner(scale.clone()),
            same: &same,
            texts,
            videos,
        };
        rows.check(&objective.needs()).unwrap();
        let loss = objective.by_rows().unwrap().loss_of(&rows);
        let values: Vec<Tensor<1>> =
            std::iter::once(loss.total).chain(loss.parts.into_iter().map(|(_, part)| part)).collect();
        sums = Some(match sums {
            None => values,
            Some(sums) => sums.into_iter().zip(values).map(|(sum, value)| sum + value).collect(),
        });
    }
    let sums = sums.unwrap();
    let gradient = scores.grad(&sums[0].backward()).unwrap();
    (sums.iter().flat_map(|sum| floats(sum)).collect(), floats(&gradient))
}

fn whole(objective: &impl Objective, scores: &Tensor<2>, same: &[usize]) -> (Vec<f64>, Vec<f64>) {
    let scores = Tensor::from_inner(scores.clone()).require_grad();
    let same = indices(same);
    let scale = Tensor::from_inner(Tensor::<1>::full([1], 3.0, (&Device::flex(), DType::F64)));
    let loss = objective.loss(&Pairs::new(&scores, scale, &same));
    let gradient = scores.grad(&loss.total.backward()).unwrap();
    let values = std::iter::once(loss.total).chain(loss.parts.into_iter().map(|(_, part)| part));
    (values.flat_map(|value| floats(&value)).collect(), floats(&gradient))
}

fn check(objective: &impl Objective, scores: &Tensor<2>, same: &[usize], cuts: [&[usize]; 2]) {
    let (expected, found) = (whole(objective, scores, same), in_shares(objective, scores, same, cuts));
    assert_close(&found.0, &expected.0, 1e-9);
    assert_close(&found.1, &expected.1, 1e-9);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn p_shares_of_rows_add_up_to_the_loss_of_the_batch(
        texts in 2usize..9, videos in 2usize..7, seed: u64, first in 0f64..1.0, second in 0f64..1.0,
    ) {
        let mut draw = Draw::new(seed);
        let hinge = |config: HingeConfig| HingeConfig { positives: Positives::Same, ..config }.init().unwrap();
        // Some videos may have no text, and a share may have no text of its videos.
        let same: Vec<usize> = (0..texts).map(|_| draw.below(videos)).collect();
        let scores = matrix(&draw.scores(texts, videos, 1.0));
        let cut = |share: f64, items: usize| 1 + ((share * (items - 1) as f64) as usize).min(items - 2);
        let cuts = [[0, cut(first, texts), texts], [0, cut(second, videos), videos]];
        let cuts = [&cuts[0][..], &cuts[1][..]];
        check(&SymmetricConfig::ours().init().unwrap(), &scores, &same, cuts);
        check(&hinge(HingeConfig::paper()), &scores, &same, cuts);
        check(&hinge(HingeConfig::reference()), &scores, &same, cuts);
        check(&hinge(HingeConfig::same_axis()), &scores, &same, cuts);
        let term = |name: &str, weight, config| Term { name: name.into(), weight, objective: hinge(config) };
        let terms = vec![term("a", 2.0, HingeConfig::paper()), term("b", 0.5, HingeConfig::reference())];
        check(&Weighted::new(terms).unwrap(), &scores, &same, cuts);
    }

    #[test]
    fn p_shares_of_the_diagonal_add_up(items in 3usize..9, seed: u64, at in 1usize..3) {
        let mut draw = Draw::new(seed);
        let same: Vec<usize> = (0..items).map(|_| draw.below(items)).collect();
        let scores = matrix(&draw.scores(items, items, 1.0));
        let cuts = [0, at, items];
        check(&SymmetricConfig::reference().init().unwrap(), &scores, &same, [&cuts, &cuts]);
        check(&HingeConfig::reference().init().unwrap(), &scores, &same, [&cuts, &cuts]);
    }
}

#[test]
fn a_loss_that_needs_the_whole_batch_has_no_rows() {
    assert!(DualSoftmaxConfig::paper().init().unwrap().by_rows().is_none());
    let ncl = NclConfig::reference().init(8, &Device::flex()).unwrap();
    assert!(ncl.by_rows().is_none());
    let terms = vec![Term { name: "ncl".into(), weight: 1.0, objective: ncl }];
    assert!(Weighted::new(terms).unwrap().by_rows().is_none(), "a sum is as its terms are");
}

#[test]
fn a_share_of_a_batch_that_does_not_fit_is_refused() {
    let scores = matrix(&vec![vec![0.0; 3]; 2]);
    let same = indices(&[0, 5]);
    let scale = Tensor::<1>::ones([1], &Device::flex());
    let rows = Rows { of_texts: &scores, of_videos: None, scale, same: &same, texts: 0..2, videos: 0..3 };
    let refused = |needs| rows.check(&needs).unwrap_err().to_string();
    assert_eq!(
        refused(SymmetricConfig::ours().init().unwrap().needs()),
        "text 1 belongs to video 5, but the batch has videos 0 to 2"
    );
    assert!(
        refused(SymmetricConfig::reference().init().unwrap().needs()).contains("as many texts as videos")
    );
}
