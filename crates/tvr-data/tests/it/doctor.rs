//! The doctor: what is there and what is not, on real annotation files and on small ones written by hand.

use std::collections::BTreeSet;
use std::path::Path;

use tvr_data::benchmarks::Benchmark;
use tvr_data::doctor::{Clips, Decoded, GalleryFile, diagnose, quarantine};
use tvr_data::galleries::{Match, ids_hash, recognise};

use crate::benchmarks::{PACKAGE, Shelf, real};

/// Videos, captions, videos without one, blank captions, repeated within a video, shared between videos; and the known
/// gallery. The figures come from a script of Python's `json`, `csv` and `gzip` that counts the same files.
type Summary = (&'static str, [usize; 6], Option<&'static str>);

#[track_caller]
fn summary(benchmark: Benchmark, expected: &[Summary]) {
    let Some(annotations) = real(benchmark) else { return };
    let found = diagnose(&annotations, &Clips::default(), &Decoded::default(), &BTreeSet::new());
    assert_eq!(found.len(), expected.len());
    for (name, counts, gallery) in expected {
        let found = found.iter().find(|found| found.listing == *name).unwrap();
        let counted = [
            found.videos,
            found.captions,
            found.silent,
            found.blank,
            found.repeated_within,
            found.repeated_across,
        ];
        assert_eq!(counted, *counts, "{benchmark} {name}");
        let known = match found.listed_gallery {
            Match::Same(gallery) => Some(gallery.name),
            _ => None,
        };
        assert_eq!(known, *gallery, "{benchmark} {name}");
        assert_eq!(found.missing.len(), found.videos, "no file is there");
        assert!(found.present.is_empty() && found.copies.is_empty() && found.unsafe_ids.is_empty());
        assert_eq!(found.present_gallery, Match::Unknown);
    }
}

#[test]
fn the_summary_of_msrvtt_is_that_of_its_files() {
    summary(
        Benchmark::Msrvtt,
        &[
            ("train-9k", [9000, 180_000, 0, 0, 13_252, 23_994], None),
            ("train-7k", [7010, 140_200, 0, 0, 10_380, 17_576], None),
            ("train-full", [6513, 130_260, 0, 0, 9651, 15_958], None),
            ("val-full", [497, 9940, 0, 0, 729, 666], Some("full val")),
            ("test-full", [2990, 59_800, 0, 0, 4252, 6238], Some("full test")),
            ("train-1k-b", [6656, 133_120, 0, 0, 9483, 16_261], None),
            ("test-1k-b", [1000, 20_000, 0, 0, 1412, 1462], Some("1k-B test (Miech)")),
            ("test-1k-a", [1000, 1000, 0, 0, 0, 9], Some("1k-A test (JSFUSION)")),
        ],
    );
}

#[test]
fn the_summary_of_msvd_is_that_of_its_files() {
    summary(
        Benchmark::Msvd,
        &[
            ("train", [1200, 48_774, 0, 0, 6468, 9156], None),
            ("val", [100, 4290, 0, 0, 647, 296], Some("val")),
            ("test", [670, 27_763, 0, 0, 3730, 4372], Some("test")),
        ],
    );
}

#[test]
fn the_summary_of_didemo_is_that_of_its_files() {
    summary(
        Benchmark::Didemo,
        &[
            ("train", [8392, 8362, 30, 0, 0, 0], None),
            ("val", [1065, 1065, 0, 0, 0, 0], Some("val by clips")),
            ("test", [1004, 1004, 0, 0, 0, 0], Some("test by clips")),
        ],
    );
}

#[test]
fn the_summary_of_activitynet_is_that_of_its_files() {
    summary(
        Benchmark::Activitynet,
        &[
            ("train", [10_009, 10_009, 0, 0, 0, 0], None),
            ("val-1", [4917, 4917, 0, 0, 0, 0], Some("val-1, test by custom")),
            ("val-2", [4885, 4885, 0, 0, 0, 2], Some("val-2")),
        ],
    );
}

#[test]
fn the_summary_of_vatex_and_lsmdc_is_that_of_their_lists() {
    summary(
        Benchmark::Vatex,
        &[
            ("train", [25_991, 0, 0, 0, 0, 0], None),
            ("val", [1500, 0, 0, 0, 0, 0], Some("HGR val")),
            ("test", [1500, 0, 0, 0, 0, 0], Some("HGR test")),
            ("test-1k5", [1500, 0, 0, 0, 0, 0], Some("CLIP2Video's random 1k5")),
        ],
    );
    summary(Benchmark::Lsmdc, &[("test", [1000, 0, 0, 0, 0, 0], Some("public test"))]);
}

#[test]
fn the_doctor_sorts_what_is_there_from_what_is_not() {
    let shelf = Shelf::new(&[
        ("lists/train_list.txt", "fine\nempty\ngone\nout\n../up\ntwice\nbroken\n"),
        ("lists/captions_msvd.json", r#"{"fine": ["a", "a", " "], "gone": ["A"], "empty": ["b"]}"#),
        ("videos/fine.mp4", "x"),
        ("videos/empty.mp4", ""),
        ("videos/out.avi", "x"),
        ("videos/twice.avi", "x"),
        ("videos/deep/twice.mp4", "x"),
        ("videos/broken.mp4", "x"),
        ("videos/stray.webm", "x"),
        ("videos/gone.txt", "no video"),
        ("quarantine.txt", "\u{feff}out # shows nothing\n\n# a remark\n"),
    ]);
    let annotations = Benchmark::Msvd.read(&shelf.path("lists")).unwrap();
    let clips = Clips::find(&shelf.path("videos")).unwrap();
    let mut decoded = Decoded::default();
    decoded.corrupt.insert(shelf.path("videos/broken.mp4"), "no picture".into());
    let quarantine = quarantine(&shelf.path("quarantine.txt")).unwrap();
    assert_eq!(quarantine, BTreeSet::from(["out".to_string()]));
    let found = diagnose(&annotations, &clips, &decoded, &quarantine).remove(0);
    assert_eq!(found.present, ["fine", "twice"]);
    assert_eq!(found.missing, ["gone"]);
    assert_eq!(found.zero_length, ["empty"]);
    assert_eq!(found.quarantined, ["out"]);
    assert_eq!(found.unsafe_ids, ["../up"]);
    assert_eq!(found.ambiguous, ["twice"]);
    assert_eq!(found.corrupt["broken"], "no picture");
    assert_eq!((found.blank, found.repeated_within, found.repeated_across), (1, 1, 3));
    assert_eq!(found.silent, 4);
    assert_eq!(found.present_gallery, Match::Unknown);
    let strays: Vec<&Path> = clips.strays(&annotations);
    assert_eq!(strays, [shelf.path("videos/stray.webm")]);
    let file = GalleryFile::of(Benchmark::Msvd, std::slice::from_ref(&found));
    std::fs::write(shelf.path("gallery.json"), serde_json::to_vec(&file).unwrap()).unwrap();
    let file = GalleryFile::read(&shelf.path("gallery.json")).unwrap();
    assert_eq!(file.schema, "tvr-gallery/1");
    let gallery = file.find(&["twice".into(), "fine".into()]).unwrap();
    assert_eq!((gallery.listing.as_str(), gallery.listed), ("train", 7));
    assert_eq!(gallery.sha256, ids_hash(&found.present));
    assert_eq!(gallery.quarantined, ["out"]);
    assert_eq!(file.find(&["fine".into()]), None);
    let error = GalleryFile::read(&shelf.path("quarantine.txt")).unwrap_err().to_string();
    assert!(error.contains("quarantine.txt: is no tvr-gallery/1: "), "{error}");
}

#[test]
fn clips_are_found_under_every_name_that_they_circulate_with() {
    let present = |benchmark: Benchmark, shelf: &Shelf, listing: &str| {
        let annotations = benchmark.read(&shelf.path("lists")).unwrap();
        let clips = Clips::find(&shelf.path("videos")).unwrap();
        assert!(clips.strays(&annotations).is_empty(), "{benchmark}");
        let found = diagnose(&annotations, &clips, &Decoded::default(), &BTreeSet::new());
        let found = found.into_iter().find(|found| found.listing == listing).unwrap();
        assert!(found.missing.is_empty(), "{benchmark}: {:?}", found.missing);
        found.present
    };
    // YouTube's names have the letters in front in the annotations, and often not on disk.
    let video = r#"{"duration": 9.5, "timestamps": [[0, 1.5]], "sentences": ["a."]}"#;
    let json = format!(r#"{{"v_-one": {video}, "v_two": {video}}}"#);
    let shelf =
        Shelf::new(&[("lists/val_1.json", &json), ("videos/-one.mp4", "x"), ("videos/v_two.mkv", "x")]);
    assert_eq!(present(Benchmark::Activitynet, &shelf, "val-1"), ["v_-one", "v_two"]);
    // Of DiDeMo's names one ends in a dot.
    let endings = ["MOV", "", "3g2", "3gpp", "mts", "m2ts", "qt", "divx", "asf", "null"];
    let names: Vec<String> =
        endings.iter().enumerate().map(|(number, ending)| format!("1@N00_{number}.{ending}")).collect();
    let shelf = Shelf::new(&[("lists/test_list.txt", &names.join("\n")), ("videos/none.txt", "no video")]);
    for name in &names {
        std::fs::write(shelf.path("videos").join(name), "x").unwrap();
    }
    assert_eq!(present(Benchmark::Didemo, &shelf, "test").len(), names.len());
}

#[test]
fn every_official_name_of_didemo_is_a_video_file_s() {
    let lists = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data/annotations/didemo");
    let Some(annotations) = real(Benchmark::Didemo) else { return };
    let shelf = Shelf::new(&[("videos/none.txt", "no video")]);
    for list in ["val_list.txt", "test_list.txt"] {
        for name in std::fs::read_to_string(lists.join(list)).unwrap().lines() {
            std::fs::write(shelf.path("videos").join(name), "x").unwrap();
        }
    }
    let clips = Clips::find(&shelf.path("videos")).unwrap();
    let found = diagnose(&annotations, &clips, &Decoded::default(), &BTreeSet::new());
    for (listing, videos) in [("val", 1065), ("test", 1004)] {
        let found = found.iter().find(|found| found.listing == listing).unwrap();
        assert_eq!((found.present.len(), &found.missing), (videos, &Vec::new()));
    }
}

#[test]
fn a_copy_is_told_where_both_clips_are_there_and_not_left_out() {
    let shelf = Shelf::new(&[
        ("lists/MSRVTT_data.json", PACKAGE), // video1 and video2 share a stretch of a film
        ("lists/MSRVTT_train.9k.csv", "video_id\nvideo1\n"),
        ("lists/MSRVTT_JSFUSION_test.csv", "video_id,sentence\nvideo2,a\nvideo3,b\n"),
        ("videos/video1.mp4", "x"),
        ("videos/video2.mp4", "x"),
        ("videos/video3.mp4", "x"),
    ]);
    let annotations = Benchmark::Msrvtt.read(&shelf.path("lists")).unwrap();
    let copies = |corrupt: Option<&str>, left_out: &[&str]| {
        let clips = Clips::find(&shelf.path("videos")).unwrap();
        let mut decoded = Decoded::default();
        decoded.corrupt.extend(corrupt.map(|name| (shelf.path(name), "no picture".into())));
        let left_out = left_out.iter().map(|id| (*id).to_owned()).collect();
        let found = diagnose(&annotations, &clips, &decoded, &left_out);
        found.into_iter().find(|found| found.listing == "test-1k-a").unwrap().copies
    };
    assert_eq!(copies(None, &[]), [["video2".to_owned(), "video1".to_owned()]]);
    assert_eq!(copies(None, &["video3"]).len(), 1);
    // Leaving one of both out is the mend.
    for gone in ["video1", "video2"] {
        assert!(copies(None, &[gone]).is_empty(), "{gone} is left out");
        assert!(copies(Some(&format!("videos/{gone}.mp4")), &[]).is_empty(), "{gone} gives no picture");
    }
    std::fs::write(shelf.path("videos/video1.mp4"), "").unwrap();
    assert!(copies(None, &[]).is_empty(), "an empty file shows nothing");
}

#[cfg(unix)]
#[test]
fn a_circle_of_links_is_told_and_not_followed() {
    let shelf = Shelf::new(&[("videos/a.mp4", "x")]);
    std::os::unix::fs::symlink(shelf.path("videos"), shelf.path("videos/again")).unwrap();
    let clips = Clips::find(&shelf.path("videos")).unwrap();
    assert_eq!(clips.files["a"].len(), 1);
    assert_eq!(clips.unreadable.len(), 1);
}

#[test]
fn mtebs_879_clips_are_never_called_1k_a() {
    let ids: Vec<String> = (0..879).map(|index| format!("video{index}")).collect();
    let name = recognise(Benchmark::Msrvtt, &ids).to_string();
    assert_eq!(
        name,
        "as many videos as MTEB's MSR-VTT task, which is not 1k-A (879), whose list is not public"
    );
    let thousand: Vec<String> = (0..1000).map(|index| format!("video{index}")).collect();
    assert_eq!(
        recognise(Benchmark::Msrvtt, &thousand),
        Match::Unknown,
        "a thousand clips are no 1k-A by number"
    );
}
