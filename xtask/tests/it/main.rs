//! The binary as a user runs it: exit code, messages, files.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test may fail loudly")]
#![allow(clippy::print_stderr, reason = "a test that skips says why")]

mod bad_input;
mod benchmark;
mod devices;
mod encode;
mod job_files;
mod kill;
#[path = "../../../crates/tvr-experiment/tests/it/made_up.rs"]
mod made_up;
#[cfg(feature = "mpi")]
mod mpi;
mod outputs;
mod own_videos;
mod prepare;
mod refused;
mod reproduce;
mod score;
mod together;
mod towers;
mod train;
mod verify;

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use npyz::WriterBuilder;

/// The binary.
pub const XTASK: &str = env!("CARGO_BIN_EXE_xtask");

/// Runs `xtask` in `folder`.
pub fn xtask(folder: &Path, arguments: &[&str]) -> Output {
    Command::new(XTASK).args(arguments).current_dir(folder).env_remove("RUST_BACKTRACE").output().unwrap()
}

/// Runs a shell line in `folder`, where `$XTASK` is the binary.
pub fn shell(folder: &Path, line: &str) -> Output {
    Command::new("sh").args(["-c", line]).current_dir(folder).env("XTASK", XTASK).output().unwrap()
}

/// What the command printed.
pub fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

/// What the command said beside it.
pub fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

/// The command failed with this code and this one sentence.
#[track_caller]
pub fn fails(output: &Output, code: i32, sentence: &str) {
    let said = stderr(output);
    assert_eq!(said, format!("error: {sentence}\n"));
    assert_eq!(output.status.code(), Some(code), "{said}");
    assert_eq!(stdout(output), "", "a failure prints no result");
}

/// The command succeeded and was silent on stderr.
#[track_caller]
pub fn succeeds(output: &Output) -> String {
    assert_eq!(output.status.code(), Some(0), "{}", stderr(output));
    assert_eq!(stderr(output), "");
    stdout(output)
}

/// `score` with `--json -`, read back.
#[track_caller]
pub fn figures(folder: &Path, arguments: &[&str]) -> serde_json::Value {
    let output = xtask(folder, &[&["score", "--json", "-"], arguments].concat());
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    serde_json::from_slice(&output.stdout).unwrap()
}

/// Writes a `.npy` file in C or Fortran order; `values` are in the order of the file.
pub fn npy<T: npyz::AutoSerialize + npyz::Serialize + Clone>(
    path: PathBuf,
    order: npyz::Order,
    shape: &[u64],
    values: &[T],
) {
    let mut bytes = Vec::new();
    let mut writer = npyz::WriteOptions::new()
        .default_dtype()
        .shape(shape)
        .order(order)
        .writer(&mut bytes)
        .begin_nd()
        .unwrap();
    writer.extend(values.iter().cloned()).unwrap();
    writer.finish().unwrap();
    std::fs::write(path, bytes).unwrap();
}

/// Writes f32 in C order.
pub fn matrix(folder: &Path, name: &str, shape: [u64; 2], values: &[f32]) {
    npy(folder.join(name), npyz::Order::C, &shape, values);
}

/// A 6 x 6 matrix in eighths, which f16 holds exactly: `S.npy`. Values row by row.
pub fn sample(folder: &Path) -> Vec<f32> {
    let value = |index: usize| {
        ((index * 37 + index / 6 * 11) % 41) as f32 / 8.0 + f32::from(u8::from(index % 7 == 0))
    };
    let values: Vec<f32> = (0..36).map(value).collect();
    matrix(folder, "S.npy", [6, 6], &values);
    values
}
