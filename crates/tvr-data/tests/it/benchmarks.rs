//! The six benchmarks: their real files where they are there, and small ones of the same shape written by hand.

mod readers;

use std::path::{Path, PathBuf};

use proptest::prelude::*;
use tvr_data::benchmarks::protocols::Protocol;
use tvr_data::benchmarks::{Annotations, Benchmark};
use tvr_data::galleries::{GALLERIES, Match, ids_hash, recognise};
use tvr_data::{Entry, Manifest};

/// The folder of real annotation files; prints why a test skips where it is not there.
pub fn real(benchmark: Benchmark) -> Option<Annotations> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data/annotations");
    let folder = folder.join(benchmark.name());
    if !folder.is_dir() {
        println!("skipped: {} is not there", folder.display());
        return None;
    }
    Some(benchmark.read(&folder).unwrap())
}

#[track_caller]
fn counts(annotations: &Annotations, expected: &[(&str, usize, usize)]) {
    let found: Vec<(&str, usize, usize)> = annotations
        .listings
        .iter()
        .map(|listing| (listing.name, listing.videos.len(), listing.captions.len()))
        .collect();
    for row in expected {
        assert!(found.contains(row), "{row:?} is not among {found:?}");
    }
    assert_eq!(found.len(), expected.len(), "{found:?}");
}

#[track_caller]
fn odd(annotations: &Annotations, listing: Option<&str>, part: &str) -> usize {
    let found = annotations.oddities.iter().find(|odd| odd.listing == listing && odd.what.contains(part));
    found.unwrap_or_else(|| panic!("no oddity {part:?} in {:?}", annotations.oddities)).count
}

#[test]
fn msrvtt_has_its_published_counts() {
    let Some(annotations) = real(Benchmark::Msrvtt) else { return };
    counts(
        &annotations,
        &[
            ("train-9k", 9000, 180_000),
            ("train-7k", 7010, 140_200),
            ("test-1k-a", 1000, 1000),
            ("train-full", 6513, 130_260),
            ("val-full", 497, 9940),
            ("test-full", 2990, 59_800),
            ("train-1k-b", 6656, 133_120),
            ("test-1k-b", 1000, 20_000),
        ],
    );
    assert_eq!(annotations.listing("test-1k-a").unwrap().distinct_captions(), 995);
    assert_eq!(odd(&annotations, Some("test-1k-a"), "1k-B's training list"), 453);
    assert_eq!(odd(&annotations, Some("test-1k-b"), "1k-A tests too"), 296);
    assert_eq!(odd(&annotations, Some("test-full"), "1k-B's training list"), 1367);
    assert_eq!(annotations.listing("test-1k-a").unwrap().videos[0], "video9770");
    assert_eq!(odd(&annotations, Some("test-1k-a"), "another query repeats"), 5);
    // Counted by a script of Python's csv and json: the list of MDMMT alone names 40 of the 88.
    assert_eq!(odd(&annotations, Some("test-1k-a"), "list of MDMMT"), 88);
    assert_eq!(odd(&annotations, Some("test-1k-a"), "cut from a film"), 372);
    assert!(annotations.copies.contains(&["video7202".to_string(), "video9769".to_string()]));
}

#[test]
fn msvd_has_its_published_counts() {
    let Some(annotations) = real(Benchmark::Msvd) else { return };
    counts(&annotations, &[("train", 1200, 48_774), ("val", 100, 4290), ("test", 670, 27_763)]);
    assert_eq!(odd(&annotations, None, "repeat another of the same video"), 10_845);
}

#[test]
fn msvd_from_the_pickle_is_msvd_from_json() {
    let Some(json) = real(Benchmark::Msvd) else { return };
    let folder = tempfile::tempdir().unwrap();
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data/annotations/msvd");
    for name in [
        "train_list.txt",
        "val_list.txt",
        "test_list.txt",
        "youtube_mapping.txt",
        "raw-captions_mapped.pkl.gz",
    ] {
        std::fs::copy(source.join(name), folder.path().join(name)).unwrap();
    }
    let pickle = Benchmark::Msvd.read(folder.path()).unwrap();
    assert_eq!(pickle.listings, json.listings);
}

#[test]
fn lsmdc_has_its_thousand_ids() {
    let Some(annotations) = real(Benchmark::Lsmdc) else { return };
    counts(&annotations, &[("test", 1000, 0)]);
    let absent: Vec<&str> = annotations.absent.iter().map(|absent| absent.needed_for).collect();
    assert_eq!(absent, ["train", "val", "test"], "no sentence file lies there");
}

#[test]
fn didemo_counts_clips_and_not_names() {
    let Some(annotations) = real(Benchmark::Didemo) else { return };
    let videos = |name: &str| annotations.listing(name).unwrap().videos.len();
    assert_eq!((videos("train"), videos("val"), videos("test")), (8392, 1065, 1004));
    assert_eq!(annotations.listing("test").unwrap().captions.len(), 1004, "one paragraph a clip");
    assert_eq!(odd(&annotations, Some("test"), "extension alone"), 33);
    assert_eq!(odd(&annotations, Some("val"), "extension alone"), 29);
    assert_eq!(odd(&annotations, Some("train"), "without a paragraph"), 30);
    let test = annotations.listing("test").unwrap();
    let Match::Same(gallery) = recognise(Benchmark::Didemo, &test.videos) else { panic!("unknown gallery") };
    assert_eq!((gallery.name, gallery.videos), ("test by clips", 1004));
}

#[test]
fn activitynet_has_its_published_counts() {
    let Some(annotations) = real(Benchmark::Activitynet) else { return };
    counts(&annotations, &[("train", 10_009, 10_009), ("val-1", 4917, 4917), ("val-2", 4885, 4885)]);
    let sentences = |name| odd(&annotations, Some(name), "joined into paragraphs");
    assert_eq!((sentences("train"), sentences("val-1"), sentences("val-2")), (37_421, 17_505, 17_031));
    let late: usize =
        ["train", "val-1"].map(|name| odd(&annotations, Some(name), "after the video")).iter().sum();
    assert_eq!(late, 34);
    assert_eq!(odd(&annotations, Some("train"), "without a sentence"), 15);
    assert_eq!(odd(&annotations, Some("val-1"), "without a sentence"), 9);
    let longest = annotations.listing("val-1").unwrap().captions.iter().map(|caption| {
        assert_eq!(caption.text, caption.text.trim());
        caption.text.split_whitespace().count()
    });
    assert_eq!(longest.max(), Some(332));
}

#[test]
fn vatex_has_its_lists() {
    let Some(annotations) = real(Benchmark::Vatex) else { return };
    counts(&annotations, &[("train", 25_991, 0), ("val", 1500, 0), ("test", 1500, 0), ("test-1k5", 1500, 0)]);
    assert_eq!(odd(&annotations, Some("test-1k5"), "has in val"), 776);
}

#[test]
fn every_listed_gallery_is_found_again_in_the_real_files() {
    for benchmark in Benchmark::ALL {
        let Some(annotations) = real(benchmark) else { continue };
        for gallery in
            GALLERIES.iter().filter(|gallery| gallery.benchmark == benchmark && gallery.hash.is_some())
        {
            let names_alone = gallery.videos == 1037; // no reader counts DiDeMo's names
            let found =
                annotations.listings.iter().find(|listing| Some(&*ids_hash(&listing.videos)) == gallery.hash);
            assert_eq!(found.is_none(), names_alone, "{}", gallery.name);
            assert!(found.is_none_or(|listing| listing.videos.len() == gallery.videos));
        }
    }
}

// --- small files of the same shape, written by hand

pub struct Shelf(tempfile::TempDir);

impl Shelf {
    pub fn new(files: &[(&str, &str)]) -> Self {
        let shelf = Self(tempfile::tempdir().unwrap());
        for (name, text) in files {
            let path = shelf.path(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        }
        shelf
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    pub fn read(&self, benchmark: Benchmark) -> Result<Annotations, String> {
        benchmark
            .read(self.0.path())
            .map_err(|error| error.to_string().replace(&format!("{}", self.0.path().display()), "FOLDER"))
    }

    /// As `read`; a folder without a listing is none the worse for it.
    pub fn look(&self, benchmark: Benchmark) -> Result<Annotations, String> {
        benchmark
            .look(self.0.path())
            .map_err(|error| error.to_string().replace(&format!("{}", self.0.path().display()), "FOLDER"))
    }
}

pub const PACKAGE: &str = r#"{"info": {}, "videos": [
  {"video_id": "video1", "url": "film-a", "start time": 0.0, "end time": 9.0, "split": "train", "id": 1},
  {"video_id": "video2", "url": "film-a", "start time": 8.0, "end time": 12.0, "split": "test", "id": 2},
  {"video_id": "video3", "url": "film-a", "start time": 12.0, "end time": 15.0, "split": "test", "id": 3}],
 "sentences": [{"caption": "b", "video_id": "video1", "sen_id": 7}, {"caption": "a", "video_id": "video1", "sen_id": 3},
  {"caption": "c \"quoted\"", "video_id": "video2", "sen_id": 5}]}"#;

#[test]
fn msrvtt_in_one_file_is_sorted_by_number_and_finds_overlapping_stretches() {
    let shelf = Shelf::new(&[
        ("MSRVTT_data.json", PACKAGE),
        ("MSRVTT_train.9k.csv", "video_id\nvideo1\n"),
        (
            "MSRVTT_JSFUSION_test.csv",
            "key,vid_key,video_id,sentence\nret0,msr2,video2,\"a, b\"\nret1,msr3,video3,\"a, b\"\n",
        ),
    ]);
    let annotations = shelf.read(Benchmark::Msrvtt).unwrap();
    let train = annotations.listing("train-9k").unwrap();
    assert_eq!(train.captions.iter().map(|caption| caption.text.as_str()).collect::<Vec<_>>(), ["a", "b"]);
    assert_eq!(annotations.listing("test-1k-a").unwrap().captions[0].text, "a, b");
    assert_eq!(annotations.copies, [["video1".to_string(), "video2".to_string()]]);
    assert_eq!(odd(&annotations, Some("test-1k-a"), "repeats"), 1);
    assert_eq!(odd(&annotations, Some("test-1k-a"), "overlap"), 1);
    assert_eq!(odd(&annotations, Some("test-1k-a"), "cut from a film"), 2);
}

#[test]
fn broken_annotation_files_are_named_with_the_place() {
    let cut = &PACKAGE[..PACKAGE.len() / 2];
    let error = Shelf::new(&[("MSRVTT_data.json", cut)]).read(Benchmark::Msrvtt).unwrap_err();
    assert!(error.starts_with("FOLDER/MSRVTT_data.json: is not the JSON that was expected: "), "{error}");
    assert!(error.ends_with("; the file may be cut off"), "{error}");

    let error = Shelf::new(&[("MSRVTT_train.9k.csv", "id\nvideo1\n")]).read(Benchmark::Msrvtt).unwrap_err();
    assert_eq!(error, "FOLDER/MSRVTT_train.9k.csv: has no column \"video_id\", only [\"id\"]");

    let twice = Shelf::new(&[("train_list.txt", "a\nb\na\n")]).read(Benchmark::Msvd).unwrap_err();
    assert_eq!(twice, "FOLDER/train_list.txt: \"a\" is listed twice; a split names a video once");

    let short = Shelf::new(&[("LSMDC16_annos_val.csv", "clip\t1\t2\t3\t4\tfine\nclip\t1\n")]);
    assert_eq!(
        short.read(Benchmark::Lsmdc).unwrap_err(),
        "FOLDER/LSMDC16_annos_val.csv: \"line 2\" has 2 cells between tabs, but must have 6"
    );

    let empty = Shelf::new(&[]).read(Benchmark::Vatex).unwrap_err();
    assert!(
        empty.starts_with("FOLDER: holds no annotation file of vatex; wanted are vatex_data.json, "),
        "{empty}"
    );
}

#[test]
fn a_pickle_that_would_run_code_is_refused_and_runs_nothing() {
    // What pickle.dumps of an object whose __reduce__ is (os.system, ("touch pwned",)) looks like.
    let code = b"cposix\nsystem\n(S'touch pwned'\ntR.";
    let shelf = Shelf::new(&[("train_list.txt", "a\n")]);
    std::fs::write(shelf.path("raw-captions.pkl"), code).unwrap();
    let error = shelf.read(Benchmark::Msvd).unwrap_err();
    let expected =
        "FOLDER/raw-captions.pkl: is no pickle of plain containers and texts (nothing in it is run): ";
    assert!(error.starts_with(expected), "{error}");
    assert!(!Path::new("pwned").exists() && !shelf.path("pwned").exists());
}

#[test]
fn a_pickle_that_nests_without_end_is_refused_and_overflows_no_stack() {
    const LEVELS: usize = 300_000;
    let chain: Vec<u8> = (0..=250u8).flat_map(|note| [b']', b'q', note]).collect();
    let links: Vec<u8> = (0..250u8).flat_map(|note| [b'h', note, b'h', note + 1, b'a', b'0']).collect();
    for (what, bytes) in [
        ("tuples around one another", [&b"]"[..], &[0x85; LEVELS], b"."].concat()),
        ("lists in lists", [&[b']'; LEVELS][..], &[b'a'; LEVELS - 1], b"."].concat()),
        ("marks in marks", [&[b'('; LEVELS][..], &[b'l'; LEVELS], b"."].concat()),
        ("the same, cut off", [&[b'('; LEVELS][..], &[b't'; LEVELS]].concat()),
        ("lists that are linked afterwards", [&chain[..], &links, b"h\x00."].concat()),
    ] {
        let shelf = Shelf::new(&[("train_list.txt", "a\n")]);
        std::fs::write(shelf.path("raw-captions.pkl"), bytes).unwrap();
        let error = shelf.read(Benchmark::Msvd).unwrap_err();
        let expected =
            "FOLDER/raw-captions.pkl: nests containers deeper than captions are, or has one in two places";
        assert_eq!(error, expected, "{what}");
    }
}

/// `{"vid": [["a", "cat"], ["a", "dog"]]}`, protocol 0, by hand.
const PICKLE: &[u8] = b"(dS'vid'\n(l(lS'a'\naS'cat'\naa(lS'a'\naS'dog'\naas.";

#[test]
fn a_pickle_of_words_is_read() {
    let shelf = Shelf::new(&[("train_list.txt", "vid\n")]);
    std::fs::write(shelf.path("raw-captions.pkl"), PICKLE).unwrap();
    let annotations = shelf.read(Benchmark::Msvd).unwrap();
    let texts: Vec<&str> = annotations.listings[0].captions.iter().map(|caption| &*caption.text).collect();
    assert_eq!(texts, ["a cat", "a dog"]);
}

#[test]
fn captions_of_videos_that_no_list_names_are_counted() {
    let shelf =
        Shelf::new(&[("test_list.txt", "a\n"), ("captions_msvd.json", r#"{"a": ["x"], "b": ["y", "z"]}"#)]);
    let annotations = shelf.read(Benchmark::Msvd).unwrap();
    assert_eq!(odd(&annotations, None, "no listing names"), 2);
}

#[test]
fn a_protocol_is_a_table_of_what_is_there() {
    let ids: Vec<String> = (0..40).map(|number| format!("video{number}")).collect();
    let captions: Vec<String> = ids
        .iter()
        .map(|id| format!(r#"{{"caption": "{id} runs", "video_id": "{id}", "sen_id": 0}}"#))
        .collect();
    let package = format!(r#"{{"videos": [], "sentences": [{}]}}"#, captions.join(","));
    let test = "key,vid_key,video_id,sentence\nr,m,video38,it runs\nr,m,video39,it walks\n";
    let shelf = Shelf::new(&[
        ("MSRVTT_data.json", &package),
        ("MSRVTT_train.9k.csv", &format!("video_id\n{}\n", ids[..38].join("\n"))),
        ("MSRVTT_JSFUSION_test.csv", test),
    ]);
    let annotations = shelf.read(Benchmark::Msrvtt).unwrap();
    let protocol = Protocol::of(Benchmark::Msrvtt).next().unwrap();
    let path = PathBuf::from("clip.mp4");
    let entries = protocol.entries(&annotations, |id| (id != "video3").then_some(path.as_path())).unwrap();
    let of = |split: &str| entries.iter().filter(|entry| entry.split.as_deref() == Some(split)).count();
    assert_eq!((of("train"), of("val"), of("test")), (35, 2, 2), "37 of 38 are there, two are held out");
    assert_eq!(entries.last().unwrap().captions, ["it walks"]);
    Manifest::write(&shelf.path("1k-a.jsonl"), &entries).unwrap();
    let known: Vec<Entry> =
        entries.into_iter().map(|entry| Entry { path: shelf.path("clip.mp4"), ..entry }).collect();
    assert_eq!(Manifest::read(&shelf.path("1k-a.jsonl")).unwrap().entries, known);
    let none = protocol.entries(&shelf.read(Benchmark::Msrvtt).unwrap(), |_| None).unwrap();
    assert_eq!(none, []);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn no_reader_panics_on_any_bytes(bytes in prop::collection::vec(any::<u8>(), 0..400), cut in 0usize..600, at in any::<usize>(), with in any::<u8>()) {
        for (name, text) in FORMS {
            // A sound file with one byte changed and the end cut off, and plain noise under its name.
            let mut near = text.to_vec();
            near.truncate(near.len().saturating_sub(cut % near.len()));
            if !near.is_empty() {
                let place = at % near.len();
                near[place] = with;
            }
            for content in [&bytes, &near] {
                let shelf = Shelf::new(&[("train_list.txt", "vid\n"), ("youtube_mapping.txt", "vid vid1\n")]);
                std::fs::write(shelf.path(name), content).unwrap();
                for benchmark in Benchmark::ALL {
                    let _ = shelf.read(benchmark);
                }
            }
        }
    }
}

/// A small sound file of every form that a reader takes.
const FORMS: &[(&str, &[u8])] = &[
    ("MSRVTT_data.json", PACKAGE.as_bytes()),
    ("MSRVTT_JSFUSION_test.csv", b"key,vid_key,video_id,sentence\nr,m,video2,\"a, \"\"b\"\"\"\n"),
    ("MSRVTT_train.9k.csv", b"video_id\nvideo1\nvideo2\n"),
    ("mdmmt_duplicates.lst", b"video1.mp4\t0\t9\tvideo2.mp4\t0\t9\n"),
    ("captions_msvd.json", br#"{"vid": ["a cat", "a dog"]}"#),
    ("raw-captions.pkl", PICKLE),
    ("raw-captions_mapped.pkl", PICKLE),
    ("youtube_mapping.txt", b"vid vid1\n"),
    ("LSMDC16_annos_val.csv", b"clip\t1\t2\t3\t4\tSOMEONE \"runs\"\n"),
    ("LSMDC16_challenge_1000_ids.txt", b"clip_00.00.01.000-00.00.02.000\n"),
    ("test_data.json", br#"[{"video": "v.mov", "description": "a", "times": [[0, 1]], "num_segments": 5}]"#),
    ("train_paragraphs.jsonl", b"{\"video\": \"v.mov\", \"paragraph\": \"a b\"}\n"),
    ("val_1.json", br#"{"v_1": {"duration": 9.5, "timestamps": [[0, 1.5]], "sentences": [" a."]}}"#),
    ("val_ids.json", br#"["v_1", "v_2"]"#),
    ("vatex_data.json", br#"{"vid": {"enCap": ["a", "b"], "chCap": []}}"#),
    ("vatex_training_v1.0.json", br#"[{"videoID": "vid", "enCap": ["a"]}]"#),
    ("train_list.txt", b"vid\nother\n"),
    (
        "train_list.txt.gz",
        &[
            0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 2, 3, 0x2b, 0xcb, 0x4c, 0xe1, 2, 0, 0x4e, 0x97, 0x52, 0xc9, 4, 0,
            0, 0,
        ],
    ),
];
