//! What NCL begins with: items are not wanted equally. The normalisation error of a gallery says how unequally, and a claim
//! is that a treatment makes it smaller.
//!
//! The error is of a whole gallery and of no single query, so seeds alone say how sure a difference is.

use serde::{Deserialize, Serialize};

use super::budget::Fitted;
use super::papers::{Assertion, Data, Paper};
use super::summary::{Runs, both_directions, pair};
use crate::claims::{Side, compare_errors, mean};
use crate::error::ExperimentError;

/// A claim about normalisation errors and what was measured of it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Fairness {
    /// The paper.
    pub paper: String,
    /// The claim, as a sentence.
    pub claim: String,
    /// What it is compared with.
    pub baseline: String,
    /// What is claimed to be fairer.
    pub treatment: String,
    /// The direction: T2V of videos that texts look for, V2T of texts.
    pub metric: String,
    /// Errors of baseline and treatment, mean over seeds: mean |ρ − 1| over the gallery, 0 where all items are wanted
    /// equally. Absent where the claim was not run.
    pub errors: Option<[f64; 2]>,
    /// Paired Student t over seeds of treatment less baseline, 95 %; absent with one seed.
    pub interval_over_seeds: Option<[f64; 2]>,
    /// Seeds that both sides have.
    pub seeds: usize,
    /// `holds` where the interval is below 0, `does not hold` where it is above, `undecided` or `not run`.
    pub verdict: String,
}

/// Every such claim of the papers, both directions.
///
/// # Errors
/// A run whose row has no normalisation error.
pub(super) fn claims(
    data: &Data,
    papers: &[Paper],
    fitted: &Fitted,
    runs: &[Runs],
) -> Result<Vec<Fairness>, ExperimentError> {
    both_directions(papers, |paper| paper.fairness(data))
        .map(|(paper, side, assertion)| claim(paper, assertion, side, fitted, runs))
        .collect()
}

fn claim(
    paper: Paper,
    assertion: &Assertion,
    side: Side,
    fitted: &Fitted,
    runs: &[Runs],
) -> Result<Fairness, ExperimentError> {
    let pair = pair(assertion, fitted, runs);
    let [baseline, treatment] = pair.names.clone();
    let judged = Fairness {
        paper: paper.title().into(),
        claim: assertion.claim.into(),
        baseline,
        treatment,
        metric: format!("{} NE", side.short()),
        errors: None,
        interval_over_seeds: None,
        seeds: 0,
        verdict: "not run".into(),
    };
    let Ok([before, after]) = pair.runs else { return Ok(judged) };
    let of = |runs: &Runs, row: &str| {
        let missing =
            || ExperimentError::work(format!("{}: row {row:?} has no normalisation error", runs.name));
        runs.errors(row, side, &pair.seeds).ok_or_else(missing)
    };
    let (before, after) = (of(before, assertion.baseline.row)?, of(after, assertion.treatment.row)?);
    let wrong = |error| ExperimentError::work(format!("claim {:?}: {error}", assertion.claim));
    let (interval_over_seeds, verdict) = compare_errors(&before, &after).map_err(wrong)?;
    Ok(Fairness {
        errors: Some([mean(&before), mean(&after)]),
        interval_over_seeds,
        seeds: before.len(),
        verdict: verdict.name().into(),
        ..judged
    })
}
