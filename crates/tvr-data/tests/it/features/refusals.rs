//! What is broken is refused by the name of the file, the tensor, the video or the caption.

use super::*;

#[test]
fn a_missing_folder_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("none");
    let error = FeatureFile::open(&path).unwrap_err();
    assert!(matches!(error, DataError::File { .. }), "{error:?}");
    let start = format!("{}: cannot open: ", path.join("features.safetensors").display());
    assert!(error.to_string().starts_with(&start), "{error}");
    std::fs::write(folder.path().join("features.safetensors"), small().bytes()).unwrap();
    let error = FeatureFile::open(folder.path()).unwrap_err().to_string();
    let start = format!("{}: cannot read: ", folder.path().join("splits.json").display());
    assert!(error.starts_with(&start), "{error}");
}

#[test]
fn another_format_is_refused() {
    refuses(
        |set| drop(set.metadata.insert("format".into(), "tvr-features/2".into())),
        open,
        "features.safetensors: metadata format is \"tvr-features/2\", but it must be \"tvr-features/1\"",
    );
    refuses(
        |set| drop(set.metadata.remove("format")),
        open,
        "features.safetensors: metadata has no format, but it must be \"tvr-features/1\"",
    );
    refuses(
        |set| drop(set.metadata.remove("text_ids")),
        open,
        "features.safetensors: metadata has no text_ids",
    );
    refuses(
        |set| drop(set.metadata.insert("video_ids".into(), r#"["a"]"#.into())),
        open,
        "features.safetensors: video_ids has 1 names for 4 rows",
    );
}

#[test]
fn names_that_are_empty_or_stand_twice_are_refused() {
    for (key, names, name) in [
        ("video_ids", r#"["a", "b", "c", "b"]"#, "b"),
        ("text_ids", r#"["x", "x", "x", "x", "x"]"#, "x"),
        ("text_ids", r#"["a0", "b0", "", "c0", "d0"]"#, ""),
    ] {
        let message = format!(
            "features.safetensors: {name:?} is empty or stands twice in {key}; give every row a name of its own"
        );
        refuses(|set| drop(set.metadata.insert(key.into(), names.into())), open, &message);
    }
}

#[test]
fn patches_that_make_no_frames_are_refused() {
    let of = |count: &'static str| {
        move |set: &mut Folder| drop(set.metadata.insert("tokens_per_frame".into(), count.into()))
    };
    for count in ["3", "0", "-1", "one"] {
        let message = format!(
            "features.safetensors: metadata tokens_per_frame is {count:?}, but it must divide the 2 vectors of a video"
        );
        refuses(of(count), open, &message);
    }
    let folder = tempfile::tempdir().unwrap();
    let mut set = small();
    of("2")(&mut set);
    set.write(folder.path());
    let file = FeatureFile::open(folder.path()).unwrap();
    assert_eq!((file.patches_per_frame(), file.frames_per_video()), (Some(2), 2));
}

#[test]
fn a_tensor_that_is_missing_or_another_is_refused() {
    refuses(
        |set| set.tensors.retain(|(name, ..)| *name != "mask"),
        open,
        "features.safetensors: tensor \"mask\" is missing",
    );
    refuses(
        |set| set.put("mask", Dtype::U8, &[4], vec![1; 4]),
        open,
        "features.safetensors: tensor \"mask\" is U8 [4], but it must be U8 [4, 2]",
    );
    refuses(
        |set| set.put("text_video", Dtype::U64, &[5], i64s(&[0, 1, 0, 2, 3])),
        open,
        "features.safetensors: tensor \"text_video\" is U64 [5], but it must be I64 [5]",
    );
    refuses(
        |set| set.put("frames", Dtype::BF16, &[4, 2, 3], f16s(&FRAMES)),
        open,
        "features.safetensors: tensor \"frames\" is BF16, but it must be F16 or F32",
    );
    refuses(
        |set| set.put("text", Dtype::F32, &[10], f32s(&TEXT)),
        open,
        "features.safetensors: tensor \"text\" has shape [10], but it must have 2 axes",
    );
    refuses(
        |set| set.put("text", Dtype::F32, &[3, 0], vec![]),
        open,
        "features.safetensors: tensor \"text\" has shape [3, 0]: it is empty",
    );
}

#[test]
fn a_video_without_a_real_frame_is_refused_by_its_id() {
    refuses(
        |set| set.put("mask", Dtype::U8, &[4, 2], vec![1, 1, 0, 0, 1, 1, 1, 1]),
        open,
        "features.safetensors: \"b\" has no real frame; leave the video out",
    );
}

#[test]
fn a_caption_of_no_video_is_refused() {
    for row in [4, -1, i64::MAX] {
        refuses(
            |set| set.put("text_video", Dtype::I64, &[5], i64s(&[0, row, 0, 2, 3])),
            open,
            "features.safetensors: \"b0\" belongs to no video: text_video must be below 4",
        );
    }
}

#[test]
fn a_split_with_a_stranger_or_a_foreign_query_is_refused() {
    let splits = |text: &'static str| move |set: &mut Folder| set.splits = text;
    refuses(
        splits(r#"{"train": ["a"], "val": ["e"], "test": ["b"]}"#),
        open,
        "splits.json: \"e\" is in the val split but has no features",
    );
    refuses(
        splits(r#"{"train": ["c"], "val": ["a", "b"], "test": ["d"], "val_queries": ["a0", "a1"]}"#),
        open,
        "splits.json: \"a1\" is in val_queries, but is no caption of b",
    );
    refuses(
        splits(r#"{"train": ["c"], "val": ["d"], "test": ["a", "b"], "test_queries": ["a0"]}"#),
        open,
        "splits.json: test_queries has 1 captions for 2 videos; name one for each, in the order of test",
    );
    refuses(
        |set| set.put("text_video", Dtype::I64, &[5], i64s(&[0, 0, 0, 2, 3])),
        open,
        "splits.json: \"b\" is in the val split but has no caption; leave it out",
    );
    for (split, text) in [
        ("train", r#"{"train": [], "val": ["a"], "test": ["b"]}"#),
        ("val", r#"{"train": ["a"], "val": [], "test": ["b"]}"#),
        ("test", r#"{"train": ["a"], "val": ["b"], "test": []}"#),
    ] {
        let message = format!(
            "splits.json: {split} names no video; a run trains on train, chooses on val and is judged on test"
        );
        refuses(splits(text), open, &message);
    }
}

#[test]
fn a_video_of_two_splits_or_twice_in_one_is_refused() {
    let of = |test: &'static str| move |set: &mut Folder| set.splits = test;
    for (splits, message) in [
        (
            r#"{"train": ["c", "a"], "val": ["b"], "test": ["d", "a"]}"#,
            "\"a\" is in train and in test; leave it in one",
        ),
        (
            r#"{"train": ["a", "b"], "val": ["b"], "test": ["d"]}"#,
            "\"b\" is in train and in val; leave it in one",
        ),
        (r#"{"train": ["a"], "val": ["b"], "test": ["b"]}"#, "\"b\" is in val and in test; leave it in one"),
        (r#"{"train": ["a"], "val": ["b"], "test": ["c", "d", "c"]}"#, "\"c\" is in test twice; keep one"),
    ] {
        refuses(of(splits), open, &format!("splits.json: {message}"));
    }
}

#[test]
fn splits_of_another_form_are_refused() {
    let of = |test: &'static str| move |set: &mut Folder| set.splits = test;
    refuses(of(r#"{"train": []}"#), open, "splits.json: missing field `val` at line 1 column 13");
    refuses(
        of(r#"{"train": ["a"], "val": ["b"], "test": ["c"], "test_querys": ["c0"]}"#),
        open,
        "splits.json: unknown field `test_querys`, expected one of `train`, `val`, `test`, `val_queries`, \
         `test_queries` at line 1 column 59",
    );
    refuses(
        of("7"),
        open,
        "splits.json: invalid type: integer `7`, expected an object with the lists train, val and test at line 1 \
         column 1",
    );
}

#[test]
fn a_value_that_is_not_finite_is_refused_where_it_is_read() {
    for bad in [f32::NAN, f32::INFINITY] {
        let mut frames = FRAMES;
        frames[4] = bad;
        refuses(
            |set| set.put("frames", Dtype::F32, &[4, 2, 3], f32s(&frames)),
            |file| file.frames(0),
            "features.safetensors: \"a\" frame 1 holds a value that is not finite; encode the video again",
        );
        let mut text = TEXT;
        text[5] = bad;
        refuses(
            |set| set.put("text", Dtype::F16, &[5, 2], f16s(&text)),
            |file| file.text(2),
            "features.safetensors: \"a1\" holds a value that is not finite; encode the caption again",
        );
    }
}
