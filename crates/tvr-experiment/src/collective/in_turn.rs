//! Opening what ranks share or fill each for itself: rank 0 first, then all others.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::collective::Collective;
use crate::error::ExperimentError;
use crate::progress::Events;

/// Opens at rank 0, which fills the cache, and then at the others, which find it filled; on machines without a common file
/// system they fill their own then. Either may take hours, so whoever opens tells the others at its events that it is there:
/// patience is for a rank that hangs. Returns when all have opened.
///
/// # Errors
/// What `open` says at this rank; as [`Collective::gather`].
pub fn open_in_turn<T>(
    ranks: &dyn Collective,
    patience: Duration,
    events: Events<'_>,
    open: impl FnOnce(Events<'_>) -> Result<T, ExperimentError>,
) -> Result<T, ExperimentError> {
    let is_one = |said: &Arc<Vec<u8>>| said.first() == Some(&1);
    let is_filled = |own: bool| {
        let said = ranks.gather("whether the cache is filled", vec![u8::from(own)])?;
        Ok(said.first().is_some_and(is_one))
    };
    let are_open = |own: bool| {
        let said = ranks.gather("whether the data are open", vec![u8::from(own)])?;
        Ok(said.iter().all(is_one))
    };
    let opened = if ranks.rank() == 0 {
        let opened = telling(patience, events, &is_filled, open)?;
        is_filled(true)?;
        opened
    } else {
        while !is_filled(false)? {}
        telling(patience, events, &are_open, open)?
    };
    while !are_open(true)? {}
    Ok(opened)
}

/// Opens, and now and then says to the others that it has not yet.
fn telling<T>(
    patience: Duration,
    events: Events<'_>,
    say: &dyn Fn(bool) -> Result<bool, ExperimentError>,
    open: impl FnOnce(Events<'_>) -> Result<T, ExperimentError>,
) -> Result<T, ExperimentError> {
    let (mut told, mut lost) = (Instant::now(), None);
    let opened = open(&mut |event| {
        if lost.is_none() && told.elapsed() > patience / 4 {
            lost = say(false).err();
            told = Instant::now();
        }
        events(event);
    })?;
    lost.map_or(Ok(opened), Err)
}
