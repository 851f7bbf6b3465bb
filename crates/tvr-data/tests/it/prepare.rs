//! A list of videos into a store: once, whatever is in it.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::channel;
use std::time::Instant;

use tvr_data::frames::{AsDecoded, Finish, Picture, Verdict};
use tvr_data::prepare::Note;
use tvr_data::{Entry, FrameBatch, Manifest, Outcome, Preparation, Sampler, Store};

use crate::shared::{LIMIT, both, centres};

static GO_ON: AtomicBool = AtomicBool::new(false);

/// Every picture becomes 2 x 2, its corners.
struct Corners;

impl Finish for Corners {
    fn name(&self) -> String {
        "corners".into()
    }

    fn finish(&self, picture: Picture) -> Picture {
        let (width, height) = (picture.width(), picture.height());
        let places = [0, width - 1, (height - 1) * width, height * width - 1];
        let pixels =
            places.iter().flat_map(|&place| picture.values()[place * 3..place * 3 + 3].to_vec()).collect();
        Picture::from_rgb(2, 2, pixels).unwrap()
    }
}

fn preparation(finish: &dyn Finish) -> Preparation<'_> {
    Preparation { sampler: centres(4), finish, limit: LIMIT, stop: &GO_ON }
}

fn entries(paths: &[PathBuf]) -> Vec<Entry> {
    let entry = |(number, path): (usize, &PathBuf)| Entry {
        id: format!("../{number}"),
        path: path.clone(),
        captions: Vec::new(),
        split: None,
    };
    paths.iter().enumerate().map(entry).collect()
}

/// Folders of frames, each of its own grey.
fn folders(folder: &Path, clips: usize) -> Vec<PathBuf> {
    let paths: Vec<PathBuf> = (0..clips).map(|clip| folder.join(format!("clip {clip}"))).collect();
    for (clip, path) in paths.iter().enumerate() {
        std::fs::create_dir(path).unwrap();
        for frame in 0..3u8 {
            let grey = image::Rgb([clip as u8, frame, 7]);
            image::RgbImage::from_pixel(3, 3, grey).save(path.join(format!("{frame}.png"))).unwrap();
        }
    }
    paths
}

#[test]
fn a_second_run_decodes_nothing_and_says_the_same() {
    let folder = tempfile::tempdir().unwrap();
    let mut entries = entries(&folders(folder.path(), 12));
    entries.push(Entry { path: folder.path().join("none.mp4"), id: "none".into(), ..entries[0].clone() });
    std::fs::write(folder.path().join("empty.mp4"), "").unwrap();
    entries.push(Entry { path: folder.path().join("empty.mp4"), id: "empty".into(), ..entries[0].clone() });
    std::fs::write(folder.path().join("broken.png"), b"\x89PNG\r\n\x1a\n").unwrap();
    entries.push(Entry { path: folder.path().join("broken.png"), id: "broken".into(), ..entries[0].clone() });
    let path = folder.path().join("store");
    let mut store = Store::open(&path).unwrap();
    let mut told = Vec::new();
    let first = preparation(&Corners).run(&entries, &mut store, &mut |place, _| told.push(place)).unwrap();
    told.sort_unstable();
    assert_eq!(told, (0..15).collect::<Vec<_>>(), "every clip is told once");
    let kinds: Vec<&str> = first
        .iter()
        .map(|outcome| match outcome {
            Outcome::Ready { verdict: Verdict::Whole, .. } => "whole",
            Outcome::Failed(fault) => fault.kind(),
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(kinds[..12], ["whole"; 12]);
    assert_eq!(kinds[12..], ["not there", "empty", "unreadable"]);
    let before = (store.stat(), std::fs::metadata(path.join("files.jsonl")).unwrap().len());
    let mut store = Store::open(&path).unwrap();
    let second = preparation(&Corners).run(&entries, &mut store, &mut |_, _| {}).unwrap();
    assert_eq!(first, second);
    assert_eq!((store.stat(), std::fs::metadata(path.join("files.jsonl")).unwrap().len()), before);
    // Another finish, another sampler, other bytes: other frames.
    let Outcome::Ready { key, .. } = &first[3] else { panic!("{:?}", first[3]) };
    let other = preparation(&AsDecoded).run(&entries[3..4], &mut store, &mut |_, _| {}).unwrap();
    assert_ne!(other, [first[3].clone()]);
    let sampler = Preparation { sampler: Sampler::All, ..preparation(&Corners) };
    assert_ne!(sampler.run(&entries[3..4], &mut store, &mut |_, _| {}).unwrap(), [first[3].clone()]);
    let batch = FrameBatch::read(&store, &[*key], Some(4)).unwrap();
    assert_eq!(batch.pixels.chunks(12).map(|frame| frame[1]).collect::<Vec<_>>(), [0, 1, 1, 2]);
    assert_eq!(batch.mask, [true; 4]);
    image::RgbImage::from_pixel(3, 3, image::Rgb([9, 9, 9]))
        .save(folder.path().join("clip 3/1.png"))
        .unwrap();
    let changed = preparation(&Corners).run(&entries[3..4], &mut store, &mut |_, _| {}).unwrap();
    assert_ne!(changed, [first[3].clone()], "a file that changed is decoded again");
    assert!(!folder.path().parent().unwrap().join("0").exists(), "an id is no path");
}

#[test]
fn an_animation_by_itself_and_alone_in_a_folder_are_two_clips() {
    let folder = tempfile::tempdir().unwrap();
    let frames = folder.path().join("frames");
    std::fs::create_dir(&frames).unwrap();
    let mut bytes = Vec::new();
    let mut encoder = image::codecs::gif::GifEncoder::new(&mut bytes);
    for grey in [0, 80, 160] {
        let frame = image::RgbaImage::from_pixel(3, 3, image::Rgba([grey, grey, grey, 255]));
        encoder.encode_frame(image::Frame::new(frame)).unwrap();
    }
    drop(encoder);
    let animation = folder.path().join("clip.gif");
    std::fs::write(&animation, &bytes).unwrap();
    std::fs::write(frames.join("1.gif"), &bytes).unwrap();
    // The folder first: its frame must not be taken for the animation's.
    for order in [[&frames, &animation], [&animation, &frames]] {
        let mut store = Store::open(&folder.path().join(format!("store {}", order[0] == &frames))).unwrap();
        for path in order {
            let entries = entries(std::slice::from_ref(path));
            let outcomes = preparation(&Corners).run(&entries, &mut store, &mut |_, _| {}).unwrap();
            let Outcome::Ready { key, .. } = &outcomes[0] else { panic!("{outcomes:?}") };
            let total = Note::of(&store.get(key).unwrap().unwrap()).unwrap().total;
            assert_eq!(total, if path == &animation { 3 } else { 1 }, "{}", path.display());
        }
    }
}

/// Somebody who writes a file while it is decoded.
struct Meddling<'a> {
    path: &'a Path,
    bytes: &'a [u8],
    over: AtomicBool,
}

impl Finish for Meddling<'_> {
    fn name(&self) -> String {
        Corners.name()
    }

    fn finish(&self, picture: Picture) -> Picture {
        if !self.over.swap(true, Ordering::Relaxed) {
            std::fs::write(self.path, self.bytes).unwrap();
        }
        Corners.finish(picture)
    }
}

#[test]
fn a_file_that_changes_while_it_is_decoded_is_told_and_nothing_of_it_is_kept() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("still.png");
    let still = |grey: u8, more: &[u8]| {
        let mut bytes = std::io::Cursor::new(Vec::new());
        image::RgbImage::from_pixel(3, 3, image::Rgb([grey; 3]))
            .write_to(&mut bytes, image::ImageFormat::Png)
            .unwrap();
        [&bytes.into_inner()[..], more].concat() // behind its end a PNG may hold anything
    };
    std::fs::write(&path, still(10, &[])).unwrap();
    let entries = entries(std::slice::from_ref(&path));
    let mut store = Store::open(&folder.path().join("store")).unwrap();
    let run = |sampler: Sampler, grey: u8, length: usize, store: &mut Store| {
        let bytes = still(grey, &vec![0; length]); // another size, whatever the clock of the disk
        let meddling = Meddling { path: &path, bytes: &bytes, over: AtomicBool::new(false) };
        let records = store.stat().records;
        let preparation = Preparation { sampler, ..preparation(&meddling) };
        let changed = preparation.run(&entries, store, &mut |_, _| {}).unwrap();
        let Outcome::Failed(fault) = &changed[0] else { panic!("{changed:?}") };
        assert_eq!(fault.to_string(), "cannot be opened: the file changed while it was read");
        assert_eq!(store.stat().records, records, "nothing is kept");
        let outcomes = preparation.run(&entries, store, &mut |_, _| {}).unwrap();
        let Outcome::Ready { key, .. } = &outcomes[0] else { panic!("{outcomes:?}") };
        assert_eq!(
            store.get(key).unwrap().unwrap().bytes[0],
            grey,
            "the frames are those of what is there now"
        );
    };
    run(centres(4), 20, 1, &mut store); // a file that is seen for the first time
    run(Sampler::All, 30, 2, &mut store); // one whose hash is known
}

#[test]
fn work_that_is_stopped_goes_on_where_it_was() {
    let folder = tempfile::tempdir().unwrap();
    let entries = entries(&folders(folder.path(), 40));
    let stop = AtomicBool::new(false);
    let mut store = Store::open(&folder.path().join("store")).unwrap();
    let stopped = Preparation { stop: &stop, ..preparation(&Corners) };
    let mut done = 0;
    let outcomes = stopped
        .run(&entries, &mut store, &mut |_, _| {
            done += 1;
            stop.store(done >= 5, Ordering::Relaxed);
        })
        .unwrap();
    let open = outcomes.iter().filter(|outcome| **outcome == Outcome::Open).count();
    assert!(open > 0 && open <= 35, "{open} of 40 are open");
    assert_eq!(store.stat().records, 40 - open);
    // Those that are known need no work, and wait for nobody who wants to stop.
    let mut told = 0;
    let outcomes = stopped.run(&entries, &mut store, &mut |_, _| told += 1).unwrap();
    assert_eq!((told, outcomes), (0, vec![Outcome::Open; 40]));
    let mut fresh = 0;
    let rest = preparation(&Corners).run(&entries, &mut store, &mut |_, _| fresh += 1).unwrap();
    assert!(rest.iter().all(|outcome| matches!(outcome, Outcome::Ready { .. })));
    assert_eq!((fresh, store.stat().records), (40, 40));
}

#[test]
fn a_store_that_cannot_be_written_ends_the_work_and_no_worker_waits() {
    let folder = tempfile::tempdir().unwrap();
    let entries = entries(&folders(folder.path(), 60));
    let path = folder.path().join("store");
    let mut store = Store::open(&path).unwrap();
    std::fs::remove_dir(path.join("shards")).unwrap();
    let (send, receive) = channel();
    std::thread::spawn(move || {
        let ended = preparation(&Corners).run(&entries, &mut store, &mut |_, _| {});
        send.send(ended.map_err(|error| error.to_string()))
    });
    let ended = receive.recv_timeout(LIMIT).expect("somebody waits");
    let error = ended.unwrap_err();
    assert!(error.contains("shards: cannot read: "), "{error}");
}

#[test]
fn known_clips_take_less_than_a_second_for_ten_thousand() {
    let folder = tempfile::tempdir().unwrap();
    let stills: Vec<PathBuf> = (0..2500).map(|clip| folder.path().join(format!("{clip}.png"))).collect();
    let mut bytes = Vec::new();
    let still = image::RgbImage::from_pixel(2, 2, image::Rgb([1, 2, 3]));
    still.write_to(&mut std::io::Cursor::new(&mut bytes), image::ImageFormat::Png).unwrap();
    for (number, path) in stills.iter().enumerate() {
        // Behind its end a PNG may hold anything: so many files of so many hashes.
        std::fs::write(path, [&bytes[..], &(number as u32).to_le_bytes()].concat()).unwrap();
    }
    let entries = entries(&stills);
    let path = folder.path().join("store");
    preparation(&Corners).run(&entries, &mut Store::open(&path).unwrap(), &mut |_, _| {}).unwrap();
    // The quickest of three: other programs share the machine.
    let seconds = (0..3).map(|_| {
        let start = Instant::now();
        let mut store = Store::open(&path).unwrap();
        let outcomes = preparation(&Corners).run(&entries, &mut store, &mut |_, _| {}).unwrap();
        assert_eq!(outcomes.len(), 2500);
        start.elapsed().as_secs_f64()
    });
    let seconds = seconds.fold(f64::INFINITY, f64::min);
    println!("2,500 known clips: {seconds:.3} s");
    assert!(seconds < 0.25, "{seconds} s");
}

#[test]
fn the_real_clips_and_the_damaged_ones_are_prepared() {
    let Some((folder, _)) = both() else { return };
    let manifest = Manifest::read(&folder.join("manifest.jsonl")).unwrap();
    let mut entries: Vec<Entry> = manifest.entries;
    entries.sort_by_key(|entry| entry.path.metadata().unwrap().len());
    entries.truncate(10); // the smallest
    let real = entries.len();
    for name in
        ["bitflips.mp4", "audio_only.mp4", "truncated.webm", "text.mp4", "truncated.gif", "directory.mp4"]
    {
        let path = folder.join("damaged").join(name);
        entries.push(Entry { id: path.display().to_string(), path, captions: Vec::new(), split: None });
    }
    let scratch = tempfile::tempdir().unwrap();
    let mut store = Store::open(&scratch.path().join("store")).unwrap();
    let outcomes = preparation(&Corners).run(&entries, &mut store, &mut |_, _| {}).unwrap();
    let mut keys = Vec::new();
    for (entry, outcome) in entries.iter().zip(&outcomes).take(real) {
        let Outcome::Ready { key, verdict: Verdict::Whole } = outcome else {
            panic!("{}: {outcome:?}", entry.id)
        };
        let record = store.get(key).unwrap().unwrap();
        let note = Note::of(&record).unwrap();
        assert_eq!(note.indices, centres(4).indices(note.total, note.rate, 0), "{}", entry.id);
        keys.push(*key);
    }
    let batch = FrameBatch::read(&store, &keys, Some(4)).unwrap();
    assert_eq!(batch.pixels.len(), real * 4 * 2 * 2 * 3);
    let failed = outcomes[real..].iter().filter(|outcome| matches!(outcome, Outcome::Failed(_))).count();
    let partial =
        |outcome: &&Outcome| matches!(outcome, Outcome::Ready { verdict: Verdict::Partial { .. }, .. });
    let partial = outcomes[real..].iter().filter(partial).count();
    assert_eq!((failed, partial), (3, 3), "no damaged file passes for whole");
    let again = preparation(&Corners).run(&entries, &mut store, &mut |_, _| {}).unwrap();
    assert_eq!(outcomes, again);
}
