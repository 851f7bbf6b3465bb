//! A run killed at any moment goes on as if it had never been.

use std::ffi::OsStr;
use std::io::{BufRead, BufReader};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::process::{Command, Stdio};

use crate::{XTASK, made_up, stderr, xtask};

const RECIPE: &str = r#"
name = "small"
seeds = [5]
[data]
kind = "features"
path = "data"
[encoder]
kind = "projection"
width = 16
dropout = 0.2
[head]
kind = "mean-pooling"
[objective]
kind = "symmetric"
[train]
batch = 8
epochs = 40
evaluations = 6
checkpoint_every = 4
[train.optimizer]
kind = "adamw"
learning_rate = 1e-2
"#;

pub fn folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    made_up::write(&folder.path().join("data"), 24, 8, 8);
    std::fs::write(folder.path().join("small.toml"), RECIPE).unwrap();
    folder
}

fn weights(folder: &Path, runs: &str) -> Vec<u8> {
    std::fs::read(folder.join(runs).join("small-5/model.safetensors")).unwrap()
}

/// Starts a run, waits for the line of `step` on its stderr, and kills it without a warning.
fn killed_at(folder: &Path, step: usize, threads: &str) {
    let mut child = Command::new(XTASK)
        .args(["train", "small.toml", "--runs", "killed", "--resume", "--log-steps"])
        .current_dir(folder)
        .env("RAYON_NUM_THREADS", threads)
        .stderr(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let lines = BufReader::new(child.stderr.take().unwrap()).lines();
    let reached = lines.map_while(Result::ok).any(|line| line == format!("step {step}"));
    child.kill().unwrap(); // SIGKILL
    child.wait().unwrap();
    assert!(reached, "the run ended before step {step}");
}

#[test]
fn a_run_killed_at_several_steps_ends_with_the_weights_of_one_that_was_not() {
    let folder = folder();
    let folder = folder.path();
    let straight = xtask(folder, &["train", "small.toml", "--runs", "straight"]);
    assert!(straight.status.success(), "{}", stderr(&straight));
    for (step, threads) in [(3, "1"), (17, "2"), (50, "1"), (101, "2")] {
        killed_at(folder, step, threads);
    }
    let resumed = xtask(folder, &["train", "small.toml", "--runs", "killed", "--resume"]);
    assert!(resumed.status.success(), "{}", stderr(&resumed));
    assert!(weights(folder, "straight") == weights(folder, "killed"), "the weights differ");
    let leftovers: Vec<_> = std::fs::read_dir(folder.join("killed/small-5/checkpoints"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| name.ends_with(".tmp"))
        .collect();
    assert!(leftovers.is_empty(), "{leftovers:?}");
}

/// `encode` of 2,600 pictures and 2,600 texts, killed once in the pictures and once in the texts.
#[test]
fn an_encoding_killed_twice_ends_with_the_bytes_of_one_that_was_not() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let weights = Path::new(env!("CARGO_MANIFEST_DIR")).join("../crates/tvr-clip/tests/fixtures/clip");
    let weights = weights.canonicalize().unwrap();
    std::fs::create_dir(folder.join("many")).unwrap();
    let pictures = ["1_tall_40x91.png", "2_small_13x11.png"].map(|name| weights.join("images").join(name));
    for index in 0..2600 {
        let link = folder.join(format!("many/{index}.png"));
        std::os::unix::fs::symlink(&pictures[index % 2], link).unwrap();
    }
    let texts: String = (0..2600).map(|index| format!("caption {index} of many\n")).collect();
    std::fs::write(folder.join("texts.txt"), texts).unwrap();
    let arguments = |out: &str| -> Vec<String> {
        let given =
            ["encode", "--weights", weights.to_str().unwrap(), "--images", "many", "--texts", "texts.txt"];
        [&given[..], &["--batch", "8", "--resume", "--out", out]]
            .concat()
            .iter()
            .map(ToString::to_string)
            .collect()
    };
    let run = |out: &str| {
        let output = Command::new(XTASK).args(arguments(out)).current_dir(folder).output().unwrap();
        assert!(output.status.success(), "{}", stderr(&output));
        (std::fs::read(folder.join(out)).unwrap(), stderr(&output))
    };
    let (straight, _) = run("straight.safetensors");
    for part in ["frames-000001.safetensors", "text-000000.safetensors"] {
        let mut child = Command::new(XTASK)
            .args(arguments("killed.safetensors"))
            .current_dir(folder)
            .stderr(Stdio::null())
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        let part = folder.join("killed.safetensors.parts").join(part);
        while !part.exists() && child.try_wait().unwrap().is_none() {
            std::thread::sleep(std::time::Duration::from_millis(1));
        }
        child.kill().unwrap(); // SIGKILL
        child.wait().unwrap();
        assert!(
            part.exists() && !folder.join("killed.safetensors").exists(),
            "the run ended before it was killed"
        );
    }
    let (killed, said) = run("killed.safetensors");
    assert!(said.starts_with("pictures: 2600/2600\n"), "all pictures are done: {said}");
    assert!(straight == killed, "the files differ");
    assert!(!folder.join("killed.safetensors.parts").exists());
}

/// A run that gets a signal at step 9: where it says that it stopped, and the command that goes on.
fn interrupted(command: &mut Command, signal: &str, runs: &OsStr) -> (String, String) {
    let given = ["train", "small.toml", "--log-steps", "--set", "train.epochs=400", "--runs"];
    let mut child =
        command.args(given).arg(runs).stderr(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
    let mut lines = BufReader::new(child.stderr.take().unwrap()).lines().map_while(Result::ok);
    assert!(lines.any(|line| line == "step 9"));
    // Twice, as `timeout` does: to the process, and to its group.
    let process = child.id();
    let twice = format!("kill -s {signal} {process} && kill -s {signal} {process}");
    assert!(Command::new("sh").args(["-c", &twice]).status().unwrap().success());
    let rest: Vec<String> = lines.collect();
    assert_eq!(child.wait().unwrap().code(), Some(1));
    let last = rest.iter().find(|line| line.starts_with("error: ")).unwrap();
    let (step, command) = last
        .strip_prefix("error: stopped at step ")
        .and_then(|rest| rest.split_once("; to go on: "))
        .unwrap_or_else(|| panic!("{last}"));
    (step.to_string(), command.to_string())
}

#[test]
fn ctrl_c_and_sigterm_leave_a_run_that_goes_on_and_says_how() {
    let folder = folder();
    let folder = folder.path();
    let mut run = Command::new(XTASK);
    let (step, command) =
        interrupted(run.current_dir(folder).env_remove("CARGO_PKG_NAME"), "INT", OsStr::new("a folder"));
    let words = "train small.toml --log-steps --set train.epochs=400 --runs 'a folder' --resume";
    assert_eq!(command, format!("{XTASK} {words}"));
    // The command as it was told, in a shell, goes on where the run stopped.
    let mut child = Command::new("sh")
        .args(["-c", &format!("exec {command}")])
        .current_dir(folder)
        .stderr(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stderr.take().unwrap()).lines().map_while(Result::ok);
    assert_eq!(lines.next().unwrap(), format!("small seed 5: {step}/1200"));
    child.kill().unwrap();
    child.wait().unwrap();

    // As a batch system stops it; started by the alias, in a folder whose name is no text.
    let mut run = Command::new(XTASK);
    run.current_dir(folder).env("CARGO_PKG_NAME", "xtask");
    let (_, command) = interrupted(&mut run, "TERM", OsStr::from_bytes(b"a\xff"));
    // The alias builds none of these in.
    let more =
        cfg!(any(feature = "cuda", feature = "vulkan", feature = "tch", feature = "hub", feature = "mpi"));
    let program = if more { XTASK } else { "cargo xtask" };
    assert_eq!(command, format!("{program} {}", words.replace("a folder", "a\u{fffd}")));
}

/// Of a size at which products and kernels share their work among threads: whole runs, and one that is killed on two
/// threads and goes on with three.
#[test]
fn the_same_weights_for_any_number_of_threads_killed_or_not() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    made_up::write(&folder.join("data"), 600, 40, 40);
    let head = "kind = \"seq-transf\"\nlayers = 1\nheads = 4\nmax_frames = 3";
    let recipe = RECIPE
        .replace("width = 16", "width = 128")
        .replace("kind = \"mean-pooling\"", head)
        .replace("batch = 8\nepochs = 40\nevaluations = 6", "batch = 250\nepochs = 4\nevaluations = 2");
    std::fs::write(folder.join("small.toml"), recipe).unwrap();
    let trained = |runs: &str, threads: &str| {
        let output = Command::new(XTASK)
            .args(["train", "small.toml", "--runs", runs, "--resume"])
            .current_dir(folder)
            .env("RAYON_NUM_THREADS", threads)
            .output()
            .unwrap();
        assert!(output.status.success(), "{}", stderr(&output));
        weights(folder, runs)
    };
    let expected = trained("1", "1");
    for threads in ["2", "4"] {
        assert!(trained(threads, threads) == expected, "the weights of {threads} threads differ");
    }
    killed_at(folder, 5, "2");
    assert!(folder.join("killed/small-5/checkpoints/step-000004").is_dir());
    assert!(trained("killed", "3") == expected, "the weights of the run that was killed differ");
}
