//! Feature files: what is written is read, what is broken is named, and the real one.

use std::path::Path;

use tvr_data::{DataError, Expert, FeatureFile, FeatureSet, Precision, Split, TokenFeatures};

pub fn small() -> FeatureSet {
    FeatureSet {
        encoder: "by hand".into(),
        video_ids: vec!["a".into(), "b".into()],
        text_ids: vec!["a0".into(), "a1".into(), "b0".into()],
        frames_per_video: 2,
        width: 3,
        frames: (0..12).map(|value| value as f32 / 4.0).collect(),
        mask: vec![true, true, true, false],
        text_width: 2,
        text: vec![1.0, 0.0, 0.0, 1.0, -0.5, 0.5],
        text_video: vec![0, 0, 1],
        tokens: Some(TokenFeatures { tokens: 2, width: 1, values: vec![1.0; 6], mask: vec![true; 6] }),
        experts: vec![Expert { name: "sound".into(), items: 1, width: 2, values: vec![2.0; 4], mask: vec![true, false] }],
    }
}

#[test]
fn what_is_written_is_read() {
    let folder = tempfile::tempdir().unwrap();
    for precision in [Precision::F16, Precision::F32] {
        let set = small();
        let path = folder.path().join("features.safetensors");
        set.write(&path, precision).unwrap();
        let file = FeatureFile::open(folder.path()).unwrap();
        assert_eq!(file.video_ids(), set.video_ids);
        assert_eq!(file.text_ids(), set.text_ids);
        assert_eq!(file.text_video(), set.text_video);
        assert_eq!((file.frames_per_video(), file.width(), file.text_width()), (2, 3, 2));
        assert_eq!([file.frames(0), file.frames(1)].concat(), set.frames);
        assert_eq!([file.mask(0), file.mask(1)].concat(), set.mask);
        assert_eq!((0..3).flat_map(|text| file.text(text)).collect::<Vec<_>>(), set.text);
        assert_eq!(file.tokens(), set.tokens);
        assert_eq!(file.expert_names().collect::<Vec<_>>(), ["sound"]);
        assert_eq!(file.expert("sound").as_ref(), set.experts.first());
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1, "nothing is left beside the file");
    }
}

#[track_caller]
fn refuses(change: impl FnOnce(&mut FeatureSet), message: &str) {
    let mut set = small();
    change(&mut set);
    assert_eq!(set.to_bytes(Precision::F32).unwrap_err().to_string(), message);
}

#[test]
fn what_is_broken_is_named() {
    refuses(|set| set.mask[2] = false, "mask: video \"b\" has no real frame; drop the video or give it one");
    refuses(|set| set.text_video[2] = 2, "text_video: caption \"b0\" belongs to row 2, but there are 2 videos");
    refuses(
        |set| set.frames[7] = f32::NAN,
        "tensor \"frames\" has NaN in row 1 (of \"b\"), value 1; all values must be finite",
    );
    refuses(|set| set.video_ids[1] = "a".into(), "video_ids: \"a\" stands there twice; every id must be unique");
    refuses(
        |set| set.text.truncate(4),
        "tensor \"text\" has shape [4], but it must be as many values as [3, 2] holds",
    );
}

#[test]
fn what_is_missing_or_of_another_type_is_named() {
    let bytes = small().to_bytes(Precision::F32).unwrap();
    let swapped = |from: &str, to: &str| {
        assert_eq!(from.len(), to.len());
        let at = bytes.windows(from.len()).position(|window| window == from.as_bytes()).unwrap();
        let mut changed = bytes.clone();
        changed[at..at + to.len()].copy_from_slice(to.as_bytes());
        FeatureFile::from_bytes(changed).unwrap_err().to_string()
    };
    assert_eq!(
        swapped("\"text_video\"", "\"text_vidoe\""),
        "tensor \"text_video\" is missing; the file must hold frames, mask, text and text_video"
    );
    assert_eq!(swapped("\"I64\"", "\"U64\""), "tensor \"text_video\" is U64, but it must be I64");
    assert_eq!(
        swapped("tvr-features/1", "tvr-features/2"),
        "metadata \"format\" is missing or broken; it must be \"tvr-features/1\""
    );
    let cut = FeatureFile::from_bytes(bytes[..bytes.len() - 1].to_vec()).unwrap_err();
    assert!(matches!(cut, DataError::Safetensors { .. }), "{cut}");
}

#[test]
fn a_split_with_a_stranger_or_a_foreign_query_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    small().write(&folder.path().join("features.safetensors"), Precision::F16).unwrap();
    let path = folder.path().join("splits.json");
    let part = |json: &str, split| {
        std::fs::write(&path, json).unwrap();
        let error = FeatureFile::open(folder.path()).unwrap().part(split).unwrap_err().to_string();
        error.replace(&path.display().to_string(), "F")
    };
    assert_eq!(
        part(r#"{"train": ["a"], "val": ["c"], "test": []}"#, Split::Val),
        "F: val: \"c\" is not in the feature file's videos with captions; remove it or add its row"
    );
    assert_eq!(
        part(r#"{"train": ["a"], "val": [], "test": ["b"], "test_queries": ["a1"]}"#, Split::Test),
        "F: test_queries: entry 0 must be a caption of \"b\", in the order of the split's videos; found \"a1\""
    );
    assert_eq!(
        part(r#"{"train": ["a"], "val": ["a"], "test": []}"#, Split::Train),
        "F: train, val and test: \"a\" stands there twice; every id must be unique"
    );
}

#[test]
fn the_real_msrvtt476_has_its_counts() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data/msrvtt476");
    if !folder.exists() {
        eprintln!("skipped: {} is not here", folder.display());
        return;
    }
    let begin = std::time::Instant::now();
    let file = FeatureFile::open(&folder).unwrap();
    println!("opened and checked in {:.3} s", begin.elapsed().as_secs_f64());
    assert_eq!((file.video_ids().len(), file.text_ids().len()), (4827, 19296));
    assert_eq!((file.frames_per_video(), file.width(), file.text_width()), (6, 192, 384));
    assert_eq!(file.expert_names().collect::<Vec<_>>(), ["colour", "layout", "motion"]);
    let mut of_length = [0; 7];
    for video in 0..4827 {
        of_length[file.mask(video).iter().filter(|&&real| real).count()] += 1;
    }
    assert_eq!(of_length, [0, 0, 1853, 0, 1100, 0, 1874]);
    let counts = |split| {
        let part = file.part(split).unwrap();
        for (video, &query) in part.queries.iter().enumerate() {
            assert_eq!(part.text_video[query], video);
        }
        (part.videos.len(), part.texts.len(), part.queries.len())
    };
    assert_eq!(counts(Split::Train), (4107, 16428, 4107));
    assert_eq!(counts(Split::Val), (244, 488, 244));
    assert_eq!(counts(Split::Test), (476, 2380, 476));
    let captions = file.captions().unwrap();
    assert_eq!(captions[0].text, "a person puts items in a pot on the stove in the kitchen");
    let norm: f32 = file.text(0).iter().map(|value| value * value).sum();
    assert!((norm - 1.0).abs() < 1e-3, "{norm}"); // unit length in f16
}
