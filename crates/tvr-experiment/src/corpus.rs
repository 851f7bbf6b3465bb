//! One split of a data set, in memory, as training and evaluation want it.

use burn::prelude::*;
use rayon::prelude::*;
use tvr_data::{FeatureFile, Split, World};

use crate::error::ExperimentError;
use crate::plan::Plan;
use crate::recipe::{DataRecipe, EncoderRecipe, Frames};
use crate::towers::Towers;

/// One split: videos, captions, and which caption belongs to which video.
#[derive(Clone, Debug)]
pub struct Corpus {
    /// Names of the videos, in row order.
    pub video_ids: Vec<String>,
    /// Names of the captions, in row order.
    pub text_ids: Vec<String>,
    /// Video of each caption.
    pub text_video: Vec<usize>,
    /// One caption of each video: the standard protocol's queries, in video order.
    pub queries: Vec<usize>,
    /// Frame features `[videos, frames, width]`, or pixels.
    pub frames: Vec<f32>,
    /// Frames of a video, padding included.
    pub frames_per_video: usize,
    /// Values of a frame.
    pub width: usize,
    /// Which frames are real, `[videos, frames]`.
    pub mask: Vec<bool>,
    /// The captions.
    pub texts: Texts,
}

/// Captions, as vectors or as tokens.
#[derive(Clone, Debug)]
pub enum Texts {
    /// Embeddings `[captions, width]`.
    Features {
        /// Row by row.
        values: Vec<f32>,
        /// Values of a caption.
        width: usize,
    },
    /// Token ids with start and end.
    Tokens(Vec<Vec<u32>>),
}

impl Corpus {
    /// Opens the training or the validation split.
    ///
    /// # Errors
    /// What is missing or broken in the data, by name.
    pub fn open(plan: &Plan, split: Split, towers: Option<&Towers>) -> Result<Self, ExperimentError> {
        match (&plan.recipe.data, towers) {
            (DataRecipe::Features { path }, _) => features(path, split),
            (DataRecipe::World { gallery, .. }, Some(towers)) => {
                let videos = match split {
                    Split::Test => *gallery,
                    other => World::size(other),
                };
                world(split, videos, towers, &plan.recipe.encoder)
            }
            (DataRecipe::World { .. }, None) => {
                Err(ExperimentError::work("the world's features need its towers, which were not made"))
            }
        }
    }

    /// Captions of each video.
    pub fn captions(&self) -> Vec<Vec<usize>> {
        let mut captions = vec![Vec::new(); self.video_ids.len()];
        for (text, &video) in self.text_video.iter().enumerate() {
            captions[video].push(text);
        }
        captions
    }

    /// Frame features and masks of some videos: `[videos, frames, width]`, `[videos, frames]`.
    ///
    /// `order` gives, per video, the frame that each place shows; without it frames keep their order.
    pub fn video_tensors(
        &self,
        videos: &[usize],
        order: Option<&dyn Fn(usize) -> Vec<usize>>,
        device: &Device,
    ) -> (Tensor<3>, Tensor<2, Bool>) {
        let row = self.frames_per_video * self.width;
        let mut values = Vec::with_capacity(videos.len() * row);
        let mut mask = Vec::with_capacity(videos.len() * self.frames_per_video);
        for &video in videos {
            let frames = &self.frames[video * row..(video + 1) * row];
            match order {
                None => values.extend_from_slice(frames),
                Some(order) => {
                    for frame in order(video) {
                        values.extend_from_slice(&frames[frame * self.width..(frame + 1) * self.width]);
                    }
                }
            }
            mask.extend_from_slice(
                &self.mask[video * self.frames_per_video..(video + 1) * self.frames_per_video],
            );
        }
        let shape = [videos.len(), self.frames_per_video];
        (
            Tensor::from_data(TensorData::new(values, [shape[0], shape[1], self.width]), device),
            Tensor::from_data(TensorData::new(mask, shape), device),
        )
    }

    /// Real frames of a video: they come first.
    pub fn length(&self, video: usize) -> usize {
        let start = video * self.frames_per_video;
        self.mask[start..start + self.frames_per_video].iter().filter(|&&real| real).count()
    }
}

fn features(folder: &std::path::Path, split: Split) -> Result<Corpus, ExperimentError> {
    let wrong = |error: tvr_data::DataError| ExperimentError::work(error.to_string());
    let set = FeatureFile::open(folder).map_err(wrong)?;
    let part = set.part(split).map_err(wrong)?;
    let mut frames = Vec::new();
    let mut mask = Vec::new();
    for &video in &part.videos {
        frames.extend(set.frames(video).map_err(wrong)?);
        mask.extend(set.mask(video));
    }
    let mut values = Vec::new();
    for &text in &part.texts {
        values.extend(set.text(text).map_err(wrong)?);
    }
    Ok(Corpus {
        video_ids: part.videos.iter().map(|&video| set.video_ids()[video].clone()).collect(),
        text_ids: part.texts.iter().map(|&text| set.text_ids()[text].clone()).collect(),
        text_video: part.text_video.clone(),
        queries: part.queries.clone(),
        frames,
        frames_per_video: set.frames_per_video(),
        width: set.width(),
        mask,
        texts: Texts::Features { values, width: set.text_width() },
    })
}

/// Captions of each of the world's videos.
pub const WORLD_CAPTIONS: usize = 5;

fn world(
    split: Split,
    videos: usize,
    towers: &Towers,
    encoder: &EncoderRecipe,
) -> Result<Corpus, ExperimentError> {
    let world = World::default();
    let captions: Vec<String> = (0..videos * WORLD_CAPTIONS)
        .into_par_iter()
        .map(|index| world.caption(split, index / WORLD_CAPTIONS, index % WORLD_CAPTIONS).text())
        .collect();
    let features = match encoder {
        EncoderRecipe::World { frames: Frames::Trained, .. } => towers.frame_pixels(split, videos),
        _ => towers.frame_features(split, videos)?,
    };
    Ok(Corpus {
        video_ids: (0..videos).map(|video| format!("{}{video}", split.name())).collect(),
        text_ids: (0..videos * WORLD_CAPTIONS)
            .map(|text| format!("{}{}-{}", split.name(), text / WORLD_CAPTIONS, text % WORLD_CAPTIONS))
            .collect(),
        text_video: (0..videos * WORLD_CAPTIONS).map(|text| text / WORLD_CAPTIONS).collect(),
        queries: (0..videos).map(|video| video * WORLD_CAPTIONS).collect(),
        frames_per_video: features.frames_per_video,
        width: features.width,
        frames: features.values,
        mask: features.mask,
        texts: Texts::Tokens(towers.tokens(&captions)?),
    })
}
