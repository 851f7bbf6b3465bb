//! `cargo test -p tvr-normalize -- --ignored --nocapture timing`: the best of five, by the clock and, for a machine
//! that others use too, by the processor time of all threads.

use crate::oracles::noise;
use std::time::Instant;
use tvr_normalize::{Family, Normalizer, Scores};

#[test]
#[ignore = "a measurement"]
fn timing() {
    for (n, m) in [(1000, 1000), (27_763, 670)] {
        let s = noise(n, m, 1.0, 1);
        for spec in [
            "dual-softmax:temperature=0.01",
            "inverted-softmax:temperature=0.01",
            "sinkhorn:tau=0.05,iterations=20",
            "sinkhorn:tau=0.01,iterations=20",
        ] {
            best_of_five(spec, &Scores::new(s.view()));
        }
    }
    let (s, bank) = (noise(1000, 1000, 1.0, 1), noise(10_000, 1000, 1.0, 2));
    for spec in ["qb-norm:temperature=0.05", "csls:k=10", "nnn:k=128,alpha=0.75"] {
        best_of_five(spec, &Scores::new(s.view()).with_query_bank(bank.view()));
    }
}

fn best_of_five(spec: &str, scores: &Scores) {
    let method: Family = spec.parse().unwrap();
    let mut best = [f64::MAX; 2];
    for _ in 0..5 {
        let (start, processor) = (Instant::now(), processor_seconds());
        let out = method.apply(scores).unwrap();
        let found = [start.elapsed().as_secs_f64(), processor_seconds() - processor];
        best = [best[0].min(found[0]), best[1].min(found[1])];
        assert!(out.iter().all(|value| value.is_finite()));
    }
    let shape = (scores.test.dim(), scores.query_bank.map(|bank| bank.nrows()));
    println!("{spec} {shape:?}: {:.2} ms, processor {:.2} ms", best[0] * 1e3, best[1] * 1e3);
}

/// Of all threads of this process; 0 where Linux's schedstat is not to be had.
fn processor_seconds() -> f64 {
    let Ok(tasks) = std::fs::read_dir("/proc/self/task") else { return 0.0 };
    let stat = |task: std::fs::DirEntry| std::fs::read_to_string(task.path().join("schedstat")).ok();
    let nanoseconds = |text: String| text.split(' ').next().and_then(|value| value.parse::<f64>().ok());
    tasks.flatten().filter_map(stat).filter_map(nanoseconds).sum::<f64>() / 1e9
}
