//! Claims: paired comparisons with two intervals and a verdict.

use serde::{Deserialize, Serialize};
use tvr_metrics::{
    MARGIN_POINTS, Resampling, Verdict, hierarchical_bootstrap, is_within_margin, paired_student,
};

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
    /// Seeds that both sides have; 0 where the claim was not run.
    #[serde(default)]
    pub seeds: usize,
    /// `holds`, `does not hold`, `undecided` or `not run`.
    pub verdict: String,
    /// Of a claim that does not hold or is undecided, one sentence: what was measured, and why that decides so.
    #[serde(default)]
    pub sentence: Option<String>,
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
            seeds: 0,
            verdict: "not run".into(),
            sentence: None,
            remark,
        }
    }

    /// What is honest to say where a claim does not hold or is undecided; `None` elsewhere.
    fn honest(&self, verdict: Verdict) -> Option<String> {
        let (measured, over_both) = (self.difference?, self.interval_over_seeds_and_queries?);
        let Self { paper, metric, claim, treatment, baseline, seeds, .. } = self;
        let range = |[low, high]: [f64; 2]| format!("{low:+.2} to {high:+.2}");
        let says = match verdict {
            Verdict::Holds => return None,
            Verdict::DoesNotHold => "does not hold",
            Verdict::Undecided => "is undecided",
        };
        let begin = format!(
            "{paper}, {metric}: \"{claim}\" {says} here: {treatment}, against {baseline}, measured {measured:+.2} points"
        );
        let Some(over_seeds) = self.interval_over_seeds else {
            let range = range(over_both);
            return Some(format!(
                "{begin} with one seed (95 % {range} over queries), and one seed says nothing of others"
            ));
        };
        let why = match verdict {
            Verdict::Undecided => undecided(over_seeds, over_both),
            _ => refuted(over_seeds, over_both),
        };
        let (of_seeds, of_both) = (range(over_seeds), range(over_both));
        Some(format!(
            "{begin} over {seeds} seeds (95 % {of_seeds} over seeds, {of_both} over seeds and queries), {why}"
        ))
    }
}

/// Why intervals refute a gain.
fn refuted(over_seeds: [f64; 2], over_both: [f64; 2]) -> String {
    let is_loss = |[_, high]: [f64; 2]| high < 0.0;
    match (is_loss(over_seeds), is_loss(over_both)) {
        (true, true) => "a loss by both".into(),
        (false, false) => format!("no more than {MARGIN_POINTS} points either way by both"),
        _ => format!("a loss by one and no more than {MARGIN_POINTS} points either way by the other"),
    }
}

/// Why intervals decide nothing.
fn undecided(over_seeds: [f64; 2], over_both: [f64; 2]) -> String {
    let is_open =
        |interval: [f64; 2]| interval[0] <= 0.0 && interval[1] >= 0.0 && !is_within_margin(interval);
    let open = match (is_open(over_seeds), is_open(over_both)) {
        (true, true) => "both leave",
        (true, false) => "the one over seeds leaves",
        (false, true) => "the one over seeds and queries leaves",
        (false, false) => return "and the two do not say the same".into(),
    };
    format!("and {open} room for 0 as well as for more than {MARGIN_POINTS} points")
}

/// Draws of the bootstrap: ends of an interval then move by a hundredth of a point with the draws' seed, and no verdict hangs
/// on that.
const DRAWS: usize = 100_000;

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
    let queries = |rows: &[Vec<f64>]| -> Vec<usize> { rows.iter().map(Vec::len).collect() };
    if queries(&before) != queries(&after) {
        return Err(ExperimentError::work(format!(
            "claim {claim:?}: its sides have {:?} and {:?} queries, seed by seed; compare runs of the same seeds on the same \
             gallery",
            queries(&before),
            queries(&after)
        )));
    }
    let differences: Vec<Vec<f64>> = before
        .iter()
        .zip(&after)
        .map(|(before, after)| after.iter().zip(before).map(|(after, before)| after - before).collect())
        .collect();
    let means = |seeds: &[Vec<f64>]| -> Vec<f64> { seeds.iter().map(|of_seed| mean(of_seed)).collect() };
    let resampling = Resampling { draws: DRAWS, ..Resampling::default() };
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
    let claim = Claim {
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
        seeds: before.len(),
        verdict: verdict.name().to_string(),
        sentence: None,
        remark: remark.into(),
    };
    Ok(Claim { sentence: claim.honest(verdict), ..claim })
}

/// Compares normalisation errors, one for each seed in the same order: the interval of treatment less baseline, and whether it
/// is fairer. Errors have no margin, and seeds alone decide.
///
/// # Errors
/// Sides of different numbers of seeds, none, or an error that is not finite.
pub fn compare_errors(
    baseline: &[f64],
    treatment: &[f64],
) -> Result<(Option<[f64; 2]>, Verdict), tvr_metrics::MetricError> {
    if let ([_], [_]) = (baseline, treatment) {
        return Ok((None, Verdict::Undecided));
    }
    let interval = paired_student(baseline, treatment, Resampling::default().level)?;
    let verdict = match interval {
        _ if interval.high < 0.0 => Verdict::Holds,
        _ if interval.low > 0.0 => Verdict::DoesNotHold,
        _ => Verdict::Undecided,
    };
    Ok((Some([interval.low, interval.high]), verdict))
}

/// The mean; 0 of nothing.
pub(crate) fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len().max(1) as f64
}
