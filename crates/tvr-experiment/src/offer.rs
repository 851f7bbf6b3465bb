//! What data and encoder offer, what head and objective need, and why they do not fit where they do not.

use std::path::Path;

use serde::Serialize;
use tvr_data::world::CAPTIONS;
use tvr_data::{FeatureFile, Split, World};
use tvr_heads::Head;
use tvr_heads::experts::ExpertInput;
use tvr_objectives::Objective;

use crate::clips::{Listed, frames_of};
use crate::corpus;
use crate::error::ExperimentError;
use crate::pretrained::Pretrained;
use crate::recipe::{Captions, DataRecipe, EncoderRecipe, FrameTokens, Recipe};
use crate::towers;

/// What data and encoder offer to heads and objectives.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Offer {
    /// Width of frame, text and token features.
    pub width: usize,
    /// Frames of a video, padding included; its patches, where those stand for frames.
    pub frames: usize,
    /// Patches of a frame, where those stand for it.
    pub patches: Option<usize>,
    /// Whether there is a vector per token.
    pub tokens: bool,
    /// Streams of captions.
    pub streams: Vec<&'static str>,
    /// Experts by name, with their widths.
    pub experts: Vec<(String, usize)>,
    /// Tokens of the captions' vocabulary; `None` where captions are vectors.
    pub vocabulary: Option<usize>,
    /// Videos of the training split.
    pub train_videos: usize,
    /// Captions of the training split.
    pub train_texts: usize,
    /// Captions of the training video that has the most.
    pub most_captions: usize,
    /// Videos of the validation split.
    pub val_videos: usize,
    /// Videos of the smallest gallery that is judged, as far as is known before test is opened; each has one caption there at least.
    pub gallery: Option<usize>,
}

impl Offer {
    /// What a recipe's data and encoder offer.
    ///
    /// # Errors
    /// A feature folder or a list that cannot be read; features of another width than the checkpoint's.
    pub fn of(recipe: &Recipe, pretrained: Option<&Pretrained>) -> Result<Self, ExperimentError> {
        let from_data = match &recipe.data {
            DataRecipe::World { gallery, .. } => Self {
                gallery: Some(World::size(Split::Val).min(*gallery)),
                frames: tvr_data::world::FRAMES,
                train_videos: World::size(Split::Train),
                train_texts: World::size(Split::Train) * CAPTIONS,
                most_captions: CAPTIONS,
                val_videos: World::size(Split::Val),
                ..Self::default()
            },
            DataRecipe::Videos { manifest, sampler, .. } => {
                let listed = Listed::read(manifest)?;
                Self {
                    frames: frames_of(sampler)?,
                    train_videos: listed.of(Split::Train).count(),
                    train_texts: listed.of(Split::Train).map(|entry| entry.captions.len()).sum(),
                    most_captions: listed
                        .of(Split::Train)
                        .map(|entry| entry.captions.len())
                        .max()
                        .unwrap_or(0),
                    val_videos: listed.of(Split::Val).count(),
                    gallery: Some(listed.of(Split::Val).count()),
                    ..Self::default()
                }
            }
            DataRecipe::Features { path } => {
                let set = FeatureFile::open(path).map_err(ExperimentError::because)?;
                let train = set.part(Split::Train);
                let vocabulary = match &recipe.encoder {
                    EncoderRecipe::Words { least, .. } => {
                        let captions = set.captions().map_err(ExperimentError::because)?;
                        Some(corpus::vocabulary(&set, &captions, *least).size())
                    }
                    _ => None,
                };
                if let Some(checkpoint) = pretrained.map(Pretrained::checkpoint)
                    && checkpoint.joint() != set.width()
                {
                    return Err(ExperimentError::request(format!(
                        "{}: frames are {} wide, but the joint space of {} is {}; encode them with that checkpoint",
                        path.display(),
                        set.width(),
                        checkpoint.folder().display(),
                        checkpoint.joint()
                    )));
                }
                if pretrained.is_some() {
                    same_tokens(recipe.encoder.frame_tokens(), set.patches_per_frame(), path)?;
                }
                let val_videos = set.part(Split::Val).videos.len();
                let mut captions = vec![0; train.videos.len()];
                train.text_video.iter().for_each(|&video| captions[video] += 1);
                let experts = set.experts().iter().map(|expert| (expert.name.clone(), expert.width));
                Self {
                    frames: set.frames_per_video(),
                    patches: set.patches_per_frame(),
                    experts: experts.collect(),
                    vocabulary,
                    train_videos: train.videos.len(),
                    train_texts: train.texts.len(),
                    most_captions: captions.into_iter().max().unwrap_or(0),
                    val_videos,
                    gallery: Some(val_videos),
                    ..Self::default()
                }
            }
        };
        let patches = match &recipe.data {
            DataRecipe::World { .. } | DataRecipe::Videos { .. } => patches(&recipe.encoder, pretrained)?,
            DataRecipe::Features { .. } => None, // its frames are patches already, and no image tower is needed
        };
        let from_data = match patches {
            Some(count) => Self { frames: from_data.frames * count, patches, ..from_data },
            None => from_data,
        };
        Ok(match (&recipe.encoder, pretrained) {
            (EncoderRecipe::Projection { width, .. }, _) => Self { width: *width, ..from_data },
            (EncoderRecipe::Words { width, .. }, _) => {
                Self { width: *width, tokens: true, streams: corpus::streams::names(), ..from_data }
            }
            (EncoderRecipe::Clip { .. }, Some(pretrained)) => Self {
                width: pretrained.checkpoint().joint(),
                tokens: true,
                streams: corpus::streams::names(),
                vocabulary: Some(pretrained.vocabulary()),
                ..from_data
            },
            (EncoderRecipe::Clip { .. }, None) => {
                return Err(ExperimentError::work("encoder.kind = \"clip\": the checkpoint was not opened"));
            }
            (EncoderRecipe::World { .. }, _) => Self {
                width: tvr_clip::ClipConfig::world(1, 1).joint,
                tokens: true,
                streams: corpus::streams::names(),
                vocabulary: Some(towers::tokenizer()?.vocabulary()),
                ..from_data
            },
        })
    }

    /// Items of an epoch.
    pub fn items(&self, captions: Captions) -> usize {
        match captions {
            Captions::OnePerVideo => self.train_videos,
            Captions::All => self.train_texts,
        }
    }

    /// Whether head and objective can work with it and with one another.
    ///
    /// # Errors
    /// The first thing that is missing, why, and what to choose instead.
    pub fn check<H: Head, O: Objective>(
        &self,
        recipe: &Recipe,
        head: &H,
        objective: &O,
    ) -> Result<(), ExperimentError> {
        let refuse = |reason: String| Err(ExperimentError::request(reason));
        let wants = objective.needs();
        let needs = head.needs();
        // An objective that holds vectors of earlier items compares them by cosine, and so must the head.
        if wants.codes && needs.judges_pairs && recipe.own.is_none() && recipe.head.emcl.is_some() {
            return refuse(
                "[objective] compares single vectors of texts and videos, but [head.emcl] rebuilds them against one another; \
                 leave it out and take [eval.emcl], or for \"ncl\" set queue = 0 and askers = \"batch\""
                    .into(),
            );
        }
        if wants.codes && needs.judges_pairs {
            return refuse(
                "[objective] compares single vectors of texts and videos, but this [head] judges every pair by \
                 itself, and its similarity is no product of two vectors; choose another head, or for \"ncl\" set \
                 queue = 0 and askers = \"batch\""
                    .into(),
            );
        }
        if wants.square && recipe.train.captions == Captions::All {
            return refuse(
                "positives = \"diagonal\" in [objective] needs as many texts as videos in a batch, but train.captions = \
                 \"all\" puts several captions of one video into it; use positives = \"same\""
                    .into(),
            );
        }
        if let Some(stream) = wants.streams.iter().find(|stream| !head.streams().contains(stream)) {
            return refuse(format!(
                "[objective] needs the stream \"{stream}\", but this [head] has {}",
                if head.streams().is_empty() { "no streams".into() } else { head.streams().join(", ") }
            ));
        }
        // A batch of captions holds the fewest videos where every one of them brings all of its captions.
        let captions = match recipe.train.captions {
            Captions::OnePerVideo => 1,
            Captions::All => self.most_captions.max(1),
        };
        let fewest = recipe.train.batch.div_ceil(captions);
        if wants.least_videos > fewest {
            return refuse(format!(
                "train.batch = {} may hold captions of as few videos as {fewest}, but [objective] needs at least {} in a \
                 batch; raise it above {}",
                recipe.train.batch,
                wants.least_videos,
                (wants.least_videos - 1) * captions
            ));
        }
        let encoder = recipe.encoder.kind();
        if needs.tokens && !self.tokens {
            return refuse(format!(
                "[head] needs a vector per token, but encoder.kind = \"{encoder}\" has one vector per caption; use \
                 encoder.kind = \"words\""
            ));
        }
        if let Some(stream) = needs.streams.iter().find(|stream| !self.streams.contains(stream)) {
            let found = if self.streams.is_empty() {
                "one vector per caption; use encoder.kind = \"words\"".into()
            } else {
                self.streams.join(", ")
            };
            return refuse(format!(
                "[head] needs the text stream \"{stream}\", but encoder.kind = \"{encoder}\" has {found}"
            ));
        }
        for ExpertInput { name, width } in &needs.experts {
            let Some((_, found)) = self.experts.iter().find(|(known, _)| known == name) else {
                let names: Vec<&str> = self.experts.iter().map(|(name, _)| name.as_str()).collect();
                return refuse(format!(
                    "[head] needs the expert \"{name}\", but the data has {}",
                    if names.is_empty() { "none".into() } else { names.join(", ") }
                ));
            };
            if found != width {
                return refuse(format!(
                    "[head] takes the expert \"{name}\" {width} wide, but the data has it {found} wide; set its width to \
                     {found}"
                ));
            }
        }
        if wants.captions && self.vocabulary.is_none() {
            return refuse(format!(
                "[objective] needs the words of captions, but encoder.kind = \"{encoder}\" takes them as vectors; \
                 use encoder.kind = \"words\""
            ));
        }
        if let (true, Some(patches)) = (needs.in_time, self.patches) {
            return refuse(format!(
                "[head] reads the order of frames as time, but a frame is given as its {patches} patches, which have no \
                 order in time; choose a head that takes a set, such as \"token-wise\", or one vector a frame"
            ));
        }
        if let Some(most) = needs.max_frames.filter(|&most| most < self.frames) {
            return refuse(format!(
                "[head] has max_frames = {most}, but the data has videos of {} frames; raise it",
                self.frames
            ));
        }
        Ok(())
    }
}

/// Patches of a frame of the encoder's image tower, where those stand for it.
fn patches(
    encoder: &EncoderRecipe,
    pretrained: Option<&Pretrained>,
) -> Result<Option<usize>, ExperimentError> {
    let tokens = encoder.frame_tokens();
    match (encoder, pretrained) {
        (EncoderRecipe::World { .. }, _) => Ok(tokens.of(&tvr_clip::ClipConfig::world(1, 1).image)),
        (EncoderRecipe::Clip { .. }, Some(pretrained)) if tokens == FrameTokens::Patches => pretrained
            .checkpoint()
            .image_config()
            .map(|image| tokens.of(image))
            .map_err(ExperimentError::because),
        _ => Ok(None),
    }
}

/// What a recipe calls frames is what its feature file holds.
fn same_tokens(tokens: FrameTokens, found: Option<usize>, path: &Path) -> Result<(), ExperimentError> {
    let reason = match (tokens, found) {
        (FrameTokens::Class, Some(patches)) => {
            format!("holds {patches} patches a frame; set encoder.frame_tokens = \"patches\"")
        }
        (FrameTokens::Patches, None) => {
            "holds one vector a frame, but encoder.frame_tokens = \"patches\"; encode it with --patches"
                .into()
        }
        _ => return Ok(()),
    };
    Err(ExperimentError::request(format!("{}: {reason}", path.display())))
}
