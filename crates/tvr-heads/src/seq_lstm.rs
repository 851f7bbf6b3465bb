//! Recurrent pooling (CLIP4Clip's seqLSTM): frames pass through an LSTM before they are averaged.
//!
//! ```text
//! i, f, g, o = split(x_t W + b + h_{t−1} U + b')      σ, σ, tanh, σ
//! c_t = f c_{t−1} + i g          h_t = o tanh(c_t)
//! similarity: as in mean pooling, with h_t + x_t in place of x_t
//! ```
//!
//! | symbol | meaning | shape |
//! |---|---|---|
//! | `x` | frame features | `[videos, frames, width]` |
//! | `W`, `U` | input and state weights, gates in the order i, f, g, o | `[width, 4 width]` |
//!
//! A masked frame leaves the state as it is, so real frames alone are seen, wherever they stand.
//!
//! Source: Luo et al. 2021 (CLIP4Clip), arXiv 2104.08860; code: ArrowLuo/CLIP4Clip, `modules/modeling.py:
//! _loose_similarity`, which runs the first Σ mask frames, packed: the same where real frames come first.

use burn::module::Initializer;
use burn::nn::Linear;
use burn::prelude::*;
use serde::{Deserialize, Serialize};
use tvr_nn::{linear, lstm, unit_rows};

use crate::adapter::{FrameAdapter, FrameAdapterConfig};
use crate::codes::{TextCodes, VideoCodes};
use crate::error::{HeadError, at_least_one};
use crate::features::{TextFeatures, VideoFeatures};
use crate::head::{Head, Needs, Similarity, cosine, pooled_vectors};
use crate::mean_pooling::{adapted, pool_frames, quiet_padding};
use crate::vectors::Vectors;

/// Settings of [`SeqLstm`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SeqLstmConfig {
    /// What is done to every frame first; nothing by default.
    #[serde(default)]
    pub adapter: Option<FrameAdapterConfig>,
}

impl SeqLstmConfig {
    /// CLIP4Clip's seqLSTM: one layer, one direction, weights uniform in ± width^-0.5.
    pub fn reference() -> Self {
        Self { adapter: None }
    }

    /// Checks the settings and makes the head for features of one width.
    ///
    /// # Errors
    /// [`HeadError::Setting`] names the first setting outside its domain.
    pub fn init(&self, width: usize, device: &Device) -> Result<SeqLstm, HeadError> {
        let width = at_least_one("seq-lstm", "width", width)?;
        let bound = (width as f64).powf(-0.5);
        let uniform = Initializer::Uniform { min: -bound, max: bound };
        let layer = || Linear {
            weight: uniform.init([width, 4 * width], device),
            bias: Some(uniform.init([4 * width], device)),
        };
        let adapter = self.adapter.as_ref().map(|adapter| adapter.init(width, device)).transpose()?;
        Ok(SeqLstm { adapter, input: layer(), state: layer() })
    }
}

/// An LSTM over the frames. Only [`SeqLstmConfig::init`] makes one.
#[derive(Module, Debug)]
pub struct SeqLstm {
    /// Applied to every frame first.
    pub adapter: Option<FrameAdapter>,
    /// `W`, `b`.
    pub input: Linear,
    /// `U`, `b'`.
    pub state: Linear,
}

impl SeqLstm {
    /// `h + x` for every frame. `[videos, frames, width]` to the same; padding rows mean nothing.
    pub fn contextualise(&self, frames: Tensor<3>, mask: Tensor<2, Bool>) -> Tensor<3> {
        let frames = adapted(self.adapter.as_ref(), quiet_padding(frames, &mask));
        let mut inputs = linear(&self.input, frames.clone()); // [videos, frames, 4 width]
        if let Some(bias) = &self.state.bias {
            inputs = inputs + bias.val().unsqueeze::<3>();
        }
        lstm(inputs, self.state.weight.val(), mask) + frames
    }
}

impl Head for SeqLstm {
    fn needs(&self) -> Needs {
        Needs { frames: true, in_time: true, ..Needs::default() }
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
