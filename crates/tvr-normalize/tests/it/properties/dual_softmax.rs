use crate::oracles::{assert_close, column_lse, dual_softmax, matrix, noise, over, share, with_bank};
use ndarray::{Array2, Axis, array, concatenate};
use proptest::prelude::*;
use tvr_normalize::{DualSoftmax, InvertedSoftmax, Normalizer, Scores, Warning};

fn apply(s: &Array2<f32>, temperature: f32) -> Array2<f32> {
    DualSoftmax::new(temperature).unwrap().apply(&Scores::new(s.view())).unwrap()
}

proptest! {
    #[test]
    fn p_ds_1_the_share_is_a_distribution(s in matrix(2..20usize, 1..20usize, 30.0), power in -2f32..3.0) {
        let s = s.mapv(|value| value + 31.0); // positive, so that the share can be read back
        let revised = apply(&s, 10f32.powf(power));
        for column in (revised / &s).columns() {
            let sum: f32 = column.sum();
            prop_assert!((sum - 1.0).abs() < 2e-6, "{sum}");
            prop_assert!(column.iter().all(|&share| (0.0..=1.000_001).contains(&share)));
        }
    }

    #[test]
    fn dual_softmax_is_its_formula((s, bank) in with_bank(20.0), temperature in 0.5f32..50.0) {
        assert_close(apply(&s, temperature).view(), &dual_softmax(&s, None, temperature), 2e-6);
        let scores = Scores::new(s.view()).with_query_bank(bank.view());
        let revised = DualSoftmax::new(temperature).unwrap().apply(&scores).unwrap();
        assert_close(revised.view(), &dual_softmax(&s, Some(&bank), temperature), 2e-6);
    }

    #[test]
    fn p_ds_3_permuting_queries_permutes_the_result(s in matrix(2..40usize, 2..9usize, 10.0)) {
        let order: Vec<usize> = (0..s.nrows()).rev().collect();
        let turned = apply(&s.select(Axis(0), &order), 1.0);
        assert_close(turned.view(), &apply(&s, 1.0).select(Axis(0), &order).mapv(f64::from), 1e-6);
    }

    #[test]
    fn p_ds_4_the_other_direction_is_the_transpose(s in matrix(2..9usize, 2..9usize, 10.0)) {
        let copied = s.t().as_standard_layout().into_owned();
        let by_view = DualSoftmax::new(1.0).unwrap().apply(&Scores::new(s.t())).unwrap();
        prop_assert_eq!(by_view, apply(&copied, 1.0));
    }

    #[test]
    fn p_ds_5_a_factor_moves_no_order(s in matrix(2..9usize, 2..9usize, 10.0)) {
        let revised = apply(&s, 1.0);
        let scaled = revised.mapv(|value| value * s.nrows() as f32);
        for (a, b) in revised.rows().into_iter().zip(scaled.rows()) {
            for j in 1..a.len() {
                prop_assert!(a[0].total_cmp(&a[j]) == b[0].total_cmp(&b[j]) || (b[0] - b[j]).abs() < 1e-6);
            }
        }
    }

    #[test]
    fn p_ds_6_the_order_inside_a_column_stays(s in matrix(2..9usize, 2..9usize, 10.0)) {
        let s = s.mapv(|value| value + 10.5);
        let revised = apply(&s, 1.0);
        for (raw, revised) in s.columns().into_iter().zip(revised.columns()) {
            for i in 0..raw.len() {
                for k in 0..raw.len() {
                    prop_assert!(raw[i] > raw[k] || revised[i] <= revised[k] * 1.000_001);
                }
            }
        }
    }

    #[test]
    fn p_ds_8_repeated_queries_leave_the_order(s in matrix(2..9usize, 2..9usize, 10.0), times in 2..5usize) {
        let s = s.mapv(|value| value + 10.5);
        let repeated = concatenate(Axis(0), &vec![s.view(); times]).unwrap();
        let (once, many) = (apply(&s, 1.0), apply(&repeated, 1.0));
        for i in 0..s.nrows() {
            for j in 0..s.ncols() {
                let expected = once[[i, j]] / times as f32;
                prop_assert!((many[[i, j]] - expected).abs() <= 2e-6 * expected);
            }
        }
    }

    #[test]
    fn p_ds_8_one_more_query_raises_no_share(s in matrix(3..9usize, 2..9usize, 10.0)) {
        let s = s.mapv(|value| value + 10.5);
        let fewer = s.slice(ndarray::s![..-1, ..]).to_owned();
        let (few, all) = (apply(&fewer, 1.0), apply(&s, 1.0));
        for ((i, j), value) in few.indexed_iter() {
            prop_assert!(all[[i, j]] <= value * 1.000_001);
        }
    }
}

#[test]
fn p_ds_1_the_share_is_finite_at_the_edge() {
    let s = array![[1e4, -1e4], [-1e4, 1e4]];
    for temperature in [0.001, 0.01, 1.0, 1000.0] {
        let revised = apply(&s, temperature);
        assert!(revised.iter().all(|value| value.is_finite()));
        assert_close(revised.view(), &dual_softmax(&s, None, temperature), 1e-5);
    }
}

#[test]
fn p_ds_6_a_shared_prior_read_the_other_way_is_raw() {
    // TS2-Net and CLIP-ViP read V2T off this matrix: the winner of every column is the raw one.
    let s = noise(12, 7, 5.0, 3).mapv(|value| value + 5.5);
    let winner =
        |s: &Array2<f32>, j: usize| (0..s.nrows()).max_by(|&a, &b| s[[a, j]].total_cmp(&s[[b, j]])).unwrap();
    let revised = apply(&s, 1.0);
    assert!((0..7).all(|j| winner(&s, j) == winner(&revised, j)));
}

#[test]
fn p_ds_9_one_pair_stays_raw() {
    for value in [3.25f32, -1e4, 0.0] {
        assert_eq!(apply(&array![[value]], 0.01), array![[value]]);
    }
}

#[test]
fn p_ds_10_negative_scores_flip_and_the_warning_fires() {
    // Row 0 prefers item 1 (−1 over −3), and item 0 is wanted more by row 1: fairness agrees with raw there.
    let s = array![[-3.0f32, -1.0], [9.0, -9.0]];
    let scores = Scores::new(s.view());
    let dual = DualSoftmax::new(1.0).unwrap();
    let revised = dual.apply(&scores).unwrap();
    let kept = InvertedSoftmax::new(1.0).unwrap().apply(&scores).unwrap();
    assert!(revised[[0, 0]] > revised[[0, 1]], "the flaw: a tiny share of −3 beats −1");
    assert!(kept[[0, 0]] < kept[[0, 1]]);
    assert_eq!(scores.negative_share(), 0.75);
    let warnings = dual.warnings(&scores);
    assert_eq!(warnings, [Warning::NegativeScores { method: "dual-softmax", share: 0.75 }]);
    assert_eq!(
        warnings[0].to_string(),
        "dual-softmax: 75.0 % of the scores are negative, and a small share of a negative score is large; \
         inverted-softmax and sinkhorn do not have this flaw"
    );
    assert!(dual.warnings(&Scores::new(array![[1.0f32]].view())).is_empty());
}

#[test]
fn mutual_is_its_formula() {
    let s = noise(9, 6, 4.0, 5);
    let z = over(&s, 2.0);
    let transposed = z.t().to_owned();
    let columns = share(&s, None, 2.0);
    let expected = Array2::from_shape_fn(s.dim(), |(i, j)| {
        columns[[i, j]] * (z[[i, j]] - column_lse(&transposed, i)).exp()
    });
    let found = tvr_normalize::Mutual::new(2.0).unwrap().apply(&Scores::new(s.view())).unwrap();
    assert_close(found.view(), &expected, 1e-6);
}
