//! Decoding a list of videos once, into a store.
//!
//! ```text
//! file ─ size, date ─▶ SHA-256 of its bytes ─┐
//! sampler, what is done to a picture, decoder ┴▶ key ─ in the store? ─▶ nothing to do
//!                                                      else ─▶ decode, several files a process ─▶ put
//! ```
//!
//! What cannot be decoded is put as well, with the reason: a second run has nothing to do. Only a file that is not
//! there, took too long, lost its FFmpeg, or changed while it was read is tried again.

mod task;

use std::path::PathBuf;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::sync_channel;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::benchmarks::manifest::Entry;
use crate::error::DataError;
use crate::frames::ffmpeg::Ffmpeg;
use crate::frames::{Decoder, Fault, Finish, Footage, FrameSource, Verdict};
use crate::sampling::Sampler;
use crate::store::{Hashed, Key, Kind, Record, Seen, Store, Value};
use task::Task;

pub use task::contents;

/// Changes when our own part of decoding changes what comes out of it.
const RULES: &str = "2";

/// Clips that one worker takes at a time, and that share a process of FFmpeg.
const TOGETHER: usize = 12;

/// Clips between two syncs of the store.
const SYNC: usize = 256;

/// How clips are decoded.
pub struct Preparation<'a> {
    /// Which frames are taken.
    pub sampler: Sampler,
    /// What is done to them.
    pub finish: &'a dyn Finish,
    /// The time limit for one clip.
    pub limit: Duration,
    /// Raised by whoever wants it to stop: what is decoded by then is kept.
    pub stop: &'a AtomicBool,
}

/// How a clip came out.
#[derive(Clone, Debug, PartialEq)]
pub enum Outcome {
    /// Its frames are in the store.
    Ready {
        /// Where.
        key: Key,
        /// Whether something of it is missing.
        verdict: Verdict,
    },
    /// It gives no picture.
    Failed(Fault),
    /// The work was stopped before.
    Open,
}

/// What is noted beside the frames of a clip.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Note {
    /// SHA-256 of the video's bytes.
    pub video: String,
    /// The sampler.
    pub sampler: Sampler,
    /// What was done to a picture.
    pub finish: String,
    /// The decoder and its version.
    pub decoder: String,
    /// Which frames they are.
    #[serde(default)]
    pub indices: Vec<usize>,
    /// Frames that the clip has.
    #[serde(default)]
    pub total: usize,
    /// Its frames a second.
    #[serde(default)]
    pub rate: f64,
    /// Whether something is missing; absent where there is no frame.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub verdict: Option<Verdict>,
    /// Why there is no frame.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub fault: Option<Fault>,
}

impl Note {
    /// The note of a record; `None` if it is not one of decoded frames.
    pub fn of(record: &Record<'_>) -> Option<Self> {
        Self::read(record.note)
    }

    /// As [`of`](Self::of), of its text.
    pub fn read(note: &str) -> Option<Self> {
        serde_json::from_str(note).ok()
    }
}

/// SHA-256 of the video that a record comes from, be it frames or features; `None` if its note names none.
pub fn video_of(record: &Record<'_>) -> Option<String> {
    #[derive(Deserialize)]
    struct Source {
        video: String,
    }
    serde_json::from_str::<Source>(record.note).ok().map(|source| source.video)
}

/// A clip that was decoded.
struct Done {
    place: usize,
    /// Files that were read for the first time.
    hashed: Vec<(PathBuf, Hashed)>,
    key: Option<Key>,
    note: Option<Note>,
    result: Result<Footage, Fault>,
}

impl Preparation<'_> {
    /// Decodes what is not in the store, on all cores. `told` hears after each clip: its place in `entries`, and how
    /// it came out; first of those that need no work.
    ///
    /// # Errors
    /// A store that cannot be written, or FFmpeg that is missing although it is needed. What is wrong with a clip is
    /// its [`Outcome`].
    pub fn run(
        &self,
        entries: &[Entry],
        store: &mut Store,
        told: &mut dyn FnMut(usize, &Outcome),
    ) -> Result<Vec<Outcome>, DataError> {
        let mut outcomes = vec![Outcome::Open; entries.len()];
        let mut seen = Seen::open(store.folder());
        let mut ffmpeg = None;
        let mut tasks = Vec::new();
        for (place, entry) in entries.iter().enumerate() {
            if self.stop.load(Ordering::Relaxed) {
                break;
            }
            let task = match Task::of(place, entry, &seen) {
                Ok(task) => task,
                Err(fault) => {
                    outcomes[place] = Outcome::Failed(fault);
                    told(place, &outcomes[place]);
                    continue;
                }
            };
            if task.source.is_video() && ffmpeg.is_none() {
                ffmpeg = Some(Ffmpeg::find()?);
            }
            let known = task.content().map(|content| self.note(&content, &task.source, ffmpeg.as_ref()));
            let known = match known {
                Some(note) => remembered(store, key(&note))?,
                None => None,
            };
            match known {
                Some(known) => {
                    outcomes[place] = known;
                    told(place, &outcomes[place]);
                }
                None => tasks.push(task),
            }
        }
        let workers = workers().min(tasks.len().max(1));
        let mut queue = groups(tasks, workers);
        queue.reverse();
        let queue = Mutex::new(queue);
        let (send, receive) = sync_channel::<Result<Done, DataError>>(2 * workers);
        let ffmpeg = ffmpeg.as_ref();
        std::thread::scope(|scope| {
            for _ in 0..workers {
                let (queue, send) = (&queue, send.clone());
                scope.spawn(move || {
                    while !self.stop.load(Ordering::Relaxed) {
                        let Some(tasks) = queue.lock().ok().and_then(|mut queue| queue.pop()) else { return };
                        let goes_on = match self.work(tasks, ffmpeg) {
                            Ok(done) => done.into_iter().all(|done| send.send(Ok(done)).is_ok()),
                            Err(error) => {
                                // Nobody needs it where nobody listens any more.
                                let _ = send.send(Err(error));
                                false
                            }
                        };
                        if !goes_on {
                            return;
                        }
                    }
                });
            }
            drop(send);
            // Taken in whole: an error ends the loop and with it the receiver, which workers would wait for without end.
            for (number, done) in receive.into_iter().enumerate() {
                let done = done?;
                for (path, hashed) in &done.hashed {
                    seen.remember(path, hashed);
                }
                let place = done.place;
                outcomes[place] = keep(store, done)?;
                told(place, &outcomes[place]);
                if number % SYNC == SYNC - 1 {
                    store.sync()?;
                    seen.save()?;
                }
            }
            Ok::<(), DataError>(())
        })?;
        store.flush()?;
        seen.save()?;
        Ok(outcomes)
    }

    /// Hashes what was not seen before, and decodes.
    fn work(&self, tasks: Vec<Task>, ffmpeg: Option<&Ffmpeg>) -> Result<Vec<Done>, DataError> {
        let failed = |place: usize, fault: Fault| {
            let result = Err(fault);
            Done { place, hashed: Vec::new(), key: None, note: None, result }
        };
        let (mut done, mut clips, mut ready) = (Vec::with_capacity(tasks.len()), Vec::new(), Vec::new());
        for mut task in tasks {
            let fresh = task.hashed.is_none();
            let content = match task.read() {
                Ok(content) => content,
                Err(fault) => {
                    done.push(failed(task.place, fault));
                    continue;
                }
            };
            let note = self.note(&content, &task.source, ffmpeg);
            let number = u64::from_str_radix(content.get(..16).unwrap_or(""), 16).unwrap_or(0);
            clips.push((task.source.clone(), number));
            ready.push((task, fresh, note));
        }
        let decoder = Decoder { sampler: self.sampler, finish: self.finish, limit: self.limit, ffmpeg };
        for ((task, fresh, note), result) in ready.into_iter().zip(decoder.decode(&clips)?) {
            // One that is still being copied: its frames are not those of the bytes that were hashed.
            if !task.holds() {
                let reason = "the file changed while it was read".into();
                done.push(failed(task.place, Fault::Closed { reason }));
                continue;
            }
            let hashed = task.hashed.filter(|_| fresh).unwrap_or_default();
            let hashed = task.source.files().iter().cloned().zip(hashed).collect();
            done.push(Done { place: task.place, hashed, key: Some(key(&note)), note: Some(note), result });
        }
        Ok(done)
    }

    fn note(&self, content: &str, source: &FrameSource, ffmpeg: Option<&Ffmpeg>) -> Note {
        let decoder = match ffmpeg.filter(|_| source.is_video()) {
            Some(ffmpeg) => format!("tvr {RULES}, ffmpeg {}", ffmpeg.version()),
            None => format!("tvr {RULES}"),
        };
        Note {
            video: content.to_owned(),
            sampler: self.sampler,
            finish: self.finish.name(),
            decoder,
            indices: Vec::new(),
            total: 0,
            rate: 0.0,
            verdict: None,
            fault: None,
        }
    }
}

/// The key of a clip's frames: all that is known before they are decoded.
fn key(note: &Note) -> Key {
    Key::of(&[
        ("video", &note.video),
        ("sampler", &note.sampler.to_string()),
        ("finish", &note.finish),
        ("decoder", &note.decoder),
    ])
}

/// How a clip of the store came out; `None` if it is not there, or its record is of something else. Its frames are left
/// unread: they are verified by whoever reads them.
fn remembered(store: &Store, key: Key) -> Result<Option<Outcome>, DataError> {
    let Some(label) = store.look(&key)? else { return Ok(None) };
    let outcome = Note::read(label.note).and_then(|note| match (note.fault, note.verdict) {
        (Some(fault), _) => Some(Outcome::Failed(fault)),
        (None, Some(verdict)) => Some(Outcome::Ready { key, verdict }),
        (None, None) => None,
    });
    if outcome.is_none() {
        store.get(&key)?; // a note that makes no sense may be damage
    }
    Ok(outcome)
}

/// Puts a clip into the store.
fn keep(store: &mut Store, done: Done) -> Result<Outcome, DataError> {
    let (Some(key), Some(mut note)) = (done.key, done.note) else {
        return Ok(match done.result {
            Err(fault) => Outcome::Failed(fault),
            Ok(_) => Outcome::Open,
        });
    };
    let text = |note: &Note| serde_json::to_string(note).unwrap_or_default();
    match done.result {
        Err(fault) => {
            if fault.is_lasting() {
                note.fault = Some(fault.clone());
                store.put(key, Kind::Fault, &text(&note), &Value { shape: &[], bytes: &[] })?;
            }
            Ok(Outcome::Failed(fault))
        }
        Ok(footage) => {
            let size = footage.pictures.first().map_or([0, 0], |first| [first.height(), first.width()]);
            let shape = [footage.pictures.len(), size[0], size[1], 3];
            let pictures: Vec<&[u8]> = footage.pictures.iter().map(|picture| picture.values()).collect();
            let bytes = pictures.concat();
            note.indices = footage.indices;
            note.total = footage.total;
            note.rate = footage.rate;
            note.verdict = Some(footage.verdict.clone());
            store.put(key, Kind::U8, &text(&note), &Value { shape: &shape, bytes: &bytes })?;
            Ok(Outcome::Ready { key, verdict: footage.verdict })
        }
    }
}

/// Shares clips out in rounds, in which every worker has one group and all groups about as many bytes: so the workers
/// end together, and start no more processes than they must.
fn groups(tasks: Vec<Task>, workers: usize) -> Vec<Vec<Task>> {
    let size = |file: &PathBuf| std::fs::metadata(file).map_or(0, |known| known.len());
    let mut sized: Vec<(u64, Task)> =
        tasks.into_iter().map(|task| (task.source.files().iter().map(size).sum(), task)).collect();
    let rounds = sized.len().div_ceil(workers * TOGETHER);
    let mut groups = Vec::with_capacity(rounds * workers);
    for left in (1..=rounds).rev() {
        let mut round: Vec<(u64, Task)> = sized.drain(..sized.len().div_ceil(left)).collect();
        round.sort_by_key(|(bytes, _)| std::cmp::Reverse(*bytes));
        let mut shares: Vec<(u64, Vec<Task>)> = (0..workers).map(|_| (0, Vec::new())).collect();
        for (bytes, task) in round {
            let open = shares.iter_mut().filter(|(_, share)| share.len() < TOGETHER);
            if let Some((sum, share)) = open.min_by_key(|(sum, share)| (*sum, share.len())) {
                *sum += bytes;
                share.push(task);
            }
        }
        groups.extend(shares.into_iter().map(|(_, share)| share).filter(|share| !share.is_empty()));
    }
    groups
}

/// Clips decoded at a time: what comes out of one does not depend on who decodes it.
fn workers() -> usize {
    std::thread::available_parallelism().map_or(1, std::num::NonZero::get)
}
