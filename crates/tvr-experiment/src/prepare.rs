//! Videos into a store of frames as CLIP sees them: decoded once, resized and cropped exactly as its processor does.

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use serde::Serialize;
use tvr_clip::{Picture, Preprocessor, PreprocessorConfig, Reference, Size};
pub use tvr_data::Sampler;
use tvr_data::frames::{Finish, Verdict};
use tvr_data::{Entry, Manifest, Outcome, Preparation, Store};

use crate::error::ExperimentError;
use crate::progress::{Event, Events};
use crate::shard::Shard;

/// CLIP's resize and crop, for [`Preparation`].
///
/// It has threads of its own: whoever waits for frames may stand in the compute pool, and with one thread there a
/// resize that asked for it would never begin.
#[derive(Debug)]
pub struct Crop {
    preprocessor: Preprocessor,
    threads: rayon::ThreadPool,
}

impl Crop {
    /// For these settings.
    ///
    /// # Errors
    /// A system that gives no threads.
    pub fn new(preprocessor: Preprocessor) -> Result<Self, ExperimentError> {
        let threads = rayon::ThreadPoolBuilder::new().build();
        let threads =
            threads.map_err(|cause| ExperimentError::work(format!("no threads to resize with: {cause}")))?;
        Ok(Self { preprocessor, threads })
    }

    /// CLIP's own, to a square of `size` pixels.
    ///
    /// # Errors
    /// A size that is none; a system that gives no threads.
    pub fn square(size: usize) -> Result<Self, ExperimentError> {
        let preprocessor = PreprocessorConfig::clip(size, Reference::HuggingFace)
            .init()
            .map_err(|error| ExperimentError::request(format!("--size: {error}")))?;
        Self::new(preprocessor)
    }
}

impl Finish for Crop {
    fn name(&self) -> String {
        let PreprocessorConfig { size, crop, reference, .. } = self.preprocessor.config();
        let size = match size {
            Size::Short(side) => format!("short side {side}"),
            Size::Exact([width, height]) => format!("{width} x {height}"),
        };
        format!("Pillow's bicubic to {size}, centre {crop}, {}", reference.name())
    }

    fn finish(&self, picture: Picture) -> Picture {
        self.threads.install(|| self.preprocessor.crop(&picture))
    }
}

/// What is asked for.
#[derive(Clone, Debug)]
pub struct Request {
    /// The list of videos.
    pub manifest: PathBuf,
    /// The store.
    pub store: PathBuf,
    /// Which frames are kept.
    pub sampler: Sampler,
    /// Side of the kept square, pixels.
    pub size: usize,
    /// Seconds after which a clip is given up.
    pub limit_seconds: u64,
    /// One share of the list.
    pub shard: Option<Shard>,
}

/// A video that something is wrong with.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Trouble {
    /// Its id.
    pub id: String,
    /// What kind of trouble: `partial`, or a kind of fault.
    pub kind: String,
    /// The reason.
    pub reason: String,
}

/// What came of it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Report {
    /// Videos of the list, or of the share.
    pub videos: usize,
    /// Their captions.
    pub captions: usize,
    /// Videos without a caption.
    pub without_captions: usize,
    /// Captions that are blank and were left out.
    pub blank_captions: usize,
    /// Videos of each split, by name; `-` where the list names none.
    pub splits: std::collections::BTreeMap<String, usize>,
    /// Videos whose frames are in the store.
    pub ready: usize,
    /// Videos of which a part is missing; their frames are in the store too.
    pub partial: Vec<Trouble>,
    /// Videos without a frame.
    pub failed: Vec<Trouble>,
}

/// Seconds after which a clip is given up, where nothing else is said.
pub const LIMIT_SECONDS: u64 = 600;

/// Which frames go where.
#[derive(Clone, Copy, Debug)]
pub struct Decoding<'a> {
    /// The store.
    pub store: &'a Path,
    /// Which frames of a clip.
    pub sampler: Sampler,
    /// Seconds after which a clip is given up.
    pub limit_seconds: u64,
}

/// A list, and where its frames are.
#[derive(Debug)]
pub struct Prepared {
    /// The videos of the list, or of the share.
    pub entries: Vec<Entry>,
    /// How each came out.
    pub outcomes: Vec<Outcome>,
    /// Captions of the whole list, of which a share may have none.
    pub captions: usize,
    /// Ids of videos with a blank caption, once for each.
    pub blank: Vec<String>,
    /// The store.
    pub store: Store,
}

impl Prepared {
    /// For work that was stopped.
    pub fn stopped(&self) -> ExperimentError {
        let open = self.outcomes.iter().filter(|outcome| **outcome == Outcome::Open).count();
        let all = self.entries.len();
        let way = "to go on, run the same command again";
        ExperimentError::work(format!("stopped: {open} of {all} videos are left; {way}"))
    }
}

impl Decoding<'_> {
    /// Decodes what is not in the store.
    ///
    /// # Errors
    /// A list or a store that cannot be read, or FFmpeg that is missing although a video needs it. What is wrong with
    /// single videos is their outcome.
    pub fn run(
        &self,
        list: &Path,
        shard: Option<Shard>,
        finish: &Crop,
        stop: &AtomicBool,
        events: Events<'_>,
    ) -> Result<Prepared, ExperimentError> {
        let manifest = Manifest::read(list).map_err(ExperimentError::because)?;
        let (mut entries, mut blank) = (manifest.entries, manifest.blank);
        let captions = captions_of(&entries);
        if let Some(shard) = shard {
            entries = entries.drain(shard.of_items(entries.len(), "videos")?).collect();
            let own: HashSet<&str> = entries.iter().map(|entry| entry.id.as_str()).collect();
            blank.retain(|id| own.contains(id.as_str()));
        }
        Ok(Prepared { captions, blank, ..self.decode(entries, finish, stop, events)? })
    }

    /// Decodes what is not in the store of these videos.
    ///
    /// # Errors
    /// As [`Decoding::run`].
    pub fn decode(
        &self,
        entries: Vec<Entry>,
        finish: &Crop,
        stop: &AtomicBool,
        events: Events<'_>,
    ) -> Result<Prepared, ExperimentError> {
        let mut store = Store::open(self.store).map_err(ExperimentError::because)?;
        let limit = Duration::from_secs(self.limit_seconds);
        let preparation = Preparation { sampler: self.sampler, finish, limit, stop };
        events(Event::Begin { label: "decode".into(), total: entries.len(), done: 0 });
        let (mut done, mut failed) = (0, 0);
        let outcomes = preparation
            .run(&entries, &mut store, &mut |_, outcome| {
                done += 1;
                failed += usize::from(matches!(outcome, Outcome::Failed(_)));
                events(Event::Item { done, word: format!("{failed} failed") });
            })
            .map_err(ExperimentError::because)?;
        events(Event::End);
        let captions = captions_of(&entries);
        Ok(Prepared { entries, outcomes, captions, blank: Vec::new(), store })
    }
}

fn captions_of(entries: &[Entry]) -> usize {
    entries.iter().map(|entry| entry.captions.len()).sum()
}

/// Decodes what is not in the store, and says what came of it.
///
/// # Errors
/// As [`Decoding::run`]; a size that is none; a wish to stop. What is wrong with single videos stands in the report.
pub fn prepare(request: &Request, stop: &AtomicBool, events: Events<'_>) -> Result<Report, ExperimentError> {
    let crop = Crop::square(request.size)?;
    let decoding =
        Decoding { store: &request.store, sampler: request.sampler, limit_seconds: request.limit_seconds };
    let prepared = decoding.run(&request.manifest, request.shard, &crop, stop, events)?;
    let mut report = Report { videos: prepared.entries.len(), ..Report::default() };
    report.blank_captions = prepared.blank.len();
    for (entry, outcome) in prepared.entries.iter().zip(&prepared.outcomes) {
        report.captions += entry.captions.len();
        report.without_captions += usize::from(entry.captions.is_empty());
        *report.splits.entry(entry.split.clone().unwrap_or_else(|| "-".into())).or_default() += 1;
        let trouble =
            |kind: &str, reason: String| Trouble { id: entry.id.clone(), kind: kind.into(), reason };
        match outcome {
            Outcome::Ready { verdict, .. } => {
                report.ready += 1;
                if let Verdict::Partial { reason } = verdict {
                    report.partial.push(trouble("partial", reason.clone()));
                }
            }
            Outcome::Failed(fault) => report.failed.push(trouble(fault.kind(), fault.to_string())),
            Outcome::Open => return Err(prepared.stopped()),
        }
    }
    Ok(report)
}
