//! `plan`: what would run, with a measured step time.

use std::sync::atomic::AtomicBool;

use tvr_experiment::step::Judging;
use tvr_experiment::{ExperimentError, Plan, experiment};

use crate::commands::train;
use crate::draw::draw;
use crate::exit;

/// Show what a recipe would run: every choice resolved, sizes, memory, step time measured, time in all.
///
/// Examples:
///   cargo xtask plan recipes/world-seq-transf.toml
///   cargo xtask plan recipes/msrvtt476-mean-pooling.toml --set train.batch=512
#[derive(clap::Args, Debug)]
#[command(verbatim_doc_comment)]
pub struct Args {
    #[command(flatten)]
    pub(super) train: train::Args,
}

/// Runs the command.
///
/// # Errors
/// What the plan or the data says.
pub fn run(args: &Args, stop: &'static AtomicBool) -> Result<(), ExperimentError> {
    let plan = args.train.plan()?;
    let opened = experiment::open(&plan, stop, &mut draw())?;
    let seconds = experiment::measure_step(&plan, &opened, stop)?;
    let runs = plan.recipe.seeds.len();
    let total = seconds * plan.steps as f64 * runs as f64;
    let memory = tvr_experiment::record::peak_memory_bytes();
    let text = format!(
        "{}\n# {} training videos, {} captions; {} val videos\n# {} steps of {} pairs, {runs} seeds\n\
         # {:.1} ms a step measured on {}; {total:.0} s in all\n# {:.0} MB of memory at most\n{}",
        plan.recipe.to_toml()?,
        plan.offer.train_videos,
        plan.offer.train_texts,
        plan.offer.val_videos,
        plan.steps,
        plan.recipe.train.batch,
        seconds * 1000.0,
        plan.surroundings.device,
        memory as f64 / 1e6,
        sharing(&plan),
    );
    let summary = serde_json::json!({
        "schema": "tvr-plan/1", "recipe": plan.recipe, "offer": plan.offer, "steps": plan.steps,
        "step_seconds": seconds, "total_seconds": total,
        "peak_memory_bytes": memory,
        "devices": plan.devices.len(), "judged_by_rows": plan.judging == Judging::Rows,
    });
    exit::results(args.train.json.as_deref(), &summary, &text)
}

/// How several devices share a batch; nothing for one.
fn sharing(plan: &Plan) -> String {
    let count = plan.devices.len();
    match plan.judging {
        _ if count == 1 => String::new(),
        Judging::Rows => format!(
            "# {count} devices share each batch: each encodes 1/{count} of it and judges its rows of both directions\n"
        ),
        Judging::Whole(reason) => format!(
            "# {count} devices share each batch: each encodes 1/{count} of it and judges the whole, because {reason}\n"
        ),
    }
}
