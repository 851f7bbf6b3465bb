//! `reproduce`: trains, judges, and says which claims hold.

use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;

use tvr_experiment::device::DEFAULT_DEVICE;
use tvr_experiment::reproduce::{Extent, Reproduction, reproduce};
use tvr_experiment::{ExperimentError, Surroundings};

use crate::draw::draw;
use crate::exit;
use crate::table::Table;

/// Train and judge on the built-in world, and say which published claims hold there.
///
/// Examples:
///   cargo xtask reproduce
///   cargo xtask reproduce --quick
#[derive(clap::Args, Debug)]
#[command(verbatim_doc_comment)]
pub struct Args {
    /// Two minutes: too small to conclude.
    #[arg(long, conflicts_with = "full")]
    quick: bool,
    /// Five seeds, and the image tower trained along.
    #[arg(long)]
    full: bool,
    /// Where to write the run folders and reproduce.json.
    #[arg(long, default_value = "runs/reproduce")]
    runs: PathBuf,
    /// Where towers and features are cached.
    #[arg(long, default_value = "cache")]
    cache: PathBuf,
    /// The device, as docs/ARCHITECTURE.md lists them.
    #[arg(long, default_value = DEFAULT_DEVICE)]
    device: String,
    /// Write reproduce.json here too, or to stdout with "-".
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

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
    let reproduction = reproduce(extent, &surroundings, stop, &mut draw())?;
    if args.json.as_deref() != Some(Path::new("-")) {
        exit::print(&shown(&reproduction))?;
        exit::print(&format!("written: {}\n", args.runs.join("reproduce.json").display()))?;
    }
    exit::json(args.json.as_deref(), &reproduction)
}

fn shown(reproduction: &Reproduction) -> String {
    let plan = &reproduction.plan;
    let mut text = format!(
        "The built-in world: {} steps a run, seeds {:?}; one caption per video, both directions; mean over seeds ± half of the 95 % interval (Student t).\n\n",
        plan.steps, plan.seeds
    );
    let titles = || ["R@1", "R@5", "R@10", "MdR", "MnR"].map(String::from).to_vec();
    let mut table = Table::new(&["model", "normalize", "regime", "seeds"])
        .figures("T2V", titles())
        .figures("V2T grouped", titles());
    for row in &reproduction.rows {
        let mut cells =
            vec![row.model.clone(), row.normalize.clone(), row.regime.clone(), row.seeds.to_string()];
        for (metrics, half) in [
            (&row.text_to_video, row.text_to_video_half_width),
            (&row.video_to_text, row.video_to_text_half_width),
        ] {
            for (index, (_, value)) in metrics.iter().enumerate() {
                cells.push(match half.filter(|_| index == 0) {
                    Some(half) => format!("{value:.1} ± {half:.1}"),
                    None => format!("{value:.1}"),
                });
            }
        }
        table.row(cells);
    }
    text.push_str(&format!("{table}\n"));
    for (model, accuracy) in &reproduction.order_accuracy {
        text.push_str(&format!(
            "order accuracy of {model}: {accuracy:.1} % (a head blind to order has 50 %)\n"
        ));
    }
    text.push('\n');
    let mut table = Table::new(&["paper", "claim", "baseline → treatment", "verdict"]).figures(
        "R@1, points",
        ["metric", "measured", "t over seeds", "bootstrap"].map(String::from).to_vec(),
    );
    for claim in &reproduction.claims {
        let interval = |interval: [f64; 2]| format!("{:+.1} to {:+.1}", interval[0], interval[1]);
        table.row(vec![
            claim.paper.clone(),
            claim.claim.clone(),
            format!("{} → {}", claim.baseline, claim.treatment),
            claim.verdict.clone(),
            claim.metric.clone(),
            format!("{:+.2}", claim.difference),
            claim.interval_over_seeds.map_or("one seed".into(), interval),
            interval(claim.interval_over_seeds_and_queries),
        ]);
    }
    text.push_str(&format!("{table}\n"));
    let mut seen = std::collections::BTreeSet::new();
    for claim in &reproduction.claims {
        if !claim.remark.is_empty() && seen.insert(claim.remark.clone()) {
            text.push_str(&format!("{}: {}\n", claim.treatment, claim.remark));
        }
    }
    for remark in &reproduction.remarks {
        text.push_str(&format!("{remark}\n"));
    }
    text.push_str(&format!(
        "{:.0} s, {:.0} MB at most, {} threads on {}\n",
        reproduction.seconds,
        reproduction.peak_memory_bytes as f64 / 1e6,
        reproduction.machine.threads,
        reproduction.machine.device
    ));
    text
}
