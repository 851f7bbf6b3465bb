//! Several devices as a user has them: who judges what, and the loss curve of one.

use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use crate::{XTASK, kill, stderr, stdout, xtask};

/// The losses of a run, step by step.
pub fn losses(runs: &Path) -> Vec<f64> {
    let log = std::fs::read_to_string(runs.join("steps.jsonl")).unwrap();
    let line = |line: &str| serde_json::from_str::<serde_json::Value>(line).unwrap();
    log.lines().map(|text| line(text)["loss"].as_f64().unwrap()).collect()
}

#[track_caller]
pub fn assert_same_curve(found: &[f64], expected: &[f64]) {
    assert_eq!(found.len(), expected.len());
    for (step, (found, expected)) in found.iter().zip(expected).enumerate() {
        // Sums of f32 in another order, carried through some steps of AdamW.
        assert!((found - expected).abs() < 2e-4, "step {step}: {found} {expected}");
    }
}

/// A recipe of the built-in world that is done in seconds: what it learns is not asked for here.
pub fn small_world(folder: &Path) {
    let recipes = Path::new(env!("CARGO_MANIFEST_DIR")).join("../recipes");
    let recipe = std::fs::read_to_string(recipes.join("world-mean-pooling.toml")).unwrap();
    let recipe = recipe
        .replace("seeds = [0, 1, 2]", "seeds = [5]")
        .replace("\"world-mean-pooling\"", "\"small\"")
        .replace("[encoder]\n", "[encoder]\npretrain_steps = 8\nplace_steps = 2\npretrain_batch = 16\n")
        .replace("evaluations = 4\nsteps = 1000\n", "evaluations = 2\nsteps = 16\ncheckpoint_every = 2\n");
    assert!(recipe.contains("pretrain_steps") && recipe.contains("steps = 16"), "{recipe}");
    std::fs::write(folder.join("small.toml"), recipe).unwrap();
}

#[test]
fn the_built_in_world_has_one_loss_curve_on_one_two_and_four_devices() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    small_world(folder);
    let curve = |devices: &str| {
        let output = xtask(folder, &["train", "small.toml", "--devices", devices, "--runs", devices]);
        assert!(output.status.success(), "{}", stderr(&output));
        losses(&folder.join(devices).join("small-5"))
    };
    let one = curve("flex");
    assert!(one[0] - one[one.len() - 1] > 0.1, "nothing was learnt: {one:?}");
    for devices in ["flex:2", "flex:4"] {
        assert_same_curve(&curve(devices), &one);
    }
}

#[test]
fn a_plan_over_devices_says_who_judges_what() {
    let folder = kill::folder();
    let whole =
        ["--set", "objective={ kind = \"dual-softmax\", temperature = 1000.0, scale_by_batch = true }"];
    for (more, judges, by_rows) in [
        (&[][..], "judges its rows of both directions", true),
        (&whole[..], "judges the whole, because the objective needs the whole batch at once", false),
    ] {
        let plan = ["plan", "small.toml", "--devices", "flex:2", "--json", "plan.json"];
        let output = xtask(folder.path(), &[&plan[..], more].concat());
        assert!(output.status.success(), "{}", stderr(&output));
        let line = format!("# 2 devices share each batch: each encodes 1/2 of it and {judges}\n");
        assert!(stdout(&output).ends_with(&line), "{}", stdout(&output));
        let json = std::fs::read(folder.path().join("plan.json")).unwrap();
        let json: serde_json::Value = serde_json::from_slice(&json).unwrap();
        assert_eq!((&json["devices"], &json["judged_by_rows"]), (&2.into(), &by_rows.into()));
    }
    let alone = xtask(folder.path(), &["plan", "small.toml"]);
    assert!(!stdout(&alone).contains("devices share"), "{}", stdout(&alone));
}

#[test]
fn a_run_that_was_stopped_for_longer_than_its_patience_goes_on() {
    let folder = kill::folder();
    let mut run = Command::new(XTASK)
        .args(["train", "small.toml", "--devices", "flex:2", "--patience", "3", "--log-steps"])
        .args(["--set", "train.epochs=400"])
        .current_dir(folder.path())
        .stderr(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(run.stderr.take().unwrap());
    let mut said = String::new();
    while !said.lines().any(|line| line == "step 5") {
        assert!(lines.read_line(&mut said).unwrap() > 0, "the run ended before step 5: {said}");
    }
    let signal = |signal: &str| {
        assert!(Command::new("kill").args(["-s", signal, &run.id().to_string()]).status().unwrap().success());
    };
    for _ in 0..2 {
        signal("STOP");
        std::thread::sleep(Duration::from_secs(4));
        signal("CONT");
        std::thread::sleep(Duration::from_millis(50));
    }
    lines.read_to_string(&mut said).unwrap();
    assert!(run.wait().unwrap().success(), "{said}");
}
