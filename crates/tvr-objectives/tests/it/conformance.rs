//! One table of all objectives, one battery for each. A new objective adds a row at the end of this file.

use burn::prelude::*;
use tvr_objectives::{Objective, Pairs};

use crate::common::{
    Draw, Rows, assert_close, diagonal, floats, gradient, indices, loss, matrix, parts, scale,
};

/// Texts and videos of the batteries.
const SIZES: [[usize; 2]; 5] = [[4, 4], [7, 3], [1, 1], [5, 1], [6, 5]];

fn batch(seed: u64, [texts, videos]: [usize; 2], size: f64) -> (Rows, Vec<usize>) {
    let mut draw = Draw::new(seed);
    (draw.scores(texts, videos, size), draw.same(texts, videos))
}

pub fn the_loss_is_one_number_made_of_its_parts<O: Objective>(objective: &O) {
    for size in SIZES {
        let (logits, same) = batch(1, size, 20.0);
        let (total, parts) = (loss(objective, &logits, &same), parts(objective, &logits, &same));
        assert!(total.is_finite() && parts.iter().all(|part| part.is_finite()), "{total}, {parts:?}");
        assert_close(&[total], &[parts.iter().sum::<f64>() / 2.0], 1e-9);
    }
}

pub fn a_single_pair_costs_nothing<O: Objective>(objective: &O) {
    assert_close(&[loss(objective, &vec![vec![3.0]], &[0])], &[0.0], 1e-12);
}

pub fn extremes_stay_finite_in_f32<O: Objective>(objective: &O) {
    for size in [0.0, 1e-30, 1e4] {
        let (logits, same) = batch(2, [6, 4], size);
        let similarity = Tensor::from_inner(matrix(&logits).cast(burn::tensor::DType::F32)).require_grad();
        let same = indices(&same).to_device(&similarity.device());
        let one = Tensor::<1>::from_data([1.0f32], &similarity.device());
        let total = objective.clone().train().loss(&Pairs::new(&similarity, one, &same)).total;
        let gradients = floats(&similarity.grad(&total.backward()).unwrap());
        assert!(total.into_scalar::<f32>().is_finite() && gradients.iter().all(|x| x.is_finite()), "{size}");
    }
}

pub fn permuted_texts_change_nothing<O: Objective>(objective: &O) {
    for size @ [texts, _] in SIZES {
        let (logits, same) = batch(3, size, 20.0);
        let order = Draw::new(4).order(texts);
        let moved: Rows = order.iter().map(|&text| logits[text].clone()).collect();
        let moved_same: Vec<usize> = order.iter().map(|&text| same[text]).collect();
        let expected = loss(objective, &logits, &same);
        assert_close(&[loss(objective, &moved, &moved_same)], &[expected], 1e-9 * expected.abs().max(1.0));
        let (found, whole) = (gradient(objective, &moved, &moved_same), gradient(objective, &logits, &same));
        let videos = logits[0].len();
        for (place, &text) in order.iter().enumerate() {
            assert_close(&found[place * videos..][..videos], &whole[text * videos..][..videos], 1e-8);
        }
    }
}

pub fn permuted_videos_change_nothing<O: Objective>(objective: &O) {
    for size @ [_, videos] in SIZES {
        let (logits, same) = batch(5, size, 20.0);
        let order = Draw::new(6).order(videos);
        let moved: Rows = logits.iter().map(|row| order.iter().map(|&video| row[video]).collect()).collect();
        let moved_same: Vec<usize> =
            same.iter().map(|&video| order.iter().position(|&from| from == video).unwrap()).collect();
        let expected = loss(objective, &logits, &same);
        assert_close(&[loss(objective, &moved, &moved_same)], &[expected], 1e-9 * expected.abs().max(1.0));
    }
}

pub fn scale_and_cosines_make_the_logits<O: Objective>(objective: &O) {
    let (logits, same) = batch(7, [5, 5], 20.0);
    let expected = loss(objective, &logits, &same);
    let cosines = matrix(&logits) / 40.0;
    let same = indices(&same);
    let found: f64 = objective.loss(&Pairs::new(&cosines, scale(40.0), &same)).total.into_scalar();
    assert_close(&[found], &[expected], 1e-9 * expected.abs().max(1.0));
}

/// In exact arithmetic a loss that takes `same` may not punish a caption for another caption of its video.
pub fn doubled_captions_are_no_negatives<O: Objective>(objective: &O) {
    let logits = vec![vec![40.0, -40.0], vec![40.0, -40.0], vec![-40.0, 40.0]];
    // The second direction is the entropy of a video's two captions at most: ln 2 for one of two videos.
    let total = loss(objective, &logits, &[0, 0, 1]);
    assert!(total <= 0.25 * std::f64::consts::LN_2 + 1e-6, "{total}");
}

pub fn broken_batches_are_refused_by_name<O: Objective>(objective: &O) {
    let (similarity, needs) = (matrix(&Draw::new(8).scores(3, 2, 1.0)), objective.needs());
    let check = |same: &[usize]| {
        let same = indices(same);
        Pairs::new(&similarity, scale(1.0), &same).check(&needs).unwrap_err().to_string()
    };
    assert_eq!(check(&[0, 1]), "same has 2 rows, but the batch has 3");
    assert_eq!(check(&[0, 1, 2]), "text 2 belongs to video 2, but the batch has videos 0 to 1");
}

pub fn the_optimiser_may_step_without_state<O: Objective>(objective: &O) {
    let mut objective = objective.clone();
    let (similarity, same) = (matrix(&Draw::new(9).scores(3, 3, 1.0)), indices(&diagonal(3)));
    let pairs = Pairs::new(&similarity, scale(1.0), &same);
    let before: f64 = objective.loss(&pairs).total.into_scalar();
    objective.after_step(&pairs);
    assert_eq!(before, objective.loss(&pairs).total.into_scalar::<f64>());
}

macro_rules! conformance {
    ($($objective:ident: $make:expr;)*) => { $(
        mod $objective {
            use crate::conformance as battery;
            #[test]
            fn the_loss_is_one_number_made_of_its_parts() {
                battery::the_loss_is_one_number_made_of_its_parts(&$make);
            }
            #[test]
            fn a_single_pair_costs_nothing() { battery::a_single_pair_costs_nothing(&$make); }
            #[test]
            fn extremes_stay_finite_in_f32() { battery::extremes_stay_finite_in_f32(&$make); }
            #[test]
            fn permuted_texts_change_nothing() { battery::permuted_texts_change_nothing(&$make); }
            #[test]
            fn permuted_videos_change_nothing() { battery::permuted_videos_change_nothing(&$make); }
            #[test]
            fn scale_and_cosines_make_the_logits() { battery::scale_and_cosines_make_the_logits(&$make); }
            #[test]
            fn doubled_captions_are_no_negatives() { battery::doubled_captions_are_no_negatives(&$make); }
            #[test]
            fn broken_batches_are_refused_by_name() { battery::broken_batches_are_refused_by_name(&$make); }
            #[test]
            fn the_optimiser_may_step_without_state() { battery::the_optimiser_may_step_without_state(&$make); }
        }
    )* };
}

/// The reference settings, with every text's own video in place of the diagonal.
fn grouped_dual_softmax(detach: bool) -> tvr_objectives::DualSoftmax {
    let positives = tvr_objectives::Positives::Same;
    tvr_objectives::DualSoftmaxConfig { detach, positives, ..tvr_objectives::DualSoftmaxConfig::reference() }
        .init()
        .unwrap()
}

fn ncl(detach: bool) -> tvr_objectives::Ncl {
    let config = tvr_objectives::NclConfig { detach, ..tvr_objectives::NclConfig::reference() };
    config.init(4, &Device::flex()).unwrap()
}

conformance! {
    symmetric: tvr_objectives::SymmetricConfig::ours().init().unwrap();
    dual_softmax: battery::grouped_dual_softmax(false);
    dual_softmax_detached: battery::grouped_dual_softmax(true);
    dual_softmax_paper: tvr_objectives::DualSoftmaxConfig::paper().init().unwrap();
    ncl: battery::ncl(false);
    ncl_detached: battery::ncl(true);
}
