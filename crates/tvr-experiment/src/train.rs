//! The training loop: batch, step, optimiser, a look at val, a checkpoint.

mod log;

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use burn::module::Module;
use burn::optim::ModuleOptimizer;
use tvr_data::{Draw, Loader, Split};
use tvr_heads::Head;
use tvr_objectives::Objective;

use crate::checkpoint::{self, Checkpoints, State, export};
use crate::clip_norm::clip_global_norm;
use crate::collective::{Collective, Facts, Single, Start, agree, features_sha256, share_start, threads};
use crate::corpus::Corpus;
use crate::device;
use crate::error::ExperimentError;
use crate::evaluate;
use crate::files;
use crate::model::Model;
use crate::optimizer;
use crate::plan::Plan;
use crate::progress::{Event, Events};
use crate::recipe::Captions;
use crate::select;
use crate::sources::Sources;
use crate::step::{self, Batch, Way};
use log::StepLine;

/// A finished run.
#[derive(Clone, Debug)]
pub struct Run {
    /// Its folder.
    pub folder: PathBuf,
    /// Its seed.
    pub seed: u64,
    /// The step whose weights were chosen on val.
    pub selected: usize,
    /// SHA-256 of their file; `None` where this rank wrote none.
    pub selected_sha256: Option<String>,
    /// Steps in all.
    pub steps: usize,
    /// Mean seconds of a step by the log, without looks at val and checkpoints; 0 where this rank wrote none.
    pub step_seconds: f64,
    /// Hash of the features that it learned from and was chosen on; `None` for other data, and where this rank wrote nothing.
    pub features_sha256: Option<String>,
    /// The devices that took its steps, in the order in which they first did; none where this rank wrote nothing.
    pub devices: Vec<String>,
}

/// Whether a seed's run may begin: there is nothing in its folder that it would destroy.
///
/// # Errors
/// Without `resume` a run in the folder, finished or not; with it a finished run that has no checkpoint to go on from.
pub fn check_folder(plan: &Plan, seed: u64, resume: bool) -> Result<(), ExperimentError> {
    let (folder, finished) = (plan.run_folder(seed), plan.is_finished(seed));
    let kept: Vec<_> =
        std::fs::read_dir(folder.join("checkpoints")).into_iter().flatten().flatten().collect();
    let of_step = |entry: &std::fs::DirEntry| entry.file_name().to_string_lossy().starts_with("step-");
    if resume && finished && !kept.iter().any(of_step) {
        return Err(checkpoint::nothing_to_go_on_with(&folder));
    }
    if resume || (kept.is_empty() && !finished) {
        return Ok(());
    }
    Err(ExperimentError::request(format!(
        "{}: holds a run already; --resume goes on with it, and keeps it where it is finished; to train it anew, remove the \
         folder or give the recipe another name",
        folder.display()
    )))
}

/// One seed's training, as every rank of it sees it.
pub struct Work<'a> {
    /// The plan.
    pub plan: &'a Plan,
    /// The seed.
    pub seed: u64,
    /// What is learned from.
    pub train: &'a Corpus,
    /// What the weights are chosen on.
    pub val: &'a Corpus,
    /// Whether an interrupted run goes on where its newest checkpoint stands.
    pub resume: bool,
    /// Set from outside to stop after the step that is being taken.
    pub stop: &'a AtomicBool,
}

/// What rank 0 writes.
struct Written {
    checkpoints: Checkpoints,
    log_path: PathBuf,
    log: std::fs::File,
    best: Option<(usize, f64)>,
    best_sha256: Option<String>,
    features_sha256: Option<String>,
    devices: Vec<String>,
}

impl Written {
    /// Keeps the weights if they are the best on val so far.
    fn look<M: Module>(&mut self, step: usize, model: &M, score: f64) -> Result<(), ExperimentError> {
        if self.best.is_none_or(|(_, before)| score > before) {
            self.best = Some((step, score));
            self.best_sha256 = Some(self.checkpoints.save_best(model, step)?);
        }
        Ok(())
    }

    fn save<M: Module>(
        &self,
        step: usize,
        model: &M,
        optimizer: &ModuleOptimizer,
        recipe: String,
        seed: u64,
    ) -> Result<(), ExperimentError> {
        let state = State {
            schema: "tvr-checkpoint/1".into(),
            step,
            recipe,
            seed,
            features_sha256: self.features_sha256.clone(),
            best: self.best,
            best_sha256: self.best_sha256.clone(),
            devices: self.devices.clone(),
            optimized: 0,
            model_sha256: String::new(),
            optimizer_sha256: String::new(),
        };
        // A checkpoint of a step that the log does not know would leave a hole in it after a power cut.
        self.log.sync_data().map_err(ExperimentError::file(&self.log_path, "write"))?;
        self.checkpoints.save(model, optimizer, state)
    }
}

impl Work<'_> {
    /// Trains `model`. Over several devices of a plan, each has a rank.
    ///
    /// # Errors
    /// Broken data, a loss that is not finite (with step and gradient norm), a file, a rank that failed, or an interruption.
    pub fn train<H: Head, O: Objective>(
        &self,
        model: Model<H, O>,
        events: Events<'_>,
    ) -> Result<(Model<H, O>, Run), ExperimentError> {
        let plan = self.plan;
        if plan.devices.len() == 1 {
            return self.among(&Single, model, events);
        }
        let add = device::adder(&plan.devices, plan.patience)?;
        if add.is_some() {
            events(Event::Note("gradients are added up by the devices, and not by the host".into()));
        }
        let forks =
            plan.devices.iter().map(|device| model.clone().fork(&device.clone().autodiff())).collect();
        threads::run(forks, add, plan.patience, events, |ranks, model, events| {
            self.among(ranks, model, events)
        })
    }

    /// The start, read from a checkpoint where there is one, and what is written from there on.
    fn open<H: Head, O: Objective>(
        &self,
        fresh: Start<Model<H, O>>,
        events: Events<'_>,
    ) -> Result<(Start<Model<H, O>>, Written), ExperimentError> {
        let (recipe, folder) = (&self.plan.recipe, self.plan.run_folder(self.seed));
        check_folder(self.plan, self.seed, self.resume)?;
        let checkpoints = Checkpoints::open(&folder)?;
        let mut note = |word| events(Event::Note(word));
        let features_sha256 = features_sha256(self.plan, self.train, self.val);
        let (hash, known) = (recipe.training_hash()?, features_sha256.as_deref());
        let (model, optimizer, state) =
            checkpoints.load_newest(fresh.model, fresh.optimizer, &hash, self.seed, known, &mut note)?;
        // Not before: where another recipe's checkpoint lies, its own recipe stays.
        files::write_whole(&folder.join("recipe.toml"), recipe.to_toml()?.as_bytes())?;
        let (start, best) = state.as_ref().map_or((0, None), |state| (state.step, state.best));
        let best_sha256 = state.as_ref().and_then(|state| state.best_sha256.clone());
        let mut devices = state.as_ref().map_or(Vec::new(), |state| state.devices.clone());
        let device = &self.plan.surroundings.device;
        if start < self.plan.steps && !devices.contains(device) {
            devices.push(device.clone());
        }
        let log_path = folder.join("steps.jsonl");
        let log = log::open(&log_path, start)?;
        Ok((
            Start { model, optimizer, state },
            Written { checkpoints, log_path, log, best, best_sha256, features_sha256, devices },
        ))
    }

    /// Trains `model` as one of `ranks`. Those of several processes have agreed on what they start from ([`Facts::of`]), and
    /// each has a plan with its device alone. Only rank 0 reads checkpoints, writes files, and gives back the weights that were
    /// chosen on val; another's are those of the last step.
    ///
    /// # Errors
    /// As [`train`](Self::train).
    pub fn among<H: Head, O: Objective>(
        &self,
        ranks: &dyn Collective,
        model: Model<H, O>,
        events: Events<'_>,
    ) -> Result<(Model<H, O>, Run), ExperimentError> {
        let Self { plan, seed, train, stop, .. } = *self;
        let recipe = &plan.recipe;
        let steps = plan.steps;
        let optimizer = optimizer::build(&recipe.train.optimizer, &model, steps)?;
        let fresh = Start { model, optimizer, state: None };
        // Rank 0 alone reads and writes files.
        let (own, mut written) = match ranks.rank() {
            0 => self.open(fresh, events).map(|(start, written)| (start, Some(written)))?,
            _ => (fresh, None),
        };
        let Start { mut model, mut optimizer, state } = share_start(ranks, own)?;
        if ranks.size() > 1 {
            agree(ranks, &Facts::of_weights(&model))?;
        }
        let start = state.map_or(0, |state| state.step);
        let device = plan.devices.get(ranks.rank()).unwrap_or(&plan.device);
        let draws = step::draws(&model, train, ranks, device)?;
        let draw = match recipe.train.captions {
            Captions::OnePerVideo => Draw::OnePerVideo,
            Captions::All => Draw::All,
        };
        let loader = Loader::new(train.captions(), recipe.train.batch, seed, draw)
            .map_err(|error| ExperimentError::request(error.to_string()))?;
        events(Event::Begin { label: format!("{} seed {seed}", recipe.name), total: steps, done: start });
        for step in start..steps {
            let random = tvr_data::stream(seed, "step", step as u64).next();
            let way = Way { ranks, chunk: recipe.train.chunk, device, random, draws };
            let line;
            (model, line) = self.step(&way, &loader, step, model, &mut optimizer)?;
            if let Some(written) = &mut written {
                log::append(&mut written.log, &written.log_path, &line)?;
            }
            let done = step + 1;
            events(Event::Step { done, loss: Some(line.loss), seconds: line.seconds });
            let stopping = any(ranks, stop.load(Ordering::Relaxed))?;
            if let Some(written) = &mut written {
                let due = stopping || done.is_multiple_of(loader.batches());
                self.keep(written, done, &model, &optimizer, due)?;
            }
            if stopping && done < steps {
                // Nobody says that one can go on there before rank 0 has written it.
                ranks.barrier("the checkpoint")?;
                return Err(ExperimentError::Interrupted {
                    step: done,
                    command: format!("cargo xtask train {} --resume", plan.source.display()),
                });
            }
        }
        events(Event::End);
        // Nobody ends before rank 0 has written what it saw last.
        ranks.barrier("the end")?;
        let step_seconds =
            written.as_ref().map_or(Ok(0.0), |written| log::mean_seconds(&written.log_path))?;
        let folder = plan.run_folder(seed);
        let best = written.as_ref().and_then(|written| written.best);
        let selected = best.map_or(steps, |(step, _)| step);
        if let Some(written) = &written {
            if best.is_some() {
                let sha256 = written.best_sha256.as_deref();
                model = written.checkpoints.load_best(model, selected, sha256)?;
            }
            export(&model, &folder.join("model.safetensors"))?;
        }
        let (selected_sha256, features_sha256, devices) = written
            .map_or((None, None, Vec::new()), |written| {
                (written.best_sha256, written.features_sha256, written.devices)
            });
        let run =
            Run { folder, seed, selected, selected_sha256, steps, step_seconds, features_sha256, devices };
        Ok((model, run))
    }

    /// One step from batch to weights: the model after it, and its line in the log.
    fn step<H: Head, O: Objective>(
        &self,
        way: &Way<'_>,
        loader: &Loader,
        step: usize,
        model: Model<H, O>,
        optimizer: &mut ModuleOptimizer,
    ) -> Result<(Model<H, O>, StepLine), ExperimentError> {
        let begin = Instant::now();
        let recipe = &self.plan.recipe;
        let drawn = loader.batch(step);
        let shuffle =
            recipe.data.shuffles().then(|| tvr_data::stream(self.seed, "frame-order", step as u64).next());
        let batch = Batch { texts: drawn.texts, videos: drawn.videos, text_video: drawn.text_video, shuffle };
        let (mut gradients, judged, seen) = step::gradients(&model, self.train, &batch, way)?;
        let loss = judged.loss;
        let limit = (recipe.train.clip_norm > 0.0).then_some(recipe.train.clip_norm);
        let norm = clip_global_norm(&model, &mut gradients, limit);
        if !loss.is_finite() || !norm.is_finite() {
            let whose = judged.broken.map_or(String::new(), |rank| format!(" (first on rank {rank})"));
            return Err(ExperimentError::work(format!(
                "{}: the loss is {loss}{whose} and the gradient's norm {norm} at step {}; lower train.optimizer.learning_rate in a recipe of another name, or look at the data",
                recipe.name,
                step + 1
            )));
        }
        let factor = optimizer::factor(&recipe.train.optimizer, step, self.plan.steps);
        let mut model = optimizer.step(factor, model, gradients).clamp_logit_scale();
        step::after_step(&mut model, &seen);
        let seconds = begin.elapsed().as_secs_f64();
        let line = StepLine {
            step: step + 1,
            epoch: drawn.epoch,
            loss,
            parts: judged.parts,
            lr: recipe.train.optimizer.rate_at(step, self.plan.steps),
            grad_norm: norm,
            logit_scale: f64::from(model.scale().into_scalar::<f32>()),
            seconds,
        };
        Ok((model, line))
    }

    /// Looks at val after `done` steps where a look is due, and writes a checkpoint then, where one is `due` by itself, and
    /// every `train.checkpoint_every` steps.
    fn keep<H: Head, O: Objective>(
        &self,
        written: &mut Written,
        done: usize,
        model: &Model<H, O>,
        optimizer: &ModuleOptimizer,
        due: bool,
    ) -> Result<(), ExperimentError> {
        let recipe = &self.plan.recipe;
        let look = select::is_look(done, self.plan.steps, recipe.train.evaluations);
        if look {
            let score = select::score(&evaluate::judge_raw(model, self.val, self.plan)?);
            written.look(done, model, score)?;
        }
        let every = recipe.train.checkpoint_every;
        if look || due || (every > 0 && done.is_multiple_of(every)) {
            written.save(done, model, optimizer, recipe.training_hash()?, self.seed)?;
        }
        Ok(())
    }
}

/// Whether any rank says so: all take the same turn then.
fn any(ranks: &dyn Collective, own: bool) -> Result<bool, ExperimentError> {
    Ok(ranks.gather("whether to stop", vec![u8::from(own)])?.iter().any(|said| said.first() == Some(&1)))
}

/// Captions and videos of val are opened here, and test is not.
///
/// # Errors
/// What is missing or broken in the data.
pub fn open_data(plan: &Plan, sources: &Sources) -> Result<(Corpus, Corpus), ExperimentError> {
    Ok((Corpus::open(plan, Split::Train, sources)?, Corpus::open(plan, Split::Val, sources)?))
}
