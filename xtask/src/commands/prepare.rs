//! `prepare`: videos into a store, decoded once; of a benchmark also what is missing, broken or odd.

pub(super) mod doctor;

use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;

use tvr_experiment::ExperimentError;
use tvr_experiment::doctor::{self as examination, Benchmark, look};
use tvr_experiment::prepare::{Crop, Report, Request, Sampler, Trouble, prepare};
use tvr_experiment::shard::Shard;

use crate::count::count;
use crate::draw::draw;
use crate::exit;

const EXAMPLES: &str = "\
Examples:
  cargo xtask prepare --manifest clips.csv
  cargo xtask prepare --manifest clips.jsonl --store store --sampler segments:12,offset=centre
  cargo xtask prepare --manifest clips.jsonl --shard 0/4
  cargo xtask prepare msrvtt --data-root MSRVTT
  cargo xtask prepare didemo --data-root videos --annotations lists --quarantine dead.txt

clips.csv has a column path, and may have id, caption (one a row) and split. Paths are relative to it; a path names a
video, an image, or a folder of frames. What cannot be decoded is named and counted, and stops nothing; exit code 1 if
that is all of it. Run again, the command decodes what is new.

A benchmark's annotation files are looked for in --annotations, or in the data root, annotations/ and annotations/NAME
in or beside it. What is there is decoded; gallery.json and a table for each protocol, which encode --videos and recipes
take, are written to prepared/NAME.";

/// What may be asked.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
#[command(group = clap::ArgGroup::new("what").required(true).args(["dataset", "manifest"]))]
pub struct Args {
    /// A benchmark: msrvtt, msvd, lsmdc, didemo, activitynet or vatex
    #[arg(requires = "data_root")]
    dataset: Option<Benchmark>,
    /// The list of videos: .jsonl, .csv, .tsv (each also .gz) or .parquet
    #[arg(long, value_name = "FILE")]
    manifest: Option<PathBuf>,
    /// The folder below which a benchmark's videos are
    #[arg(long, value_name = "DIR", requires = "dataset", conflicts_with = "manifest")]
    data_root: Option<PathBuf>,
    /// The folder of a benchmark's annotation files
    #[arg(long, value_name = "DIR", requires = "dataset", conflicts_with = "manifest")]
    annotations: Option<PathBuf>,
    /// Ids to leave out, one a line; gallery.json and the evaluation card say so
    #[arg(long, value_name = "FILE", requires = "dataset", conflicts_with = "manifest")]
    quarantine: Option<PathBuf>,
    /// Where gallery.json and the tables of a benchmark go; prepared/NAME if absent
    #[arg(long, value_name = "DIR", requires = "dataset", conflicts_with = "manifest")]
    out: Option<PathBuf>,
    /// The store; it is made where there is none
    #[arg(long, value_name = "DIR", default_value = "store")]
    store: PathBuf,
    /// Frames of a clip: rate:1,frames=12,cut=head|tail|uniform (and until=31, the last second that is looked at),
    /// segments:12,offset=centre, segments:12,offset=random,seed=0, or all
    #[arg(long, value_name = "SPEC", default_value = "rate:1,frames=12,cut=uniform")]
    sampler: Sampler,
    /// Side of the square that is kept, pixels: CLIP's resize of the short side, and its centre crop
    #[arg(long, value_name = "N", default_value_t = 224, allow_negative_numbers = true)]
    size: usize,
    /// Seconds after which a clip is given up
    #[arg(long, value_name = "SECONDS", default_value_t = 600, allow_negative_numbers = true,
          value_parser = clap::value_parser!(u64).range(1..))]
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
/// As [`prepare`], [`look`] and [`examination::Examined::decode`]; a list or a benchmark of which no clip can be decoded.
pub fn run(args: Args, stop: &'static AtomicBool) -> Result<(), ExperimentError> {
    if let (Some(benchmark), Some(data_root)) = (args.dataset, args.data_root) {
        let request = examination::Request {
            benchmark,
            data_root,
            annotations: args.annotations,
            quarantine: args.quarantine,
            out: args.out.unwrap_or_else(|| Path::new("prepared").join(benchmark.name())),
            store: args.store,
            sampler: args.sampler,
            limit_seconds: args.limit,
            shard: args.shard,
        };
        let crop = Crop::square(args.size)?;
        let found = look(&request)?.decode(&request, &crop, stop, &mut draw())?.examination;
        exit::results(args.json.as_deref(), &found, &doctor::said(&found))?;
        return match found.present() {
            0 => Err(ExperimentError::work(format!(
                "{}: no clip of {benchmark} that can be decoded is below it; clips are named after their ids",
                request.data_root.display()
            ))),
            _ => Ok(()),
        };
    }
    let request = Request {
        sampler: args.sampler,
        manifest: args.manifest.unwrap_or_default(),
        store: args.store,
        size: args.size,
        limit_seconds: args.limit,
        shard: args.shard,
    };
    let report = prepare(&request, stop, &mut draw())?;
    exit::results(args.json.as_deref(), &exit::named("tvr-prepare/1", &report), &said(&request, &report))?;
    match report.ready {
        // A share may have broken clips alone.
        0 if request.shard.is_none() => Err(ExperimentError::work(format!(
            "{}: none of its videos can be decoded ({}); paths are relative to the list",
            request.manifest.display(),
            count(report.videos, "video")
        ))),
        _ => Ok(()),
    }
}

fn said(request: &Request, report: &Report) -> String {
    let splits: Vec<String> =
        report.splits.iter().map(|(split, videos)| format!("{split} {videos}")).collect();
    let mut text = format!(
        "{}: {} ({}), {}; {} without a caption, {} left out\n",
        request.manifest.display(),
        count(report.videos, "video"),
        splits.join(", "),
        count(report.captions, "caption"),
        report.without_captions,
        count(report.blank_captions, "blank caption")
    );
    text.push_str(&format!(
        "{}: frames of {}, {} of them partial; {} failed\n",
        request.store.display(),
        count(report.ready, "video"),
        report.partial.len(),
        report.failed.len()
    ));
    for Trouble { id, kind, reason } in report.partial.iter().chain(&report.failed) {
        text.push_str(&format!("  {id:?}, {kind}: {reason}\n"));
    }
    text
}
