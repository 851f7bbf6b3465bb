//! Pairwise transformer (CLIP4Clip's tightTransf): text and frames in one sequence, for every pair.
//!
//! ```text
//! x     = [t, x_1, .., x_frames] + P           raw, not normalised; dropout in training
//! y     = norm(blocks(x))[0]
//! logit = w · quick_gelu(D y + d) + b
//! ```
//!
//! | symbol | meaning | shape |
//! |---|---|---|
//! | `t` | text features | `[texts, width]` |
//! | `P` | learned positions, that of the text first | `[1 + max_frames, width]` |
//! | `D`, `w` | pooler, output | `[width, width]`, `[width, 1]` |
//!
//! It gives logits, not cosines ([`Unit::Logit`]). Memory per tile: texts · videos · (1 + frames) · width · 4
//! floats inside a block, and the whole of that per layer in training.
//!
//! Source: Luo et al. 2021 (CLIP4Clip), arXiv 2104.08860; code: ArrowLuo/CLIP4Clip, `modules/modeling.py:
//! _cross_similarity`, `modules/module_cross.py`. There P and the blocks start as those of CLIP's text tower
//! ([`TightTransf::start_from_tower`]).

use burn::module::{Initializer, Param};
use burn::nn::{Dropout, DropoutConfig, Linear};
use burn::prelude::*;
use burn::tensor::assert_shape;
use serde::{Deserialize, Serialize};
use tvr_nn::{Block, LayerNorm, linear, quick_gelu};

use crate::blocks;
use crate::codes::{TextCodes, VideoCodes};
use crate::error::{DEEPEST, HeadError, LONGEST, at_most};
use crate::features::{TextFeatures, VideoFeatures};
use crate::head::{Head, Needs, Similarity, Unit};
use crate::mean_pooling::{pool_frames, quiet_padding};
use crate::tiles::Tile;

const NAME: &str = "tight-transf";

/// What is scored at a time. At 12 frames of width 512 a block's inner layer has 109 MB there; the usual tile would have 7 GB.
const TILE: Tile = Tile { texts: 32, videos: 32 };

/// Settings of [`TightTransf`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TightTransfConfig {
    /// Number of blocks; above 0.
    pub layers: usize,
    /// Attention heads of a block; divides the width.
    pub heads: usize,
    /// The most frames that a video may have; above 0.
    pub max_frames: usize,
    /// Epsilon of the norms; above 0.
    #[serde(default = "published_epsilon")]
    pub epsilon: f64,
    /// Share of the inputs that training drops; at least 0 and below 1.
    pub dropout: f64,
}

fn published_epsilon() -> f64 {
    1e-12
}

impl TightTransfConfig {
    /// What CLIP4Clip's code does at this width: 4 blocks of width / 64 heads, 77 positions, dropout 0.1.
    pub fn reference(width: usize) -> Self {
        let heads = (width / 64).max(1);
        Self { layers: 4, heads, max_frames: 76, epsilon: published_epsilon(), dropout: 0.1 }
    }

    /// Checks every setting and makes the head for features of one width.
    ///
    /// # Errors
    /// [`HeadError`] names the first setting outside its domain.
    pub fn init(&self, width: usize, device: &Device) -> Result<TightTransf, HeadError> {
        let layers = at_most(NAME, "layers", self.layers, DEEPEST)?;
        let max_frames = at_most(NAME, "max_frames", self.max_frames, LONGEST)?;
        if !(0.0..1.0).contains(&self.dropout) {
            let domain = "at least 0 and below 1";
            return Err(HeadError::Setting { head: NAME, setting: "dropout", value: self.dropout, domain });
        }
        let blocks = blocks::make(NAME, layers, width, self.heads, self.epsilon, device)?;
        let normal = |std| Initializer::Normal { mean: 0.0, std };
        let layer = |outputs: usize| Linear {
            weight: normal(0.02).init([width, outputs], device),
            bias: Some(Initializer::Zeros.init([outputs], device)),
        };
        Ok(TightTransf {
            positions: normal(0.01).init([1 + max_frames, width], device),
            dropout: DropoutConfig::new(self.dropout).init(),
            blocks,
            norm: LayerNorm::new(width, self.epsilon, device),
            pooler: layer(width),
            output: layer(1),
            max_frames,
        })
    }
}

/// A transformer over each pair. Only [`TightTransfConfig::init`] makes one.
#[derive(Module, Debug)]
pub struct TightTransf {
    /// Positions, that of the text first. `[1 + max_frames, width]`
    pub positions: Param<Tensor<2>>,
    /// On the sequence, in training.
    pub dropout: Dropout,
    /// The residual blocks.
    pub blocks: Vec<Block>,
    /// Norm of the text's place after the blocks.
    pub norm: LayerNorm,
    /// `D`, `d`.
    pub pooler: Linear,
    /// `w`, `b`.
    pub output: Linear,
    #[module(skip)]
    max_frames: usize,
}

impl TightTransf {
    /// Starts positions and blocks as copies of a text tower's. The copies are parameters of their own.
    ///
    /// # Errors
    /// [`HeadError::Shape`] where the tower is narrower, wider, shorter or shallower than this head.
    pub fn start_from_tower(mut self, positions: &Tensor<2>, blocks: &[Block]) -> Result<Self, HeadError> {
        blocks::start_from_tower(&mut self.positions, &mut self.blocks, positions, blocks)?;
        Ok(self)
    }

    /// Logits of pairs: text `i` with video `i`.
    ///
    /// - `texts`: `[pairs, width]`
    /// - `frames`: `[pairs, frames, width]`
    /// - `mask`: `[pairs, frames]`
    /// - returns `[pairs, 1]`
    fn logits(&self, texts: Tensor<2>, frames: Tensor<3>, mask: Tensor<2, Bool>) -> Tensor<2> {
        let [pairs, n_frames, width] = frames.dims();
        assert_shape!(texts, [pairs, width]);
        assert_shape!(mask, [pairs, n_frames]);
        let device = frames.device();
        let positions = self.positions.val().slice_dim(0, 0..1 + n_frames).unsqueeze_dim::<3>(0);
        let mut tokens = Tensor::cat(vec![texts.unsqueeze_dim::<3>(1), frames], 1) + positions;
        tokens = self.dropout.forward(tokens);
        let text = Tensor::<2, Int>::ones([pairs, 1], &device).bool();
        let mask = tvr_nn::cat_masks(vec![text, mask], 1);
        let first = Tensor::<1, Int>::zeros([pairs], &device);
        let mut pooled = tokens.clone().slice_dim(1, 0..1).reshape([pairs, width]);
        for (index, block) in self.blocks.iter().enumerate() {
            // Of the last block the text's place alone is wanted.
            if index + 1 == self.blocks.len() {
                pooled = block.forward_at(tokens.clone(), first.clone(), Some(mask.clone()), false);
            } else {
                tokens = block.forward(tokens, Some(mask.clone()), false);
            }
        }
        let pooled = quick_gelu(linear(&self.pooler, self.norm.forward(pooled)));
        linear(&self.output, pooled)
    }
}

impl Head for TightTransf {
    fn needs(&self) -> Needs {
        Needs {
            frames: true,
            judges_pairs: true,
            max_frames: Some(self.max_frames),
            in_time: true,
            tile: Some(TILE),
            ..Needs::default()
        }
    }

    fn unit(&self) -> Unit {
        Unit::Logit
    }

    /// The frames as they are; their pooled mean stands beside them for whoever wants one vector.
    fn code_videos(&self, videos: VideoFeatures) -> VideoCodes {
        let VideoFeatures { frames, mask, .. } = videos;
        let frames = quiet_padding(frames, &mask);
        VideoCodes::new(pool_frames(frames.clone(), mask.clone())).with_sequence(frames, mask)
    }

    fn code_texts(&self, texts: TextFeatures) -> TextCodes {
        TextCodes::new(texts.pooled)
    }

    fn similarity(&self, texts: &TextCodes, videos: &VideoCodes) -> Similarity {
        let [n_texts, width] = texts.pooled.dims();
        let n_videos = videos.n_items();
        let sequence = videos.steps();
        let (steps, pairs) = (sequence.n_steps(), n_texts * n_videos);
        let texts = texts.pooled.clone().unsqueeze_dim::<3>(1).expand([n_texts, n_videos, width]);
        let frames = sequence.features.clone().unsqueeze_dim::<4>(0);
        let frames = frames.expand([n_texts, n_videos, steps, width]).reshape([pairs, steps, width]);
        let mask = sequence.mask.clone().unsqueeze_dim::<3>(0);
        let mask = mask.expand([n_texts, n_videos, steps]).reshape([pairs, steps]);
        let logits = self.logits(texts.reshape([pairs, width]), frames, mask);
        Similarity::of(logits.reshape([n_texts, n_videos]))
    }
}
