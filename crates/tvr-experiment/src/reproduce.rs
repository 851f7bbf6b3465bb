//! `reproduce`: train, judge, and say which claims hold.
//!
//! The plan comes first: steps follow from a measured step time and the budget, and are written down, so that a
//! second call goes on where the first one stood.

use std::path::Path;
use std::sync::atomic::AtomicBool;
use std::time::Instant;

use serde::{Deserialize, Serialize};

use crate::claims::{Claim, Side, compare};
use crate::error::ExperimentError;
use crate::experiment::{self, Opened, Outcome};
use crate::files;
use crate::plan::{Plan, Surroundings, plan};
use crate::progress::{Event, Events};
use crate::recipe::{DataRecipe, EncoderRecipe, Frames, Recipe};
use crate::record::{Record, half_width, named, peak_memory_bytes};
use crate::score::Row;

/// How much to run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Extent {
    /// Two minutes: too small to conclude.
    Quick,
    /// Ten minutes.
    Standard,
    /// Five seeds and both towers trained end to end.
    Full,
}

/// What was reproduced, as `reproduce.json` holds it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Reproduction {
    /// `tvr-reproduce/1`.
    pub schema: String,
    /// The plan that was followed.
    pub plan: RunPlan,
    /// Threads and backend.
    pub machine: Machine,
    /// Mean and interval over seeds of every head and normaliser.
    pub rows: Vec<TableRow>,
    /// The claims.
    pub claims: Vec<Claim>,
    /// Each run's record.
    pub runs: Vec<Record>,
    /// Order accuracy in per cent of each head, mean over seeds.
    pub order_accuracy: Vec<(String, f64)>,
    /// Seconds in all, of this call.
    pub seconds: f64,
    /// Largest memory of the process, in bytes.
    pub peak_memory_bytes: u64,
    /// Sentences that a reader must know.
    pub remarks: Vec<String>,
}

/// The machine.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Machine {
    /// Threads of the compute pool.
    pub threads: usize,
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
    /// Steps of every head.
    pub steps: usize,
    /// Seeds of mean pooling and the transformer.
    pub seeds: Vec<u64>,
    /// Seeds of the shuffled-frames control.
    pub control_seeds: Vec<u64>,
    /// Measured milliseconds of a step: mean pooling, transformer.
    pub step_milliseconds: [f64; 2],
    /// The budget in seconds.
    pub budget_seconds: f64,
}

/// One line of the results table.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct TableRow {
    /// The head, by its recipe.
    pub model: String,
    /// The normaliser.
    pub normalize: String,
    /// Its regime.
    pub regime: String,
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

/// The recipes that `reproduce` runs, in the order in which time is given to them.
const RECIPES: [(&str, &str); 3] = [
    ("world-mean-pooling", include_str!("../../../recipes/world-mean-pooling.toml")),
    ("world-seq-transf", include_str!("../../../recipes/world-seq-transf.toml")),
    ("world-seq-transf-shuffled", include_str!("../../../recipes/world-seq-transf-shuffled.toml")),
];

/// Where `reproduce` keeps its plan, inside the folder of runs.
const PLAN_FILE: &str = "plan.json";

/// Runs everything, or goes on with what an earlier call left.
///
/// # Errors
/// As [`experiment::run`].
pub fn reproduce(
    extent: Extent,
    surroundings: &Surroundings,
    stop: &AtomicBool,
    events: Events<'_>,
) -> Result<Reproduction, ExperimentError> {
    let began = Instant::now();
    let mut plans = Vec::new();
    for (name, text) in RECIPES {
        let mut recipe = Recipe::parse(text)?;
        adapt(&mut recipe, extent);
        plans.push(plan(&recipe, Path::new(&format!("recipes/{name}.toml")), surroundings)?);
    }
    events(Event::Note("the built-in world: drawing it and training its towers, once".into()));
    // One set of data and towers for all: the plans differ in head and in the order of frames alone.
    let opened = experiment::open(&plans[0], stop, events)?;
    let run_plan = decide(extent, &plans, &opened, began.elapsed().as_secs_f64(), stop)?;
    events(Event::Note(format!(
        "plan: {} steps a run ({:.0} and {:.0} ms a step measured); mean pooling and transformer with seeds {:?}, shuffled-frames control with seeds {:?}",
        run_plan.steps,
        run_plan.step_milliseconds[0],
        run_plan.step_milliseconds[1],
        run_plan.seeds,
        run_plan.control_seeds
    )));
    let mut outcomes: Vec<Vec<Outcome>> = vec![Vec::new(); plans.len()];
    for seed in &run_plan.seeds {
        for (index, plan) in plans.iter_mut().enumerate() {
            if index == 2 && !run_plan.control_seeds.contains(seed) {
                continue;
            }
            plan.recipe.train.steps = Some(run_plan.steps);
            plan.steps = run_plan.steps;
            outcomes[index].push(experiment::run(plan, &opened, *seed, true, stop, events)?);
        }
    }
    let reproduction = summarise(run_plan, &plans, &outcomes, surroundings, began.elapsed().as_secs_f64())?;
    files::write_json(&surroundings.runs.join("reproduce.json"), &reproduction)?;
    Ok(reproduction)
}

fn adapt(recipe: &mut Recipe, extent: Extent) {
    match extent {
        Extent::Standard => {}
        Extent::Quick => {
            recipe.name = format!("quick-{}", recipe.name);
            recipe.train.evaluations = 2;
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

/// Decides steps and seeds from a measured step time, or takes the plan of an earlier call.
fn decide(
    extent: Extent,
    plans: &[Plan],
    opened: &Opened,
    spent: f64,
    stop: &AtomicBool,
) -> Result<RunPlan, ExperimentError> {
    let path = plans[0].surroundings.runs.join(format!("{}-{PLAN_FILE}", plans[0].recipe.name));
    if let Ok(bytes) = std::fs::read(&path)
        && let Ok(known) = serde_json::from_slice::<RunPlan>(&bytes)
        && known.extent == extent
    {
        return Ok(known);
    }
    let mut milliseconds = [0.0; 2];
    for (index, milliseconds) in milliseconds.iter_mut().enumerate() {
        *milliseconds = experiment::measure_step(&plans[index], opened, stop)? * 1000.0;
    }
    let pair = (milliseconds[0] + milliseconds[1]) / 1000.0;
    let (seeds, budget, least, most): (Vec<u64>, f64, usize, usize) = match extent {
        Extent::Quick => (vec![0], 110.0, 50, 200),
        Extent::Standard => (vec![0, 1, 2], 570.0, 800, 1200),
        Extent::Full => ((0..5).collect(), f64::INFINITY, 1200, 1200),
    };
    // Evaluations, checkpoints and the judging of a run, per run.
    let beside = 4.0 * (2 * seeds.len() + 1) as f64;
    let left = (budget - spent - beside).max(0.0);
    let control = milliseconds[1] / 1000.0;
    let affordable = |controls: usize| left / (seeds.len() as f64 * pair + controls as f64 * control);
    let controls = (1..=seeds.len()).rev().find(|&controls| affordable(controls) >= most as f64).unwrap_or(1);
    let steps = (affordable(controls) as usize).clamp(least, most) / 10 * 10;
    let run_plan = RunPlan {
        extent,
        steps,
        control_seeds: seeds[..controls].to_vec(),
        seeds,
        step_milliseconds: milliseconds,
        budget_seconds: if budget.is_finite() { budget } else { 0.0 },
    };
    files::write_json(&path, &run_plan)?;
    Ok(run_plan)
}

fn summarise(
    run_plan: RunPlan,
    plans: &[Plan],
    outcomes: &[Vec<Outcome>],
    surroundings: &Surroundings,
    seconds: f64,
) -> Result<Reproduction, ExperimentError> {
    let mut rows = Vec::new();
    let mut order_accuracy = Vec::new();
    for (plan, outcomes) in plans.iter().zip(outcomes) {
        let name = plan.recipe.name.trim_start_matches("quick-").trim_start_matches("full-").to_string();
        for index in 0..plan.recipe.eval.normalize.len() {
            let of_row: Vec<&Row> =
                outcomes.iter().filter_map(|outcome| outcome.test.rows.get(index)).collect();
            rows.extend(table_row(&name, &of_row));
        }
        let accuracies: Vec<f64> = outcomes
            .iter()
            .filter_map(|outcome| outcome.record.beside.get("order accuracy, %").copied())
            .collect();
        if !accuracies.is_empty() {
            order_accuracy.push((name, accuracies.iter().sum::<f64>() / accuracies.len() as f64));
        }
    }
    let claims = claims(outcomes, &order_accuracy)?;
    let mut remarks = vec![
        "Intervals are given these towers: they are trained once, with one seed.".to_string(),
        "Transductive rows see the other test queries; they are compared with raw rows only where the claim is about that.".to_string(),
    ];
    if run_plan.extent == Extent::Quick {
        remarks.push("This was --quick: one seed and few steps, too small to conclude anything.".into());
    }
    Ok(Reproduction {
        schema: "tvr-reproduce/1".into(),
        machine: Machine {
            threads: rayon::current_num_threads(),
            device: surroundings.device.clone(),
            version: env!("CARGO_PKG_VERSION").into(),
        },
        plan: run_plan,
        rows,
        claims,
        runs: outcomes.iter().flatten().map(|outcome| outcome.record.clone()).collect(),
        order_accuracy,
        seconds,
        peak_memory_bytes: peak_memory_bytes(),
        remarks,
    })
}

fn table_row(model: &str, rows: &[&Row]) -> Option<TableRow> {
    let first = rows.first()?;
    let mean = |of: &dyn Fn(&Row) -> f64| rows.iter().map(|row| of(row)).sum::<f64>() / rows.len() as f64;
    let metrics = |side: Side| {
        ["R@1", "R@5", "R@10", "MdR", "MnR"]
            .map(|name| {
                let of = |row: &Row| named(side.of(row)).get(name).copied().unwrap_or(f64::NAN);
                (name.to_string(), mean(&of))
            })
            .to_vec()
    };
    let half_width = |side: Side| {
        let values: Vec<f64> = rows.iter().filter_map(|row| side.of(row).recall_percent(1)).collect();
        half_width(&values)
    };
    Some(TableRow {
        model: model.into(),
        normalize: first.normalize.clone(),
        regime: first.regime.to_string(),
        seeds: rows.len(),
        text_to_video: metrics(Side::TextToVideo),
        video_to_text: metrics(Side::VideoToText),
        text_to_video_half_width: half_width(Side::TextToVideo),
        video_to_text_half_width: half_width(Side::VideoToText),
    })
}

fn claims(
    outcomes: &[Vec<Outcome>],
    order_accuracy: &[(String, f64)],
) -> Result<Vec<Claim>, ExperimentError> {
    let row = |model: usize, normalize: usize, seeds: usize| -> Vec<&Row> {
        outcomes[model].iter().take(seeds).filter_map(|outcome| outcome.test.rows.get(normalize)).collect()
    };
    let all = outcomes[0].len();
    let controls = outcomes[2].len();
    let accuracy = order_accuracy
        .iter()
        .find(|(name, _)| name == "world-seq-transf")
        .map_or(String::new(), |(_, accuracy)| format!("order accuracy {accuracy:.1} % (50 % is chance)"));
    let mut claims = Vec::new();
    for side in [Side::TextToVideo, Side::VideoToText] {
        claims.push(compare(
            "CLIP4Clip",
            "a temporal transformer retrieves better than mean pooling",
            ["mean pooling, raw", "seq-transf, raw"],
            side,
            &row(0, 0, all),
            &row(1, 0, all),
            &accuracy,
        )?);
        claims.push(compare(
            "CLIP4Clip",
            "the transformer's gain needs the order of the frames",
            ["seq-transf on shuffled frames, raw", "seq-transf, raw"],
            side,
            &row(2, 0, controls),
            &row(1, 0, controls),
            "the control separates order from capacity",
        )?);
        claims.push(compare(
            "CAMoE + DSL",
            "dual softmax at inference helps",
            ["mean pooling, raw", "mean pooling, dual softmax"],
            side,
            &row(0, 0, all),
            &row(0, 1, all),
            "transductive against raw: the treatment sees the other test queries",
        )?);
        claims.push(compare(
            "NCL",
            "Sinkhorn normalisation at inference helps",
            ["mean pooling, raw", "mean pooling, Sinkhorn"],
            side,
            &row(0, 0, all),
            &row(0, 2, all),
            "transductive against raw: the oracle form, the bank is the test queries",
        )?);
    }
    Ok(claims)
}
