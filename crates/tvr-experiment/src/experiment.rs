//! One recipe from plan to record, with its own head and objective or with others from outside.

mod share;

use std::collections::BTreeMap;
use std::sync::atomic::AtomicBool;

use tvr_heads::Head;
use tvr_objectives::Objective;

use crate::checkpoint::{self, Checkpoints};
use crate::collective::{Collective, Facts, agree, features_sha256};
use crate::corpus::Corpus;
use crate::error::ExperimentError;
use crate::evaluate::{self, Judged, Splits};
use crate::lock;
use crate::model::{Model, build};
use crate::own::{Own, Parts};
use crate::plan::Plan;
use crate::pretrained::Trained;
use crate::progress::Events;
use crate::recipe::{DataRecipe, Recipe};
use crate::record::{self, Record};
use crate::sources::Sources;
use crate::train::{self, Work};
pub use share::score_share;

/// Data and towers of a plan, opened once for all seeds.
pub struct Opened {
    /// The training split.
    pub train: Corpus,
    /// The validation split.
    pub val: Corpus,
    /// What they came through.
    pub sources: Sources,
}

impl Opened {
    fn val_splits(&self) -> Splits<'_> {
        Splits { judged: &self.val, train: &self.train }
    }
}

/// A judged run.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// What was written to `record.json`.
    pub record: Record,
    /// Test similarities and rows.
    pub test: Judged,
}

/// Opens what a plan needs: trains the world's towers, decodes and encodes videos where that is not done yet.
///
/// # Errors
/// Missing or broken data, or an interruption.
pub fn open(plan: &Plan, stop: &AtomicBool, events: Events<'_>) -> Result<Opened, ExperimentError> {
    let sources = Sources::open(plan, stop, events)?;
    let (train, val) = train::open_data(plan, &sources)?;
    Ok(Opened { train, val, sources })
}

/// Trains and judges one seed of a plan.
///
/// - `opened`: by the plan that [`Plan::with`] makes of the same parts; with the recipe's own that is the plan itself
/// - `own`: [`Own::built_in`], or a head and an objective from outside; the door for new methods
///
/// # Errors
/// What [`Plan::with`] says; broken data, numbers that are not finite, files that cannot be written, or an interruption.
pub fn run<F, H, O>(
    plan: &Plan,
    opened: &Opened,
    own: &Own<F>,
    seed: u64,
    resume: bool,
    stop: &AtomicBool,
    events: Events<'_>,
) -> Result<Outcome, ExperimentError>
where
    F: Fn(&Parts<'_>) -> Result<(H, O), ExperimentError>,
    H: Head,
    O: Objective,
{
    let plan = &plan.with(own)?;
    let _held = lock::hold(&plan.run_folder(seed))?;
    let model = build(plan, &opened.sources, &opened.train, &own.make, seed)?;
    let work = Work { plan, seed, train: &opened.train, val: &opened.val, resume, stop };
    let (model, run) = work.train(model, events)?;
    judge(plan, opened, &model, &run)
}

/// Trains one seed of a plan as one rank of several processes, and judges it at rank 0; `None` at every other. The plan
/// has this rank's device alone.
///
/// # Errors
/// As [`run`]; ranks that differ, before anything is written; a rank that failed or did not come.
#[allow(clippy::too_many_arguments, reason = "each is a different thing, and none has a default")]
pub fn run_among<F, H, O>(
    ranks: &dyn Collective,
    plan: &Plan,
    opened: &Opened,
    own: &Own<F>,
    seed: u64,
    resume: bool,
    stop: &AtomicBool,
    events: Events<'_>,
) -> Result<Option<Outcome>, ExperimentError>
where
    F: Fn(&Parts<'_>) -> Result<(H, O), ExperimentError>,
    H: Head,
    O: Objective,
{
    let plan = &plan.with(own)?;
    // Where they differ nothing is written, not even a lock.
    agree(ranks, &Facts::of(plan, seed, &opened.train, opened.sources.pretrained.as_ref())?)?;
    let _held = (ranks.rank() == 0).then(|| lock::hold(&plan.run_folder(seed))).transpose()?;
    let model = build(plan, &opened.sources, &opened.train, &own.make, seed)?;
    let work = Work { plan, seed, train: &opened.train, val: &opened.val, resume, stop };
    let (model, run) = work.among(ranks, model, events)?;
    if ranks.rank() == 0 { judge(plan, opened, &model, &run).map(Some) } else { Ok(None) }
}

/// Opens test, judges a trained model, and writes the record.
fn judge<H: Head, O: Objective>(
    plan: &Plan,
    opened: &Opened,
    model: &Model<H, O>,
    run: &train::Run,
) -> Result<Outcome, ExperimentError> {
    if let (Some(pretrained), Some(text)) = (&opened.sources.pretrained, &model.text.tower) {
        let trained = Trained { text, image: model.video.tower.as_ref(), logit_scale: &model.logit_scale };
        pretrained.save(&trained, &run.folder.join("clip"), &plan.device)?;
    }
    let settled = evaluate::settled(model, opened.val_splits(), plan)?;
    let test = evaluate::test(model, plan, &opened.train, &opened.sources, &settled)?;
    let val = evaluate::judged(model, opened.val_splits(), plan, &opened.sources, &settled)?;
    let mut beside = BTreeMap::new();
    if let DataRecipe::World { shuffle_frames: false, .. } = plan.recipe.data {
        let accuracy = evaluate::order_accuracy(model, plan, &opened.sources)?;
        beside.insert("order accuracy, %".to_string(), accuracy);
    }
    let record = record::write(plan, run, &test, &val, opened.sources.weights(), beside)?;
    Ok(Outcome { record, test })
}

/// Judges a finished run again with the selected weights, on test or, if asked for, val.
///
/// # Errors
/// A run without selected weights, or as [`run`].
pub fn judge_again<F, H, O>(
    plan: &Plan,
    opened: &Opened,
    own: &Own<F>,
    seed: u64,
    on_val: bool,
) -> Result<Judged, ExperimentError>
where
    F: Fn(&Parts<'_>) -> Result<(H, O), ExperimentError>,
    H: Head,
    O: Objective,
{
    let plan = &plan.with(own)?;
    let model = selected(plan, opened, &own.make, seed)?;
    let settled = evaluate::settled(&model, opened.val_splits(), plan)?;
    if on_val {
        let mut judged = evaluate::judged(&model, opened.val_splits(), plan, &opened.sources, &settled)?;
        if !judged.chosen.is_empty() {
            judged.warnings.push("settings were chosen on val, which is what is judged here".into());
        }
        Ok(judged)
    } else {
        evaluate::test(&model, plan, &opened.train, &opened.sources, &settled)
    }
}

/// The model of a finished run, with the weights chosen on val: its encoders make features of a corpus' items, its head codes
/// and similarities of features.
///
/// # Errors
/// As [`judge_again`].
pub fn trained<F, H, O>(
    plan: &Plan,
    opened: &Opened,
    own: &Own<F>,
    seed: u64,
) -> Result<Model<H, O>, ExperimentError>
where
    F: Fn(&Parts<'_>) -> Result<(H, O), ExperimentError>,
    H: Head,
    O: Objective,
{
    selected(&plan.with(own)?, opened, &own.make, seed)
}

/// The selected weights of a finished run in its model; the plan has the run's parts already.
fn selected<H: Head, O: Objective>(
    plan: &Plan,
    opened: &Opened,
    make: impl FnOnce(&Parts<'_>) -> Result<(H, O), ExperimentError>,
    seed: u64,
) -> Result<Model<H, O>, ExperimentError> {
    let model = build(plan, &opened.sources, &opened.train, make, seed)?;
    let folder = plan.run_folder(seed);
    let record = record::read(&folder)?;
    let kept = Recipe::read(&folder.join("recipe.toml"))?.own;
    if kept != plan.recipe.own {
        let said = |own: Option<String>| own.unwrap_or("its recipe's own head and objective".into());
        return Err(ExperimentError::request(format!(
            "{}: was trained with {}, not with {}; judge it with what it was trained with",
            folder.display(),
            said(kept),
            said(plan.recipe.own.clone())
        )));
    }
    let features = features_sha256(plan, &opened.train, &opened.val);
    if checkpoint::others(record.features_sha256.as_deref(), features.as_deref()) {
        return Err(ExperimentError::work(format!(
            "{}: the run was trained on other data: features, captions or the frozen towers have changed since; put them back, or train it again",
            folder.display()
        )));
    }
    let checkpoints = Checkpoints::of(&folder);
    checkpoints.load_best(model, record.selected, record.selected_sha256.as_deref())
}

/// Seconds of a training step, measured on the plan's own model and data; nothing of it is kept.
///
/// # Errors
/// As [`run`]; an interruption is failed work, since nothing could go on from it.
pub fn measure_step(plan: &Plan, opened: &Opened, stop: &AtomicBool) -> Result<f64, ExperimentError> {
    const WARM: usize = 2;
    const MEASURED: usize = 8;
    let own = Own::built_in();
    let plan = &plan.with(&own)?;
    let runs = &plan.surroundings.runs;
    let folder = runs.join(format!(".measure-{}", std::process::id()));
    let made: Vec<_> = runs.ancestors().take_while(|above| !above.exists()).collect();
    let mut trial = plan.clone();
    trial.steps = WARM + MEASURED;
    trial.recipe.train.steps = Some(trial.steps);
    trial.recipe.train.evaluations = 1;
    trial.surroundings.runs = folder.clone();
    let mut seconds = Vec::new();
    let model = build(plan, &opened.sources, &opened.train, &own.make, 0)?;
    let (train, val) = (&opened.train, &opened.val);
    let work = Work { plan: &trial, seed: 0, train, val, resume: false, stop };
    let outcome = work.train(model, &mut |event| {
        if let crate::progress::Event::Step { seconds: of_step, .. } = event {
            seconds.push(of_step);
        }
    });
    let _ = std::fs::remove_dir_all(&folder);
    for above in made {
        // Whoever has put something there since keeps it: a folder that is not empty stays.
        let _ = std::fs::remove_dir(above);
    }
    outcome.map_err(|error| match error {
        ExperimentError::Interrupted { .. } => {
            ExperimentError::work("stopped while a step was measured; nothing of it is kept")
        }
        error => error,
    })?;
    let mut measured = seconds.split_off(WARM.min(seconds.len()));
    measured.sort_by(f64::total_cmp);
    Ok(measured.get(measured.len() / 2).copied().unwrap_or(0.0))
}
