//! What `reproduce` writes: the plan that was followed, the tables, the claims, and what a reader must know.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::budget::Fitted;
use super::fairness::Fairness;
use super::models::{Length, Trained};
use super::papers::{Data, Paper};
use super::summary::{Beside, TableRow};
use super::{Extent, Request, own_towers};
use crate::claims::Claim;
use crate::record::Record;

/// What was reproduced, as `reproduce.json` holds it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Reproduction {
    /// `tvr-reproduce/1`.
    pub schema: String,
    /// What the claims are judged on.
    pub data: Data,
    /// The plan that was followed.
    pub plan: RunPlan,
    /// Threads and backend.
    pub machine: Machine,
    /// Mean and interval over seeds of every model and normaliser.
    pub rows: Vec<TableRow>,
    /// What was measured beside retrieval.
    pub beside: Vec<Beside>,
    /// The claims.
    pub claims: Vec<Claim>,
    /// Claims about how evenly items are wanted.
    #[serde(default)]
    pub fairness: Vec<Fairness>,
    /// Each run's record.
    pub runs: Vec<Record>,
    /// Seconds in all, of this call.
    pub seconds: f64,
    /// Largest memory of one process, in bytes.
    pub peak_memory_bytes: u64,
    /// Sentences that a reader must know.
    pub remarks: Vec<String>,
}

/// The machine.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Machine {
    /// Threads of the compute pool.
    pub threads: usize,
    /// Runs at a time.
    pub workers: usize,
    /// The device.
    pub device: String,
    /// tvr's version.
    pub version: String,
}

/// What will run, decided before it runs.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RunPlan {
    /// How much.
    pub extent: Extent,
    /// The papers whose claims are judged.
    pub papers: Vec<Paper>,
    /// Measured milliseconds of a step of the first model.
    pub step_milliseconds: f64,
    /// The budget in seconds; 0 for none.
    pub budget_seconds: f64,
    /// The models, in order, and those that were dropped.
    pub models: Fitted,
}

impl std::fmt::Display for RunPlan {
    /// The plan as a few lines: what runs, and what was dropped.
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        writeln!(formatter, "plan, from {:.0} ms a step of the first model:", self.step_milliseconds)?;
        for planned in &self.models.planned {
            writeln!(
                formatter,
                "  {:<32} {:>5} steps, seeds {:?}, {:>4.0} s",
                planned.model, planned.steps, planned.seeds, planned.seconds
            )?;
        }
        if self.models.dropped.is_empty() {
            return write!(formatter, "  nothing was dropped");
        }
        write!(formatter, "  dropped, for want of time: {}", self.models.dropped.join(", "))
    }
}

/// Sentences that a reader must know.
pub(super) fn remarks(
    request: &Request,
    plan: &RunPlan,
    models: &[Trained],
    records: &[Record],
    claims: &[Claim],
) -> Vec<String> {
    let mut remarks = vec![
        "Transductive rows see the other test queries; a claim that sets them beside raw rows says so."
            .to_string(),
    ];
    let judged = claims.iter().filter(|claim| claim.difference.is_some()).count();
    remarks.push(format!(
        "{judged} comparisons, each with 95 % intervals of its own: of those in which there is no difference, up to one in \
         forty would be said to hold."
    ));
    if own_towers::each_seed(&request.data, request.extent) {
        remarks.push(
            "Every seed has towers of its own, so intervals over seeds hold for other towers too.".into(),
        );
    } else if request.data == Data::World {
        remarks.push(
            "Intervals are given these towers: they are trained once, with one seed; --full has a set for each seed."
                .into(),
        );
    }
    if !plan.models.dropped.is_empty() {
        remarks.push(format!("Dropped, for want of time: {}.", plan.models.dropped.join(", ")));
    }
    if plan.extent == Extent::Quick {
        remarks.push("This was --quick: one seed and few steps, too small to conclude anything.".into());
    }
    if plan.models.planned.iter().any(|planned| {
        models.iter().any(|model| model.name == planned.model && model.length == Length::Control)
    }) {
        remarks.push("The control on shuffled frames has one seed, so its claim stays undecided.".into());
    }
    remarks.extend(warned(records));
    remarks
}

/// One sentence for each method and each thing that it warns of, with the first run's words: their numbers differ from run to
/// run.
fn warned(records: &[Record]) -> Vec<String> {
    let mut kinds: BTreeMap<String, (usize, &str, String)> = BTreeMap::new();
    for record in records {
        for warning in &record.warnings {
            // What was counted comes first, then what is wrong with it.
            let method = warning.split(':').next().unwrap_or(warning);
            let wrong = warning.split_once(',').map_or(warning.as_str(), |(_, wrong)| wrong);
            let kind = method.chars().chain(wrong.chars()).filter(|c| !c.is_ascii_digit()).collect();
            let first = || (0, method, format!("{} with seed {}: {warning}", record.recipe, record.seed));
            kinds.entry(kind).or_insert_with(first).0 += 1;
        }
    }
    let sentence = |(runs, method, first): (usize, &str, String)| {
        format!("Warned of {method} in {runs} of {} runs, as in {first}.", records.len())
    };
    kinds.into_values().map(sentence).collect()
}
