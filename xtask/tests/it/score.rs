//! `score` on other layouts, with groups, banks, intervals and saved matrices.

mod against;
mod published;
mod shards;
mod vectors;

use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::{fails, figures, matrix, npy, sample, shell, stderr, stdout, succeeds, xtask};

#[test]
fn cosines_at_a_logit_scale_are_logits_to_the_normalisation_error() {
    let folder = tempfile::tempdir().unwrap();
    let values = sample(folder.path());
    let cosines: Vec<f32> = values.iter().map(|value| value / 64.0).collect();
    matrix(folder.path(), "cosines.npy", [6, 6], &cosines);
    let of = |name: &str, scale: &str| {
        let mut report = figures(folder.path(), &["--similarity", name, "--logit-scale", scale]);
        report["rows"][0]["text_to_video"]["normalisation_error"].take()
    };
    assert_eq!(of("S.npy", "1"), of("cosines.npy", "64"));
    assert_ne!(of("S.npy", "1"), of("cosines.npy", "1"));
    // Scores that are no numbers have no probabilities; the rest of the table stands.
    matrix(folder.path(), "nan.npy", [2, 2], &[0.9, 0.1, f32::NAN, 0.8]);
    let report = figures(folder.path(), &["--similarity", "nan.npy", "--non-finite", "miss"]);
    assert_eq!(report["rows"][0]["text_to_video"]["normalisation_error"], Value::Null);
}

/// Probabilities are made of logits: a method in bias form has those of scores and biases, whatever unit its results have,
/// and shares have none.
#[test]
fn the_normalisation_error_is_of_logits_alone() {
    let folder = tempfile::tempdir().unwrap();
    sample(folder.path());
    let arguments = ["--similarity", "S.npy", "--normalize", "raw", "--normalize", "csls:k=2"];
    let shares = ["--normalize", "mutual", "--normalize", "dual-softmax", "--save", "saved"];
    let report = figures(folder.path(), &[&arguments[..], &shares].concat());
    let error =
        |report: &Value, row: usize| report["rows"][row]["text_to_video"]["normalisation_error"].clone();
    assert!(error(&report, 0).is_object() && error(&report, 1).is_object(), "{report}");
    assert_eq!((error(&report, 2), error(&report, 3)), (Value::Null, Value::Null));
    // CSLS gives twice the scores: half of its matrix has the unit of the scores, but for a constant a row.
    let twice = ["--similarity", "saved/2-csls_k=2.text_to_video.npy", "--logit-scale", "0.5"];
    let half = error(&figures(folder.path(), &twice), 0)["error"].as_f64().unwrap();
    let found = error(&report, 1)["error"].as_f64().unwrap();
    assert!((found - half).abs() < 1e-6, "{found} {half}");
}

#[test]
fn reference_ties_have_no_intervals_and_say_whom_they_leave_out() {
    let folder = tempfile::tempdir().unwrap();
    matrix(folder.path(), "nan.npy", [2, 2], &[f32::NAN, 0.1, 0.3, 0.8]);
    let score = |more: &[&str]| {
        xtask(folder.path(), &[&["score", "--similarity", "nan.npy", "--non-finite", "miss"], more].concat())
    };
    assert!(stdout(&score(&[])).contains("; non-finite scores: count as missed\n"));
    let left_out = "; ties: reference; non-finite scores: left out by these ties\n";
    assert!(stdout(&score(&["--ties", "reference"])).contains(left_out));
    fails(
        &score(&["--ties", "reference", "--bootstrap", "100"]),
        2,
        "--ties reference has no --bootstrap: its figures are no means over queries, since a tied query counts several \
         times and a dropped one never; leave one of them out",
    );
}

/// Inverted softmax leaves no score above zero, and dual softmax reads those.
#[test]
fn a_chain_warns_of_the_scores_that_a_step_reads() {
    let folder = tempfile::tempdir().unwrap();
    sample(folder.path());
    let warned = |spec: &str| {
        let report = figures(folder.path(), &["--similarity", "S.npy", "--normalize", spec]);
        report["warnings"].to_string()
    };
    assert_eq!(warned("dual-softmax"), "[]", "the scores are positive");
    let chain = warned("inverted-softmax+dual-softmax");
    assert!(chain.contains("dual-softmax: 100.0 % of the scores are negative"), "{chain}");
}

#[test]
fn methods_with_two_banks_take_all_of_them() {
    let folder = tempfile::tempdir().unwrap();
    sample(folder.path());
    let made = |n: usize, step: usize| -> Vec<f32> {
        (0..n).map(|index| (index * step % 11) as f32 / 4.0).collect()
    };
    matrix(folder.path(), "T.npy", [3, 6], &made(18, 5)); // bank texts, videos
    matrix(folder.path(), "V.npy", [6, 4], &made(24, 7)); // texts, bank videos
    matrix(folder.path(), "G.npy", [4, 6], &made(24, 3)); // bank videos, videos
    matrix(folder.path(), "C.npy", [3, 6], &made(18, 9)); // bank texts, texts
    matrix(folder.path(), "B.npy", [3, 4], &made(12, 2)); // bank texts, bank videos
    let banks = [
        "--similarity",
        "S.npy",
        "--text-bank",
        "T.npy",
        "--video-bank",
        "V.npy",
        "--gallery-bank",
        "G.npy",
        "--gallery-bank-texts",
        "C.npy",
        "--bank-similarity",
        "B.npy",
    ];
    let specs = [
        "qb-norm:temperature=1,threshold=2",
        "dual-bank:temperature=1,gallery_temperature=1",
        "dual-bank:temperature=1,gallery_temperature=1,rows=active",
        "dbsn:tau=1",
        "single-query:iterations=5",
        "nnn:k=2",
        "csls:k=2",
    ];
    let rows: Vec<&str> = specs.iter().flat_map(|spec| ["--normalize", spec]).collect();
    let report = figures(folder.path(), &[&banks[..], &rows].concat());
    for (row, spec) in report["rows"].as_array().unwrap().iter().zip(specs) {
        assert_eq!((row["normalize"].as_str(), row["regime"].as_str()), (Some(spec), Some("bank")));
    }
    let roles: Vec<&str> =
        report["inputs"].as_array().unwrap().iter().map(|input| input["role"].as_str().unwrap()).collect();
    assert_eq!(
        roles,
        ["similarity", "text-bank", "video-bank", "gallery-bank", "gallery-bank-texts", "bank-similarity"]
    );
}

#[test]
fn a_row_hands_out_its_biases_and_its_curves() {
    let folder = tempfile::tempdir().unwrap();
    let values = sample(folder.path());
    figures(
        folder.path(),
        &["--similarity", "S.npy", "--normalize", "inverted-softmax:temperature=1", "--save", "out"],
    );
    let numbers = |name: &str| -> Vec<f32> {
        let bytes = std::fs::read(folder.path().join(name)).unwrap();
        npyz::NpyFile::new(&bytes[..]).unwrap().into_vec().unwrap()
    };
    let stem = "out/1-inverted-softmax_temperature=1";
    let bias = numbers(&format!("{stem}.text_to_video.bias.npy"));
    let normalised = numbers(&format!("{stem}.text_to_video.npy"));
    assert_eq!((bias.len(), normalised.len()), (6, 36));
    for (index, value) in normalised.iter().enumerate() {
        assert_eq!(*value, values[index] + bias[index % 6]);
    }
    let text = std::fs::read(folder.path().join(format!("{stem}.represented.json"))).unwrap();
    let curves: Value = serde_json::from_slice(&text).unwrap();
    assert_eq!(curves["schema"], "tvr-represented/1");
    for direction in ["text_to_video", "video_to_text"] {
        let curve = &curves[direction];
        assert!(curve["error_after"].as_f64().unwrap() < curve["error_before"].as_f64().unwrap());
        for column in ["item", "before", "after"] {
            assert_eq!(curve[column].as_array().unwrap().len(), 6, "{column}");
        }
    }
}

#[test]
fn every_layout_that_numpy_writes_gives_the_same_figures() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| -> PathBuf { folder.path().join(name) };
    let values = sample(folder.path());
    let half: Vec<npyz::half::f16> = values.iter().map(|&value| npyz::half::f16::from_f32(value)).collect();
    let wide: Vec<f64> = values.iter().map(|&value| f64::from(value)).collect();
    let columns: Vec<f32> = (0..36).map(|index| values[index % 6 * 6 + index / 6]).collect();
    npy(at("half.npy"), npyz::Order::C, &[6, 6], &half);
    npy(at("wide.npy"), npyz::Order::C, &[6, 6], &wide);
    npy(at("fortran.npy"), npyz::Order::Fortran, &[6, 6], &columns);
    let bytes: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
    let tensor = safetensors::tensor::TensorView::new(safetensors::Dtype::F32, vec![6, 6], &bytes).unwrap();
    std::fs::write(at("S.safetensors"), safetensors::serialize([("test", tensor)], None).unwrap()).unwrap();

    let of = |name: &str| {
        let mut report = figures(
            folder.path(),
            &["--similarity", name, "--normalize", "raw", "--normalize", "sinkhorn:tau=1,iterations=50"],
        );
        report["rows"].take()
    };
    let expected = of("S.npy");
    for name in ["half.npy", "wide.npy", "fortran.npy", "S.safetensors:test"] {
        assert_eq!(of(name), expected, "{name}");
    }
}

#[test]
fn groups_from_numpy_and_text_agree_and_both_rules_are_named() {
    let folder = tempfile::tempdir().unwrap();
    matrix(folder.path(), "S.npy", [4, 2], &[0.9, 0.1, 0.3, 0.8, 0.2, 0.7, 0.6, 0.5]);
    npy(folder.path().join("G.npy"), npyz::Order::C, &[4], &[0i64, 0, 1, 1]);
    std::fs::write(folder.path().join("G.txt"), "0\n0\n1\n1\n").unwrap();
    let of = |groups: &str| figures(folder.path(), &["--similarity", "S.npy", "--groups", groups]);
    let report = of("G.npy");
    assert_eq!(report["rows"], of("G.txt")["rows"]);
    std::fs::write(folder.path().join("marked.txt"), "\u{feff}0\r\n0\r\n1\r\n1\r\n").unwrap();
    assert_eq!(report["rows"], of("marked.txt")["rows"], "as an editor on Windows saves it");
    let row = &report["rows"][0];
    // Texts 1 and 3 find the wrong video; video 1's best caption (0.7) stands below caption 1 (0.8) of video 0.
    assert_eq!(row["text_to_video"]["R@1"], 50.0);
    assert_eq!(row["text_to_video"]["queries"], 4);
    assert_eq!(row["video_to_text"]["rule"], "grouped");
    assert_eq!(row["video_to_text"]["R@1"], 50.0);
    assert_eq!(row["video_to_text_best"]["rule"], "best");
    assert_eq!(row["video_to_text_best"]["queries"], 2);
    let table = succeeds(&xtask(folder.path(), &["score", "--similarity", "S.npy", "--groups", "G.txt"]));
    assert!(table.contains("V2T grouped") && table.contains("V2T best"), "{table}");
}

#[test]
fn each_direction_takes_its_own_bank() {
    let folder = tempfile::tempdir().unwrap();
    let values = sample(folder.path());
    let bank: Vec<f32> = (0..18).map(|index| (index * 5 % 7) as f32 / 4.0).collect();
    let turned: Vec<f32> = (0..18).map(|index| bank[index % 3 * 6 + index / 3]).collect(); // [6, 3]
    let transposed: Vec<f32> = (0..36).map(|index| values[index % 6 * 6 + index / 6]).collect();
    matrix(folder.path(), "T.npy", [3, 6], &bank);
    matrix(folder.path(), "V.npy", [6, 3], &turned);
    matrix(folder.path(), "St.npy", [6, 6], &transposed);
    let spec = ["--normalize", "inverted-softmax:temperature=1"];
    let text =
        figures(folder.path(), &[&["--similarity", "S.npy", "--text-bank", "T.npy"][..], &spec].concat());
    let video =
        figures(folder.path(), &[&["--similarity", "St.npy", "--video-bank", "V.npy"][..], &spec].concat());
    let (row, turned) = (&text["rows"][0], &video["rows"][0]);
    assert_eq!(row["text_to_video"]["regime"], "bank");
    assert_eq!(row["video_to_text"]["regime"], "transductive");
    assert_eq!(row["regime"], "transductive");
    // V2T of the transpose with the bank's transpose is T2V.
    for metric in ["R@1", "R@5", "MdR", "MnR", "regime"] {
        assert_eq!(row["text_to_video"][metric], turned["video_to_text"][metric], "{metric}");
        assert_eq!(row["video_to_text"][metric], turned["text_to_video"][metric], "{metric}");
    }
}

#[test]
fn intervals_hold_the_figure_and_depend_on_the_seed_alone() {
    let folder = tempfile::tempdir().unwrap();
    sample(folder.path());
    let of = |seed: &str| {
        figures(
            folder.path(),
            &[
                "--similarity",
                "S.npy",
                "--normalize",
                "raw",
                "--normalize",
                "sinkhorn:tau=1,iterations=50",
                "--bootstrap",
                "200",
                "--seed",
                seed,
            ],
        )
    };
    let report = of("7");
    assert_eq!(report, of("7"));
    let (first, second) = (&report["rows"][0]["text_to_video"], &report["rows"][1]["text_to_video"]);
    for side in [first, second] {
        for metric in ["R@1", "MnR"] {
            let (value, ends) = (side[metric].as_f64().unwrap(), &side["interval"][metric]);
            assert!(
                ends[0].as_f64().unwrap() <= value && value <= ends[1].as_f64().unwrap(),
                "{metric} {side}"
            );
        }
    }
    assert_eq!(first["difference"], Value::Null);
    assert!(second["difference"]["R@1"].is_array());
    assert_eq!(report["bootstrap"]["seed"], 7);
}

#[test]
fn a_saved_matrix_judged_raw_gives_the_row_it_came_from() {
    let folder = tempfile::tempdir().unwrap();
    sample(folder.path());
    let spec = "sinkhorn:tau=1,iterations=50";
    let row = figures(folder.path(), &["--similarity", "S.npy", "--normalize", spec, "--save", "out"]);
    for direction in ["text_to_video", "video_to_text"] {
        let path = format!("out/1-sinkhorn_tau=1_iterations=50.{direction}.npy");
        let again = figures(folder.path(), &["--similarity", &path]);
        for metric in ["R@1", "R@5", "MdR", "MnR"] {
            assert_eq!(
                again["rows"][0][direction][metric], row["rows"][0][direction][metric],
                "{path} {metric}"
            );
        }
    }
}

#[test]
fn json_in_a_file_is_the_json_of_stdout() {
    let folder = tempfile::tempdir().unwrap();
    sample(folder.path());
    let table =
        succeeds(&xtask(folder.path(), &["score", "--similarity", "S.npy", "--json", "deep/scores.json"]));
    assert!(table.contains("T2V"), "{table}");
    let file: Value =
        serde_json::from_slice(&std::fs::read(folder.path().join("deep/scores.json")).unwrap()).unwrap();
    assert_eq!(file, figures(folder.path(), &["--similarity", "S.npy"]));
}

#[test]
fn dual_softmax_on_negative_scores_and_on_cosines_as_if_they_were_logits_warns_on_stderr() {
    let folder = tempfile::tempdir().unwrap();
    matrix(folder.path(), "S.npy", [2, 2], &[0.5, -0.25, -0.5, 0.75]);
    let output = xtask(
        folder.path(),
        &["score", "--similarity", "S.npy", "--normalize", "dual-softmax:temperature=1"],
    );
    assert_eq!(output.status.code(), Some(0));
    let said = stderr(&output);
    let [negative, flat] = &said.lines().collect::<Vec<_>>()[..] else {
        panic!("once for both directions: {said}")
    };
    assert!(negative.starts_with("warning: dual-softmax: 50.0 % of the scores are negative"), "{said}");
    assert_eq!(
        *flat,
        "warning: dual-softmax: scores span 1.250, so that at a temperature of 1 they weigh alike but for a factor of 3.5; \
         temperatures are in the unit of the scores: 1 for logits, about 0.01 for cosines"
    );
    let cold = ["score", "--similarity", "S.npy", "--normalize", "inverted-softmax:temperature=0.01"];
    assert_eq!(stderr(&xtask(folder.path(), &cold)), "");
    assert!(stdout(&output).contains("dual-softmax:temperature=1"));
}

#[test]
fn nobody_listening_is_no_error() {
    let folder = tempfile::tempdir().unwrap();
    sample(folder.path());
    // A reader that closes at once, and a stdout that was never open.
    for line in [
        "{ sleep 0.2; \"$XTASK\" score --similarity S.npy; echo code $? >&2; } | true",
        "\"$XTASK\" score --similarity S.npy >&-; echo code $? >&2",
    ] {
        let output = shell(folder.path(), line);
        assert_eq!(stderr(&output), "code 0\n", "{line}");
    }
}

#[cfg(target_os = "linux")]
#[test]
fn a_log_that_the_shell_writes_keeps_what_it_holds() {
    let folder = tempfile::tempdir().unwrap();
    sample(folder.path());
    std::os::unix::fs::symlink("/dev/stdout", folder.path().join("link")).unwrap();
    let log = || std::fs::read_to_string(folder.path().join("log")).unwrap();
    for (path, redirected) in [
        ("/dev/stdout", ">> log"),
        ("/dev/stdout", "> log"),
        ("/proc/self/fd/1", "> log"),
        ("link", ">> log"),
        ("/dev/stderr", "2>> log >> log"),
        ("/dev/fd/3", "3>> log >> log"),
    ] {
        std::fs::write(folder.path().join("log"), "before\n").unwrap();
        let line = format!("\"$XTASK\" score --similarity S.npy --json {path} {redirected}");
        let output = shell(folder.path(), &line);
        assert_eq!((output.status.code(), stderr(&output)), (Some(0), String::new()), "{line}");
        let log = log();
        assert_eq!(log.starts_with("before\n"), redirected.contains(">> log"), "{line}: {log}");
        // The whole of the table, and behind it the whole of the JSON.
        let (table, report) = log.trim_start_matches("before\n").split_once("\n{\n").unwrap();
        let report: Value = serde_json::from_str(&format!("{{\n{report}")).unwrap();
        assert_eq!(report["schema"], "tvr-score/1", "{line}");
        assert!(table.contains("R@1"), "{line}: {table}");
    }
}

#[test]
fn help_has_examples() {
    let help = succeeds(&xtask(Path::new("."), &["score", "--help"]));
    assert!(help.contains("Examples:") && help.contains("--text-bank"), "{help}");
    assert!(succeeds(&xtask(Path::new("."), &["--help"])).contains("score"));
}
