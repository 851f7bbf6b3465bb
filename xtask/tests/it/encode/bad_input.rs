//! Requests, weights and texts that `encode` refuses.

use super::*;

#[test]
fn requests_that_make_no_sense_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let run = |arguments: &[&str]| encode(folder.path(), Path::new("nowhere"), arguments);
    fails(&run(&[]), 2, "nothing to encode; give --texts, --images, --frames or --videos");
    fails(&run(&["--images", "x", "--batch", "0"]), 2, "--batch: 0 items make no batch; 32 are usual");
    fails(
        &run(&["--images", "x", "--tokens"]),
        2,
        "--tokens: only texts have tokens in a feature file; give --texts or --videos",
    );
    let output = run(&["--images", "x", "--shard", "4/4"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(
        stderr(&output).contains("\"4/4\" must be I/N with I below N, such as 0/4"),
        "{}",
        stderr(&output)
    );
    let output = run(&["--images", "x"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(stderr(&output).starts_with("error: nowhere: no such folder"), "{}", stderr(&output));
}

#[test]
fn weights_without_tokenizer_or_pixels_name_the_way_out() {
    let folder = tempfile::tempdir().unwrap();
    for name in ["config.json", "model.safetensors"] {
        std::fs::copy(own().join(name), folder.path().join(name)).unwrap();
    }
    let way_out = "; --processor DIR takes tokenizer and preprocessor_config.json from another folder";
    let texts = own().join("texts.txt");
    let sentence = format!(
        "{}: no checkpoint; a folder needs tokenizer.json, or vocab.json and merges.txt{way_out}",
        folder.path().display()
    );
    fails(&encode(folder.path(), folder.path(), &["--texts", texts.to_str().unwrap()]), 1, &sentence);
    let output = encode(folder.path(), folder.path(), &["--frames", own().join("images").to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(1));
    assert!(stderr(&output).trim_end().ends_with(way_out), "{}", stderr(&output));
}

#[test]
fn texts_and_folders_that_hold_nothing_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let run = |arguments: &[&str]| encode(folder.path(), &own(), arguments);
    std::fs::create_dir(folder.path().join("none")).unwrap();
    fails(&run(&["--frames", "none"]), 1, "none: there is no picture in it (png, jpg, gif, webp)");
    std::fs::write(folder.path().join("t.csv"), "a").unwrap();
    fails(&run(&["--texts", "t.csv"]), 2, "--texts t.csv: it must end in .txt (one text a line) or .jsonl");
    std::fs::write(folder.path().join("t.txt"), "").unwrap();
    fails(&run(&["--texts", "t.txt"]), 1, "t.txt: there is no text in it");
    std::fs::write(folder.path().join("t.txt"), b"fine\n\xff\n").unwrap();
    fails(&run(&["--texts", "t.txt"]), 1, "t.txt: line 2 is not UTF-8; or give --skip-bad");
    std::fs::write(folder.path().join("t.jsonl"), "{\"text\": \"a\", \"video\": \"v\"}\n{\"text\": \"b\"}\n")
        .unwrap();
    fails(
        &run(&["--texts", "t.jsonl"]),
        1,
        "t.jsonl: 1 of 2 lines name no video; name one in every line, or in none",
    );
}
