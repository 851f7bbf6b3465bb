//! Features in the store, beside the frames that they are of.

use std::path::Path;
use std::sync::atomic::AtomicBool;

use tvr_data::frames::AsDecoded;
use tvr_data::prepare::video_of;
use tvr_data::store::{Kind, Value};
use tvr_data::{ClipFeatures, Entry, FrameBatch, FrameFeatures, Key, Outcome, Preparation, Store};

use crate::shared::{LIMIT, centres};

static GO_ON: AtomicBool = AtomicBool::new(false);

/// Keys of the frames of some stills, four frames each.
fn prepared(folder: &Path, store: &mut Store, clips: u8) -> Vec<Key> {
    let entry = |clip: u8| {
        let path = folder.join(format!("{clip}.png"));
        image::RgbImage::from_pixel(2, 2, image::Rgb([clip, 0, 9])).save(&path).unwrap();
        Entry { id: clip.to_string(), path, captions: Vec::new(), split: None }
    };
    let entries: Vec<Entry> = (0..clips).map(entry).collect();
    let preparation = Preparation { sampler: centres(4), finish: &AsDecoded, limit: LIMIT, stop: &GO_ON };
    let outcomes = preparation.run(&entries, store, &mut |_, _| {}).unwrap();
    let key = |outcome: Outcome| match outcome {
        Outcome::Ready { key, .. } => key,
        other => panic!("{other:?}"),
    };
    outcomes.into_iter().map(key).collect()
}

fn values(clip: usize) -> Vec<f32> {
    (0..4 * 3).map(|place| clip as f32 + 0.25 * place as f32).collect()
}

#[test]
fn features_lie_beside_the_frames_each_encoder_s_by_itself() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store");
    let mut store = Store::open(&path).unwrap();
    let frames = prepared(folder.path(), &mut store, 3);
    let [one, other] = ["one", "other"].map(|name| FrameFeatures::of(name.to_owned()));
    for (clip, key) in frames.iter().enumerate() {
        assert_eq!(one.get(&store, key).unwrap(), None);
        one.put(&mut store, key, &values(clip), 3).unwrap();
        other.put(&mut store, key, &values(clip + 7), 3).unwrap();
        // What is there stays as it is.
        one.put(&mut store, key, &values(99), 3).unwrap();
    }
    store.flush().unwrap();
    for store in [store, Store::open(&path).unwrap()] {
        for (clip, key) in frames.iter().enumerate() {
            let found = |features: &FrameFeatures| features.get(&store, key).unwrap().unwrap();
            assert_eq!(found(&one), ClipFeatures { values: values(clip), frames: 4, width: 3 });
            assert_eq!(found(&other).values, values(clip + 7));
            let videos = [*key, one.key(key), other.key(key)]
                .map(|key| video_of(&store.get(&key).unwrap().unwrap()).unwrap());
            assert!(videos[0] == videos[1] && videos[0] == videos[2], "{videos:?}");
        }
        let stat = store.stat();
        assert_eq!((stat.shards, stat.records, stat.frames, stat.features), (1, 9, 3, 6));
        assert!(store.verify(&mut |_| {}).is_empty());
        // Neither is taken for the other.
        let error = FrameBatch::read(&store, &[one.key(&frames[0])], None).unwrap_err().to_string();
        assert!(error.ends_with("holds no frames: it is F32 [4, 3]"), "{error}");
    }
    // What belongs to a video goes and stays together.
    let store = Store::open(&path).unwrap();
    let wanted = video_of(&store.get(&frames[1]).unwrap().unwrap());
    let collected = store.collect(&|record| video_of(record) == wanted).unwrap();
    assert_eq!((collected.kept, collected.dropped), (3, 6));
    let store = Store::open(&path).unwrap();
    assert_eq!(one.get(&store, &frames[1]).unwrap().unwrap().values, values(1));
    assert_eq!(one.get(&store, &frames[0]).unwrap(), None);
}

#[test]
fn features_that_are_not_of_the_frames_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let mut store = Store::open(&folder.path().join("store")).unwrap();
    let frames = prepared(folder.path(), &mut store, 1);
    let features = FrameFeatures::of("one".into());
    let mut fails = |key: &Key, values: &[f32], words: &str| {
        let error = features.put(&mut store, key, values, 3).unwrap_err().to_string();
        assert!(error.ends_with(words), "{error}");
    };
    fails(&frames[0], &values(0)[..9], "has 4 frames, but 9 values of features 3 wide are given");
    fails(&Key::of(&[("no", "key")]), &values(0), "is not there, and features of it are");
    let key = features.key(&frames[0]);
    store.put(key, Kind::U8, "{}", &Value { shape: &[1], bytes: &[1] }).unwrap();
    store.flush().unwrap();
    let error = features.get(&store, &frames[0]).unwrap_err().to_string();
    assert!(error.ends_with("holds no features: it is U8 [1]"), "{error}");
}
