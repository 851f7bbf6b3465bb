//! Options that say nothing together: refused by name, before anything is read or written.

use crate::{fails, stderr, stdout, xtask};

#[test]
fn an_option_that_would_be_ignored_beside_another_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let scores = ["score", "--similarity", "S.npy"];
    let vectors = ["score", "--texts", "T.npy", "--videos", "V.npy"];
    let benchmark = ["reproduce", "--quick"];
    let list = ["prepare", "--manifest", "m.csv"];
    for (command, arguments, options) in [
        (&scores[..], &["--videos", "V.npy"][..], ["--similarity", "--videos"]),
        (&scores, &["--texts", "T.npy"], ["--similarity", "--texts"]),
        (&scores, &["--emcl", "tiles"], ["--similarity", "--emcl"]),
        (&scores, &["--videos", "V.npy", "--emcl", "tiles"], ["--similarity", "--emcl"]),
        (&scores, &["--bank-texts", "B.npy", "--bank-videos", "C.npy"], ["--similarity", "--bank-texts"]),
        (&scores, &["--groups", "g.txt", "--out", "o"], ["--groups", "--out"]),
        (&scores, &["--shard", "0/2", "--out", "o", "--json", "j"], ["--shard", "--json"]),
        (&vectors, &["--bank-videos", "C.npy", "--text-bank", "B.npy"], ["--bank-videos", "--text-bank"]),
        (&["eval", "runs/a-0"], &["--out", "o", "--json", "j"], ["--out", "--json"]),
        (&benchmark, &["--data-root", "X"], ["--quick", "--data-root"]),
        (&benchmark, &["--weights", "X"], ["--quick", "--weights"]),
        (&benchmark, &["--annotations", "X"], ["--quick", "--annotations"]),
        (&benchmark, &["--quarantine", "X"], ["--quick", "--quarantine"]),
        (&["reproduce", "--full"], &["--data-root", "X"], ["--full", "--data-root"]),
        (&list, &["--data-root", "."], ["--manifest", "--data-root"]),
        (&list, &["--annotations", "."], ["--manifest", "--annotations"]),
        (&list, &["--data-root", ".", "--quarantine", "q"], ["--manifest", "--quarantine"]),
        (&list, &["--data-root", ".", "--out", "o"], ["--manifest", "--out"]),
    ] {
        let output = xtask(folder.path(), &[command, arguments].concat());
        let said = stderr(&output);
        assert_eq!(output.status.code(), Some(2), "{command:?} {arguments:?}: {said}");
        assert!(said.starts_with("error: ") && said.contains("cannot be used with"), "{said}");
        // Of several, clap names each beside the first.
        let named = options.iter().filter(|option| said.contains(**option)).count();
        assert_eq!(named, 2, "{command:?} {arguments:?}: {said}");
        assert_eq!(stdout(&output), "");
    }
    for option in ["--weights", "--annotations", "--quarantine"] {
        let sentence = format!(
            "{option}: it is for a benchmark's videos, and --dataset msrvtt476 is features; leave it out"
        );
        let arguments = ["reproduce", "--dataset", "msrvtt476", "--data-root", "X", option, "X"];
        fails(&xtask(folder.path(), &arguments), 2, &sentence);
    }
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0, "something was written");
}

#[test]
fn a_number_that_is_too_small_is_refused_by_its_option() {
    let folder = tempfile::tempdir().unwrap();
    let scores = ["score", "--similarity", "S.npy"];
    for (command, arguments, option) in [
        (&scores[..], &["--k", "-1"][..], "'-1' for '--k <K,...>'"),
        (&scores, &["--bootstrap", "-1"], "'-1' for '--bootstrap <N>'"),
        (&scores, &["--bootstrap", "9", "--seed", "-1"], "'-1' for '--seed <SEED>'"),
        (&["train", "r.toml"], &["--patience", "-1"], "'-1' for '--patience <SECONDS>'"),
        (&["train", "r.toml"], &["--patience", "0"], "'0' for '--patience <SECONDS>'"),
        (&["prepare", "--manifest", "m.csv"], &["--size", "-1"], "'-1' for '--size <N>'"),
        (&["prepare", "--manifest", "m.csv"], &["--limit", "0"], "'0' for '--limit <SECONDS>'"),
        (&["encode", "--weights", "W", "--out", "o"], &["--batch", "-1"], "'-1' for '--batch <N>'"),
    ] {
        let output = xtask(folder.path(), &[command, arguments].concat());
        let said = stderr(&output);
        assert_eq!(output.status.code(), Some(2), "{said}");
        assert!(said.starts_with(&format!("error: invalid value {option}")), "{said}");
    }
    let sentence = "--logit-scale: -1 is no scale; give a number above 0";
    fails(&xtask(folder.path(), &[&scores[..], &["--logit-scale", "-1"]].concat()), 2, sentence);
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0, "something was written");
}

#[test]
fn a_word_that_an_option_does_not_know_is_refused_with_those_that_it_knows() {
    let folder = tempfile::tempdir().unwrap();
    let encode = ["encode", "--weights", "W", "--out", "o"];
    let samplers = "'often' for '--sampler <SPEC>': \"often\" is no sampler; samplers are \
                    rate:1,frames=12,cut=head|tail|uniform[,until=31], segments:12,offset=centre, \
                    segments:12,offset=random,seed=0, and all, with a rate and counts above 0\n";
    let types = "'f64' for '--dtype <TYPE>': \"f64\" is no type of weights; it must be f32, f16 or bf16\n";
    let splits = "'train' for '--split <SPLIT>'\n  [possible values: test, val]\n";
    for (command, [option, word], sentence) in [
        (&["prepare", "--manifest", "m.csv"][..], ["--sampler", "often"], samplers),
        (&encode, ["--sampler", "often"], samplers),
        (&encode, ["--dtype", "f64"], types),
        (&["verify", "--weights", "W"], ["--dtype", "f64"], types),
        (&["eval", "runs/a-0"], ["--split", "train"], splits),
    ] {
        let output = xtask(folder.path(), &[command, &[option, word]].concat());
        let said = stderr(&output);
        assert_eq!(output.status.code(), Some(2), "{said}");
        assert!(said.starts_with(&format!("error: invalid value {sentence}")), "{said}");
        assert_eq!(stdout(&output), "");
    }
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0, "something was written");
}
