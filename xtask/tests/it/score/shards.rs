//! `score --shard` and `merge`: the same figures for any number of shares, and what is wrong with a set of them.

use std::path::Path;

use serde_json::Value;

use super::vectors::made;
use crate::{fails, figures, matrix, stderr, succeeds, xtask};

const VECTORS: [&str; 4] = ["--texts", "T.npy", "--videos", "V.npy"];
const BANK: [&str; 4] = ["--bank-texts", "B.npy", "--bank-videos", "C.npy"];
const ROWS: [&str; 8] = [
    "--normalize",
    "raw",
    "--normalize",
    "dual-softmax:temperature=0.1",
    "--normalize",
    "inverted-softmax:temperature=0.1",
    "--normalize",
    "nnn:k=2",
];

fn scene() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (name, items, step) in [("T", 11, 5), ("V", 11, 9), ("B", 7, 3), ("C", 6, 8)] {
        matrix(folder.path(), &format!("{name}.npy"), [items, 4], &made(items as usize * 4, step));
    }
    folder
}

/// Writes all shares of some scores, and joins them; the last is named first.
fn joined(folder: &Path, given: &[&str], count: usize) -> String {
    let names: Vec<String> = (0..count).rev().map(|index| format!("{index}-{count}.safetensors")).collect();
    for (name, index) in names.iter().zip((0..count).rev()) {
        let shard = format!("{index}/{count}");
        succeeds(&xtask(folder, &[&["score", "--shard", &shard, "--out", name], given].concat()));
    }
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    succeeds(&xtask(folder, &[&["merge"], &names[..], &["--out", "joined.safetensors"]].concat()))
}

fn rows(folder: &Path, given: &[&str]) -> Value {
    figures(folder, &[given, &ROWS].concat())["rows"].clone()
}

#[test]
fn a_share_is_neither_judged_as_the_whole_nor_named_as_what_it_is_not() {
    let folder = scene();
    let share = |out: &str| {
        let arguments = [&["score", "--shard", "0/2", "--out", out], &VECTORS[..]].concat();
        xtask(folder.path(), &arguments)
    };
    succeeds(&share("0.safetensors"));
    let judged = xtask(folder.path(), &["score", "--similarity", "0.safetensors:similarity"]);
    let said = "0.safetensors:similarity: is shard 0/2; join all shards with merge, and judge what it writes";
    fails(&judged, 2, said);
    let said = "--out 0.npy: a safetensors file is written, which nobody looks for in a .npy; let it end in .safetensors";
    fails(&share("0.npy"), 2, said);
    assert!(!folder.path().join("0.npy").exists());
}

#[test]
fn cosines_in_shares_have_the_figures_of_the_whole() {
    let folder = scene();
    let vectors = [&VECTORS[..], &BANK].concat();
    let whole = rows(folder.path(), &vectors);
    for count in 1..=4 {
        let said = joined(folder.path(), &vectors, count);
        let (_, command) = said.split_once("to judge: cargo xtask score").unwrap();
        let banks: Vec<&str> = command.split([' ', '\\', '\n']).filter(|word| !word.is_empty()).collect();
        assert_eq!(banks[..2], ["--similarity", "joined.safetensors:similarity"]);
        assert_eq!(banks.len(), 12, "{said}");
        assert_eq!(rows(folder.path(), &banks), whole, "{count} shares");
    }
}

#[test]
fn a_matrix_in_shares_has_the_figures_of_the_whole() {
    let folder = scene();
    matrix(folder.path(), "S.npy", [13, 13], &made(169, 5));
    let given = ["--similarity", "S.npy"];
    let rows = |given: &[&str]| {
        figures(folder.path(), &[given, &ROWS[..4], &["--bootstrap", "100"]].concat())["rows"].clone()
    };
    let whole = rows(&given);
    for count in 1..=4 {
        joined(folder.path(), &given, count);
        assert_eq!(rows(&["--similarity", "joined.safetensors:similarity"]), whole, "{count} shares");
    }
}

#[test]
fn a_shard_that_is_missing_doubled_or_foreign_is_named_and_nothing_is_written() {
    let folder = scene();
    joined(folder.path(), &VECTORS, 3);
    let run = |arguments: &[&str]| xtask(folder.path(), arguments);
    let merge = |files: &[&str]| run(&[&["merge"], files, &["--out", "again.safetensors"]].concat());
    let [a, b, c] = ["0-3.safetensors", "1-3.safetensors", "2-3.safetensors"];
    fails(&merge(&[a, c]), 2, "shard 1/3 is missing; make it, or name its file");
    fails(&merge(&[a, b, a]), 2, &format!("{a} and {a} are both shard 0/3; name each once"));
    fails(
        &merge(&[a, "joined.safetensors"]),
        2,
        "joined.safetensors: holds all scores already; there is nothing to join it with",
    );
    succeeds(&run(&[&["score", "--shard", "1/2", "--out", "half"], &VECTORS[..]].concat()));
    fails(
        &merge(&[a, "half"]),
        2,
        "half is one of 2 shards, and another file one of 3; join those of one run",
    );
    matrix(folder.path(), "W.npy", [11, 4], &made(44, 7));
    let other = ["--texts", "T.npy", "--videos", "W.npy"];
    succeeds(&run(&[&["score", "--shard", "1/3", "--out", "other"], &other[..]].concat()));
    let foreign = merge(&[a, "other", c]);
    assert_eq!(foreign.status.code(), Some(2));
    let start = format!("error: {a} and other are shards of different scores: their videos is sha256 ");
    assert!(stderr(&foreign).starts_with(&start), "{}", stderr(&foreign));
    // Two tensors of one file are not one matrix.
    joined(folder.path(), &[&VECTORS[..], &["--bank-texts", "T.npy", "--bank-videos", "V.npy"]].concat(), 2);
    let all = |key: &str| format!("joined.safetensors:{key}");
    for (key, shard, out) in [("similarity", "0/2", "x"), ("text_bank", "1/2", "y")] {
        let given = ["score", "--similarity", &all(key), "--shard", shard, "--out", out];
        succeeds(&run(&given));
    }
    let foreign = merge(&["x", "y"]);
    assert_eq!(foreign.status.code(), Some(2), "{}", stderr(&foreign));
    assert!(stderr(&foreign).contains(", tensor similarity"), "{}", stderr(&foreign));
    std::fs::write(folder.path().join("text"), "no tensors").unwrap();
    let foreign = merge(&[a, "text", c]);
    assert_eq!(foreign.status.code(), Some(1));
    assert!(stderr(&foreign).starts_with("error: text: is no shard of scores: "), "{}", stderr(&foreign));
    fails(
        &run(&["merge", a, b, c, "--out", "again"]),
        2,
        "--out again: joined scores must end in .safetensors, by which score knows them",
    );
    // A shard that was cut off on its way.
    let bytes = std::fs::read(folder.path().join(b)).unwrap();
    std::fs::write(folder.path().join("cut"), &bytes[..bytes.len() - 8]).unwrap();
    let cut = merge(&[a, "cut", c]);
    assert_eq!(cut.status.code(), Some(1));
    assert!(stderr(&cut).starts_with("error: cut: is no shard of scores: "), "{}", stderr(&cut));
    let first = merge(&["cut", a, c]);
    assert_eq!(first.status.code(), Some(1));
    assert!(stderr(&first).starts_with("error: cut: is no whole shard: "), "{}", stderr(&first));
    for said in [stderr(&cut), stderr(&first)] {
        assert!(said.ends_with("; make it again\n"), "{said}");
    }
    let left = std::fs::read_dir(folder.path())
        .unwrap()
        .filter(|entry| entry.as_ref().unwrap().file_name().to_string_lossy().starts_with("again"));
    assert_eq!(left.count(), 0, "nothing half-written");
}

#[test]
fn shares_that_make_no_sense_are_refused() {
    let folder = scene();
    let run = |more: &[&str]| xtask(folder.path(), &[&["score", "--out", "o"], &VECTORS[..], more].concat());
    fails(
        &run(&["--shard", "3/12"]),
        2,
        "--shard 3/12: there are 11 videos, and every shard must have one; take fewer shards",
    );
    fails(
        &run(&[&BANK[..], &["--shard", "3/7"]].concat()),
        2,
        "--shard 3/7: there are 6 bank videos, and every shard must have one; take fewer shards",
    );
    fails(
        &run(&["--shard", "0/2", "--emcl", "tiles"]),
        2,
        "--shard: EMCL finds its bases on items of all shares together; leave --emcl out, or score without --shard",
    );
    for more in [&["--shard", "2/2"][..], &["--shard", "0/2", "--normalize", "raw"], &[]] {
        let output = run(more);
        assert_eq!(output.status.code(), Some(2), "{}", stderr(&output));
    }
    assert!(!folder.path().join("o").exists());
}
