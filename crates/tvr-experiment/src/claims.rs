//! Claims: paired comparisons with two intervals and a verdict.

use serde::{Deserialize, Serialize};
use tvr_metrics::{Resampling, Verdict, hierarchical_bootstrap, paired_student};

use crate::error::ExperimentError;
use crate::hits::RowHits;

/// A claim and what was measured of it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Claim {
    /// The paper.
    pub paper: String,
    /// The claim, as a sentence.
    pub claim: String,
    /// What it is compared with.
    pub baseline: String,
    /// What is claimed to be better.
    pub treatment: String,
    /// The direction and metric.
    pub metric: String,
    /// Mean over seeds of the paired difference, in points; absent where the claim was not run.
    pub difference: Option<f64>,
    /// Paired Student t over seeds, 95 %; absent with one seed.
    pub interval_over_seeds: Option<[f64; 2]>,
    /// Bootstrap over seeds and queries, 95 %.
    pub interval_over_seeds_and_queries: Option<[f64; 2]>,
    /// `holds`, `does not hold`, `undecided` or `not run`.
    pub verdict: String,
    /// What a reader must know beside it.
    pub remark: String,
}

impl Claim {
    /// A claim whose models were not trained.
    pub fn not_run(paper: &str, claim: &str, names: [String; 2], side: Side, remark: String) -> Self {
        let [baseline, treatment] = names;
        Self {
            paper: paper.into(),
            claim: claim.into(),
            baseline,
            treatment,
            metric: format!("{} R@1", side.short()),
            difference: None,
            interval_over_seeds: None,
            interval_over_seeds_and_queries: None,
            verdict: "not run".into(),
            remark,
        }
    }
}

/// Which direction's R@1 is compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// T2V.
    TextToVideo,
    /// V2T.
    VideoToText,
}

impl Side {
    /// T2V or V2T.
    pub fn short(self) -> &'static str {
        match self {
            Self::TextToVideo => "T2V",
            Self::VideoToText => "V2T",
        }
    }

    /// This direction's hits at rank 1, query by query, in points.
    pub fn of(self, hits: &RowHits) -> &[f64] {
        match self {
            Self::TextToVideo => &hits.text_to_video,
            Self::VideoToText => &hits.video_to_text,
        }
    }
}

/// Compares rows seed by seed, query by query.
///
/// - `baseline`, `treatment`: one row for each seed, in the same order of seeds and queries
///
/// # Errors
/// No seeds, or rows of different numbers of queries.
pub fn compare(
    paper: &str,
    claim: &str,
    names: [String; 2],
    side: Side,
    baseline: &[RowHits],
    treatment: &[RowHits],
    remark: &str,
) -> Result<Claim, ExperimentError> {
    let wrong = |error: tvr_metrics::MetricError| ExperimentError::work(format!("claim {claim:?}: {error}"));
    let before: Vec<&[f64]> = baseline.iter().map(|hits| side.of(hits)).collect();
    let after: Vec<&[f64]> = treatment.iter().map(|hits| side.of(hits)).collect();
    let differences: Vec<Vec<f64>> = before
        .iter()
        .zip(&after)
        .map(|(before, after)| after.iter().zip(*before).map(|(after, before)| after - before).collect())
        .collect();
    let means = |hits: &[&[f64]]| -> Vec<f64> { hits.iter().map(|of_seed| mean(of_seed)).collect() };
    let resampling = Resampling::default();
    let over_both = hierarchical_bootstrap(&differences, &resampling).map_err(wrong)?;
    // One seed says nothing of other seeds.
    let over_seeds = match differences.len() {
        1 => None,
        _ => Some(paired_student(&means(&before), &means(&after), resampling.level).map_err(wrong)?),
    };
    let verdict = over_seeds.map_or(Verdict::Undecided, |over_seeds| Verdict::of(&over_seeds, &over_both));
    let [baseline, treatment] = names;
    Ok(Claim {
        paper: paper.into(),
        claim: claim.into(),
        baseline,
        treatment,
        metric: format!("{} R@1", side.short()),
        difference: Some(over_both.mean),
        interval_over_seeds: over_seeds.map(|interval| [interval.low, interval.high]),
        interval_over_seeds_and_queries: Some([over_both.low, over_both.high]),
        verdict: verdict.name().to_string(),
        remark: remark.into(),
    })
}

fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len().max(1) as f64
}
