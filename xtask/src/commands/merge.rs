//! `merge`: the shards of an encoding to one feature file, those of scores to one file of matrices.

use std::path::{Path, PathBuf};

use tvr_experiment::score::{self, Written};
use tvr_experiment::{ExperimentError, encode};

use crate::commands::encode::said;
use crate::draw::draw;
use crate::exit;
use crate::quoted::quoted;

const EXAMPLES: &str = "\
Examples:
  cargo xtask merge 0.safetensors 1.safetensors 2.safetensors 3.safetensors --out features.safetensors

Each shard says which it is, and of what; their order here does not matter. Joined scores are judged by the command that
is printed. Frames prepared in shards need no joining: they are in one store. captions.jsonl and splits.json are written by
encode --videos without --shard, which finds the shards' features in the store.";

/// What may be asked.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// The files that encode, score or eval wrote with --shard I/N, all N of them
    #[arg(required = true, value_name = "FILE")]
    shards: Vec<PathBuf>,
    /// The file to write
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
}

/// Joins the shards, and says what was written.
///
/// # Errors
/// As [`encode::merge`] and [`score::merge`].
pub fn run(args: &Args) -> Result<(), ExperimentError> {
    let scores = args.shards.first().map(|path| score::holds_scores(path)).transpose()?;
    if scores == Some(true) {
        let written = score::merge(&args.shards, &args.out)?;
        let text =
            format!("{}to judge: {}\n", scores_said(&args.out, &written), judging(&args.out, &written));
        return exit::print(&text);
    }
    let report = encode::merge(&args.shards, &args.out, &mut draw())?;
    exit::print(&format!("{}: {}\n", args.out.display(), said(&report)))
}

/// What a file of scores holds, in words.
pub fn scores_said(out: &Path, written: &Written) -> String {
    let matrices: Vec<String> = (written.matrices.iter())
        .map(|(name, [rows, columns])| format!("{name} [{rows}, {columns}]"))
        .collect();
    format!("{}: {}\n", out.display(), matrices.join(", "))
}

/// The command that judges joined scores.
fn judging(out: &Path, written: &Written) -> String {
    let tensors = written
        .matrices
        .iter()
        .map(|(name, _)| *name)
        .chain(written.groups)
        .map(|name| (name.replace('_', "-"), quoted(format!("{}:{name}", out.display()))))
        .map(|(option, file)| format!(" \\\n    --{option} {file}"));
    let rows = written.normalize.iter().map(|spec| format!(" \\\n    --normalize '{spec}'"));
    format!("cargo xtask score{}", tensors.chain(rows).collect::<String>())
}
