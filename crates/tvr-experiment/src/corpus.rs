//! One split of a data set, in memory, as training and evaluation want it.

mod features;
mod rows;
pub mod streams;
mod videos;
mod world;

use burn::prelude::*;
use tvr_data::{Split, World};
use tvr_heads::{Expert, Needs, VideoFeatures};
use tvr_metrics::Truth;
use tvr_objectives::CaptionTokens;

use crate::error::ExperimentError;
use crate::plan::Plan;
use crate::recipe::{Captions, DataRecipe};
use crate::sources::Sources;

pub(crate) use features::vocabulary;
pub use rows::{FrameRows, StoredFeatures, StoredFrames};
pub use streams::StreamTexts;

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
    pub frames: FrameRows,
    /// Frames of a video, padding included.
    pub frames_per_video: usize,
    /// Values of a frame.
    pub width: usize,
    /// Which frames are real, `[videos, frames]`.
    pub mask: Vec<bool>,
    /// The captions, as the encoder takes them.
    pub texts: Texts,
    /// The captions as sentences; empty where the encoder takes vectors.
    pub sentences: Vec<String>,
    /// Parts of the captions, where the recipe's head asks for them.
    pub streams: Vec<StreamTexts>,
    /// What other networks saw of the videos; empty for most data.
    pub experts: Vec<ExpertRows>,
    /// SHA-256 of the weights of the towers that made the frames' features, where they are the built-in world's and frozen.
    pub towers: Option<String>,
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

/// Another order of a video's real frames than that of time; padding stays at the end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FrameOrder {
    /// A random order of each video, drawn by this seed.
    Shuffled(u64),
    /// From the last frame to the first.
    Reversed,
}

impl FrameOrder {
    /// The frame that each of a video's `places` shows; the first `length` have a real one.
    fn of(self, video: usize, length: usize, places: usize) -> Vec<usize> {
        let mut order: Vec<usize> = (0..places).collect();
        match self {
            Self::Shuffled(seed) => {
                let mut random = tvr_data::stream(seed, "frame-order", video as u64);
                for place in (1..length).rev() {
                    order.swap(place, random.below(place as u64 + 1) as usize);
                }
            }
            Self::Reversed => order[..length].reverse(),
        }
        order
    }
}

/// One expert's features of a split.
#[derive(Clone, Debug)]
pub struct ExpertRows {
    /// Its name in the feature file.
    pub name: String,
    /// `[videos, steps, width]`.
    pub values: Vec<f32>,
    /// Which steps are real, `[videos, steps]`.
    pub mask: Vec<bool>,
    /// Steps of a video, padding included.
    pub steps: usize,
    /// Values of a step.
    pub width: usize,
}

impl Corpus {
    /// Opens the training or the validation split.
    ///
    /// # Errors
    /// What is missing or broken in the data, by name.
    pub fn open(plan: &Plan, split: Split, sources: &Sources) -> Result<Self, ExperimentError> {
        match (&plan.recipe.data, sources) {
            (DataRecipe::Features { path }, _) => features::open(plan, path, split, sources),
            (DataRecipe::Videos { .. }, Sources { clips: Some(clips), pretrained: Some(pretrained), .. }) => {
                videos::open(plan, clips, pretrained, split)
            }
            (DataRecipe::Videos { .. }, _) => {
                Err(ExperimentError::work("a list of videos needs a checkpoint, which was not opened"))
            }
            (DataRecipe::World { gallery, .. }, Sources { world: Some(towers), .. }) => {
                let videos = match split {
                    Split::Test => *gallery,
                    other => World::size(other),
                };
                world::open(split, videos, towers, &plan.recipe.encoder, &plan.needs)
            }
            (DataRecipe::World { .. }, _) => {
                Err(ExperimentError::work("the world's features need its towers, which were not made"))
            }
        }
    }

    /// The captions that look for videos where a model is judged, and whose each is: one of each video in the order of the
    /// videos, or all in the order of their rows.
    ///
    /// # Errors
    /// A video without a caption, where all look.
    pub fn asked(&self, captions: Captions) -> Result<(Vec<usize>, Truth), ExperimentError> {
        match captions {
            Captions::OnePerVideo => Ok((self.queries.clone(), Truth::diagonal(self.queries.len()))),
            Captions::All => {
                let truth = Truth::groups(self.text_video.clone()).map_err(ExperimentError::because)?;
                Ok(((0..self.text_ids.len()).collect(), truth))
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

    /// Features of some videos, with the experts that a head needs. Without `order` frames keep theirs.
    ///
    /// # Errors
    /// Pictures that are gone from their store, or changed there.
    pub fn video_features(
        &self,
        videos: &[usize],
        order: Option<FrameOrder>,
        needs: &Needs,
        device: &Device,
    ) -> Result<VideoFeatures, ExperimentError> {
        let mut values = self.frames.read(videos, self.frames_per_video, self.width)?;
        if let Some(order) = order {
            let row = self.frames_per_video * self.width;
            let mut ordered = Vec::with_capacity(values.len());
            for (&video, frames) in videos.iter().zip(values.chunks(row.max(1))) {
                for frame in order.of(video, self.length(video), self.frames_per_video) {
                    ordered.extend_from_slice(&frames[frame * self.width..(frame + 1) * self.width]);
                }
            }
            values = ordered;
        }
        let shape = [videos.len(), self.frames_per_video, self.width];
        let frames = Tensor::from_data(TensorData::new(values, shape), device);
        let asked = |expert: &&ExpertRows| needs.experts.iter().any(|input| input.name == expert.name);
        let experts = self.experts.iter().filter(asked);
        Ok(VideoFeatures {
            frames,
            mask: mask_rows(&self.mask, self.frames_per_video, videos, device),
            experts: experts.map(|expert| expert.rows(videos, device)).collect(),
        })
    }

    /// Token ids of the captions; `None` where they are vectors.
    pub fn tokens(&self) -> Option<&[Vec<u32>]> {
        match &self.texts {
            Texts::Tokens(tokens) => Some(tokens),
            Texts::Features { .. } => None,
        }
    }

    /// Tokens of some captions as objectives take them, the end mark last and no start mark; `None` where captions
    /// are vectors.
    pub fn caption_tokens(&self, texts: &[usize], device: &Device) -> Option<CaptionTokens> {
        let tokens = self.tokens()?;
        let rows: Vec<&[u32]> = texts.iter().map(|&text| tokens[text].get(1..).unwrap_or_default()).collect();
        let (ids, mask) = crate::model::padded(&rows, device);
        Some(CaptionTokens { ids, mask })
    }

    /// Real frames of a video: they come first.
    pub fn length(&self, video: usize) -> usize {
        let start = video * self.frames_per_video;
        self.mask[start..start + self.frames_per_video].iter().filter(|&&real| real).count()
    }

    /// Whether every video has something of what a head of experts alone takes.
    ///
    /// # Errors
    /// The first video of which none of the experts says anything.
    pub fn check_experts(&self, needs: &Needs) -> Result<(), ExperimentError> {
        if needs.frames || needs.experts.is_empty() {
            return Ok(());
        }
        let names: Vec<&str> = needs.experts.iter().map(|input| input.name.as_str()).collect();
        let asked: Vec<&ExpertRows> =
            self.experts.iter().filter(|expert| names.contains(&expert.name.as_str())).collect();
        let silent = |video: usize| {
            let says = |expert: &&ExpertRows| {
                expert.mask[video * expert.steps..(video + 1) * expert.steps].contains(&true)
            };
            !asked.iter().any(says)
        };
        match (0..self.video_ids.len()).find(|&video| silent(video)) {
            Some(video) => Err(ExperimentError::work(format!(
                "video {:?} has no expert at all: {} are silent about it; leave it out",
                self.video_ids[video],
                names.join(", ")
            ))),
            None => Ok(()),
        }
    }
}

impl ExpertRows {
    fn rows(&self, videos: &[usize], device: &Device) -> Expert {
        let row = self.steps * self.width;
        let values = rows_of(&self.values, row, videos);
        Expert {
            name: self.name.clone(),
            features: Tensor::from_data(
                TensorData::new(values, [videos.len(), self.steps, self.width]),
                device,
            ),
            mask: mask_rows(&self.mask, self.steps, videos, device),
        }
    }
}

/// Some rows of a mask, `[items, steps]`.
fn mask_rows(mask: &[bool], steps: usize, items: &[usize], device: &Device) -> Tensor<2, Bool> {
    Tensor::from_data(TensorData::new(rows_of(mask, steps, items), [items.len(), steps]), device)
}

/// The rows of some items, one after another; copied row by row, since value by value takes as long as a small layer.
pub(crate) fn rows_of<T: Copy>(values: &[T], row: usize, items: &[usize]) -> Vec<T> {
    let rows: Vec<&[T]> = items.iter().map(|&item| &values[item * row..(item + 1) * row]).collect();
    rows.concat()
}
