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
    fails(
        &run(&["--texts", "x.txt", "--patches"]),
        2,
        "--patches: only pictures have patches; give --images, --frames or --videos",
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

/// Weights of which each is a number can still make codes that are none.
#[test]
fn a_code_that_is_not_finite_is_refused_by_its_item() {
    let (weights, folder) = scene();
    for (projection, arguments, item) in [
        ("visual_projection.weight", ["--frames", "videos"], "videos/v1/f2.png"),
        ("text_projection.weight", ["--texts", "captions.jsonl"], "the text \"a\""),
    ] {
        let broken = tempfile::tempdir().unwrap();
        for name in ["config.json", "tokenizer.json", "preprocessor_config.json"] {
            std::fs::copy(weights.join(name), broken.path().join(name)).unwrap();
        }
        let bytes = std::fs::read(weights.join("model.safetensors")).unwrap();
        let file = safetensors::SafeTensors::deserialize(&bytes).unwrap();
        let tensors: Vec<_> = (file.tensors().into_iter())
            .map(|(name, view)| {
                let data = match name == projection {
                    true => 3e38f32.to_le_bytes().repeat(view.data().len() / 4),
                    false => view.data().to_vec(),
                };
                (name, view.dtype(), view.shape().to_vec(), data)
            })
            .collect();
        let views = tensors.iter().map(|(name, dtype, shape, data)| {
            (name, safetensors::tensor::TensorView::new(*dtype, shape.clone(), data).unwrap())
        });
        let path = broken.path().join("model.safetensors");
        std::fs::write(path, safetensors::serialize(views, None).unwrap()).unwrap();
        let output = encode(folder.path(), broken.path(), &arguments);
        assert_eq!(output.status.code(), Some(1), "{}", stderr(&output));
        let sentence = format!("error: the code of {item} has a value that is ");
        assert!(stderr(&output).contains(&sentence), "{}", stderr(&output));
        assert!(!folder.path().join("out.safetensors").exists(), "nothing half-written");
        std::fs::remove_dir_all(folder.path().join("out.safetensors.parts")).unwrap();
    }
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
    fails(&run(&["--texts", "t.txt"]), 1, "t.txt: line 2 is not UTF-8; mend the line, or give --skip-bad");
    std::fs::write(folder.path().join("t.jsonl"), "{\"text\": \"a\", \"video\": \"v\"}\n{\"text\": \"b\"}\n")
        .unwrap();
    fails(
        &run(&["--texts", "t.jsonl"]),
        1,
        "t.jsonl: 1 of 2 lines name no video; name one in every line, or in none",
    );
    for (first, second, sentence) in [
        (r#""id": "a""#, r#""id": "a""#, "line 2 has the id \"a\", as line 1 has; give each text its own"),
        (r#""id": "1""#, r#""n": 1"#, "line 2 has the id \"1\", as line 1 has; give each text its own"),
        (
            r#""id": "a""#,
            r#""id": """#,
            "line 2 has an empty id, where a text without one is numbered; mend the line, or give --skip-bad",
        ),
    ] {
        let text = format!("{{\"text\": \"a\", {first}}}\n{{\"text\": \"b\", {second}}}\n");
        std::fs::write(folder.path().join("t.jsonl"), text).unwrap();
        fails(&run(&["--texts", "t.jsonl"]), 1, &format!("t.jsonl: {sentence}"));
    }
}

#[test]
fn bad_lines_of_texts_are_listed_and_left_out() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &[u8]| std::fs::write(folder.path().join(name), text).unwrap();
    let run = |arguments: &[&str]| encode(folder.path(), &own(), arguments);
    let row = |file: &File, row: usize| {
        let (shape, values) = file.tensor("text");
        values[row * shape[1]..(row + 1) * shape[1]].to_vec()
    };
    write("good.txt", b"a car\na dog\n");
    assert_eq!(run(&["--texts", "good.txt"]).status.code(), Some(0));
    let good = File::read(&folder.path().join("out.safetensors"));

    write("t.txt", b"\xef\xbb\xbfa car\na dog\n");
    write("t.jsonl", b"\xef\xbb\xbf{\"text\": \"a car\"}\n{\"text\": \"a dog\"}\n");
    for marked in ["t.txt", "t.jsonl"] {
        assert_eq!(run(&["--texts", marked]).status.code(), Some(0));
        let file = File::read(&folder.path().join("out.safetensors"));
        assert_eq!(file.tensor("text"), good.tensor("text"), "{marked}: a byte order mark is no text");
    }

    write("t.txt", b"a car\n\xff\xfe\na dog\n");
    let output = run(&["--texts", "t.txt", "--skip-bad"]);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    assert!(stderr(&output).contains("left out: t.txt: line 2 is not UTF-8\n"), "{}", stderr(&output));
    assert!(
        stdout(&output).ends_with("2 texts, width 12, not of unit length, 1 left out\n"),
        "{}",
        stdout(&output)
    );
    let file = File::read(&folder.path().join("out.safetensors"));
    assert_eq!(file.names("skipped"), ["t.txt: line 2 is not UTF-8"]);
    assert_eq!(file.names("text_ids"), ["0", "2"], "ids are those of the lines");
    close(&row(&file, 1), &row(&good, 1), 1e-5);

    write(
        "t.jsonl",
        b"{\"id\": \"a\", \"text\": \"a car\"}\nno json\n{\"id\": \"c\"}\n{\"id\": \"d\", \"text\": \"a dog\"}\n",
    );
    let bad = "is no caption such as {\"id\": \u{2026}, \"video\": \u{2026}, \"text\": \u{2026}}: ";
    fails(
        &run(&["--texts", "t.jsonl"]),
        1,
        &format!("t.jsonl: line 2 {bad}expected ident at line 1 column 2; mend the line, or give --skip-bad"),
    );
    let output = run(&["--texts", "t.jsonl", "--skip-bad"]);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    let file = File::read(&folder.path().join("out.safetensors"));
    assert_eq!(file.names("text_ids"), ["a", "d"]);
    let skipped = file.names("skipped");
    assert!(skipped[0].starts_with(&format!("t.jsonl: line 2 {bad}")), "{skipped:?}");
    assert!(skipped[1].starts_with(&format!("t.jsonl: line 3 {bad}missing field `text`")), "{skipped:?}");
    close(&row(&file, 1), &row(&good, 1), 1e-5);
}

#[test]
fn a_dead_clip_of_a_list_is_named_and_left_out() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, bytes: &[u8]| std::fs::write(folder.path().join(name), bytes).unwrap();
    write("a.gif", crate::prepare::GIF);
    write("dead.mp4", b"");
    write("c.gif", &[crate::prepare::GIF, b"\0"].concat());
    write(
        "clips.csv",
        b"id,path,caption,split\na,a.gif,a white dot,train\ndead,dead.mp4,nothing,train\ngone,gone.mp4,nothing,test\nc,c.gif,white,test\n",
    );
    let run = |more: &[&str]| encode(folder.path(), &own(), &[&["--videos", "clips.csv"], more].concat());
    let output = run(&[]);
    assert_eq!(output.status.code(), Some(1));
    let sentence = "error: \"dead\" is empty: 0 bytes; take it from the list, or give --skip-bad\n";
    assert!(stderr(&output).ends_with(sentence), "{}", stderr(&output));
    assert!(!folder.path().join("out.safetensors").exists(), "nothing half-written");

    let output = run(&["--skip-bad"]);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    for bad in
        ["\"dead\" is empty: 0 bytes", "\"gone\" cannot be opened: No such file or directory (os error 2)"]
    {
        assert!(stderr(&output).contains(&format!("left out: {bad}\n")), "{}", stderr(&output));
    }
    assert!(stdout(&output).ends_with(", 2 left out\n"), "{}", stdout(&output));
    let file = File::read(&folder.path().join("out.safetensors"));
    assert_eq!(file.names("video_ids"), ["a", "c"]);
    assert_eq!(file.names("text_videos"), ["a", "c"]);
    assert_eq!(file.names("skipped").len(), 2);
    let captions = std::fs::read_to_string(folder.path().join("captions.jsonl")).unwrap();
    assert!(!captions.contains("dead") && !captions.contains("gone"), "{captions}");
}

#[cfg(unix)]
#[test]
fn a_link_in_a_circle_is_named_and_with_skip_bad_left_out() {
    let (weights, folder) = scene();
    let link = |to: &str, name: &str| std::os::unix::fs::symlink(to, folder.path().join(name)).unwrap();
    link("..", "videos/v2/again");
    let bad = "videos/v2/again: is a link to videos, in which it lies, so it has no end; remove the link";
    let output = encode(folder.path(), &weights, &["--frames", "videos"]);
    assert_eq!(output.status.code(), Some(1));
    let sentence = format!("error: {bad}; mend or remove it, or go on with --resume --skip-bad\n");
    assert!(stderr(&output).contains(&sentence), "{}", stderr(&output));
    assert_eq!(stderr(&output).matches("videos/v2/again").count(), 1, "{}", stderr(&output));
    assert!(!folder.path().join("out.safetensors").exists(), "nothing half-written");

    // A link to itself, and one to nothing, are no pictures either; another list is another run.
    std::fs::remove_dir_all(folder.path().join("out.safetensors.parts")).unwrap();
    link("self.png", "videos/v1/self.png");
    link("gone.png", "videos/v1/dead.png");
    let output = encode(folder.path(), &weights, &["--frames", "videos", "--skip-bad"]);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    let file = File::read(&folder.path().join("out.safetensors"));
    assert_eq!(file.names("video_ids"), ["v1", "v2", "v10"]);
    assert_eq!(
        file.tensor("mask").1,
        [1.0, 0.0, 0.0, 1.0, 1.0, 0.0, 1.0, 1.0, 1.0],
        "no frame of theirs is lost"
    );
    let skipped = file.names("skipped");
    let starts = ["videos/v1/dead.png: cannot be read: ", "videos/v1/self.png: cannot be read: ", bad];
    assert_eq!(skipped.len(), 3, "{skipped:?}");
    assert!(skipped.iter().zip(starts).all(|(reason, start)| reason.starts_with(start)), "{skipped:?}");
}

#[test]
fn a_share_of_bad_videos_alone_is_empty_and_joins_the_others() {
    let (weights, folder) = scene();
    let run = |arguments: &[&str], name: &str| {
        let output =
            encode(folder.path(), &weights, &[&["--frames", "videos", "--skip-bad"], arguments].concat());
        assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
        std::fs::rename(folder.path().join("out.safetensors"), folder.path().join(name)).unwrap();
        File::read(&folder.path().join(name))
    };
    for frame in ["f2.png", "f10.png"] {
        std::fs::write(folder.path().join("videos/v2").join(frame), "no picture").unwrap();
    }
    let whole = run(&[], "whole");
    let shares = ["0/3", "1/3", "2/3"];
    let empty = shares.map(|share| run(&["--shard", share], &share[..1]).names("video_ids").is_empty());
    assert_eq!(empty, [false, true, false]);
    let merge = |shares: &[&str]| xtask(folder.path(), &[&["merge"], shares, &["--out", "joined"]].concat());
    let joined = merge(&["0", "1", "2"]);
    assert_eq!(joined.status.code(), Some(0), "{}", stderr(&joined));
    let joined = File::read(&folder.path().join("joined"));
    for key in ["video_ids", "skipped"] {
        assert_eq!(joined.names(key), whole.names(key));
    }
    assert_eq!(joined.tensor("frames"), whole.tensor("frames"));

    // Nothing at all is still refused: by the whole, and by the joining.
    for video in ["v1", "v10"] {
        std::fs::remove_dir_all(folder.path().join("videos").join(video)).unwrap();
    }
    let refused = encode(folder.path(), &weights, &["--frames", "videos", "--skip-bad"]);
    assert_eq!(refused.status.code(), Some(1));
    let sentence = "error: out.safetensors: everything was bad, nothing is left\n";
    assert!(stderr(&refused).ends_with(sentence), "{}", stderr(&refused));
    std::fs::remove_dir_all(folder.path().join("out.safetensors.parts")).unwrap();
    run(&["--shard", "0/1"], "all");
    fails(&merge(&["all"]), 1, "joined: everything was bad, nothing is left");
}
