//! Frames of real clips: decoded and resized, and read back from the store as a training batch. The peers of the first
//! are in `peers/decoders.py`.
//!
//! | id | what |
//! |---|---|
//! | `frames/decode-12x224/13-clips` | 12 centre frames of each clip, short side 224, centre crop, into a fresh store |
//! | `frames/decode-12x224/104-clips` | the same clips eight times over: FFmpeg's start is shared by more of them |
//! | `frames/load-128x12x224` | a batch of 128 clips out of a store of 1,000, as pixels that a tower takes, 16 clips at a time |
//! | `frames/step-128x12x224` | what forward and back of ViT-B/32 on as many frames take, from 12 of them; and the share that loading has |
//! | `frames/prepare-1000-clips` | 1,000 clips into a store, and the process's own memory after 100 and after all of them |
//!
//! The last takes minutes, and the one before it most of a minute: an argument chooses among the ids.

#![allow(clippy::print_stdout, reason = "a bench prints its figures")]

mod support;

use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

use burn::prelude::*;
use burn::tensor::Distribution;
use rayon::prelude::*;
use tvr_clip::{ClipConfig, Picture, Preprocessor, PreprocessorConfig, Reference};
use tvr_data::sampling::{Offset, Sampler};
use tvr_data::store::{Kind, Value};
use tvr_data::{Entry, FrameBatch, Key, Outcome, Preparation, Store};
use tvr_experiment::prepare::Crop;

use support::median_of_five;

const FRAMES: usize = 12;
const SIDE: usize = 224;
const BATCH: usize = 128;
const CHUNK: usize = 16;
const CLIPS: usize = 1000;

static GO_ON: AtomicBool = AtomicBool::new(false);

fn main() {
    tvr_nn::keep_freed_memory();
    let videos = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/data/videos");
    if videos.is_dir() {
        decode(&videos, 1);
        decode(&videos, 8);
        if asked("frames/prepare-1000-clips", false) {
            prepare_many(&videos);
        }
    } else {
        println!("# frames/decode, frames/prepare: left out, {} is not there", videos.display());
    }
    if asked("frames/load-128x12x224", true) || asked("frames/step-128x12x224", true) {
        rayon::scope(|_| load());
    }
}

/// Whether an argument chooses the id; `without` is what holds without an argument.
fn asked(id: &str, without: bool) -> bool {
    std::env::args().skip(1).find(|word| !word.starts_with('-')).map_or(without, |part| id.contains(&part))
}

fn entries(paths: Vec<PathBuf>) -> Vec<Entry> {
    let entry =
        |path: PathBuf| Entry { id: path.display().to_string(), path, captions: Vec::new(), split: None };
    paths.into_iter().map(entry).collect()
}

fn preparation(crop: &Crop) -> Preparation<'_> {
    let sampler = Sampler::Segments { frames: FRAMES, offset: Offset::Centre };
    Preparation { sampler, finish: crop, limit: Duration::from_secs(60), stop: &GO_ON }
}

/// The clips of `peers/decoders.py`: all but those of MSR-VTT with one or two frames a second, and the pancake.
fn clips(videos: &Path) -> Vec<PathBuf> {
    let mut paths = Vec::new();
    for folder in ["activitynet", "msrvtt", "msvd", "other"] {
        let files = std::fs::read_dir(videos.join("clips").join(folder)).into_iter().flatten().flatten();
        paths.extend(files.map(|file| file.path()).filter(|path| {
            let sparse =
                folder == "msrvtt" && !path.ends_with("video9770.mp4") && !path.ends_with("video7500.mp4");
            path.is_file() && !sparse
        }));
    }
    paths.sort();
    paths.push(videos.join("decord/flipping_a_pancake.mkv"));
    paths
}

fn decode(videos: &Path, times: usize) {
    let (Ok(crop), Ok(scratch)) = (Crop::square(SIDE), tempfile::tempdir()) else { return };
    let entries = entries(std::iter::repeat_n(clips(videos), times).flatten().collect());
    let mut runs = 0;
    median_of_five(&format!("frames/decode-{FRAMES}x{SIDE}/{}-clips", entries.len()), || {
        runs += 1;
        let Ok(mut store) = Store::open(&scratch.path().join(runs.to_string())) else { return 0 };
        let outcomes = preparation(&crop).run(&entries, &mut store, &mut |_, _| {}).unwrap_or_default();
        let ready = outcomes.iter().filter(|outcome| matches!(outcome, Outcome::Ready { .. })).count();
        if ready < entries.len() {
            println!("# {ready} of {} clips came out", entries.len());
        }
        ready
    });
}

/// Many files of one clip; a box of type `free` with a number makes each another file of the same frames.
fn prepare_many(videos: &Path) {
    let (Ok(crop), Ok(scratch)) = (Crop::square(SIDE), tempfile::tempdir()) else { return };
    let Ok(clip) = std::fs::read(videos.join("clips/msrvtt/video9770.mp4")) else { return };
    let mut paths = Vec::new();
    for number in 0..CLIPS as u32 {
        let path = scratch.path().join(format!("{number}.mp4"));
        let tail = [&12u32.to_be_bytes()[..], b"free", &number.to_be_bytes()].concat();
        if std::fs::write(&path, [&clip[..], &tail].concat()).is_ok() {
            paths.push(path);
        }
    }
    let Ok(mut store) = Store::open(&scratch.path().join("store")) else { return };
    let (mut done, mut early, start) = (0, 0.0, Instant::now());
    let outcomes = preparation(&crop).run(&entries(paths), &mut store, &mut |_, _| {
        done += 1;
        if done == CLIPS / 10 {
            early = anonymous_mib();
        }
    });
    let ready = outcomes.unwrap_or_default().iter().filter(|o| matches!(o, Outcome::Ready { .. })).count();
    println!(
        "frames/prepare-{CLIPS}-clips\ttvr\t{:.0}\t# {ready} came out; {early:.0} MiB of its own after a tenth, {:.0} at the end",
        start.elapsed().as_secs_f64() * 1e3,
        anonymous_mib()
    );
}

/// A batch out of the store, and what a step of the tower takes.
fn load() {
    let Ok(scratch) = tempfile::tempdir() else { return };
    let Ok(mut store) = Store::open(scratch.path()) else { return };
    let frames: Vec<u8> = (0..FRAMES * SIDE * SIDE * 3).map(|place| (place * 31 % 251) as u8).collect();
    let value = Value { shape: &[FRAMES, SIDE, SIDE, 3], bytes: &frames };
    let keys: Vec<Key> = (0..CLIPS).map(|clip| Key::of(&[("clip", &clip.to_string())])).collect();
    for key in &keys {
        if let Err(error) = store.put(*key, Kind::U8, "{}", &value) {
            println!("# frames/load: {error}");
            return;
        }
    }
    if store.flush().is_err() {
        return;
    }
    let Ok(preprocessor) = PreprocessorConfig::clip(SIDE, Reference::HuggingFace).init() else { return };
    let mut first = 0;
    let mut own = Vec::new();
    let mut seconds = Vec::new();
    median_of_five("frames/load-128x12x224", || {
        let start = Instant::now();
        // 389 and 1,000 share no factor: every clip is read before one is read again.
        let batch: Vec<Key> = (0..BATCH).map(|place| keys[(first + place * 389) % CLIPS]).collect();
        first += BATCH;
        let sum = batch.chunks(CHUNK).map(|chunk| pixels(&store, chunk, &preprocessor)).sum::<f32>();
        seconds.push(start.elapsed().as_secs_f64());
        own.push(anonymous_mib());
        sum
    });
    // Eight batches are the whole store.
    for _ in seconds.len()..8 {
        let batch: Vec<Key> = (0..BATCH).map(|place| keys[(first + place * 389) % CLIPS]).collect();
        first += BATCH;
        std::hint::black_box(
            batch.chunks(CHUNK).map(|chunk| pixels(&store, chunk, &preprocessor)).sum::<f32>(),
        );
        own.push(anonymous_mib());
    }
    let span = (own.first().copied().unwrap_or(0.0), own.last().copied().unwrap_or(0.0));
    println!(
        "# over {CLIPS} clips: {:.0} MiB of its own after the first batch, {:.0} after the last",
        span.0, span.1
    );
    if asked("frames/step-128x12x224", true) {
        seconds.sort_by(f64::total_cmp);
        step(seconds.get(seconds.len() / 2).copied().unwrap_or(f64::NAN));
    }
}

/// Pixels of some clips as the tower takes them, `[clips · frames, 3, side, side]`; their sum, so that none is left out.
fn pixels(store: &Store, clips: &[Key], preprocessor: &Preprocessor) -> f32 {
    let Ok(batch) = FrameBatch::read(store, clips, Some(FRAMES)) else { return f32::NAN };
    let frames: Vec<&[u8]> = batch.pixels.chunks_exact(SIDE * SIDE * 3).collect();
    let values: Vec<Vec<f32>> = frames
        .par_iter()
        .filter_map(|frame| Picture::from_rgb(SIDE, SIDE, frame.to_vec()).ok())
        .map(|picture| preprocessor.normalise(&picture))
        .collect();
    values.iter().map(|frame| frame[0]).sum()
}

/// Forward and back of ViT-B/32 on 12 frames, times 128.
fn step(loading: f64) {
    let training = Device::flex().autodiff();
    training.seed(1);
    let Ok(model) = ClipConfig::vit_b_32().init(&training) else { return };
    let plain = Device::flex();
    let pixels = Tensor::<4>::random([FRAMES, 3, SIDE, SIDE], Distribution::Normal(0.0, 1.0), &plain);
    let pixels = Tensor::<4>::from_inner(pixels);
    let mut walls: Vec<f64> = (0..4)
        .map(|_| {
            let start = Instant::now();
            std::hint::black_box(tvr_nn::sum(model.encode_images(pixels.clone()).square()).backward());
            start.elapsed().as_secs_f64()
        })
        .skip(1)
        .collect();
    walls.sort_by(f64::total_cmp);
    let step = walls[1] * BATCH as f64;
    println!(
        "frames/step-128x12x224\ttvr\t{:.0}\t# the image tower alone; loading is {:.2} % of it",
        step * 1e3,
        100.0 * loading / step
    );
}

/// Memory of the process that no file stands behind, MiB: what a memory map shows does not count.
fn anonymous_mib() -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:"));
    line.and_then(|rest| rest.split_whitespace().next()?.parse::<f64>().ok())
        .map_or(f64::NAN, |kib| kib / 1024.0)
}
