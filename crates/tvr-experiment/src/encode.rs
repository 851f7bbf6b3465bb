//! A checkpoint over texts and pictures: codes of any collection, in bounded memory, resumable. What
//! `cargo xtask encode` runs.
//!
//! ```text
//! files ─list, cut─▶ parts ─decode ahead, batch─▶ tower ─▶ OUT.parts/part-N ─join─▶ OUT
//! list of videos ─decode─▶ store ─what has no features─▶ tower ─▶ store ──join─▶ OUT
//! ```
//!
//! A *part* is a run of items; a long video is several. Its codes are written as soon as it is done, whole or not at all,
//! so that a process that dies loses one part. Pictures are decoded by threads of their own, ahead of the tower. The
//! parts are joined into one feature file at the end, row by row. In memory are at any time the weights, four batches (the
//! tower's, two that are ready, and the one that is being decoded), one part, and the names of the items; a part holds
//! fewer pictures where each is written as its patches. Frames of a list's videos lie in a store, and so do their features
//! ([`kept`]): they are encoded once, whoever asks.
//!
//! A shard takes a run of neighbours, so that shards in their order are the whole; [`merge()`] joins them. What a file has,
//! all of it or a shard, follows from the whole list: a shard whose videos have no caption has texts, none of them.

mod feature_file;
mod folder;
pub(crate) mod kept;
mod listed;
mod merge;
mod parts;
mod pictures;
mod seen;
mod texts;
mod told;

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use serde::{Deserialize, Serialize};
use tvr_clip::{ClipCheckpoint, ClipError, Precision};
use tvr_data::Sampler;

use crate::error::ExperimentError;
use crate::pretrained::{preprocessor, wiring};
use crate::progress::{Event, Events};
use crate::recipe::FrameTokens;
use crate::shard::Shard;
use crate::{device, files, weights};
use kept::Encoder;
pub use merge::merge;
use parts::{Kind, Parts};
use seen::Seen;

/// What is encoded, and how.
#[derive(Clone, Debug)]
pub struct Request {
    /// The checkpoint: a folder, or a name on the Hugging Face hub.
    pub weights: String,
    /// A folder with tokenizer and `preprocessor_config.json`, for a checkpoint that comes without.
    pub processor: Option<PathBuf>,
    /// Captions.
    pub texts: Option<Captions>,
    /// Pictures.
    pub pictures: Option<Pictures>,
    /// Where the feature file goes.
    pub out: PathBuf,
    /// Pictures, or texts, that pass a tower at once; above 0.
    pub batch: usize,
    /// The device, by its name.
    pub device: String,
    /// Type of the weights; codes are f32 in every case.
    pub precision: Precision,
    /// Whether every token of a text is written beside its code.
    pub tokens: bool,
    /// Which codes of a picture are written.
    pub frame_tokens: FrameTokens,
    /// Whether what cannot be read is listed and left out.
    pub skip_bad: bool,
    /// One share of several.
    pub shard: Option<Shard>,
    /// Whether an unfinished run is gone on with.
    pub resume: bool,
}

/// Where captions come from.
#[derive(Clone, Debug)]
pub enum Captions {
    /// `.txt` with one a line, or `.jsonl` with `text`, and `id` and `video` if there are any.
    File(PathBuf),
    /// What the list of [`Pictures::Videos`] says of its videos. Captions and splits are then written beside the
    /// feature file, unless it is a shard: the folder is a data set. Nothing is encoded where the whole list says
    /// nothing, or the checkpoint has no text tower.
    OfList,
}

/// A folder of pictures.
#[derive(Clone, Debug)]
pub enum Pictures {
    /// Every picture below the folder is an item.
    Images(PathBuf),
    /// Every folder that holds pictures is a video, its frames in natural order of their names.
    Frames(PathBuf),
    /// A list of videos, whose frames are kept in a store; what is not there is decoded into it first.
    Videos {
        /// The list.
        manifest: PathBuf,
        /// The store.
        store: PathBuf,
        /// Which frames.
        sampler: Sampler,
    },
}

/// What was written.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// Videos, or images.
    pub videos: usize,
    /// Their pictures.
    pub frames: usize,
    /// Patches of a picture, if those were written.
    pub patches: Option<usize>,
    /// Captions.
    pub texts: usize,
    /// Width of a code.
    pub width: usize,
    /// What could not be read, each with its reason.
    pub skipped: Vec<String>,
}

/// Everything that two runs must have in common so that one can go on with the other's parts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Settings {
    schema: String,
    encoder: String,
    /// SHA-256 of the towers' settings and of the tokenizer; weights do not show them.
    #[serde(default)]
    wiring: String,
    /// How pixels are made; nothing for texts alone.
    pixels: Option<String>,
    precision: String,
    tokens: bool,
    /// Patches of a picture, where those are written.
    patches: Option<usize>,
    skip_bad: bool,
    shard: Option<Shard>,
    /// SHA-256 of all that is shared out, of which a shard has its share.
    collection: Option<String>,
    /// SHA-256 of the names of all pictures.
    pictures: Option<String>,
    /// SHA-256 of the file of texts.
    texts: Option<String>,
}

/// What a tower's loop needs beside the tower.
struct Job<'a> {
    batch: usize,
    skip_bad: bool,
    stop: &'a AtomicBool,
    /// Said where it is stopped: where what is done lies, and how to go on.
    stopped: String,
}

/// Encodes, and writes the feature file.
///
/// # Errors
/// A request that makes no sense; what the checkpoint, a picture or a text says (unless bad ones are skipped); a file
/// that cannot be written; [`ExperimentError::Work`] if `stop` was raised, with how to go on.
pub fn encode(request: &Request, stop: &AtomicBool, events: Events<'_>) -> Result<Report, ExperimentError> {
    check(request)?;
    let device = device::open(&request.device)?;
    let folder = weights::folder(&request.weights, &mut *events)?;
    let mut checkpoint = ClipCheckpoint::open(&folder).map_err(ExperimentError::because)?;
    if let Some(processor) = &request.processor {
        checkpoint = checkpoint.with_processor(processor);
    }
    let preprocessor = match &request.pictures {
        None => None,
        Some(_) => Some(preprocessor(&checkpoint).map_err(lacking)?),
    };
    let encoder = preprocessor.as_ref().map(|preprocessor| Encoder {
        checkpoint: &checkpoint,
        preprocessor,
        precision: request.precision,
        frame_tokens: request.frame_tokens,
        device: &device,
        batch: request.batch,
    });
    let pictures = match (&request.pictures, &encoder) {
        (Some(pictures), Some(encoder)) => Some(Seen::open(pictures, request, encoder, stop, &mut *events)?),
        _ => None,
    };
    let mut told = None;
    let texts = match (&request.texts, &request.pictures) {
        (Some(Captions::File(path)), _) => Some(texts::Texts::open(path, request.shard, request.skip_bad)?),
        (Some(Captions::OfList), Some(Pictures::Videos { manifest, .. }))
            if checkpoint.text_config().is_ok() =>
        {
            told = pictures.as_ref().and_then(Seen::told);
            told.as_ref().map(|told| texts::Texts::of_list(manifest, told.lines())).transpose()?
        }
        _ => None,
    };
    match (&told, request.shard) {
        (Some(told), None) => told.check(&request.out)?,
        (Some(_), Some(_)) => events(Event::Note(told::BESIDE_NO_SHARD.to_owned())),
        _ => {}
    }
    if request.tokens && texts.is_none() {
        let lacks = if checkpoint.text_config().is_ok() {
            "the list has no caption"
        } else {
            "the checkpoint has no text tower"
        };
        return Err(ExperimentError::request(format!("--tokens: {lacks}; encode without it")));
    }
    let texts = match texts {
        None => None,
        Some(texts) => {
            let tokenizer = checkpoint.tokenizer().map_err(lacking)?;
            let context = checkpoint.text_config().map_err(ExperimentError::because)?.context;
            Some((texts, tokenizer, context))
        }
    };
    // What is said of a list's videos is in the list.
    let of_texts = texts.as_ref().filter(|_| matches!(request.texts, Some(Captions::File(_))));
    let collection = || {
        let pictures = pictures.as_ref().map_or("", Seen::collection);
        files::sha256(format!("{pictures} {}", of_texts.map_or("", |(texts, ..)| texts.digest())).as_bytes())
    };
    let settings = Settings {
        schema: "tvr-encode/2".to_owned(),
        encoder: named(&checkpoint),
        wiring: wiring(&checkpoint, texts.as_ref().map(|(_, tokenizer, _)| tokenizer))?,
        pixels: preprocessor.as_ref().map(|preprocessor| preprocessor.config().describe()),
        precision: request.precision.name().to_owned(),
        tokens: request.tokens,
        patches: encoder.as_ref().map(Encoder::patches).transpose()?.flatten(),
        skip_bad: request.skip_bad,
        shard: request.shard,
        collection: request.shard.map(|_| collection()),
        pictures: pictures.as_ref().map(Seen::digest),
        texts: texts.as_ref().map(|(texts, ..)| texts.digest().to_owned()),
    };
    let parts = Parts::open(&request.out, &settings, request.resume)?;
    let (batch, skip_bad) = (request.batch, request.skip_bad);
    let stopped = format!(
        "finished parts are in {}; to go on: the same command with --resume",
        parts.folder().display()
    );
    let job = Job { batch, skip_bad, stop, stopped };
    let frames: Box<dyn feature_file::Side + '_> = match (pictures, &encoder) {
        (Some(pictures), Some(encoder)) => pictures.encode(&job, &parts, encoder, &mut *events)?,
        _ => Box::new((&parts, Kind::Frames)),
    };
    if let Some((texts, tokenizer, context)) = texts.as_ref().filter(|(texts, ..)| !texts.is_empty()) {
        let tower = checkpoint.load_text(&device, request.precision).map_err(ExperimentError::because)?;
        let tokenize = |lines: &[String]| tokenizer.encode_batch(lines, *context);
        let reader =
            texts::Reader { tower: &tower, tokenize: &tokenize, tokens: request.tokens, device: &device };
        texts::run(&job, &parts, &reader, texts, &mut *events)?;
    }
    if let (Some(told), None) = (&told, request.shard) {
        told.write(&request.out)?;
        told.notes().for_each(|note| events(Event::Note(note)));
    }
    let report = feature_file::write(&request.out, [&*frames, &(&parts, Kind::Text)], &settings, events)?;
    drop(frames);
    parts.remove()?;
    Ok(report)
}

fn check(request: &Request) -> Result<(), ExperimentError> {
    no_folder(&request.out)?;
    files::refuse_npy(&request.out)?;
    let wrong = |sentence: &str| Err(ExperimentError::request(sentence));
    if request.texts.is_none() && request.pictures.is_none() {
        return wrong("nothing to encode; give --texts, --images, --frames or --videos");
    }
    if request.batch == 0 {
        return wrong("--batch: 0 items make no batch; 32 are usual");
    }
    if request.tokens && request.texts.is_none() {
        return wrong("--tokens: only texts have tokens in a feature file; give --texts or --videos");
    }
    if request.frame_tokens == FrameTokens::Patches && request.pictures.is_none() {
        return wrong("--patches: only pictures have patches; give --images, --frames or --videos");
    }
    Ok(())
}

/// Refuses a folder in place of the file that is to be written, before there is anything to lose.
fn no_folder(out: &Path) -> Result<(), ExperimentError> {
    if out.is_dir() {
        return Err(ExperimentError::request(format!(
            "--out {}: is a folder; name the file to write",
            out.display()
        )));
    }
    Ok(())
}

/// A folder without tokenizer or pixels has a way out.
fn lacking(error: ClipError) -> ExperimentError {
    match error {
        ClipError::NoCheckpoint { .. } | ClipError::File { .. } | ClipError::Preprocessor { .. } => {
            ExperimentError::work(format!(
                "{error}; --processor DIR takes tokenizer and preprocessor_config.json from another folder"
            ))
        }
        other => ExperimentError::because(other),
    }
}

/// The checkpoint in one line: sizes, and the hash of its weights.
fn named(checkpoint: &ClipCheckpoint) -> String {
    let mut words = vec!["clip".to_owned()];
    if let Ok(image) = checkpoint.image_config() {
        words.push(format!("image {}x{} patch {} at {}", image.layers, image.width, image.patch, image.size));
    }
    if let Ok(text) = checkpoint.text_config() {
        words.push(format!("text {}x{}", text.layers, text.width));
    }
    words.push(format!("joint {}", checkpoint.joint()));
    words.push(format!("sha256 {}", checkpoint.sha256()));
    words.join(", ")
}

impl Job<'_> {
    /// Ends the work where Ctrl-C was pressed; what is done stays.
    fn go_on(&self) -> Result<(), ExperimentError> {
        if self.stop.load(Ordering::Relaxed) {
            return Err(ExperimentError::work(format!("stopped; {}", self.stopped)));
        }
        Ok(())
    }
}

/// Tells how far a loop is.
struct Pace<'a, 'e> {
    events: &'a mut (dyn FnMut(Event) + 'e),
    done: usize,
}

impl<'a, 'e> Pace<'a, 'e> {
    fn begin(events: &'a mut (dyn FnMut(Event) + 'e), label: &str, total: usize, done: usize) -> Self {
        events(Event::Begin { label: label.to_owned(), total, done });
        Self { events, done }
    }

    fn step(&mut self, items: usize, since: Instant) {
        self.done += items;
        (self.events)(Event::Step { done: self.done, loss: None, seconds: since.elapsed().as_secs_f64() });
    }

    fn note(&mut self, word: &str) {
        (self.events)(Event::Note(word.to_owned()));
    }

    fn end(self) {
        (self.events)(Event::End);
    }
}

/// The share of `count` items that a shard takes.
fn share(count: usize, shard: Option<Shard>) -> std::ops::Range<usize> {
    shard.map_or(0..count, |shard| shard.range(count))
}

/// The values of codes, on the host, all of them finite. `name` says whose a row is.
fn values<const D: usize>(
    codes: burn::prelude::Tensor<D>,
    name: impl Fn(usize) -> String,
) -> Result<Vec<f32>, ExperimentError> {
    let rows = codes.dims()[0];
    let values = codes
        .try_into_vec_as::<f32>()
        .map_err(|cause| ExperimentError::work(format!("codes cannot be read: {cause:?}")))?;
    match values.iter().position(|value| !value.is_finite()) {
        None => Ok(values),
        Some(place) => Err(ExperimentError::work(format!(
            "the code of {} has a value that is {}; the weights, or the processor's settings, are beyond what the type \
             holds: mend them, or take --dtype f32 if it was another",
            name(place * rows / values.len()),
            values[place]
        ))),
    }
}
