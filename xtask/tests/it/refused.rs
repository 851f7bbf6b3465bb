//! What would give a wrong figure in silence, or take away a file, is refused in one sentence.

use std::path::Path;

use npyz::Order;

use crate::{fails, figures, matrix, npy, sample, stderr, succeeds, xtask};

fn score(folder: &Path, arguments: &[&str]) -> std::process::Output {
    xtask(folder, &[&["score", "--similarity"], arguments].concat())
}

const ITEMS: usize = 40;

/// Scores from -5 to 8, of which hardly two in a row are equal.
fn wide() -> Vec<f64> {
    let score = |text: usize, video: usize| {
        let noise = (text * 37 + video * 101 + text * video * 7) % 997;
        noise as f64 / 100.0 - 5.0 + if text == video { 3.0 } else { 0.0 }
    };
    (0..ITEMS * ITEMS).map(|cell| score(cell / ITEMS, cell % ITEMS)).collect()
}

fn write(folder: &Path, values: &[f64]) {
    npy(folder.join("W.npy"), Order::C, &[ITEMS as u64; 2], values);
}

#[test]
fn scores_that_f32_does_not_tell_apart_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let logarithm =
        "is too small for f32, in which scores are judged; scale the scores up, or take their logarithm\n";
    let digits = "are equal to it in f32, in which scores are judged; shift or scale the scores so that seven digits tell \
                  them apart, or save them as f32 if ties are meant\n";
    let cases: [(fn(f64) -> f64, &str); 4] = [
        (|score| 1.0 - 1e-9 * (-score).exp(), digits),
        (|score| 1e9 + score, digits),
        (|score| (20.0 * score - 400.0).exp(), logarithm),
        (|score| (8.0 * score - 120.0).exp(), logarithm),
    ];
    for (transform, end) in cases {
        write(folder.path(), &wide().into_iter().map(transform).collect::<Vec<f64>>());
        let output = score(folder.path(), &["W.npy"]);
        let said = stderr(&output);
        assert_eq!(output.status.code(), Some(1), "{said}");
        assert!(said.starts_with("error: W.npy: ") && said.ends_with(end), "{said}");
    }
    // Videos far from one another: what is lost is lost in columns alone.
    let columns: Vec<f64> =
        wide().iter().enumerate().map(|(at, score)| score + (at % ITEMS) as f64 * 1e9).collect();
    write(folder.path(), &columns);
    assert!(stderr(&score(folder.path(), &["W.npy"])).ends_with(digits));
}

#[test]
fn usual_scores_in_f64_are_taken() {
    let folder = tempfile::tempdir().unwrap();
    let cases: [(&str, fn(f64) -> f64); 8] = [
        ("logits", |score| score * 100.0 / 3.0),
        ("cosines", |score| score / 8.7),
        ("probabilities", |score| score.exp() / 17.0),
        ("constants", |_| 0.1),
        ("ties", |score| score.round() / 10.0),
        // 0.1 + 0.2 and 0.3 are 5e-17 apart, and the same score.
        ("rounding", |score| if score > 0.0 { 0.1 + 0.2 } else { 0.3 }),
        ("f32 below its digits", |score| f64::from((score * 1e-40) as f32)),
        ("zeros", |_| -0.0),
    ];
    for (name, transform) in cases {
        write(folder.path(), &wide().into_iter().map(transform).collect::<Vec<f64>>());
        let output = score(folder.path(), &["W.npy"]);
        assert_eq!(output.status.code(), Some(0), "{name}: {}", stderr(&output));
    }
    // Vectors have no order to lose.
    npy(folder.path().join("T.npy"), Order::C, &[2, 2], &[1.0f64, 1e-60, 0.5, 1.0]);
    succeeds(&xtask(folder.path(), &["score", "--texts", "T.npy", "--videos", "T.npy"]));
}

#[test]
fn the_judged_scores_are_no_val() {
    let folder = tempfile::tempdir().unwrap();
    let values = sample(folder.path());
    std::fs::copy(folder.path().join("S.npy"), folder.path().join("V.npy")).unwrap();
    let open = ["--normalize", "csls:k=1|2"];
    fails(
        &score(folder.path(), &[&["S.npy", "--val", "V.npy"], &open[..]].concat()),
        2,
        "--val V.npy: these are the scores of S.npy, which are judged; give scores of other items, those of val",
    );
    // Two tensors of one file are two splits.
    let bytes = |values: Vec<f32>| values.iter().flat_map(|value| value.to_le_bytes()).collect::<Vec<u8>>();
    let (test, val) = (bytes(values.clone()), bytes(values.into_iter().rev().collect()));
    fn tensor(bytes: &[u8]) -> safetensors::tensor::TensorView<'_> {
        safetensors::tensor::TensorView::new(safetensors::Dtype::F32, vec![6, 6], bytes).unwrap()
    }
    let file = safetensors::serialize([("test", tensor(&test)), ("val", tensor(&val))], None).unwrap();
    std::fs::write(folder.path().join("a.safetensors"), file).unwrap();
    let both = ["a.safetensors:test", "--val", "a.safetensors:val"];
    let output = score(folder.path(), &[&both[..], &open].concat());
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
}

#[test]
fn val_that_is_not_square_asks_for_its_own_groups() {
    let folder = tempfile::tempdir().unwrap();
    sample(folder.path());
    matrix(folder.path(), "R.npy", [3, 2], &[0.9, 0.1, 0.3, 0.8, 0.2, 0.7]);
    std::fs::write(folder.path().join("G.txt"), "0\n1\n1\n").unwrap();
    let given = ["S.npy", "--val", "R.npy", "--normalize", "inverted-softmax:temperature=1|2"];
    fails(
        &score(folder.path(), &given),
        2,
        "R.npy has 3 texts and 2 videos; a matrix that is not square needs --val-groups, the video index of every text",
    );
    let report =
        figures(folder.path(), &[&["--similarity"], &given[..], &["--val-groups", "G.txt"]].concat());
    let roles: Vec<&str> =
        report["inputs"].as_array().unwrap().iter().map(|input| input["role"].as_str().unwrap()).collect();
    assert_eq!(roles, ["val", "val-groups", "similarity"]);
}

fn names(folder: &Path) -> Vec<String> {
    let name = |entry: std::io::Result<std::fs::DirEntry>| entry.unwrap().file_name().into_string().unwrap();
    let mut names: Vec<String> = std::fs::read_dir(folder).unwrap().map(name).collect();
    names.sort();
    names
}

#[test]
fn a_folder_of_saved_rows_holds_those_of_one_call() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("out");
    sample(folder.path());
    matrix(folder.path(), "nan.npy", [2, 2], &[0.9, 0.1, f32::NAN, 0.8]);
    figures(
        folder.path(),
        &["--similarity", "S.npy", "--normalize", "raw", "--normalize", "csls:k=2", "--save", "out"],
    );
    let others = ["1-notes.npy", "01-raw.text_to_video.npy", "notes.represented.json"];
    others.iter().for_each(|name| std::fs::write(out.join(name), "mine").unwrap());
    let before = names(&out);
    assert!(before.iter().any(|name| name == "1-raw.represented.json"), "{before:?}");
    // A call that fails takes nothing away.
    assert_eq!(score(folder.path(), &["nan.npy", "--save", "out"]).status.code(), Some(1));
    assert_eq!(names(&out), before);
    figures(folder.path(), &["--similarity", "nan.npy", "--non-finite", "miss", "--save", "out"]);
    let mut expected = [&["1-raw.text_to_video.npy", "1-raw.video_to_text.npy"][..], &others].concat();
    expected.sort_unstable();
    assert_eq!(names(&out), expected);
    // What the call reads stays, whatever leads to it.
    let read = "out/1-raw.text_to_video.npy";
    std::os::unix::fs::symlink(read, folder.path().join("link.npy")).unwrap();
    for name in [read, "link.npy"] {
        fails(
            &score(folder.path(), &[name, "--non-finite", "miss", "--save", "out"]),
            2,
            &format!(
                "--save out: --similarity {name} lies there under a name that --save writes, and would be removed; name \
                 another folder"
            ),
        );
    }
    assert_eq!(names(&out), expected);
}

#[test]
fn normalisers_ask_for_scores_that_are_finite() {
    let folder = tempfile::tempdir().unwrap();
    matrix(folder.path(), "S.npy", [2, 2], &[0.9, 0.1, f32::NAN, 0.8]);
    let spec = ["S.npy", "--normalize", "csls:k=1"];
    fails(
        &score(folder.path(), &spec),
        1,
        "S.npy: scores[1, 0] is NaN; every score must be finite; mend the model that made it, or judge raw rows alone with \
         --non-finite miss",
    );
    fails(
        &score(folder.path(), &[&spec[..], &["--non-finite", "miss"]].concat()),
        2,
        "--non-finite miss serves raw rows alone, and --normalize csls:k=1 needs scores that are all finite; leave one of \
         the two out",
    );
}

#[test]
fn an_interval_has_draws_enough() {
    let folder = tempfile::tempdir().unwrap();
    sample(folder.path());
    for draws in ["1", "99"] {
        fails(
            &score(folder.path(), &["S.npy", "--bootstrap", draws]),
            2,
            &format!("--bootstrap {draws}: a 95 % interval takes at least 100 draws; 2000 are usual"),
        );
    }
    figures(folder.path(), &["--similarity", "S.npy", "--bootstrap", "100"]);
}

#[test]
fn a_packed_file_is_no_matrix() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("S.npy.gz"), b"\x1f\x8b\x08\x00([{([{([{([{([{").unwrap();
    std::fs::write(folder.path().join("deep.npy"), "([{".repeat(30)).unwrap();
    for (name, sentence) in [
        ("S.npy.gz", "this is packed with gzip; unpack it with gunzip"),
        ("deep.npy", "not a .npy file: magic not found for NPY file; write it with numpy.save"),
    ] {
        fails(&score(folder.path(), &[name]), 1, &format!("{name}: {sentence}"));
    }
}

/// The foot of a Parquet file as pyarrow writes it, of columns in zstd.
const ZSTD: &[u8] = b"\
    PAR1\x15\x04\x19<5\0\x18\x06schema\x15\x04\0\x15\x0c%\x02\x18\x02id%\0L\x1c\0\0\0\x15\x0c%\x02\x18\
    \x04path%\0L\x1c\0\0\0\x16\x02\x19\x1c\x19,&\0\x1c\x15\x0c\x195\0\x06\x10\x19\x18\x02id\x15\x0c\x16\
    \x02\x16r\x16\x96\x01&@&\x08\x1c6\0(\x01a\x18\x01a\x11\x11\0\x19,\x15\x04\x15\0\x15\x02\0\x15\0\x15\
    \x10\x15\x02\0<\x16\x02\x19\x06\x19&\0\x02\0\0\0&\0\x1c\x15\x0c\x195\0\x06\x10\x19\x18\x04path\x15\
    \x0c\x16\x02\x16\xf6\x01\x16\x9a\x02&\x82\x02&\x9e\x01\x1c6\0(\x17v/j2Dhf-xFUxU_13_20.avi\x18\x17\
    v/j2Dhf-xFUxU_13_20.avi\x11\x11\0\x19,\x15\x04\x15\0\x15\x02\0\x15\0\x15\x10\x15\x02\0<\x16.\x19\x06\
    \x19&\0\x02\0\0\0\x16\xe8\x02\x16\x02&\x08\x16\xb0\x03\0\0\xfc\0\0\0PAR1";

#[test]
fn a_parquet_list_in_another_compression_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("list.parquet");
    for (code, name) in [(2, "gzip"), (4, "brotli"), (5, "lz4"), (6, "zstd"), (7, "lz4_raw")] {
        // The compression of a column, and behind it the number of its values; numbers are written times two.
        let (codec, other): ([u8; 4], [u8; 4]) = ([0x15, 12, 0x16, 2], [0x15, 2 * code, 0x16, 2]);
        let mut bytes = ZSTD.to_vec();
        for at in 0..bytes.len() - codec.len() {
            if bytes[at..].starts_with(&codec) {
                bytes[at..at + other.len()].copy_from_slice(&other);
            }
        }
        std::fs::write(&path, bytes).unwrap();
        fails(
            &xtask(folder.path(), &["prepare", "--manifest", "list.parquet"]),
            1,
            &format!(
                "list.parquet: its columns are compressed with {name}, which this build cannot read; write it with \
                 compression snappy or none"
            ),
        );
    }
}
