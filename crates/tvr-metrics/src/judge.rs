//! Scores, truth, policy: both directions in one call and one pass over the matrix.

use ndarray::ArrayView2;
use serde::Serialize;

use crate::count::Want;
use crate::ranks::Counted;
use crate::{MetricError, Policy, Summary, Truth};

/// Both directions of one matrix. Each [`Summary`] names its rule.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Judgement {
    /// Each caption is a query, against all videos.
    pub text_to_video: Summary,
    /// [`crate::Rule::Grouped`]: the rule of published tables.
    pub video_to_text: Summary,
    /// [`crate::Rule::Best`], where a video has several captions; with one caption it would repeat the other.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub video_to_text_best: Option<Summary>,
}

/// Judges a matrix in both directions.
///
/// - `scores`: `[texts, videos]`, larger is better; any layout, fastest row by row
/// - cost: one pass, O(texts · videos), parallel over videos with their texts; nothing is sorted
///
/// # Errors
/// [`MetricError`] names the shape, the cell, the cut-off or the dropped queries that leave no figure.
pub fn judge(scores: ArrayView2<f32>, truth: &Truth, policy: &Policy) -> Result<Judgement, MetricError> {
    let several = !truth.is_one_to_one();
    let counted = Counted::new(scores, truth, Want { rows: true, columns: true, maxima: several }, policy)?;
    let summary = |ranks| Summary::new(ranks, &policy.cutoffs);
    Ok(Judgement {
        text_to_video: summary(counted.text_to_video())?,
        video_to_text: summary(counted.video_to_text_grouped())?,
        video_to_text_best: several.then(|| summary(counted.video_to_text_best())).transpose()?,
    })
}
