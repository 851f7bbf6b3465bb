//! From run folders to tables and claims.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::budget::{Fitted, Planned};
use super::papers::{Assertion, Cell, Data, Paper};
use crate::claims::{Claim, Side, compare};
use crate::error::ExperimentError;
use crate::hits::{self, RowHits};
use crate::plan::Plan;
use crate::record::{self, Record, RowRecord, half_width};

/// One line of the results table.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct TableRow {
    /// The model, by its recipe.
    pub model: String,
    /// The row of its table.
    pub normalize: String,
    /// Its regime.
    pub regime: String,
    /// Steps of a run.
    pub steps: usize,
    /// Seeds.
    pub seeds: usize,
    /// T2V: R@1, R@5, R@10, MdR, MnR, mean over seeds.
    pub text_to_video: Vec<(String, f64)>,
    /// V2T, likewise.
    pub video_to_text: Vec<(String, f64)>,
    /// Half-width of the 95 % interval of T2V R@1 over seeds (Student t); absent with one seed.
    pub text_to_video_half_width: Option<f64>,
    /// The same of V2T.
    pub video_to_text_half_width: Option<f64>,
}

/// What was measured beside retrieval: order accuracy, normalisation error, and so on.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Beside {
    /// The model, by its recipe.
    pub model: String,
    /// What was measured, with its unit.
    pub name: String,
    /// Mean over seeds.
    pub mean: f64,
}

/// All runs of one model.
pub(super) struct Runs {
    pub planned: Planned,
    pub plan: Plan,
    pub records: Vec<Record>,
}

impl Runs {
    /// Reads what the runs of a planned model left.
    ///
    /// # Errors
    /// A run folder without a record.
    pub fn read(planned: &Planned, plan: &Plan) -> Result<Self, ExperimentError> {
        let records = planned.seeds.iter().map(|&seed| record::read(&plan.run_folder(seed)));
        Ok(Self {
            planned: planned.clone(),
            plan: plan.clone(),
            records: records.collect::<Result<Vec<_>, _>>()?,
        })
    }

    fn hits(&self, row: &str, seeds: &[u64]) -> Result<Vec<RowHits>, ExperimentError> {
        seeds.iter().map(|&seed| hits::read(&self.plan.run_folder(seed), row)).collect()
    }
}

/// The results table.
pub(super) fn table(runs: &[Runs]) -> Vec<TableRow> {
    runs.iter()
        .flat_map(|runs| {
            let rows = runs.records.first().map_or(0, |record| record.test.len());
            (0..rows).filter_map(|index| {
                let of_row: Vec<&RowRecord> =
                    runs.records.iter().filter_map(|record| record.test.get(index)).collect();
                table_row(&runs.planned, &of_row)
            })
        })
        .collect()
}

fn table_row(planned: &Planned, rows: &[&RowRecord]) -> Option<TableRow> {
    type Metrics = BTreeMap<String, f64>;
    let first = rows.first()?;
    let side = |of: &dyn Fn(&RowRecord) -> &Metrics| {
        let values = |name: &str| -> Vec<f64> {
            rows.iter().map(|row| of(row).get(name).copied().unwrap_or(f64::NAN)).collect()
        };
        let metrics =
            ["R@1", "R@5", "R@10", "MdR", "MnR"].map(|name| (name.to_string(), mean(&values(name))));
        (metrics.to_vec(), half_width(&values("R@1")))
    };
    let (text_to_video, text_to_video_half_width) = side(&|row| &row.text_to_video);
    let (video_to_text, video_to_text_half_width) = side(&|row| &row.video_to_text);
    Some(TableRow {
        model: planned.model.clone(),
        normalize: first.normalize.clone(),
        regime: first.regime.clone(),
        steps: planned.steps,
        seeds: rows.len(),
        text_to_video,
        video_to_text,
        text_to_video_half_width,
        video_to_text_half_width,
    })
}

/// Means over seeds of what was measured beside.
pub(super) fn beside(runs: &[Runs]) -> Vec<Beside> {
    let mut beside = Vec::new();
    for runs in runs {
        let names: Vec<String> =
            runs.records.first().map(|record| record.beside.keys().cloned().collect()).unwrap_or_default();
        for name in names {
            let values: Vec<f64> =
                runs.records.iter().filter_map(|record| record.beside.get(&name).copied()).collect();
            beside.push(Beside { model: runs.planned.model.clone(), mean: mean(&values), name });
        }
    }
    beside
}

/// Every claim of the papers, both directions; one whose models were dropped says so.
///
/// # Errors
/// A run folder that is damaged.
pub(super) fn claims(
    data: &Data,
    papers: &[Paper],
    fitted: &Fitted,
    runs: &[Runs],
) -> Result<Vec<Claim>, ExperimentError> {
    let mut claims = Vec::new();
    for &paper in papers {
        for side in [Side::TextToVideo, Side::VideoToText] {
            for assertion in paper.assertions(data) {
                claims.push(claim(paper, assertion, side, fitted, runs)?);
            }
        }
    }
    Ok(claims)
}

fn claim(
    paper: Paper,
    assertion: &Assertion,
    side: Side,
    fitted: &Fitted,
    runs: &[Runs],
) -> Result<Claim, ExperimentError> {
    let names = [name(assertion.baseline), name(assertion.treatment)];
    let of = |cell: Cell| runs.iter().find(|runs| runs.planned.model == cell.model);
    let (Some(baseline), Some(treatment)) = (of(assertion.baseline), of(assertion.treatment)) else {
        let missing = [assertion.baseline, assertion.treatment]
            .into_iter()
            .find(|cell| fitted.dropped.iter().any(|dropped| dropped == cell.model))
            .map_or("a model of another paper", |cell| cell.model);
        let remark = format!("not run: {missing} did not fit the budget; --full runs it");
        return Ok(Claim::not_run(paper.title(), assertion.claim, names, side, remark));
    };
    // A control has fewer seeds: what is compared has both.
    let seeds: Vec<u64> = baseline
        .planned
        .seeds
        .iter()
        .copied()
        .filter(|seed| treatment.planned.seeds.contains(seed))
        .collect();
    let before = baseline.hits(assertion.baseline.row, &seeds)?;
    let after = treatment.hits(assertion.treatment.row, &seeds)?;
    compare(paper.title(), assertion.claim, names, side, &before, &after, assertion.remark)
}

/// A cell as tables print it: the model without its data's prefix, and the row.
fn name(cell: Cell) -> String {
    let model = cell.model.trim_start_matches("world-").trim_start_matches("msrvtt476-");
    format!("{model}, {}", cell.row)
}

fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len().max(1) as f64
}
