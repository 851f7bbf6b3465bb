//! The videos of a list: frames and features of each in a store, and what the list says of them.

use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;

use tvr_data::{ClipFeatures, Entry, FrameFeatures, Key, Outcome, Sampler, Store};

use super::Request;
use super::feature_file::Side;
use super::kept::{Encoder, kept};
use super::parts::{Names, Part};
use crate::error::ExperimentError;
use crate::files;
use crate::prepare::{Crop, Decoding, LIMIT_SECONDS};
use crate::progress::{Event, Events};

/// Videos of which features are in memory at once, while the feature file is written. Fewer where a frame is many
/// patches, at least one.
const TOGETHER: usize = 64;

/// Videos of a list, or of a shard of it, that have frames.
#[derive(Debug)]
pub(super) struct Listed {
    pub entries: Vec<Entry>,
    /// The list's file.
    pub path: PathBuf,
    /// Whether any video of the whole list has a caption.
    pub has_captions: bool,
    /// SHA-256 of the whole list.
    pub list: String,
    keys: Vec<Key>,
    store: Store,
    features: FrameFeatures,
    /// Patches of a frame, where features are those of patches.
    patches: Option<usize>,
    /// What could not be decoded, each with its reason.
    left_out: Vec<String>,
}

impl Listed {
    /// Reads the list, and decodes what is not in the store.
    ///
    /// # Errors
    /// A list or a store that cannot be read; a video without a frame, unless bad ones are skipped; a wish to stop.
    pub fn open(
        (manifest, store, sampler): (&Path, &Path, Sampler),
        request: &Request,
        encoder: &Encoder<'_>,
        stop: &AtomicBool,
        events: Events<'_>,
    ) -> Result<Self, ExperimentError> {
        let finish = Crop::new(encoder.preprocessor.clone())?;
        let decoding = Decoding { store, sampler, limit_seconds: LIMIT_SECONDS };
        let prepared = decoding.run(manifest, request.shard, &finish, stop, &mut *events)?;
        if prepared.outcomes.contains(&Outcome::Open) {
            return Err(prepared.stopped());
        }
        if let (true, Some(shard)) = (prepared.entries.is_empty(), request.shard) {
            return Err(ExperimentError::request(format!(
                "--shard {shard}: of {} no video is left for it; take fewer shards",
                manifest.display()
            )));
        }
        let (mut entries, mut keys, mut left_out) = (Vec::new(), Vec::new(), Vec::new());
        for (entry, outcome) in prepared.entries.into_iter().zip(prepared.outcomes) {
            match outcome {
                Outcome::Ready { key, .. } => {
                    entries.push(entry);
                    keys.push(key);
                }
                Outcome::Failed(fault) if request.skip_bad => {
                    let reason = format!("{:?} {fault}", entry.id);
                    events(Event::Note(format!("left out: {reason}")));
                    left_out.push(reason);
                }
                Outcome::Failed(fault) => {
                    let mend = "take it from the list, or give --skip-bad";
                    return Err(ExperimentError::work(format!("{:?} {fault}; {mend}", entry.id)));
                }
                Outcome::Open => {} // seen above
            }
        }
        let (features, patches) = (encoder.features()?, encoder.patches()?);
        let list = files::sha256_of_file(manifest)?;
        let (path, has_captions) = (manifest.to_path_buf(), prepared.captions > 0);
        let store = prepared.store;
        Ok(Self { entries, path, has_captions, list, keys, store, features, patches, left_out })
    }

    /// Encodes what is not in the store.
    ///
    /// # Errors
    /// As [`Encoder::encode`].
    pub fn encode(
        self,
        encoder: &Encoder<'_>,
        stop: &AtomicBool,
        events: Events<'_>,
    ) -> Result<Self, ExperimentError> {
        let again = "the same command with --resume";
        let store = encoder.encode(self.store, &self.keys, (stop, again), events)?;
        Ok(Self { store, ..self })
    }

    fn together(&self) -> usize {
        (TOGETHER / self.patches.unwrap_or(1)).max(1)
    }

    /// SHA-256 of all names and frames, for a resumed run to compare.
    pub fn digest(&self) -> String {
        let videos = self.entries.iter().zip(&self.keys);
        let names: String = videos.map(|(entry, key)| format!("{}\n{key}\0", entry.id)).collect();
        files::sha256(names.as_bytes())
    }
}

impl Side for Listed {
    fn count(&self) -> usize {
        // What was left out is told with the first part, though it has no video.
        self.keys.len().div_ceil(self.together()).max(1)
    }

    fn read(&self, number: usize) -> Result<Part, ExperimentError> {
        let start = number * self.together();
        let videos = start..self.keys.len().min(start + self.together());
        let skipped = if number == 0 { self.left_out.clone() } else { Vec::new() };
        let ids = self.entries[videos.clone()].iter().map(|entry| entry.id.clone()).collect();
        let mut part = Part { names: Names { ids, skipped, ..Names::default() }, ..Part::default() };
        for key in &self.keys[videos] {
            let ClipFeatures { values, frames, width } = kept(&self.features, &self.store, key)?;
            part.rows.extend(values);
            part.counts.push(frames);
            part.width = width;
        }
        Ok(part.in_patches(self.patches))
    }
}
