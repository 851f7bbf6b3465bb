//! Text-conditioned frame pooling (EMCL-Net's): each text looks at the frames that speak of it.
//!
//! ```text
//! w[t, v, f]    = softmax over the real frames of (t · x_vf / temperature)     raw features
//! v[t, v]       = Σ_f w[t, v, f] x_vf
//! similarity    = cosine of t and v[t, v]
//! ```
//!
//! | symbol | meaning | shape, unit |
//! |---|---|---|
//! | `x` | frame features after adapter and temporal transformer, where asked for | `[videos, frames, width]` |
//! | `t` | text features | `[texts, width]` |
//! | `temperature` | divides products of raw features | above 0, their unit squared |
//!
//! The temperature counts in products of raw features: CLIP's have a length near 10, so the published 3 there is
//! 0.03 where features are unit rows.
//!
//! Source: Jin et al. 2022 (EMCL), arXiv 2211.11427; code: jpthu17/EMCL, `EMCL-Net/tvr/models/modeling.py`. There
//! the softmax runs over padding too and the mask comes after it, without a new norm: `mask = "after"`. In that mode
//! padding takes part in the softmax, so it must be finite and a similarity depends on it.

use burn::prelude::*;
use serde::{Deserialize, Serialize};
use tvr_nn::{Block, attention};

use crate::adapter::FrameAdapterConfig;
use crate::codes::{TextCodes, VideoCodes};
use crate::error::{HeadError, at_least_one, divisor};
use crate::features::{TextFeatures, VideoFeatures};
use crate::frame_stage::FrameStage;
use crate::head::{Head, Needs, Similarity};
use crate::mean_pooling::{pool_frames, quiet_padding};
use crate::seq_transf::SeqTransfConfig;
use crate::vectors::Vectors;

const NAME: &str = "conditioned";

/// When padding leaves the weights.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PoolingMask {
    /// Before the softmax: weights of real frames sum to 1.
    #[default]
    Before,
    /// After it, as the published code does: padding takes its share with it.
    After,
}

/// Settings of [`Conditioned`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ConditionedConfig {
    /// Divides the products of a text and a frame; above 0.
    pub temperature: f64,
    /// When padding leaves the weights.
    #[serde(default)]
    pub mask: PoolingMask,
    /// What is done to every frame first; nothing by default.
    #[serde(default)]
    pub adapter: Option<FrameAdapterConfig>,
    /// Lets frames look at one another before a text looks at them; nothing by default.
    #[serde(default)]
    pub temporal: Option<SeqTransfConfig>,
}

impl ConditionedConfig {
    /// What EMCL-Net's code does at this width: temperature 3, masked after the softmax, behind CLIP4Clip's temporal
    /// transformer.
    pub fn reference(width: usize) -> Self {
        Self {
            temperature: 3.0,
            mask: PoolingMask::After,
            adapter: None,
            temporal: Some(SeqTransfConfig::reference(width)),
        }
    }

    /// The built-in world's (ours): masked before the softmax, behind a frame adapter; the temperature is for unit
    /// frames and texts of length 8.
    pub fn ours() -> Self {
        Self {
            temperature: 0.25,
            mask: PoolingMask::Before,
            adapter: Some(FrameAdapterConfig::ours()),
            temporal: None,
        }
    }

    /// Checks the settings and makes the head for features of one width.
    ///
    /// # Errors
    /// [`HeadError::Setting`] names the first setting outside its domain.
    pub fn init(&self, width: usize, device: &Device) -> Result<Conditioned, HeadError> {
        at_least_one(NAME, "width", width)?;
        Ok(Conditioned {
            temperature: divisor(NAME, "temperature", self.temperature)?,
            mask: self.mask,
            frames: FrameStage::new(self.adapter.as_ref(), self.temporal.as_ref(), width, device)?,
        })
    }
}

/// Frames pooled anew for each text. Only [`ConditionedConfig::init`] makes one.
#[derive(Module, Debug)]
pub struct Conditioned {
    /// What is done to frames first.
    pub frames: FrameStage,
    #[module(skip)]
    temperature: f64,
    #[module(skip)]
    mask: PoolingMask,
}

impl Conditioned {
    /// Starts positions and blocks of the temporal transformer, where there is one, as copies of a text tower's, as EMCL-Net's code does. The copies are
    /// parameters of their own.
    ///
    /// # Errors
    /// [`HeadError::Shape`] where the tower is narrower, wider, shorter or shallower than this head.
    pub fn start_from_tower(mut self, positions: &Tensor<2>, blocks: &[Block]) -> Result<Self, HeadError> {
        self.frames = self.frames.start_from_tower(positions, blocks)?;
        Ok(self)
    }
}

impl Head for Conditioned {
    fn needs(&self) -> Needs {
        Needs {
            frames: true,
            judges_pairs: true,
            max_frames: self.frames.max_frames(),
            in_time: self.frames.temporal.is_some(),
            ..Needs::default()
        }
    }

    /// The frames; the mean of their unit rows stands beside them for whoever wants one vector.
    fn code_videos(&self, videos: VideoFeatures) -> VideoCodes {
        let VideoFeatures { frames, mask, .. } = videos;
        let quiet = quiet_padding(frames.clone(), &mask);
        let pooled = pool_frames(quiet.clone(), mask.clone());
        let frames = match self.mask {
            PoolingMask::Before => quiet,
            PoolingMask::After => frames,
        };
        VideoCodes::new(pooled).with_sequence(self.frames.forward(frames, mask.clone()), mask)
    }

    /// The text as it is: the weights depend on its length.
    fn code_texts(&self, texts: TextFeatures) -> TextCodes {
        TextCodes::new(texts.pooled)
    }

    fn n_cosines(&self) -> usize {
        1
    }

    fn vectors(&self, texts: &TextCodes, videos: &VideoCodes) -> Vec<Vectors> {
        let [n_texts, width] = texts.pooled.dims();
        let sequence = videos.steps();
        let [n_videos, _, _] = sequence.features.dims();
        let query = texts.pooled.clone() / self.temperature;
        let query = query.unsqueeze_dims::<4>(&[0, 1]).expand([n_videos, 1, n_texts, width]);
        let frames = sequence.features.clone();
        let (values, mask) = match self.mask {
            PoolingMask::Before => (frames.clone(), Some(sequence.mask.clone())),
            PoolingMask::After => (quiet_padding(frames.clone(), &sequence.mask), None),
        };
        let pooled = attention(query, frames.unsqueeze_dim(1), values.unsqueeze_dim(1), 1.0, false, mask);
        vec![Vectors::of_pairs(texts.pooled.clone(), pooled.reshape([n_videos, n_texts, width]))]
    }

    fn similarity(&self, texts: &TextCodes, videos: &VideoCodes) -> Similarity {
        let cosines = self.vectors(texts, videos).into_iter().map(Vectors::cosine).collect();
        self.fuse(texts, videos, cosines)
    }
}
