//! The repository: its root, its files, what cargo and git say of it, and how a test complains.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::source::Source;

/// The root of the repository.
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().expect("the workspace's root")
}

/// A file's text; `None` where there is none.
pub fn read(path: &str) -> Option<String> {
    std::fs::read_to_string(root().join(path)).ok()
}

/// All files under a folder that end so, by path from the root, sorted.
pub fn files(folder: &str, ending: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut open = vec![PathBuf::from(folder)];
    while let Some(folder) = open.pop() {
        let Ok(entries) = std::fs::read_dir(root().join(&folder)) else { continue };
        for entry in entries.flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            let path = folder.join(&name);
            if entry.path().is_dir() {
                if name != "target" && !name.starts_with('.') {
                    open.push(path);
                }
            } else if name.ends_with(ending) {
                found.push(path.to_string_lossy().replace('\\', "/"));
            }
        }
    }
    found.sort();
    found
}

/// The Rust files under a folder, taken apart.
pub fn sources(folder: &str) -> Vec<Source> {
    files(folder, ".rs").iter().map(|path| Source::new(path, &read(path).unwrap_or_default())).collect()
}

/// Every crate's folder, by name.
pub fn crates() -> Vec<String> {
    let mut names: Vec<String> = std::fs::read_dir(root().join("crates"))
        .expect("crates/")
        .flatten()
        .filter(|entry| entry.path().join("Cargo.toml").is_file())
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .collect();
    names.sort();
    names
}

/// The sources of every library: `crates/*/src`.
pub fn library_sources() -> Vec<Source> {
    crates().iter().flat_map(|name| sources(&format!("crates/{name}/src"))).collect()
}

/// The sources of everything that is shipped: the libraries and `xtask`.
pub fn shipped_sources() -> Vec<Source> {
    let mut all = library_sources();
    all.extend(sources("xtask/src"));
    all
}

/// What a program prints, or its errors.
fn run(program: &str, arguments: &[&str]) -> Result<String, String> {
    let run = Command::new(program)
        .args(arguments)
        .current_dir(root())
        .output()
        .map_err(|cause| format!("{program}: {cause}"))?;
    if run.status.success() {
        return Ok(String::from_utf8_lossy(&run.stdout).into_owned());
    }
    Err(format!("{program} {}:\n{}", arguments.join(" "), String::from_utf8_lossy(&run.stderr)))
}

/// What a program prints; the test fails with its errors where it fails.
#[track_caller]
pub fn output(program: &str, arguments: &[&str]) -> String {
    run(program, arguments).unwrap_or_else(|errors| panic!("{errors}"))
}

/// What the cargo that runs the tests prints: without the network, or with it on a machine that has fetched
/// nothing yet.
#[track_caller]
pub fn cargo(arguments: &[&str]) -> String {
    let cargo = std::env::var("CARGO").unwrap_or_else(|_| "cargo".into());
    let offline = [&arguments[..1], &["--offline"], &arguments[1..]].concat();
    run(&cargo, &offline).unwrap_or_else(|_| output(&cargo, arguments))
}

/// Fails with one line for each complaint.
#[track_caller]
pub fn assert_none(rule: &str, complaints: &[String]) {
    assert!(
        complaints.is_empty(),
        "\n{rule}\n{} to mend:\n  {}\n",
        complaints.len(),
        complaints.join("\n  ")
    );
}

/// An exception from a rule: where (a path, or the start of one), which line (a part of it), and why.
pub struct Exception {
    /// The path, or the start of it where it ends with `/` or `*`.
    pub path: &'static str,
    /// A part of the line; empty for any.
    pub line: &'static str,
    /// Why.
    pub reason: &'static str,
}

impl Exception {
    /// Whether the exception speaks of this line.
    pub fn covers(&self, path: &str, line: &str) -> bool {
        let here = match self.path.strip_suffix('*') {
            Some(start) => path.starts_with(start),
            None if self.path.ends_with('/') => path.starts_with(self.path),
            None => path == self.path,
        };
        here && line.contains(self.line)
    }
}

/// Drops what the exceptions cover, and complains about exceptions that cover nothing.
///
/// A finding is path, line number, the line, and the complaint.
pub fn without_exceptions(
    findings: Vec<(String, usize, String, String)>,
    exceptions: &[Exception],
) -> Vec<String> {
    let mut used = vec![false; exceptions.len()];
    let mut complaints = Vec::new();
    for (path, number, line, complaint) in findings {
        match exceptions.iter().position(|exception| exception.covers(&path, &line)) {
            Some(index) => used[index] = true,
            None => complaints.push(format!("{path}:{number}: {complaint}")),
        }
    }
    for (exception, _) in exceptions.iter().zip(used).filter(|(_, used)| !used) {
        complaints.push(format!(
            "{}: the exception for {:?} ({}) is not needed any more; remove it from tidy",
            exception.path, exception.line, exception.reason
        ));
    }
    complaints
}

#[test]
fn an_exception_covers_its_line_and_a_stale_one_is_a_complaint() {
    let finding =
        |path: &str| (path.to_string(), 3, "let a = Instant::now();".to_string(), "a clock".to_string());
    let allowed = [Exception { path: "x/a*", line: "Instant", reason: "timing" }];
    assert!(without_exceptions(vec![finding("x/a/b.rs")], &allowed).is_empty());
    assert_eq!(without_exceptions(vec![finding("y.rs")], &[]), ["y.rs:3: a clock"]);
    assert_eq!(without_exceptions(Vec::new(), &allowed).len(), 1);
}
