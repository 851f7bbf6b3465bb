//! `data.kind = "videos"`: a list of videos by split, and their frames out of a store.
//!
//! A trained image tower wants pictures. A frozen one looks at them once, and its features are kept in the store as well.
//! Both are read from the store batch by batch, so memory does not grow with the list.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use tvr_clip::{Precision, Preprocessor};
use tvr_data::{Entry, FrameFeatures, Key, Manifest, Outcome, Sampler, Split, Store};

use crate::corpus::{FrameRows, StoredFeatures, StoredFrames};
use crate::encode::kept::{Encoder, kept};
use crate::error::ExperimentError;
use crate::plan::Plan;
use crate::prepare::{Crop, Decoding, LIMIT_SECONDS};
use crate::pretrained::{Pretrained, preprocessor};
use crate::progress::{Event, Events};
use crate::recipe::{DataRecipe, EncoderRecipe, Frames};

/// Pictures that pass the frozen image tower at once.
const BATCH: usize = 32;

/// Most frames of a video, since every video is padded to as many: an hour of film has them.
const FRAMES: usize = 100_000;

/// A list's videos of the three splits.
#[derive(Clone, Debug)]
pub struct Listed {
    entries: Vec<Entry>,
    /// What must be said of the others.
    elsewhere: Option<String>,
}

/// The videos of a list that are in a split of another name than the three, in words; it may be misspelt.
pub(crate) fn elsewhere(list: &Path, entries: &[Entry]) -> Option<String> {
    let mut others: BTreeMap<&str, usize> = BTreeMap::new();
    let splits = entries.iter().filter_map(|entry| entry.split.as_deref());
    for split in splits.filter(|split| !NAMES.contains(split)) {
        *others.entry(split).or_default() += 1;
    }
    let named: Vec<String> = others.iter().map(|(split, videos)| format!("{split:?} ({videos})")).collect();
    (!named.is_empty()).then(|| {
        format!(
            "{}: recipes know the splits train, val and test, and leave out the videos of {}",
            list.display(),
            named.join(", ")
        )
    })
}

/// The splits that are looked at.
const NAMES: [&str; 3] = ["train", "val", "test"];

impl Listed {
    /// Reads a list.
    ///
    /// # Errors
    /// A list that cannot be read, a split without a video, or a video of a split without a caption.
    pub fn read(manifest: &Path) -> Result<Self, ExperimentError> {
        let wrong = |reason: String| ExperimentError::request(format!("{}: {reason}", manifest.display()));
        let mut entries = Manifest::read(manifest).map_err(ExperimentError::because)?.entries;
        let elsewhere = elsewhere(manifest, &entries);
        let split = |entry: &Entry| NAMES.into_iter().find(|name| entry.split.as_deref() == Some(name));
        entries.retain(|entry| split(entry).is_some());
        if let Some(name) =
            NAMES.into_iter().find(|name| !entries.iter().any(|entry| split(entry) == Some(name)))
        {
            return Err(wrong(format!(
                "has no video whose split is {name:?}; a run trains on train, chooses on val and is judged on test"
            )));
        }
        if let Some(bare) = entries.iter().find(|entry| entry.captions.is_empty()) {
            return Err(wrong(format!(
                "{:?} has no caption; give it one, or take it out of its split",
                bare.id
            )));
        }
        Ok(Self { entries, elsewhere })
    }

    /// The videos of a split, in the list's order.
    pub fn of(&self, split: Split) -> impl Iterator<Item = &Entry> {
        self.entries.iter().filter(move |entry| entry.split.as_deref() == Some(split.name()))
    }
}

/// The videos of a plan with their frames.
#[derive(Debug)]
pub struct Clips {
    listed: Listed,
    keys: HashMap<String, Key>,
    store: Arc<Store>,
    preprocessor: Preprocessor,
    /// Frames of a video, padding included.
    frames: usize,
    /// Vectors of a frame: 1, or its patches where features are those of patches.
    tokens: usize,
    /// Whose features are taken; `None` where the image tower is trained.
    features: Option<FrameFeatures>,
}

impl Clips {
    /// Decodes what is not in the store, and encodes it for a frozen tower; `None` for other data.
    ///
    /// # Errors
    /// A list or a store that cannot be read, a video without a frame, or a wish to stop.
    pub fn open(
        plan: &Plan,
        pretrained: &Pretrained,
        stop: &AtomicBool,
        events: Events<'_>,
    ) -> Result<Option<Self>, ExperimentError> {
        let (
            DataRecipe::Videos { manifest, store, sampler },
            EncoderRecipe::Clip { frames, frame_tokens, .. },
        ) = (&plan.recipe.data, &plan.recipe.encoder)
        else {
            return Ok(None);
        };
        let listed = Listed::read(manifest)?;
        if let Some(note) = &listed.elsewhere {
            events(Event::Note(note.clone()));
        }
        let preprocessor = preprocessor(pretrained.checkpoint()).map_err(ExperimentError::because)?;
        let finish = Crop::new(preprocessor.clone())?;
        let decoding = Decoding { store, sampler: *sampler, limit_seconds: LIMIT_SECONDS };
        let prepared = decoding.decode(listed.entries.clone(), &finish, stop, &mut *events)?;
        let mut keys = HashMap::new();
        for (entry, outcome) in prepared.entries.iter().zip(&prepared.outcomes) {
            match outcome {
                Outcome::Ready { key, .. } => _ = keys.insert(entry.id.clone(), *key),
                Outcome::Failed(fault) => {
                    return Err(ExperimentError::work(format!(
                        "{}: {:?} {fault}; mend it, or take it out of its split (cargo xtask prepare lists all of them)",
                        manifest.display(),
                        entry.id
                    )));
                }
                Outcome::Open => return Err(prepared.stopped()),
            }
        }
        let (mut store, mut features, mut tokens) = (prepared.store, None, 1);
        if *frames == Frames::Cached {
            let (checkpoint, preprocessor, device) = (pretrained.checkpoint(), &preprocessor, &plan.device);
            let (precision, frame_tokens) = (Precision::F32, *frame_tokens);
            let encoder = Encoder { checkpoint, preprocessor, precision, frame_tokens, device, batch: BATCH };
            let wanted: Vec<Key> = listed.entries.iter().map(|entry| keys[&entry.id]).collect();
            store = encoder.encode(store, &wanted, (stop, "the same command"), events)?;
            features = Some(encoder.features()?);
            tokens = encoder.patches()?.unwrap_or(1);
        }
        let (store, frames) = (Arc::new(store), frames_of(sampler)?);
        Ok(Some(Self { listed, keys, store, preprocessor, frames, tokens, features }))
    }

    /// The videos of a split.
    pub fn entries(&self, split: Split) -> Vec<&Entry> {
        self.listed.of(split).collect()
    }

    /// Frames of some videos, `[videos, vectors, width]`, which of them are real, and their width.
    ///
    /// # Errors
    /// A record that changed on disk, or is gone.
    pub fn rows(&self, entries: &[&Entry]) -> Result<(FrameRows, Vec<bool>, usize), ExperimentError> {
        let keys: Vec<Key> = entries.iter().map(|entry| self.keys[&entry.id]).collect();
        let vectors = self.vectors();
        let mut mask = vec![false; keys.len() * vectors];
        for (key, mask) in keys.iter().zip(mask.chunks_mut(vectors)) {
            let label = self.store.look(key).map_err(ExperimentError::because)?;
            let count = label.map_or(0, |label| label.shape.first().copied().unwrap_or(0));
            mask.iter_mut().take(count * self.tokens).for_each(|real| *real = true);
        }
        let store = Arc::clone(&self.store);
        let (rows, width) = match &self.features {
            Some(features) => {
                let width = keys.first().map(|key| kept(features, &store, key)).transpose()?;
                let rows = StoredFeatures::new(store, features.clone(), keys);
                (FrameRows::Features(rows), width.map_or(0, |first| first.width / self.tokens))
            }
            None => {
                let side = self.preprocessor.side();
                let rows = StoredFrames::new(store, keys, self.preprocessor.clone());
                (FrameRows::Pictures(rows), 3 * side * side)
            }
        };
        Ok((rows, mask, width))
    }

    /// Vectors or pictures of a video, padding included.
    pub fn vectors(&self) -> usize {
        self.frames * self.tokens
    }
}

/// Frames of a clip, padding included.
///
/// # Errors
/// A sampler that takes as many as there are, or too many.
pub fn frames_of(sampler: &Sampler) -> Result<usize, ExperimentError> {
    let why = match sampler.frames() {
        Some(frames) if frames <= FRAMES => return Ok(frames),
        Some(_) => format!("pads every video to more than {FRAMES} frames; lower their number"),
        None => format!(
            "takes as many frames as a clip has; a run wants a fixed number, as \"{}\"",
            Sampler::clip4clip()
        ),
    };
    Err(ExperimentError::request(format!("data.sampler = \"{sampler}\" {why}")))
}
