//! What each reader makes of a small file of its shape, of captions without end, and of a file that was cut off.

use super::*;

fn texts<'a>(annotations: &'a Annotations, listing: &str) -> Vec<(&'a str, &'a str)> {
    let listing = annotations.listing(listing).unwrap();
    listing.captions.iter().map(|caption| (&*listing.videos[caption.video], &*caption.text)).collect()
}

#[test]
fn activitynet_joins_sentences_in_the_order_of_the_file_and_counts_odd_times() {
    let shelf = Shelf::new(&[
        (
            "train.json",
            r#"{"v_b": {"duration": 68.28999999999999, "timestamps": [[0, 30], [20, 68.29], [5, 4]],
                        "sentences": ["He starts.", "  He goes on. ", " He ends."]},
                "v_a": {"duration": 10.0, "timestamps": [[0, 12.5]], "sentences": ["It is late."]}}"#,
        ),
        ("train_ids.json", r#"["v_b", "v_a", "v_none"]"#),
        (
            "val_1.json",
            r#"{"v_c": {"duration": 5, "timestamps": [[0, 5], [1, 2]], "sentences": ["One.", " "]}}"#,
        ),
    ]);
    let annotations = shelf.read(Benchmark::Activitynet).unwrap();
    counts(&annotations, &[("train", 2, 2), ("val-1", 1, 1)]);
    assert_eq!(
        texts(&annotations, "train"),
        [("v_b", "He starts. He goes on. He ends."), ("v_a", "It is late.")],
        "not in the order of letters"
    );
    assert_eq!(texts(&annotations, "val-1"), [("v_c", "One.")]);
    let of = |what| odd(&annotations, Some("train"), what);
    assert_eq!(of("after the video"), 1, "68.29 of 68.28999999999999 is no lateness");
    assert_eq!((of("before they start"), of("joined into paragraphs"), of("without a sentence")), (1, 4, 1));
    let absent: Vec<_> = annotations.absent.iter().map(|absent| (absent.file, absent.needed_for)).collect();
    assert_eq!(absent, [("val_2.json", "val-2")]);
}

#[test]
fn vatex_reads_english_captions_of_either_form() {
    let lists =
        [("train_list.txt", "x_1\nx_2\n"), ("val_list.txt", "x_3\n"), ("test1k5_sec_list.txt", "x_3\n")];
    let map = r#"{"x_1": {"enCap": ["one", "two"], "chCap": ["一"]}, "x_2": {"chCap": ["二"]},
                  "x_3": {"enCap": ["three"]}, "x_9": {"enCap": ["of no list", "again"]}}"#;
    let shelf = Shelf::new(&[&lists[..], &[("vatex_data.json", map)]].concat());
    let annotations = shelf.read(Benchmark::Vatex).unwrap();
    counts(&annotations, &[("train", 2, 2), ("val", 1, 1), ("test-1k5", 1, 1)]);
    assert_eq!(texts(&annotations, "train"), [("x_1", "one"), ("x_1", "two")]);
    assert_eq!(odd(&annotations, None, "no listing names"), 2);
    assert_eq!(odd(&annotations, Some("test-1k5"), "has in val"), 1);
    // The official lists, one for each part.
    let training = r#"[{"videoID": "x_1", "enCap": ["one", "two"], "chCap": ["一"]}, {"videoID": "x_2"},
                       {"videoID": "x_9", "enCap": ["of no list", "again"]}]"#;
    let official = [
        ("vatex_training_v1.0.json", training),
        ("vatex_validation_v1.0.json", r#"[{"videoID": "x_3", "enCap": ["three"]}]"#),
    ];
    let from_official = Shelf::new(&[&lists[..], &official[..]].concat()).read(Benchmark::Vatex).unwrap();
    assert_eq!(from_official, annotations, "the same captions in another form");
}

#[test]
fn lsmdc_reads_tabs_and_gathers_rows_of_one_clip() {
    let shelf = Shelf::new(&[
        (
            "LSMDC16_annos_training.csv",
            "film_00.01\t1\t2\t3\t4\tSOMEONE \"waves\", twice.\nfilm_00.02\t1\t2\t3\t4\tHe nods. \n\
             film_00.01\t5\t6\t7\t8\tShe sits.\n",
        ),
        (
            "LSMDC16_challenge_1000_publictect.csv",
            "film_01\t1\t2\t3\t4\tHe nods.\nfilm_02\t1\t2\t3\t4\the nods.\n",
        ),
        ("LSMDC16_challenge_1000_ids.txt", "not\nread\n"),
    ]);
    let annotations = shelf.read(Benchmark::Lsmdc).unwrap();
    counts(&annotations, &[("train", 2, 3), ("test", 2, 2)]);
    assert_eq!(
        texts(&annotations, "train"),
        [
            ("film_00.01", "SOMEONE \"waves\", twice."),
            ("film_00.02", "He nods."),
            ("film_00.01", "She sits."),
        ]
    );
    assert_eq!(odd(&annotations, Some("test"), "another query repeats"), 1);
    // Ids alone, where the sentences are not there.
    let shelf = Shelf::new(&[("LSMDC16_challenge_1000_ids.txt", "film_01\n\nfilm_02\n")]);
    counts(&shelf.read(Benchmark::Lsmdc).unwrap(), &[("test", 2, 0)]);
}

#[test]
fn didemo_makes_one_paragraph_of_a_clip_under_all_its_names() {
    let shelf = Shelf::new(&[
        (
            "test_data.json",
            r#"[{"video": "b@N0_1.mov", "description": "a dog runs "}, {"video": "a.avi", "description": "it rains"},
                {"video": "b@N0_1.MOV", "description": " then it sits"}, {"video": "b@N0_1.mov", "description": ""}]"#,
        ),
        ("test_list.txt", "a.avi\nb@N0_1.mov\nnone.mp4\n"),
        (
            "train_paragraphs.jsonl",
            "{\"video\": \"t.mp4\", \"paragraph\": \" first. second. \"}\n\n{\"video\": \"s.mp4\", \"paragraph\": \"third\"}\n",
        ),
    ]);
    let annotations = shelf.read(Benchmark::Didemo).unwrap();
    counts(&annotations, &[("train", 2, 2), ("test", 3, 2)]);
    assert_eq!(texts(&annotations, "test"), [("a", "it rains"), ("b@N0_1", "a dog runs then it sits")]);
    assert_eq!(texts(&annotations, "train"), [("t", "first. second."), ("s", "third")]);
    assert_eq!(odd(&annotations, Some("test"), "extension alone"), 1);
    assert_eq!(odd(&annotations, Some("test"), "without a paragraph"), 1);
}

#[test]
fn didemo_paragraphs_under_two_names_are_one_clip_and_those_that_the_list_lacks_are_counted() {
    let lines = "{\"video\": \"t.mov\", \"paragraph\": \"first.\"}\n{\"video\": \"s.mp4\", \"paragraph\": \"third\"}\n\
                 {\"video\": \"t.mp4\", \"paragraph\": \" second. \"}\n";
    let shelf = Shelf::new(&[("train_paragraphs.jsonl", lines)]);
    let annotations = shelf.read(Benchmark::Didemo).unwrap();
    assert_eq!(texts(&annotations, "train"), [("t", "first. second."), ("s", "third")]);
    let moments =
        r#"[{"video": "a.mp4", "description": "it rains"}, {"video": "b.mp4", "description": "it snows"}]"#;
    let shelf = Shelf::new(&[("test_data.json", moments), ("test_list.txt", "a.mp4\n")]);
    let annotations = shelf.read(Benchmark::Didemo).unwrap();
    assert_eq!(texts(&annotations, "test"), [("a", "it rains")]);
    assert_eq!(odd(&annotations, Some("test"), "that the list does not name"), 1);
}

#[test]
fn a_mark_in_front_belongs_to_no_id_and_breaks_no_json() {
    let marked = |text: &str| format!("\u{feff}{}", text.replace('\n', "\r\n"));
    let same = |benchmark: Benchmark, files: &[(&str, &str)]| {
        let plain = Shelf::new(files).read(benchmark).unwrap();
        let texts: Vec<String> = files.iter().map(|(_, text)| marked(text)).collect();
        let marked: Vec<(&str, &str)> =
            files.iter().zip(&texts).map(|((name, _), text)| (*name, text.as_str())).collect();
        assert_eq!(Shelf::new(&marked).read(benchmark).unwrap(), plain, "{benchmark}");
    };
    same(
        Benchmark::Msrvtt,
        &[
            ("MSRVTT_data.json", PACKAGE),
            ("MSRVTT_train.9k.csv", "video_id\nvideo1\n"),
            ("MSRVTT_JSFUSION_test.csv", "video_id,sentence\nvideo2,\"a, b\"\n"),
            ("train_list_miech.txt", "video2\nvideo3\n"),
            ("mdmmt_duplicates.lst", "video1.mp4\t0\t9\tvideo2.mp4\t0\t9\n"),
        ],
    );
    let captions = r#"{"a b": ["one"], "c": ["two", "three"]}"#;
    same(Benchmark::Msvd, &[("train_list.txt", "a b\nc\n"), ("captions_msvd.json", captions)]);
    same(Benchmark::Lsmdc, &[("LSMDC16_annos_val.csv", "film_1\t1\t2\t3\t4\tHe nods.\n")]);
    let line = "{\"video\": \"t.mov\", \"paragraph\": \"first.\"}\n";
    same(Benchmark::Didemo, &[("train_list.txt", "t.mov\n"), ("train_paragraphs.jsonl", line)]);
    let video = r#"{"v_1": {"duration": 9.5, "timestamps": [[0, 1.5]], "sentences": [" a."]}}"#;
    same(Benchmark::Activitynet, &[("val_1.json", video), ("val_ids.json", r#"["v_1"]"#)]);
    let map = r#"{"x_1": {"enCap": ["one"]}}"#;
    same(Benchmark::Vatex, &[("train_list.txt", "x_1\nx_2\n"), ("vatex_data.json", map)]);
}

#[test]
fn one_package_of_msrvtt_under_two_names_is_refused() {
    let shelf = Shelf::new(&[
        ("train_list_full.txt", "video1\n"),
        ("train_val_videodatainfo.json", PACKAGE),
        ("test_videodatainfo.json", PACKAGE),
    ]);
    let error = shelf.read(Benchmark::Msrvtt).unwrap_err();
    let expected = "FOLDER/test_videodatainfo.json: \"video1\" has captions in train_val_videodatainfo.json too; \
                    is it one file under two names?";
    assert_eq!(error, expected);
}

#[test]
fn a_list_of_ids_is_one_whatever_the_name_of_its_folder() {
    let shelf = Shelf::new(&[
        ("lists.csv/MSRVTT_data.json", PACKAGE),
        ("lists.csv/train_list_jsfusion.txt", "video1\n"),
    ]);
    let annotations = Benchmark::Msrvtt.read(&shelf.path("lists.csv")).unwrap();
    assert_eq!(annotations.listing("train-9k").unwrap().videos, ["video1"]);
}

#[test]
fn a_list_in_the_place_of_another_is_named() {
    // One split under two names.
    let shelf = Shelf::new(&[
        ("train_list.txt", "a\nb\nc\n"),
        ("val_list.txt", "d\n"),
        ("test_list.txt", "b\nc\nd\n"),
        ("captions_msvd.json", r#"{"a": ["x"]}"#),
    ]);
    let annotations = shelf.read(Benchmark::Msvd).unwrap();
    assert_eq!(odd(&annotations, Some("test"), "videos that train lists too"), 2);
    assert_eq!(odd(&annotations, Some("test"), "videos that val lists too"), 1);
    assert!(annotations.oddities.iter().all(|odd| odd.listing != Some("val")));
    // Another benchmark's lists, which have the same names.
    let lists = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data/annotations");
    for (benchmark, of, what) in [
        (Benchmark::Msvd, "didemo", "didemo's test by clips"),
        (Benchmark::Msvd, "vatex", "vatex's HGR test"),
        (Benchmark::Vatex, "msvd", "msvd's test"),
        (Benchmark::Didemo, "msvd", "msvd's test"),
    ] {
        let list = lists.join(of).join("test_list.txt");
        let Ok(list) = std::fs::read_to_string(&list) else {
            println!("skipped: {} is not there", list.display());
            continue;
        };
        let annotations = Shelf::new(&[("test_list.txt", &list)]).read(benchmark).unwrap();
        let count = odd(&annotations, Some("test"), &format!("another benchmark: this is {what}"));
        assert_eq!(count, list.lines().count());
    }
}

#[test]
fn no_real_list_is_taken_for_another() {
    for annotations in Benchmark::ALL.into_iter().filter_map(real) {
        let mistaken = |what: &str| what.ends_with(" lists too") || what.contains("of another benchmark");
        let found: Vec<_> = annotations.oddities.iter().filter(|odd| mistaken(&odd.what)).collect();
        assert!(found.is_empty(), "{found:?}");
    }
}

/// Every JSON file that a reader takes, cut in the middle: its benchmark, its name, and what it holds when it is whole.
const JSON: [(Benchmark, &str, &str); 9] = [
    (Benchmark::Msrvtt, "MSRVTT_data.json", PACKAGE),
    (Benchmark::Msrvtt, "train_val_videodatainfo.json", PACKAGE),
    (Benchmark::Msrvtt, "test_videodatainfo.json", PACKAGE),
    (Benchmark::Msvd, "captions_msvd.json", r#"{"vid": ["a cat", "a dog"]}"#),
    (Benchmark::Didemo, "test_data.json", r#"[{"video": "v.mov", "description": "a"}]"#),
    (
        Benchmark::Activitynet,
        "val_1.json",
        r#"{"v_1": {"duration": 9.5, "timestamps": [[0, 1.5]], "sentences": [" a."]}}"#,
    ),
    (Benchmark::Activitynet, "val_ids.json", r#"["v_1", "v_2", "v_3"]"#),
    (Benchmark::Vatex, "vatex_data.json", r#"{"vid": {"enCap": ["a", "b"], "chCap": []}}"#),
    (Benchmark::Vatex, "vatex_training_v1.0.json", r#"[{"videoID": "vid", "enCap": ["a"]}]"#),
];

#[test]
fn annotation_json_that_was_cut_in_the_middle_is_named_by_every_reader() {
    let sound = |name: &str| JSON.iter().find(|(_, known, _)| *known == name).unwrap().2;
    for (benchmark, name, whole) in JSON {
        // The ids of ActivityNet are read beside a sound list of captions.
        let beside = if name == "val_ids.json" {
            ("val_1.json", sound("val_1.json"))
        } else {
            ("train_list.txt", "vid\n")
        };
        Shelf::new(&[beside, (name, whole)]).look(benchmark).unwrap();
        let error = Shelf::new(&[beside, (name, &whole[..whole.len() / 2])]).look(benchmark).unwrap_err();
        let start = format!("FOLDER/{name}: is not the JSON that was expected: EOF while parsing ");
        assert!(error.starts_with(&start) && error.ends_with("; the file may be cut off"), "{error}");
        assert!(error.contains(" at line ") && !error.contains('\n'), "{error}");
    }
    let lines = "{\"video\": \"t.mp4\", \"paragraph\": \"a\"}\n{\"video\": \"s.mp4\", \"parag";
    let error = Shelf::new(&[("train_paragraphs.jsonl", lines)]).read(Benchmark::Didemo).unwrap_err();
    let expected = "FOLDER/train_paragraphs.jsonl: \"line 2\" is no such JSON: EOF while parsing a string at line 1 column 25";
    assert_eq!(error, format!("{expected}; the file may be cut off"));
}

#[test]
fn captions_of_no_word_and_of_ten_thousand_pass_every_reader() {
    let long = "word ".repeat(10_000);
    let words = |text: &str| text.split_whitespace().count();
    let lengths = |shelf: &Shelf, benchmark| -> Vec<usize> {
        let annotations = shelf.read(benchmark).unwrap();
        annotations.listings[0].captions.iter().map(|caption| words(&caption.text)).collect()
    };
    let sentence = |number: usize, text: &str| {
        format!(r#"{{"caption": "{text}", "video_id": "vid", "sen_id": {number}}}"#)
    };
    let package = format!(r#"{{"videos": [], "sentences": [{}, {}]}}"#, sentence(0, ""), sentence(1, &long));
    let shelf = Shelf::new(&[("train_list_full.txt", "vid\n"), ("MSRVTT_data.json", &package)]);
    assert_eq!(lengths(&shelf, Benchmark::Msrvtt), [0, 10_000]);
    let table = format!("key,vid_key,video_id,sentence\na,b,vid,\na,b,other,{long}\n");
    let shelf = Shelf::new(&[("MSRVTT_JSFUSION_test.csv", &table)]);
    assert_eq!(lengths(&shelf, Benchmark::Msrvtt), [0, 10_000]);

    let json = format!(r#"{{"vid": ["", "{long}"]}}"#);
    let shelf = Shelf::new(&[("train_list.txt", "vid\n"), ("captions_msvd.json", &json)]);
    assert_eq!(lengths(&shelf, Benchmark::Msvd), [0, 10_000]);
    let pickled = format!("(dS'vid'\n(l(la(l{}as.", "S'word'\na".repeat(10_000));
    let shelf = Shelf::new(&[("train_list.txt", "vid\n"), ("raw-captions.pkl", &pickled)]);
    assert_eq!(lengths(&shelf, Benchmark::Msvd), [0, 10_000]);

    let line = format!("clip\t1\t2\t3\t4\t\nclip\t1\t2\t3\t4\t{long}\n");
    assert_eq!(lengths(&Shelf::new(&[("LSMDC16_annos_val.csv", &line)]), Benchmark::Lsmdc), [0, 10_000]);

    let moments = format!(
        r#"[{{"video": "u.mp4", "description": " "}}, {{"video": "v.mp4", "description": " "}},
            {{"video": "v.mov", "description": "{long}"}}]"#
    );
    assert_eq!(lengths(&Shelf::new(&[("val_data.json", &moments)]), Benchmark::Didemo), [0, 10_000]);
    let lines = format!(
        r#"{{"video": "u.mp4", "paragraph": ""}}{}{{"video": "v.mp4", "paragraph": "{long}"}}"#,
        '\n'
    );
    assert_eq!(lengths(&Shelf::new(&[("train_paragraphs.jsonl", &lines)]), Benchmark::Didemo), [0, 10_000]);

    let video =
        |text: &str| format!(r#"{{"duration": 1, "timestamps": [[0, 1]], "sentences": ["{text}", " "]}}"#);
    let json = format!(r#"{{"v_1": {}, "v_2": {}}}"#, video(""), video(&long));
    assert_eq!(lengths(&Shelf::new(&[("val_1.json", &json)]), Benchmark::Activitynet), [0, 10_000]);

    let list = ("train_list.txt", "vid\n");
    let map = format!(r#"{{"vid": {{"enCap": ["", "{long}"]}}}}"#);
    assert_eq!(lengths(&Shelf::new(&[list, ("vatex_data.json", &map)]), Benchmark::Vatex), [0, 10_000]);
    let rows = format!(r#"[{{"videoID": "vid", "enCap": ["", "{long}"]}}]"#);
    assert_eq!(
        lengths(&Shelf::new(&[list, ("vatex_training_v1.0.json", &rows)]), Benchmark::Vatex),
        [0, 10_000]
    );
}
