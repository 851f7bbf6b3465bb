use crate::oracles::{assert_close, inverted_softmax, mean_of_largest, noise, with_bank};
use ndarray::{Array2, Axis, array};
use proptest::prelude::*;
use tvr_normalize::{
    Chain, EmbeddingSource, Family, InvertedSoftmax, Marginals, MatrixSource, Normalizer, QbNorm, Regime,
    Scores, Sinkhorn,
};

const SPECS: [&str; 9] = [
    "raw",
    "dual-softmax:temperature=1",
    "mutual:temperature=1",
    "inverted-softmax:temperature=1",
    "sinkhorn:tau=1,iterations=20",
    "csls:k=2",
    "nnn:k=2",
    "qb-norm:temperature=1",
    "inverted-softmax+sinkhorn:iterations=5",
];

fn chains() -> impl Iterator<Item = Chain> {
    SPECS.into_iter().map(|spec| spec.parse().unwrap())
}

proptest! {
    #[test]
    fn p_no_1_bank_methods_look_at_one_query((s, bank) in with_bank(5.0)) {
        let rows: Vec<usize> = (0..s.nrows()).step_by(2).collect();
        let part = s.select(Axis(0), &rows);
        for method in chains() {
            let scores = Scores::new(s.view()).with_query_bank(bank.view());
            prop_assert!(method.regime(&scores) <= Regime::Bank);
            let all = method.apply(&scores).unwrap();
            let some = method.apply(&Scores { test: part.view(), ..scores }).unwrap();
            prop_assert_eq!(some, all.select(Axis(0), &rows), "{}", method);
        }
    }

    #[test]
    fn p_no_2_permutation((s, bank) in with_bank(5.0)) {
        let rows: Vec<usize> = (0..s.nrows()).rev().collect();
        let columns: Vec<usize> = (0..s.ncols()).rev().collect();
        let turned = bank.select(Axis(0), &(0..bank.nrows()).rev().collect::<Vec<_>>()).select(Axis(1), &columns);
        for method in chains() {
            let plain = method.apply(&Scores::new(s.view()).with_query_bank(bank.view())).unwrap();
            let permuted = s.select(Axis(0), &rows).select(Axis(1), &columns);
            let found = method.apply(&Scores::new(permuted.view()).with_query_bank(turned.view())).unwrap();
            let expected = plain.select(Axis(0), &rows).select(Axis(1), &columns).mapv(f64::from);
            assert_close(found.view(), &expected, 2e-6); // f32 sums in another order
        }
    }

    #[test]
    fn p_no_4_the_test_queries_as_bank_are_the_transductive_form((s, _) in with_bank(5.0)) {
        for spec in ["inverted-softmax:temperature=1", "sinkhorn:tau=1,iterations=20", "csls:k=2"] {
            let method: Family = spec.parse().unwrap();
            let alone = method.apply(&Scores::new(s.view())).unwrap();
            let bank = method.apply(&Scores::new(s.view()).with_query_bank(s.view())).unwrap();
            assert_close(bank.view(), &alone.mapv(f64::from), 1e-6);
        }
    }

    #[test]
    fn inverted_softmax_is_its_formula((s, bank) in with_bank(20.0), temperature in 0.1f32..20.0) {
        let scores = Scores::new(s.view()).with_query_bank(bank.view());
        let found = InvertedSoftmax::new(temperature).unwrap().apply(&scores).unwrap();
        assert_close(found.view(), &inverted_softmax(&s, &bank, temperature), 8e-6); // scores and biases up to 70 in f32
    }

    #[test]
    fn csls_and_nnn_are_their_formulas((s, bank) in with_bank(5.0)) {
        let scores = Scores::new(s.view()).with_query_bank(bank.view());
        let mean = |j: usize| mean_of_largest(bank.column(j).iter().copied(), 2);
        let nnn = Array2::from_shape_fn(s.dim(), |(i, j)| f64::from(s[[i, j]]) - 0.5 * mean(j));
        let found = "nnn:k=2,alpha=0.5".parse::<Family>().unwrap().apply(&scores).unwrap();
        assert_close(found.view(), &nnn, 1e-6);
        let csls = Array2::from_shape_fn(s.dim(), |(i, j)| {
            2.0 * f64::from(s[[i, j]]) - mean_of_largest(s.row(i).iter().copied(), 2) - mean(j)
        });
        let found = "csls:k=2".parse::<Family>().unwrap().apply(&scores).unwrap();
        assert_close(found.view(), &csls, 1e-6);
    }

    #[test]
    fn p_no_8_csls_is_symmetric((s, _) in with_bank(5.0)) {
        let csls: Family = "csls:k=2".parse().unwrap();
        let turned = csls.apply(&Scores::new(s.t())).unwrap();
        assert_close(turned.t(), &csls.apply(&Scores::new(s.view())).unwrap().mapv(f64::from), 1e-6);
    }

    #[test]
    fn a_bias_gives_the_order_of_the_result((s, bank) in with_bank(5.0)) {
        let scores = Scores::new(s.view()).with_query_bank(bank.view());
        for method in chains() {
            let Some(bias) = method.bias(&scores).unwrap() else { continue };
            let (result, biased) = (method.apply(&scores).unwrap(), &s + &bias);
            for (a, b) in result.rows().into_iter().zip(biased.rows()) {
                for j in 1..a.len() {
                    let (a, b) = (a[0] - a[j], b[0] - b[j]);
                    prop_assert!(a.signum() == b.signum() || b.abs() < 1e-4, "{method}: {a} {b}");
                }
            }
        }
    }
}

#[test]
fn p_no_1_transductive_methods_look_at_other_queries() {
    let s = noise(6, 5, 3.0, 7);
    let scores = Scores::new(s.view());
    for method in chains().filter(|method| method.regime(&scores) == Regime::Transductive) {
        let Ok(all) = method.apply(&scores) else { continue };
        let part = s.slice(ndarray::s![..3, ..]);
        let some = method.apply(&Scores::new(part)).unwrap();
        assert_ne!(some, all.slice(ndarray::s![..3, ..]), "{method}");
    }
}

#[test]
fn p_no_5_finite_at_any_temperature_and_nan_is_refused() {
    let (cosines, bank) = (noise(40, 30, 1.0, 1), noise(50, 30, 1.0, 2));
    let logits = array![[1e4, -1e4, 0.0], [-1e4, 1e4, 1.0], [1e4, 1e4, 2.0]];
    for name in [
        "dual-softmax:temperature",
        "mutual:temperature",
        "inverted-softmax:temperature",
        "sinkhorn:tau",
        "qb-norm:temperature",
    ] {
        for tau in [0.001, 0.01, 1.0, 1000.0] {
            let method: Family = format!("{name}={tau}").parse().unwrap();
            for (s, bank) in [(&cosines, &bank), (&logits, &logits)] {
                let banked = method.apply(&Scores::new(s.view()).with_query_bank(bank.view())).unwrap();
                assert!(banked.iter().all(|value| value.is_finite()), "{method}");
                if !matches!(method, Family::QbNorm(_)) {
                    let alone = method.apply(&Scores::new(s.view())).unwrap();
                    assert!(alone.iter().all(|value| value.is_finite()), "{method}");
                }
            }
        }
    }
    for method in chains() {
        let mut broken = cosines.clone();
        broken[[17, 3]] = f32::NAN;
        let scores = Scores::new(broken.view()).with_query_bank(bank.view());
        let error = method.apply(&scores).unwrap_err().to_string();
        assert_eq!(error, "scores[17, 3] is NaN; every score must be finite");
        let mut bank = bank.clone();
        bank[[2, 29]] = f32::NEG_INFINITY;
        let scores = Scores::new(cosines.view()).with_query_bank(bank.view());
        let error = method.apply(&scores).unwrap_err().to_string();
        assert_eq!(error, "query bank[2, 29] is -inf; every score must be finite");
    }
}

#[test]
fn p_no_6_qb_norm_leaves_other_rows_raw() {
    let (s, bank) = (noise(40, 30, 1.0, 1), noise(20, 30, 1.0, 2));
    let scores = Scores::new(s.view()).with_query_bank(bank.view());
    let method = QbNorm::new(0.05, 1, 1).unwrap();
    let (active, found) = (method.active(&scores).unwrap(), method.apply(&scores).unwrap());
    let everywhere = QbNorm::new(0.05, 30, 1).unwrap().apply(&scores).unwrap();
    assert_eq!(everywhere, InvertedSoftmax::new(0.05).unwrap().apply(&scores).unwrap());
    for (i, row) in s.rows().into_iter().enumerate() {
        let winner = (0..30).max_by(|&a, &b| row[a].total_cmp(&row[b])).unwrap();
        let expected = if active[winner] { everywhere.row(i) } else { row };
        assert_eq!(found.row(i), expected);
    }
    let more = QbNorm::new(0.05, 2, 1).unwrap().active(&scores).unwrap();
    let fewer = QbNorm::new(0.05, 1, 2).unwrap().active(&scores).unwrap();
    assert!((0..30).all(|j| fewer[j] <= active[j] && active[j] <= more[j]));
}

#[test]
fn p_no_7_the_input_is_untouched() {
    let (s, bank) = (noise(9, 5, 3.0, 1), noise(9, 5, 3.0, 2));
    let before = (s.clone(), bank.clone());
    for method in chains() {
        method.apply(&Scores::new(s.view()).with_query_bank(bank.view())).unwrap();
    }
    assert_eq!((s, bank), before);
}

#[test]
fn p_no_12_matrix_free_is_dense_at_any_block_and_thread_count() {
    let (queries, gallery) = (noise(203, 16, 0.5, 1), noise(67, 16, 0.5, 2));
    let dense = queries.dot(&gallery.t());
    let uniform = Marginals::uniform(203, 67);
    for (tau, iterations) in [(1.0, 20), (0.05, 20)] {
        let sinkhorn = Sinkhorn::new(tau, iterations).unwrap();
        let softmax = InvertedSoftmax::new(tau).unwrap();
        let fit = sinkhorn.fit(&Scores::new(dense.view())).unwrap();
        let bias = softmax.bias(&Scores::new(dense.view())).unwrap().unwrap();
        let mut first = None;
        for (block, threads) in [(32, 1), (32, 2), (32, 5), (1, 2), (7, 3), (500, 2)] {
            let source = EmbeddingSource::new(queries.view(), gallery.view(), 1.0).unwrap();
            let source = source.with_block_rows(block);
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            let (free, free_bias) = pool.install(|| {
                (sinkhorn.fit_source(&source, &uniform).unwrap(), softmax.bias_of(&source).unwrap())
            });
            for (a, b) in free.gallery_potential.iter().zip(&fit.gallery_potential) {
                // The inner products of two block sizes differ by rounding, which 1/τ scales.
                assert!((a - b).abs() < 1e-5f64.max(2e-6 / f64::from(tau)), "{a} {b} at block {block}");
            }
            for (a, b) in free_bias.iter().zip(&bias) {
                assert!((a - b).abs() < 1e-5);
            }
            if block == 32 {
                let (fit, bias) = first.get_or_insert_with(|| (free.clone(), free_bias.clone()));
                assert_eq!((&*fit, &*bias), (&free, &free_bias), "thread count {threads}");
            }
        }
    }
    for threads in [1, 2, 5] {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        let scores = Scores::new(dense.view());
        for method in chains().filter(|method| method.apply(&scores).is_ok()) {
            assert_eq!(pool.install(|| method.apply(&scores)).unwrap(), method.apply(&scores).unwrap());
        }
    }
}

#[test]
fn p_no_13_raw_is_the_neutral_link() {
    let (s, bank) = (noise(9, 5, 3.0, 1), noise(9, 5, 3.0, 2));
    let scores = Scores::new(s.view()).with_query_bank(bank.view());
    for spec in SPECS {
        let expected = spec.parse::<Chain>().unwrap().apply(&scores).unwrap();
        for chained in [format!("raw+{spec}"), format!("{spec}+raw")] {
            assert_eq!(chained.parse::<Chain>().unwrap().apply(&scores).unwrap(), expected, "{chained}");
        }
    }
    let error = "qb-norm+sinkhorn".parse::<Chain>().unwrap_err();
    assert_eq!(
        error.to_string(),
        "sinkhorn cannot follow qb-norm: qb-norm leaves some rows raw, so rows are not comparable; put sinkhorn first"
    );
}

#[test]
fn p_no_14_a_lonely_query() {
    let s = array![[0.3f32, -0.2, 0.9]];
    let scores = Scores::new(s.view());
    let message = |spec: &str| spec.parse::<Family>().unwrap().apply(&scores).unwrap_err().to_string();
    let tail = "all scores of its row would become equal; give a query bank or more queries";
    assert_eq!(message("inverted-softmax"), format!("inverted-softmax: one query and no query bank: {tail}"));
    assert_eq!(message("sinkhorn"), format!("sinkhorn: one query and no query bank: {tail}"));
    assert_eq!(
        message("csls:k=1"),
        "csls: one query and no query bank: the gallery term would be the query's own score; \
         give a query bank or more queries"
    );
    assert_eq!("dual-softmax".parse::<Family>().unwrap().apply(&scores).unwrap(), s);
    let source = MatrixSource::new(s.view());
    assert!(InvertedSoftmax::new(1.0).unwrap().bias_of(&source).is_ok()); // a bank of one is allowed
}
