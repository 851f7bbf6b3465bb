//! A file that a command reads is none that it writes.

use std::any::TypeId;
use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};

use clap::{Arg, ArgMatches, Command};
use tvr_experiment::recipe::{DataRecipe, EncoderRecipe};
use tvr_experiment::{ExperimentError, Recipe};

/// The options that name a file to write. Every other one that names a file reads it.
const WRITTEN: [&str; 2] = ["json", "out"];

/// The options that name a folder to write into. Every other one that names a folder reads what is in it.
const WRITTEN_INTO: [&str; 3] = ["runs", "cache", "save"];

/// What `--json` alone writes, by schema: the next call may write it anew, wherever it lies.
const RESULTS: [&str; 10] = [
    "tvr-doctor/",
    "tvr-eval/",
    "tvr-parity/",
    "tvr-plan/",
    "tvr-prepare/",
    "tvr-reproduce-benchmark/",
    "tvr-reproduce/",
    "tvr-score/",
    "tvr-store-gc/",
    "tvr-store-stat/",
];

/// Refuses to write over what is read, before anything is done.
///
/// # Errors
/// The option and the file that it names; `-` for an option that takes a file alone.
pub fn check(command: &Command, matches: &ArgMatches) -> Result<(), ExperimentError> {
    let mut typed = Vec::new();
    collect(command, matches, &mut typed);
    let (written, read): (Vec<_>, Vec<_>) =
        typed.into_iter().partition(|(id, _)| WRITTEN.contains(&id.as_str()));
    for (id, file) in &written {
        let file = Path::new(file);
        if id == "out" && file == Path::new("-") {
            return Err(ExperimentError::request(
                "--out -: what it writes does not go to stdout; name a place for it, ./- if that is its name",
            ));
        }
        for (other, place) in &read {
            not_over(id, file, place)?;
            if !WRITTEN_INTO.contains(&other.as_str()) {
                not_within(id, file, Path::new(place))?;
            }
        }
    }
    Ok(())
}

/// As [`check`], for what a recipe reads: its data and its checkpoint.
///
/// - `written`: files that the command writes, by their options
///
/// # Errors
/// The option and the file that it names.
pub fn from_recipe(recipe: &Recipe, written: &[(&str, Option<&Path>)]) -> Result<(), ExperimentError> {
    let mut folders = Vec::new();
    let mut list = None;
    match &recipe.data {
        DataRecipe::World { .. } => {}
        DataRecipe::Features { path } => folders.push(path.as_path()),
        DataRecipe::Videos { manifest, store, .. } => {
            list = Some(manifest.as_os_str());
            folders.push(store.as_path());
        }
    }
    if let EncoderRecipe::Clip { weights, .. } = &recipe.encoder {
        folders.push(Path::new(weights));
    }
    for (id, file) in written {
        let Some(file) = file else { continue };
        if let Some(list) = list {
            not_over(id, file, list)?;
        }
        folders.iter().try_for_each(|folder| not_within(id, file, folder))?;
    }
    Ok(())
}

/// Refuses a file that is the one that is read.
fn not_over(id: &str, file: &Path, read: &OsStr) -> Result<(), ExperimentError> {
    match place(file.as_os_str()) {
        Some(place) if self::place(read).as_ref() == Some(&place) => Err(ExperimentError::request(format!(
            "--{id} {}: the command reads that file and would write over it; name another",
            file.display()
        ))),
        _ => Ok(()),
    }
}

/// Refuses a file that is there, in a folder that is read or below it. A new one may be written there, and the results of an
/// earlier call.
fn not_within(id: &str, file: &Path, folder: &Path) -> Result<(), ExperimentError> {
    let Ok(read) = folder.canonicalize() else { return Ok(()) };
    // A link in the folder counts as what it leads to does, wherever that is.
    let within = read.is_dir() && places(file).iter().any(|place| place.starts_with(&read));
    if !within || (id == "json" && is_result(file)) {
        return Ok(());
    }
    Err(ExperimentError::request(format!(
        "--{id} {}: the command reads the folder {} and would write over that file in it; name another",
        file.display(),
        folder.display()
    )))
}

fn is_result(file: &Path) -> bool {
    let value = std::fs::read(file).ok().and_then(|bytes| serde_json::from_slice(&bytes).ok());
    let schema = value.as_ref().and_then(|value: &serde_json::Value| value["schema"].as_str());
    schema.is_some_and(|schema| RESULTS.iter().any(|result| schema.starts_with(result)))
}

/// What was typed for options that name files and folders, by their ids.
fn collect(command: &Command, matches: &ArgMatches, typed: &mut Vec<(String, OsString)>) {
    for argument in command.get_arguments().filter(|argument| names_a_place(argument)) {
        let id = argument.get_id().as_str();
        let values = matches.try_get_raw(id).ok().flatten().into_iter().flatten();
        typed.extend(values.map(|value| (id.to_owned(), value.to_owned())));
    }
    if let Some((name, inner)) = matches.subcommand()
        && let Some(command) = command.find_subcommand(name)
    {
        collect(command, inner, typed);
    }
}

fn names_a_place(argument: &Arg) -> bool {
    let path = argument.get_value_parser().type_id() == TypeId::of::<PathBuf>();
    let named = |name: &str| name == "FILE" || name == "DIR|NAME";
    path || argument.get_value_names().is_some_and(|names| names.iter().any(|name| named(name)))
}

/// Where a file that is there lies, links followed; of FILE:KEY that of FILE.
fn place(typed: &OsStr) -> Option<PathBuf> {
    let file = |path: &Path| path.is_file().then(|| path.canonicalize().ok()).flatten();
    let before_key = || typed.to_str()?.rsplit_once(':').and_then(|(path, _)| file(Path::new(path)));
    file(Path::new(typed)).or_else(before_key)
}

/// Where a file that is there lies: itself, and what it leads to. Stdout, pipes and devices are none.
fn places(file: &Path) -> Vec<PathBuf> {
    if file == Path::new("-") || !file.is_file() {
        return Vec::new();
    }
    let folder = file.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let itself = folder.canonicalize().ok().zip(file.file_name()).map(|(folder, name)| folder.join(name));
    itself.into_iter().chain(file.canonicalize().ok()).collect()
}
