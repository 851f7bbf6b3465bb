//! P-NC-12: the normalisation error.

use super::{BOTH, wide};
use crate::oracles;
use ndarray::Array2;
use proptest::prelude::*;
use tvr_metrics::{Direction, representation};

fn logits() -> impl Strategy<Value = Array2<f32>> {
    (1usize..9, 1usize..9).prop_flat_map(|(n, m)| {
        prop::collection::vec(-20f32..20.0, n * m)
            .prop_map(move |cells| Array2::from_shape_vec((n, m), cells).unwrap())
    })
}

proptest! {
    #[test]
    fn p_nc_12_the_error_is_bounded_and_the_masses_balance(s in logits()) {
        for direction in BOTH {
            let gallery = if direction == BOTH[0] { s.ncols() } else { s.nrows() };
            let found = representation(s.view(), direction).unwrap();
            let most = 2.0 * (gallery as f64 - 1.0) / gallery as f64;
            prop_assert!(found.error >= 0.0 && found.error <= most + 1e-12, "{} > {most}", found.error);
            prop_assert!((found.by_item.iter().sum::<f64>() - gallery as f64).abs() < 1e-9);
            let over: f64 = found.by_item.iter().map(|rho| (rho - 1.0).max(0.0)).sum();
            let under: f64 = found.by_item.iter().map(|rho| (1.0 - rho).max(0.0)).sum();
            prop_assert!((over - under).abs() < 1e-5);
            prop_assert!((found.error - (over + under) / gallery as f64).abs() < 1e-12);
            prop_assert!(found.sorted.windows(2).all(|pair| pair[0] >= pair[1]));
            prop_assert_eq!((found.largest, found.smallest), (found.sorted[0], found.sorted[gallery - 1]));
        }
    }

    #[test]
    fn p_nc_12_it_equals_the_oracle(s in logits()) {
        for (direction, rows) in [(BOTH[0], wide(&s)), (BOTH[1], oracles::transpose(&wide(&s)))] {
            let found = representation(s.view(), direction).unwrap();
            for (rho, expected) in found.by_item.iter().zip(oracles::represented(&rows)) {
                prop_assert!((rho - expected).abs() < 1e-12 * expected.max(1.0), "{rho} {expected}");
            }
        }
    }

    #[test]
    fn p_nc_12_it_is_zero_if_and_only_if_every_item_is_fair(s in logits(), shift in -5f32..5.0) {
        let found = representation(s.view(), Direction::TextToVideo).unwrap();
        let fair = found.by_item.iter().all(|rho| (rho - 1.0).abs() < 1e-9);
        prop_assert_eq!(found.error < 1e-9, fair);
        // A constant matrix is fair, whatever the constant; so is any one column.
        let level = Array2::from_elem(s.dim(), shift);
        prop_assert!(representation(level.view(), Direction::TextToVideo).unwrap().error < 1e-12);
        let one = s.slice(ndarray::s![.., ..1]);
        prop_assert!(representation(one, Direction::TextToVideo).unwrap().error < 1e-12);
    }

    #[test]
    fn p_nc_12_the_converged_oracle_bank_leaves_no_error(
        s in (2usize..9, 2usize..9).prop_flat_map(|(n, m)| {
            prop::collection::vec(-3f32..3.0, n * m)
                .prop_map(move |cells| Array2::from_shape_vec((n, m), cells).unwrap())
        })
    ) {
        let bias = oracles::sinkhorn_bias(&wide(&s), 3000);
        let biased = Array2::from_shape_fn(s.dim(), |(i, j)| s[[i, j]] + bias[j] as f32);
        let (before, after) = (s, biased);
        let before = representation(before.view(), Direction::TextToVideo).unwrap();
        let after = representation(after.view(), Direction::TextToVideo).unwrap();
        prop_assert!(after.error <= 1e-4, "{}", after.error);
        let change = before.change(&after).unwrap();
        prop_assert_eq!((change.error_before, change.error_after), (before.error, after.error));
        prop_assert_eq!(&change.before, &before.sorted);
        for (at, &item) in change.item.iter().enumerate() {
            prop_assert_eq!((change.before[at], change.after[at]), (before.by_item[item], after.by_item[item]));
        }
    }
}

#[test]
fn the_worst_case_reaches_the_bound() {
    // Every query lays all its probability on one item of five.
    let s = Array2::from_shape_fn((4, 5), |(_, j)| if j == 2 { 1e4 } else { -1e4 });
    let found = representation(s.view(), Direction::TextToVideo).unwrap();
    assert!((found.error - 2.0 * 4.0 / 5.0).abs() < 1e-12);
    assert_eq!((found.share_above_two, found.share_below_half), (0.2, 0.8));
}

#[test]
fn shares_count_what_is_beyond_a_bound_and_not_at_it() {
    let of = |s: Array2<f32>| representation(s.view(), Direction::TextToVideo).unwrap();
    let shares = |found: tvr_metrics::Representation| {
        (found.by_item, found.share_above_one, found.share_above_two, found.share_below_half)
    };
    // Fair, also where every exponential without the largest logit taken off would be 0.
    assert_eq!(shares(of(Array2::from_elem((2, 2), -4e3))), (vec![1.0, 1.0], 0.0, 0.0, 0.0));
    // All queries on the first of two items, then three of four.
    let sure =
        |on: &[usize]| Array2::from_shape_fn((on.len(), 2), |(i, j)| if j == on[i] { 9e3 } else { 0.0 });
    assert_eq!(shares(of(sure(&[0, 0, 0, 0]))), (vec![2.0, 0.0], 0.5, 0.0, 0.5));
    assert_eq!(shares(of(sure(&[0, 0, 1, 0]))), (vec![1.5, 0.5], 0.5, 0.0, 0.0));
}

#[test]
fn a_change_of_gallery_is_refused() {
    let of = |m: usize| representation(Array2::zeros((3, m)).view(), Direction::TextToVideo).unwrap();
    assert_eq!(
        of(3).change(&of(4)).unwrap_err().to_string(),
        "3 items before, 4 after; both must be the same gallery"
    );
}
