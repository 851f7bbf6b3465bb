//! Ranks as processes: one of several that a launcher has started, on one machine or on many.
//!
//! Every process runs the same command. They meet through MPI (feature `mpi`); a rank that fails ends all. What all of
//! them see, rank 0 says: the others speak only if it has not ended them two seconds later.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use crate::collective::Collective;
use crate::collective::launch::Place;
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

/// Runs `work` as one rank of several processes, and gives what rank 0 made of it; `None` at every other.
///
/// - `place`: what the launcher says of this process
/// - `say`: tells the user of an error; after it, every process ends with the error's exit code
///
/// # Errors
/// A binary without MPI, an MPI that cannot be started, or a run that was interrupted. Any other failure ends the process.
pub fn run<T>(
    place: Place,
    patience: Duration,
    say: &dyn Fn(&ExperimentError),
    work: impl FnOnce(&dyn Process) -> Result<T, ExperimentError>,
) -> Result<Option<T>, ExperimentError> {
    let courtesy = || {
        if place.rank > 0 {
            std::thread::sleep(COURTESY);
        }
    };
    let process = start(place, patience).inspect_err(|_| courtesy())?;
    let outcome = catch_unwind(AssertUnwindSafe(|| work(process.as_ref())))
        .unwrap_or_else(|cause| Err(super::broken_off(cause.as_ref())));
    match outcome {
        Ok(made) => {
            process.finish();
            Ok((place.rank == 0).then_some(made))
        }
        // All have agreed to stop.
        Err(error @ ExperimentError::Interrupted { .. }) => {
            process.finish();
            if place.rank == 0 { Err(error) } else { Ok(None) }
        }
        Err(error) => {
            courtesy();
            let code = error.exit_code();
            say(&if place.rank == 0 { error } else { of_rank(place, error) });
            process.abort(code)
        }
    }
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
