//! How a command ends: results on stdout, one sentence on stderr, an exit code.
//!
//! 0 done; 1 the work failed; 2 the request was wrong (clap's own errors too).

use std::error::Error;
use std::io::{ErrorKind, Write};
use std::path::Path;
use std::process::ExitCode;

use tvr_experiment::ExperimentError;

/// Says what went wrong and turns it into the exit code.
pub fn code(result: Result<(), ExperimentError>) -> ExitCode {
    let Err(error) = result else { return ExitCode::SUCCESS };
    complain(&error);
    ExitCode::from(error.exit_code())
}

/// Says what went wrong, and why.
pub fn complain(error: &ExperimentError) {
    let mut text = format!("error: {error}\n");
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(&format!("  because: {error}\n"));
        cause = error.source();
    }
    // A file's name may hold what a terminal obeys.
    let shown = |c: char| if c.is_control() && c != '\n' { char::REPLACEMENT_CHARACTER } else { c };
    say_whole(&text.chars().map(shown).collect::<String>());
}

/// Prints results. A reader that has gone away (`| head`) wants no more of them, and that is no error.
///
/// # Errors
/// Any other failure of stdout, such as a full disk behind a redirection.
pub fn print(text: &str) -> Result<(), ExperimentError> {
    let mut out = std::io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(cause) if cause.kind() == ErrorKind::BrokenPipe => Ok(()),
        written => written.map_err(ExperimentError::file(Path::new("standard output"), "write")),
    }
}

/// Gives out results: as text and, where a file is named, as JSON, whole or not at all; or, for `-`, as JSON alone. The
/// text comes first: where the file fails, the results are not lost, and where stdout fails, the file is written.
///
/// # Errors
/// A file or a stdout that cannot be written.
pub fn results(
    json: Option<&Path>,
    value: &impl serde::Serialize,
    text: &str,
) -> Result<(), ExperimentError> {
    match json {
        Some(path) if !is_stdout(json) => {
            let printed = print(text);
            tvr_experiment::files::write_json(path, value)?;
            printed
        }
        Some(_) => {
            let text = serde_json::to_string_pretty(value)
                .map_err(|cause| ExperimentError::work(format!("the results cannot be JSON: {cause}")))?;
            print(&format!("{text}\n"))
        }
        None => print(text),
    }
}

/// Results as JSON, the name of their schema first.
#[derive(serde::Serialize)]
pub struct Named<'a, T> {
    schema: &'static str,
    #[serde(flatten)]
    results: &'a T,
}

/// Names the schema of results whose type does not say it.
pub fn named<'a, T>(schema: &'static str, results: &'a T) -> Named<'a, T> {
    Named { schema, results }
}

/// Whether JSON goes to stdout, where nothing else may stand then.
pub fn is_stdout(json: Option<&Path>) -> bool {
    json == Some(Path::new("-"))
}

/// A line for the user, on stderr.
pub fn say(line: &str) {
    say_whole(&format!("{line}\n"));
}

/// Where stderr is closed there is nobody to tell.
fn say_whole(text: &str) {
    let _ = std::io::stderr().lock().write_all(text.as_bytes());
}

/// A file beyond `ulimit -f` shall fail as a full disk does, with an error that can be told and a half-written file
/// that can be removed; the signal's default is to end the process on the spot.
pub fn ignore_file_size_signal() {
    #[cfg(unix)]
    // SAFETY: called once, before any thread; ignoring a signal runs no code of ours.
    unsafe {
        libc::signal(libc::SIGXFSZ, libc::SIG_IGN);
    }
}
