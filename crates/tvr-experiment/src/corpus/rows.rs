//! Frames of a split: values in memory, or pictures of a store that are read when they are asked for.

use std::sync::Arc;

use rayon::prelude::*;
use tvr_clip::{Picture, Preprocessor};
use tvr_data::{FrameBatch, Key, Store};

use crate::error::ExperimentError;

/// Frames of a split, video by video.
#[derive(Clone, Debug)]
pub enum FrameRows {
    /// `[videos, frames, width]`.
    Values(Vec<f32>),
    /// Pictures of a store; as values, `[videos, frames, 3 · side · side]`.
    Stored(StoredFrames),
}

/// Pictures of a store, one record for each video.
#[derive(Clone, Debug)]
pub struct StoredFrames {
    store: Arc<Store>,
    keys: Vec<Key>,
    preprocessor: Preprocessor,
}

impl FrameRows {
    /// Frames of some videos, `[videos, frames, width]`, with zeros for padding.
    ///
    /// # Errors
    /// A record that is gone from the store, or changed there.
    pub fn read(&self, videos: &[usize], frames: usize, width: usize) -> Result<Vec<f32>, ExperimentError> {
        match self {
            Self::Values(values) => {
                let row = frames * width;
                Ok(videos
                    .iter()
                    .flat_map(|&video| &values[video * row..(video + 1) * row])
                    .copied()
                    .collect())
            }
            Self::Stored(stored) => stored.read(videos, frames),
        }
    }

    /// The keys of stored pictures, which name all that their bytes depend on; none for values.
    pub fn keys(&self) -> &[Key] {
        match self {
            Self::Values(_) => &[],
            Self::Stored(stored) => &stored.keys,
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
        let batch = FrameBatch::read(&self.store, &keys, Some(frames))
            .map_err(|error| ExperimentError::work(error.to_string()))?;
        let side = self.preprocessor.side();
        let picture = 3 * side * side;
        let mut values = vec![0.0; videos.len() * frames * picture];
        values
            .par_chunks_mut(picture)
            .zip(batch.pixels.par_chunks(picture))
            .zip(&batch.mask)
            .filter(|(_, real)| **real)
            .try_for_each(|((values, bytes), _)| {
                let picture = Picture::from_rgb(side, side, bytes.to_vec())
                    .map_err(|error| ExperimentError::work(error.to_string()))?;
                values.copy_from_slice(&self.preprocessor.normalise(&picture));
                Ok(())
            })?;
        Ok(values)
    }
}
