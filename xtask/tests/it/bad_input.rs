//! Wrong requests and broken files: one clear sentence, the right exit code, nothing half-written.

use std::path::Path;

use crate::{fails, figures, matrix, npy, sample, shell, stderr, xtask};

fn score(folder: &Path, arguments: &[&str]) -> std::process::Output {
    xtask(folder, &[&["score", "--similarity"], arguments].concat())
}

#[test]
fn files_that_hold_no_matrix_are_refused_by_name() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    npy(at("line.npy"), npyz::Order::C, &[4], &[0.5f32, 0.5, 0.5, 0.5]);
    npy(at("whole.npy"), npyz::Order::C, &[2, 2], &[1i64, 2, 3, 4]);
    std::fs::write(at("text.npy"), "1 2\n3 4\n").unwrap();
    sample(folder.path());
    let whole = std::fs::read(at("S.npy")).unwrap();
    std::fs::write(at("cut.npy"), &whole[..whole.len() - 4]).unwrap();
    for (name, shape) in [("lists.npy", "(1,".repeat(2000)), ("comma.npy", "(6 6)".into())] {
        let header = format!("{{'descr': '<f4', 'fortran_order': False, 'shape': {shape}, }}");
        let length = u16::try_from(header.len()).unwrap().to_le_bytes();
        let bytes = [&b"\x93NUMPY\x01\x00"[..], &length, header.as_bytes(), &[0; 144]].concat();
        std::fs::write(at(name), bytes).unwrap();
    }
    for (name, sentence) in [
        ("lists.npy", "lists.npy: not a .npy file: its header has lists in lists; write it with numpy.save"),
        (
            "comma.npy",
            "comma.npy: not a .npy file: its header is not as numpy writes it; write it with numpy.save",
        ),
        ("none.npy", "none.npy: cannot read: No such file or directory (os error 2)"),
        ("line.npy", "line.npy: the array has shape [4], but similarity must be 2-D, [texts, videos]"),
        ("whole.npy", "whole.npy: the array holds <i8, but scores must be f16, f32 or f64"),
        ("text.npy", "text.npy: not a .npy file: magic not found for NPY file; write it with numpy.save"),
        (
            "cut.npy",
            "cut.npy: the header says [6, 6] of 4 bytes each, but 140 bytes follow; the file is cut or damaged",
        ),
    ] {
        fails(&score(folder.path(), &[name]), 1, sentence);
    }
}

#[test]
fn a_safetensors_file_is_asked_for_a_key_that_it_has() {
    let folder = tempfile::tempdir().unwrap();
    let bytes = [0u8; 16];
    let tensor = safetensors::tensor::TensorView::new(safetensors::Dtype::F32, vec![2, 2], &bytes).unwrap();
    let file = safetensors::serialize([("test", tensor)], None).unwrap();
    std::fs::write(folder.path().join("a.safetensors"), file).unwrap();
    let sentence = "a.safetensors holds test; name one, as in a.safetensors:KEY";
    fails(&score(folder.path(), &["a.safetensors"]), 2, sentence);
    let sentence = "a.safetensors:val: no tensor \"val\" in the file; it holds test";
    fails(&score(folder.path(), &["a.safetensors:val"]), 2, sentence);
}

#[test]
fn a_matrix_that_is_not_square_asks_for_groups() {
    let folder = tempfile::tempdir().unwrap();
    matrix(folder.path(), "S.npy", [3, 2], &[0.0; 6]);
    fails(
        &score(folder.path(), &["S.npy"]),
        2,
        "S.npy has 3 texts and 2 videos; a matrix that is not square needs --groups, the video index of every text",
    );
}

#[test]
fn groups_must_name_every_video_and_no_other() {
    let folder = tempfile::tempdir().unwrap();
    matrix(folder.path(), "S.npy", [4, 3], &[0.5; 12]);
    npy(folder.path().join("float.npy"), npyz::Order::C, &[4], &[0.0f32, 1.0, 2.0, 2.0]);
    npy(folder.path().join("below.npy"), npyz::Order::C, &[4], &[0i32, 1, -1, 2]);
    npy(folder.path().join("above.npy"), npyz::Order::C, &[4], &[0u64, 1, u64::MAX, 2]);
    for (name, text, sentence) in [
        (
            "hole.txt",
            "0\n2\n2\n0\n",
            "hole.txt: video 1 of 3 has no text in the groups; leave its column out of S.npy and renumber the videos after it",
        ),
        (
            "end.txt",
            "0\n1\n1\n0\n",
            "end.txt: video 2 of 3 has no text in the groups; leave its column out of S.npy and renumber the videos after it",
        ),
        (
            "range.txt",
            "0\n1\n3\n2\n",
            "range.txt: groups[2] = 3, but S.npy has 3 videos; indices count from 0 to 2",
        ),
        ("short.txt", "0\n1\n2\n", "short.txt: 3 groups, but S.npy has 4 texts; give one for each text"),
        (
            "word.txt",
            "0\none\n2\n2\n",
            "word.txt: line 2 is \"one\", but each line must be one whole number, the video of a text",
        ),
        (
            "float.npy",
            "",
            "float.npy: the array holds <f4, but groups must be whole numbers, as numpy's int64",
        ),
        ("below.npy", "", "below.npy: groups[2] = -1, but S.npy has 3 videos; indices count from 0 to 2"),
        (
            "above.npy",
            "",
            "above.npy: groups[2] = 18446744073709551615, but S.npy has 3 videos; indices count from 0 to 2",
        ),
    ] {
        if !text.is_empty() {
            std::fs::write(folder.path().join(name), text).unwrap();
        }
        fails(&score(folder.path(), &["S.npy", "--groups", name]), 1, sentence);
    }
}

#[test]
fn banks_must_speak_of_the_same_test_items() {
    let folder = tempfile::tempdir().unwrap();
    sample(folder.path());
    matrix(folder.path(), "B.npy", [4, 5], &[0.5; 20]);
    matrix(folder.path(), "N.npy", [1, 6], &[0.5, 0.5, f32::NAN, 0.5, 0.5, 0.5]);
    fails(
        &score(folder.path(), &["S.npy", "--text-bank", "B.npy"]),
        1,
        "B.npy: the text bank is [4, 5], but the similarity has 6 videos; its columns must be the same test videos",
    );
    fails(
        &score(folder.path(), &["S.npy", "--video-bank", "B.npy"]),
        1,
        "B.npy: the video bank is [4, 5], but the similarity has 6 texts; its rows must be the same test texts",
    );
    fails(
        &score(folder.path(), &["S.npy", "--text-bank", "N.npy"]),
        1,
        "N.npy: [0, 2] is NaN; every value of a bank must be finite",
    );
    matrix(folder.path(), "E.npy", [0, 6], &[]);
    fails(
        &score(folder.path(), &["S.npy", "--text-bank", "E.npy"]),
        1,
        "E.npy: the bank is [0, 6]; it needs at least one row and one column",
    );
}

#[test]
fn a_missing_bank_is_asked_for_by_its_option() {
    let folder = tempfile::tempdir().unwrap();
    sample(folder.path());
    matrix(folder.path(), "T.npy", [3, 6], &[0.5; 18]);
    matrix(folder.path(), "V.npy", [6, 4], &[0.5; 24]);
    matrix(folder.path(), "B.npy", [4, 4], &[0.5; 16]);
    let texts = ["S.npy", "--text-bank", "T.npy", "--normalize"];
    let both = ["S.npy", "--text-bank", "T.npy", "--video-bank", "V.npy", "--normalize"];
    for (arguments, sentence) in [
        (
            [&["S.npy", "--normalize"][..], &["qb-norm"]].concat(),
            "qb-norm has no query bank for T2V, and needs one; give --text-bank",
        ),
        (
            [&texts[..], &["qb-norm"]].concat(),
            "qb-norm has no query bank for V2T, and needs one; give --video-bank",
        ),
        (
            [&both[..], &["dual-bank"]].concat(),
            "dual-bank has no gallery bank for T2V, and needs one; give --gallery-bank",
        ),
        (
            [&both[..], &["dbsn"]].concat(),
            "dbsn has no bank's gallery for T2V, and needs one; give --bank-similarity",
        ),
    ] {
        fails(&score(folder.path(), &arguments), 2, &format!("--normalize: {sentence}"));
    }
    fails(
        &score(folder.path(), &[&both[..5], &["--gallery-bank", "V.npy"]].concat()),
        1,
        "V.npy: the gallery bank is [6, 4], but the similarity has 6 videos; its columns must be the same test videos",
    );
    fails(
        &score(folder.path(), &[&both[..5], &["--gallery-bank-texts", "V.npy"]].concat()),
        1,
        "V.npy: the gallery bank of texts is [6, 4], but the similarity has 6 texts; its columns must be the same test texts",
    );
    fails(
        &score(folder.path(), &[&both[..5], &["--bank-similarity", "B.npy"]].concat()),
        1,
        "B.npy: the bank similarity has 4 bank texts, the text bank has 3; both must hold the same training texts",
    );
    matrix(folder.path(), "E.npy", [0, 6], &[]);
    fails(
        &score(folder.path(), &["S.npy", "--text-bank", "E.npy", "--normalize", "inverted-softmax"]),
        1,
        "E.npy: the bank is [0, 6]; it needs at least one row and one column",
    );
    fails(
        &score(folder.path(), &["S.npy", "--normalize", "qb-norm+sinkhorn"]),
        2,
        "--normalize: sinkhorn cannot follow qb-norm: qb-norm leaves some rows raw, so rows are not comparable; put \
         sinkhorn first",
    );
    fails(
        &score(folder.path(), &["S.npy", "--bootstrap", "4294967296"]),
        2,
        "--bootstrap: 4294967296 draws, but it takes at most 1000000; 2000 are usual",
    );
    fails(
        &score(folder.path(), &["S.npy", "--logit-scale", "0"]),
        2,
        "--logit-scale: 0 is no scale; give a number above 0",
    );
}

/// A file's name may hold what a terminal obeys.
#[test]
fn a_name_of_control_characters_is_not_obeyed() {
    let folder = tempfile::tempdir().unwrap();
    let sentence = "a\u{fffd}[2Jb.npy: cannot read: No such file or directory (os error 2)";
    fails(&score(folder.path(), &["a\u{1b}[2Jb.npy"]), 1, sentence);
}

#[test]
fn a_nan_is_refused_with_its_place_or_counted_as_a_miss() {
    let folder = tempfile::tempdir().unwrap();
    matrix(folder.path(), "S.npy", [2, 2], &[0.9, 0.1, f32::NAN, 0.8]);
    fails(
        &score(folder.path(), &["S.npy"]),
        1,
        "S.npy: scores[1, 0] is NaN; mend the model that made it, or count such queries as missed with \
         --non-finite miss",
    );
    let report = figures(folder.path(), &["--similarity", "S.npy", "--non-finite", "miss"]);
    assert_eq!(report["rows"][0]["text_to_video"]["R@1"], 50.0); // the NaN wins against text 1's own video
    fails(
        &score(
            folder.path(),
            &["S.npy", "--non-finite", "miss", "--normalize", "sinkhorn:tau=1,iterations=5"],
        ),
        2,
        "--non-finite miss serves raw rows alone, and --normalize sinkhorn:tau=1,iterations=5 needs scores that are all \
         finite; leave one of the two out",
    );
}

#[test]
fn a_wrong_normaliser_is_answered_with_the_nearest_name() {
    let folder = tempfile::tempdir().unwrap();
    sample(folder.path());
    for (spec, part) in [
        ("dual-softmax:temperature=0", "dual-softmax: temperature = 0, but it must be a number above 0"),
        ("dual-softmax:temperature=-1", "dual-softmax: temperature = -1, but it must be a number above 0"),
        ("sinkhorm", "unknown normaliser \"sinkhorm\"; did you mean \"sinkhorn\"?"),
        (
            "dual-softmax:temprature=1",
            "dual-softmax: unknown setting \"temprature\"; did you mean \"temperature\"?",
        ),
    ] {
        fails(&score(folder.path(), &["S.npy", "--normalize", spec]), 2, &format!("--normalize: {part}"));
    }
}

#[test]
fn a_wrong_option_is_answered_with_the_nearest_name() {
    let folder = tempfile::tempdir().unwrap();
    sample(folder.path());
    for (arguments, parts) in [
        (&["--similarty", "S.npy"][..], ["--similarty", "--similarity"]),
        (&["--similarity", "S.npy", "--ties", "averag"], ["averag", "'average'"]),
        (&["--similarity", "S.npy", "--seed", "1"], ["--bootstrap", "required"]),
        (&["--similarity", "S.npy", "--k", "1,0"], ["--k: 0", "ranks count from 1"]),
        (&["--similarity", "S.npy", "--k", "5,5"], ["--k: 5", "twice"]),
        (&["--similarity", "S.npy", "--bootstrap", "0"], ["--bootstrap: 0", "no interval"]),
    ] {
        let output = xtask(folder.path(), &[&["score"], arguments].concat());
        let said = stderr(&output);
        assert_eq!(output.status.code(), Some(2), "{said}");
        assert!(said.starts_with("error: ") && parts.iter().all(|part| said.contains(part)), "{said}");
    }
}

#[test]
fn a_transductive_method_on_one_query_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    matrix(folder.path(), "S.npy", [1, 1], &[0.5]);
    for spec in ["inverted-softmax:temperature=1", "sinkhorn:tau=1,iterations=50"] {
        let output = score(folder.path(), &["S.npy", "--normalize", spec]);
        let said = stderr(&output);
        assert_eq!(output.status.code(), Some(2), "{said}");
        assert!(said.starts_with("error: S.npy: ") && said.contains("one query and no query bank"), "{said}");
        assert_eq!(said.lines().count(), 1, "{said}");
    }
}

#[test]
fn a_file_that_is_read_is_not_written_over() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    sample(folder.path());
    std::fs::copy(at("S.npy"), at("T.npy")).unwrap();
    std::fs::write(at("r.toml"), "name = \"r\"\n").unwrap();
    std::fs::write(at("list.jsonl"), "{\"path\": \"a.mp4\"}\n").unwrap();
    std::fs::write(at("t.txt"), "a dog\n").unwrap();
    let view = safetensors::tensor::TensorView::new(safetensors::Dtype::F32, vec![1, 1], &[0; 4]).unwrap();
    std::fs::write(at("a.safetensors"), safetensors::serialize([("k", view)], None).unwrap()).unwrap();
    std::os::unix::fs::symlink("S.npy", at("link")).unwrap();
    std::fs::create_dir(at("sub")).unwrap();
    for (arguments, option) in [
        (&["score", "--similarity", "S.npy", "--json", "S.npy"][..], "--json S.npy"),
        (&["score", "--similarity=link", "--json=sub/../S.npy"], "--json sub/../S.npy"),
        (&["score", "--similarity", "S.npy", "--json", "link"], "--json link"),
        (&["score", "--similarity", "S.npy", "--val", "T.npy", "--json", "T.npy"], "--json T.npy"),
        (&["score", "--similarity", "a.safetensors:k", "--json", "a.safetensors"], "--json a.safetensors"),
        (&["score", "--similarity", "S.npy", "--shard", "0/2", "--out", "S.npy"], "--out S.npy"),
        (&["merge", "T.npy", "a.safetensors", "--out", "a.safetensors"], "--out a.safetensors"),
        (&["encode", "--weights", "w", "--texts", "t.txt", "--out", "t.txt"], "--out t.txt"),
        (&["train", "r.toml", "--json", "r.toml"], "--json r.toml"),
        (&["plan", "r.toml", "--json", "r.toml"], "--json r.toml"),
        (&["store", "gc", "--keep", "list.jsonl", "--json", "list.jsonl"], "--json list.jsonl"),
        (&["prepare", "--manifest", "list.jsonl", "--json", "list.jsonl"], "--json list.jsonl"),
    ] {
        let names = ["S.npy", "T.npy", "r.toml", "list.jsonl", "t.txt", "a.safetensors"];
        let before = names.map(|name| std::fs::read(at(name)).unwrap());
        let sentence = format!("{option}: the command reads that file and would write over it; name another");
        fails(&xtask(folder.path(), arguments), 2, &sentence);
        assert!(names.map(|name| std::fs::read(at(name)).unwrap()) == before, "{arguments:?}");
    }
    // What an option says that names no file is no file, and what was written before is written again.
    for _ in 0..2 {
        let arguments = ["--similarity", "S.npy", "--ties", "average", "--json", "average"];
        let output = xtask(folder.path(), &[&["score"], &arguments[..]].concat());
        assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    }
}

#[test]
fn a_full_disk_leaves_nothing_half_written() {
    let folder = tempfile::tempdir().unwrap();
    matrix(folder.path(), "S.npy", [100, 100], &[0.5; 10_000]);
    let before = std::fs::read_dir(folder.path()).unwrap().count();
    // Blocks of 512 bytes in sh: the matrices have 40 KB, the JSON about 1 KB.
    for (limit, option, path, printed) in [
        (4, "--save out", "out/1-raw.text_to_video.npy", false),
        (0, "--json scores.json", "scores.json", true),
    ] {
        let line = format!("ulimit -f {limit}; \"$XTASK\" score --similarity S.npy {option}");
        let output = shell(folder.path(), &line);
        let said = stderr(&output);
        assert_eq!(output.status.code(), Some(1), "{said}");
        assert_eq!(said, format!("error: {path}: cannot write: File too large (os error 27)\n"));
        assert_eq!(output.stdout.is_empty(), !printed, "what was found is printed before a file is written");
    }
    let _ = std::fs::remove_dir(folder.path().join("out")); // removes an empty folder only
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), before, "something was left behind");
}

#[test]
fn a_pipe_is_written_to_and_a_link_stays_a_link() {
    use std::os::unix::fs::FileTypeExt;
    let folder = tempfile::tempdir().unwrap();
    sample(folder.path());
    // A reader at the other end of a pipe that has a name, as /dev/stdout and /dev/fd/3 have.
    let line = "mkfifo pipe; cat pipe > read.json & \"$XTASK\" score --similarity S.npy --json pipe; wait";
    assert!(shell(folder.path(), line).status.success());
    let pipe = std::fs::symlink_metadata(folder.path().join("pipe")).unwrap();
    assert!(pipe.file_type().is_fifo(), "the pipe was replaced by a file");
    let read = std::fs::read_to_string(folder.path().join("read.json")).unwrap();
    assert!(read.contains("tvr-score/1"), "{read}");

    std::fs::create_dir(folder.path().join("there")).unwrap();
    std::fs::write(folder.path().join("there/scores.json"), "old").unwrap();
    std::os::unix::fs::symlink("there/scores.json", folder.path().join("link.json")).unwrap();
    assert!(score(folder.path(), &["S.npy", "--json", "link.json"]).status.success());
    assert!(std::fs::symlink_metadata(folder.path().join("link.json")).unwrap().is_symlink());
    assert_eq!(std::fs::read_to_string(folder.path().join("there/scores.json")).unwrap(), read);
    assert_eq!(std::fs::read_dir(folder.path().join("there")).unwrap().count(), 1, "nothing beside it");
}

#[test]
fn a_full_disk_behind_stdout_is_an_error() {
    if !Path::new("/dev/full").exists() {
        eprintln!("skipped: no /dev/full");
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    sample(folder.path());
    let output = shell(folder.path(), "\"$XTASK\" score --similarity S.npy > /dev/full");
    assert_eq!(output.status.code(), Some(1));
    assert!(
        stderr(&output).starts_with("error: standard output: cannot write: No space left"),
        "{}",
        stderr(&output)
    );
}
