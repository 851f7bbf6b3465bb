//! What a run finds where another one has been: parts without settings, more shards than its own, another config.

use serde_json::json;

use super::*;

/// A part with one text called `ghost`, in the folder of the parts of `out`.
fn ghost(folder: &Path, out: &str, number: usize, width: usize) {
    let (one, row) = (1i64.to_le_bytes(), vec![0; 4 * width]);
    let view = |dtype, shape, bytes| safetensors::tensor::TensorView::new(dtype, shape, bytes).unwrap();
    let views = [
        ("counts", view(Dtype::I64, vec![1], &one[..])),
        ("rows", view(Dtype::F32, vec![1, width], &row)),
        ("token_counts", view(Dtype::I64, vec![0], &[])),
        ("token_rows", view(Dtype::F32, vec![0, width], &[])),
    ];
    let names = json!({ "ids": ["ghost"], "videos": [], "skipped": [] }).to_string();
    let bytes = safetensors::serialize(views, Some(HashMap::from([("names".to_owned(), names)]))).unwrap();
    let parts = folder.join(format!("{out}.parts"));
    std::fs::create_dir_all(&parts).unwrap();
    std::fs::write(parts.join(format!("text-{number:06}.safetensors")), bytes).unwrap();
}

/// Whoever is killed while the parts are removed leaves some of them, whatever weights they are of.
#[test]
fn parts_without_settings_are_nobody_s() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("t.txt"), "a car\na dog\n").unwrap();
    let out = folder.path().join("out.safetensors");
    let run = |more: &[&str]| {
        let output = encode(folder.path(), &own(), &[&["--texts", "t.txt"], more].concat());
        assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
        std::fs::read(&out).unwrap()
    };
    let expected = run(&[]);
    for more in [&[][..], &["--resume"]] {
        ghost(folder.path(), "out.safetensors", 0, 12);
        ghost(folder.path(), "out.safetensors", 1, 12);
        assert!(run(more) == expected, "{more:?}: another file than that of an empty folder");
    }
}

#[test]
fn a_joining_that_was_killed_lends_no_shard_to_the_next_one() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("t.txt"), "a car\na dog\n").unwrap();
    for (shard, name) in [("0/2", "a"), ("1/2", "b")] {
        let output = encode(folder.path(), &own(), &["--texts", "t.txt", "--shard", shard]);
        assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
        std::fs::rename(folder.path().join("out.safetensors"), folder.path().join(name)).unwrap();
    }
    let merge = || {
        let output = xtask(folder.path(), &["merge", "a", "b", "--out", "whole"]);
        assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
        File::read(&folder.path().join("whole"))
    };
    let whole = merge();
    ghost(folder.path(), "whole", 2, 12);
    let metadata = whole.metadata();
    let settings = json!({
        "schema": "tvr-merge/1", "encoder": metadata["encoder"], "wiring": metadata.get("wiring"), "pixels": null,
        "precision": "f32", "tokens": false, "patches": null, "skip_bad": true, "shard": null, "pictures": null,
        "texts": "",
    });
    std::fs::write(folder.path().join("whole.parts/settings.json"), settings.to_string()).unwrap();
    let again = merge();
    assert_eq!(again.names("text_ids"), ["0", "1"]);
    assert!(again.bytes == whole.bytes);
}

#[test]
fn a_folder_in_place_of_the_file_is_refused_before_anything_is_encoded() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("t.txt"), "a car\n").unwrap();
    let output = encode(folder.path(), &own(), &["--texts", "t.txt", "--shard", "0/1"]);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    std::fs::rename(folder.path().join("out.safetensors"), folder.path().join("a")).unwrap();
    std::fs::create_dir(folder.path().join("out.safetensors")).unwrap();
    let sentence = "--out out.safetensors: is a folder; name the file to write";
    fails(&encode(folder.path(), &own(), &["--texts", "t.txt"]), 2, sentence);
    fails(&xtask(folder.path(), &["merge", "a", "--out", "out.safetensors"]), 2, sentence);
    assert!(!folder.path().join("out.safetensors.parts").exists());
}

/// Codes of one file are of one config and one tokenizer, although the weights do not show either.
#[test]
fn a_config_or_tokenizer_that_changed_is_another_run() {
    let folder = tempfile::tempdir().unwrap();
    let weights = folder.path().join("weights");
    std::fs::create_dir(&weights).unwrap();
    for name in ["config.json", "model.safetensors", "tokenizer.json", "preprocessor_config.json"] {
        std::fs::copy(own().join(name), weights.join(name)).unwrap();
    }
    std::fs::write(folder.path().join("t.txt"), "a Car\nA dog\n").unwrap();
    std::fs::create_dir(folder.path().join("bad")).unwrap();
    std::fs::write(folder.path().join("bad/0.png"), b"").unwrap();
    let run = |more: &[&str]| encode(folder.path(), &weights, &[&["--texts", "t.txt"], more].concat());
    assert_eq!(run(&["--images", "bad"]).status.code(), Some(1));
    let change = |name: &str, from: &str, to: &str| {
        let text = std::fs::read_to_string(weights.join(name)).unwrap();
        assert!(text.contains(from), "{from}");
        std::fs::write(weights.join(name), text.replace(from, to)).unwrap();
    };
    let other = "out.safetensors.parts: the unfinished run has other config or tokenizer; give its arguments again, or delete \
                 the folder";
    for (name, from, to) in [
        ("config.json", "quick_gelu", "gelu"),
        ("tokenizer.json", "\"type\": \"Lowercase\"", "\"type\": \"NFC\""),
    ] {
        change(name, from, to);
        fails(&run(&["--images", "bad", "--resume"]), 2, other);
        std::fs::copy(own().join(name), weights.join(name)).unwrap();
        let output = run(&["--images", "bad", "--resume"]);
        assert!(stderr(&output).contains("error: bad/0.png: is empty"), "{}", stderr(&output));
    }
    std::fs::remove_dir_all(folder.path().join("out.safetensors.parts")).unwrap();

    let shard = |shard: &str, name: &str| {
        assert_eq!(run(&["--shard", shard]).status.code(), Some(0));
        std::fs::rename(folder.path().join("out.safetensors"), folder.path().join(name)).unwrap();
    };
    shard("0/2", "a");
    change("tokenizer.json", "\"type\": \"Lowercase\"", "\"type\": \"NFC\"");
    shard("1/2", "b");
    let output = xtask(folder.path(), &["merge", "a", "b", "--out", "whole"]);
    assert_eq!(output.status.code(), Some(2), "{}", stderr(&output));
    assert!(
        stderr(&output).contains("were not encoded alike: checkpoint, tokenizer, "),
        "{}",
        stderr(&output)
    );
}

#[test]
fn items_of_one_name_and_a_file_for_a_folder_are_refused() {
    let (weights, folder) = scene();
    let picture = own().join("images/2_small_13x11.png");
    std::fs::copy(&picture, folder.path().join("videos/own.png")).unwrap();
    std::fs::create_dir(folder.path().join("videos/videos")).unwrap();
    std::fs::copy(&picture, folder.path().join("videos/videos/0.png")).unwrap();
    let run = |arguments: &[&str]| encode(folder.path(), &weights, arguments);
    std::fs::create_dir(folder.path().join("videos/.thumbs")).unwrap();
    std::fs::copy(&picture, folder.path().join("videos/.thumbs/0.png")).unwrap();
    let sentence = "videos: its own pictures, and those of videos in it, would both be the video videos; rename one folder";
    fails(&run(&["--frames", "videos"]), 1, sentence);
    for option in ["--images", "--frames"] {
        let sentence = "videos/own.png: is a file; give the folder in which pictures lie";
        fails(&run(&[option, "videos/own.png"]), 2, sentence);
    }
    std::fs::rename(folder.path().join("videos/videos"), folder.path().join("videos/v3")).unwrap();
    let output = run(&["--frames", "videos"]);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    let file = File::read(&folder.path().join("out.safetensors"));
    assert_eq!(file.names("video_ids"), ["videos", "v1", "v2", "v3", "v10"], "and no folder that is hidden");
}

/// The names of a file's items are JSON, which has no place for other bytes.
#[cfg(target_os = "linux")]
#[test]
fn a_name_that_is_not_utf_8_is_told_and_with_skip_bad_left_out() {
    use std::os::unix::ffi::OsStrExt;
    let (weights, folder) = scene();
    let picture = own().join("images/2_small_13x11.png");
    let odd = |name: &[u8]| folder.path().join("videos").join(std::ffi::OsStr::from_bytes(name));
    std::fs::create_dir(odd(b"x\xff")).unwrap();
    std::fs::copy(&picture, odd(b"x\xff/0.png")).unwrap();
    std::fs::copy(&picture, odd(b"v1/f\xfe.png")).unwrap(); // no item bears the name of a frame
    let output = encode(folder.path(), &weights, &["--frames", "videos"]);
    let sentence = "videos/x\u{fffd}/0.png: its name is not UTF-8; rename it";
    assert!(
        stderr(&output).contains(&format!("error: {sentence}; mend or remove it, or go on")),
        "{}",
        stderr(&output)
    );
    let output = encode(folder.path(), &weights, &["--frames", "videos", "--resume", "--skip-bad"]);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    let file = File::read(&folder.path().join("out.safetensors"));
    assert_eq!(file.names("video_ids"), ["v1", "v2", "v10"]);
    assert_eq!(file.names("skipped"), [sentence]);
    assert_eq!(file.tensor("mask").1[..3], [1.0, 1.0, 0.0], "v1 has the frame with the odd name");
}
