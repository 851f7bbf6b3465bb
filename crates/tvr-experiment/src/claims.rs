//! Claims: paired comparisons with two intervals and a verdict.

use serde::{Deserialize, Serialize};
use tvr_metrics::{Resampling, Summary, Verdict, hierarchical_bootstrap, paired_student};

use crate::error::ExperimentError;
use crate::score::Row;

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
    /// Mean over seeds of the paired difference, in points.
    pub difference: f64,
    /// Paired Student t over seeds, 95 %; absent with one seed.
    pub interval_over_seeds: Option<[f64; 2]>,
    /// Bootstrap over seeds and queries, 95 %.
    pub interval_over_seeds_and_queries: [f64; 2],
    /// `holds`, `does not hold` or `undecided`.
    pub verdict: String,
    /// What a reader must know beside it.
    pub remark: String,
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

    /// Hits at rank 1 of every query of a row, in points: 0, 100, or between where queries tie.
    pub fn hits(self, row: &Row) -> Vec<f64> {
        self.of(row).ranks.hits_percent(1)
    }

    /// This direction's figures of a row.
    pub fn of(self, row: &Row) -> &Summary {
        match self {
            Self::TextToVideo => &row.judgement.text_to_video,
            Self::VideoToText => &row.judgement.video_to_text,
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
    names: [&str; 2],
    side: Side,
    baseline: &[&Row],
    treatment: &[&Row],
    remark: &str,
) -> Result<Claim, ExperimentError> {
    let wrong = |error: tvr_metrics::MetricError| ExperimentError::work(format!("claim {claim:?}: {error}"));
    let before: Vec<Vec<f64>> = baseline.iter().map(|row| side.hits(row)).collect();
    let after: Vec<Vec<f64>> = treatment.iter().map(|row| side.hits(row)).collect();
    let differences: Vec<Vec<f64>> = before
        .iter()
        .zip(&after)
        .map(|(before, after)| after.iter().zip(before).map(|(after, before)| after - before).collect())
        .collect();
    let means = |hits: &[Vec<f64>]| -> Vec<f64> { hits.iter().map(|of_seed| mean(of_seed)).collect() };
    let resampling = Resampling::default();
    let over_both = hierarchical_bootstrap(&differences, &resampling).map_err(wrong)?;
    // One seed says nothing of other seeds.
    let over_seeds = match differences.len() {
        1 => None,
        _ => Some(paired_student(&means(&before), &means(&after), resampling.level).map_err(wrong)?),
    };
    let verdict = over_seeds.map_or(Verdict::Undecided, |over_seeds| Verdict::of(&over_seeds, &over_both));
    Ok(Claim {
        paper: paper.into(),
        claim: claim.into(),
        baseline: names[0].into(),
        treatment: names[1].into(),
        metric: format!("{} R@1", side.short()),
        difference: over_both.mean,
        interval_over_seeds: over_seeds.map(|interval| [interval.low, interval.high]),
        interval_over_seeds_and_queries: [over_both.low, over_both.high],
        verdict: verdict.name().to_string(),
        remark: remark.into(),
    })
}

fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len().max(1) as f64
}
