//! What an expert makes of a video's frames: one vector.
//!
//! ```text
//! mean            h = Σ_f m_f x_f / Σ_f m_f
//! squeeze-excite  a_f = m_f σ(E relu(S x_f)),  h = Σ_f a_f x_f / Σ_f a_f            over frames
//!                 h = σ(E relu(S x̄)) ⊙ x̄,  x̄ the mean                              over channels
//! self-attention  h = Σ_f m_f (x_f + attention((x + P) Q, (x + P) K, (x + P) V)_f) / Σ_f m_f
//! seq-transf      CLIP4Clip's temporal transformer, pooled as it pools
//! ```
//!
//! `x` is `[videos, frames, width]`, `m` its mask. No aggregator sees a masked frame; all but those with positions
//! `P` are blind to the order of the frames.

use burn::module::{Initializer, Param};
use burn::nn::{Linear, LinearConfig};
use burn::prelude::*;
use burn::tensor::activation::{log_sigmoid, relu};
use serde::{Deserialize, Serialize};
use tvr_nn::{attention, gated, linear, masked_mean, masked_softmax, project};

use crate::error::{HeadError, LONGEST, at_least_one, at_most};
use crate::mean_pooling::pool_frames;
use crate::seq_transf::{SeqTransf, SeqTransfConfig, waves};

const NAME: &str = "camoe";

/// An expert's aggregator. With braces, because serde passes over the keys of a variant without them.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case", deny_unknown_fields)]
pub enum AggregatorConfig {
    /// The mean of the real frames.
    Mean {},
    /// A weighted mean, the weights from the frames themselves; or gated channels of the mean.
    SqueezeExcite(SqueezeExciteConfig),
    /// Frames that have seen one another, then their mean.
    SelfAttention(SelfAttentionConfig),
    /// CLIP4Clip's temporal transformer.
    SeqTransf(SeqTransfConfig),
}

/// Settings of squeeze and excitation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SqueezeExciteConfig {
    /// How much narrower the inner layer is; above 0, at most the width.
    #[serde(default = "four")]
    pub reduction: usize,
    /// What is weighed.
    #[serde(default)]
    pub over: Excites,
}

/// What squeeze and excitation weighs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Excites {
    /// Every frame by one number.
    #[default]
    Frames,
    /// Every channel of the mean.
    Channels,
}

/// Settings of self-attention over frames.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SelfAttentionConfig {
    /// Attention heads; a divisor of the width.
    #[serde(default = "four")]
    pub heads: usize,
    /// The most frames a video may have, if frames have positions; without it their order does not matter.
    #[serde(default)]
    pub max_frames: Option<usize>,
}

fn four() -> usize {
    4
}

impl AggregatorConfig {
    pub(super) fn init(&self, width: usize, device: &Device) -> Result<Aggregator, HeadError> {
        let plain = |from: usize, to: usize| LinearConfig::new(from, to).with_bias(false).init(device);
        Ok(match self {
            Self::Mean {} => Aggregator::Mean(Mean {}),
            Self::SqueezeExcite(SqueezeExciteConfig { reduction, over }) => {
                let narrow = width / at_least_one(NAME, "reduction", *reduction)?;
                if narrow == 0 {
                    let (value, domain) = (*reduction as f64, "at most the width");
                    return Err(HeadError::Setting { head: NAME, setting: "reduction", value, domain });
                }
                let outputs = if *over == Excites::Frames { 1 } else { width };
                Aggregator::SqueezeExcite(SqueezeExcite {
                    squeeze: plain(width, narrow),
                    excite: plain(narrow, outputs),
                    over: *over,
                })
            }
            Self::SelfAttention(SelfAttentionConfig { heads, max_frames }) => {
                let heads = at_least_one(NAME, "heads", *heads)?;
                if !width.is_multiple_of(heads) {
                    let (value, domain) = (heads as f64, "a divisor of the width");
                    return Err(HeadError::Setting { head: NAME, setting: "heads", value, domain });
                }
                let most = max_frames.map(|most| at_most(NAME, "max_frames", most, LONGEST)).transpose()?;
                // Values of zero: at the start the expert is the mean.
                let value =
                    LinearConfig::new(width, width).with_bias(false).with_initializer(Initializer::Zeros);
                Aggregator::SelfAttention(SelfAttention {
                    query: plain(width, width),
                    key: plain(width, width),
                    value: value.init(device),
                    positions: most.map(|most| Param::from_data(waves(most, width), device)),
                    heads,
                })
            }
            Self::SeqTransf(config) => Aggregator::SeqTransf(config.init(width, device)?),
        })
    }
}

/// An expert's aggregator, made.
#[derive(Module, Debug)]
#[allow(clippy::large_enum_variant, reason = "a head holds at most four")]
pub enum Aggregator {
    /// The mean of the real frames.
    Mean(Mean),
    /// A weighted mean, or gated channels of the mean.
    SqueezeExcite(SqueezeExcite),
    /// Frames that have seen one another, then their mean.
    SelfAttention(SelfAttention),
    /// CLIP4Clip's temporal transformer.
    SeqTransf(SeqTransf),
}

/// The mean, which has no parameters.
#[derive(Module, Debug)]
pub struct Mean {}

/// Squeeze and excitation.
#[derive(Module, Debug)]
pub struct SqueezeExcite {
    /// `S`. `[width, width / reduction]`
    pub squeeze: Linear,
    /// `E`. `[width / reduction, 1]`, or `[.., width]` for channels
    pub excite: Linear,
    #[module(skip)]
    over: Excites,
}

/// Self-attention over frames.
#[derive(Module, Debug)]
pub struct SelfAttention {
    /// `Q`.
    pub query: Linear,
    /// `K`.
    pub key: Linear,
    /// `V`.
    pub value: Linear,
    /// `P`. `[max_frames, width]`
    pub positions: Option<Param<Tensor<2>>>,
    #[module(skip)]
    heads: usize,
}

impl Aggregator {
    /// One vector per video, of any length.
    ///
    /// - `frames`: `[videos, frames, width]`, finite everywhere
    /// - `mask`: `[videos, frames]`
    /// - returns `[videos, width]`
    pub fn forward(&self, frames: Tensor<3>, mask: Tensor<2, Bool>) -> Tensor<2> {
        match self {
            Self::Mean(_) => masked_mean(frames, mask),
            Self::SqueezeExcite(layer) => layer.forward(frames, mask),
            Self::SelfAttention(layer) => masked_mean(layer.forward(frames, mask.clone()), mask),
            Self::SeqTransf(head) => pool_frames(head.contextualise(frames, mask.clone()), mask),
        }
    }

    /// The most frames it has positions for; `None` where any number will do.
    pub fn max_frames(&self) -> Option<usize> {
        match self {
            Self::Mean(_) | Self::SqueezeExcite(_) => None,
            Self::SelfAttention(layer) => layer.positions.as_ref().map(|positions| positions.val().dims()[0]),
            Self::SeqTransf(head) => Some(head.max_frames()),
        }
    }
}

impl SqueezeExcite {
    fn forward(&self, frames: Tensor<3>, mask: Tensor<2, Bool>) -> Tensor<2> {
        let [videos, n_frames, width] = frames.dims();
        match self.over {
            Excites::Frames => {
                let excited = linear(&self.excite, relu(linear(&self.squeeze, frames.clone())));
                // A softmax of ln σ is σ / Σ σ, and stays finite where every σ is too small for a float.
                let weights = masked_softmax(log_sigmoid(excited.reshape([videos, n_frames])), mask);
                weights.unsqueeze_dim::<3>(1).matmul(frames).reshape([videos, width])
            }
            Excites::Channels => {
                let mean = masked_mean(frames, mask);
                let gate = linear(&self.excite, relu(linear(&self.squeeze, mean.clone())));
                gated(mean, gate)
            }
        }
    }
}

impl SelfAttention {
    fn forward(&self, frames: Tensor<3>, mask: Tensor<2, Bool>) -> Tensor<3> {
        let [videos, n_frames, width] = frames.dims();
        let placed = match &self.positions {
            Some(positions) => {
                frames.clone() + positions.val().slice_dim(0, 0..n_frames).unsqueeze_dim::<3>(0)
            }
            None => frames.clone(),
        };
        let size = width / self.heads;
        let split = |layer: &Linear| {
            let projected = project(placed.clone(), layer.weight.val());
            projected.reshape([videos, n_frames, self.heads, size]).swap_dims(1, 2)
        };
        // Scaled here, where it is exact in every number type: the softmax takes its scale as an f32.
        let query = split(&self.query) * (size as f64).powf(-0.5);
        let seen = attention(query, split(&self.key), split(&self.value), 1.0, false, Some(mask));
        frames + seen.swap_dims(1, 2).reshape([videos, n_frames, width])
    }
}
