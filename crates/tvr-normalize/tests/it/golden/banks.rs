//! QB-Norm, inverted softmax, dual banks, CSLS, NNN, single queries and DBSN.

use super::Golden;
use crate::oracles::{assert_close, assert_near};
use ndarray::{Array1, Array2, Axis};
use tvr_normalize::{Family, InvertedSoftmax, MatrixSource, Normalizer, QbNorm, Scores};

fn apply(spec: &str, scores: Scores) -> Array2<f32> {
    spec.parse::<Family>().unwrap().apply(&scores).unwrap()
}

/// The published output: probabilities in normalised rows, where ours are in logs and in the unit of the scores.
#[track_caller]
fn check_qb(golden: &Golden, key: &str, scores: Scores, method: QbNorm, tolerance: f64) {
    let bank = scores.query_bank.unwrap();
    let active = method.active(&MatrixSource::new(bank)).unwrap();
    let found: Vec<f64> = (0..active.len()).filter(|&j| active[j]).map(|j| j as f64).collect();
    assert_eq!(found, golden.values(&format!("{key}.active")).1, "{key}");
    let mut expected = golden.matrix(&format!("{key}.out"));
    for row in golden.values(&format!("{key}.rows")).1 {
        expected.row_mut(row as usize).mapv_inplace(|p| p.ln() * f64::from(method.temperature()));
    }
    assert_close(method.apply(&scores).unwrap().view(), &expected, tolerance);
}

#[test]
fn qb_norm_is_published_with_every_k_threshold_and_temperature() {
    let Some(golden) = Golden::open("qb") else { return };
    let (s, full, half) = (golden.scores("qb.test"), golden.scores("qb.bank"), golden.scores("qb.bank_half"));
    let (full, half) = (
        Scores::new(s.view()).with_query_bank(full.view()),
        Scores::new(s.view()).with_query_bank(half.view()),
    );
    for (name, scores, temperature, k, threshold) in [
        ("full.k1.b20", full, 0.05, 1, 1),
        ("full.k2.b20", full, 0.05, 2, 1),
        ("full.k5.b20", full, 0.05, 5, 1),
        ("half.k1.b20", half, 0.05, 1, 1),
        ("half.k2.b20", half, 0.05, 2, 1),
        ("half.k5.b20", half, 0.05, 5, 1),
        ("half.k1.b100", half, 0.01, 1, 1),
        ("theta2", half, 0.05, 1, 2),
        ("theta3", half, 0.05, 1, 3),
    ] {
        let method = QbNorm::new(temperature, k, threshold).unwrap();
        check_qb(&golden, &format!("qb.{name}"), scores, method, 1e-5);
    }
    let (logits, bank) = (golden.scores("qb.logits"), golden.scores("qb.bank_half") * 100.0);
    let scores = Scores::new(logits.view()).with_query_bank(bank.view());
    check_qb(&golden, "qb.half_logits.k1.b0.5025", scores, QbNorm::new(1.99, 1, 1).unwrap(), 2e-5); // f32 logits × 100
    let bank = golden.scores("qb.bank_v2t");
    let scores = Scores::new(s.t()).with_query_bank(bank.t());
    check_qb(&golden, "qb.v2t.k1.b20", scores, QbNorm::new(0.05, 1, 1).unwrap(), 1e-5);
    let Some(oracle) = Golden::open("oracle-b") else { return };
    for k in [1, 2, 5] {
        let method = QbNorm::new(0.05, k, 1).unwrap();
        let active = method.active(&MatrixSource::new(half.query_bank.unwrap())).unwrap();
        let found: Vec<f64> = (0..24).filter(|&j| active[j]).map(|j| j as f64).collect();
        assert_eq!(found, oracle.values(&format!("oracle.qb.half.k{k}.active")).1);
        let mut expected = oracle.matrix(&format!("oracle.qb.half.k{k}.b20.out"));
        for row in oracle.values(&format!("oracle.qb.half.k{k}.b20.rows")).1 {
            expected.row_mut(row as usize).mapv_inplace(|p| p.ln() * 0.05);
        }
        assert_close(method.apply(&half).unwrap().view(), &expected, 1e-5);
    }
}

#[test]
fn inverted_softmax_is_published() {
    let Some(golden) = Golden::open("qb") else { return };
    let (s, bank) = (golden.scores("qb.test"), golden.scores("qb.bank"));
    let found = InvertedSoftmax::new(0.05).unwrap();
    let found = found.apply(&Scores::new(s.view()).with_query_bank(bank.view())).unwrap();
    assert_close(found.view(), &golden.matrix("qb.is.b20.out").mapv(|p| p.ln() * 0.05), 1e-5);
    let Some(golden) = Golden::open("csls") else { return };
    let cosines = golden.scores("csls.query").dot(&golden.scores("csls.gallery").t());
    for (temperature, scale, key) in [(0.1, 10.0, "b10"), (1.0 / 30.0, 30.0, "b30")] {
        let found = InvertedSoftmax::new(temperature).unwrap().apply(&Scores::new(cosines.view())).unwrap();
        let expected = golden.matrix(&format!("csls.inverted_softmax.{key}.out"));
        assert_close(found.mapv(|r| (r * scale).exp()).view(), &expected, 1e-5);
    }
}

#[test]
fn csls_and_nnn_are_published() {
    let Some(golden) = Golden::open("csls") else { return };
    let cosines = golden.scores("csls.query").dot(&golden.scores("csls.gallery").t());
    for k in [1, 5, 10] {
        let found = apply(&format!("csls:k={k}"), Scores::new(cosines.view()));
        assert_close(found.view(), &golden.matrix(&format!("csls.k{k}.out")), 1e-5);
        // The order of a row is that of the score less half of what the item is near to.
        let method: Family = format!("csls:k={k}").parse().unwrap();
        let bias = method.bias(&Scores::new(cosines.view())).unwrap().unwrap().mapv(f64::from);
        let means = |side: &str| Array1::from(golden.values(&format!("csls.k{k}.{side}_mean")).1);
        assert_near(&bias, &(means("gallery") / -2.0), 1e-6);
        // And the queries' means are the gallery's, the other way round.
        let bias = method.bias(&Scores::new(cosines.t())).unwrap().unwrap().mapv(f64::from);
        assert_near(&bias, &(means("query") / -2.0), 1e-6);
    }
    let gallery = golden.scores("nnn.gallery");
    let s = golden.scores("nnn.query").dot(&gallery.t());
    let bank = golden.scores("nnn.reference").dot(&gallery.t());
    let scores = Scores::new(s.view()).with_query_bank(bank.view());
    for (k, alpha, key) in [(1, 1.0, "k1.w1.0"), (8, 0.75, "k8.w0.75"), (64, 0.5, "k64.w0.5")] {
        let method: Family = format!("nnn:k={k},alpha={alpha}").parse().unwrap();
        let bias = method.bias(&scores).unwrap().unwrap().mapv(|bias| f64::from(-bias));
        let published = Array1::from(golden.values(&format!("nnn.{key}.bias")).1);
        assert_near(&bias, &(published * alpha), 1e-6);
        let found = method.apply(&scores).unwrap();
        let order = golden.matrix(&format!("nnn.{key}.order"));
        let sorted = golden.matrix(&format!("nnn.{key}.scores_sorted"));
        let found = Array2::from_shape_fn(found.dim(), |(i, j)| found[[i, order[[i, j]] as usize]]);
        assert_close(found.view(), &sorted, 1e-5);
    }
    let (Some(golden), Some(oracle)) = (Golden::open("qb"), Golden::open("oracle-b")) else { return };
    let (s, bank) = (golden.scores("qb.test"), golden.scores("qb.bank"));
    let scores = Scores::new(s.view()).with_query_bank(bank.view());
    assert_close(apply("csls:k=10", scores).view(), &oracle.matrix("oracle.csls.bank.k10.out"), 1e-5);
    assert_close(apply("nnn:k=8,alpha=0.75", scores).view(), &oracle.matrix("oracle.nnn.k8.a0.75.out"), 1e-5);
}

#[test]
fn dual_bank_is_its_published_formula_and_not_its_published_slip() {
    let (Some(golden), Some(oracle)) = (Golden::open("qb"), Golden::open("oracle-b")) else { return };
    let (s, bank, items) =
        (golden.scores("qb.test"), golden.scores("qb.bank_half"), golden.scores("dbnorm.gallery_bank"));
    let scores = Scores::new(s.view()).with_query_bank(bank.view()).with_gallery_bank(items.view());
    let product = |found: &Array2<f32>, scale: f64| found.mapv(|r| (f64::from(r) * scale).exp());
    let found = apply("dual-bank:temperature=0.05,gallery_temperature=0.5", scores);
    // exp of 22 times a score: an f32 error of the log becomes 22 times as large.
    assert_relative(&product(&found, 22.0), &golden.matrix("dbnorm.dbsn_repo.dualis.out"), 1e-5);
    assert_relative(&product(&found, 22.0), &oracle.matrix("oracle.dualis.out"), 1e-5);

    // DBNorm's own function normalises the gallery bank and returns that: [64, 24], whatever the test matrix.
    let slip = golden.matrix("dbnorm.published.out");
    assert_eq!((slip.nrows(), found.nrows()), (items.nrows(), s.nrows()));

    let found = apply("dual-bank:temperature=0.05,gallery_temperature=0.5,rows=active", scores);
    let expected = oracle.matrix("oracle.dualdis.out");
    let active =
        |bank: &Array2<f32>| QbNorm::new(1.0, 1, 1).unwrap().active(&MatrixSource::new(bank.view())).unwrap();
    let (by_query, by_item) = (active(&bank), active(&items));
    let mut kinds = [0; 4];
    for (i, row) in s.rows().into_iter().enumerate() {
        let winner = (0..24).max_by(|&a, &b| row[a].total_cmp(&row[b])).unwrap();
        let found = found.row(i).insert_axis(Axis(0)).to_owned();
        let expected = expected.row(i).insert_axis(Axis(0)).to_owned();
        let kind = (by_query[winner], by_item[winner]);
        kinds[usize::from(kind.0) * 2 + usize::from(kind.1)] += 1;
        match kind {
            (true, true) => assert_relative(&product(&found, 22.0), &expected, 1e-5),
            (false, false) => assert_close(found.mapv(|r| r * r).view(), &expected, 1e-6),
            _ => {
                // A positive number a row apart.
                let ratio = expected[[0, winner]] / f64::from(found[[0, winner]]);
                assert!(ratio > 0.0);
                assert_close(found.view(), &(expected / ratio), 2e-6);
            }
        }
    }
    assert!(kinds[3] > 0 && kinds[..3].iter().any(|&rows| rows > 0), "{kinds:?}: the case tells kinds apart");
}

#[track_caller]
fn assert_relative(found: &Array2<f64>, expected: &Array2<f64>, tolerance: f64) {
    for (found, expected) in found.iter().zip(expected) {
        assert!((found / expected - 1.0).abs() <= tolerance, "{found} is not {expected}");
    }
}

#[test]
fn single_query_and_dbsn_are_their_oracles() {
    let (Some(golden), Some(oracle)) = (Golden::open("qb"), Golden::open("oracle-b")) else { return };
    let (s, bank) = (golden.scores("qb.test"), golden.scores("qb.bank"));
    let scores = Scores::new(s.view()).with_query_bank(bank.view());
    // The oracle's result is in nats, with a constant of its own in each row.
    let level = |result: Array2<f64>| {
        let mean = result.mean_axis(Axis(1)).unwrap().insert_axis(Axis(1));
        result - mean
    };
    let found = apply("single-query:tau=0.05,iterations=20", scores).mapv(|r| f64::from(r) / 0.05);
    let expected = level(oracle.matrix("oracle.single_query.tau0.05.n20.out"));
    assert_close(level(found).mapv(|r| r as f32).view(), &expected, 1e-5);
    let own = oracle.scores("oracle.dbsn.bank_gallery");
    let found = apply("dbsn:tau=0.05,iterations=50", scores.with_bank_gallery(own.view()));
    let expected = level(oracle.matrix("oracle.dbsn.tau0.05.n50.out"));
    assert_close(level(found.mapv(|r| f64::from(r) / 0.05)).mapv(|r| r as f32).view(), &expected, 1e-5);
}
