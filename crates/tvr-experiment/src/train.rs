//! The training loop: batch, step, optimiser, a look at val, a checkpoint.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use serde::Serialize;
use tvr_data::{Draw, Loader, Split};
use tvr_heads::Head;
use tvr_objectives::Objective;

use crate::checkpoint::{Checkpoints, State, export};
use crate::clip_norm::clip_global_norm;
use crate::corpus::Corpus;
use crate::error::ExperimentError;
use crate::evaluate;
use crate::files;
use crate::model::Model;
use crate::optimizer;
use crate::plan::Plan;
use crate::progress::{Event, Events};
use crate::recipe::{Captions, DataRecipe};
use crate::select;
use crate::sources::Sources;
use crate::step::{self, Batch};

/// A finished run.
#[derive(Clone, Debug)]
pub struct Run {
    /// Its folder.
    pub folder: PathBuf,
    /// Its seed.
    pub seed: u64,
    /// The step whose weights were chosen on val.
    pub selected: usize,
    /// Steps in all.
    pub steps: usize,
    /// Mean seconds of a step of this process.
    pub step_seconds: f64,
}

/// One line of `steps.jsonl`.
#[derive(Debug, Serialize)]
struct StepLine {
    step: usize,
    epoch: u64,
    loss: f64,
    parts: Vec<(String, f64)>,
    lr: f64,
    grad_norm: f64,
    logit_scale: f64,
    seconds: f64,
}

/// Trains `model` with one seed; an interrupted run goes on where its newest checkpoint stands if `resume` is set.
///
/// # Errors
/// Broken data, a loss that is not finite (with step and gradient norm), a file, or an interruption.
pub fn train<H: Head, O: Objective>(
    plan: &Plan,
    seed: u64,
    model: Model<H, O>,
    train: &Corpus,
    val: &Corpus,
    resume: bool,
    stop: &AtomicBool,
    events: Events<'_>,
) -> Result<(Model<H, O>, Run), ExperimentError> {
    let recipe = &plan.recipe;
    let folder = plan.run_folder(seed);
    let steps = plan.steps;
    let hash = recipe.hash()?;
    if !resume && folder.join("checkpoints").exists() {
        std::fs::remove_dir_all(&folder).map_err(ExperimentError::file(&folder, "replace"))?;
    }
    let checkpoints = Checkpoints::open(&folder)?;
    files::write_whole(&folder.join("recipe.toml"), recipe.to_toml()?.as_bytes())?;
    let fresh = optimizer::build(&recipe.train.optimizer, &model, steps)?;
    let (mut model, mut adam, state) =
        checkpoints.load_newest(model, fresh, &hash, seed, &mut |word| events(Event::Note(word)))?;
    let (start, mut best) = state.map_or((0, None), |state| (state.step, state.best));
    let log_path = folder.join("steps.jsonl");
    let mut log = open_log(&log_path, start)?;

    let draw = match recipe.train.captions {
        Captions::OnePerVideo => Draw::OnePerVideo,
        Captions::All => Draw::All,
    };
    let loader = Loader::new(train.captions(), recipe.train.batch, seed, draw)
        .map_err(|error| ExperimentError::request(error.to_string()))?;
    let looks = look_steps(steps, recipe.train.evaluations);
    events(Event::Begin { label: format!("{} seed {seed}", recipe.name), total: steps, done: start });
    let began = Instant::now();
    for step in start..steps {
        let begin = Instant::now();
        let drawn = loader.batch(step);
        let batch = Batch {
            texts: drawn.texts,
            videos: drawn.videos,
            text_video: drawn.text_video,
            shuffle: matches!(recipe.data, DataRecipe::World { shuffle_frames: true, .. })
                .then(|| tvr_data::stream(seed, "frame-order", step as u64).next()),
        };
        let random = tvr_data::stream(seed, "step", step as u64).next();
        let (mut gradients, judged, seen) =
            step::gradients(&model, train, &batch, recipe.train.chunk, &plan.device, random)?;
        let loss = judged.loss;
        let limit = (recipe.train.clip_norm > 0.0).then_some(recipe.train.clip_norm);
        let norm = clip_global_norm(&model, &mut gradients, limit);
        if !loss.is_finite() || !norm.is_finite() {
            return Err(ExperimentError::work(format!(
                "{}: the loss is {loss} and the gradient's norm {norm} at step {step}; lower train.optimizer.learning_rate, or look at the data",
                recipe.name
            )));
        }
        let rate = optimizer::rate(&recipe.train.optimizer, step, steps);
        model = adam.step(rate, model, gradients);
        model = model.clamp_logit_scale();
        step::after_step(&mut model, &seen);
        let seconds = begin.elapsed().as_secs_f64();
        let line = StepLine {
            step: step + 1,
            epoch: drawn.epoch,
            loss,
            parts: judged.parts,
            lr: rate,
            grad_norm: norm,
            logit_scale: f64::from(model.scale().into_scalar::<f32>()),
            seconds,
        };
        append(&mut log, &log_path, &line)?;
        events(Event::Step { done: step + 1, loss: Some(loss), seconds });

        let look = looks.contains(&(step + 1));
        if look {
            let judgement = evaluate::judge_raw(&model, val, plan)?;
            let score = select::score(&judgement);
            if best.is_none_or(|(_, before)| score > before) {
                best = Some((step + 1, score));
                checkpoints.save_best(&model, step + 1)?;
            }
        }
        let every = recipe.train.checkpoint_every;
        let due = look || (every > 0 && (step + 1) % every == 0);
        let stopping = stop.load(Ordering::Relaxed);
        if due || stopping {
            let state = State {
                schema: "tvr-checkpoint/1".into(),
                step: step + 1,
                recipe: hash.clone(),
                seed,
                best,
                optimized: 0,
                model_sha256: String::new(),
                optimizer_sha256: String::new(),
            };
            checkpoints.save(&model, &adam, state)?;
        }
        if stopping && step + 1 < steps {
            return Err(ExperimentError::Interrupted {
                step: step + 1,
                recipe: plan.source.display().to_string(),
            });
        }
    }
    events(Event::End);
    let done = steps.saturating_sub(start);
    let step_seconds = began.elapsed().as_secs_f64() / done.max(1) as f64;
    let selected = best.map_or(steps, |(step, _)| step);
    let model = if best.is_some() { checkpoints.load_best(model, selected)? } else { model };
    export(&model, &folder.join("model.safetensors"))?;
    Ok((model, Run { folder, seed, selected, steps, step_seconds }))
}

/// Steps after which val is looked at: evenly, the last always.
fn look_steps(steps: usize, looks: usize) -> Vec<usize> {
    (1..=looks.max(1)).map(|look| (steps * look).div_ceil(looks.max(1))).collect()
}

/// The log, cut back to the checkpoint's step: a resumed run's log reads like one that was never stopped.
fn open_log(path: &Path, step: usize) -> Result<std::fs::File, ExperimentError> {
    let kept: Vec<u8> = match std::fs::read(path) {
        Ok(bytes) => bytes.split_inclusive(|&byte| byte == b'\n').take(step).flatten().copied().collect(),
        Err(_) => Vec::new(),
    };
    files::write_whole(path, &kept)?;
    std::fs::OpenOptions::new().append(true).open(path).map_err(ExperimentError::file(path, "open"))
}

fn append(log: &mut std::fs::File, path: &Path, line: &StepLine) -> Result<(), ExperimentError> {
    let mut text = serde_json::to_string(line)
        .map_err(|cause| ExperimentError::work(format!("{}: {cause}", path.display())))?;
    text.push('\n');
    log.write_all(text.as_bytes()).map_err(ExperimentError::file(path, "write"))
}

/// Captions and videos of val are opened here, and test is not.
///
/// # Errors
/// What is missing or broken in the data.
pub fn open_data(plan: &Plan, sources: &Sources) -> Result<(Corpus, Corpus), ExperimentError> {
    Ok((Corpus::open(plan, Split::Train, sources)?, Corpus::open(plan, Split::Val, sources)?))
}
