//! Ranks as processes: one of several that a launcher has started, on one machine or on many.
//!
//! Every process runs the same command. They meet through MPI (feature `mpi`); a rank that fails ends all. What all of
//! them see, rank 0 says: the others speak only if it has not ended them two seconds later.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::Duration;

use crate::collective::Collective;
use crate::collective::launch::Place;
use crate::collective::waited::{LOOK, Waited};
use crate::error::ExperimentError;

/// How long other ranks wait for rank 0 to say what is wrong.
pub(super) const COURTESY: Duration = Duration::from_secs(2);

/// This process among the others.
pub trait Process: Collective {
    /// Takes leave of the others; every rank calls it when all is done.
    fn finish(&self);

    /// Ends every rank, this one too, with an exit code.
    fn abort(&self, code: u8) -> !;
}

/// Runs `work` as one rank of several processes, and takes leave of the others. What is to be told, `work` tells: if another
/// rank hangs in leaving, this process ends with an error.
///
/// - `place`: what the launcher says of this process
/// - `say`: tells the user of an error; after it, every process ends with the error's exit code
///
/// # Errors
/// A binary without MPI, an MPI that cannot be started, or a run that was interrupted. Any other failure ends the process.
pub fn run(
    place: Place,
    patience: Duration,
    say: fn(&ExperimentError),
    work: impl FnOnce(&dyn Process) -> Result<(), ExperimentError>,
) -> Result<(), ExperimentError> {
    let courtesy = || {
        if place.rank > 0 {
            std::thread::sleep(COURTESY);
        }
    };
    let process = start(place, patience).inspect_err(|_| courtesy())?;
    let outcome = catch_unwind(AssertUnwindSafe(|| work(process.as_ref())))
        .unwrap_or_else(|cause| Err(super::broken_off(cause.as_ref())));
    match outcome {
        Ok(()) => {
            leave(process.as_ref(), place, patience, say);
            Ok(())
        }
        // All have agreed to stop.
        Err(error @ ExperimentError::Interrupted { .. }) => {
            leave(process.as_ref(), place, patience, say);
            if place.rank == 0 { Err(error) } else { Ok(()) }
        }
        Err(error) => {
            courtesy();
            let code = error.exit_code();
            say(&if place.rank == 0 { error } else { of_rank(place, error) });
            process.abort(code)
        }
    }
}

/// Takes leave of the others. MPI waits for them without end, so a thread beside ends this process when patience is over.
fn leave(process: &dyn Process, place: Place, patience: Duration, say: fn(&ExperimentError)) {
    let (left, leaving) = channel::<()>();
    std::thread::spawn(move || watch(&leaving, place, patience, say));
    process.finish();
    drop(left);
}

fn watch(leaving: &Receiver<()>, place: Place, patience: Duration, say: fn(&ExperimentError)) {
    let mut waited = Waited::begin();
    while waited.so_far() < patience {
        if leaving.recv_timeout(LOOK) != Err(RecvTimeoutError::Timeout) {
            return;
        }
    }
    let error = of_rank(
        place,
        ExperimentError::work(format!(
            "all is written, but MPI has not ended within {} s; another rank hangs, or --patience is too short",
            patience.as_secs_f64()
        )),
    );
    say(&error);
    std::process::exit(i32::from(error.exit_code()));
}

/// An error with the rank that it befell.
fn of_rank(place: Place, error: ExperimentError) -> ExperimentError {
    let sentence = format!("rank {} of {}: {error}", place.rank, place.size);
    match error {
        ExperimentError::Request { .. } => ExperimentError::request(sentence),
        _ => ExperimentError::work(sentence),
    }
}

#[cfg(feature = "mpi")]
fn start(place: Place, patience: Duration) -> Result<Box<dyn Process>, ExperimentError> {
    Ok(Box::new(super::mpi::Mpi::start(place, patience)?))
}

#[cfg(not(feature = "mpi"))]
fn start(place: Place, _patience: Duration) -> Result<Box<dyn Process>, ExperimentError> {
    Err(ExperimentError::request(format!(
        "a launcher started this process as rank {} of {}, but this binary was built without the feature mpi; build again \
         with `cargo build -p xtask --features mpi`, or start one process, with --devices",
        place.rank, place.size
    )))
}
