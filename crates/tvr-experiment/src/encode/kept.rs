//! Frames of a store through an image tower, once: their features are kept beside them.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use burn::prelude::Device;
use tvr_clip::{ClipCheckpoint, ImageTower, Precision, Preprocessor};
use tvr_data::{ClipFeatures, FrameFeatures, Key, Store};

use super::Job;
use super::pictures::{self, Frame, Video, Viewer};
use crate::error::ExperimentError;
use crate::progress::Events;
use crate::recipe::FrameTokens;

/// An image tower whose features are kept.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Encoder<'a> {
    /// The checkpoint; its weights are read if there is something to encode.
    pub checkpoint: &'a ClipCheckpoint,
    /// How pictures become pixels.
    pub preprocessor: &'a Preprocessor,
    /// Type of the weights.
    pub precision: Precision,
    /// Which codes stand for a frame.
    pub frame_tokens: FrameTokens,
    /// Where it runs. Devices differ by rounding, which is no part of a key.
    pub device: &'a Device,
    /// Pictures that pass the tower at once.
    pub batch: usize,
}

impl Encoder<'_> {
    /// Patches of a frame, where those stand for it. Features of a frame are then `patches · width` values in the store.
    ///
    /// # Errors
    /// A checkpoint without an image tower.
    pub fn patches(&self) -> Result<Option<usize>, ExperimentError> {
        self.checkpoint
            .image_config()
            .map(|image| self.frame_tokens.of(image))
            .map_err(ExperimentError::because)
    }

    /// Its features in a store: named by the tower's settings, the hash of the weights, what is done to pixels, the type
    /// of the weights, and whether they are those of patches.
    ///
    /// # Errors
    /// A checkpoint without an image tower.
    pub fn features(&self) -> Result<FrameFeatures, ExperimentError> {
        let tower = serde_json::to_string(self.checkpoint.image_config().map_err(ExperimentError::because)?)
            .map_err(|cause| {
                ExperimentError::work(format!("the tower's settings cannot be JSON: {cause}"))
            })?;
        let (weights, pixels) = (self.checkpoint.sha256(), self.preprocessor.config().describe());
        let precision = self.precision.name();
        let tokens = if self.patches()?.is_some() { ", patches" } else { "" };
        Ok(FrameFeatures::of(format!("clip {tower}, sha256 {weights}, {pixels}, {precision}{tokens}")))
    }

    /// Encodes those of some frames that have no features in the store, and hands back the store with all of them.
    /// Whoever is stopped or killed keeps what was encoded before.
    ///
    /// # Errors
    /// Frames that changed on disk, a store that cannot be written, or a wish to stop, with `again`: how to go on.
    pub fn encode(
        &self,
        store: Store,
        frames: &[Key],
        (stop, again): (&AtomicBool, &str),
        events: Events<'_>,
    ) -> Result<Store, ExperimentError> {
        let features = self.features()?;
        let mut named = HashSet::new();
        let open = |key: &&Key| named.insert(**key) && !store.has(&features.key(key));
        let wanted: Vec<Key> = frames.iter().filter(open).copied().collect();
        if wanted.is_empty() {
            return Ok(store);
        }
        let mut writer = Store::open(store.folder()).map_err(ExperimentError::because)?;
        let store = Arc::new(store);
        let mut videos = Vec::with_capacity(wanted.len());
        for key in &wanted {
            let label = store.look(key).map_err(ExperimentError::because)?;
            let count = label.and_then(|label| label.shape.first().copied());
            let frame = |index| Frame::Kept { store: Arc::clone(&store), key: *key, index };
            let frames = (0..count.unwrap_or(0)).map(frame).collect();
            videos.push(Video { id: key.to_string(), frames, goes_on: false });
        }
        let tower =
            self.checkpoint.load_image(self.device, self.precision).map_err(ExperimentError::because)?;
        let viewer = self.viewer(&tower)?;
        let stopped = format!("what is encoded is kept in {}; to go on: {again}", store.folder().display());
        let job = Job { batch: self.batch, skip_bad: false, stop, stopped };
        let groups: Vec<(usize, &[Video])> = pictures::cut(&videos, viewer.patches)
            .into_iter()
            .map(|range| (range.start, &videos[range]))
            .collect();
        pictures::view(&job, &viewer, &groups, 0, events, &mut |first, part| {
            let mut rows = part.rows.as_slice();
            for (key, count) in wanted[first..].iter().zip(&part.counts) {
                let (own, rest) = rows.split_at(count * part.width);
                features.put(&mut writer, key, own, part.width).map_err(ExperimentError::because)?;
                rows = rest;
            }
            writer.sync().map_err(ExperimentError::because)
        })?;
        writer.flush().map_err(ExperimentError::because)?;
        Ok(writer)
    }

    /// Its tower, loaded, with what it takes.
    ///
    /// # Errors
    /// As [`patches`](Self::patches).
    pub(super) fn viewer<'a>(&'a self, tower: &'a ImageTower) -> Result<Viewer<'a>, ExperimentError> {
        let Self { preprocessor, device, .. } = *self;
        Ok(Viewer { tower, preprocessor, patches: self.patches()?, device })
    }
}

/// The features of a clip that was encoded.
///
/// # Errors
/// Features that changed on disk, or are gone.
pub(crate) fn kept(
    features: &FrameFeatures,
    store: &Store,
    frames: &Key,
) -> Result<ClipFeatures, ExperimentError> {
    let found = features.get(store, frames).map_err(ExperimentError::because)?;
    found.ok_or_else(|| {
        let store = store.folder().display();
        ExperimentError::work(format!(
            "{store}: the features of {frames} are gone; start again to encode them"
        ))
    })
}
