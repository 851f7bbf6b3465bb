//! Selection, on val alone.

use tvr_metrics::Judgement;

/// The score that chooses a step: the sum of R@1, R@5 and R@10 of both directions on val, in points.
pub fn score(judgement: &Judgement) -> f64 {
    [&judgement.text_to_video, &judgement.video_to_text]
        .iter()
        .flat_map(|summary| [1, 5, 10].map(|cutoff| summary.recall_percent(cutoff).unwrap_or(0.0)))
        .sum()
}
