//! Features of a clip's frames in a store, beside the frames: any encoder's, each under a key of its own.
//!
//! ```text
//! key of the frames (bytes of the video, sampler, finish, decoder) ─┐
//! everything that the encoder's output depends on                   ┴▶ key ─▶ f32 [frames, width]
//! ```
//!
//! They lie in the shards of the frames and have what those have: checksums, one writer a shard, nothing that a killed
//! process could spoil. The note names the video, so that `gc` keeps or drops them with it.

use serde::{Deserialize, Serialize};

use crate::error::DataError;
use crate::prepare::Note;
use crate::store::{Key, Kind, Store, Value};

/// One encoder's features in a store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FrameFeatures {
    encoder: String,
}

/// Features of a clip.
#[derive(Clone, Debug, PartialEq)]
pub struct ClipFeatures {
    /// `[frames, width]`.
    pub values: Vec<f32>,
    /// Frames of the clip.
    pub frames: usize,
    /// Values of a frame.
    pub width: usize,
}

/// What is noted beside features.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct FeatureNote {
    /// SHA-256 of the video's bytes.
    pub video: String,
    /// The key of the frames.
    pub frames: String,
    /// Whose features they are.
    pub encoder: String,
}

impl FrameFeatures {
    /// Those of an encoder: a text of everything that its output depends on, such as the hash of its weights, what it
    /// does to pixels, and the type of its numbers.
    pub fn of(encoder: String) -> Self {
        Self { encoder }
    }

    /// Where the features of some frames lie.
    pub fn key(&self, frames: &Key) -> Key {
        Key::of(&[("frames", &frames.to_string()), ("encoder", &self.encoder)])
    }

    /// Puts the features of a clip beside its frames, `[frames, width]`, unless they are there. The frames are not read
    /// for it: whoever encoded them has.
    ///
    /// # Errors
    /// Frames that this store does not hold, or more or fewer of them than rows; a store that cannot be written.
    pub fn put(
        &self,
        store: &mut Store,
        frames: &Key,
        values: &[f32],
        width: usize,
    ) -> Result<(), DataError> {
        let wrong = |problem: String| DataError::item(store.folder(), &format!("record {frames}"), problem);
        let label =
            store.look(frames)?.ok_or_else(|| wrong("is not there, and features of it are".into()))?;
        let count = label.shape.first().copied().unwrap_or(0);
        if count * width != values.len() {
            return Err(wrong(format!(
                "has {count} frames, but {} values of features {width} wide are given",
                values.len()
            )));
        }
        let video = Note::read(label.note).ok_or_else(|| wrong("holds no frames of a video".into()))?.video;
        let note = FeatureNote { video, frames: frames.to_string(), encoder: self.encoder.clone() };
        let note = serde_json::to_string(&note).map_err(|cause| wrong(cause.to_string()))?;
        let bytes: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        store.put(self.key(frames), Kind::F32, &note, &Value { shape: &[count, width], bytes: &bytes })
    }

    /// The features of a clip; `None` if they are not there.
    ///
    /// # Errors
    /// A record whose bytes changed on disk, or that is not one of features.
    pub fn get(&self, store: &Store, frames: &Key) -> Result<Option<ClipFeatures>, DataError> {
        let key = self.key(frames);
        let Some(record) = store.get(&key)? else { return Ok(None) };
        let (Kind::F32, &[frames, width]) = (record.kind, record.shape.as_slice()) else {
            let problem = format!("holds no features: it is {:?} {:?}", record.kind, record.shape);
            return Err(DataError::item(store.folder(), &format!("record {key}"), problem));
        };
        let (values, _) = record.bytes.as_chunks::<4>();
        let values = values.iter().map(|&value| f32::from_le_bytes(value)).collect();
        Ok(Some(ClipFeatures { values, frames, width }))
    }
}
