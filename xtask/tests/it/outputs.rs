//! What a command writes: never over what it reads, where a link leads, and after what it prints.

use std::path::Path;

use crate::{fails, kill, sample, stderr, stdout, xtask};

/// What is in the files of a folder, by path, folders below it included.
fn held(folder: &Path) -> Vec<(String, Vec<u8>)> {
    let mut held = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            held.extend(self::held(&path));
        } else {
            held.push((path.display().to_string(), std::fs::read(&path).unwrap()));
        }
    }
    held.sort();
    held
}

#[test]
fn a_file_in_a_folder_that_is_read_is_not_written_over() {
    let folder = kill::folder();
    let at = |name: &str| folder.path().join(name);
    for name in ["runs/a-0", "W", "G", "photos/deep", "store", "elsewhere"] {
        std::fs::create_dir_all(at(name)).unwrap();
    }
    for name in [
        "runs/a-0/record.json",
        "W/config.json",
        "G/texts.txt",
        "photos/deep/a.png",
        "store/store.json",
        "elsewhere/blob",
    ] {
        std::fs::write(at(name), "kept").unwrap();
    }
    std::os::unix::fs::symlink("../elsewhere/blob", at("W/model.safetensors")).unwrap();
    let encode = ["encode", "--weights"];
    let before = held(folder.path());
    for (arguments, file, read) in [
        (&["eval", "runs/a-0"][..], "--json runs/a-0/record.json", "runs/a-0"),
        (&["eval", "runs/a-0", "--shard", "0/2"], "--out runs/a-0/record.json", "runs/a-0"),
        (&["verify", "--weights", "W"], "--json W/config.json", "W"),
        (&["verify", "--weights", "W", "--golden", "G"], "--json W/../G/texts.txt", "G"),
        (&[&encode[..], &["W", "--texts", "t.txt"]].concat(), "--out W/model.safetensors", "W"),
        (&[&encode[..], &["X", "--images", "photos"]].concat(), "--out photos/deep/a.png", "photos"),
        (&[&encode[..], &["X", "--frames", "photos"]].concat(), "--out photos/deep/a.png", "photos"),
        (&["store", "stat"], "--json store/store.json", "store"),
        (&["prepare", "msrvtt", "--data-root", "data"], "--json data/splits.json", "data"),
        (&["train", "small.toml"], "--json data/splits.json", "data"),
        (&["plan", "small.toml"], "--json data/captions.jsonl", "data"),
    ] {
        let written: Vec<&str> = file.split(' ').collect();
        let sentence = format!(
            "{file}: the command reads the folder {read} and would write over that file in it; name another"
        );
        fails(&xtask(folder.path(), &[arguments, &written[..]].concat()), 2, &sentence);
        assert!(held(folder.path()) == before, "{arguments:?} {file}");
    }
    // A new one may lie there, and the next call may write it anew.
    let plan = ["plan", "small.toml", "--json", "data/plan.json"];
    let output = xtask(folder.path(), &plan);
    assert!(output.status.success(), "{}", stderr(&output));
    assert!(at("data/plan.json").is_file());
    let output = xtask(folder.path(), &plan);
    assert!(output.status.success(), "{}", stderr(&output));
    // So may a reproduction that was stopped, beside its videos.
    std::fs::write(at("photos/r.json"), r#"{"schema": "tvr-reproduce-benchmark/1"}"#).unwrap();
    let reproduce = ["reproduce", "--dataset", "msvd", "--data-root", "photos", "--json", "photos/r.json"];
    let said = stderr(&xtask(folder.path(), &reproduce));
    assert!(said.starts_with("error: ") && !said.contains("would write over"), "{said}");
}

#[test]
fn a_link_to_what_is_not_there_yet_stays_and_stdout_is_no_place_for_out() {
    let folder = tempfile::tempdir().unwrap();
    sample(folder.path());
    std::fs::create_dir(folder.path().join("there")).unwrap();
    std::os::unix::fs::symlink("there/new.json", folder.path().join("link.json")).unwrap();
    let score = ["score", "--similarity", "S.npy", "--json", "link.json"];
    let output = xtask(folder.path(), &score);
    assert!(output.status.success(), "{}", stderr(&output));
    assert!(folder.path().join("link.json").is_symlink(), "the link was replaced");
    let written = std::fs::read_to_string(folder.path().join("there/new.json")).unwrap();
    assert!(written.contains("tvr-score/1"), "{written}");

    let sentence =
        "--out -: what it writes does not go to stdout; name a place for it, ./- if that is its name";
    for arguments in [
        &["encode", "--weights", "W", "--texts", "t.txt"][..],
        &["merge", "0.safetensors"],
        &["eval", "runs/a-0", "--shard", "0/2"],
        &["score", "--similarity", "S.npy", "--shard", "0/2"],
    ] {
        fails(&xtask(folder.path(), &[arguments, &["--out", "-"]].concat()), 2, sentence);
    }
    assert!(!folder.path().join("-").exists());
}

#[test]
fn results_are_printed_even_where_their_file_cannot_be_written() {
    let folder = tempfile::tempdir().unwrap();
    sample(folder.path());
    std::fs::create_dir(folder.path().join("taken")).unwrap();
    let output = xtask(folder.path(), &["score", "--similarity", "S.npy", "--json", "taken"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(stderr(&output).starts_with("error: taken: cannot write: "), "{}", stderr(&output));
    assert!(stdout(&output).contains("6 texts, 6 videos"), "{}", stdout(&output));
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 2, "something was left behind");
}
