//! One table of all objectives, one battery for each. A new objective adds a row at the end of this file.

use burn::prelude::*;
use burn::tensor::DType;
use tvr_objectives::{Objective, Pairs};

use crate::common::{
    Batch, Draw, Rows, VOCABULARY, WIDTH, assert_close, cast, diagonal, floats, gradient, indices, judged,
    loss, matrix, named_gradient, parts, scale,
};

/// What may be expected of an objective.
pub struct Kind {
    /// How the parts make the whole.
    total: fn(&[f64]) -> f64,
    /// Of a loss and its parts, what holds right pairs against wrong ones.
    contrastive: fn(f64, &[f64]) -> f64,
    /// Whether it looks at cosines times scale, or at cosines.
    scaled: bool,
}

/// Half of two cross-entropies of logits.
pub const LOGITS: Kind =
    Kind { total: |parts| (parts[0] + parts[1]) / 2.0, contrastive: |total, _| total, scaled: true };

const HINGE: Kind = Kind { total: |parts| parts[0] + parts[1], scaled: false, ..LOGITS };

const HINGE_OF_ALL: Kind = Kind { scaled: false, ..LOGITS };

const CAPTIONING: Kind =
    Kind { total: |parts| parts[0] + 2.0 * parts[1], contrastive: |_, parts| parts[0], scaled: false };

/// A quarter of one term and the whole of another; either is followed by its two parts.
const WEIGHTED: Kind = Kind {
    total: |parts| 0.25 * parts[0] + parts[3],
    contrastive: |_, parts| parts[0].max(parts[3]),
    ..LOGITS
};

/// The fused term and the mean of four streams.
const STREAMS: Kind = Kind {
    total: |parts| parts[0] + parts[1..].iter().sum::<f64>() / 4.0,
    contrastive: |_, parts| parts[0],
    ..LOGITS
};

/// Texts and videos of the batteries.
const SIZES: [[usize; 2]; 5] = [[4, 4], [7, 3], [1, 1], [5, 1], [6, 5]];

fn batch(seed: u64, [texts, videos]: [usize; 2], size: f64) -> (Rows, Vec<usize>) {
    let mut draw = Draw::new(seed);
    (draw.scores(texts, videos, size), draw.same(texts, videos))
}

pub fn the_loss_is_one_number_made_of_its_parts<O: Objective>(objective: &O, kind: &Kind) {
    for size in SIZES {
        let (logits, same) = batch(1, size, 20.0);
        let (total, parts) = (loss(objective, &logits, &same), parts(objective, &logits, &same));
        assert!(total.is_finite() && parts.iter().all(|part| part.is_finite()), "{total}, {parts:?}");
        assert_close(&[total], &[(kind.total)(&parts)], 1e-9 * total.abs().max(1.0));
    }
}

pub fn a_single_pair_costs_nothing<O: Objective>(objective: &O, kind: &Kind) {
    let (total, parts) = judged(objective, &vec![vec![3.0]], &[0], &[0]);
    assert_close(&[(kind.contrastive)(total, &parts)], &[0.0], 1e-12);
}

pub fn extremes_stay_finite_in_f32<O: Objective>(objective: &O, _: &Kind) {
    let objective = cast(objective, DType::F32);
    for size in [0.0, 1e-30, 1e4] {
        let (logits, same) = batch(2, [6, 4], size);
        let similarity = Tensor::from_inner(matrix(&logits).cast(DType::F32)).require_grad();
        let batch = Batch::new(similarity.clone(), &same, &diagonal(6));
        let total = objective.clone().train().loss(&batch.pairs()).total;
        let gradients = floats(&similarity.grad(&total.backward()).unwrap());
        assert!(total.into_scalar::<f32>().is_finite() && gradients.iter().all(|x| x.is_finite()), "{size}");
    }
}

pub fn permuted_texts_change_nothing<O: Objective>(objective: &O, _: &Kind) {
    for size @ [texts, _] in SIZES {
        let (logits, same) = batch(3, size, 20.0);
        let order = Draw::new(4).order(texts);
        let moved: Rows = order.iter().map(|&text| logits[text].clone()).collect();
        let moved_same: Vec<usize> = order.iter().map(|&text| same[text]).collect();
        let expected = loss(objective, &logits, &same);
        let (found, _) = judged(objective, &moved, &moved_same, &order);
        assert_close(&[found], &[expected], 1e-9 * expected.abs().max(1.0));
        let found = named_gradient(objective, &moved, &moved_same, &order);
        let whole = gradient(objective, &logits, &same);
        let videos = logits[0].len();
        for (place, &text) in order.iter().enumerate() {
            assert_close(&found[place * videos..][..videos], &whole[text * videos..][..videos], 1e-8);
        }
    }
}

pub fn permuted_videos_change_nothing<O: Objective>(objective: &O, _: &Kind) {
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

pub fn scale_and_cosines_make_the_logits<O: Objective>(objective: &O, kind: &Kind) {
    let (logits, same) = batch(7, [5, 5], 20.0);
    let expected = loss(objective, &logits, &same);
    let size = if kind.scaled { 40.0 } else { 1.0 };
    let batch = Batch::new(matrix(&logits) / size, &same, &diagonal(5));
    let pairs = Pairs { scale: scale(40.0), ..batch.pairs() };
    let found: f64 = objective.loss(&pairs).total.into_scalar();
    assert_close(&[found], &[expected], 1e-9 * expected.abs().max(1.0));
}

/// In exact arithmetic a loss that takes `same` may not punish a caption for another caption of its video.
pub fn doubled_captions_are_no_negatives<O: Objective>(objective: &O, kind: &Kind) {
    let logits = vec![vec![40.0, -40.0], vec![40.0, -40.0], vec![-40.0, 40.0]];
    // The second direction is the entropy of a video's two captions at most: ln 2 for one of two videos.
    let (total, parts) = judged(objective, &logits, &[0, 0, 1], &[0, 1, 2]);
    let total = (kind.contrastive)(total, &parts);
    assert!(total <= 0.25 * std::f64::consts::LN_2 + 1e-6, "{total}");
}

pub fn broken_batches_are_refused_by_name<O: Objective>(objective: &O, _: &Kind) {
    let (similarity, needs) = (matrix(&Draw::new(8).scores(3, 2, 1.0)), objective.needs());
    let check = |same: &[usize]| {
        let same = indices(same);
        Pairs::new(&similarity, scale(1.0), &same).check(&needs).unwrap_err().to_string()
    };
    assert_eq!(check(&[0, 1]), "same has 2 rows, but the batch has 3");
    assert_eq!(check(&[0, 1, 2]), "text 2 belongs to video 2, but the batch has videos 0 to 1");
}

pub fn the_optimiser_may_step_without_state<O: Objective>(objective: &O, _: &Kind) {
    let mut objective = objective.clone();
    let batch = Batch::new(matrix(&Draw::new(9).scores(3, 3, 1.0)), &diagonal(3), &diagonal(3));
    let before: f64 = objective.loss(&batch.pairs()).total.into_scalar();
    objective.after_step(&batch.pairs());
    assert_eq!(before, objective.loss(&batch.pairs()).total.into_scalar::<f64>());
}

/// A row is `name: objective;`, or `name (KIND): objective;` where it is no plain loss of logits.
macro_rules! conformance {
    (@kind) => { battery::LOGITS };
    (@kind $kind:ident) => { battery::$kind };
    ($($objective:ident $(($kind:ident))?: $make:expr;)*) => { $(
        mod $objective {
            use crate::conformance as battery;
            #[test]
            fn the_loss_is_one_number_made_of_its_parts() { battery::the_loss_is_one_number_made_of_its_parts(&$make, &conformance!(@kind $($kind)?)); }
            #[test]
            fn a_single_pair_costs_nothing() { battery::a_single_pair_costs_nothing(&$make, &conformance!(@kind $($kind)?)); }
            #[test]
            fn extremes_stay_finite_in_f32() { battery::extremes_stay_finite_in_f32(&$make, &conformance!(@kind $($kind)?)); }
            #[test]
            fn permuted_texts_change_nothing() { battery::permuted_texts_change_nothing(&$make, &conformance!(@kind $($kind)?)); }
            #[test]
            fn permuted_videos_change_nothing() { battery::permuted_videos_change_nothing(&$make, &conformance!(@kind $($kind)?)); }
            #[test]
            fn scale_and_cosines_make_the_logits() { battery::scale_and_cosines_make_the_logits(&$make, &conformance!(@kind $($kind)?)); }
            #[test]
            fn doubled_captions_are_no_negatives() { battery::doubled_captions_are_no_negatives(&$make, &conformance!(@kind $($kind)?)); }
            #[test]
            fn broken_batches_are_refused_by_name() { battery::broken_batches_are_refused_by_name(&$make, &conformance!(@kind $($kind)?)); }
            #[test]
            fn the_optimiser_may_step_without_state() { battery::the_optimiser_may_step_without_state(&$make, &conformance!(@kind $($kind)?)); }
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

fn hinge(negatives: tvr_objectives::Negatives) -> tvr_objectives::Hinge {
    let config = tvr_objectives::HingeConfig { negatives, ..tvr_objectives::HingeConfig::paper() };
    config.init().unwrap()
}

/// A support of one video too, so that a single pair may be judged; in f64.
fn support_set() -> tvr_objectives::SupportSet {
    let config = tvr_objectives::SupportSetConfig {
        support: tvr_objectives::Support::Hybrid,
        caption_weight: 2.0,
        decoder: crate::common::small_decoder(),
        ..tvr_objectives::SupportSetConfig::paper()
    };
    cast(&config.init(WIDTH, VOCABULARY, &Device::flex()).unwrap(), DType::F64)
}

fn streams() -> tvr_objectives::Streams<tvr_objectives::DualSoftmax> {
    tvr_objectives::StreamsConfig::ours()
        .init(grouped_dual_softmax(false), grouped_dual_softmax(true))
        .unwrap()
}

fn weighted() -> tvr_objectives::Weighted<tvr_objectives::DualSoftmax> {
    let term = |name: &str, weight, objective| tvr_objectives::Term { name: name.into(), weight, objective };
    let paper = tvr_objectives::DualSoftmaxConfig::paper().init().unwrap();
    let terms = vec![term("grouped", 0.25, grouped_dual_softmax(false)), term("paper", 1.0, paper)];
    tvr_objectives::Weighted::new(terms).unwrap()
}

conformance! {
    symmetric: tvr_objectives::SymmetricConfig::ours().init().unwrap();
    dual_softmax: battery::grouped_dual_softmax(false);
    dual_softmax_detached: battery::grouped_dual_softmax(true);
    dual_softmax_paper: tvr_objectives::DualSoftmaxConfig::paper().init().unwrap();
    ncl: battery::ncl(false);
    ncl_detached: battery::ncl(true);
    hinge (HINGE): battery::hinge(tvr_objectives::Negatives::Hardest);
    hinge_of_all (HINGE_OF_ALL): battery::hinge(tvr_objectives::Negatives::All);
    support_set (CAPTIONING): battery::support_set();
    weighted (WEIGHTED): battery::weighted();
    streams (STREAMS): battery::streams();
}
