//! `eval`: judges a finished run again.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::atomic::AtomicBool;

use tvr_experiment::device::{self, DEFAULT_DEVICE, DEVICE_HELP};
use tvr_experiment::evaluate::Told;
use tvr_experiment::record::RowRecord;
use tvr_experiment::shard::Shard;
use tvr_experiment::{ExperimentError, Own, Recipe, Surroundings, experiment, plan, record};

use crate::apart;
use crate::commands::{merge, train};
use crate::draw::draw;
use crate::exit;

/// Judge a finished run again, with other normalisers if you like.
///
/// Examples:
///   cargo xtask eval runs/world-mean-pooling-0
///   cargo xtask eval runs/world-mean-pooling-0 --normalize raw --normalize inverted-softmax:temperature=1
///   cargo xtask eval runs/world-mean-pooling-0 --normalize 'dual-softmax:temperature=0.5|1|2'   # chosen on val
///   cargo xtask eval runs/world-mean-pooling-0 --set eval.bank='{ texts = 2000, videos = 2000 }' --normalize nnn
///   cargo xtask eval runs/world-mean-pooling-0 --shard 0/4 --out 0.safetensors   # then merge, then score
#[derive(clap::Args, Debug)]
#[command(verbatim_doc_comment)]
pub struct Args {
    /// The run's folder.
    run: PathBuf,
    /// A row each, as for `score`; by default those of the run's recipe.
    #[arg(long, value_name = "SPEC")]
    normalize: Vec<String>,
    /// Sets one key of the recipe's [eval] by its dotted path.
    #[arg(long, value_name = "eval.KEY=VALUE")]
    set: Vec<String>,
    /// Which split.
    #[arg(long, default_value = "test", value_parser = ["test", "val"])]
    split: String,
    /// Where towers and features are cached.
    #[arg(long, default_value = "cache")]
    cache: PathBuf,
    #[arg(long, default_value = DEFAULT_DEVICE, help = format!("The device: {DEVICE_HELP}"))]
    pub(super) device: String,
    /// Write what was found as JSON to this file, or to stdout with "-".
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Encode one share of N of the videos, and write its similarities in place of judging; I counts from 0. `merge` joins
    /// them, `score` judges them.
    #[arg(long, value_name = "I/N", requires = "out", conflicts_with = "json")]
    shard: Option<Shard>,
    /// The file of the share.
    #[arg(long, value_name = "FILE", requires = "shard", conflicts_with = "json")]
    out: Option<PathBuf>,
}

/// What `--json` says.
#[derive(serde::Serialize)]
struct Evaluation<'a> {
    schema: &'static str,
    run: String,
    recipe: &'a str,
    seed: u64,
    split: &'a str,
    gallery: &'a str,
    gallery_size: [usize; 2],
    chosen: &'a BTreeMap<String, String>,
    effective_ranks: Option<[f64; 2]>,
    beside: &'a BTreeMap<String, f64>,
    warnings: &'a [String],
    rows: &'a [RowRecord],
}

/// Runs the command.
///
/// # Errors
/// What the run's folder, the data or a normaliser says.
pub fn run(args: &Args, stop: &'static AtomicBool) -> Result<(), ExperimentError> {
    let on_val = args.split == "val";
    let folder = std::fs::canonicalize(&args.run).map_err(|cause| {
        let what = "give the folder of a finished run, as runs/NAME-SEED";
        ExperimentError::work(format!("{}: cannot open: {cause}; {what}", args.run.display()))
    })?;
    for name in ["record.json", "recipe.toml"] {
        if !args.run.join(name).is_file() {
            return Err(ExperimentError::work(format!(
                "{}: holds no {name}; give the folder of a finished run, as runs/NAME-SEED",
                args.run.display()
            )));
        }
    }
    let mut record = record::read(&args.run)?;
    let mut recipe = Recipe::read(&args.run.join("recipe.toml"))?;
    if !args.normalize.is_empty() {
        recipe.eval.normalize.clone_from(&args.normalize);
    }
    for set in &args.set {
        match set.split_once('=') {
            Some((key, value)) if key.starts_with("eval.") => recipe.set(key, value)?,
            _ => {
                return Err(ExperimentError::request(format!(
                    "--set {set}: it must be eval.KEY=VALUE; what a run was trained with cannot be changed afterwards"
                )));
            }
        }
    }
    apart::from_recipe(&recipe, &[("json", args.json.as_deref()), ("out", args.out.as_deref())])?;
    if device::count(&args.device)? > 1 {
        return Err(ExperimentError::request(format!(
            "--device {}: a run is judged on one device; name one, and share the videos out with --shard",
            args.device
        )));
    }
    let surroundings = Surroundings {
        runs: folder.parent().map(PathBuf::from).unwrap_or_default(),
        cache: args.cache.clone(),
        device: args.device.clone(),
    };
    let plan = plan(&recipe, &args.run.join("recipe.toml"), &surroundings)?;
    // A run's weights are found by its name: under another one they would be those of another run.
    let own = plan.run_folder(record.seed);
    if own != folder {
        return Err(ExperimentError::request(format!(
            "{}: the run in it is {}; give the folder that name, in a folder of its own if there is one already",
            args.run.display(),
            own.file_name().unwrap_or_default().display()
        )));
    }
    let opened = experiment::open(&plan, stop, &mut draw())?;
    if let (Some(shard), Some(out)) = (args.shard, &args.out) {
        let written =
            experiment::score_share(&plan, &opened, &Own::built_in(), record.seed, on_val, shard, out)?;
        return exit::print(&merge::scores_said(out, &written));
    }
    let judged = experiment::judge_again(&plan, &opened, &Own::built_in(), record.seed, on_val)?;
    record.test = judged.rows.iter().map(RowRecord::of).collect();
    record.chosen = judged.chosen;
    record.effective_ranks = judged.effective_ranks;
    for warning in &judged.warnings {
        exit::say(&format!("warning: {warning}"));
    }
    record.beside = judged.told.iter().flat_map(Told::figures).collect();
    let evaluation = Evaluation {
        schema: "tvr-eval/1",
        run: folder.file_name().unwrap_or_default().display().to_string(),
        recipe: &record.recipe,
        seed: record.seed,
        split: &args.split,
        gallery: &judged.gallery,
        gallery_size: [judged.logits.nrows(), judged.logits.ncols()],
        chosen: &record.chosen,
        effective_ranks: record.effective_ranks,
        beside: &record.beside,
        warnings: &judged.warnings,
        rows: &record.test,
    };
    exit::results(args.json.as_deref(), &evaluation, &train::shown(std::slice::from_ref(&record)))
}
