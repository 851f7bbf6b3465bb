//! `reproduce`: train, judge, and say which claims of the papers hold on the built-in world.
//!
//! The plan comes first: which models, how many steps and seeds follow from a measured step time and the budget
//! ([`budget`]); it is written down, so that a second call goes on where the first one stood. The runs follow, side by
//! side ([`jobs`]), then the tables ([`summary`]). One room for each paper holds its claims. On a benchmark of real videos
//! ([`benchmark`]) the figures that papers report stand beside ([`published`]).

pub mod budget;
pub mod jobs;
pub mod models;
mod own_towers;
mod again;
pub mod papers;
pub mod benchmark;
pub mod published;
mod summary;
mod report;
mod camoe;
mod clip4clip;
mod emcl;
mod fairness;
mod ncl;
mod support_set;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;
use std::time::Instant;

use serde::{Deserialize, Serialize};

use again::judged_again;
use budget::{Allowance, Candidate, Fitted, Given, fit};
pub use fairness::Fairness;
use jobs::{Job, Launcher, run_all};
use models::{Length, Trained};
pub use papers::{Data, Paper};
use report::remarks;
pub use report::{Machine, Reproduction, RunPlan};
use summary::Runs;
pub use summary::{Beside, TableRow};

use crate::device::DEFAULT_DEVICE;
use crate::error::ExperimentError;
use crate::experiment::{self, Opened};
use crate::files;
use crate::lock;
use crate::plan::{Plan, Surroundings, plan};
use crate::progress::{Event, Events};
use crate::recipe::{DataRecipe, EncoderRecipe, Frames, Recipe};
use crate::record::{self, peak_memory_bytes};

/// How much to run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Extent {
    /// Two minutes: too small to conclude.
    Quick,
    /// Fifteen minutes.
    Standard,
    /// Every model, five seeds with towers of their own, a grid of EM's bases and iterations, and the models that are
    /// compared by their head with both towers trained end to end.
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
    let papers: Vec<Paper> = Paper::asked(request.paper);
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
    // What cannot be planned leaves no folder.
    let _held = lock::hold(&surroundings.runs)?;
    if request.data == Data::World {
        events(Event::Note("the built-in world: drawing it and training its towers".into()));
    }
    let first = plans.first().ok_or_else(|| ExperimentError::request("no model belongs to this paper"))?;
    // The runs' processes find data and towers in the cache.
    let opened = experiment::open(first, stop, events)?;
    let run_plan = decide(request, &papers, &models, &plans, &opened, launcher.workers, began, stop)?;
    events(Event::Note(run_plan.to_string()));

    let chosen = chosen(&run_plan.models, &models, &plans);
    let seeds = run_plan.models.seeds();
    let weights = own_towers::trained(request, first, &opened, &seeds, stop, events)?;
    let jobs = jobs(request, &chosen, &weights, &surroundings.runs)?;
    run_all(&jobs, launcher, stop, events)?;
    let (mut runs, mut records) = (Vec::new(), Vec::new());
    for (planned, plan) in &chosen {
        let (of_model, of_runs) = Runs::read(planned, plan)?;
        runs.push(of_model);
        records.extend(of_runs);
    }
    runs.extend(judged_again(request, &papers, &chosen, &seeds, opened, stop, events)?);
    let claims = summary::claims(&request.data, &papers, &run_plan.models, &runs)?;
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
        fairness: fairness::claims(&request.data, &papers, &run_plan.models, &runs)?,
        seconds: began.elapsed().as_secs_f64(),
        peak_memory_bytes: records
            .iter()
            .map(|record| record.peak_memory_bytes)
            .fold(peak_memory_bytes(), u64::max),
        remarks: remarks(request, &run_plan, &models, &records, &claims),
        claims,
        runs: records,
        plan: run_plan,
    };
    files::write_json(&surroundings.runs.join("reproduce.json"), &reproduction)?;
    Ok(reproduction)
}

/// Runs at a time on a device: as many as there are threads, but one where the device is no processor to be shared.
pub fn workers(device: &str) -> usize {
    if device == DEFAULT_DEVICE { rayon::current_num_threads() } else { 1 }
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
            if let (Length::Head | Length::Control, EncoderRecipe::World { frames, .. }) =
                (length, &mut recipe.encoder)
            {
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
    opened: &Opened,
    workers: usize,
    began: Instant,
    stop: &AtomicBool,
) -> Result<RunPlan, ExperimentError> {
    let scope = request.paper.map_or("all", Paper::name);
    let extent = request.extent;
    let prefix = format!("plan-{}-{}-", request.data.name(), name(extent));
    let first = &plans[0];
    let runs = &first.surroundings.runs;
    let path = runs.join(format!("{prefix}{scope}.json"));
    if let Ok(bytes) = std::fs::read(&path)
        && let Ok(known) = serde_json::from_slice::<RunPlan>(&bytes)
        && known.extent == extent
        && known.papers == papers
        && known.models.is_of(models)
    {
        return Ok(known);
    }
    let step_seconds = step_seconds(first, opened, workers, stop)?;
    // Runs side by side slow one another down a little.
    let share = 1.0 / (1.0 + SIDE_BY_SIDE * (workers.max(1) - 1) as f64);
    let allowance = allowance(request, share);
    let unit = step_seconds / models[0].relative_cost * share;
    let earlier = earlier(runs, &prefix)?;
    let candidates: Vec<Candidate> = models
        .iter()
        .zip(plans)
        .map(|(model, plan)| Candidate {
            model: *model,
            own_steps: plan.steps,
            step_seconds: unit * model.relative_cost,
            given: given(&earlier, model, plan),
        })
        .collect();
    let again = request.data.again(extent, papers).len() * allowance.seeds.len();
    let spent = began.elapsed().as_secs_f64() + again as f64 * REJUDGE;
    let fitted = fit(&allowance, spent, &candidates);
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

/// The plans for other papers whose runs lie in the same folder.
fn earlier(runs: &Path, prefix: &str) -> Result<Vec<RunPlan>, ExperimentError> {
    let entries = std::fs::read_dir(runs).map_err(ExperimentError::file(runs, "list"))?.flatten();
    let mut paths: Vec<PathBuf> = entries
        .filter(|entry| entry.file_name().to_string_lossy().starts_with(prefix))
        .map(|entry| entry.path())
        .collect();
    paths.sort();
    let plans = paths.iter().filter_map(|path| serde_json::from_slice(&std::fs::read(path).ok()?).ok());
    Ok(plans.collect())
}

/// What one of them gave a model.
fn given(earlier: &[RunPlan], model: &Trained, plan: &Plan) -> Option<Given> {
    let mut planned = earlier.iter().flat_map(|earlier| &earlier.models.planned);
    let planned = planned.find(|planned| planned.model == model.name)?;
    let left = planned.seeds.iter().filter(|&&seed| !plan.is_finished(seed)).count();
    Some(Given { steps: planned.steps, seeds: planned.seeds.clone(), left })
}

/// Seconds of a step as runs take it: with one thread where others run beside it.
fn step_seconds(
    first: &Plan,
    opened: &Opened,
    workers: usize,
    stop: &AtomicBool,
) -> Result<f64, ExperimentError> {
    if workers < 2 {
        return experiment::measure_step(first, opened, stop);
    }
    let pool = rayon::ThreadPoolBuilder::new().num_threads(1).build();
    let pool = pool.map_err(|error| ExperimentError::work(format!("measuring a step: {error}")))?;
    pool.install(|| experiment::measure_step(first, opened, stop))
}

/// Seconds of a run beside its steps, alone on the machine: 40 runs of 1,149 s of steps took 664 s, two at a time, and
/// 34 runs of 972 s took 562 s.
const BESIDE: f64 = 4.7;

/// Seconds of judging a run again.
const REJUDGE: f64 = 0.8;

/// How much of a worker the second and every further one adds: memory is shared. The same two measurements say 1.0 of
/// the second, a third one 0.6: 52 runs that were planned with 0.9 to take 724 s took 827 s, and 58 s too many in all.
const SIDE_BY_SIDE: f64 = 0.6;

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

/// A job for every run that is not finished with these towers, the longest runs first so that none is left alone at the end.
fn jobs(
    request: &Request,
    chosen: &[(budget::Planned, Plan)],
    weights: &BTreeMap<u64, Option<String>>,
    runs: &Path,
) -> Result<Vec<Job>, ExperimentError> {
    let mut jobs = Vec::new();
    for (planned, plan) in chosen {
        for &seed in &planned.seeds {
            let folder = plan.run_folder(seed);
            let recipe = own_towers::of_seed(plan, seed, request).recipe;
            let finished = record::read(&folder).is_ok_and(|known| {
                recipe.hash().is_ok_and(|hash| known.recipe_hash == hash && known.seed == seed)
                    && weights.get(&seed).is_none_or(|weights| *weights == known.weights)
            });
            if finished {
                continue;
            }
            let file =
                |kind: &str| -> PathBuf { runs.join("jobs").join(format!("{}-{seed}.{kind}", recipe.name)) };
            files::write_whole(&file("toml"), recipe.to_toml()?.as_bytes())?;
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
