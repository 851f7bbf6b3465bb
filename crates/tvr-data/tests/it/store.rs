//! The store: what is put is got, whatever happens to the writer or to the bytes.

#[cfg(target_os = "linux")]
mod refused;

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use proptest::prelude::*;
use tvr_data::store::{Kind, Label, Record, Store, Value};
use tvr_data::{DataError, FrameBatch, Key};

/// Where a child of this binary writes; see [`a_child_writes`].
const FOLDER: &str = "TVR_TEST_STORE";
const FIRST: &str = "TVR_TEST_FIRST";

fn key(number: usize) -> Key {
    Key::of(&[("number", &number.to_string())])
}

/// Values of a record: some kB, so that a kill lands inside of one.
fn values(number: usize) -> Vec<u8> {
    (0..3 * 64 * 61).map(|place| (place * 7 + number * 13) as u8).collect()
}

fn put(store: &mut Store, number: usize) {
    let bytes = values(number);
    // Frames and features in turn.
    let (kind, shape): (_, &[usize]) =
        if number.is_multiple_of(2) { (Kind::U8, &[1, 64, 61, 3]) } else { (Kind::F32, &[61, 48]) };
    store.put(key(number), kind, "{}", &Value { shape, bytes: &bytes }).unwrap();
}

fn shards(store: &Path) -> Vec<PathBuf> {
    let mut paths: Vec<PathBuf> = std::fs::read_dir(store.join("shards"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|ending| ending == "shard"))
        .collect();
    paths.sort();
    paths
}

#[test]
fn what_is_put_is_got() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store");
    let mut store = Store::open(&path).unwrap();
    let half: Vec<u8> = [1.5f32, -2.0].iter().flat_map(|&v| half::f16::from_f32(v).to_le_bytes()).collect();
    let long = "ü".repeat(5000);
    let records: [(Kind, &str, &[usize], &[u8]); 5] = [
        (Kind::U8, "{}", &[2, 3], &[1, 2, 3, 4, 5, 6]),
        (Kind::F16, "half", &[2], &half),
        (Kind::F32, &long, &[1, 1], &1.25f32.to_le_bytes()),
        (Kind::U8, "", &[0, 7], &[]),
        (Kind::Fault, "why", &[], &[]),
    ];
    for (number, (kind, note, shape, bytes)) in records.iter().enumerate() {
        assert!(!store.has(&key(number)));
        store.put(key(number), *kind, note, &Value { shape, bytes }).unwrap();
        assert!(store.has(&key(number)));
        // What is there stays as it is.
        store.put(key(number), Kind::U8, "other", &Value { shape: &[1], bytes: &[9] }).unwrap();
    }
    store.flush().unwrap();
    for store in [store, Store::open(&path).unwrap()] {
        for (number, (kind, note, shape, bytes)) in records.iter().enumerate() {
            let expected = Record { kind: *kind, shape: shape.to_vec(), note, bytes };
            let record = store.get(&key(number)).unwrap().unwrap();
            assert_eq!(record, expected);
            let expected = Label { kind: *kind, shape: shape.to_vec(), note };
            assert_eq!(store.look(&key(number)).unwrap(), Some(expected));
            assert_eq!(record.bytes.as_ptr() as usize % 64, 0, "values lie at a multiple of 64");
        }
        assert_eq!(store.get(&key(99)).unwrap(), None);
        let stat = store.stat();
        assert_eq!((stat.shards, stat.records, stat.frames, stat.features, stat.faults), (1, 5, 2, 2, 1));
        assert_eq!((stat.doubled, stat.torn_bytes), (0, 0));
    }
}

#[test]
fn values_that_do_not_fit_their_shape_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let mut store = Store::open(&folder.path().join("store")).unwrap();
    for (kind, shape, bytes) in
        [(Kind::U8, &[2, 2][..], 3), (Kind::F32, &[2], 4), (Kind::U8, &[usize::MAX, 2], 2)]
    {
        let value = Value { shape, bytes: &vec![0; bytes] };
        let error = store.put(key(0), kind, "", &value).unwrap_err().to_string();
        assert!(error.contains(&format!("has {bytes} bytes for the shape {shape:?}")), "{error}");
    }
}

#[test]
fn a_folder_that_is_no_store_is_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("thesis.tex"), "x").unwrap();
    let error = Store::open(folder.path()).unwrap_err().to_string();
    assert!(error.ends_with(": is no store and not empty; name another folder"), "{error}");
    let other = tempfile::tempdir().unwrap();
    std::fs::write(other.path().join("store.json"), "{\"schema\": \"tvr-store/9\"}").unwrap();
    let error = Store::open(other.path()).unwrap_err().to_string();
    assert!(error.ends_with("store.json: is not {\"schema\": \"tvr-store/1\"}"), "{error}");
}

/// Not a test of its own: the process that the next two start. It writes records until it is killed.
#[test]
fn a_child_writes() {
    let Some(folder) = std::env::var_os(FOLDER) else { return };
    let first: usize = std::env::var(FIRST).unwrap().parse().unwrap();
    let mut store = Store::open(Path::new(&folder)).unwrap();
    for number in first..first + 4000 {
        put(&mut store, number);
    }
}

fn child(folder: &Path, first: usize) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "store::a_child_writes", "--nocapture"])
        .env(FOLDER, folder)
        .env(FIRST, first.to_string())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap()
}

#[test]
fn a_writer_killed_at_any_moment_leaves_whole_records_and_a_store_that_goes_on() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store");
    let mut known = 0;
    for round in 0..6 {
        let mut writer = child(&path, 0);
        std::thread::sleep(Duration::from_millis(30 + 17 * round));
        writer.kill().unwrap(); // SIGKILL
        writer.wait().unwrap();
        let store = Store::open(&path).unwrap();
        let stat = store.stat();
        assert!(stat.records >= known, "{stat:?}: fewer than before, {known}");
        assert_eq!(stat.doubled, 0, "a writer that goes on repeats nothing");
        known = stat.records;
        assert!(store.verify(&mut |_| {}).is_empty());
        for number in 0..known {
            assert_eq!(store.get(&key(number)).unwrap().unwrap().bytes, values(number), "record {number}");
        }
    }
    assert!(known > 0, "no round wrote anything");
    // The one who goes on cuts off what was torn.
    let mut store = Store::open(&path).unwrap();
    put(&mut store, 1_000_000);
    store.flush().unwrap();
    assert_eq!((store.stat().records, store.stat().torn_bytes, store.stat().shards), (known + 1, 0, 1));
}

#[test]
fn two_writers_write_two_shards_and_lose_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store");
    drop(Store::open(&path).unwrap());
    let writers = [child(&path, 0), child(&path, 2000)];
    for mut writer in writers {
        assert!(writer.wait().unwrap().success());
    }
    let store = Store::open(&path).unwrap();
    let stat = store.stat();
    assert_eq!(stat.records, 6000);
    assert!(store.verify(&mut |_| {}).is_empty());
    for number in 0..6000 {
        assert_eq!(store.get(&key(number)).unwrap().unwrap().bytes, values(number), "record {number}");
    }
    // Held together, they could not have shared a shard.
    let (mut a, mut b) = (Store::open(&path).unwrap(), Store::open(&path).unwrap());
    (put(&mut a, 9000), put(&mut b, 9001));
    let error = Store::open(&path).unwrap().collect(&|_| true).unwrap_err().to_string();
    assert!(error.ends_with("is being written to; wait for the other program to end"), "{error}");
    (a.flush().unwrap(), b.flush().unwrap());
    assert_eq!(Store::open(&path).unwrap().stat().records, 6002);
    assert!(shards(&path).len() >= 2);
}

#[test]
fn collecting_keeps_what_is_wanted_once() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store");
    let (mut a, mut b) = (Store::open(&path).unwrap(), Store::open(&path).unwrap());
    for number in 0..20 {
        put(&mut a, number); // both hold their shard, so both write all of them
        put(&mut b, number);
    }
    (a.flush().unwrap(), b.flush().unwrap());
    drop((a, b));
    let store = Store::open(&path).unwrap();
    assert_eq!((store.stat().records, store.stat().doubled, store.stat().shards), (20, 20, 2));
    let wanted: Vec<Vec<u8>> = (0..20).step_by(2).map(values).collect();
    let collected = store.collect(&|record| wanted.iter().any(|bytes| bytes == record.bytes)).unwrap();
    assert_eq!((collected.kept, collected.dropped), (10, 30));
    assert!(collected.bytes[1] * 3 < collected.bytes[0], "{collected:?}");
    let store = Store::open(&path).unwrap();
    assert_eq!((store.stat().records, store.stat().doubled, store.stat().shards), (10, 0, 1));
    for number in 0..20 {
        assert_eq!(store.get(&key(number)).unwrap().is_some(), number % 2 == 0);
    }
}

#[test]
fn a_reader_finds_everything_while_somebody_collects() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store");
    let mut store = Store::open(&path).unwrap();
    (0..8).for_each(|number| put(&mut store, number));
    drop(store);
    let over = AtomicBool::new(false);
    let read = std::thread::scope(|scope| {
        let collector = scope.spawn(|| {
            for _ in 0..60 {
                Store::open(&path).unwrap().collect(&|_| true).unwrap();
            }
            over.store(true, Ordering::Relaxed);
        });
        let mut read = 0;
        while !over.load(Ordering::Relaxed) && !collector.is_finished() {
            let store = Store::open(&path).unwrap();
            // What was opened stays readable when its files go.
            for number in 0..8 {
                let record = store.get(&key(number)).unwrap();
                assert!(record.is_some_and(|record| record.bytes == values(number)), "{number}, time {read}");
            }
            read += 1;
        }
        read
    });
    assert!(read > 0);
}

#[test]
fn a_lost_index_is_made_again_and_damage_hides_nothing_behind_it() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store");
    let mut store = Store::open(&path).unwrap();
    (0..10).for_each(|number| put(&mut store, number));
    drop(store);
    let shard = shards(&path).remove(0);
    let mut bytes = std::fs::read(&shard).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(&shard, &bytes).unwrap();
    // With its index the damaged record is found and named where it is read, and nowhere else.
    let store = Store::open(&path).unwrap();
    let damages = store.verify(&mut |_| {});
    assert_eq!(damages.len(), 1, "{damages:?}");
    assert!(damages[0].problem.contains("does not have its checksum"), "{}", damages[0].problem);
    assert!(store.get(&damages[0].key).is_err());
    // What it says of itself can be asked for without its values.
    let label = store.look(&damages[0].key).unwrap().unwrap();
    assert_eq!(
        (label.shape.iter().product::<usize>() * label.kind.size(), label.note),
        (values(0).len(), "{}")
    );
    assert_eq!((0..10).filter(|&number| store.get(&key(number)).is_ok()).count(), 9);
    // Without its index it is passed over, and those behind it are there.
    std::fs::remove_file(shard.with_extension("index")).unwrap();
    let mut store = Store::open(&path).unwrap();
    assert_eq!((store.stat().records, store.stat().torn_bytes > 0), (9, true));
    put(&mut store, 100);
    store.flush().unwrap();
    assert_eq!(store.stat().records, 10);
    let collected = store.collect(&|_| true).unwrap();
    assert_eq!(collected.kept, 10);
    assert_eq!(Store::open(&path).unwrap().stat().torn_bytes, 0);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(80))]

    #[test]
    fn a_shard_of_any_bytes_is_read_or_refused_and_never_lies(
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..8),
        cut: prop::sample::Index,
        index_too: bool,
        whole: bool,
    ) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("store");
        let mut store = Store::open(&path).unwrap();
        for number in 0..3 {
            let bytes = [number as u8; 12];
            store.put(key(number), Kind::U8, "note", &Value { shape: &[2, 2, 3], bytes: &bytes }).unwrap();
        }
        drop(store);
        let shard = shards(&path).remove(0);
        let file = if index_too { shard.with_extension("index") } else { shard };
        let mut bytes = std::fs::read(&file).unwrap();
        for (place, byte) in changes {
            let place = place.index(bytes.len());
            bytes[place] = byte;
        }
        if !whole {
            bytes.truncate(cut.index(bytes.len()));
        }
        std::fs::write(&file, &bytes).unwrap();
        // Whatever is read is what was written.
        if let Ok(mut store) = Store::open(&path) {
            for number in 0..3 {
                if let Ok(Some(record)) = store.get(&key(number)) {
                    prop_assert_eq!(record.bytes, [number as u8; 12]);
                    prop_assert_eq!(record.note, "note");
                }
            }
            store.verify(&mut |_| {});
            if store.put(key(7), Kind::U8, "", &Value { shape: &[1], bytes: &[7] }).is_ok() {
                store.flush().unwrap();
                prop_assert_eq!(store.get(&key(7)).unwrap().unwrap().bytes, [7]);
            }
        }
    }

    #[test]
    fn a_shard_of_noise_is_no_shard(noise in prop::collection::vec(any::<u8>(), 0..600), headed: bool) {
        // Without its head the noise is not even looked through.
        let noise = if headed { [&b"tvr-shard/1"[..], &[0; 53], b"TVRR", &noise].concat() } else { noise };
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("store");
        drop(Store::open(&path).unwrap());
        std::fs::write(path.join("shards/00000.shard"), &noise).unwrap();
        std::fs::write(path.join("shards/00000.index"), &noise).unwrap();
        match Store::open(&path) {
            Ok(store) => prop_assert_eq!(store.stat().records, 0),
            Err(error) => prop_assert!(!headed && matches!(error, DataError::Format { .. }), "{error}"),
        }
    }

    #[test]
    fn keys_of_different_facts_differ(a in ".{0,6}", b in ".{0,6}", c in ".{0,6}", d in ".{0,6}") {
        let same = (&a, &b) == (&c, &d);
        prop_assert_eq!(Key::of(&[(&a, &b)]) == Key::of(&[(&c, &d)]), same);
        prop_assert_ne!(Key::of(&[(&a, &b)]), Key::of(&[(&a, &b), (&c, &d)]));
    }
}

#[test]
fn a_batch_is_padded_and_says_what_is_real() {
    let folder = tempfile::tempdir().unwrap();
    let mut store = Store::open(&folder.path().join("store")).unwrap();
    let mut add = |number: usize, frames: usize, size: [usize; 2]| {
        let bytes = vec![number as u8; frames * size[0] * size[1] * 3];
        let shape = [frames, size[0], size[1], 3];
        store.put(key(number), Kind::U8, "{}", &Value { shape: &shape, bytes: &bytes }).unwrap();
    };
    add(1, 2, [1, 2]);
    add(2, 3, [1, 2]);
    add(3, 1, [2, 1]);
    store.put(key(4), Kind::Fault, "{}", &Value { shape: &[], bytes: &[] }).unwrap();
    store.flush().unwrap();
    let batch = FrameBatch::read(&store, &[key(2), key(1)], None).unwrap();
    assert_eq!((batch.frames, batch.size), (3, [1, 2]));
    assert_eq!(batch.mask, [true, true, true, true, true, false]);
    assert_eq!(batch.pixels, [vec![2; 18], vec![1; 12], vec![0; 6]].concat());
    let padded = FrameBatch::read(&store, &[key(1)], Some(4)).unwrap();
    assert_eq!((padded.mask, padded.pixels.len()), (vec![true, true, false, false], 24));
    let fails = |keys: &[Key], frames, words: &str| {
        let error = FrameBatch::read(&store, keys, frames).unwrap_err().to_string();
        assert!(error.contains(words), "{error}");
    };
    fails(&[key(2)], Some(2), "has shape [3, 1, 2, 3], but it must be at most 2 frames of 1 x 2");
    fails(&[key(2), key(3)], None, "has shape [1, 2, 1, 3], but it must be at most 3 frames of 1 x 2");
    fails(&[key(4)], None, "holds no frames");
    fails(&[key(5)], None, "is not there; run cargo xtask prepare again");
}
