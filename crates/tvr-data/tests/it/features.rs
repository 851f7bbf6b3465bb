//! Feature folders: what is written is read, what is broken is named, and the real one.

mod refusals;

use std::collections::HashMap;
use std::path::Path;

use proptest::prelude::*;
use safetensors::Dtype;
use safetensors::tensor::TensorView;
use tvr_data::{DataError, FeatureFile, Part, Split};

type Tensors = Vec<(&'static str, Dtype, Vec<usize>, Vec<u8>)>;

/// A feature folder to break.
struct Folder {
    metadata: HashMap<String, String>,
    tensors: Tensors,
    splits: &'static str,
}

fn f32s(values: &[f32]) -> Vec<u8> {
    values.iter().flat_map(|value| value.to_le_bytes()).collect()
}

fn f16s(values: &[f32]) -> Vec<u8> {
    values.iter().flat_map(|&value| half::f16::from_f32(value).to_le_bytes()).collect()
}

fn i64s(values: &[i64]) -> Vec<u8> {
    values.iter().flat_map(|value| value.to_le_bytes()).collect()
}

#[rustfmt::skip]
const FRAMES: [f32; 24] = [
    0.0, 0.25, 0.5, 0.75, 1.0, 1.25,
    1.5, 1.75, 2.0, f32::NAN, 9.0, 9.0,
    2.5, 2.5, 2.5, 3.0, 3.0, 3.0,
    4.5, 4.5, 4.5, 5.0, 5.0, 5.0,
];
const TEXT: [f32; 10] = [1.0, 0.0, 0.0, 1.0, -0.5, 0.5, 2.0, 2.5, 3.0, 3.5];

/// Videos a (two frames, captions a0 and a1), b (one frame and padding that is no number, caption b0), c and d (two frames
/// and a caption each).
fn small() -> Folder {
    let entries = [
        ("format", "tvr-features/1"),
        ("video_ids", r#"["a", "b", "c", "d"]"#),
        ("text_ids", r#"["a0", "b0", "a1", "c0", "d0"]"#),
    ];
    Folder {
        metadata: entries.map(|(key, value)| (key.to_string(), value.to_string())).into(),
        tensors: vec![
            ("frames", Dtype::F16, vec![4, 2, 3], f16s(&FRAMES)),
            ("mask", Dtype::U8, vec![4, 2], vec![1, 1, 1, 0, 1, 1, 1, 1]),
            ("text", Dtype::F32, vec![5, 2], f32s(&TEXT)),
            ("text_video", Dtype::I64, vec![5], i64s(&[0, 1, 0, 2, 3])),
        ],
        splits: r#"{"train": ["d", "c"], "val": ["b"], "test": ["a"], "test_queries": ["a1"]}"#,
    }
}

impl Folder {
    fn bytes(&self) -> Vec<u8> {
        let views = self
            .tensors
            .iter()
            .map(|(name, dtype, shape, data)| (*name, TensorView::new(*dtype, shape.clone(), data).unwrap()));
        safetensors::serialize(views, Some(self.metadata.clone())).unwrap()
    }

    fn write(&self, folder: &Path) {
        std::fs::write(folder.join("features.safetensors"), self.bytes()).unwrap();
        std::fs::write(folder.join("splits.json"), self.splits).unwrap();
    }

    /// Puts another tensor in a tensor's place.
    fn put(&mut self, name: &'static str, dtype: Dtype, shape: &[usize], data: Vec<u8>) {
        self.tensors.retain(|(known, ..)| *known != name);
        self.tensors.push((name, dtype, shape.to_vec(), data));
    }
}

/// The message of `read` on a changed folder, without the folder's name.
#[track_caller]
fn refuses<T: std::fmt::Debug>(
    change: impl FnOnce(&mut Folder),
    read: impl FnOnce(&FeatureFile) -> Result<T, DataError>,
    message: &str,
) {
    let folder = tempfile::tempdir().unwrap();
    let mut set = small();
    change(&mut set);
    set.write(folder.path());
    let error = FeatureFile::open(folder.path()).and_then(|file| read(&file)).unwrap_err().to_string();
    assert_eq!(error.replace(&format!("{}/", folder.path().display()), ""), message);
}

/// For what is refused at once.
fn open(_: &FeatureFile) -> Result<(), DataError> {
    Ok(())
}

#[test]
fn what_is_written_is_read() {
    let folder = tempfile::tempdir().unwrap();
    for (frames, text, half) in
        [(f16s(&FRAMES), f32s(&TEXT), Dtype::F16), (f32s(&FRAMES), f16s(&TEXT), Dtype::F32)]
    {
        let mut set = small();
        set.put("frames", half, &[4, 2, 3], frames);
        set.put("text", if half == Dtype::F16 { Dtype::F32 } else { Dtype::F16 }, &[5, 2], text);
        set.write(folder.path());
        let file = FeatureFile::open(folder.path()).unwrap();
        assert_eq!(file.video_ids(), ["a", "b", "c", "d"]);
        assert_eq!(file.text_ids(), ["a0", "b0", "a1", "c0", "d0"]);
        assert_eq!((file.frames_per_video(), file.width(), file.text_width()), (2, 3, 2));
        assert_eq!(file.patches_per_frame(), None);
        assert_eq!([file.mask(0), file.mask(1)], [[true, true], [true, false]]);
        assert_eq!(file.frames(0).unwrap(), FRAMES[..6]);
        assert_eq!(file.frames(1).unwrap(), [1.5, 1.75, 2.0, 0.0, 0.0, 0.0], "padding is zero");
        assert_eq!((0..5).flat_map(|text| file.text(text).unwrap()).collect::<Vec<_>>(), TEXT);
        let part = |videos: &[usize], texts: &[usize], text_video: &[usize], queries: &[usize]| Part {
            videos: videos.to_vec(),
            texts: texts.to_vec(),
            text_video: text_video.to_vec(),
            queries: queries.to_vec(),
        };
        assert_eq!(*file.part(Split::Train), part(&[3, 2], &[3, 4], &[1, 0], &[1, 0]));
        assert_eq!(*file.part(Split::Val), part(&[1], &[1], &[0], &[0]));
        assert_eq!(*file.part(Split::Test), part(&[0], &[0, 2], &[0, 0], &[1]));
    }
}

/// Two experts: one with two steps, silent about all videos but a, and one that saw everything.
fn with_experts(set: &mut Folder) {
    let mut sound = [9.0; 16];
    sound[..5].copy_from_slice(&[1.0, 2.0, 3.0, 4.0, f32::NAN]);
    set.put("experts.sound", Dtype::F32, &[4, 2, 2], f32s(&sound));
    set.put("experts.sound.mask", Dtype::U8, &[4, 2], vec![1, 1, 0, 0, 0, 0, 0, 0]);
    set.put("experts.motion", Dtype::F16, &[4, 1, 3], f16s(&[0.5; 12]));
    set.put("experts.motion.mask", Dtype::U8, &[4, 1], vec![1; 4]);
}

#[test]
fn experts_are_read_by_name_and_silence_is_zero() {
    let folder = tempfile::tempdir().unwrap();
    let mut set = small();
    with_experts(&mut set);
    set.write(folder.path());
    let file = FeatureFile::open(folder.path()).unwrap();
    let [motion, sound] = file.experts() else { panic!("{:?}", file.experts()) };
    assert_eq!((motion.name.as_str(), motion.steps, motion.width), ("motion", 1, 3));
    assert_eq!((sound.name.as_str(), sound.steps, sound.width), ("sound", 2, 2));
    assert_eq!(file.expert(sound, 0).unwrap(), [1.0, 2.0, 3.0, 4.0]);
    assert_eq!(file.expert(sound, 1).unwrap(), [0.0; 4], "silence is zero");
    assert_eq!([file.expert_mask(sound, 0), file.expert_mask(sound, 1)], [[true; 2], [false; 2]]);
    assert_eq!(file.expert(motion, 1).unwrap(), [0.5; 3]);
    small().write(folder.path());
    assert!(FeatureFile::open(folder.path()).unwrap().experts().is_empty());
}

#[test]
fn an_expert_that_is_half_there_is_refused() {
    let change = |break_it: fn(&mut Folder)| {
        move |set: &mut Folder| {
            with_experts(set);
            break_it(set);
        }
    };
    let message = "features.safetensors: tensor \"experts.sound.mask\" is missing";
    refuses(change(|set| set.tensors.retain(|(name, ..)| *name != "experts.sound.mask")), open, message);
    let message = "features.safetensors: tensor \"experts.sound\" is missing";
    refuses(change(|set| set.tensors.retain(|(name, ..)| *name != "experts.sound")), open, message);
    let message = "features.safetensors: tensor \"experts.motion\" has 1 videos, but frames has 4";
    refuses(change(|set| set.put("experts.motion", Dtype::F32, &[1, 1, 3], f32s(&[0.0; 3]))), open, message);
    let read = |file: &FeatureFile| file.expert(&file.experts()[1], 1);
    let message = "features.safetensors: \"b\" step 0 of expert \"sound\" holds a value that is not finite; encode the \
                   video again";
    refuses(change(|set| set.put("experts.sound.mask", Dtype::U8, &[4, 2], vec![1; 8])), read, message);
}

#[test]
fn sentences_are_those_of_their_rows() {
    let folder = tempfile::tempdir().unwrap();
    small().write(folder.path());
    let path = folder.path().join("captions.jsonl");
    let line = |id: &str, video: &str| {
        format!("{{\"id\": \"{id}\", \"video\": \"{video}\", \"text\": \"of {id}\"}}\n")
    };
    let read = |text: String| {
        std::fs::write(&path, text).unwrap();
        let found = FeatureFile::open(folder.path()).unwrap().captions();
        found.map_err(|error| error.to_string().replace(&format!("{}/", folder.path().display()), ""))
    };
    let (a0, b0, a1) = (line("a0", "a"), line("b0", "b"), line("a1", "a"));
    let c0d0 = line("c0", "c") + &line("d0", "d");
    let sentences = ["of a0", "of b0", "of a1", "of c0", "of d0"];
    assert_eq!(read(format!("{a0}{b0}{a1}{c0d0}")).unwrap(), sentences);
    let splits = small().splits;
    std::fs::write(folder.path().join("splits.json"), format!("\u{feff}{splits}")).unwrap();
    assert_eq!(read(format!("\u{feff}{a0}{b0}{a1}{c0d0}")).unwrap(), sentences, "a mark is no text");
    assert_eq!(
        read(format!("{a0}{a1}{b0}{c0d0}")).unwrap_err(),
        "captions.jsonl: \"a1\" of a stands on line 2, but there features.safetensors has b0 of b; write both in one order"
    );
    assert_eq!(read(format!("{a0}{b0}")).unwrap_err(), "captions.jsonl: has 2 captions for 5 rows of text");
    assert_eq!(
        read(format!("{a0}{b0}{a1}{c0d0}{a1}")).unwrap_err(),
        "captions.jsonl: \"a1\" of a stands on line 6, but there features.safetensors has nothing of no video; write both \
         in one order"
    );
    std::fs::remove_file(&path).unwrap();
    let message = FeatureFile::open(folder.path()).unwrap().captions().unwrap_err().to_string();
    assert!(message.contains("captions.jsonl: cannot read"), "{message}");
}

/// Reads all that can be read.
fn read(folder: &Path) {
    let Ok(file) = FeatureFile::open(folder) else { return };
    for split in [Split::Train, Split::Val, Split::Test] {
        let part = file.part(split);
        assert_eq!(part.queries.len(), part.videos.len());
        assert_eq!(part.texts.len(), part.text_video.len());
    }
    for video in 0..file.video_ids().len() {
        assert!(file.mask(video).contains(&true));
        if let Ok(values) = file.frames(video) {
            assert_eq!(values.len(), file.frames_per_video() * file.width());
            assert!(values.iter().all(|value| value.is_finite()));
        }
    }
    for text in 0..file.text_ids().len() {
        assert!(file.text(text).map_or(true, |values| values.len() == file.text_width()));
    }
}

#[test]
fn every_truncation_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let set = small();
    set.write(folder.path());
    let whole = set.bytes();
    for keep in 0..whole.len() {
        std::fs::write(folder.path().join("features.safetensors"), &whole[..keep]).unwrap();
        let error = FeatureFile::open(folder.path()).unwrap_err().to_string();
        assert!(error.contains("features.safetensors: not a whole safetensors file: "), "{keep}: {error}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    #[test]
    fn broken_bytes_never_panic(
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..4),
        digits in prop::collection::vec((any::<prop::sample::Index>(), b'0'..=b'9'), 0..4),
        cut in prop::option::of(any::<prop::sample::Index>()),
        splits in prop::option::of((any::<prop::sample::Index>(), any::<u8>())),
    ) {
        let folder = tempfile::tempdir().unwrap();
        let set = small();
        set.write(folder.path());
        let mut bytes = set.bytes();
        // Other digits leave the header valid, so that shapes, offsets and ids change.
        let places: Vec<usize> = (8..bytes.len()).filter(|&place| bytes[place].is_ascii_digit()).collect();
        for (place, digit) in digits {
            bytes[places[place.index(places.len())]] = digit;
        }
        for (place, value) in changes {
            let place = place.index(bytes.len());
            bytes[place] = value;
        }
        if let Some(cut) = cut {
            bytes.truncate(cut.index(bytes.len()));
        }
        std::fs::write(folder.path().join("features.safetensors"), bytes).unwrap();
        if let Some((place, value)) = splits {
            let mut splits = set.splits.as_bytes().to_vec();
            let place = place.index(splits.len());
            splits[place] = value;
            std::fs::write(folder.path().join("splits.json"), splits).unwrap();
        }
        read(folder.path());
    }
}

#[test]
fn the_real_msrvtt476_has_its_counts() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data/msrvtt476");
    if !folder.exists() {
        eprintln!("skipped: {} is not here", folder.display());
        return;
    }
    let file = FeatureFile::open(&folder).unwrap();
    assert_eq!((file.video_ids().len(), file.text_ids().len()), (4827, 19_296));
    assert_eq!((file.frames_per_video(), file.width(), file.text_width()), (6, 192, 384));
    let mut of_length = [0; 7];
    for video in 0..4827 {
        of_length[file.mask(video).iter().filter(|&&real| real).count()] += 1;
        assert_eq!(file.frames(video).unwrap().len(), 6 * 192);
    }
    assert_eq!(of_length, [0, 0, 1853, 0, 1100, 0, 1874]);
    for (split, videos, texts) in
        [(Split::Train, 4107, 16_428), (Split::Val, 244, 488), (Split::Test, 476, 2380)]
    {
        let part = file.part(split);
        let counts = (part.videos.len(), part.queries.len(), part.texts.len(), part.text_video.len());
        assert_eq!(counts, (videos, videos, texts, texts), "{}", split.name());
        for (video, &query) in part.queries.iter().enumerate() {
            assert_eq!(part.text_video[query], video);
        }
    }
    let test = file.part(Split::Test);
    assert_eq!(file.video_ids()[test.videos[0]], "video7020");
    assert_eq!(file.text_ids()[test.texts[test.queries[0]]], "ret2");
    let norm: f32 = file.text(0).unwrap().iter().map(|value| value * value).sum();
    assert!((norm - 1.0).abs() < 1e-3, "{norm}"); // unit length in f16
}
