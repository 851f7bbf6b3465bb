//! The doctor: what is there and what is not, on real annotation files and on small ones written by hand.

use std::collections::BTreeSet;
use std::path::Path;

use tvr_data::benchmarks::Benchmark;
use tvr_data::doctor::{Clips, Decoded, GalleryFile, diagnose, quarantine};
use tvr_data::galleries::{Match, ids_hash, recognise};

use crate::benchmarks::{Shelf, real};

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
        ("quarantine.txt", "out # shows nothing\n\n# a remark\n"),
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
