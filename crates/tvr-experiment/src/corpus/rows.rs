//! Frames of a split: values in memory, or pictures or features of a store that are read when they are asked for.

use std::sync::Arc;

use rayon::prelude::*;
use tvr_clip::{Picture, Preprocessor};
use tvr_data::{FrameBatch, FrameFeatures, Key, Store};

use crate::corpus::rows_of;
use crate::encode::kept::kept;
use crate::error::ExperimentError;

/// Frames of a split, video by video.
#[derive(Clone, Debug)]
pub enum FrameRows {
    /// `[videos, frames, width]`.
    Values(Vec<f32>),
    /// Pictures of a store; as values, `[videos, frames, 3 · side · side]`.
    Pictures(StoredFrames),
    /// Features of a store, `[videos, frames, width]`.
    Features(StoredFeatures),
}

/// Pictures of a store, one record for each video.
#[derive(Clone, Debug)]
pub struct StoredFrames {
    store: Arc<Store>,
    keys: Vec<Key>,
    preprocessor: Preprocessor,
}

/// Features of a store, one record for each video.
#[derive(Clone, Debug)]
pub struct StoredFeatures {
    store: Arc<Store>,
    features: FrameFeatures,
    /// Of the frames.
    frames: Vec<Key>,
    /// Of the features.
    keys: Vec<Key>,
}

impl FrameRows {
    /// Frames of some videos, `[videos, frames, width]`, with zeros for padding.
    ///
    /// # Errors
    /// A record that is gone from the store, or changed there.
    pub fn read(&self, videos: &[usize], frames: usize, width: usize) -> Result<Vec<f32>, ExperimentError> {
        match self {
            Self::Values(values) => Ok(rows_of(values, frames * width, videos)),
            Self::Pictures(stored) => stored.read(videos, frames),
            Self::Features(features) => features.read(videos, frames, width),
        }
    }

    /// The keys of a store's records, which name all that their bytes depend on; none for values.
    pub fn keys(&self) -> &[Key] {
        match self {
            Self::Values(_) => &[],
            Self::Pictures(stored) => &stored.keys,
            Self::Features(features) => &features.keys,
        }
    }
}

impl StoredFrames {
    /// Records of videos, resized and cropped as `preprocessor` does.
    pub fn new(store: Arc<Store>, keys: Vec<Key>, preprocessor: Preprocessor) -> Self {
        Self { store, keys, preprocessor }
    }

    fn read(&self, videos: &[usize], frames: usize) -> Result<Vec<f32>, ExperimentError> {
        let keys: Vec<Key> = videos.iter().map(|&video| self.keys[video]).collect();
        let batch = FrameBatch::read(&self.store, &keys, Some(frames)).map_err(ExperimentError::because)?;
        let side = self.preprocessor.side();
        let picture = 3 * side * side;
        let mut values = vec![0.0; videos.len() * frames * picture];
        values
            .par_chunks_mut(picture)
            .zip(batch.pixels.par_chunks(picture))
            .zip(&batch.mask)
            .filter(|(_, real)| **real)
            .try_for_each(|((values, bytes), _)| {
                let picture =
                    Picture::from_rgb(side, side, bytes.to_vec()).map_err(ExperimentError::because)?;
                values.copy_from_slice(&self.preprocessor.normalise(&picture));
                Ok(())
            })?;
        Ok(values)
    }
}

impl StoredFeatures {
    /// An encoder's features of the frames of some videos.
    pub fn new(store: Arc<Store>, features: FrameFeatures, frames: Vec<Key>) -> Self {
        let keys = frames.iter().map(|key| features.key(key)).collect();
        Self { store, features, frames, keys }
    }

    fn read(&self, videos: &[usize], frames: usize, width: usize) -> Result<Vec<f32>, ExperimentError> {
        let mut values = vec![0.0; videos.len() * frames * width];
        for (row, &video) in values.chunks_mut((frames * width).max(1)).zip(videos) {
            let own = kept(&self.features, &self.store, &self.frames[video])?.values;
            row.iter_mut().zip(own).for_each(|(to, value)| *to = value);
        }
        Ok(values)
    }
}
