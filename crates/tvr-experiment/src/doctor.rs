//! A benchmark on this disk: what of it is there, decoded into a store, and tables of it for what comes next. What
//! `cargo xtask prepare DATASET` runs.
//!
//! ```text
//! annotation files ─┐                      ┌─▶ gallery.json   ids and hash of what is there
//! files of videos ──┴▶ doctor ─▶ decode ───┼─▶ PROTOCOL.jsonl  a table for encode and recipes
//! list of ids to leave out ─┘   (store)    └─▶ Examination     what is missing, broken, doubled, odd
//! ```

use std::collections::{BTreeSet, HashSet};
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;

use serde::Serialize;
use tvr_data::benchmarks::protocols::Protocol;
use tvr_data::benchmarks::{Absent, Annotations, Oddity};
use tvr_data::doctor::{Clips, Decoded, GalleryFile, diagnose, quarantine};
use tvr_data::{Entry, Manifest, Outcome, Sampler, Verdict};

use crate::error::ExperimentError;
use crate::files;
use crate::prepare::{Crop, Decoding};
use crate::progress::{Event, Events};
use crate::shard::Shard;

pub use tvr_data::benchmarks::Benchmark;
pub use tvr_data::doctor::Diagnosis;

/// What is asked for.
#[derive(Clone, Debug)]
pub struct Request {
    /// The benchmark.
    pub benchmark: Benchmark,
    /// The folder below which its videos are.
    pub data_root: PathBuf,
    /// The folder of its annotation files; where none is named, the data root and its usual neighbours are tried.
    pub annotations: Option<PathBuf>,
    /// A list of ids to leave out.
    pub quarantine: Option<PathBuf>,
    /// Where `gallery.json` and the tables go.
    pub out: PathBuf,
    /// The store of frames.
    pub store: PathBuf,
    /// Which frames are kept.
    pub sampler: Sampler,
    /// Seconds after which a clip is given up.
    pub limit_seconds: u64,
    /// One share of the clips; then nothing but the store is written.
    pub shard: Option<Shard>,
}

/// What was found.
#[derive(Clone, Debug, Serialize)]
pub struct Examination {
    /// `tvr-doctor/1`.
    pub schema: &'static str,
    /// The benchmark.
    pub benchmark: Benchmark,
    /// The folder of the annotation files.
    pub annotations: PathBuf,
    /// The folder of the videos.
    pub data_root: PathBuf,
    /// The store of frames.
    pub store: PathBuf,
    /// Each listing.
    pub listings: Vec<Diagnosis>,
    /// What is odd about the annotation files.
    pub oddities: Vec<Oddity>,
    /// Annotation files that are not there.
    pub absent: Vec<Absent>,
    /// Files of videos.
    pub files: usize,
    /// Those that no listing names.
    pub strays: Vec<PathBuf>,
    /// Entries below the data root that could not be looked at, with the reason.
    pub unreadable: Vec<String>,
    /// Ids of the list to leave out that no listing names.
    pub unknown_quarantined: Vec<String>,
    /// Clips whose frames are in the store.
    pub ready: usize,
    /// Where the files come from and under which licence, in words.
    pub origin: &'static str,
    /// What was written beside the store.
    pub written: Vec<PathBuf>,
}

impl Examination {
    /// Listed clips that are there and can be decoded.
    pub fn present(&self) -> usize {
        let present = self.listings.iter().flat_map(|listing| &listing.present);
        present.collect::<HashSet<_>>().len()
    }
}

/// A benchmark that was looked at, and the parts that were found.
pub struct Examined {
    /// What was found.
    pub examination: Examination,
    annotations: Annotations,
    clips: Clips,
    left_out: BTreeSet<String>,
}

/// Looks, and decodes nothing.
///
/// # Errors
/// Folders or lists that cannot be read, with where the files come from.
pub fn look(request: &Request) -> Result<Examined, ExperimentError> {
    let benchmark = request.benchmark;
    let (folder, annotations) = annotations(request)?;
    let clips = Clips::find(&request.data_root).map_err(ExperimentError::because)?;
    let left_out = match &request.quarantine {
        Some(path) => quarantine(path).map_err(ExperimentError::because)?,
        None => BTreeSet::new(),
    };
    let listed: HashSet<&str> =
        annotations.listings.iter().flat_map(|listing| &listing.videos).map(String::as_str).collect();
    let examination = Examination {
        schema: "tvr-doctor/1",
        benchmark,
        annotations: folder,
        data_root: request.data_root.clone(),
        store: request.store.clone(),
        listings: diagnose(&annotations, &clips, &Decoded::default(), &left_out),
        oddities: annotations.oddities.clone(),
        absent: annotations.absent.clone(),
        files: clips.files.values().map(Vec::len).sum(),
        strays: clips.strays(&annotations).into_iter().map(Path::to_path_buf).collect(),
        unreadable: clips.unreadable.clone(),
        unknown_quarantined: left_out.iter().filter(|id| !listed.contains(id.as_str())).cloned().collect(),
        ready: 0,
        origin: benchmark.origin(),
        written: Vec::new(),
    };
    Ok(Examined { examination, annotations, clips, left_out })
}

impl Examined {
    /// Decodes what is there, looks again, and writes `gallery.json` and the tables.
    ///
    /// # Errors
    /// A store that cannot be written; FFmpeg that is missing although a video needs it; a wish to stop. What is wrong
    /// with single videos stands in the examination.
    pub fn decode(
        mut self,
        request: &Request,
        finish: &Crop,
        stop: &AtomicBool,
        events: Events<'_>,
    ) -> Result<Self, ExperimentError> {
        let entries = self.clips_to_decode(request.shard);
        if !entries.is_empty() {
            let are = if entries.len() == 1 { "clip is" } else { "clips are" };
            events(Event::Note(format!("{}: {} {are} here", request.benchmark, entries.len())));
            let decoding = Decoding {
                store: &request.store,
                sampler: request.sampler,
                limit_seconds: request.limit_seconds,
            };
            let prepared = decoding.decode(entries, finish, stop, events)?;
            let mut decoded = Decoded::default();
            for (entry, outcome) in prepared.entries.iter().zip(&prepared.outcomes) {
                match outcome {
                    Outcome::Ready { verdict, .. } => {
                        self.examination.ready += 1;
                        if let Verdict::Partial { reason } = verdict {
                            decoded.partial.insert(entry.path.clone(), reason.clone());
                        }
                    }
                    Outcome::Failed(fault) => {
                        let reason = format!("{}: {fault}", fault.kind());
                        decoded.corrupt.insert(entry.path.clone(), reason);
                    }
                    Outcome::Open => return Err(prepared.stopped()),
                }
            }
            self.examination.listings = diagnose(&self.annotations, &self.clips, &decoded, &self.left_out);
        }
        if request.shard.is_none() {
            self.examination.written = self.write(&request.out)?;
        }
        Ok(self)
    }

    /// The listing of that name.
    pub fn listing(&self, name: &str) -> Option<&Diagnosis> {
        self.examination.listings.iter().find(|listing| listing.listing == name)
    }

    /// The table of a protocol: what is there, decoded, and not left out. `None` without the protocol's lists.
    pub fn table(&self, protocol: &Protocol) -> Option<Vec<Entry>> {
        let present: HashSet<&str> = self
            .examination
            .listings
            .iter()
            .flat_map(|listing| &listing.present)
            .map(String::as_str)
            .collect();
        let benchmark = self.examination.benchmark;
        protocol
            .entries(&self.annotations, |id| self.clips.file(benchmark, id).filter(|_| present.contains(id)))
    }

    /// The clips that are there, once each.
    fn clips_to_decode(&self, shard: Option<Shard>) -> Vec<Entry> {
        let Examination { benchmark, listings, .. } = &self.examination;
        let mut seen = HashSet::new();
        let entry = |id: &String| {
            let path = self.clips.file(*benchmark, id)?.to_path_buf();
            Some(Entry { id: id.clone(), path, captions: Vec::new(), split: None })
        };
        let ids = listings.iter().flat_map(|listing| &listing.present).filter(|id| seen.insert(id.as_str()));
        let mut entries: Vec<Entry> = ids.filter_map(entry).collect();
        if let Some(shard) = shard {
            entries = entries.drain(shard.range(entries.len())).collect();
        }
        entries
    }

    /// Writes `gallery.json`, and a table for every protocol of which clips are there.
    fn write(&self, out: &Path) -> Result<Vec<PathBuf>, ExperimentError> {
        let Examination { benchmark, listings, .. } = &self.examination;
        if self.examination.present() == 0 {
            return Ok(Vec::new());
        }
        let gallery = out.join("gallery.json");
        files::write_json(&gallery, &GalleryFile::of(*benchmark, listings))?;
        let mut written = vec![gallery];
        for protocol in Protocol::of(*benchmark) {
            let Some(mut entries) = self.table(protocol).filter(|entries| !entries.is_empty()) else {
                continue;
            };
            for entry in &mut entries {
                // The table lies elsewhere than the caller stands.
                entry.path =
                    std::path::absolute(&entry.path).map_err(ExperimentError::file(&entry.path, "find"))?;
            }
            let path = table_path(out, protocol);
            Manifest::write(&path, &entries).map_err(ExperimentError::because)?;
            written.push(path);
        }
        Ok(written)
    }
}

/// Where the table of a protocol lies.
pub fn table_path(out: &Path, protocol: &Protocol) -> PathBuf {
    out.join(format!("{}.jsonl", protocol.name))
}

/// The folder in which a folder lies; of `.` and `..` only the disk knows it.
fn above(folder: &Path) -> PathBuf {
    match (folder.file_name(), folder.parent()) {
        (Some(_), Some(above)) if above.as_os_str().is_empty() => PathBuf::from("."),
        (Some(_), Some(above)) => above.to_path_buf(),
        _ => folder
            .canonicalize()
            .ok()
            .and_then(|whole| Some(whole.parent()?.to_path_buf()))
            .unwrap_or_default(),
    }
}

/// The annotation files: in the folder that is named, else in or beside the data root.
fn annotations(request: &Request) -> Result<(PathBuf, Annotations), ExperimentError> {
    let benchmark = request.benchmark;
    if let Some(folder) = &request.annotations {
        return Ok((folder.clone(), benchmark.read(folder).map_err(ExperimentError::because)?));
    }
    let (root, name) = (&request.data_root, benchmark.name());
    let above = above(root);
    let places = [
        root.join("annotations").join(name),
        root.join(name),
        root.join("annotations"),
        root.clone(),
        above.join("annotations").join(name),
        above.join("annotations"),
    ];
    for place in places.into_iter().filter(|place| place.is_dir()) {
        let found = benchmark.look(&place).map_err(ExperimentError::because)?;
        if !found.listings.is_empty() {
            return Ok((place, found));
        }
    }
    // The sentence names the files that are wanted.
    match benchmark.read(root) {
        Ok(found) => Ok((root.clone(), found)),
        Err(error) => Err(ExperimentError::work(format!("{error}; --annotations DIR says where they are"))),
    }
}
