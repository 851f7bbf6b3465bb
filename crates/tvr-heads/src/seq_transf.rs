//! Temporal transformer (CLIP4Clip's seqTransf): frames look at one another before they are averaged.
//!
//! ```text
//! h = blocks(x + P[0..frames]) + x             real frames alone are keys
//! similarity: as in mean pooling, with h in place of x
//! ```
//!
//! | symbol | meaning | shape |
//! |---|---|---|
//! | `x` | frame features, adapted where asked for | `[videos, frames, width]` |
//! | `P` | learned frame positions | `[max_frames, width]` |
//!
//! A block is CLIP's residual block (`tvr_nn::Block`), not causal, without dropout.
//!
//! Source: Luo et al. 2021 (CLIP4Clip), arXiv 2104.08860; code: ArrowLuo/CLIP4Clip, `modules/modeling.py:
//! _loose_similarity`, `modules/module_cross.py`. There P and the blocks start as those of CLIP's text tower
//! ([`SeqTransf::start_from_tower`]), 4 blocks of width / 64 heads, and norms have epsilon 1e-12.

use std::f64::consts::PI;

use burn::module::{Initializer, Param};
use burn::prelude::*;
use burn::tensor::assert_shape;
use serde::{Deserialize, Serialize};
use tvr_nn::{Block, unit_rows};

use crate::adapter::{FrameAdapter, FrameAdapterConfig};
use crate::blocks;
use crate::codes::{TextCodes, VideoCodes};
use crate::error::{DEEPEST, HeadError, LONGEST, at_most};
use crate::features::{TextFeatures, VideoFeatures};
use crate::head::{Head, Needs, Similarity, cosine, pooled_vectors};
use crate::mean_pooling::{adapted, pool_frames, quiet_padding};
use crate::vectors::Vectors;

const NAME: &str = "seq-transf";

/// How the frame positions start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Positions {
    /// Sines and cosines of amplitude 0.1 over `max_frames` (ours).
    #[default]
    Sinusoid,
    /// Normal with deviation 0.01, as CLIP's text positions start.
    Normal,
}

/// Settings of [`SeqTransf`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SeqTransfConfig {
    /// Number of blocks; above 0.
    pub layers: usize,
    /// Attention heads of a block; divides the width.
    pub heads: usize,
    /// Number of positions, the most frames that a video may have; above 0.
    pub max_frames: usize,
    /// How the positions start.
    #[serde(default)]
    pub positions: Positions,
    /// Epsilon of the blocks' norms; above 0.
    #[serde(default = "clip_epsilon")]
    pub epsilon: f64,
    /// What is done to every frame first; nothing by default.
    #[serde(default)]
    pub adapter: Option<FrameAdapterConfig>,
}

fn clip_epsilon() -> f64 {
    1e-5
}

impl SeqTransfConfig {
    /// What CLIP4Clip's code does at this width: 4 blocks of width / 64 heads, 77 positions. Its weights start as
    /// those of the text tower, see [`SeqTransf::start_from_tower`].
    pub fn reference(width: usize) -> Self {
        Self {
            layers: 4,
            heads: (width / 64).max(1),
            max_frames: 77,
            positions: Positions::Normal,
            epsilon: 1e-12,
            adapter: None,
        }
    }

    /// The built-in world's temporal head (ours): 2 blocks of 4 heads behind a frame adapter.
    pub fn ours(max_frames: usize) -> Self {
        Self {
            layers: 2,
            heads: 4,
            max_frames,
            positions: Positions::Sinusoid,
            epsilon: clip_epsilon(),
            adapter: Some(FrameAdapterConfig::ours()),
        }
    }

    /// Checks every setting and makes the head for features of one width.
    ///
    /// # Errors
    /// [`HeadError`] names the first setting outside its domain.
    pub fn init(&self, width: usize, device: &Device) -> Result<SeqTransf, HeadError> {
        let layers = at_most(NAME, "layers", self.layers, DEEPEST)?;
        let max_frames = at_most(NAME, "max_frames", self.max_frames, LONGEST)?;
        let blocks = blocks::make(NAME, layers, width, self.heads, self.epsilon, device)?;
        let adapter = self.adapter.as_ref().map(|adapter| adapter.init(width, device)).transpose()?;
        let positions = match self.positions {
            Positions::Sinusoid => Param::from_data(waves(max_frames, width), device),
            Positions::Normal => {
                Initializer::Normal { mean: 0.0, std: 0.01 }.init([max_frames, width], device)
            }
        };
        Ok(SeqTransf { adapter, positions, blocks, max_frames })
    }
}

/// The temporal transformer. Only [`SeqTransfConfig::init`] makes one.
#[derive(Module, Debug)]
pub struct SeqTransf {
    /// Applied to every frame before the blocks.
    pub adapter: Option<FrameAdapter>,
    /// Frame positions. `[max_frames, width]`
    pub positions: Param<Tensor<2>>,
    /// The residual blocks.
    pub blocks: Vec<Block>,
    #[module(skip)]
    max_frames: usize,
}

impl SeqTransf {
    /// Number of positions: the most frames that a video may have.
    pub fn max_frames(&self) -> usize {
        self.max_frames
    }

    /// Frames that have seen one another. `[videos, frames, width]` to the same; padding rows mean nothing.
    pub fn contextualise(&self, frames: Tensor<3>, mask: Tensor<2, Bool>) -> Tensor<3> {
        let [videos, n_frames, _] = frames.dims();
        assert_shape!(mask, [videos, n_frames]);
        assert!(
            n_frames <= self.max_frames,
            "Needs::check_videos lets no video of {n_frames} frames through"
        );
        let frames = adapted(self.adapter.as_ref(), quiet_padding(frames, &mask));
        let positions = self.positions.val().slice_dim(0, 0..n_frames).unsqueeze_dim::<3>(0);
        let mut hidden = frames.clone() + positions;
        for block in &self.blocks {
            hidden = block.forward(hidden, Some(mask.clone()), false);
        }
        hidden + frames
    }

    /// Starts positions and blocks as copies of a text tower's, as CLIP4Clip does: its first positions and its
    /// first blocks. The copies are parameters of their own.
    ///
    /// # Errors
    /// [`HeadError::Shape`] where the tower is narrower, wider, shorter or shallower than this head.
    pub fn start_from_tower(mut self, positions: &Tensor<2>, blocks: &[Block]) -> Result<Self, HeadError> {
        blocks::start_from_tower(&mut self.positions, &mut self.blocks, positions, blocks)?;
        Ok(self)
    }
}

impl Head for SeqTransf {
    fn needs(&self) -> Needs {
        Needs { frames: true, max_frames: Some(self.max_frames), in_time: true, ..Needs::default() }
    }

    fn code_videos(&self, videos: VideoFeatures) -> VideoCodes {
        let VideoFeatures { frames, mask, .. } = videos;
        VideoCodes::new(pool_frames(self.contextualise(frames, mask.clone()), mask))
    }

    fn code_texts(&self, texts: TextFeatures) -> TextCodes {
        TextCodes::new(unit_rows(texts.pooled))
    }

    fn n_cosines(&self) -> usize {
        1
    }

    fn vectors(&self, texts: &TextCodes, videos: &VideoCodes) -> Vec<Vectors> {
        pooled_vectors(texts, videos)
    }

    fn similarity(&self, texts: &TextCodes, videos: &VideoCodes) -> Similarity {
        Similarity::of(cosine(texts, videos))
    }
}

/// Sines and cosines of 0.5 to 4 half turns over the frames, amplitude 0.1. `[frames, width]`
pub(crate) fn waves(frames: usize, width: usize) -> TensorData {
    let value = |frame: usize, channel: usize| {
        let half_turns = 0.5 + 0.5 * ((channel / 2) % 8) as f64;
        let angle = PI * half_turns * (frame as f64 + 0.5) / frames as f64;
        0.1 * if channel.is_multiple_of(2) { angle.sin() } else { angle.cos() }
    };
    let values = (0..frames).flat_map(|frame| (0..width).map(move |channel| value(frame, channel) as f32));
    TensorData::new(values.collect::<Vec<f32>>(), [frames, width])
}
