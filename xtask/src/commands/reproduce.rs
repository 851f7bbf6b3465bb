//! `reproduce`: trains, judges, and says which claims hold.

mod benchmark;

use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::AtomicBool;

use tvr_experiment::collective::launch;
use tvr_experiment::device::{DEFAULT_DEVICE, DEVICE_HELP};
use tvr_experiment::record::FIGURES;
use tvr_experiment::reproduce::jobs::{Job, Launcher};
use tvr_experiment::reproduce::{Data, Extent, Paper, Reproduction, Request, reproduce, workers};
use tvr_experiment::{ExperimentError, Surroundings};

use crate::draw::draw;
use crate::exit;
use crate::table::Table;

/// Train and judge on the built-in world, and say which claims of the papers hold there.
///
/// Examples:
///   cargo xtask reproduce
///   cargo xtask reproduce ncl
///   cargo xtask reproduce --quick
///   cargo xtask reproduce clip4clip --dataset msrvtt --data-root MSRVTT --weights clip-vit-base-patch32
#[derive(clap::Args, Debug)]
#[command(verbatim_doc_comment)]
pub struct Args {
    /// One paper alone: clip4clip, emcl, camoe, ncl or support-set.
    paper: Option<Paper>,
    /// Two minutes: too small to conclude.
    #[arg(long, conflicts_with = "full")]
    quick: bool,
    /// Every model with five seeds, and the image tower trained along: hours.
    #[arg(long)]
    full: bool,
    /// On real data instead: msrvtt476, a feature file with 476 test videos of MSR-VTT; or msrvtt, msvd, lsmdc, didemo,
    /// activitynet or vatex, a benchmark's videos, from a checkpoint.
    #[arg(long, conflicts_with_all = OF_THE_WORLD)]
    dataset: Option<String>,
    /// The folder of the data set, or below which a benchmark's videos are.
    #[arg(long, value_name = "DIR", requires = "dataset", conflicts_with_all = OF_THE_WORLD)]
    data_root: Option<PathBuf>,
    /// The checkpoint that a benchmark's models start from: a folder, or OWNER/NAME on the hub (feature hub).
    #[arg(long, value_name = "DIR|NAME", requires = "dataset", conflicts_with_all = OF_THE_WORLD)]
    weights: Option<String>,
    /// The folder of a benchmark's annotation files.
    #[arg(long, value_name = "DIR", requires = "dataset", conflicts_with_all = OF_THE_WORLD)]
    annotations: Option<PathBuf>,
    /// A benchmark's ids to leave out, one a line.
    #[arg(long, value_name = "FILE", requires = "dataset", conflicts_with_all = OF_THE_WORLD)]
    quarantine: Option<PathBuf>,
    /// The store of frames.
    #[arg(long, value_name = "DIR", default_value = "store")]
    store: PathBuf,
    /// Where to write the run folders and reproduce.json.
    #[arg(long, default_value = "runs/reproduce")]
    runs: PathBuf,
    /// Where towers and features are cached.
    #[arg(long, default_value = "cache")]
    cache: PathBuf,
    #[arg(long, default_value = DEFAULT_DEVICE, help = format!("The device: {DEVICE_HELP}"))]
    pub(super) device: String,
    /// Write reproduce.json here too, or to stdout with "-".
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

/// What has a meaning in the built-in world alone.
const OF_THE_WORLD: [&str; 2] = ["quick", "full"];

/// Runs the command.
///
/// # Errors
/// What the runs say.
pub fn run(args: &Args, stop: &'static AtomicBool) -> Result<(), ExperimentError> {
    let extent = match (args.quick, args.full) {
        (true, _) => Extent::Quick,
        (_, true) => Extent::Full,
        _ => Extent::Standard,
    };
    let surroundings =
        Surroundings { runs: args.runs.clone(), cache: args.cache.clone(), device: args.device.clone() };
    if let Some(Ok(dataset)) = args.dataset.as_deref().map(str::parse) {
        return benchmark::run(&benchmark::request(args, dataset), args, &surroundings, stop);
    }
    let workers = workers(&args.device);
    let start = |job: &Job| start(job, args, workers);
    let launcher = Launcher { workers, start: &start };
    let request = Request { data: data(args)?, extent, paper: args.paper };
    let reproduction = reproduce(&request, &surroundings, &launcher, stop, &mut draw())?;
    let written = args.runs.join("reproduce.json");
    let text = format!("{}written: {}\n", shown(&reproduction), written.display());
    exit::results(args.json.as_deref(), &reproduction, &text)
}

fn data(args: &Args) -> Result<Data, ExperimentError> {
    let of_videos = [
        ("weights", args.weights.is_some()),
        ("annotations", args.annotations.is_some()),
        ("quarantine", args.quarantine.is_some()),
    ];
    if let Some((option, _)) = of_videos.iter().find(|(_, given)| *given)
        && args.dataset.as_deref() == Some("msrvtt476")
    {
        return Err(ExperimentError::request(format!(
            "--{option}: it is for a benchmark's videos, and --dataset msrvtt476 is features; leave it out"
        )));
    }
    match (args.dataset.as_deref(), &args.data_root) {
        (None, _) => Ok(Data::World),
        (Some("msrvtt476"), Some(folder)) => Ok(Data::Msrvtt476(folder.clone())),
        (Some("msrvtt476"), None) => Err(ExperimentError::request(
            "no features are named; --data-root names the folder that holds features.safetensors, captions.jsonl and \
             splits.json",
        )),
        (Some(other), _) => Err(ExperimentError::request(format!(
            "unknown data set {other:?}; --dataset takes msrvtt476, msrvtt, msvd, lsmdc, didemo, activitynet or vatex"
        ))),
    }
}

/// A `train` of its own for one run, alone whatever launcher started this process; with one thread where others run beside it.
fn start(job: &Job, args: &Args, workers: usize) -> std::io::Result<Child> {
    let mut command = Command::new(std::env::current_exe()?);
    command.arg("train").arg(&job.recipe).arg("--resume");
    command.arg("--runs").arg(&args.runs).arg("--cache").arg(&args.cache).arg("--device").arg(&args.device);
    for name in launch::variables() {
        command.env_remove(name);
    }
    if workers > 1 {
        command.env("RAYON_NUM_THREADS", "1");
    }
    let log = std::fs::File::create(&job.log)?;
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log).spawn()
}

fn shown(reproduction: &Reproduction) -> String {
    let data = match reproduction.data {
        Data::World => "The built-in world",
        Data::Msrvtt476(_) => "476 test videos of MSR-VTT, as features",
    };
    let mut text = format!(
        "{data}; one caption per video, both directions; mean over seeds ± half of the 95 % interval (Student t).\n\n"
    );
    let titles = || FIGURES.into_iter().chain(["NE"]).map(String::from).collect();
    let mut table = Table::new(&["model", "normalize", "regime", "steps", "seeds"])
        .figures("T2V", titles())
        .figures("V2T grouped", titles());
    for row in &reproduction.rows {
        let mut cells = vec![
            row.model.clone(),
            row.normalize.clone(),
            row.regime.clone(),
            row.steps.to_string(),
            row.seeds.to_string(),
        ];
        for (side, (metrics, half)) in [
            (&row.text_to_video, row.text_to_video_half_width),
            (&row.video_to_text, row.video_to_text_half_width),
        ]
        .into_iter()
        .enumerate()
        {
            for (index, (_, value)) in metrics.iter().enumerate() {
                cells.push(match half.filter(|_| index == 0) {
                    Some(half) => format!("{value:.1} ± {half:.1}"),
                    None => format!("{value:.1}"),
                });
            }
            cells
                .push(row.normalisation_error.map_or(String::new(), |errors| format!("{:.2}", errors[side])));
        }
        table.row(cells);
    }
    text.push_str(&format!("{table}\n"));
    for beside in &reproduction.beside {
        text.push_str(&format!("{}: {} {:.3}\n", beside.model, beside.name, beside.mean));
    }
    text.push('\n');
    let titles = |titles: &[&str]| titles.iter().map(ToString::to_string).collect();
    let mut table = Table::new(&["paper", "claim", "baseline → treatment", "verdict"])
        .figures("R@1, points", titles(&["metric", "measured", "t over seeds", "bootstrap"]))
        .figures("MnR, less is better", titles(&["measured", "t over seeds"]));
    for claim in &reproduction.claims {
        let interval = |interval: [f64; 2]| format!("{:+.1} to {:+.1}", interval[0], interval[1]);
        let one_seed = if claim.difference.is_some() { "one seed" } else { "" };
        table.row(vec![
            claim.paper.clone(),
            claim.claim.clone(),
            format!("{} → {}", claim.baseline, claim.treatment),
            claim.verdict.clone(),
            claim.metric.clone(),
            claim.difference.map_or(String::new(), |difference| format!("{difference:+.2}")),
            claim.interval_over_seeds.map_or(one_seed.into(), interval),
            claim.interval_over_seeds_and_queries.map_or(String::new(), interval),
            claim.mean_rank_difference.map_or(String::new(), |difference| format!("{difference:+.2}")),
            claim.mean_rank_interval_over_seeds.map_or(one_seed.into(), interval),
        ]);
    }
    text.push_str(&format!("{table}\n"));
    text.push_str(&fairness(reproduction));
    let sentences: Vec<&str> =
        reproduction.claims.iter().filter_map(|claim| claim.sentence.as_deref()).collect();
    if !sentences.is_empty() {
        text.push_str(&format!("What does not hold, or is undecided:\n{}\n\n", sentences.join("\n")));
    }
    let mut seen = std::collections::BTreeSet::new();
    for claim in &reproduction.claims {
        if !claim.remark.is_empty() && seen.insert((claim.claim.clone(), claim.remark.clone())) {
            text.push_str(&format!("{}: {}\n", claim.claim, claim.remark));
        }
    }
    for remark in &reproduction.remarks {
        text.push_str(&format!("{remark}\n"));
    }
    text.push_str(&format!(
        "{:.0} s, {:.0} MB at most in one process, {} runs at a time on {}\n",
        reproduction.seconds,
        reproduction.peak_memory_bytes as f64 / 1e6,
        reproduction.machine.workers,
        reproduction.machine.device
    ));
    text
}

/// Claims about how evenly items are wanted; nothing where there is none.
fn fairness(reproduction: &Reproduction) -> String {
    if reproduction.fairness.is_empty() {
        return String::new();
    }
    let titles = ["metric", "before", "after", "t over seeds of the difference"].map(String::from).to_vec();
    let mut table = Table::new(&["paper", "claim", "baseline → treatment", "verdict"])
        .figures("normalisation error (NE), 0 is fair", titles);
    for claim in &reproduction.fairness {
        let one_seed = if claim.errors.is_some() { "one seed" } else { "" };
        let [before, after] = match claim.errors {
            Some(errors) => errors.map(|error| format!("{error:.3}")),
            None => Default::default(),
        };
        table.row(vec![
            claim.paper.clone(),
            claim.claim.clone(),
            format!("{} → {}", claim.baseline, claim.treatment),
            claim.verdict.clone(),
            claim.metric.clone(),
            before,
            after,
            claim
                .interval_over_seeds
                .map_or(one_seed.into(), |[low, high]| format!("{low:+.3} to {high:+.3}")),
        ]);
    }
    format!("{table}\n")
}
