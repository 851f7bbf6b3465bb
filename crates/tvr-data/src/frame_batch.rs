//! Frames of several clips, out of a store and into one array.

use crate::error::DataError;
use crate::prepare::Note;
use crate::store::{Key, Kind, Record, Store};

/// Frames of some clips, padded to one number of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FrameBatch {
    /// RGB bytes, `[clips, frames, height, width, 3]`; padding is 0.
    pub pixels: Vec<u8>,
    /// `[clips, frames]`, true = real. Padding stands behind a clip's frames.
    pub mask: Vec<bool>,
    /// Frames of a clip, padding included.
    pub frames: usize,
    /// Rows and pixels in a row.
    pub size: [usize; 2],
}

impl FrameBatch {
    /// Reads the frames of some clips. `frames` is what each is padded to; without it, the most that one of them has.
    ///
    /// # Errors
    /// A clip that is not in the store or has no frame, or more than `frames`, or another size than the first.
    pub fn read(store: &Store, clips: &[Key], frames: Option<usize>) -> Result<Self, DataError> {
        let wrong =
            |key: &Key, problem: String| DataError::item(store.folder(), &format!("record {key}"), problem);
        let mut records: Vec<Record<'_>> = Vec::with_capacity(clips.len());
        for key in clips {
            let record = store
                .get(key)?
                .ok_or_else(|| wrong(key, "is not there; run cargo xtask prepare again".into()))?;
            if record.kind != Kind::U8 || record.shape.len() != 4 || record.shape[0] == 0 {
                let why = Note::of(&record).and_then(|note| note.fault).map(|fault| fault.to_string());
                let why = why.unwrap_or_else(|| format!("it is {:?} {:?}", record.kind, record.shape));
                return Err(wrong(key, format!("holds no frames: {why}")));
            }
            records.push(record);
        }
        let size = records.first().map_or([0, 0], |first| [first.shape[1], first.shape[2]]);
        let most = records.iter().map(|record| record.shape[0]).max().unwrap_or(0);
        let frames = frames.unwrap_or(most);
        let bytes = frames * size[0] * size[1] * 3;
        let mut pixels = vec![0; clips.len() * bytes];
        let mut mask = vec![false; clips.len() * frames];
        for (place, (key, record)) in clips.iter().zip(&records).enumerate() {
            if record.shape[1..] != [size[0], size[1], 3] || record.shape[0] > frames {
                let expected = format!("at most {frames} frames of {} x {}", size[0], size[1]);
                return Err(wrong(key, format!("has shape {:?}, but it must be {expected}", record.shape)));
            }
            pixels[place * bytes..][..record.bytes.len()].copy_from_slice(record.bytes);
            mask[place * frames..][..record.shape[0]].fill(true);
        }
        Ok(Self { pixels, mask, frames, size })
    }
}
