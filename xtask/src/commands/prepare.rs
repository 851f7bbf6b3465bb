//! `prepare`: videos into a store, decoded once.

use std::path::PathBuf;
use std::sync::atomic::AtomicBool;

use tvr_experiment::ExperimentError;
use tvr_experiment::encode::Shard;
use tvr_experiment::prepare::{Report, Request, Trouble, prepare, sampler};

use crate::draw::draw;
use crate::exit;

const EXAMPLES: &str = "\
Examples:
  cargo xtask prepare --manifest clips.csv
  cargo xtask prepare --manifest clips.jsonl --store store --sampler segments:12,offset=centre
  cargo xtask prepare --manifest clips.jsonl --shard 0/4

clips.csv has a column path, and may have id, caption (one a row) and split. Paths are relative to it; a path names a
video, an image, or a folder of frames. What cannot be decoded is named and counted, and stops nothing. Run again, the
command decodes what is new.";

/// What may be asked.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// The list of videos: .jsonl, .csv, .tsv (each also .gz) or .parquet
    #[arg(long, value_name = "FILE")]
    manifest: PathBuf,
    /// The store; it is made where there is none
    #[arg(long, value_name = "DIR", default_value = "store")]
    store: PathBuf,
    /// Frames of a clip: rate:1,frames=12,cut=head|tail|uniform, segments:12,offset=centre,
    /// segments:12,offset=random,seed=0, or all
    #[arg(long, value_name = "SPEC", default_value = "rate:1,frames=12,cut=uniform")]
    sampler: String,
    /// Side of the square that is kept, pixels: CLIP's resize of the short side, and its centre crop
    #[arg(long, value_name = "N", default_value_t = 224)]
    size: usize,
    /// Seconds after which a clip is given up
    #[arg(long, value_name = "SECONDS", default_value_t = 600)]
    limit: u64,
    /// Prepare one share of N neighbouring ones; I counts from 0
    #[arg(long, value_name = "I/N")]
    shard: Option<Shard>,
    /// Also write the report as JSON; - prints JSON in place of the text
    #[arg(long, value_name = "FILE|-")]
    json: Option<PathBuf>,
}

/// Prepares, and says what came of it.
///
/// # Errors
/// As [`prepare`].
pub fn run(args: Args, stop: &'static AtomicBool) -> Result<(), ExperimentError> {
    let request = Request {
        sampler: sampler(&args.sampler)?,
        manifest: args.manifest,
        store: args.store,
        size: args.size,
        limit_seconds: args.limit,
        shard: args.shard,
    };
    let report = prepare(&request, stop, &mut draw())?;
    if args.json.as_deref() != Some(std::path::Path::new("-")) {
        exit::print(&said(&request, &report))?;
    }
    exit::json(args.json.as_deref(), &report)
}

fn said(request: &Request, report: &Report) -> String {
    let splits: Vec<String> =
        report.splits.iter().map(|(split, videos)| format!("{split} {videos}")).collect();
    let mut text = format!(
        "{}: {} videos ({}), {} captions; {} without a caption, {} blank captions left out\n",
        request.manifest.display(),
        report.videos,
        splits.join(", "),
        report.captions,
        report.without_captions,
        report.blank_captions
    );
    text.push_str(&format!(
        "{}: frames of {} videos, {} of them partial; {} failed\n",
        request.store.display(),
        report.ready,
        report.partial.len(),
        report.failed.len()
    ));
    for Trouble { id, kind, reason } in report.partial.iter().chain(&report.failed) {
        text.push_str(&format!("  {id:?}, {kind}: {reason}\n"));
    }
    text
}
