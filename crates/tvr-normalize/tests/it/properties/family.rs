//! P-NO of the whole family: regime, permutation, extremes, sources, chains.

use crate::oracles::{
    World, assert_close, inverted_softmax, mean_of_largest, noise, noisy_world, with_bank, world,
};
use ndarray::{Array2, Axis, array};
use proptest::prelude::*;
use tvr_normalize::{
    Chain, EmbeddingSource, Family, InvertedSoftmax, Marginals, Normalizer, Regime, ScoreSource, Scores,
    Sinkhorn, Sources,
};

const SPECS: [&str; 15] = [
    "raw",
    "dual-softmax:temperature=1",
    "dual-softmax:temperature=1,prior=shared",
    "dual-softmax:temperature=1,prior=videos",
    "mutual:temperature=1",
    "inverted-softmax:temperature=1",
    "sinkhorn:tau=1,iterations=20",
    "single-query:tau=1,iterations=3",
    "dbsn:tau=1,iterations=20",
    "csls:k=2",
    "nnn:k=2",
    "qb-norm:temperature=1",
    "dual-bank:temperature=1,gallery_temperature=1",
    "dual-bank:temperature=1,gallery_temperature=1,rows=active",
    "inverted-softmax+sinkhorn:iterations=5",
];

fn chains() -> impl Iterator<Item = Chain> {
    SPECS.into_iter().map(|spec| spec.parse().unwrap())
}

#[test]
fn the_properties_cover_the_whole_table() {
    for entry in Family::ALL {
        assert!(SPECS.iter().any(|spec| spec.split(':').next() == Some(entry.name)), "{}", entry.name);
    }
}

proptest! {
    #[test]
    fn p_no_1_bank_methods_look_at_one_query(world in world(5.0)) {
        let rows: Vec<usize> = (0..world.test.nrows()).step_by(2).collect();
        let part = world.test.select(Axis(0), &rows);
        for method in chains() {
            prop_assert!(method.regime(&world.scores()) <= Regime::Bank);
            let all = method.apply(&world.scores()).unwrap();
            let some = method.apply(&world.of(part.view())).unwrap();
            prop_assert_eq!(some, all.select(Axis(0), &rows), "{}", method);
        }
    }

    #[test]
    fn p_no_2_permutation(
        (world, [rows, columns, bank, items]) in world(5.0).prop_flat_map(|world| {
            let order = |n: usize| Just((0..n).collect::<Vec<usize>>()).prop_shuffle();
            let (n, m) = world.test.dim();
            let orders = [order(n), order(m), order(world.bank.nrows()), order(world.items.nrows())];
            // The gallery of the bank keeps its order: it is no part of the result.
            (Just(world), orders)
        })
    ) {
        let mut turned = world.select(&rows, &columns, &bank, &items);
        turned.own = world.own.select(Axis(0), &bank);
        for method in chains() {
            let found = method.apply(&turned.scores()).unwrap();
            let plain = method.apply(&world.scores()).unwrap();
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
    fn a_bias_gives_the_order_of_the_result(world in world(5.0)) {
        for method in chains() {
            let Some(bias) = method.bias(&world.scores()).unwrap() else { continue };
            let (result, biased) = (method.apply(&world.scores()).unwrap(), &world.test + &bias);
            for (a, b) in result.rows().into_iter().zip(biased.rows()) {
                for j in 1..a.len() {
                    let (a, b) = (a[0] - a[j], b[0] - b[j]);
                    prop_assert!(a.signum() == b.signum() || b.abs() < 1e-4, "{method}: {a} {b}");
                }
            }
        }
    }
}

/// Rows of several stretches of 256, with the largest in the last and many equal scores.
#[test]
fn csls_selects_from_a_wide_gallery() {
    let mut s = noise(3, 600, 8.0, 5);
    s.indexed_iter_mut().for_each(|((_, j), score)| *score = score.round() + (j / 100) as f32);
    let csls = Array2::from_shape_fn(s.dim(), |(i, j)| {
        2.0 * f64::from(s[[i, j]])
            - mean_of_largest(s.row(i).iter().copied(), 2)
            - mean_of_largest(s.column(j).iter().copied(), 2)
    });
    let found = "csls:k=2".parse::<Family>().unwrap().apply(&Scores::new(s.view())).unwrap();
    assert_close(found.view(), &csls, 1e-6);
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
    let cosines = noisy_world([40, 30, 50, 20], 1.0);
    let edge = array![[1e4, -1e4, 0.0], [-1e4, 1e4, 1.0], [1e4, 1e4, 2.0]];
    let edge = World { test: edge.clone(), bank: edge.clone(), items: edge.clone(), own: edge };
    for name in [
        "dual-softmax:temperature",
        "dual-softmax:prior=shared,temperature",
        "mutual:temperature",
        "inverted-softmax:temperature",
        "sinkhorn:tau",
        "single-query:iterations=2,tau",
        "dbsn:tau",
        "qb-norm:temperature",
        "dual-bank:gallery_temperature=0.001,temperature",
        "dual-bank:rows=active,gallery_temperature=0.001,temperature",
    ] {
        for tau in [1e-40, 0.001, 0.01, 1.0, 1000.0] {
            let method: Family = format!("{name}={tau}").parse().unwrap();
            for world in [&cosines, &edge] {
                let banked = method.apply(&world.scores()).unwrap();
                assert!(banked.iter().all(|value| value.is_finite()), "{method}");
                if method.entry().unwrap().without_bank.is_some() {
                    let alone = method.apply(&Scores::new(world.test.view())).unwrap();
                    assert!(alone.iter().all(|value| value.is_finite()), "{method}");
                }
            }
        }
    }
    for method in chains() {
        // Those without a temperature too.
        for world in [&cosines, &edge] {
            let banked = method.apply(&world.scores()).unwrap();
            assert!(banked.iter().all(|value| value.is_finite()), "{method}");
        }
        let mut broken = cosines.clone();
        broken.test[[17, 3]] = f32::NAN;
        let error = method.apply(&broken.scores()).unwrap_err().to_string();
        assert_eq!(error, "scores[17, 3] is NaN; every score must be finite");
        let mut broken = cosines.clone();
        broken.bank[[2, 29]] = f32::NEG_INFINITY;
        let error = method.apply(&broken.scores()).unwrap_err().to_string();
        assert_eq!(error, "query bank[2, 29] is -inf; every score must be finite", "{method}");
    }
}

#[test]
fn p_no_7_the_input_is_untouched() {
    let world = noisy_world([9, 5, 9, 4], 3.0);
    let before = world.clone();
    for method in chains() {
        method.apply(&world.scores()).unwrap();
    }
    assert_eq!((world.test, world.bank), (before.test, before.bank));
    assert_eq!((world.items, world.own), (before.items, before.own));
}

#[test]
fn p_no_12_matrix_free_is_dense_at_any_block_and_thread_count() {
    let width = 16;
    let embed = |n: usize, seed: u64| noise(n, width, 0.5, seed);
    let (queries, gallery) = (embed(61, 1), embed(67, 2));
    let (bank, items) = (embed(203, 3), embed(45, 4));
    let dense = World {
        test: queries.dot(&gallery.t()),
        bank: bank.dot(&gallery.t()),
        items: items.dot(&gallery.t()),
        own: bank.dot(&items.t()),
    };
    for method in chains() {
        for banked in [true, false] {
            let scores = if banked { dense.scores() } else { Scores::new(dense.test.view()) };
            let Ok(expected) = method.apply(&scores) else { continue };
            let mut first = None;
            for (block, threads) in [(32, 1), (32, 2), (32, 5), (1, 2), (7, 3), (500, 2)] {
                let sources = [(&queries, &gallery), (&bank, &gallery), (&items, &gallery), (&bank, &items)]
                    .map(|(left, right)| {
                        EmbeddingSource::new(left.view(), right.view(), 1.0).unwrap().with_block_rows(block)
                    });
                let bank = |index: usize| banked.then_some(&sources[index] as &dyn ScoreSource);
                let all = Sources {
                    test: Some(&sources[0]),
                    query_bank: bank(1),
                    gallery_bank: bank(2),
                    bank_gallery: bank(3),
                    ..Sources::default()
                };
                let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
                let free = pool.install(|| {
                    let prepared = match method.prepare(&all) {
                        Ok(prepared) => prepared,
                        Err(error) => return Err(error.to_string()),
                    };
                    // Two halves, so that no call holds the whole matrix.
                    let halves = [0..30, 30..61].map(|rows| prepared.apply_rows(&sources[0], rows).unwrap());
                    Ok(ndarray::concatenate(Axis(0), &halves.each_ref().map(|half| half.view())).unwrap())
                });
                if method.steps().len() > 1 {
                    assert_eq!(
                        free.unwrap_err(),
                        format!(
                            "{method} works on a matrix only, because each step reads what the one before it made; \
                                 apply it to scores"
                        )
                    );
                    break;
                }
                let free = free.unwrap();
                assert_close(free.view(), &expected.mapv(f64::from), 1e-5);
                if block == 32 {
                    assert_eq!(
                        first.get_or_insert_with(|| free.clone()),
                        &free,
                        "{method}: thread count {threads}"
                    );
                }
            }
            for threads in [1, 2, 5] {
                let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
                assert_eq!(pool.install(|| method.apply(&scores)).unwrap(), expected, "{method}");
            }
        }
    }
}

#[test]
fn p_no_12_a_score_is_the_inner_product_times_the_scale() {
    let (queries, gallery) = (noise(5, 16, 0.5, 1), noise(7, 16, 0.5, 2));
    let source = EmbeddingSource::new(queries.view(), gallery.view(), 20.0).unwrap();
    let mut scratch = Vec::new();
    let block = Array2::from_shape_vec((5, 7), source.block(0..5, &mut scratch).to_vec()).unwrap();
    let dense = queries.mapv(f64::from).dot(&gallery.mapv(f64::from).t()) * 20.0;
    assert_close(block.view(), &dense, 1e-6);
}

#[test]
fn p_no_12_potentials_of_sinkhorn_are_dense_at_a_low_temperature() {
    let (queries, gallery) = (noise(203, 16, 0.5, 1), noise(67, 16, 0.5, 2));
    let dense = queries.dot(&gallery.t());
    let uniform = Marginals::uniform(203, 67);
    let sinkhorn = Sinkhorn::new(0.05, 20).unwrap();
    let fit = sinkhorn.fit(&Scores::new(dense.view())).unwrap();
    for block in [1, 7, 32, 500] {
        let source =
            EmbeddingSource::new(queries.view(), gallery.view(), 1.0).unwrap().with_block_rows(block);
        let free = sinkhorn.fit_source(&source, &uniform).unwrap();
        for (a, b) in free.gallery_potential.iter().zip(&fit.gallery_potential) {
            // The inner products of two block sizes differ by rounding, which 1/τ scales.
            assert!((a - b).abs() < 4e-5, "{a} {b} at block {block}");
        }
    }
}

#[test]
fn a_bias_beside_the_result_is_the_one_that_is_asked_for_alone() {
    let world = noisy_world([9, 5, 9, 4], 3.0);
    let two_steps = "csls:k=2+dual-softmax".parse::<Chain>().unwrap();
    for method in chains().chain([two_steps]) {
        let (result, bias) = method.apply_with_bias(&world.scores()).unwrap();
        assert_eq!(bias, method.bias(&world.scores()).unwrap(), "{method}");
        assert_eq!(result, method.apply(&world.scores()).unwrap(), "{method}");
    }
}

#[test]
fn p_no_13_raw_is_the_neutral_link() {
    let world = noisy_world([9, 5, 9, 4], 3.0);
    for spec in SPECS {
        let plain: Chain = spec.parse().unwrap();
        let expected = plain.apply(&world.scores()).unwrap();
        for chained in [format!("raw+{spec}"), format!("{spec}+raw")] {
            let chained: Chain = chained.parse().unwrap();
            assert_eq!(chained.apply(&world.scores()).unwrap(), expected, "{chained}");
            assert_eq!(chained.regime(&world.scores()), plain.regime(&world.scores()));
            assert_eq!(chained.bias(&world.scores()).unwrap(), plain.bias(&world.scores()).unwrap());
        }
    }
}

#[test]
fn p_no_13_a_later_step_reads_what_the_earlier_made_of_test_and_banks() {
    let world = noisy_world([6, 5, 9, 4], 3.0);
    for (first, last) in [
        ("inverted-softmax:temperature=1", "nnn:k=2"),
        ("csls:k=2", "dual-bank:temperature=1,gallery_temperature=2"),
    ] {
        let chain: Chain = format!("{first}+{last}").parse().unwrap();
        let [first, last] = [first, last].map(|spec| spec.parse::<Family>().unwrap());
        let step = |queries: &Array2<f32>| first.apply(&world.of(queries.view())).unwrap();
        let (test, bank, items) = (step(&world.test), step(&world.bank), step(&world.items));
        let made = World { test, bank, items, own: world.own.clone() };
        assert_eq!(chain.apply(&world.scores()).unwrap(), last.apply(&made.scores()).unwrap(), "{chain}");
    }
    // The weights are those of the test queries; the rows of a bank have none.
    let chain: Chain = "dual-softmax:temperature=1,prior=videos+nnn:k=2".parse().unwrap();
    let weighted = world.scores().with_query_weights(&[0.5, 0.5, 1.0, 1.0, 0.25, 0.75]);
    assert_eq!(chain.apply(&weighted).unwrap(), chain.apply(&world.scores()).unwrap());
}

#[test]
fn p_no_13_a_chain_sees_what_its_parts_see_and_mixed_rows_end_it() {
    let (s, bank) = (noise(9, 5, 3.0, 1), noise(9, 5, 3.0, 2));
    let chain: Chain = "raw+inverted-softmax+dual-softmax".parse().unwrap();
    assert_eq!(chain.regime(&Scores::new(s.view())), Regime::Transductive);
    assert_eq!(chain.regime(&Scores::new(s.view()).with_query_bank(bank.view())), Regime::Bank);
    let refused = |spec: &str| spec.parse::<Chain>().unwrap_err().to_string();
    assert_eq!(
        refused("qb-norm+sinkhorn"),
        "sinkhorn cannot follow qb-norm: qb-norm leaves some rows raw, so rows are not comparable; put sinkhorn first"
    );
    assert_eq!(
        refused("dual-bank:rows=active+raw+inverted-softmax"),
        "inverted-softmax cannot follow dual-bank: dual-bank leaves some rows raw, so rows are not comparable; put \
         inverted-softmax first"
    );
    assert_eq!(
        refused("nnn+dbsn"),
        "dbsn cannot follow nnn: nnn leaves the bank's own gallery as it is, so the two halves are not comparable; put \
         dbsn first"
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
    // A bank of one query is allowed: it is not the query itself.
    let bank = array![[0.1f32, 0.2, 0.3]];
    assert!(InvertedSoftmax::new(1.0).unwrap().apply(&scores.with_query_bank(bank.view())).is_ok());
}
