//! The list of commands. Each is a file with `Args` (what may be asked) and `run` (one call into `tvr-experiment`).
//!
//! To add one: a file here with `pub struct Args` and `pub fn run(args: Args) -> Result<(), ExperimentError>`, a
//! `mod` line, a variant of [`Command`] whose doc comment is its line in `--help`, and its arm in [`Cli::run`].

mod encode;
mod eval;
mod merge;
mod plan;
mod prepare;
mod reproduce;
mod score;
mod store;
mod train;
mod verify;

use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use clap::{CommandFactory, FromArgMatches, Parser, Subcommand};
use tvr_experiment::{ExperimentError, device};

use crate::again::in_the_user_s_words;
use crate::{apart, exit};

/// Text-video retrieval: train, judge, reproduce.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask", version, max_term_width = 110)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Train and judge on the built-in world, and say which published claims hold there
    Reproduce(reproduce::Args),
    /// Train a recipe and judge it
    Train(train::Args),
    /// Show what a recipe would run, with a measured step time
    Plan(plan::Args),
    /// Judge a finished run again
    Eval(eval::Args),
    /// Decode videos once, into a store of frames; of a benchmark, say what is missing, broken or odd
    Prepare(prepare::Args),
    /// Look after a store of frames: stat, verify, gc
    Store(store::Args),
    /// Judge any similarity matrix, from any system
    Score(score::Args),
    /// Encode texts and pictures with a CLIP checkpoint
    Encode(encode::Args),
    /// Join the shards of an encoding, or those of scores
    Merge(merge::Args),
    /// Compare a CLIP checkpoint with the reference, stage by stage
    Verify(verify::Args),
}

impl Cli {
    /// What was typed. A command that is not there, or an argument that it does not take, ends the process here.
    ///
    /// # Errors
    /// A file to write that is one to read.
    pub fn asked() -> Result<Self, ExperimentError> {
        let command = Self::command();
        let matches = command.clone().get_matches();
        apart::check(&command, &matches)?;
        Ok(Self::from_arg_matches(&matches).unwrap_or_else(|error| error.exit()))
    }

    /// Runs the command that was asked for.
    ///
    /// # Errors
    /// The command's own.
    pub fn run(self) -> Result<(), ExperimentError> {
        let devices = self.command.devices().to_owned();
        let work = move || match self.command {
            Command::Reproduce(args) => {
                reproduce::run(&args, stop()?).map_err(|error| in_the_user_s_words(error, None))
            }
            Command::Train(args) => {
                train::run(&args, stop()?).map_err(|error| in_the_user_s_words(error, Some("--resume")))
            }
            Command::Plan(args) => plan::run(&args, stop()?),
            Command::Eval(args) => eval::run(&args, stop()?),
            Command::Prepare(args) => prepare::run(args, stop()?),
            Command::Store(args) => store::run(args),
            Command::Score(args) => score::run(args),
            Command::Encode(args) => encode::run(args, stop()?),
            Command::Merge(args) => merge::run(&args),
            Command::Verify(args) => verify::run(args),
        };
        device::guarded(&devices, || tvr_experiment::in_pool(work))
    }
}

impl Command {
    /// The devices that it works on, as they were named.
    fn devices(&self) -> &str {
        match self {
            Self::Reproduce(args) => &args.device,
            Self::Train(args) => &args.devices,
            Self::Plan(args) => &args.train.devices,
            Self::Eval(args) => &args.device,
            Self::Encode(args) => &args.device,
            Self::Verify(args) => &args.device,
            Self::Prepare(_) | Self::Store(_) | Self::Score(_) | Self::Merge(_) => device::DEFAULT_DEVICE,
        }
    }
}

/// Signals so close to each other are one: `timeout` and batch systems send theirs to a process and to its group.
const AT_ONCE: Duration = Duration::from_millis(200);

/// A flag that Ctrl-C raises, and SIGTERM and SIGHUP: the work writes a checkpoint and stops, and says how to go on. A second
/// Ctrl-C ends the process on the spot; a run resumes from that as well.
fn stop() -> Result<&'static AtomicBool, ExperimentError> {
    static STOP: AtomicBool = AtomicBool::new(false);
    static FIRST: OnceLock<Instant> = OnceLock::new();
    ctrlc::set_handler(|| {
        let first = FIRST.get_or_init(Instant::now);
        match STOP.swap(true, Ordering::Relaxed) {
            false => exit::say("stopping after this step; press Ctrl-C again to stop at once"),
            true if first.elapsed() < AT_ONCE => {}
            true => std::process::exit(130),
        }
    })
    .map_err(|cause| ExperimentError::work(format!("Ctrl-C cannot be watched: {cause}")))?;
    Ok(&STOP)
}
