//! `merge`: the shards of an encoding to one feature file.

use std::path::PathBuf;

use tvr_experiment::ExperimentError;
use tvr_experiment::encode::merge;

use crate::commands::encode::said;
use crate::exit;

const EXAMPLES: &str = "\
Examples:
  cargo xtask merge 0.safetensors 1.safetensors 2.safetensors 3.safetensors --out features.safetensors

Each shard says which it is; their order here does not matter. Frames prepared in shards need no joining: they are in one
store.";

/// What may be asked.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// The feature files that `encode --shard I/N` wrote, all N of them
    #[arg(required = true, value_name = "FILE")]
    shards: Vec<PathBuf>,
    /// The feature file to write
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
}

/// Joins the shards, and says what was written.
///
/// # Errors
/// As [`merge`].
pub fn run(args: &Args) -> Result<(), ExperimentError> {
    let report = merge(&args.shards, &args.out)?;
    exit::print(&format!("{}: {}\n", args.out.display(), said(&report)))
}
