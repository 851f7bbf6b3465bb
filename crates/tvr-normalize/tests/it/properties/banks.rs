//! P-NO of single methods with banks: flat banks, QB-Norm, CSLS, NNN, dual banks, single queries.

use crate::oracles::{
    World, assert_close, column_lse, inverted_softmax, largest, mean_of_largest, noise, noisy_world, over,
    with_bank, world,
};
use ndarray::{Array1, Array2, Axis, array, concatenate};
use proptest::prelude::*;
use tvr_normalize::{
    Chain, Family, InvertedSoftmax, MatrixSource, Nnn, Normalizer, QbNorm, Scores, SingleQuery, Sinkhorn,
    WarmStart,
};

fn method(spec: &str) -> Family {
    spec.parse().unwrap()
}

/// Rows of `result` have the order of `expected` wherever that is wider apart than `slack`.
#[track_caller]
fn assert_order(result: &Array2<f32>, expected: &Array2<f64>, slack: f64) {
    for (found, expected) in result.rows().into_iter().zip(expected.rows()) {
        for j in 0..found.len() {
            for k in 0..j {
                let gap = expected[j] - expected[k];
                if gap.abs() > slack {
                    assert_eq!(found[j] > found[k], gap > 0.0, "{} {} {gap}", found[j], found[k]);
                }
            }
        }
    }
}

/// One column, as often as there are gallery items.
fn flat(column: &Array1<f32>, gallery: usize) -> Array2<f32> {
    Array2::from_shape_fn((column.len(), gallery), |(i, _)| column[i])
}

proptest! {
    #[test]
    fn p_no_3_a_flat_bank_keeps_the_raw_order(world in world(5.0)) {
        let gallery = world.test.ncols();
        let flat = World {
            bank: flat(&world.bank.column(0).to_owned(), gallery),
            items: flat(&world.items.column(0).to_owned(), gallery),
            ..world
        };
        for spec in [
            "inverted-softmax:temperature=1",
            "csls:k=2",
            "nnn:k=2",
            "sinkhorn:tau=1,iterations=7",
            "dual-bank:temperature=1,gallery_temperature=2",
            "dbsn:tau=1,iterations=7",
        ] {
            let bias = method(spec).bias(&flat.scores()).unwrap().unwrap();
            let spread = bias.iter().fold(f32::MIN, |a, &b| a.max(b)) - bias.iter().fold(f32::MAX, |a, &b| a.min(b));
            prop_assert!(spread <= 2e-6, "{spec}: {bias}");
            assert_order(&method(spec).apply(&flat.scores()).unwrap(), &flat.test.mapv(f64::from), 1e-5);
        }
    }

    #[test]
    fn p_no_3_columns_equal_up_to_a_permutation_suffice_for_these(
        (world, turns) in world(5.0).prop_flat_map(|world| {
            let turns = prop::collection::vec(0..world.bank.nrows(), world.test.ncols());
            (Just(world), turns)
        })
    ) {
        let n = world.bank.nrows();
        let bank = Array2::from_shape_fn(world.bank.dim(), |(i, j)| world.bank[[(i + turns[j]) % n, 0]]);
        let scores = Scores::new(world.test.view()).with_query_bank(bank.view());
        for spec in ["inverted-softmax:temperature=1", "csls:k=2", "nnn:k=2"] {
            let bias = method(spec).bias(&scores).unwrap().unwrap();
            prop_assert!(bias.iter().all(|b| (b - bias[0]).abs() <= 2e-6), "{spec}: {bias}");
            assert_order(&method(spec).apply(&scores).unwrap(), &world.test.mapv(f64::from), 1e-5);
        }
    }

    #[test]
    fn p_no_6_active_sets_are_nested((s, bank) in with_bank(5.0)) {
        let gallery = s.ncols();
        let source = MatrixSource::new(bank.view());
        let active = |k: usize, threshold: usize| QbNorm::new(1.0, k, threshold).unwrap().active(&source).unwrap();
        for k in 1..gallery {
            for threshold in 1..4 {
                let (here, more, fewer) = (active(k, threshold), active(k + 1, threshold), active(k, threshold + 1));
                prop_assert!((0..gallery).all(|j| fewer[j] <= here[j] && here[j] <= more[j]));
            }
        }
        let scores = Scores::new(s.view()).with_query_bank(bank.view());
        let everywhere = QbNorm::new(1.0, gallery, 1).unwrap().apply(&scores).unwrap();
        prop_assert_eq!(everywhere, InvertedSoftmax::new(1.0).unwrap().apply(&scores).unwrap());
    }

    #[test]
    fn p_no_6_rows_outside_the_activation_are_raw_and_others_order_as_inverted_softmax((s, bank) in with_bank(5.0)) {
        let scores = Scores::new(s.view()).with_query_bank(bank.view());
        let qb = QbNorm::new(1.0, 1, 2).unwrap();
        let active = qb.active(&MatrixSource::new(bank.view())).unwrap();
        // By hand: an item is active if two bank queries have it first.
        let first = |row: ndarray::ArrayView1<f32>| (0..row.len()).rev().max_by(|&a, &b| row[a].total_cmp(&row[b])).unwrap();
        let mut count = vec![0; s.ncols()];
        bank.rows().into_iter().for_each(|row| count[first(row)] += 1);
        prop_assert_eq!(&active, &count.iter().map(|&times| times >= 2).collect::<Vec<_>>());
        let (found, inverted) = (qb.apply(&scores).unwrap(), inverted_softmax(&s, &bank, 1.0));
        for (i, row) in s.rows().into_iter().enumerate() {
            if active[first(row)] {
                let row = found.row(i).insert_axis(Axis(0)).to_owned();
                assert_order(&row, &inverted.row(i).insert_axis(Axis(0)).to_owned(), 1e-5);
            } else {
                prop_assert_eq!(found.row(i), row);
            }
        }
    }

    #[test]
    fn p_no_8_the_query_term_never_moves_a_row((s, bank) in with_bank(5.0)) {
        let scores = Scores::new(s.view()).with_query_bank(bank.view());
        let csls = method("csls:k=2");
        let bias = csls.bias(&scores).unwrap().unwrap().mapv(f64::from);
        assert_order(&csls.apply(&scores).unwrap(), &(&s.mapv(f64::from) + &bias), 1e-5);
    }

    #[test]
    fn p_no_8_csls_is_symmetric((s, _) in with_bank(5.0)) {
        let csls = method("csls:k=2");
        let turned = csls.apply(&Scores::new(s.t())).unwrap();
        assert_close(turned.t(), &csls.apply(&Scores::new(s.view())).unwrap().mapv(f64::from), 1e-6);
    }

    #[test]
    fn p_no_9_nnn_without_weight_is_raw_and_a_raised_column_pays(
        (s, bank) in with_bank(5.0), rise in 0.1f32..4.0, alpha in 0.1f32..2.0,
    ) {
        let apply = |alpha: f32, bank: &Array2<f32>| {
            Nnn::new(2, alpha).unwrap().apply(&Scores::new(s.view()).with_query_bank(bank.view())).unwrap()
        };
        prop_assert_eq!(&apply(0.0, &bank), &s);
        let mut raised = bank.clone();
        raised.column_mut(1).mapv_inplace(|score| score + rise);
        let (before, after) = (apply(alpha, &bank), apply(alpha, &raised));
        for ((i, j), &after) in after.indexed_iter() {
            let expected = before[[i, j]] - if j == 1 { alpha * rise } else { 0.0 };
            prop_assert!((after - expected).abs() <= 1e-6 * expected.abs().max(10.0), "{after} {expected}");
        }
    }

    #[test]
    fn p_no_10_the_order_is_that_of_both_factors(
        world in world(5.0), temperature in 0.5f32..5.0, other in 0.5f32..5.0,
    ) {
        let [scale, other_scale] = [temperature, other].map(|t| 1.0 / f64::from(t));
        let (b, g) = (over(&world.bank, temperature), over(&world.items, other));
        let expected = Array2::from_shape_fn(world.test.dim(), |(i, j)| {
            (scale + other_scale) * f64::from(world.test[[i, j]]) - column_lse(&b, j) - column_lse(&g, j)
        });
        let spec = format!("dual-bank:temperature={temperature},gallery_temperature={other}");
        let found = method(&spec).apply(&world.scores()).unwrap();
        assert_order(&found, &expected, 1e-4);
        // In the unit of the scores it is the formula over the sum of both scales.
        assert_close(found.view(), &(expected / (scale + other_scale)), 2e-6);
    }

    #[test]
    fn p_no_10_without_a_gallery_factor_it_is_inverted_softmax(world in world(5.0)) {
        let found = method("dual-bank:temperature=1,gallery_temperature=10000000").apply(&world.scores()).unwrap();
        assert_order(&found, &inverted_softmax(&world.test, &world.bank, 1.0), 1e-4);
    }
}

proptest! {
    // A run of Sinkhorn for every query: fewer cases keep the whole crate's tests in seconds.
    #![proptest_config(ProptestConfig::with_cases(40))]

    #[test]
    fn p_no_11_warm_is_cold_once_converged(world in world(2.0)) {
        let cold = SingleQuery::new(1.0, 300).unwrap();
        let (cold, warm) = (
            cold.apply(&world.scores()).unwrap(),
            cold.with_start(WarmStart::Bank).apply(&world.scores()).unwrap(),
        );
        assert_close(warm.view(), &cold.mapv(f64::from), 1e-4);
    }

    #[test]
    fn p_no_11_a_larger_bank_brings_the_biases_to_the_banks_own(world in world(1.5)) {
        let one = world.test.slice(ndarray::s![..1, ..]);
        let single = SingleQuery::new(1.0, 200).unwrap();
        let own = Sinkhorn::new(1.0, 200).unwrap().bias(&world.scores()).unwrap().unwrap();
        let mut last = f64::INFINITY;
        for times in [1, 4, 16, 64] {
            let bank = concatenate(Axis(0), &vec![world.bank.view(); times]).unwrap();
            let found = single.apply(&Scores::new(one).with_query_bank(bank.view())).unwrap();
            let bias = &found.row(0) - &one.row(0);
            let distance = largest(bias.iter().zip(&own).map(|(a, b)| f64::from((a - b).abs())));
            prop_assert!(distance <= last + 1e-6, "{distance} > {last} at {times}");
            last = distance;
        }
        prop_assert!(last < 0.1, "{last}");
    }
}

#[test]
fn p_no_11_the_banks_potentials_save_iterations() {
    let world = noisy_world([6, 8, 200, 4], 6.0);
    let apply = |single: SingleQuery| single.apply(&world.scores()).unwrap();
    let few = SingleQuery::new(1.0, 2).unwrap();
    let settled = apply(SingleQuery::new(1.0, 300).unwrap());
    let [cold, warm] = [few, few.with_start(WarmStart::Bank)]
        .map(|single| largest((apply(single) - &settled).iter().map(|off| f64::from(off.abs()))));
    assert!(warm < 0.5 * cold, "{warm} {cold}");
}

#[test]
fn p_no_3_for_sinkhorn_equal_columns_up_to_a_permutation_do_not_suffice() {
    // Columns 0 and 1 hold 0, 0, 3 in two orders, column 2 competes with column 1 in row 2 only.
    let bank = array![[0.0f32, 3.0, 0.0], [0.0, 0.0, 0.0], [3.0, 0.0, 3.0]];
    let bias = Sinkhorn::new(1.0, 50).unwrap();
    let bias = bias.bias(&Scores::new(bank.view()).with_query_bank(bank.view())).unwrap().unwrap();
    assert!((bias[0] - bias[1]).abs() > 0.1, "{bias}");
}

#[test]
fn p_no_6_an_empty_bank_is_refused() {
    let (s, empty) = (noise(3, 4, 1.0, 1), Array2::zeros((0, 4)));
    let scores = Scores::new(s.view()).with_query_bank(empty.view());
    for spec in [
        "qb-norm",
        "nnn:k=1",
        "inverted-softmax",
        "dual-softmax",
        "sinkhorn",
        "csls:k=1",
        "mutual",
        "single-query",
    ] {
        let error = method(spec).apply(&scores).unwrap_err().to_string();
        let name = spec.split(':').next().unwrap();
        assert_eq!(
            error,
            format!("{name}: query bank of shape [0, 4], but at least one row and one column are needed")
        );
    }
}

/// Several blocks of rows and tiles of columns, with many equal scores; a column that only rises and one that only falls.
#[test]
fn the_largest_of_a_large_bank_are_those_of_a_sort() {
    let mut bank = noise(700, 70, 8.0, 5).mapv(f32::round);
    for (i, mut row) in bank.rows_mut().into_iter().enumerate() {
        (row[3], row[66]) = (i as f32, -(i as f32));
    }
    let s = noise(2, 70, 1.0, 6);
    let scores = Scores::new(s.view()).with_query_bank(bank.view());
    for k in [1, 5, 130, 700] {
        let bias = Nnn::new(k, 1.0).unwrap().bias(&scores).unwrap().unwrap();
        for (j, &found) in bias.iter().enumerate() {
            let expected = mean_of_largest(bank.column(j).iter().copied(), k);
            assert_eq!(-found, expected as f32, "k = {k}, item {j}");
        }
    }
    bank[[600, 65]] = f32::NAN;
    let scores = Scores::new(s.view()).with_query_bank(bank.view());
    let error = Nnn::new(5, 1.0).unwrap().apply(&scores).unwrap_err().to_string();
    assert_eq!(error, "query bank[600, 65] is NaN; every score must be finite");
}

/// Winners beyond the first group of 32 columns, and in what is left after the last.
#[test]
fn p_no_6_a_wide_gallery_has_the_active_items_of_a_sort() {
    let (s, bank) = (noise(50, 70, 5.0, 1), noise(40, 70, 5.0, 2));
    let best = |row: ndarray::ArrayView1<f32>, k: usize| {
        let mut items: Vec<usize> = (0..row.len()).collect();
        items.sort_by(|&a, &b| row[b].total_cmp(&row[a])); // stable: of equal ones the lowest stays first
        items.truncate(k);
        items
    };
    let (scores, inverted) =
        (Scores::new(s.view()).with_query_bank(bank.view()), inverted_softmax(&s, &bank, 1.0));
    for k in [1, 2, 5] {
        let mut expected = vec![false; 70];
        bank.rows()
            .into_iter()
            .for_each(|row| best(row, k).into_iter().for_each(|item| expected[item] = true));
        let qb = QbNorm::new(1.0, k, 1).unwrap();
        assert_eq!(qb.active(&MatrixSource::new(bank.view())).unwrap(), expected, "k = {k}");
        let found = qb.apply(&scores).unwrap();
        for (i, row) in s.rows().into_iter().enumerate() {
            if expected[best(row, 1)[0]] {
                let found = found.row(i).insert_axis(Axis(0)).to_owned();
                assert_order(&found, &inverted.row(i).insert_axis(Axis(0)).to_owned(), 1e-5);
            } else {
                assert_eq!(found.row(i), row, "k = {k}, query {i}");
            }
        }
    }
}

#[test]
fn p_no_8_a_k_above_the_bank_is_refused() {
    let (s, bank) = (noise(12, 12, 1.0, 1), noise(9, 12, 1.0, 2));
    let scores = Scores::new(s.view()).with_query_bank(bank.view());
    assert_eq!(
        method("csls").apply(&scores).unwrap_err().to_string(),
        "csls: k = 10, but there are only 9 queries to select from; lower k or give more"
    );
    assert_eq!(
        method("nnn").apply(&scores).unwrap_err().to_string(),
        "nnn: k = 128, but there are only 9 bank queries to select from; lower k or give more"
    );
    // The numbers alone say as much, before there are scores; of a chain the first step that wants more.
    for (spec, queries, gallery, items) in [
        ("csls", 9, 12, "csls: k = 10, but there are only 9 queries"),
        ("raw+csls", 12, 9, "csls: k = 10, but there are only 9 gallery items"),
        ("csls+nnn", 127, 12, "nnn: k = 128, but there are only 127 bank queries"),
        ("qb-norm:k=13", 9, 12, "qb-norm: k = 13, but there are only 12 gallery items"),
        ("dual-bank:rows=active,k=13", 9, 12, "dual-bank: k = 13, but there are only 12 gallery items"),
    ] {
        let chain: Chain = spec.parse().unwrap();
        let error = chain.check_counts(queries, gallery).unwrap_err().to_string();
        assert_eq!(error, format!("{items} to select from; lower k or give more"));
        assert_eq!(chain.check_counts(128, 13), Ok(()));
    }
}

#[test]
fn p_no_10_equal_columns_in_both_banks_keep_raw_and_the_test_matrix_counts() {
    let world = noisy_world([6, 5, 9, 4], 3.0);
    let level = World {
        bank: flat(&world.bank.column(0).to_owned(), 5),
        items: flat(&world.items.column(0).to_owned(), 5),
        ..world.clone()
    };
    let dual = method("dual-bank:temperature=1,gallery_temperature=1");
    assert_order(&dual.apply(&level.scores()).unwrap(), &level.test.mapv(f64::from), 1e-5);
    // The function published with DBNorm never reads the test matrix.
    let (found, other) = (dual.apply(&world.scores()).unwrap(), &world.test * 2.0);
    assert_ne!(dual.apply(&world.of(other.view())).unwrap(), found);
}

#[test]
fn dual_dis_has_rows_of_four_kinds() {
    // Item 0 is active in both banks, item 1 among the queries, item 2 among the items, item 3 in none.
    let bank = array![[9.0f32, 0.0, 0.0, 0.0], [0.0, 9.0, 0.0, 0.0]];
    let items = array![[9.0f32, 0.0, 0.0, 0.0], [0.0, 0.0, 9.0, 0.0]];
    let s = array![[4.0f32, 3.0, 2.0, 1.0], [3.0, 4.0, 2.0, 1.0], [1.0, 2.0, 4.0, 3.0], [1.0, 2.0, 3.0, 4.0]];
    let scores = Scores::new(s.view()).with_query_bank(bank.view()).with_gallery_bank(items.view());
    let spec = "dual-bank:temperature=1,gallery_temperature=3";
    let dynamic = method(&format!("{spec},rows=active"));
    let found = dynamic.apply(&scores).unwrap();
    let both = method(spec).apply(&scores).unwrap();
    assert_eq!(found.row(0), both.row(0));
    assert_eq!(found.row(3), s.row(3));
    for (row, bank, temperature) in [(1, &bank, 1.0), (2, &items, 3.0)] {
        let factor = inverted_softmax(&s, bank, temperature).mapv(|s| (s / f64::from(temperature)).exp());
        let expected = &s.row(row).mapv(f64::from) * &factor.row(row);
        let ratio = f64::from(found[[row, 0]]) / expected[0];
        assert!(ratio > 0.0);
        assert_close(found.row(row).insert_axis(Axis(0)), &(expected * ratio).insert_axis(Axis(0)), 1e-5);
    }
    // Among the four best of four items every one is active in both banks.
    assert_eq!(method(&format!("{spec},rows=active,k=4")).apply(&scores).unwrap(), both);
    assert_ne!(found, both);
    assert!(dynamic.bias(&scores).unwrap().is_none(), "rows of several kinds have no one bias");
}
