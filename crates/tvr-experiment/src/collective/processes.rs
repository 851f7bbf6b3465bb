//! Ranks as processes: whether a launcher has started this one as one of several.

use std::time::Duration;

use crate::collective::Collective;
use crate::collective::launch::{self, Place};
use crate::error::ExperimentError;

/// A rank that is a process.
pub trait Process: Collective {
    /// Its number among those of its machine, from 0.
    fn local_rank(&self) -> usize;

    /// Leaves the others in peace; every rank calls it when all is done.
    fn finish(&self);

    /// Ends every rank of the run, with this exit code.
    fn abort(&self, code: u8);
}

/// This process's rank, where a launcher started several; `None` where it runs by itself.
///
/// # Errors
/// What [`launch::place`] refuses; several ranks and a binary without an engine for them.
pub fn processes(patience: Duration) -> Result<Option<Box<dyn Process>>, ExperimentError> {
    match launch::place(&|name| std::env::var(name).ok())? {
        Some(place) if place.size > 1 => start(place, patience).map(Some),
        _ => Ok(None),
    }
}

fn start(place: Place, _patience: Duration) -> Result<Box<dyn Process>, ExperimentError> {
    Err(ExperimentError::request(format!(
        "a launcher started this process as rank {} of {}, but this binary has no engine for several processes; start it once, with --devices, or unset the launcher's variables",
        place.rank, place.size
    )))
}
