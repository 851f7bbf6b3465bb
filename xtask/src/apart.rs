//! A file that a command reads is none that it writes.

use std::any::TypeId;
use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};

use clap::{Arg, ArgMatches, Command};
use tvr_experiment::ExperimentError;

/// The options that name a file to write. Every other one that names a file reads it.
const WRITTEN: [&str; 2] = ["json", "out"];

/// Refuses to write over what is read, before anything is done.
///
/// # Errors
/// The option and the file that it names.
pub fn check(command: &Command, matches: &ArgMatches) -> Result<(), ExperimentError> {
    let mut files = Vec::new();
    collect(command, matches, &mut files);
    let (written, read): (Vec<_>, Vec<_>) =
        files.into_iter().partition(|(id, _)| WRITTEN.contains(&id.as_str()));
    for (id, file) in &written {
        let Some(place) = place(file) else { continue };
        if read.iter().any(|(_, other)| self::place(other).as_ref() == Some(&place)) {
            return Err(ExperimentError::request(format!(
                "--{id} {}: the command reads that file and would write over it; name another",
                Path::new(file).display()
            )));
        }
    }
    Ok(())
}

/// What was typed for options that name files, by their ids.
fn collect(command: &Command, matches: &ArgMatches, files: &mut Vec<(String, OsString)>) {
    for argument in command.get_arguments().filter(|argument| names_a_file(argument)) {
        let id = argument.get_id().as_str();
        let typed = matches.try_get_raw(id).ok().flatten().into_iter().flatten();
        files.extend(typed.map(|value| (id.to_owned(), value.to_owned())));
    }
    if let Some((name, inner)) = matches.subcommand()
        && let Some(command) = command.find_subcommand(name)
    {
        collect(command, inner, files);
    }
}

fn names_a_file(argument: &Arg) -> bool {
    let path = argument.get_value_parser().type_id() == TypeId::of::<PathBuf>();
    path || argument.get_value_names().is_some_and(|names| names.iter().any(|name| name == "FILE"))
}

/// Where a file that is there lies, links followed; of FILE:KEY that of FILE.
fn place(typed: &OsStr) -> Option<PathBuf> {
    let file = |path: &Path| path.is_file().then(|| path.canonicalize().ok()).flatten();
    let before_key = || typed.to_str()?.rsplit_once(':').and_then(|(path, _)| file(Path::new(path)));
    file(Path::new(typed)).or_else(before_key)
}
