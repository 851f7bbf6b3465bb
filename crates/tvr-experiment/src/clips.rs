//! `data.kind = "videos"`: a list of videos by split, and their frames out of a store.
//!
//! Frames that a trained image tower wants are read from the store batch by batch, so memory does not grow with the
//! list. Frames of a frozen tower are encoded once, by [`encode`], into the cache.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use burn::prelude::Device;
use safetensors::SafeTensors;
use tvr_clip::{Precision, Preprocessor};
use tvr_data::{DataError, Entry, Key, Manifest, Outcome, Sampler, Split, Store};

use crate::corpus::{FrameRows, StoredFrames};
use crate::encode::{self, Pictures};
use crate::error::ExperimentError;
use crate::files;
use crate::plan::Plan;
use crate::prepare::{Crop, Decoding, LIMIT_SECONDS};
use crate::pretrained::{Pretrained, preprocessor, refused};
use crate::progress::Events;
use crate::recipe::{DataRecipe, EncoderRecipe, Frames};

/// Pictures that pass the frozen image tower at once.
const BATCH: usize = 32;

/// A list's videos of the three splits.
#[derive(Clone, Debug)]
pub struct Listed {
    entries: Vec<Entry>,
}

impl Listed {
    /// Reads a list.
    ///
    /// # Errors
    /// A list that cannot be read, a split without a video, or a video of a split without a caption.
    pub fn read(manifest: &Path) -> Result<Self, ExperimentError> {
        let wrong = |reason: String| ExperimentError::request(format!("{}: {reason}", manifest.display()));
        let mut entries =
            Manifest::read(manifest).map_err(|error| ExperimentError::work(error.to_string()))?.entries;
        let names = ["train", "val", "test"];
        let split = |entry: &Entry| names.into_iter().find(|name| entry.split.as_deref() == Some(name));
        entries.retain(|entry| split(entry).is_some());
        if let Some(name) =
            names.into_iter().find(|name| !entries.iter().any(|entry| split(entry) == Some(name)))
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
        Ok(Self { entries })
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
    /// Features of all frames; `None` where the image tower is trained.
    features: Option<PathBuf>,
}

impl Clips {
    /// Decodes what is not in the store, and encodes what is not in the cache; `None` for other data.
    ///
    /// # Errors
    /// A list or a store that cannot be read, a video without a frame, or a wish to stop.
    pub fn open(
        plan: &Plan,
        pretrained: &Pretrained,
        stop: &AtomicBool,
        events: Events<'_>,
    ) -> Result<Option<Self>, ExperimentError> {
        let (DataRecipe::Videos { manifest, store, sampler }, EncoderRecipe::Clip { weights, frames, .. }) =
            (&plan.recipe.data, &plan.recipe.encoder)
        else {
            return Ok(None);
        };
        let listed = Listed::read(manifest)?;
        let preprocessor = preprocessor(pretrained.checkpoint()).map_err(refused)?;
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
        let features = match frames {
            Frames::Trained => None,
            Frames::Cached => {
                let mut names =
                    format!("{} {}", pretrained.checkpoint().sha256(), preprocessor.config().describe());
                for entry in &listed.entries {
                    names.push_str(&format!("\n{} {}", entry.id, keys[&entry.id]));
                }
                let name = format!("clip-{}.safetensors", &files::sha256(names.as_bytes())[..16]);
                let out = plan.surroundings.cache.join(name);
                if !out.exists() {
                    let pictures = Pictures::Videos {
                        manifest: manifest.clone(),
                        store: store.clone(),
                        sampler: *sampler,
                    };
                    encode_frames(weights, pictures, &out, &plan.device, stop, events)?;
                }
                Some(out)
            }
        };
        let (store, frames) = (Arc::new(prepared.store), frames_of(sampler)?);
        Ok(Some(Self { listed, keys, store, preprocessor, frames, features }))
    }

    /// The videos of a split.
    pub fn entries(&self, split: Split) -> Vec<&Entry> {
        self.listed.of(split).collect()
    }

    /// Frames of some videos, `[videos, frames, width]`, which of them are real, and their width.
    ///
    /// # Errors
    /// A record that changed on disk, or a file of features that is not whole.
    pub fn rows(&self, entries: &[&Entry]) -> Result<(FrameRows, Vec<bool>, usize), ExperimentError> {
        match &self.features {
            Some(path) => self.features(path, entries),
            None => self.pictures(entries),
        }
    }

    /// Frames of a video, padding included.
    pub fn frames(&self) -> usize {
        self.frames
    }

    fn pictures(&self, entries: &[&Entry]) -> Result<(FrameRows, Vec<bool>, usize), ExperimentError> {
        let keys: Vec<Key> = entries.iter().map(|entry| self.keys[&entry.id]).collect();
        let mut mask = vec![false; keys.len() * self.frames];
        for (key, mask) in keys.iter().zip(mask.chunks_mut(self.frames)) {
            let record = self.store.get(key).map_err(wrong)?;
            let count = record.map_or(0, |record| record.shape.first().copied().unwrap_or(0));
            mask.iter_mut().take(count).for_each(|real| *real = true);
        }
        let side = self.preprocessor.side();
        let stored = StoredFrames::new(Arc::clone(&self.store), keys, self.preprocessor.clone());
        Ok((FrameRows::Stored(stored), mask, 3 * side * side))
    }

    fn features(
        &self,
        path: &Path,
        entries: &[&Entry],
    ) -> Result<(FrameRows, Vec<bool>, usize), ExperimentError> {
        let broken = |cause: String| {
            ExperimentError::work(format!("{}: {cause}; remove the file to encode it anew", path.display()))
        };
        let bytes = files::read(path)?;
        let (_, head) = SafeTensors::read_metadata(&bytes).map_err(|cause| broken(cause.to_string()))?;
        let tensors = SafeTensors::deserialize(&bytes).map_err(|cause| broken(cause.to_string()))?;
        let ids = head.metadata().as_ref().and_then(|entries| entries.get("video_ids")).cloned();
        let ids: Vec<String> =
            serde_json::from_str(&ids.unwrap_or_default()).map_err(|cause| broken(cause.to_string()))?;
        let places: HashMap<&str, usize> =
            ids.iter().enumerate().map(|(row, id)| (id.as_str(), row)).collect();
        let tensor = |name: &str| tensors.tensor(name).map_err(|cause| broken(cause.to_string()));
        let (values, real) = (tensor("frames")?, tensor("mask")?);
        let &[_, count, width] = values.shape() else {
            return Err(broken("frames has not three axes".into()));
        };
        let mut rows = vec![0.0; entries.len() * self.frames * width];
        let mut mask = vec![false; entries.len() * self.frames];
        for (place, entry) in entries.iter().enumerate() {
            let row =
                *places.get(entry.id.as_str()).ok_or_else(|| broken(format!("{:?} is missing", entry.id)))?;
            let own = &values.data()[row * count * width * 4..(row + 1) * count * width * 4];
            let numbers = own.chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]]));
            rows[place * self.frames * width..].iter_mut().zip(numbers).for_each(|(to, value)| *to = value);
            let own = &real.data()[row * count..(row + 1) * count];
            mask[place * self.frames..].iter_mut().zip(own).for_each(|(to, &byte)| *to = byte != 0);
        }
        Ok((FrameRows::Values(rows), mask, width))
    }
}

/// Frames of every video through the frozen tower, into a file.
fn encode_frames(
    weights: &str,
    pictures: Pictures,
    out: &Path,
    device: &Device,
    stop: &AtomicBool,
    events: Events<'_>,
) -> Result<(), ExperimentError> {
    let request = encode::Request {
        weights: weights.to_owned(),
        processor: None,
        texts: None,
        pictures: Some(pictures),
        out: out.to_owned(),
        batch: BATCH,
        device: String::new(),
        precision: Precision::F32,
        tokens: false,
        // What is in no split may be broken; what is in one was decoded before.
        skip_bad: true,
        shard: None,
        resume: true,
    };
    encode::encode_on(device, &request, stop, events).map(drop)
}

/// Frames of a clip, padding included.
///
/// # Errors
/// A sampler that takes as many as there are.
pub fn frames_of(sampler: &Sampler) -> Result<usize, ExperimentError> {
    sampler.frames().ok_or_else(|| {
        ExperimentError::request(format!(
            "data.sampler = \"{sampler}\" takes as many frames as a clip has; a run wants a fixed number, as \"{}\"",
            Sampler::clip4clip()
        ))
    })
}

fn wrong(error: DataError) -> ExperimentError {
    ExperimentError::work(error.to_string())
}
