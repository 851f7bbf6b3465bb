//! Claims: paired comparisons with two intervals and a verdict.

use serde::{Deserialize, Serialize};
use tvr_metrics::{Resampling, Verdict, hierarchical_bootstrap, paired_student};

use crate::error::ExperimentError;
use crate::hits::{QueryHits, RowHits};

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
    /// Mean over seeds of the paired difference of mean ranks, below 0 where the treatment is better; absent where the
    /// claim was not run. It stands beside the verdict, which R@1 alone decides.
    pub mean_rank_difference: Option<f64>,
    /// Paired Student t over seeds of the difference of mean ranks, 95 %; absent with one seed.
    pub mean_rank_interval_over_seeds: Option<[f64; 2]>,
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
            mean_rank_difference: None,
            mean_rank_interval_over_seeds: None,
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

    /// This direction's hits and ranks, query by query.
    pub fn of(self, hits: &RowHits) -> &QueryHits {
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
    let column = |rows: &[RowHits], of: fn(&QueryHits) -> &Vec<f64>| -> Vec<Vec<f64>> {
        rows.iter().map(|row| of(side.of(row)).clone()).collect()
    };
    let (before, after) = (column(baseline, |of| &of.hits), column(treatment, |of| &of.hits));
    let differences: Vec<Vec<f64>> = before
        .iter()
        .zip(&after)
        .map(|(before, after)| after.iter().zip(before).map(|(after, before)| after - before).collect())
        .collect();
    let means = |seeds: &[Vec<f64>]| -> Vec<f64> { seeds.iter().map(|of_seed| mean(of_seed)).collect() };
    let resampling = Resampling::default();
    let over_both = hierarchical_bootstrap(&differences, &resampling).map_err(wrong)?;
    // One seed says nothing of other seeds.
    let student = |before: &[f64], after: &[f64]| match before.len() {
        1 => Ok(None),
        _ => paired_student(before, after, resampling.level).map(Some).map_err(wrong),
    };
    let over_seeds = student(&means(&before), &means(&after))?;
    let verdict = over_seeds.map_or(Verdict::Undecided, |over_seeds| Verdict::of(&over_seeds, &over_both));
    let mean_ranks = [baseline, treatment].map(|rows| means(&column(rows, |of| &of.ranks)));
    let ranks_over_seeds = student(&mean_ranks[0], &mean_ranks[1])?;
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
        mean_rank_difference: Some(mean(&mean_ranks[1]) - mean(&mean_ranks[0])),
        mean_rank_interval_over_seeds: ranks_over_seeds.map(|interval| [interval.low, interval.high]),
        verdict: verdict.name().to_string(),
        remark: remark.into(),
    })
}

fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len().max(1) as f64
}
