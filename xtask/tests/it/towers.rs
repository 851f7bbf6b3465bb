//! The built-in world's towers: each seed its own, and a run holds on to those that it was trained with.

use std::path::PathBuf;

use crate::devices::small_world;
use crate::{fails, stderr, xtask};

#[test]
fn other_towers_neither_resume_a_run_nor_judge_it() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    small_world(folder);
    let towers = || -> Vec<PathBuf> {
        let entries = std::fs::read_dir(folder.join("cache")).unwrap();
        entries.map(|entry| entry.unwrap().path().join("towers.bpk")).collect()
    };
    let train = xtask(folder, &["train", "small.toml"]);
    assert!(train.status.success(), "{}", stderr(&train));
    assert!(stderr(&train).contains("towers on stills, seed 0: "), "{}", stderr(&train));
    let [own] = &towers()[..] else { panic!("{:?}", towers()) };
    let before = std::fs::read(own).unwrap();
    let plan = xtask(folder, &["plan", "small.toml", "--set", "encoder.tower_seed=1"]);
    assert!(stderr(&plan).contains("towers on stills, seed 1: "), "{}", stderr(&plan));
    let other = towers().into_iter().find(|path| path != own).unwrap();
    let other = std::fs::read(other).unwrap();
    assert!(other != before, "the towers of two seeds are the same");

    std::fs::write(own, other).unwrap();
    let kept = std::fs::read(folder.join("runs/small-5/model.safetensors")).unwrap();
    let since = "features, captions or the frozen towers have changed since; put them back";
    fails(
        &xtask(folder, &["train", "small.toml", "--resume"]),
        2,
        &format!(
            "runs/small-5/checkpoints/step-000016: a checkpoint of other data lies there: {since}, give the recipe another name or remove the folder"
        ),
    );
    fails(
        &xtask(folder, &["eval", "runs/small-5"]),
        1,
        &format!(
            "{}: the run was trained on other data: {since}, or train it again",
            folder.join("runs/small-5").canonicalize().unwrap().display()
        ),
    );
    assert!(std::fs::read(folder.join("runs/small-5/model.safetensors")).unwrap() == kept);
    std::fs::write(own, before).unwrap();
    let eval = xtask(folder, &["eval", "runs/small-5"]);
    assert!(eval.status.success(), "{}", stderr(&eval));

    // Whoever empties the cache gets the same towers again, though not the same bytes of a file.
    std::fs::remove_dir_all(folder.join("cache")).unwrap();
    let eval = xtask(folder, &["eval", "runs/small-5"]);
    assert!(eval.status.success(), "{}", stderr(&eval));
    assert!(stderr(&eval).contains("towers on stills, seed 0: "), "{}", stderr(&eval));

    // A place that cannot be written is found before the training.
    std::fs::write(folder.join("file"), "").unwrap();
    let output = xtask(folder, &["train", "small.toml", "--cache", "file", "--set", "name=other"]);
    let said = stderr(&output);
    assert!(
        said.starts_with("error: file/world-") && said.contains(": cannot create the folder: "),
        "{said}"
    );
    assert_eq!(output.status.code(), Some(1));
}
