//! Dual softmax and Sinkhorn on a published matrix of MSR-VTT (1,000 x 1,000): query by query, how many items win.

use super::Golden;
use ndarray::Array2;
use tvr_normalize::{Normalizer, Scores};

/// `msrvtt/dgl_vit16_sim.npy`, or `None` with the reason.
fn published() -> Option<Array2<f32>> {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../../shared/data/msrvtt/dgl_vit16_sim.npy");
    let bytes = match std::fs::read(path) {
        Ok(bytes) => bytes,
        Err(error) => {
            println!("skipped: {path}: {error}");
            return None;
        }
    };
    assert!(
        String::from_utf8_lossy(&bytes[..128])
            .contains("'<f4', 'fortran_order': False, 'shape': (1000, 1000)")
    );
    let values = bytes[128..].as_chunks().0.iter().map(|&b| f32::from_le_bytes(b)).collect();
    Some(Array2::from_shape_vec((1000, 1000), values).unwrap())
}

/// Items above the true one, and others equal to it.
fn counts(scores: &Array2<f32>) -> [Vec<f64>; 2] {
    let count = |which: fn(f32, f32) -> bool| {
        let of = |(query, row): (usize, ndarray::ArrayView1<f32>)| {
            row.iter().filter(|&&score| which(score, row[query])).count() as f64
        };
        scores.rows().into_iter().enumerate().map(of).collect::<Vec<_>>()
    };
    [count(|score, own| score > own), count(|score, own| score == own).iter().map(|n| n - 1.0).collect()]
}

#[test]
fn rescored_ranks_are_the_published_ones_query_by_query() {
    let (Some(s), Some(dsl), Some(oracle)) = (published(), Golden::open("dsl"), Golden::open("oracle-b"))
    else {
        return;
    };
    let turned = s.t().as_standard_layout().into_owned();
    for (direction, scores) in [("t2v", &s), ("v2t", &turned)] {
        // Published code in f32, and the oracle in f64: near ties may fall out in another way.
        for (spec, golden, key, apart) in [
            ("raw", &dsl, format!("dsl.dgl.raw.{direction}"), 0),
            ("dual-softmax:temperature=1", &dsl, format!("dsl.dgl.dsl_{direction}.{direction}"), 5),
            ("sinkhorn:tau=1,iterations=50", &oracle, format!("oracle.dgl.sinkhorn.tau1.n50.{direction}"), 5),
        ] {
            let method: tvr_normalize::Family = spec.parse().unwrap();
            let found = counts(&method.apply(&Scores::new(scores.view())).unwrap());
            let expected = ["greater", "equal"].map(|what| golden.values(&format!("{key}.{what}")).1);
            let differ = (0..1000).filter(|&query| {
                found[0][query] != expected[0][query] || found[1][query] != expected[1][query]
            });
            let differ: Vec<usize> = differ.collect();
            assert!(differ.len() <= apart, "{key}: {} queries differ: {differ:?}", differ.len());
            for &query in &differ {
                assert!((found[0][query] - expected[0][query]).abs() <= 1.0, "{key}, query {query}");
            }
            let won = |counts: &[f64]| counts.iter().filter(|&&greater| greater == 0.0).count();
            assert_eq!(won(&found[0]), won(&expected[0]), "{key}");
        }
    }
}
