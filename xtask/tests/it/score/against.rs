//! `score --against`: two systems on the same items; and captions of one video, which are drawn together.

use serde_json::Value;

use crate::{fails, figures, matrix, stdout, succeeds, xtask};

/// A square of scores; `right` of its texts find their own video first, by `lead`.
fn scores(items: usize, right: usize, lead: f32) -> Vec<f32> {
    let score = |text: usize, video: usize| match (text == video, text < right) {
        (true, true) => 10.0 + lead,
        (true, false) => 1.0,
        _ => (text * 7 + video * 3) as f32 % 10.0,
    };
    (0..items * items).map(|cell| score(cell / items, cell % items)).collect()
}

#[test]
fn every_row_is_compared_with_the_same_row_of_the_other_system() {
    let folder = tempfile::tempdir().unwrap();
    let items = 40;
    for (name, right) in [("NEW.npy", 30), ("OLD.npy", 12)] {
        matrix(folder.path(), name, [items as u64; 2], &scores(items, right, 0.5));
    }
    let rows = ["--normalize", "raw", "--normalize", "inverted-softmax:temperature=1"];
    let judged = |more: &[&str]| figures(folder.path(), &[&rows, more].concat());
    let both = judged(&["--similarity", "NEW.npy", "--against", "OLD.npy", "--bootstrap", "300"]);
    let old = judged(&["--similarity", "OLD.npy"]);
    for index in 0..2 {
        let (row, other) = (&both["rows"][index]["text_to_video"], &both["against"][index]["text_to_video"]);
        for metric in ["R@1", "R@5", "MdR", "MnR"] {
            assert_eq!(other[metric], old["rows"][index]["text_to_video"][metric], "{metric}");
        }
        let gain = row["R@1"].as_f64().unwrap() - other["R@1"].as_f64().unwrap();
        let [low, high] = [0, 1].map(|end| row["difference"]["R@1"][end].as_f64().unwrap());
        assert!(low <= gain && gain <= high && low > 0.0, "{gain} in {low} {high}");
        assert_eq!(other["difference"], Value::Null);
    }
    assert_eq!(both["inputs"][1]["role"], "against");
    // A system against itself: every difference is 0, for the first row too.
    let same = judged(&["--similarity", "OLD.npy", "--against", "OLD.npy", "--bootstrap", "100"]);
    assert_eq!(same["rows"][0]["video_to_text"]["difference"]["MnR"], serde_json::json!([0.0, 0.0]));
    let table = stdout(&xtask(
        folder.path(),
        &["score", "--similarity", "NEW.npy", "--against", "OLD.npy", "--bootstrap", "100"],
    ));
    for line in ["  minus OLD.npy", "  OLD.npy"] {
        assert!(table.lines().any(|found| found.starts_with(line)), "{line:?} in {table}");
    }
}

#[test]
fn other_items_and_banks_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    for (name, shape) in [("A.npy", [3, 3]), ("B.npy", [4, 4]), ("T.npy", [2, 3])] {
        matrix(folder.path(), name, shape, &scores(4, 2, 0.5)[..(shape[0] * shape[1]) as usize]);
    }
    let score = |more: &[&str]| xtask(folder.path(), &[&["score", "--similarity", "A.npy"], more].concat());
    fails(
        &score(&["--against", "B.npy"]),
        2,
        "--against B.npy: it is [4, 4], but A.npy is [3, 3]; give scores of the same texts and videos in the same order",
    );
    fails(
        &score(&["--against", "A.npy", "--text-bank", "T.npy"]),
        2,
        "--against A.npy: banks are of one system; judge the two apart, or leave the banks out",
    );
}

/// Ten captions of a video that find it together or miss it together are one query, not ten.
#[test]
fn captions_of_a_video_are_drawn_together() {
    let folder = tempfile::tempdir().unwrap();
    let videos = 30;
    let square = scores(videos, 12, 0.5);
    matrix(folder.path(), "S.npy", [videos as u64; 2], &square);
    let tenfold: Vec<f32> = square.chunks(videos).flat_map(|row| row.repeat(10)).collect();
    matrix(folder.path(), "T.npy", [10 * videos as u64, videos as u64], &tenfold);
    let groups: String = (0..10 * videos).map(|text| format!("{}\n", text / 10)).collect();
    std::fs::write(folder.path().join("groups.txt"), groups).unwrap();
    let interval = |given: &[&str]| {
        let report = figures(folder.path(), &[given, &["--bootstrap", "500"]].concat());
        report["rows"][0]["text_to_video"]["interval"]["R@1"].clone()
    };
    let given = ["--similarity", "T.npy", "--groups", "groups.txt"];
    assert_eq!(interval(&given), interval(&["--similarity", "S.npy"]));
    let said = succeeds(&xtask(folder.path(), &[&["score", "--bootstrap", "100"], &given[..]].concat()));
    assert!(said.contains("bootstrap over queries, captions of a video together, 100 draws"), "{said}");
}
