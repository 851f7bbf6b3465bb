//! One table of all heads; each keeps every law of [`tvr_heads::laws`]. A new head adds a row at the end of this file.

use tvr_heads::laws::{Broken, Expected};

/// Heads of width 8, in f32.
pub const PLAIN: Expected = Expected::PLAIN;

#[track_caller]
pub fn holds(law: Result<(), Broken>) {
    if let Err(broken) = law {
        panic!("{broken}");
    }
}

macro_rules! conformance {
    ($($head:ident: $make:expr, $other:expr;)*) => { $(
        mod $head {
            use crate::common;
            use crate::conformance::{PLAIN, holds};
            use tvr_heads::laws;
            #[test]
            fn shapes_are_texts_by_videos() { holds(laws::shapes_are_texts_by_videos(&$make, &PLAIN, 0)); }
            #[test]
            fn extremes_stay_finite() { holds(laws::extremes_stay_finite(&$make, &PLAIN, 0)); }
            #[test]
            fn padding_changes_nothing() { holds(laws::padding_changes_nothing(&$make, &PLAIN, 0)); }
            #[test]
            fn padded_tokens_change_nothing() { holds(laws::padded_tokens_change_nothing(&$make, &PLAIN, 0)); }
            #[test]
            fn chunks_give_the_same_codes() { holds(laws::chunks_give_the_same_codes(&$make, &PLAIN, 0)); }
            #[test]
            fn tiles_give_the_same_scores() { holds(laws::tiles_give_the_same_scores(&$make, &PLAIN, 0)); }
            #[test]
            fn a_batch_of_one_is_a_row_of_many() { holds(laws::a_batch_of_one_is_a_row_of_many(&$make, &PLAIN, 0)); }
            #[test]
            fn the_record_restores_the_head() { holds(laws::the_record_restores_the_head(&$make, $other, &PLAIN, 0)); }
            #[test]
            fn permuted_captions_permute_rows_only() { holds(laws::permuted_captions_permute_rows_only(&$make, &PLAIN, 0)); }
            #[test]
            fn one_query_at_a_time_is_the_whole() { holds(laws::one_query_at_a_time_is_the_whole(&$make, &PLAIN, 0)); }
            #[test]
            fn columns_stay_when_queries_leave() { holds(laws::columns_stay_when_queries_leave(&$make, &PLAIN, 0)); }
            #[test]
            fn cosines_make_the_similarity() { holds(laws::cosines_make_the_similarity(&$make, &PLAIN, 0)); }
            #[test]
            fn broken_features_are_refused_by_name() { holds(laws::broken_features_are_refused_by_name(&$make, &PLAIN, 0)); }
            #[test]
            fn parts_give_the_gradient_of_the_whole() { holds(laws::parts_give_the_gradient_of_the_whole(&$make, &PLAIN, 0)); }
            #[test]
            fn frames_are_a_set_unless_read_in_time() {
                holds(laws::frames_are_a_set_unless_read_in_time(&$make, &PLAIN, 0));
            }
            #[test]
            fn training_and_inference_agree() { holds(laws::training_and_inference_agree(&$make, &PLAIN, 0)); }
            #[test]
            fn f32_has_the_gradient_of_f64() { crate::gradients::f32_has_the_gradient_of_f64(&$make); }
            #[test]
            fn all_laws_hold_for_other_seeds() {
                let head = &$make;
                (1..3).for_each(|seed| holds(laws::check(head, &PLAIN, seed)));
            }
        }
    )* };
}

// name: a head, and another of the same settings with other weights.
conformance! {
    mean_pooling: common::mean_pooling(), common::mean_pooling();
    mean_pooling_adapted: common::adapted_mean_pooling(1), common::adapted_mean_pooling(2);
    seq_lstm: common::seq_lstm(1), common::seq_lstm(2);
    seq_lstm_adapted: common::adapted_seq_lstm(1), common::adapted_seq_lstm(2);
    seq_transf: common::seq_transf(1), common::seq_transf(2);
    seq_transf_adapted: common::adapted_seq_transf(1), common::adapted_seq_transf(2);
    tight_transf: common::tight_transf(1), common::tight_transf(2);
    conditioned: common::conditioned(1), common::conditioned(2);
    conditioned_temporal: common::temporal_conditioned(1), common::temporal_conditioned(2);
    xpool: common::xpool(1), common::xpool(2);
    xpool_adapted: common::adapted_xpool(1), common::adapted_xpool(2);
    token_wise: common::token_wise(0, 1), common::token_wise(0, 2);
    token_wise_weighted: common::token_wise(2, 1), common::token_wise(2, 2);
    emcl: common::emcl_paper(1), common::emcl_paper(2);
    emcl_reference: common::emcl_reference(1), common::emcl_reference(2);
    emcl_global: common::emcl_global(1), common::emcl_global(2);
    camoe: common::camoe(1), common::camoe(2);
    camoe_dropping: common::dropping_camoe(1), common::dropping_camoe(2);
    experts: common::experts(1), common::experts(2);
    experts_gated: common::gated_experts(1), common::gated_experts(2);
    experts_mixed: common::mixed_experts(1), common::mixed_experts(2);
    experts_mixed_with_frames: common::mixed_experts_and_frames(1), common::mixed_experts_and_frames(2);
}
