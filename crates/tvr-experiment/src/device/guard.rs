//! Runs work that may panic in another thread, and brings back what was said first.
//!
//! A backend works in a thread of its own. If that thread panics, it is the one that knows the reason; the caller
//! only learns that nobody answers. Hence the first message is kept, by a hook, and none is printed.

use std::panic::{AssertUnwindSafe, catch_unwind, set_hook, take_hook};
use std::sync::{Arc, Mutex, PoisonError};

/// The hook belongs to the whole process: one at a time.
static ALONE: Mutex<()> = Mutex::new(());

/// Runs `work`. Its panic comes back as the reason of the first message, whichever thread it came from.
#[allow(dead_code, reason = "a binary for the processor alone opens nothing under it")]
pub(super) fn run<T>(work: impl FnOnce() -> T) -> Result<T, String> {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let (outcome, first) = around(work);
    outcome.ok_or_else(|| first.unwrap_or_else(|| reason("")))
}

/// As [`run`], for work that runs guarded parts itself. Gives what `work` gave, unless it panicked, and the first message of any
/// thread's panic: `work` may have seen only what came of it.
pub(super) fn around<T>(work: impl FnOnce() -> T) -> (Option<T>, Option<String>) {
    let first: Arc<Mutex<Option<String>>> = Arc::default();
    let kept = first.clone();
    let before = take_hook();
    set_hook(Box::new(move |panic| {
        let word = reason(panic.payload_as_str().unwrap_or_default());
        kept.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(word);
    }));
    let outcome = catch_unwind(AssertUnwindSafe(work));
    set_hook(before);
    let word = first.lock().unwrap_or_else(PoisonError::into_inner).take();
    (outcome.ok(), word)
}

/// The first line of a message, without the frame that `unwrap` puts around an error. libtorch's errors are whole stack
/// traces, and within that frame their line ends are written out.
pub(crate) fn reason(message: &str) -> String {
    let inner = message.split_once("`Err` value: ").map_or(message, |(_, error)| error);
    match inner.replace("\\n", "\n").trim().lines().next() {
        Some(line) => line.trim().trim_matches('"').to_string(),
        None => "it gave no reason".into(),
    }
}
