//! `score` on vectors in files, with EMCL between vectors and cosines; settings chosen on val.

use std::path::Path;

use npyz::Order;
use serde_json::Value;

use crate::{fails, figures, made_up, matrix, npy, sample, stderr, succeeds, xtask};

/// Numbers in [-1, 1), the same every time.
pub fn made(count: usize, step: usize) -> Vec<f32> {
    (0..count).map(|index| ((index * step + index / 5 * 7) % 23) as f32 / 11.5 - 1.0).collect()
}

fn unit(row: &[f64]) -> Vec<f64> {
    let length = row.iter().map(|x| x * x).sum::<f64>().sqrt();
    row.iter().map(|x| x / length).collect()
}

fn wide(values: &[f32], width: usize) -> Vec<Vec<f64>> {
    values.chunks(width).map(|row| row.iter().map(|&x| f64::from(x)).collect()).collect()
}

/// What `--save` wrote of the row `raw`: the scores.
fn scores(folder: &Path, arguments: &[&str]) -> Vec<f32> {
    let out = folder.join("out");
    let _ = std::fs::remove_dir_all(&out);
    succeeds(&xtask(folder, &[&["score", "--save", "out"], arguments].concat()));
    let bytes = std::fs::read(out.join("1-raw.text_to_video.npy")).unwrap();
    npyz::NpyFile::new(&bytes[..]).unwrap().into_vec().unwrap()
}

#[track_caller]
fn assert_cosines(found: &[f32], texts: &[Vec<f64>], videos: &[Vec<f64>]) {
    let cosine = |a: &[f64], b: &[f64]| -> f64 { unit(a).iter().zip(unit(b)).map(|(a, b)| a * b).sum() };
    let expected: Vec<f64> = texts.iter().flat_map(|t| videos.iter().map(move |v| cosine(t, v))).collect();
    assert_eq!(found.len(), expected.len());
    for (found, expected) in found.iter().zip(expected) {
        assert!((f64::from(*found) - expected).abs() < 1e-5, "{found} is not {expected}");
    }
}

/// A cosine asks for directions alone, and the squares of these rows are beyond f32, or as good as nothing.
#[test]
fn rows_of_any_length_have_the_cosines_of_their_directions() {
    let folder = tempfile::tempdir().unwrap();
    let (texts, frames) = (made(5 * 4, 5), made(5 * 3 * 4, 9));
    matrix(folder.path(), "T.npy", [5, 4], &texts);
    npy(folder.path().join("F.npy"), Order::C, &[5, 3, 4], &frames);
    let expected = scores(folder.path(), &["--texts", "T.npy", "--videos", "F.npy"]);
    for exponent in [120.0, 66.0, -40.0, -80.0] {
        let factor = f32::exp2(exponent);
        let scaled = |values: &[f32]| values.iter().map(|value| value * factor).collect::<Vec<f32>>();
        matrix(folder.path(), "T2.npy", [5, 4], &scaled(&texts));
        npy(folder.path().join("F2.npy"), Order::C, &[5, 3, 4], &scaled(&frames));
        for arguments in
            [["--texts", "T2.npy", "--videos", "F.npy"], ["--texts", "T.npy", "--videos", "F2.npy"]]
        {
            assert_eq!(scores(folder.path(), &arguments), expected, "2^{exponent}");
        }
    }
}

#[test]
fn vectors_are_judged_by_their_cosines_and_frames_by_their_mean() {
    let folder = tempfile::tempdir().unwrap();
    let (texts, frames) = (made(5 * 4, 5), made(5 * 3 * 4, 9));
    matrix(folder.path(), "T.npy", [5, 4], &texts);
    npy(folder.path().join("F.npy"), Order::C, &[5, 3, 4], &frames);
    let found = scores(folder.path(), &["--texts", "T.npy", "--videos", "F.npy"]);
    let means: Vec<Vec<f64>> = wide(&frames, 4)
        .chunks(3)
        .map(|clip| {
            let units: Vec<Vec<f64>> = clip.iter().map(|frame| unit(frame)).collect();
            (0..4).map(|channel| units.iter().map(|frame| frame[channel]).sum()).collect()
        })
        .collect();
    assert_cosines(&found, &wide(&texts, 4), &means);
    // The same frames, channels first on the disk; and vectors that are no frames.
    let mut turned = vec![0f32; frames.len()];
    for (at, &value) in frames.iter().enumerate() {
        turned[(at % 4) * 15 + (at / 4 % 3) * 5 + at / 12] = value;
    }
    npy(folder.path().join("turned.npy"), Order::Fortran, &[5, 3, 4], &turned);
    assert_eq!(scores(folder.path(), &["--texts", "T.npy", "--videos", "turned.npy"]), found);
    matrix(folder.path(), "V.npy", [5, 4], &frames[..20]);
    let flat = scores(folder.path(), &["--texts", "T.npy", "--videos", "V.npy"]);
    assert_cosines(&flat, &wide(&texts, 4), &wide(&frames[..20], 4));
    // And the figures are those of that matrix.
    let of_vectors = figures(folder.path(), &["--texts", "T.npy", "--videos", "F.npy"]);
    let of_matrix = figures(folder.path(), &["--similarity", "out/1-raw.text_to_video.npy"]);
    assert_ne!(of_vectors["rows"], of_matrix["rows"], "the last matrix saved is that of single vectors");
    scores(folder.path(), &["--texts", "T.npy", "--videos", "F.npy"]);
    let of_matrix = figures(folder.path(), &["--similarity", "out/1-raw.text_to_video.npy"]);
    assert_eq!(of_vectors["rows"], of_matrix["rows"]);
}

#[test]
fn a_feature_file_is_judged_as_encode_writes_it() {
    let folder = tempfile::tempdir().unwrap();
    made_up::write(folder.path(), 24, 8, 8);
    let file = |key: &str| format!("features.safetensors:{key}");
    let (text, frames, groups) = (file("text"), file("frames"), file("text_video"));
    let report = figures(
        folder.path(),
        &["--texts", &text, "--videos", &frames, "--groups", &groups, "--emcl", "tiles"],
    );
    assert_eq!(report["inputs"][0]["shape"], serde_json::json!([80, 6]));
    assert_eq!(report["inputs"][1]["shape"], serde_json::json!([40, 3, 6]));
    assert_eq!(report["rows"][0]["video_to_text"]["rule"], "grouped");
    assert_eq!(report["mixing"], "EMCL at inference, tiles of 64 texts x 64 videos");
    // An expert that is silent about a video leaves nothing to compare it by.
    let sound = file("experts.sound");
    fails(
        &xtask(folder.path(), &["score", "--texts", &text, "--videos", &sound, "--groups", &groups]),
        1,
        "features.safetensors:experts.sound: video 0 has no real step: its mask is false everywhere; leave it out",
    );
}

#[test]
fn emcl_between_vectors_and_cosines_names_what_it_has_seen() {
    let folder = tempfile::tempdir().unwrap();
    let (texts, videos) = (made(6 * 4, 5), made(6 * 4, 9));
    matrix(folder.path(), "T.npy", [6, 4], &texts);
    matrix(folder.path(), "V.npy", [6, 4], &videos);
    matrix(folder.path(), "B.npy", [7, 4], &made(28, 3));
    matrix(folder.path(), "C.npy", [3, 4], &made(12, 8));
    let vectors = ["--texts", "T.npy", "--videos", "V.npy"];
    let plain = figures(folder.path(), &vectors);
    assert_eq!((&plain["rows"][0]["regime"], &plain["mixing"]), (&Value::from("raw"), &Value::Null));
    let banked = [&vectors[..], &["--bank-texts", "B.npy", "--bank-videos", "C.npy"]].concat();
    for (arguments, scope, regime, mixing) in [
        (&vectors[..], "tiles:weight=0,tile=4", "transductive", "tiles of 4 texts x 4 videos"),
        (&vectors, "everything:weight=0", "transductive", "all texts and videos at once"),
        (&banked, "bank:weight=0", "bank", "a bank of 10 items"),
    ] {
        let report = figures(folder.path(), &[arguments, &["--emcl", scope]].concat());
        assert_eq!(report["rows"][0]["regime"], regime);
        assert_eq!(report["mixing"], format!("EMCL at inference, {mixing}"));
        // Without weight nothing is added.
        assert_eq!(
            report["rows"][0]["text_to_video"]["R@1"], plain["rows"][0]["text_to_video"]["R@1"],
            "{scope}"
        );
        assert_eq!(
            report["rows"][0]["text_to_video"]["MnR"], plain["rows"][0]["text_to_video"]["MnR"],
            "{scope}"
        );
    }
    // One base of Algorithm 1 is the mean over the channels: by hand, of unit rows.
    let corrected = |rows: &[f32]| -> Vec<Vec<f64>> {
        wide(rows, 4)
            .iter()
            .map(|row| {
                let row = unit(row);
                let mean = row.iter().sum::<f64>() / 4.0;
                row.iter().map(|x| x + 2.0 * mean).collect()
            })
            .collect()
    };
    for scope in ["tiles", "everything", "bank"] {
        let scope = format!("{scope}:mode=paper,bases=1,weight=2");
        let found = scores(folder.path(), &[&banked[..], &["--emcl", &scope]].concat());
        assert_cosines(&found, &corrected(&texts), &corrected(&videos));
    }
    // The reconstruction alone is one direction.
    let alone = [&vectors[..], &["--emcl", "everything:mode=paper,bases=1,residual=false"]].concat();
    let ranks = figures(folder.path(), &alone)["effective_ranks"].clone();
    assert!(ranks[0].as_f64().unwrap() > 1.5 && (ranks[1].as_f64().unwrap() - 1.0).abs() < 1e-5, "{ranks}");
    let said =
        succeeds(&xtask(folder.path(), &[&["score"], &vectors[..], &["--emcl", "everything"]].concat()));
    assert!(
        said.contains("Scores depend on other items: EMCL at inference, all texts and videos at once."),
        "{said}"
    );
    assert!(said.contains("\nEffective rank of the vectors: "), "{said}");
}

#[test]
fn a_bank_of_vectors_serves_every_normaliser() {
    let folder = tempfile::tempdir().unwrap();
    let sides = [("T", 6, 5), ("V", 6, 9), ("B", 7, 3), ("C", 8, 8)];
    let [texts, videos, bank_texts, bank_videos] = sides.map(|(name, rows, step)| {
        let values = made(4 * rows, step);
        matrix(folder.path(), &format!("{name}.npy"), [rows as u64, 4], &values);
        wide(&values, 4)
    });
    let methods = ["raw", "nnn:k=3", "qb-norm:temperature=0.1", "dual-bank:temperature=0.1", "dbsn:tau=0.1"];
    let specs: Vec<&str> = methods.iter().flat_map(|method| ["--normalize", method]).collect();
    let vectors =
        ["--texts", "T.npy", "--videos", "V.npy", "--bank-texts", "B.npy", "--bank-videos", "C.npy"];
    let found = figures(folder.path(), &[&vectors[..], &specs].concat());
    // Every block by hand, and given as matrices.
    for (name, rows, columns) in [
        ("S.npy", &texts, &videos),
        ("text.npy", &bank_texts, &videos),
        ("video.npy", &texts, &bank_videos),
        ("gallery.npy", &bank_videos, &videos),
        ("gallery-texts.npy", &bank_texts, &texts),
        ("bank.npy", &bank_texts, &bank_videos),
    ] {
        let cosine =
            |a: &Vec<f64>, b: &Vec<f64>| -> f64 { unit(a).iter().zip(unit(b)).map(|(a, b)| a * b).sum() };
        let values: Vec<f32> =
            rows.iter().flat_map(|a| columns.iter().map(move |b| cosine(a, b) as f32)).collect();
        matrix(folder.path(), name, [rows.len() as u64, columns.len() as u64], &values);
    }
    let matrices = [
        ["--similarity", "S.npy"],
        ["--text-bank", "text.npy"],
        ["--video-bank", "video.npy"],
        ["--gallery-bank", "gallery.npy"],
        ["--gallery-bank-texts", "gallery-texts.npy"],
        ["--bank-similarity", "bank.npy"],
    ];
    let expected = figures(folder.path(), &[&matrices.concat()[..], &specs].concat());
    for (row, method) in methods.iter().enumerate() {
        let (found, expected) = (&found["rows"][row], &expected["rows"][row]);
        assert_eq!(found["regime"], if row == 0 { "raw" } else { "bank" }, "{method}");
        for side in ["text_to_video", "video_to_text"] {
            for figure in ["R@1", "R@5", "MdR", "MnR", "regime"] {
                assert_eq!(found[side][figure], expected[side][figure], "{method}, {side}, {figure}");
            }
        }
    }
}

#[test]
fn what_a_normaliser_leaves_open_is_chosen_on_val() {
    let folder = tempfile::tempdir().unwrap();
    sample(folder.path());
    let val: Vec<f32> =
        made(36, 13).iter().enumerate().map(|(at, x)| x + if at % 7 == 0 { 0.6 } else { 0.0 }).collect();
    matrix(folder.path(), "V.npy", [6, 6], &val);
    let candidates = ["0.01", "0.3", "3"];
    let name = |value: &str| format!("inverted-softmax:temperature={value}");
    // By hand: every candidate on val, by the sum of six recalls; of equal ones the first.
    let sum = |value: &str| -> f64 {
        let report = figures(folder.path(), &["--similarity", "V.npy", "--normalize", &name(value)]);
        ["text_to_video", "video_to_text"]
            .iter()
            .flat_map(|side| ["R@1", "R@5", "R@10"].map(|k| report["rows"][0][side][k].as_f64().unwrap()))
            .sum()
    };
    let sums = candidates.map(sum);
    let most = sums.iter().copied().fold(f64::MIN, f64::max);
    assert!(sums.iter().any(|&sum| sum < most), "the case tells candidates apart: {sums:?}");
    let best = name(candidates[sums.iter().position(|&sum| sum == most).unwrap()]);
    let open = name(&candidates.join("|"));
    let chosen = figures(
        folder.path(),
        &["--similarity", "S.npy", "--val", "V.npy", "--normalize", "raw", "--normalize", &open],
    );
    assert_eq!(chosen["rows"][1]["normalize"], best.as_str());
    assert_eq!(chosen["chosen"], serde_json::json!({ (best.as_str()): open }));
    let given =
        figures(folder.path(), &["--similarity", "S.npy", "--normalize", "raw", "--normalize", &best]);
    assert_eq!(chosen["rows"], given["rows"]);
    let said = succeeds(&xtask(
        folder.path(),
        &["score", "--similarity", "S.npy", "--val", "V.npy", "--normalize", &open],
    ));
    assert!(said.contains(&format!("Chosen on val: {best}, among {open}.")), "{said}");
}

#[test]
fn what_vectors_and_choices_miss_is_said() {
    let folder = tempfile::tempdir().unwrap();
    sample(folder.path());
    for (name, rows, width) in [("T.npy", 3, 4), ("V.npy", 3, 4), ("W.npy", 3, 5), ("E.npy", 3, 5)] {
        matrix(folder.path(), name, [rows, width], &made((rows * width) as usize, 5));
    }
    let mut broken = made(12, 5);
    broken[5] = f32::NAN;
    matrix(folder.path(), "N.npy", [3, 4], &broken);
    let score = |arguments: &[&str]| xtask(folder.path(), &[&["score"], arguments].concat());
    let vectors = ["--texts", "T.npy", "--videos", "V.npy"];
    fails(
        &score(&["--texts", "T.npy", "--videos", "W.npy"]),
        1,
        "T.npy has vectors of width 4, W.npy of width 5; both must come from one space",
    );
    fails(
        &score(&["--texts", "N.npy", "--videos", "V.npy"]),
        1,
        "N.npy: text 1 has a value that is NaN or infinite",
    );
    fails(
        &score(&[&vectors[..], &["--bank-texts", "W.npy", "--bank-videos", "E.npy"]].concat()),
        1,
        "W.npy: vectors of width 5, but T.npy has width 4; a bank must come from the same encoder",
    );
    fails(
        &score(&[&vectors[..], &["--emcl", "bank"]].concat()),
        2,
        "--emcl bank finds its bases on training items; give --bank-texts and --bank-videos",
    );
    fails(
        &score(&["--similarity", "S.npy", "--normalize", "csls:k=1|2"]),
        2,
        "--normalize csls:k=1|2: it leaves a setting open; give --val, the same system's similarity on val, to choose on",
    );
    fails(
        &score(&["--similarity", "S.npy", "--normalize", "raw", "--val", "S.npy"]),
        2,
        "--val S.npy: no --normalize leaves a setting open; write alternatives, as dual-softmax:temperature=0.5|1|2",
    );
    fails(
        &score(&["--similarity", "S.npy", "--val", "none.npy"]),
        2,
        "--val none.npy: no --normalize leaves a setting open; write alternatives, as dual-softmax:temperature=0.5|1|2",
    );
    fails(
        &score(&[
            "--similarity",
            "S.npy",
            "--val",
            "S.npy",
            "--normalize",
            "csls:k=1|2",
            "--normalize",
            "rww",
        ]),
        2,
        "--normalize: unknown normaliser \"rww\"; did you mean \"raw\"?",
    );
    let twice =
        ["--similarity", "S.npy", "--val", "S.npy", "--normalize", "csls:k=1|9", "--normalize", "csls:k=1|8"];
    let twice = score(&twice);
    assert_eq!(twice.status.code(), Some(2), "{}", stderr(&twice));
    let emcl =
        ["--bank-texts", "T.npy", "--bank-videos", "V.npy", "--emcl", "tiles", "--normalize", "dual-bank"];
    fails(
        &score(&[&vectors[..], &emcl].concat()),
        2,
        "--emcl rebuilds texts and videos against one another, so that dual-bank cannot compare training and test items of \
         one side; leave one of the two out",
    );
    let bank =
        ["--similarity", "S.npy", "--text-bank", "S.npy", "--val", "S.npy", "--normalize", "csls:k=1|2"];
    fails(
        &score(&bank),
        2,
        "--normalize csls:k=1|2: score has no banks against val to choose with; choose in a recipe, or leave banks out",
    );
    for (emcl, words) in [
        ("tyles", ["unknown value \"tyles\"", "did you mean \"tiles\"?"]),
        ("tiles:sigmo=1", ["unknown key \"sigmo\"", "did you mean \"sigma\"?"]),
        ("tiles:sigma=0", ["emcl: sigma = 0", "above 0"]),
        ("tiles:sigma", ["\"sigma\" has no value", "KEY=VALUE"]),
    ] {
        let output = score(&[&vectors[..], &["--emcl", emcl]].concat());
        assert_eq!(output.status.code(), Some(2));
        let said = stderr(&output);
        assert!(words.iter().all(|word| said.contains(word)), "{said}");
    }
    for arguments in
        [&["--texts", "T.npy"][..], &["--emcl", "tiles"], &["--similarity", "S.npy", "--texts", "T.npy"]]
    {
        assert_eq!(score(arguments).status.code(), Some(2), "{arguments:?}");
    }
}
