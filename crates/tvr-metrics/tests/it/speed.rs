//! Timings on request: `cargo test -p tvr-metrics -- --ignored --nocapture speed`.

use std::time::Instant;

use ndarray::Array2;
use tvr_metrics::{Direction, Policy, Truth, judge, ranks};

fn fastest(name: &str, mut work: impl FnMut()) {
    let mut times: Vec<f64> = (0..40)
        .map(|_| {
            let start = Instant::now();
            work();
            start.elapsed().as_secs_f64() * 1e3
        })
        .collect();
    times.sort_by(f64::total_cmp);
    println!("{name}: fastest {:.3} ms, median {:.3} ms", times[0], times[20]);
}

fn scores(texts: usize, videos: usize) -> Array2<f32> {
    let cell = |(t, v): (usize, usize)| ((t * 7919 + v * 104_729 + t * v * 31) % 100_003) as f32;
    Array2::from_shape_fn((texts, videos), cell)
}

#[test]
#[ignore = "a timing, not a test"]
fn speed() {
    let policy = Policy::default();
    let (square, truth) = (scores(1000, 1000), Truth::diagonal(1000));
    fastest("judge 1000x1000", || drop(judge(square.view(), &truth, &policy).unwrap()));
    let wide = scores(27_763, 670);
    for (order, groups) in [
        ("sorted", (0..27_763).map(|t| t * 670 / 27_763).collect::<Vec<_>>()),
        ("scattered", (0..27_763).map(|t| (t * 37) % 670).collect()),
    ] {
        let truth = Truth::groups(groups).unwrap();
        fastest(&format!("judge 27763x670 {order}"), || drop(judge(wide.view(), &truth, &policy).unwrap()));
        for direction in [Direction::TextToVideo, Direction::VideoToText] {
            let name = format!("ranks 27763x670 {order} {direction:?}");
            fastest(&name, || drop(ranks(wide.view(), &truth, direction, &policy).unwrap()));
        }
    }
}
