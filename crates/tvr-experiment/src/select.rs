//! Selection, on val alone.

use tvr_metrics::Judgement;

/// Whether val is looked at after `step` (from 1) of `steps`: `looks` times in all, evenly, after the last step always, and
/// after every step where there are more looks than steps.
///
/// Look `k` comes after step `ceil(k · steps / looks)`: a step has one where `step · looks / steps` passes a whole number.
pub fn is_look(step: usize, steps: usize, looks: usize) -> bool {
    // A product of two counts has room in twice their bits.
    let due = |step: usize| step as u128 * looks.max(1) as u128 / steps as u128;
    due(step) > due(step - 1)
}

/// The score that chooses a step: the sum of R@1, R@5 and R@10 of both directions on val, in points.
pub fn score(judgement: &Judgement) -> f64 {
    [&judgement.text_to_video, &judgement.video_to_text]
        .iter()
        .flat_map(|summary| [1, 5, 10].map(|cutoff| summary.recall_percent(cutoff).unwrap_or(0.0)))
        .sum()
}
