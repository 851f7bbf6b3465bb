//! Settings of normalisers that are left open, chosen on val.
//!
//! A spec whose values are alternatives (`dual-softmax:temperature=0.5|1|2`) stands for several. Every one is applied to
//! val scores in both directions, and the one with the largest sum of R@1, R@5 and R@10 takes its place: what chooses
//! weights in training chooses settings here.

use std::collections::BTreeMap;

use ndarray::Array2;
use tvr_metrics::{Policy, Truth};
use tvr_normalize::{Chain, Grid, choose};

use super::Banks;
use super::normalised::{Both, Normalised};
use super::wrong::Wrong;
use crate::error::ExperimentError;
use crate::select;

/// Specs without alternatives, and what was chosen for them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Settled {
    /// A row each.
    pub specs: Vec<String>,
    /// By the row that was chosen, the spec with its alternatives.
    pub chosen: BTreeMap<String, String>,
}

impl Settled {
    /// Specs that leave nothing open.
    pub(crate) fn as_given(specs: &[String]) -> Self {
        Self { specs: specs.to_vec(), chosen: BTreeMap::new() }
    }
}

/// The first spec whose values are alternatives.
pub(crate) fn open(specs: &[String]) -> Option<&String> {
    specs.iter().find(|spec| spec.contains('|'))
}

/// Chooses on val what specs leave open.
///
/// - `scores`: val scores `[texts, videos]`, in the unit of the scores that are judged
/// - `banks`: of T2V and of V2T, against the val gallery
///
/// # Errors
/// A spec that does not parse, or val scores that a normaliser or the metrics refuse.
pub(crate) fn settle(
    specs: &[String],
    scores: &Array2<f32>,
    truth: &Truth,
    banks: [Banks<'_>; 2],
) -> Result<Settled, ExperimentError> {
    let input = Both::new(scores, truth, 1.0);
    let mut settled = Settled::default();
    for spec in specs {
        let grid: Grid =
            spec.parse().map_err(|error| ExperimentError::request(format!("--normalize: {error}")))?;
        if grid.candidates().len() == 1 {
            settled.specs.push(spec.clone()); // a row bears the name that it was asked for by
            continue;
        }
        let figure = |candidate: &Chain| -> Result<f64, Wrong> {
            let normalised = Normalised::new(candidate, &input, banks)?;
            Ok(select::score(&normalised.judge(spec, &input, &Policy::default())?.judgement))
        };
        let best =
            choose(grid.candidates(), figure).map_err(|error| error.of_model("the scores of val"))?.best;
        if let Some(other) = settled.chosen.insert(best.to_string(), spec.clone()) {
            return Err(ExperimentError::request(format!(
                "--normalize: both {other} and {spec} come down to {best} on val, and a row has one name; leave one out"
            )));
        }
        settled.specs.push(best.to_string());
    }
    Ok(settled)
}
