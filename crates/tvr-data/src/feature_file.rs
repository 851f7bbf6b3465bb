//! Feature folders: `features.safetensors` (tvr-features/1), `captions.jsonl`, `splits.json`.
//!
//! | tensor | type, shape | meaning |
//! |---|---|---|
//! | `frames` | f16 or f32 `[videos, frames, width]` | frame features in time order; or, with the metadata `tokens_per_frame`, so many patches a frame, one after another |
//! | `mask` | u8 `[videos, frames]` | 1 = real frame |
//! | `text` | f16 or f32 `[captions, width']` | caption embeddings |
//! | `text_video` | i64 `[captions]` | row of the caption's video |
//! | `experts.NAME` | f16 or f32 `[videos, steps, width]` | optional: what another network saw |
//! | `experts.NAME.mask` | u8 `[videos, steps]` | 1 = real step; none where the expert is silent about the video |

mod captions;
mod experts;
mod splits;

use std::collections::{HashMap, HashSet};
use std::fs::File;
use std::path::{Path, PathBuf};

use memmap2::Mmap;
use safetensors::tensor::TensorView;
use safetensors::{Dtype, SafeTensors};

use crate::error::DataError;
use crate::world::Split;

pub use experts::ExpertEntry;
pub use splits::Part;

use splits::Parts;

/// An opened feature folder. Values stay in the file and are read through a memory map.
#[derive(Debug)]
pub struct FeatureFile {
    path: PathBuf,
    map: Mmap,
    frames: Place,
    text: Place,
    frame_count: usize,
    patches: Option<usize>,
    mask: Vec<bool>,
    text_video: Vec<usize>,
    video_ids: Vec<String>,
    text_ids: Vec<String>,
    experts: Vec<ExpertEntry>,
    parts: Parts,
}

/// Where a tensor's values lie in the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Place {
    start: usize,
    half: bool,
    width: usize,
}

impl FeatureFile {
    /// Opens a folder and checks everything but the finiteness of features, which is checked where they are read.
    ///
    /// # Errors
    /// The file and what is wrong in it: a missing tensor, a type or shape, an id, a video without a real frame; a split
    /// that is empty, or has a video without features or captions, one of another split, or a query of another video.
    pub fn open(folder: &Path) -> Result<Self, DataError> {
        let path = folder.join("features.safetensors");
        let file = File::open(&path).map_err(DataError::file(&path, "open"))?;
        // SAFETY: the file is opened for reading; whoever changes it under a running program changes what is read.
        #[allow(unsafe_code, reason = "a memory map is what keeps a large file out of memory")]
        let map = unsafe { Mmap::map(&file) }.map_err(DataError::file(&path, "map"))?;
        let broken = |cause: safetensors::SafeTensorError| {
            DataError::format(&path, format!("not a whole safetensors file: {cause}"))
        };
        let (_, metadata) = SafeTensors::read_metadata(&map).map_err(broken)?;
        let entries: HashMap<String, String> = metadata.metadata().clone().unwrap_or_default();
        let found = match entries.get("format").map(String::as_str) {
            Some("tvr-features/1") => None,
            Some(other) => Some(format!("metadata format is {other:?}")),
            None => Some("metadata has no format".to_owned()),
        };
        if let Some(found) = found {
            return Err(DataError::format(&path, format!("{found}, but it must be \"tvr-features/1\"")));
        }
        let video_ids = ids(&path, &entries, "video_ids")?;
        let text_ids = ids(&path, &entries, "text_ids")?;
        let tensors = SafeTensors::deserialize(&map).map_err(broken)?;
        let view =
            |name: &str| tensors.tensor(name).map_err(|_| DataError::tensor(&path, name, "is missing"));

        let frames = view("frames")?;
        let [videos, frame_count, width] = shape::<3>(&path, "frames", frames.shape())?;
        let mask = view("mask")?;
        expect(&path, "mask", &mask, Dtype::U8, &[videos, frame_count])?;
        let text = view("text")?;
        let [texts, text_width] = shape::<2>(&path, "text", text.shape())?;
        let owners = view("text_video")?;
        expect(&path, "text_video", &owners, Dtype::I64, &[texts])?;
        for (what, names, rows) in [("video_ids", &video_ids, videos), ("text_ids", &text_ids, texts)] {
            if names.len() != rows {
                let reason = format!("{what} has {} names for {rows} rows", names.len());
                return Err(DataError::format(&path, reason));
            }
        }
        let mask: Vec<bool> = mask.data().iter().map(|&byte| byte != 0).collect();
        let patches = patches(&path, &entries, frame_count)?;
        for (video, real) in mask.chunks(frame_count).enumerate() {
            if !real.contains(&true) {
                return Err(DataError::item(
                    &path,
                    &video_ids[video],
                    "has no real frame; leave the video out",
                ));
            }
        }
        let mut text_video = Vec::with_capacity(texts);
        for (text, bytes) in owners.data().chunks_exact(8).enumerate() {
            let mut number = [0; 8];
            number.copy_from_slice(bytes);
            let video = usize::try_from(i64::from_le_bytes(number)).ok().filter(|&video| video < videos);
            text_video.push(video.ok_or_else(|| {
                let problem = format!("belongs to no video: text_video must be below {videos}");
                DataError::item(&path, &text_ids[text], problem)
            })?);
        }
        let frames = place(&path, &map, "frames", &frames, width)?;
        let text = place(&path, &map, "text", &text, text_width)?;
        let experts = experts::read(&path, &map, &tensors, videos)?;
        let parts = splits::read(folder, &video_ids, &text_ids, &text_video)?;
        Ok(Self {
            path,
            frames,
            text,
            frame_count,
            patches,
            mask,
            text_video,
            video_ids,
            text_ids,
            experts,
            parts,
            map,
        })
    }

    /// The rows of a split.
    pub fn part(&self, split: Split) -> &Part {
        self.parts.of(split)
    }

    /// Names of the videos, by row.
    pub fn video_ids(&self) -> &[String] {
        &self.video_ids
    }

    /// Names of the captions, by row.
    pub fn text_ids(&self) -> &[String] {
        &self.text_ids
    }

    /// Frames of a video, padding included.
    pub fn frames_per_video(&self) -> usize {
        self.frame_count
    }

    /// Vectors of a frame where a vector is a patch; `None` where it is a frame. [`frames_per_video`] counts vectors.
    ///
    /// [`frames_per_video`]: Self::frames_per_video
    pub fn patches_per_frame(&self) -> Option<usize> {
        self.patches
    }

    /// Values of a frame.
    pub fn width(&self) -> usize {
        self.frames.width
    }

    /// Values of a caption.
    pub fn text_width(&self) -> usize {
        self.text.width
    }

    /// Which frames of a video are real, `[frames]`.
    pub fn mask(&self, video: usize) -> &[bool] {
        &self.mask[video * self.frame_count..(video + 1) * self.frame_count]
    }

    /// Frame features of a video, `[frames, width]`; padding is zero.
    ///
    /// # Errors
    /// A value of a real frame that is not finite, with the video's name.
    pub fn frames(&self, video: usize) -> Result<Vec<f32>, DataError> {
        let width = self.frames.width;
        let mut values = self.values(self.frames, video * self.frame_count, self.frame_count);
        for (frame, real) in self.mask(video).iter().enumerate() {
            let of_frame = &mut values[frame * width..(frame + 1) * width];
            if !real {
                // Whatever padding holds in the file, zeros cannot spread.
                of_frame.fill(0.0);
            } else if !of_frame.iter().all(|value| value.is_finite()) {
                let problem =
                    format!("frame {frame} holds a value that is not finite; encode the video again");
                return Err(DataError::item(&self.path, &self.video_ids[video], problem));
            }
        }
        Ok(values)
    }

    /// The embedding of a caption, `[width']`.
    ///
    /// # Errors
    /// A value that is not finite, with the caption's name.
    pub fn text(&self, text: usize) -> Result<Vec<f32>, DataError> {
        let values = self.values(self.text, text, 1);
        if values.iter().all(|value| value.is_finite()) {
            return Ok(values);
        }
        let problem = "holds a value that is not finite; encode the caption again";
        Err(DataError::item(&self.path, &self.text_ids[text], problem))
    }

    fn values(&self, place: Place, row: usize, rows: usize) -> Vec<f32> {
        let size = if place.half { 2 } else { 4 };
        let start = place.start + row * place.width * size;
        let bytes = &self.map[start..start + rows * place.width * size];
        if place.half {
            bytes.chunks_exact(2).map(|b| half::f16::from_le_bytes([b[0], b[1]]).to_f32()).collect()
        } else {
            bytes.chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect()
        }
    }
}

fn ids(path: &Path, entries: &HashMap<String, String>, key: &str) -> Result<Vec<String>, DataError> {
    let text = entries.get(key).ok_or_else(|| DataError::format(path, format!("metadata has no {key}")))?;
    let names: Vec<String> = serde_json::from_str(text)
        .map_err(|cause| DataError::format(path, format!("metadata {key} is no list of names: {cause}")))?;
    let mut seen = HashSet::new();
    match names.iter().find(|name| name.is_empty() || !seen.insert(name.as_str())) {
        Some(name) => {
            let problem = format!("is empty or stands twice in {key}; give every row a name of its own");
            Err(DataError::item(path, name, problem))
        }
        None => Ok(names),
    }
}

/// What `tokens_per_frame` says, in a file of so many vectors a video.
fn patches(
    path: &Path,
    entries: &HashMap<String, String>,
    vectors: usize,
) -> Result<Option<usize>, DataError> {
    let Some(text) = entries.get("tokens_per_frame") else { return Ok(None) };
    let count = text.parse().ok().filter(|&count| count > 0 && vectors.is_multiple_of(count));
    count.map(Some).ok_or_else(|| {
        let reason = format!(
            "metadata tokens_per_frame is {text:?}, but it must divide the {vectors} vectors of a video"
        );
        DataError::format(path, reason)
    })
}

fn place(
    path: &Path,
    map: &Mmap,
    name: &str,
    view: &TensorView<'_>,
    width: usize,
) -> Result<Place, DataError> {
    let half = match view.dtype() {
        Dtype::F16 => true,
        Dtype::F32 => false,
        other => {
            return Err(DataError::tensor(path, name, format!("is {other:?}, but it must be F16 or F32")));
        }
    };
    Ok(Place { start: view.data().as_ptr() as usize - map.as_ptr() as usize, half, width })
}

fn shape<const D: usize>(path: &Path, name: &str, found: &[usize]) -> Result<[usize; D], DataError> {
    let shape: [usize; D] = found.try_into().map_err(|_| {
        DataError::tensor(path, name, format!("has shape {found:?}, but it must have {D} axes"))
    })?;
    if shape.contains(&0) {
        return Err(DataError::tensor(path, name, format!("has shape {found:?}: it is empty")));
    }
    Ok(shape)
}

fn expect(
    path: &Path,
    name: &str,
    view: &TensorView<'_>,
    dtype: Dtype,
    shape: &[usize],
) -> Result<(), DataError> {
    if view.dtype() == dtype && view.shape() == shape {
        return Ok(());
    }
    let problem = format!("is {:?} {:?}, but it must be {dtype:?} {shape:?}", view.dtype(), view.shape());
    Err(DataError::tensor(path, name, problem))
}
