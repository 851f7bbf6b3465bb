//! `reproduce`: train, judge, and say which claims of the papers hold on the built-in world.
//!
//! The plan comes first: which models, how many steps and seeds follow from a measured step time and the budget
//! ([`budget`]); it is written down, so that a second call goes on where the first one stood. The runs follow, side by
//! side ([`jobs`]), then the tables ([`summary`]). One room for each paper holds its claims.

pub mod budget;
pub mod jobs;
pub mod models;
pub mod papers;
pub mod rows;
pub mod summary;
pub mod camoe;
pub mod clip4clip;
pub mod emcl;
pub mod ncl;
pub mod support_set;
pub mod published;

use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;
use std::time::Instant;

use serde::{Deserialize, Serialize};

use budget::{Allowance, Fitted, fit};
use jobs::{Job, Launcher, run_all, write_recipe};
use models::{Length, Trained};
pub use papers::{Data, Paper};
use summary::{Beside, Runs, TableRow};

use crate::claims::Claim;
use crate::error::ExperimentError;
use crate::experiment;
use crate::files;
use crate::plan::{Plan, Surroundings, plan};
use crate::progress::{Event, Events};
use crate::recipe::{DataRecipe, EncoderRecipe, Frames, Recipe};
use crate::record::{self, Record, peak_memory_bytes};

/// How much to run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Extent {
    /// Two minutes: too small to conclude.
    Quick,
    /// Fifteen minutes.
    Standard,
    /// Every model, five seeds, and both towers trained end to end.
    Full,
}

/// What is asked for.
#[derive(Clone, Debug)]
pub struct Request {
    /// On what.
    pub data: Data,
    /// How much.
    pub extent: Extent,
    /// One paper alone.
    pub paper: Option<Paper>,
}

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

/// Runs everything, or goes on with what an earlier call left.
///
/// # Errors
/// As [`experiment::run`], and what [`run_all`] says of a run's process.
pub fn reproduce(
    request: &Request,
    surroundings: &Surroundings,
    launcher: &Launcher<'_>,
    stop: &AtomicBool,
    events: Events<'_>,
) -> Result<Reproduction, ExperimentError> {
    let began = Instant::now();
    let papers: Vec<Paper> = request.paper.map_or(Paper::ALL.to_vec(), |paper| vec![paper]);
    let models: Vec<Trained> = request
        .data
        .models()
        .iter()
        .filter(|model| model.papers.iter().any(|paper| papers.contains(paper)))
        .copied()
        .collect();
    let plans = models
        .iter()
        .map(|model| {
            let mut recipe = Recipe::parse(model.recipe)?;
            adapt(&mut recipe, model.length, request);
            plan(&recipe, Path::new(&format!("recipes/{}.toml", model.name)), surroundings)
        })
        .collect::<Result<Vec<Plan>, _>>()?;
    if request.data == Data::World {
        events(Event::Note("the built-in world: drawing it and training its towers, once".into()));
    }
    let run_plan = decide(request, &papers, &models, &plans, launcher.workers, began, stop, events)?;
    events(Event::Note(run_plan.to_string()));

    let chosen = chosen(&run_plan.models, &models, &plans);
    let jobs = jobs(&chosen, &surroundings.runs)?;
    run_all(&jobs, launcher, stop, events)?;
    let runs =
        chosen.iter().map(|(planned, plan)| Runs::read(planned, plan)).collect::<Result<Vec<_>, _>>()?;
    let records: Vec<Record> = runs.iter().flat_map(|runs| runs.records.clone()).collect();
    let reproduction = Reproduction {
        schema: "tvr-reproduce/1".into(),
        data: request.data.clone(),
        machine: Machine {
            threads: rayon::current_num_threads(),
            workers: launcher.workers,
            device: surroundings.device.clone(),
            version: env!("CARGO_PKG_VERSION").into(),
        },
        rows: summary::table(&runs),
        beside: summary::beside(&runs),
        claims: summary::claims(&request.data, &papers, &run_plan.models, &runs)?,
        seconds: began.elapsed().as_secs_f64(),
        peak_memory_bytes: records
            .iter()
            .map(|record| record.peak_memory_bytes)
            .fold(peak_memory_bytes(), u64::max),
        runs: records,
        remarks: remarks(&run_plan, &models),
        plan: run_plan,
    };
    files::write_json(&surroundings.runs.join("reproduce.json"), &reproduction)?;
    Ok(reproduction)
}

/// What a request changes in a recipe, and what runs that are compared must share: batch, passes and looks at val.
fn adapt(recipe: &mut Recipe, length: Length, request: &Request) {
    if let (Data::Msrvtt476(folder), DataRecipe::Features { path, .. }) = (&request.data, &mut recipe.data) {
        path.clone_from(folder);
    }
    let (batch, epochs) = match length {
        Length::Loss => (128, 10),
        Length::Head | Length::Control => (96, 20),
        Length::Recipe => return,
    };
    recipe.train.batch = batch;
    recipe.train.epochs = epochs;
    recipe.train.evaluations = 4;
    match request.extent {
        Extent::Standard => {}
        Extent::Quick => {
            recipe.name = format!("quick-{}", recipe.name);
            recipe.train.evaluations = 1;
            if let DataRecipe::World { gallery, .. } = &mut recipe.data {
                *gallery = 500;
            }
            if let EncoderRecipe::World { pretrain_steps, .. } = &mut recipe.encoder {
                *pretrain_steps = 600;
            }
        }
        Extent::Full => {
            recipe.name = format!("full-{}", recipe.name);
            if let EncoderRecipe::World { frames, .. } = &mut recipe.encoder {
                *frames = Frames::Trained;
            }
        }
    }
}

/// What an extent allows; `share` is how much of the whole a second of one run takes.
fn allowance(request: &Request, share: f64) -> Allowance {
    let features = request.data != Data::World;
    let (seconds, seeds, steps, head_steps) = match request.extent {
        _ if features => (0.0, (0..5).collect(), 400, [800, 1200]),
        Extent::Quick => (105.0, vec![0], 60, [60, 200]),
        Extent::Standard => (860.0, vec![0, 1, 2], 400, [800, 1200]),
        Extent::Full => (0.0, (0..5).collect(), 400, [1200, 1200]),
    };
    Allowance {
        seconds,
        seeds,
        steps,
        head_steps,
        beside: BESIDE * share,
        may_drop: !features && request.extent != Extent::Full,
    }
}

/// Decides steps and seeds from a measured step time, or takes the plan of an earlier call.
#[allow(clippy::too_many_arguments, reason = "each is a different thing, and none has a default")]
fn decide(
    request: &Request,
    papers: &[Paper],
    models: &[Trained],
    plans: &[Plan],
    workers: usize,
    began: Instant,
    stop: &AtomicBool,
    events: Events<'_>,
) -> Result<RunPlan, ExperimentError> {
    let first = plans.first().ok_or_else(|| ExperimentError::request("no model belongs to this paper"))?;
    // One set of data and towers for all; the runs' processes find them in the cache.
    let opened = experiment::open(first, stop, events)?;
    let scope = papers.iter().map(|paper| paper.name()).collect::<Vec<_>>().join("+");
    let scope = if papers.len() == Paper::ALL.len() { "all".to_string() } else { scope };
    let extent = request.extent;
    let file = format!("plan-{}-{}-{scope}.json", request.data.name(), name(extent));
    let path = first.surroundings.runs.join(file);
    if let Ok(bytes) = std::fs::read(&path)
        && let Ok(known) = serde_json::from_slice::<RunPlan>(&bytes)
        && known.extent == extent
        && known.papers == papers
    {
        return Ok(known);
    }
    let step_seconds = experiment::measure_step(first, &opened, stop)?;
    // Runs side by side slow one another down a little.
    let share = 1.0 / (1.0 + SIDE_BY_SIDE * (workers.max(1) - 1) as f64);
    let allowance = allowance(request, share);
    let costs: Vec<(Trained, usize, f64)> = models
        .iter()
        .zip(plans)
        .map(|(model, plan)| (*model, plan.steps, step_seconds * model.relative_cost * share))
        .collect();
    let fitted = fit(&allowance, began.elapsed().as_secs_f64(), &costs);
    let run_plan = RunPlan {
        extent,
        papers: papers.to_vec(),
        step_milliseconds: step_seconds * 1000.0,
        budget_seconds: if allowance.may_drop { allowance.seconds } else { 0.0 },
        models: fitted,
    };
    files::write_json(&path, &run_plan)?;
    Ok(run_plan)
}

/// Seconds of a run beside its steps, alone on the machine.
const BESIDE: f64 = 5.0;

/// How much of a worker the second and every further one adds.
const SIDE_BY_SIDE: f64 = 0.8;

fn name(extent: Extent) -> &'static str {
    match extent {
        Extent::Quick => "quick",
        Extent::Standard => "standard",
        Extent::Full => "full",
    }
}

/// The planned models with their plans, steps set.
fn chosen(fitted: &Fitted, models: &[Trained], plans: &[Plan]) -> Vec<(budget::Planned, Plan)> {
    fitted
        .planned
        .iter()
        .filter_map(|planned| {
            let index = models.iter().position(|model| model.name == planned.model)?;
            let mut plan = plans[index].clone();
            plan.recipe.train.steps = Some(planned.steps);
            plan.steps = planned.steps;
            Some((planned.clone(), plan))
        })
        .collect()
}

/// A job for every run that is not finished, the longest runs first so that none is left alone at the end.
fn jobs(chosen: &[(budget::Planned, Plan)], runs: &Path) -> Result<Vec<Job>, ExperimentError> {
    let mut jobs = Vec::new();
    for (planned, plan) in chosen {
        for &seed in &planned.seeds {
            let folder = plan.run_folder(seed);
            let mut recipe = plan.recipe.clone();
            recipe.seeds = vec![seed];
            let finished = record::read(&folder).is_ok_and(|known| {
                recipe.hash().is_ok_and(|hash| known.recipe_hash == hash && known.seed == seed)
            });
            if finished {
                continue;
            }
            let file =
                |kind: &str| -> PathBuf { runs.join("jobs").join(format!("{}-{seed}.{kind}", recipe.name)) };
            write_recipe(&recipe, &file("toml"))?;
            jobs.push((
                planned.seconds / planned.seeds.len() as f64,
                Job {
                    label: format!("{} seed {seed}", recipe.name),
                    recipe: file("toml"),
                    folder,
                    log: file("log"),
                    steps: plan.steps,
                },
            ));
        }
    }
    jobs.sort_by(|(first, _), (second, _)| second.total_cmp(first));
    Ok(jobs.into_iter().map(|(_, job)| job).collect())
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
        match self.models.dropped.is_empty() {
            true => write!(formatter, "  nothing was dropped"),
            false => write!(formatter, "  dropped, for want of time: {}", self.models.dropped.join(", ")),
        }
    }
}

fn remarks(plan: &RunPlan, models: &[Trained]) -> Vec<String> {
    let mut remarks = vec![
        "Intervals are given these towers: they are trained once, with one seed.".to_string(),
        "Transductive rows see the other test queries; they are compared with raw rows only where the claim is about that.".to_string(),
    ];
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
    remarks
}
