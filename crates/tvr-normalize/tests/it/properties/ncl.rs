use crate::oracles::{
    assert_near, largest, matrix, noise, normalisation_error, of_shape, over, sinkhorn, uniform,
};
use ndarray::{Array1, Array2, Axis, concatenate};
use proptest::prelude::*;
use tvr_normalize::{Fit, Marginals, MatrixSource, Normalizer, Scores, Sinkhorn, Start};

fn method(tau: f32, iterations: usize) -> Sinkhorn {
    Sinkhorn::new(tau, iterations).unwrap()
}

fn fit(s: &Array2<f32>, tau: f32, iterations: usize) -> Fit {
    method(tau, iterations).fit(&Scores::new(s.view())).unwrap()
}

fn plan(s: &Array2<f32>, tau: f32, fit: &Fit) -> Array2<f64> {
    let z = over(s, tau);
    Array2::from_shape_fn(s.dim(), |(i, j)| {
        (z[[i, j]] + fit.query_potential[i] + fit.gallery_potential[j]).exp()
    })
}

fn centred(values: Array1<f64>) -> Array1<f64> {
    let mean = values.mean().unwrap();
    values - mean
}

fn problem() -> impl Strategy<Value = (Array2<f32>, Vec<f64>, Vec<f64>)> {
    (2..40usize, 2..12usize).prop_flat_map(|(n, m)| {
        (of_shape(n, m, 10.0), prop::collection::vec(0.1..1.0, n), prop::collection::vec(0.1..1.0, m))
    })
}

proptest! {
    #[test]
    fn p_nc_1_columns_sum_to_their_marginal_after_any_sweep(
        (s, r, c) in problem(), iterations in 1..8usize,
    ) {
        let marginals = Marginals::new(Array1::from(r), Array1::from(c.clone())).unwrap();
        let scores = Scores::new(s.view());
        let fit = method(1.0, iterations).fit_with(&scores, &marginals).unwrap();
        for (sum, c) in plan(&s, 1.0, &fit).sum_axis(Axis(0)).iter().zip(&c) {
            prop_assert!((sum / c - 1.0).abs() < 1e-6, "{sum} is not {c}");
        }
    }

    #[test]
    fn p_nc_1_rows_sum_to_their_marginal_within_tol((s, r, c) in problem()) {
        let (r, c) = (Array1::from(r), Array1::from(c));
        let (r, c) = (&r / r.sum(), &c / c.sum());
        let marginals = Marginals::new(r.clone(), c).unwrap();
        let scores = Scores::new(s.view());
        let fit = method(1.0, 10_000).with_tol(1e-4).unwrap().fit_with(&scores, &marginals).unwrap();
        let sums = plan(&s, 1.0, &fit).sum_axis(Axis(1));
        let error = largest(sums.iter().zip(&r).map(|(sum, r)| (sum / r - 1.0).abs()));
        prop_assert!((error - f64::from(fit.marginal_error)).abs() < 2e-6, "{error} {}", fit.marginal_error);
        prop_assert!(!fit.converged || error < 1.02e-4);
        prop_assert!(fit.converged || fit.iterations == 10_000);
    }

    #[test]
    fn p_nc_2_converged_potentials_are_a_fixed_point(s in matrix(2..12usize, 2..12usize, 2.0)) {
        let (before, after) = (fit(&s, 1.0, 400), fit(&s, 1.0, 401));
        assert_near(&before.gallery_potential, &after.gallery_potential, 1e-5);
        assert_near(&before.query_potential, &after.query_potential, 1e-5);
    }

    #[test]
    fn p_nc_3_permutation(s in matrix(2..40usize, 2..12usize, 10.0)) {
        let rows: Vec<usize> = (0..s.nrows()).rev().collect();
        let columns: Vec<usize> = (0..s.ncols()).rev().collect();
        let turned = fit(&s.select(Axis(0), &rows).select(Axis(1), &columns), 1.0, 7);
        let plain = fit(&s, 1.0, 7);
        assert_near(&turned.query_potential, &plain.query_potential.select(Axis(0), &rows), 1e-5);
        assert_near(&turned.gallery_potential, &plain.gallery_potential.select(Axis(0), &columns), 1e-5);
    }

    #[test]
    fn p_nc_4_shifts(s in matrix(2..12usize, 2..12usize, 5.0), iterations in 1..6usize) {
        // Multiples of 1/8 keep the shifted scores near enough to exact.
        let rows = Array1::from_shape_fn(s.nrows(), |i| (i % 5) as f32 / 8.0);
        let columns = Array1::from_shape_fn(s.ncols(), |j| (j % 3) as f32 / 8.0);
        let by_row = &s + &rows.clone().insert_axis(Axis(1));
        assert_near(
            &fit(&by_row, 1.0, iterations).gallery_potential,
            &fit(&s, 1.0, iterations).gallery_potential,
            1e-5,
        );
        let column_first = method(1.0, iterations).with_start(Start::Column);
        let plain = column_first.fit(&Scores::new(s.view())).unwrap();
        let by_column = &s + &columns;
        let shifted = column_first.fit(&Scores::new(by_column.view())).unwrap();
        let expected = centred(&plain.gallery_potential - &columns.mapv(f64::from));
        assert_near(&shifted.gallery_potential, &expected, 1e-5);
    }

    /// Once converged it does not matter which side began, nor on which side a shift lies: what is shifted comes off
    /// the potential of its own side.
    #[test]
    fn p_nc_4_converged_shifts(s in matrix(2..9usize, 2..9usize, 1.5)) {
        let rows = Array1::from_shape_fn(s.nrows(), |i| (i % 5) as f32 / 8.0);
        let columns = Array1::from_shape_fn(s.ncols(), |j| (j % 3) as f32 / 8.0);
        let shifted = &(&s + &rows.clone().insert_axis(Axis(1))) + &columns;
        let corrected = |s: &Array2<f32>, fit: &Fit| Array1::from_iter(plan(s, 1.0, fit).iter().map(|p| p.ln()));
        let expected = corrected(&s, &fit(&s, 1.0, 400));
        for start in [Start::Row, Start::Column] {
            let settings = method(1.0, 400).with_start(start);
            let plain = settings.fit(&Scores::new(s.view())).unwrap();
            let moved = settings.fit(&Scores::new(shifted.view())).unwrap();
            let of_columns = centred(&plain.gallery_potential - &columns.mapv(f64::from));
            assert_near(&moved.gallery_potential, &of_columns, 1e-5);
            let of_rows = centred(&plain.query_potential - &rows.mapv(f64::from));
            assert_near(&centred(moved.query_potential.clone()), &of_rows, 1e-5);
            assert_near(&corrected(&s, &plain), &expected, 1e-5);
            assert_near(&corrected(&shifted, &moved), &expected, 1e-5);
        }
    }

    #[test]
    fn p_nc_5_error_falls_and_the_dual_rises(s in matrix(2..12usize, 2..12usize, 5.0)) {
        let z = over(&s, 1.0);
        let (n, m) = (s.nrows() as f64, s.ncols() as f64);
        // Before the first sweep the bias is nothing, and there is no dual value yet.
        let mut last = (normalisation_error(&z, &Array1::zeros(s.ncols())), f64::NEG_INFINITY);
        for iterations in 1..8 {
            let fit = fit(&s, 1.0, iterations);
            let error = normalisation_error(&z, &fit.gallery_potential);
            let dual = fit.query_potential.sum() / n + fit.gallery_potential.sum() / m
                - plan(&s, 1.0, &fit).sum();
            prop_assert!(error <= last.0 + 1e-6, "{error} > {}", last.0);
            prop_assert!(dual >= last.1 - 1e-6, "{dual} < {}", last.1);
            last = (error, dual);
        }
    }

    #[test]
    fn p_nc_6_log_domain(s in matrix(2..40usize, 2..12usize, 1.0), iterations in 1..30usize) {
        for (s, tau) in [(s.clone(), 0.01), (s.clone(), 0.001), (s * 4e3, 1.0)] {
            let fit = fit(&s, tau, iterations);
            prop_assert!(fit.query_potential.iter().chain(&fit.gallery_potential).all(|v| v.is_finite()));
            for sum in plan(&s, tau, &fit).sum_axis(Axis(0)) {
                prop_assert!((sum * s.ncols() as f64 - 1.0).abs() < 1e-4, "{sum}");
            }
            let (f, g) = sinkhorn(&over(&s, tau), &uniform(s.nrows()), &uniform(s.ncols()), iterations, false);
            assert_near(&fit.gallery_potential, &g, 1e-4);
            assert_near(&fit.query_potential, &f, 1e-4);
        }
    }

    #[test]
    fn p_nc_7_unit_marginals_differ_by_a_constant(s in matrix(2..12usize, 2..12usize, 10.0)) {
        let unit = Marginals::new(Array1::ones(s.nrows()), Array1::ones(s.ncols())).unwrap();
        let found = method(1.0, 9).fit_with(&Scores::new(s.view()), &unit).unwrap();
        assert_near(&found.gallery_potential, &fit(&s, 1.0, 9).gallery_potential, 1e-5);
        let streamed = method(1.0, 9).fit_source(&MatrixSource::new(s.view()), &unit).unwrap();
        assert_near(&streamed.query_potential, &found.query_potential, 1e-5);
        prop_assert!((streamed.marginal_error - found.marginal_error).abs() < 1e-4);
    }

    #[test]
    fn p_nc_8_only_the_distribution_of_the_bank_counts(s in matrix(2..12usize, 2..12usize, 10.0), times in 2..5usize) {
        let repeated = concatenate(Axis(0), &vec![s.view(); times]).unwrap();
        assert_near(&fit(&repeated, 1.0, 9).gallery_potential, &fit(&s, 1.0, 9).gallery_potential, 1e-5);
    }

    #[test]
    fn p_nc_9_transposed(s in matrix(2..12usize, 2..12usize, 2.0)) {
        let transposed = method(1.0, 400).fit(&Scores::new(s.t())).unwrap();
        assert_near(&transposed.gallery_potential, &centred(fit(&s, 1.0, 400).query_potential), 1e-4);
    }

    #[test]
    fn sinkhorn_is_its_formula((s, r, c) in problem(), iterations in 1..20usize, column in any::<bool>()) {
        let (r, c) = (Array1::from(r), Array1::from(c));
        let (r, c) = (&r / r.sum(), &c / c.sum());
        let start = if column { Start::Column } else { Start::Row };
        let settings = method(0.5, iterations).with_start(start);
        let marginals = Marginals::new(r.clone(), c.clone()).unwrap();
        let (f, g) = sinkhorn(&over(&s, 0.5), &r, &c, iterations, column);
        let dense = settings.fit_with(&Scores::new(s.view()), &marginals).unwrap();
        let streamed = settings.fit_source(&MatrixSource::new(s.view()), &marginals).unwrap();
        for found in [dense, streamed] {
            assert_near(&found.query_potential, &f, 2e-5);
            assert_near(&found.gallery_potential, &g, 2e-5);
        }
    }
}

#[test]
fn p_nc_14_a_bank_is_a_bank() {
    let (s, bank) = (noise(8, 6, 5.0, 1), noise(20, 6, 5.0, 2));
    let mut other = s.clone();
    other.slice_mut(ndarray::s![1.., ..]).mapv_inplace(|value| 3.0 - value);
    let settings = method(1.0, 20);
    let with_bank = |s: &Array2<f32>| {
        settings.apply(&Scores::new(s.view()).with_query_bank(bank.view())).unwrap().row(0).to_owned()
    };
    let alone = |s: &Array2<f32>| settings.apply(&Scores::new(s.view())).unwrap().row(0).to_owned();
    assert_eq!(with_bank(&s), with_bank(&other));
    assert_ne!(alone(&s), alone(&other));
}

#[test]
fn sinkhorn_stops_once_rows_are_within_tol() {
    let s = noise(5, 5, 1.0, 3);
    let settings = method(1.0, 10_000).with_tol(1e-4).unwrap();
    let dense = settings.fit(&Scores::new(s.view())).unwrap();
    let streamed = settings.fit_source(&MatrixSource::new(s.view()), &Marginals::uniform(5, 5)).unwrap();
    for fit in [dense, streamed] {
        assert!(fit.converged && fit.iterations < 10_000, "{fit:?}");
    }
    let scores = Scores::new(s.view());
    assert!(settings.warnings(&scores).is_empty());
    let short = method(1.0, 2);
    assert!(short.warnings(&scores).is_empty());
    let error = short.fit(&scores).unwrap().marginal_error;
    let short = short.with_tol(1e-6).unwrap();
    assert_eq!(
        short.warnings(&scores)[0].to_string(),
        format!(
            "sinkhorn: after 2 iterations a row sum is still {error:.1e} off, above its tol of 1e-6; allow more iterations \
         or a larger tau"
        )
    );
    // Of the bank, where there is one: a single row is solved by the first iteration.
    let bank = noise(1, 5, 1.0, 4);
    assert!(short.warnings(&scores.with_query_bank(bank.view())).is_empty());
}

/// Column sums of several chunks are added up in stretches of 4,096 columns.
#[test]
fn a_gallery_of_more_than_one_stretch_is_its_formula() {
    let s = noise(3, 4200, 4.0, 7);
    let (f, g) = sinkhorn(&over(&s, 1.0), &uniform(3), &uniform(4200), 5, false);
    let found = fit(&s, 1.0, 5);
    assert_near(&found.query_potential, &f, 2e-5);
    assert_near(&found.gallery_potential, &g, 2e-5);
}

#[test]
fn both_solvers_agree_where_the_kernel_underflows() {
    // Two blocks of queries with opposite tastes: most of the kernel is 0, and potentials travel far.
    let mut s = noise(150, 90, 0.4, 9);
    for ((i, j), value) in s.indexed_iter_mut() {
        *value += if (i < 120) == (j < 20) { 0.5 } else { -0.5 };
    }
    for (tau, iterations) in [(0.05, 60), (0.01, 60), (0.002, 60), (0.0005, 30)] {
        let settings = method(tau, iterations);
        let uniform = Marginals::uniform(150, 90);
        let dense = settings.fit(&Scores::new(s.view())).unwrap();
        let streamed = settings.fit_source(&MatrixSource::new(s.view()), &uniform).unwrap();
        assert_near(&dense.gallery_potential, &streamed.gallery_potential, 1e-4);
        assert_near(&dense.query_potential, &streamed.query_potential, 1e-4);
    }
}

#[test]
fn marginals_so_uneven_that_only_the_log_domain_serves() {
    let s = noise(40, 9, 3.0, 4);
    let r = Array1::from_shape_fn(40, |i| 10f64.powi(-(i as i32)));
    let marginals = Marginals::new(&r / r.sum(), uniform(9)).unwrap();
    let found = method(1.0, 12).fit_with(&Scores::new(s.view()), &marginals).unwrap();
    let (f, g) = sinkhorn(&over(&s, 1.0), &(&r / r.sum()), &uniform(9), 12, false);
    assert_near(&found.query_potential, &f, 2e-5);
    assert_near(&found.gallery_potential, &g, 2e-5);
}
