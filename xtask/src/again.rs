//! The command that goes on with what was interrupted: the one that was typed, to be pasted.

use std::ffi::OsStr;

use tvr_experiment::collective::launch;
use tvr_experiment::{ExperimentError, device};

use crate::quoted::quoted;

/// An interruption names the command that goes on: the one that was typed, its options included, and with `and` at its end.
pub fn in_the_user_s_words(error: ExperimentError, and: Option<&str>) -> ExperimentError {
    let ExperimentError::Interrupted { step, .. } = error else { return error };
    let mut typed = std::env::args_os().map(|word| word.to_string_lossy().into_owned());
    let own = typed.next().map_or_else(String::new, quoted);
    let program = if is_alias() { "cargo xtask".into() } else { own };
    let rest = typed.filter(|word| Some(word.as_str()) != and).map(quoted);
    let words: Vec<String> = std::iter::once(program).chain(rest).chain(and.map(String::from)).collect();
    let place = launch::place(&|name| std::env::var(name).ok());
    let launched = place.is_ok_and(|place| place.is_some_and(|place| place.size > 1));
    let by = if launched { " (by the same launcher)" } else { "" };
    ExperimentError::Interrupted { step, command: format!("{}{by}", words.join(" ")) }
}

/// Whether `cargo xtask` starts this program again: cargo did, which names the package, and the alias builds what this one is.
fn is_alias() -> bool {
    let package = std::env::var_os("CARGO_PKG_NAME");
    package.as_deref() == Some(OsStr::new(env!("CARGO_PKG_NAME"))) && !device::has_more_features()
}
