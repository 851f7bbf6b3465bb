//! `prepare DATASET` as a user runs it: what is there of a benchmark, and what is not.

use std::path::{Path, PathBuf};

use crate::prepare::GIF;
use crate::{fails, stderr, stdout, xtask};

/// A small MSVD: five clips of three splits, and what can be wrong with them.
fn msvd() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let put = |name: &str, bytes: &[u8]| {
        let path = folder.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, bytes).unwrap();
    };
    put("data/annotations/msvd/train_list.txt", b"a_0_5\nb_0_5\nempty_0_5\n");
    put("data/annotations/msvd/test_list.txt", b"c_0_5\nbroken_0_5\ngone_0_5\nout_0_5\n../up\n");
    let captions = br#"{"a_0_5": ["a cat", "a cat"], "b_0_5": ["a dog"], "empty_0_5": ["a hat"], "broken_0_5": ["a bat"],
        "c_0_5": ["A dog ", " "], "gone_0_5": ["a mat"], "out_0_5": ["a rat"], "other": ["of no list"]}"#;
    put("data/annotations/msvd/captions_msvd.json", captions);
    for (number, name) in ["a_0_5", "b_0_5", "c_0_5", "out_0_5", "stray"].iter().enumerate() {
        // Behind its end a GIF may hold anything: files of different hashes.
        put(&format!("data/videos/{name}.gif"), &[GIF, &[0, number as u8]].concat());
    }
    put("data/videos/empty_0_5.mp4", b"");
    put("data/videos/broken_0_5.gif", b"GIF89a\x01\x00\x01\x00");
    put("dead.txt", b"out_0_5 # a test card\nno_such_clip\n");
    folder
}

const SAID: &str = "\
msvd: annotations in data/annotations/msvd, 7 video files below data

listing    videos  captions  here  missing  empty  broken  partial  left out  no caption  blank  repeated  shared
-----------------------------------------------------------------------------------------------------------------
train           3         4     2        0      1       0        0         0           0      0         1       0
test            5         5     1        1      0       1        0         1           1      1         0       0

repeated: captions that repeat another of the same video; shared: captions that another video has too
train: 0 bytes: \"empty_0_5\"
test: the list is no known gallery: compare its figures with nobody's
test: what is here is no known gallery: compare its figures with nobody's
test: missing: \"gone_0_5\"
test: left out by the list: \"out_0_5\"
test: names a path and is not looked for: \"../up\"
test: broken: \"broken_0_5\", ";

#[test]
fn the_doctor_says_what_is_there_and_writes_the_gallery_and_a_table() {
    let folder = msvd();
    let arguments = ["prepare", "msvd", "--data-root", "data", "--quarantine", "dead.txt"];
    let output = xtask(folder.path(), &arguments);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    let said = stdout(&output);
    assert!(said.starts_with(SAID), "{said}");
    for line in [
        "captions of videos that no listing names: 1",
        "captions that repeat another of the same video: 1",
        "no file val_list.txt (for val)",
        "what is missing comes from cs.utexas.edu/",
        "video files that no listing names: \"data/videos/stray.gif\"",
        "to be left out, but in no listing: \"no_such_clip\"",
        "store: frames of 3 videos",
        "written: prepared/msvd/gallery.json",
        "written: prepared/msvd/standard.jsonl",
    ] {
        assert!(said.lines().any(|found| found.starts_with(line)), "{line:?} is not in\n{said}");
    }
    let read = |name: &str| std::fs::read_to_string(folder.path().join("prepared/msvd").join(name)).unwrap();
    let gallery: serde_json::Value = serde_json::from_str(&read("gallery.json")).unwrap();
    assert_eq!(gallery["schema"], "tvr-gallery/1");
    assert_eq!(gallery["galleries"][1]["videos"], serde_json::json!(["c_0_5"]));
    assert_eq!(gallery["galleries"][1]["quarantined"], serde_json::json!(["out_0_5"]));
    let table = read("standard.jsonl");
    assert_eq!(table.lines().count(), 3, "{table}");
    // The table is what the other commands take, and a second look finds all of it decoded.
    let again = xtask(folder.path(), &["prepare", "--manifest", "prepared/msvd/standard.jsonl"]);
    assert!(stdout(&again).contains("3 videos (test 1, train 2), 4 captions"), "{}", stdout(&again));
    let stat = xtask(folder.path(), &["store", "stat"]);
    assert!(
        stdout(&stat).contains("4 records in 1 shard,"),
        "three clips and why one is none: {}",
        stdout(&stat)
    );
    let json = xtask(folder.path(), &[&arguments[..], &["--json", "-"]].concat());
    let json: serde_json::Value = serde_json::from_str(&stdout(&json)).unwrap();
    assert_eq!(json["schema"], "tvr-doctor/1");
    assert_eq!(json["listings"][1]["missing"], serde_json::json!(["gone_0_5"]));
    assert_eq!(json["ready"], 3);
}

/// As the help says: in or beside the data root, whichever way the root is named.
#[test]
fn annotations_are_found_beside_the_data_root() {
    let folder = msvd();
    let path = |name: &str| folder.path().join(name);
    let annotations = path("data").canonicalize().unwrap().join("annotations");
    std::fs::create_dir(path("data/videos/sub")).unwrap();
    let found = |from: &str, root: &str| {
        let output = xtask(&path(from), &["prepare", "msvd", "--data-root", root, "--json", "-"]);
        assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
        let json: serde_json::Value = serde_json::from_str(&stdout(&output)).unwrap();
        Path::new(json["annotations"].as_str().unwrap()).to_path_buf()
    };
    let roots = [("data/videos", "."), ("data/videos/sub", "..")];
    for (from, root) in roots {
        assert_eq!(found(from, root), annotations.join("msvd"), "{root}");
    }
    for file in std::fs::read_dir(annotations.join("msvd")).unwrap().flatten() {
        std::fs::rename(file.path(), annotations.join(file.file_name())).unwrap();
    }
    for (from, root) in roots {
        assert_eq!(found(from, root), annotations, "{root}");
    }
    assert_eq!(found("data", "videos"), Path::new("./annotations"));
    assert_eq!(found("", "data/videos"), Path::new("data/annotations"));
}

#[test]
fn what_cannot_be_asked_is_one_sentence() {
    let folder = msvd();
    let folder = folder.path();
    let output = xtask(folder, &["prepare", "msvd"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(stderr(&output).contains("--data-root"), "{}", stderr(&output));
    let output = xtask(folder, &["prepare", "msrvtt2", "--data-root", "data"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(
        stderr(&output).contains("unknown benchmark \"msrvtt2\"; it is one of msrvtt, msvd, "),
        "{}",
        stderr(&output)
    );
    let output = xtask(folder, &["prepare"]);
    assert_eq!(output.status.code(), Some(2), "{}", stderr(&output));
    fails(
        &xtask(folder, &["prepare", "msvd", "--data-root", "none"]),
        1,
        "none: is no folder; name the folder that holds the annotation files; --annotations DIR says where they are",
    );
    let output = xtask(folder, &["prepare", "vatex", "--data-root", "data/videos"]);
    assert_eq!(output.status.code(), Some(1));
    let said = stderr(&output);
    assert!(said.starts_with("error: data/videos: holds no annotation file of vatex; wanted are "), "{said}");
    assert!(
        said.contains("CC BY 4.0") && said.ends_with("; --annotations DIR says where they are\n"),
        "{said}"
    );
    // Annotations alone are looked at as well, and the command has still prepared nothing.
    std::fs::create_dir(folder.join("bare")).unwrap();
    let output =
        xtask(folder, &["prepare", "msvd", "--data-root", "bare", "--annotations", "data/annotations/msvd"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(stdout(&output).contains("test: missing: \"c_0_5\""), "{}", stdout(&output));
    assert_eq!(
        stderr(&output),
        "error: bare: no clip of msvd that can be decoded is below it; clips are named after their ids\n"
    );
    assert!(!folder.join("prepared").exists());
}

/// Real clips and FFmpeg; a test without them says why it skips.
pub fn real() -> Option<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/data/videos");
    if !folder.is_dir() {
        eprintln!("skipped: {} is not there", folder.display());
        return None;
    }
    if std::process::Command::new("ffmpeg").arg("-version").output().is_err() {
        eprintln!("skipped: FFmpeg is not there");
        return None;
    }
    Some(folder.canonicalize().unwrap())
}

#[test]
fn of_msrvtt_nineteen_clips_are_here_and_two_show_one_film_across_train_and_test() {
    let Some(folder) = real() else { return };
    let scratch = tempfile::tempdir().unwrap();
    let root = folder.join("clips");
    let lists = folder.join("../annotations/msrvtt");
    let output = xtask(
        scratch.path(),
        &[
            "prepare",
            "msrvtt",
            "--data-root",
            root.to_str().unwrap(),
            "--annotations",
            lists.to_str().unwrap(),
            "--size",
            "30",
        ],
    );
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    let said = stdout(&output);
    let here = |listing: &str| -> Vec<usize> {
        let line = said.lines().find(|line| line.starts_with(&format!("{listing} "))).unwrap();
        line.split_whitespace().skip(1).map(|cell| cell.parse().unwrap()).collect()
    };
    assert_eq!(here("train-9k")[..4], [9000, 180_000, 15, 8985]);
    assert_eq!(here("test-1k-a")[..4], [1000, 1000, 4, 996]);
    assert_eq!(here("train-full")[2..4], [11, 6502]);
    assert!(said.contains("test-1k-a: the list is 1k-A test (JSFUSION) (1000 videos)\n"), "{said}");
    assert!(said.contains("test-1k-a: what is here is no known gallery: "), "{said}");
    assert!(
        said.contains("test-1k-a: video7202 shows what video9769 shows, which is trained on\n"),
        "{said}"
    );
    assert!(said.contains("what is missing comes from ms-multimedia-challenge.com/"), "{said}");
    let table = std::fs::read_to_string(scratch.path().join("prepared/msrvtt/1k-a.jsonl")).unwrap();
    let of =
        |split: &str| table.lines().filter(|line| line.contains(&format!("\"split\":\"{split}\""))).count();
    assert_eq!((of("train"), of("val"), of("test")), (13, 2, 4), "of 15, two are held out as val");
}
