//! `verify` on the repository's own checkpoint.

use std::path::Path;

use crate::{fails, succeeds, xtask};

fn fixture() -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../crates/tvr-clip/tests/fixtures/clip");
    path.canonicalize().unwrap().display().to_string()
}

#[test]
fn the_certificate_is_printed_and_written() {
    let folder = tempfile::tempdir().unwrap();
    let shown = succeeds(&xtask(folder.path(), &["verify", "--weights", &fixture(), "--json", "c.json"]));
    for stage in
        ["tokenizer", "pixels, OpenAI's crop", "image tower", "text tower", "logits", "from pictures"]
    {
        let line =
            shown.lines().find(|line| line.starts_with(stage)).unwrap_or_else(|| panic!("{stage}: {shown}"));
        assert!(line.contains("holds"), "{line}");
    }
    let text = std::fs::read_to_string(folder.path().join("c.json")).unwrap();
    let json: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert_eq!(json["schema"], "tvr-parity/1");
    assert_eq!((&json["device"], &json["dtype"]), (&"flex".into(), &"f32".into()));
    let figure = |line: &serde_json::Value, name: &str| line[name].as_f64().unwrap();
    for line in json["lines"].as_array().unwrap() {
        assert!(figure(line, "error") <= figure(line, "tolerance"), "{line}");
        assert!(figure(line, "error") <= figure(line, "largest"), "{line}");
        // The largest error of a stage is printed with its tensor.
        let shown = shown.lines().find(|row| row.starts_with(line["stage"].as_str().unwrap())).unwrap();
        assert!(shown.contains(line["worst"].as_str().unwrap()), "{shown}");
    }
    assert!(shown.contains("device flex, f32;"), "{shown}");
}

#[test]
fn a_stage_beyond_its_tolerance_fails_and_is_named() {
    let folder = tempfile::tempdir().unwrap();
    for name in ["model.safetensors", "preprocessor_config.json", "tokenizer.json"] {
        std::fs::copy(Path::new(&fixture()).join(name), folder.path().join(name)).unwrap();
    }
    let config = std::fs::read_to_string(Path::new(&fixture()).join("config.json")).unwrap();
    std::fs::write(folder.path().join("config.json"), config.replace("quick_gelu", "gelu")).unwrap();
    let output = xtask(folder.path(), &["verify", "--weights", ".", "--golden", &fixture()]);
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(
        crate::stderr(&output),
        "error: .: not at parity with the reference: image tower, text tower, logits, from words, from pictures\n"
    );
    assert!(crate::stdout(&output).contains("BEYOND"));
}

#[test]
fn wrong_requests_are_told_apart() {
    let folder = tempfile::tempdir().unwrap();
    let verify = |arguments: &[&str]| xtask(folder.path(), &[&["verify"], arguments].concat());
    let sentence = "weights: no such folder, and no name of the form OWNER/NAME on the Hugging Face hub";
    fails(&verify(&["--weights", "weights"]), 2, sentence);
    std::fs::create_dir(folder.path().join("empty")).unwrap();
    let sentence = format!(
        "empty: no expected.safetensors; make it with `python scripts/reference/clip.py --weights {} --out GOLDEN`, \
         then `--golden GOLDEN`",
        fixture()
    );
    fails(&verify(&["--weights", &fixture(), "--golden", "empty"]), 2, &sentence);
}
