//! `train`, `plan`, `eval`: what a user sees, and what a wrong request is told.

use crate::kill::folder;
use crate::{fails, shell, stderr, stdout, xtask};

#[test]
fn train_plan_and_eval_agree_on_a_small_recipe() {
    let folder = folder();
    let folder = folder.path();
    let plan = xtask(folder, &["plan", "small.toml", "--json", "plan.json"]);
    assert!(plan.status.success(), "{}", stderr(&plan));
    assert!(stdout(&plan).contains("24 training videos"), "{}", stdout(&plan));
    assert!(!folder.join("runs").exists(), "a plan leaves no folder of runs behind");
    let plan: serde_json::Value =
        serde_json::from_slice(&std::fs::read(folder.join("plan.json")).unwrap()).unwrap();
    assert_eq!(plan["steps"], 120);

    let band = "eval.expect={ \"csls:k=1.text_to_video.R@1\" = [0, 1] }";
    let rest = ["--set", band, "--set", "train.steps=500"];
    let train = xtask(folder, &[&["train", "small.toml", "--json", "records.json"][..], &rest].concat());
    assert!(train.status.success(), "{}", stderr(&train));
    // There is no terminal: plain lines, and no bar.
    let said = stderr(&train);
    let note =
        "note: eval.expect: no row of seed 5 has csls:k=1.text_to_video.R@1; rows are as in eval.normalize\n";
    assert!(said.contains(note), "{said}");
    let cap =
        "note: train.steps = 500 is a cap, and train.epochs = 40 are 120 steps; raise epochs for more\n";
    assert!(
        said.starts_with(&format!("{cap}small seed 5: 0/120\n"))
            && said.contains("\nsmall seed 5: 120/120, "),
        "{said}"
    );
    assert!(!said.contains(['\u{1b}', '\r', '█']), "{said}");
    let records: serde_json::Value =
        serde_json::from_slice(&std::fs::read(folder.join("records.json")).unwrap()).unwrap();
    assert_eq!(records[0]["schema"], "tvr-run/1");
    assert!(records[0]["test"][0]["text_to_video"]["R@1"].as_f64().unwrap() > 30.0, "chance is 12.5");
    let run = folder.join("runs/small-5");
    for file in [
        "recipe.toml",
        "steps.jsonl",
        "record.json",
        "card.md",
        "similarity.safetensors",
        "model.safetensors",
    ] {
        assert!(run.join(file).exists(), "{file}");
    }

    let eval = xtask(folder, &["eval", "runs/small-5", "--json", "-"]);
    assert!(eval.status.success(), "{}", stderr(&eval));
    let found: serde_json::Value = serde_json::from_str(&stdout(&eval)).unwrap();
    assert_eq!(found["rows"], records[0]["test"]);
    assert_eq!((&found["schema"], &found["run"]), (&"tvr-eval/1".into(), &"small-5".into()));
    assert_eq!((&found["recipe"], &found["split"]), (&"small".into(), &"test".into()));
    for same in ["seed", "gallery", "gallery_size"] {
        assert_eq!(found[same], records[0][same], "{same}");
    }

    // Every output names how V2T counts.
    let card = std::fs::read_to_string(run.join("card.md")).unwrap();
    assert!(card.contains("| V2T grouped R@1 |"), "{card}");
    assert_eq!(records[0]["video_to_text_rule"], "grouped");

    // Under another name it would be judged by the weights of the run that has its own.
    std::fs::rename(&run, folder.join("runs/kept")).unwrap();
    fails(
        &xtask(folder, &["eval", "runs/kept"]),
        2,
        "runs/kept: the run in it is small-5; give the folder that name, in a folder of its own if there is one already",
    );
    let sentence = "runs/small-5: cannot open: No such file or directory (os error 2); give the folder of a finished run, as runs/NAME-SEED";
    fails(&xtask(folder, &["eval", "runs/small-5"]), 1, sentence);
    std::fs::rename(folder.join("runs/kept"), &run).unwrap();
    for name in ["recipe.toml", "record.json"] {
        std::fs::rename(run.join(name), folder.join("away")).unwrap();
        let sentence =
            format!("runs/small-5: holds no {name}; give the folder of a finished run, as runs/NAME-SEED");
        fails(&xtask(folder, &["eval", "runs/small-5"]), 1, &sentence);
        std::fs::rename(folder.join("away"), run.join(name)).unwrap();
    }

    // The similarities of a run are scores like any others.
    let score =
        xtask(folder, &["score", "--similarity", "runs/small-5/similarity.safetensors:test", "--json", "-"]);
    assert!(score.status.success(), "{}", stderr(&score));
    let score: serde_json::Value = serde_json::from_str(&stdout(&score)).unwrap();
    assert_eq!(score["rows"][0]["text_to_video"]["R@1"], found["rows"][0]["text_to_video"]["R@1"]);
}

#[test]
fn one_process_at_a_time_works_in_a_folder() {
    let folder = folder();
    let folder = folder.path();
    let held = |place: &str| {
        std::fs::create_dir_all(folder.join(place)).unwrap();
        let file = std::fs::File::create(folder.join(place).join("lock")).unwrap();
        file.lock().unwrap();
        file
    };
    let refused = |place: &str| {
        format!(
            "{place}: another process works in this folder; wait for its end, or give --runs another folder"
        )
    };
    let train = ["train", "small.toml", "--set", "train.epochs=2"];
    let other = held("runs/small-5");
    let output = xtask(folder, &train);
    let said = stderr(&output);
    assert_eq!(output.status.code(), Some(2), "{said}");
    assert_eq!(said, format!("error: {}\n", refused("runs/small-5")));
    assert!(!folder.join("runs/small-5/checkpoints").exists());
    drop(other);
    let output = xtask(folder, &train);
    assert!(output.status.success(), "{}", stderr(&output));
    assert!(folder.join("runs/small-5/lock").exists());
    let _other = held("runs/reproduce");
    fails(&xtask(folder, &["reproduce", "--quick"]), 2, &refused("runs/reproduce"));
}

#[test]
fn an_unknown_recipe_key_is_answered_with_the_nearest() {
    let folder = folder();
    let text = std::fs::read_to_string(folder.path().join("small.toml")).unwrap();
    std::fs::write(folder.path().join("wrong.toml"), text.replace("learning_rate", "lerning_rate")).unwrap();
    let output = xtask(folder.path(), &["train", "wrong.toml"]);
    let line = text.lines().position(|line| line.starts_with("learning_rate")).unwrap();
    let shown = text.lines().nth(line).unwrap().replace("learning_rate", "lerning_rate");
    let sentence = format!(
        "wrong.toml: line {} ({shown}): unknown key \"lerning_rate\"; did you mean \"learning_rate\"?",
        line + 1
    );
    fails(&output, 2, &sentence);
    let output = xtask(folder.path(), &["train", "small.toml", "--set", "train.epoch=3"]);
    fails(&output, 2, "--set train.epoch=3: unknown key \"epoch\"; did you mean \"epochs\"?");
    assert!(!folder.path().join("runs").exists());
}

#[test]
fn a_missing_recipe_and_missing_data_are_named() {
    let folder = folder();
    let output = xtask(folder.path(), &["train", "none.toml"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(stderr(&output).contains("none.toml"), "{}", stderr(&output));
    let output = xtask(folder.path(), &["train", "small.toml", "--set", "data.path=nowhere"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(stderr(&output).contains("nowhere"), "{}", stderr(&output));
}

/// Whether this binary has the feature, and a device of it that no machine has.
const FEATURES: [(bool, &str, &str); 3] = [
    (cfg!(feature = "cuda"), "cuda", "cuda:4000"),
    (cfg!(feature = "vulkan"), "vulkan", "vulkan:4000"),
    (cfg!(feature = "tch"), "tch", "tch:cuda:4000"),
];

#[test]
fn a_device_without_its_feature_or_its_hardware_is_one_sentence() {
    let folder = folder();
    for (compiled, feature, device) in FEATURES {
        let several = format!("{device}-4001");
        for device_of in [["--device", device], ["--devices", &several]] {
            let output = xtask(folder.path(), &[&["train", "small.toml"][..], &device_of].concat());
            if !compiled {
                let again = format!("build again with `cargo run -p xtask --features {feature} -- ...`");
                fails(&output, 2, &format!("device {feature}: this binary was built without it; {again}"));
                continue;
            }
            let said = stderr(&output);
            assert!(said.starts_with(&format!("error: device {device}: ")), "{said}");
            assert!(said.contains("found here") && said.lines().count() == 1, "{said}");
            assert_eq!(output.status.code(), Some(1));
        }
    }
    assert!(!folder.path().join("runs").exists());
}

#[test]
fn a_run_goes_on_in_other_parts_on_other_devices_and_is_judged_otherwise() {
    let folder = folder();
    let small = ["train", "small.toml", "--set", "train.epochs=2"];
    assert!(xtask(folder.path(), &[&small[..], &["--devices", "flex:2"]].concat()).status.success());
    // As if it had been killed after the first epoch.
    let checkpoints = folder.path().join("runs/small-5/checkpoints");
    std::fs::remove_dir_all(checkpoints.join("step-000006")).unwrap();
    let other = ["--resume", "--set", "train.chunk=2", "--set", "train.checkpoint_every=1"];
    let rows = ["--set", "eval.normalize=[\"raw\", \"dual-softmax:temperature=3\"]", "--json", "-"];
    let output = xtask(folder.path(), &[&small[..], &other, &rows].concat());
    assert!(output.status.success(), "{}", stderr(&output));
    assert!(!stderr(&output).contains("starts anew"), "{}", stderr(&output));
    let records: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(records[0]["test"].as_array().unwrap().len(), 2, "{records}");
    let kept = std::fs::read_to_string(folder.path().join("runs/small-5/recipe.toml")).unwrap();
    assert!(kept.contains("chunk = 2\n"), "{kept}");
    assert_eq!(records[0]["device"], "flex:2, then flex");
    fails(
        &xtask(folder.path(), &["eval", "runs/small-5", "--device", "flex:2"]),
        2,
        "--device flex:2: a run is judged on one device; name one, and share the videos out with --shard",
    );
}

#[test]
fn a_checkpoint_of_another_recipe_is_refused() {
    let folder = folder();
    assert!(xtask(folder.path(), &["train", "small.toml", "--set", "train.epochs=2"]).status.success());
    let output = xtask(folder.path(), &["train", "small.toml", "--set", "train.epochs=3", "--resume"]);
    let newest = "runs/small-5/checkpoints/step-000006";
    fails(
        &output,
        2,
        &format!(
            "{newest}: a checkpoint of another recipe or seed lies there; give the recipe another name or remove the folder"
        ),
    );
    // The run is as it was: it is judged again with the recipe that made it.
    let judged = xtask(folder.path(), &["eval", "runs/small-5", "--json", "-"]);
    assert!(judged.status.success(), "{}", stderr(&judged));
    let kept = std::fs::read_to_string(folder.path().join("runs/small-5/recipe.toml")).unwrap();
    assert!(kept.contains("epochs = 2\n"), "{kept}");
}

#[test]
fn a_run_is_never_overwritten() {
    let folder = folder();
    let small = ["train", "small.toml", "--set", "train.epochs=2"];
    let run = folder.path().join("runs/small-5");
    let there = "runs/small-5: holds a run already; --resume goes on with it, and keeps it where it is finished; to train it anew, remove the folder or give the recipe another name";
    // Killed before its record; then finished, its checkpoints thrown away; and what a start alone leaves is no run.
    assert!(xtask(folder.path(), &small).status.success());
    let record = std::fs::read(run.join("record.json")).unwrap();
    std::fs::remove_file(run.join("record.json")).unwrap();
    fails(&xtask(folder.path(), &small), 2, there);
    std::fs::write(run.join("record.json"), &record).unwrap();
    fails(&xtask(folder.path(), &small), 2, there);
    std::fs::remove_dir_all(run.join("checkpoints")).unwrap();
    fails(&xtask(folder.path(), &small), 2, there);
    assert_eq!(std::fs::read(run.join("record.json")).unwrap(), record);
    std::fs::remove_dir_all(&run).unwrap();
    std::fs::create_dir_all(run.join("checkpoints")).unwrap();
    let output = xtask(folder.path(), &small);
    assert!(output.status.success(), "{}", stderr(&output));
    let output = xtask(folder.path(), &[&small[..], &["--resume"]].concat());
    assert!(output.status.success(), "{}", stderr(&output));
}

#[test]
fn all_captions_look_for_videos_where_the_recipe_says_so() {
    let folder = folder();
    let all = "eval.captions=\"all\"";
    let run = |arguments: &[&str]| -> serde_json::Value {
        let output = xtask(folder.path(), arguments);
        assert!(output.status.success(), "{}", stderr(&output));
        serde_json::from_slice(&output.stdout).unwrap()
    };
    let trained =
        run(&["train", "small.toml", "--set", "train.epochs=2", "--set", all, "--json", "-"])[0].clone();
    let sizes = trained["gallery_size"].as_array().unwrap();
    assert_eq!(sizes[0].as_u64(), sizes[1].as_u64().map(|videos| 2 * videos), "two captions each");
    let card = std::fs::read_to_string(folder.path().join("runs/small-5/card.md")).unwrap();
    assert!(card.contains(", all captions of each; hash "), "{card}");
    // What is kept of the run, what shares of it add up to, and `eval` say the same.
    let recalls = |row: &serde_json::Value| -> Vec<f64> {
        let of = |direction: &str, key: &str| row[direction][key].as_f64().unwrap();
        vec![of("text_to_video", "R@1"), of("text_to_video", "MnR"), of("video_to_text", "R@1")]
    };
    let expected = recalls(&trained["test"][0]);
    assert_eq!(recalls(&run(&["eval", "runs/small-5", "--json", "-"])["rows"][0]), expected);
    let judged = |similarity: &str, groups: &str| -> Vec<f64> {
        let report = run(&["score", "--similarity", similarity, "--groups", groups, "--json", "-"]);
        recalls(&report["rows"][0])
    };
    let kept = "runs/small-5/similarity.safetensors";
    assert_eq!(judged(&format!("{kept}:test"), &format!("{kept}:test_groups")), expected);
    for (shard, out) in [("0/2", "0.safetensors"), ("1/2", "1.safetensors")] {
        let output = xtask(folder.path(), &["eval", "runs/small-5", "--shard", shard, "--out", out]);
        assert!(output.status.success(), "{}", stderr(&output));
    }
    let merge = ["merge", "0.safetensors", "1.safetensors", "--out", "both.safetensors"];
    let said = crate::succeeds(&xtask(folder.path(), &merge));
    assert!(said.contains("--groups both.safetensors:groups"), "{said}");
    assert_eq!(judged("both.safetensors:similarity", "both.safetensors:groups"), expected);
    // Of a run that chose its weights by one caption a video, another run is made, and the old one judged anew.
    let one = ["train", "small.toml", "--set", "train.epochs=2", "--resume"];
    assert_eq!(xtask(folder.path(), &one).status.code(), Some(2));
}

#[test]
fn a_full_disk_is_one_error_and_the_run_goes_on_afterwards() {
    let folder = folder();
    let output = shell(folder.path(), "ulimit -f 4; $XTASK train small.toml --set train.epochs=2");
    assert_eq!(output.status.code(), Some(1), "{}", stderr(&output));
    assert!(stderr(&output).contains("cannot write"), "{}", stderr(&output));
    let again = xtask(folder.path(), &["train", "small.toml", "--set", "train.epochs=2", "--resume"]);
    assert!(again.status.success(), "{}", stderr(&again));
}

#[cfg(not(feature = "mpi"))]
#[test]
fn one_of_several_processes_is_told_the_feature_and_one_alone_is_not() {
    let folder = folder();
    let started = |size: &str| {
        std::process::Command::new(crate::XTASK)
            .args(["train", "small.toml", "--set", "train.epochs=2"])
            .envs([("RANK", "0"), ("WORLD_SIZE", size)])
            .current_dir(folder.path())
            .output()
            .unwrap()
    };
    let sentence = "a launcher started this process as rank 0 of 2, but this binary was built without the feature mpi; build again with `cargo build -p xtask --features mpi`, or start one process, with --devices";
    fails(&started("2"), 2, sentence);
    let alone = started("1");
    assert!(alone.status.success(), "{}", stderr(&alone));
}
