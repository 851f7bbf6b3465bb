//! Token-wise interaction (DRL's TI and WTI): every word looks for its frame, every frame for its word.
//!
//! ```text
//! c[t, v, i, j] = unit(x_ti) · unit(y_vj)
//! similarity    = ½ Σ_i a_ti max_j c[t, v, i, j] + ½ Σ_j b_vj max_i c[t, v, i, j]
//! TI:  a = 1 / (real tokens),  b = 1 / (real frames)
//! WTI: a = softmax over the real tokens of mlp(x),  b = softmax over the real frames of mlp'(y)
//! ```
//!
//! | symbol | meaning | shape |
//! |---|---|---|
//! | `x` | token features, start and end tokens too | `[texts, tokens, width]` |
//! | `y` | frame features after adapter and temporal transformer, where asked for | `[videos, frames, width]` |
//! | `mlp` | linear layers to one number with ReLU between them, on raw features; normal 0.02, biases 0 | |
//!
//! Padding is left out of both maxima. Memory of a tile: texts · videos · tokens · frames floats, of which
//! training keeps texts · videos · (tokens + frames).
//!
//! Source: Wang et al. 2022 (DRL), arXiv 2203.07111; code: foolwood/DRL, `tvr/models/modeling.py: wti_interaction`.
//! There `c` is multiplied by the masks, so that padding offers 0 to the maximum and wins where all real products are
//! negative: `mask = "multiply"`. In that mode a similarity depends on whether there is padding.

use burn::module::Initializer;
use burn::nn::Linear;
use burn::prelude::*;
use burn::tensor::activation::relu;
use serde::{Deserialize, Serialize};
use tvr_nn::{Block, best_matches, linear, masked_mean, masked_softmax, unit_rows};

use crate::adapter::FrameAdapterConfig;
use crate::codes::{Sequence, TextCodes, VideoCodes};
use crate::error::{HeadError, at_least_one};
use crate::features::{TextFeatures, VideoFeatures};
use crate::frame_stage::FrameStage;
use crate::head::{Head, Needs, Similarity};
use crate::mean_pooling::quiet_padding;
use crate::seq_transf::SeqTransfConfig;

const NAME: &str = "token-wise";

/// Below any cosine: it never wins a maximum beside a real one.
const NEVER: f32 = -4.0;

/// What padding offers to a maximum.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum TokenMask {
    /// Nothing: it is left out.
    #[default]
    Exclude,
    /// A cosine of 0, as the published code does.
    Multiply,
}

/// Settings of [`TokenWise`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TokenWiseConfig {
    /// Linear layers that weigh tokens and frames (WTI), 1 to 3; 0 weighs all alike (TI).
    pub weight_layers: usize,
    /// What padding offers to a maximum.
    #[serde(default)]
    pub mask: TokenMask,
    /// What is done to every frame first; nothing by default.
    #[serde(default)]
    pub adapter: Option<FrameAdapterConfig>,
    /// Lets frames look at one another first; nothing by default.
    #[serde(default)]
    pub temporal: Option<SeqTransfConfig>,
}

impl TokenWiseConfig {
    /// What DRL's code does at this width: weights by two layers, masks that multiply, CLIP4Clip's temporal
    /// transformer.
    pub fn reference(width: usize) -> Self {
        Self {
            weight_layers: 2,
            mask: TokenMask::Multiply,
            adapter: None,
            temporal: Some(SeqTransfConfig::reference(width)),
        }
    }

    /// The built-in world's (ours): padding left out, behind a frame adapter.
    pub fn ours(weight_layers: usize) -> Self {
        Self {
            weight_layers,
            mask: TokenMask::Exclude,
            adapter: Some(FrameAdapterConfig::ours()),
            temporal: None,
        }
    }

    /// Checks the settings and makes the head for features of one width.
    ///
    /// # Errors
    /// [`HeadError::Setting`] names the first setting outside its domain.
    pub fn init(&self, width: usize, device: &Device) -> Result<TokenWise, HeadError> {
        let width = at_least_one(NAME, "width", width)?;
        if self.weight_layers > 3 {
            let (value, domain) = (self.weight_layers as f64, "0 (all alike) to 3");
            return Err(HeadError::Setting { head: NAME, setting: "weight_layers", value, domain });
        }
        Ok(TokenWise {
            frames: FrameStage::new(self.adapter.as_ref(), self.temporal.as_ref(), width, device)?,
            text_weights: Weights::new(self.weight_layers, width, device),
            video_weights: Weights::new(self.weight_layers, width, device),
            mask: self.mask,
        })
    }
}

/// Every word against every frame. Only [`TokenWiseConfig::init`] makes one.
#[derive(Module, Debug)]
pub struct TokenWise {
    /// What is done to frames first.
    pub frames: FrameStage,
    /// Weighs tokens.
    pub text_weights: Weights,
    /// Weighs frames.
    pub video_weights: Weights,
    #[module(skip)]
    mask: TokenMask,
}

/// How much each step of an item counts.
#[derive(Module, Debug)]
pub struct Weights {
    /// The layers, the last to one number; none where all count alike.
    pub layers: Vec<Linear>,
}

impl Weights {
    fn new(layers: usize, width: usize, device: &Device) -> Self {
        let layer = |outputs: usize| Linear {
            weight: Initializer::Normal { mean: 0.0, std: 0.02 }.init([width, outputs], device),
            bias: Some(Initializer::Zeros.init([outputs], device)),
        };
        Self { layers: (1..=layers).map(|at| layer(if at == layers { 1 } else { width })).collect() }
    }

    /// Weights that sum to 1 over the real steps of an item, 0 elsewhere. `[items, steps, width]` to `[items, steps]`
    pub fn forward(&self, features: Tensor<3>, mask: Tensor<2, Bool>) -> Tensor<2> {
        let [items, steps, _] = features.dims();
        let alike = features.clone().slice_dim(2, 0..1).zeros_like();
        let mut hidden = features;
        for (index, layer) in self.layers.iter().enumerate() {
            hidden = linear(layer, if index == 0 { hidden } else { relu(hidden) });
        }
        let scores = if self.layers.is_empty() { alike } else { hidden };
        masked_softmax(scores.reshape([items, steps]), mask)
    }
}

/// Unit steps, and the weight of each as one more channel: so that codes are cut and joined together.
fn weighed(features: Tensor<3>, mask: &Tensor<2, Bool>, weights: &Weights) -> Tensor<3> {
    let features = quiet_padding(features, mask);
    let weights = weights.forward(features.clone(), mask.clone());
    Tensor::cat(vec![unit_rows(features), weights.unsqueeze_dim(2)], 2)
}

/// Unit steps `[items, steps, width]`, their weights `[items, steps]`, and the mask.
fn parts(sequence: &Sequence) -> (Tensor<3>, Tensor<2>, Tensor<2, Bool>) {
    let [items, steps, channels] = sequence.features.dims();
    let units = sequence.features.clone().slice_dim(2, 0..channels - 1);
    let weights = sequence.features.clone().slice_dim(2, channels - 1..channels);
    (units, weights.reshape([items, steps]), sequence.mask.clone())
}

impl TokenWise {
    /// Starts positions and blocks of the temporal transformer, where there is one, as copies of a text tower's, as DRL's code does. The copies are
    /// parameters of their own.
    ///
    /// # Errors
    /// [`HeadError::Shape`] where the tower is narrower, wider, shorter or shallower than this head.
    pub fn start_from_tower(mut self, positions: &Tensor<2>, blocks: &[Block]) -> Result<Self, HeadError> {
        self.frames = self.frames.start_from_tower(positions, blocks)?;
        Ok(self)
    }
}

impl Head for TokenWise {
    fn needs(&self) -> Needs {
        Needs {
            frames: true,
            tokens: true,
            judges_pairs: true,
            max_frames: self.frames.max_frames(),
            in_time: self.frames.temporal.is_some(),
            ..Needs::default()
        }
    }

    /// Unit frames with their weights; the mean of the unit frames stands beside them for whoever wants one vector.
    fn code_videos(&self, videos: VideoFeatures) -> VideoCodes {
        let VideoFeatures { frames, mask, .. } = videos;
        let frames = self.frames.forward(quiet_padding(frames, &mask), mask.clone());
        let steps = weighed(frames, &mask, &self.video_weights);
        VideoCodes::new(mean_step(&steps, &mask)).with_sequence(steps, mask)
    }

    fn code_texts(&self, texts: TextFeatures) -> TextCodes {
        let Some(tokens) = texts.tokens else {
            unreachable!("Needs::check_texts lets no text without tokens through")
        };
        let steps = weighed(tokens.features, &tokens.mask, &self.text_weights);
        TextCodes::new(unit_rows(texts.pooled)).with_sequence(steps, tokens.mask)
    }

    fn similarity(&self, texts: &TextCodes, videos: &VideoCodes) -> Similarity {
        let (words, word_weights, word_mask) = parts(texts.steps());
        let (frames, frame_weights, frame_mask) = parts(videos.steps());
        let ([n_texts, _], [n_videos, _]) = (word_mask.dims(), frame_mask.dims());
        // Padding is zeros, so its cosine is 0 already.
        let masks = (self.mask == TokenMask::Exclude).then_some((word_mask, frame_mask));
        let (of_words, of_frames) = best_matches(words, frames, masks, NEVER);
        let of_words = (of_words * word_weights.unsqueeze_dim::<3>(1)).sum_dim(2);
        let of_frames = (of_frames * frame_weights.unsqueeze_dim::<3>(0)).sum_dim(2);
        Similarity::of((of_words + of_frames).reshape([n_texts, n_videos]) * 0.5)
    }
}

/// The unit mean of the real unit steps. `[items, steps, width + 1]` to `[items, width]`
fn mean_step(steps: &Tensor<3>, mask: &Tensor<2, Bool>) -> Tensor<2> {
    let [_, _, channels] = steps.dims();
    unit_rows(masked_mean(steps.clone().slice_dim(2, 0..channels - 1), mask.clone()))
}
