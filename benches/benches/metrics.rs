//! Ranks from a matrix: one direction, and both with every figure of a table.

mod support;

use criterion::{Criterion, criterion_group, criterion_main};
use tvr_metrics::{Direction, MetricError, Policy, Truth, judge, ranks};

use support::{cosines, measure, video_of};

fn metrics(criterion: &mut Criterion) {
    for (texts, videos) in [(1000, 1000), (27763, 670)] {
        let scores = cosines(texts, videos);
        let Ok(truth) = truth(texts, videos) else { continue };
        let policy = Policy::default();
        measure(criterion, &format!("metrics/ranks/{texts}x{videos}"), "tvr", || {
            ranks(scores.view(), &truth, Direction::TextToVideo, &policy)
        });
        measure(criterion, &format!("metrics/judge/{texts}x{videos}"), "tvr", || {
            judge(scores.view(), &truth, &policy)
        });
    }
}

fn truth(texts: usize, videos: usize) -> Result<Truth, MetricError> {
    Truth::groups((0..texts).map(|text| video_of(text, texts, videos)).collect())
}

criterion_group!(benches, metrics);
criterion_main!(benches);
