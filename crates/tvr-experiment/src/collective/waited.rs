//! How long a rank has waited for the others, without the time in which it could not run itself.
//!
//! A process that was stopped (Ctrl-Z, `scontrol suspend`) finds the clock far ahead when it goes on. The others have not
//! kept it waiting meanwhile: they may have been stopped with it, or they wait for it.

use std::time::{Duration, Instant};

/// The longest pause between two looks at the clock.
pub(super) const LOOK: Duration = Duration::from_millis(100);

/// What lies between two looks and counts, at most.
const MOST: Duration = Duration::from_millis(250);

/// A wait that has begun.
pub(super) struct Waited {
    so_far: Duration,
    looked: Instant,
}

impl Waited {
    pub(super) fn begin() -> Self {
        Self { so_far: Duration::ZERO, looked: Instant::now() }
    }

    /// The wait so far; looks at the clock.
    pub(super) fn so_far(&mut self) -> Duration {
        let now = Instant::now();
        self.so_far += (now - self.looked).min(MOST);
        self.looked = now;
        self.so_far
    }
}
