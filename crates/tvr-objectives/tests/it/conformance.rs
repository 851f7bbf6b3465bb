//! One table of all objectives; each keeps every law of [`tvr_objectives::laws`]. A new objective adds a row at the end
//! of this file.

use burn::prelude::*;
use burn::tensor::DType;
use tvr_objectives::laws::{Broken, Expected};

use crate::common::{VOCABULARY, WIDTH, cast};

/// Half of two cross-entropies of logits.
pub const LOGITS: Expected = Expected { total: Some(|parts| (parts[0] + parts[1]) / 2.0), ..Expected::PLAIN };

const HINGE: Expected = Expected { total: Some(|parts| parts[0] + parts[1]), scaled: false, ..LOGITS };

const HINGE_OF_ALL: Expected = Expected { scaled: false, ..LOGITS };

const CAPTIONING: Expected = Expected {
    total: Some(|parts| parts[0] + 2.0 * parts[1]),
    contrastive: |_, parts| parts[0],
    scaled: false,
    ..LOGITS
};

/// A quarter of one term and the whole of another; either is followed by its two parts.
const WEIGHTED: Expected = Expected {
    total: Some(|parts| 0.25 * parts[0] + parts[3]),
    contrastive: |_, parts| parts[0].max(parts[3]),
    ..LOGITS
};

/// The fused term and the mean of four streams.
const STREAMS: Expected = Expected {
    total: Some(|parts| parts[0] + parts[1..].iter().sum::<f64>() / 4.0),
    contrastive: |_, parts| parts[0],
    ..LOGITS
};

#[track_caller]
pub fn holds(law: Result<(), Broken>) {
    if let Err(broken) = law {
        panic!("{broken}");
    }
}

/// A row is `name: objective;`, or `name (KIND): objective;` where it is no plain loss of logits.
macro_rules! conformance {
    (@kind) => { battery::LOGITS };
    (@kind $kind:ident) => { battery::$kind };
    ($($objective:ident $(($kind:ident))?: $make:expr;)*) => { $(
        mod $objective {
            use crate::conformance as battery;
            use tvr_objectives::laws;
            #[test]
            fn the_loss_is_one_number_made_of_its_parts() { battery::holds(laws::the_loss_is_one_number_made_of_its_parts(&$make, &conformance!(@kind $($kind)?), 0)); }
            #[test]
            fn a_single_pair_costs_nothing() { battery::holds(laws::a_single_pair_costs_nothing(&$make, &conformance!(@kind $($kind)?), 0)); }
            #[test]
            fn extremes_stay_finite_in_f32() { battery::holds(laws::extremes_stay_finite_in_f32(&$make, &conformance!(@kind $($kind)?), 0)); }
            #[test]
            fn permuted_texts_change_nothing() { battery::holds(laws::permuted_texts_change_nothing(&$make, &conformance!(@kind $($kind)?), 0)); }
            #[test]
            fn permuted_videos_change_nothing() { battery::holds(laws::permuted_videos_change_nothing(&$make, &conformance!(@kind $($kind)?), 0)); }
            #[test]
            fn scale_and_cosines_make_the_logits() { battery::holds(laws::scale_and_cosines_make_the_logits(&$make, &conformance!(@kind $($kind)?), 0)); }
            #[test]
            fn doubled_captions_are_no_negatives() { battery::holds(laws::doubled_captions_are_no_negatives(&$make, &conformance!(@kind $($kind)?), 0)); }
            #[test]
            fn shares_of_rows_add_up() { battery::holds(laws::shares_of_rows_add_up(&$make, &conformance!(@kind $($kind)?), 0)); }
            #[test]
            fn broken_batches_are_refused_by_name() { battery::holds(laws::broken_batches_are_refused_by_name(&$make, &conformance!(@kind $($kind)?), 0)); }
            #[test]
            fn the_optimiser_may_step_without_state() { battery::holds(laws::the_optimiser_may_step_without_state(&$make, &conformance!(@kind $($kind)?), 0)); }
            #[test]
            fn all_laws_hold_for_other_seeds() {
                let (objective, expected) = (&$make, &conformance!(@kind $($kind)?));
                (1..3).for_each(|seed| battery::holds(laws::check(objective, expected, seed)));
            }
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
