//! X-Pool: a text asks the frames by attention, and what it hears is the video.
//!
//! ```text
//! q = W_q n1(t) + b_q     k = W_k n1(x) + b_k     v = W_v n1(x) + b_v
//! a[t, v] = n2(W_o attention(q, k, v) + b_o)      softmax over the real frames of q · k / √(width / heads)
//! z[t, v] = n3(a + dropout(W a + b))
//! similarity = cosine of t and z[t, v]
//! ```
//!
//! | symbol | meaning | shape |
//! |---|---|---|
//! | `x`, `t` | frame features, adapted where asked for; text features | `[videos, frames, width]`, `[texts, width]` |
//! | `W_q`, `W_k`, `W_v`, `W_o`, `W` | start as the identity, their biases at 0 | `[width, width]` |
//! | `n1`, `n2`, `n3` | layer norms, epsilon 1e-5 | `[width]` |
//!
//! Queries, keys and values are computed once per item; output, norms and `W` once per pair.
//!
//! Source: Gorti et al. 2022 (X-Pool), arXiv 2203.15086; code: layer6ai-labs/xpool, `modules/transformer.py`. There
//! every video has exactly 12 frames and nothing is masked.

use burn::module::{Initializer, Param};
use burn::nn::{Dropout, DropoutConfig, Linear};
use burn::prelude::*;
use serde::{Deserialize, Serialize};
use tvr_nn::{LayerNorm, attention, linear};

use crate::adapter::FrameAdapterConfig;
use crate::codes::{TextCodes, VideoCodes};
use crate::error::{HeadError, at_least_one};
use crate::features::{TextFeatures, VideoFeatures};
use crate::frame_stage::FrameStage;
use crate::head::{Head, Needs, Similarity};
use crate::mean_pooling::{pool_frames, quiet_padding};
use crate::vectors::Vectors;

const NAME: &str = "xpool";

/// What a text's codes call its queries.
const QUERY: &str = "query";

/// Settings of [`XPool`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct XPoolConfig {
    /// Attention heads; divides the width.
    #[serde(default = "one")]
    pub heads: usize,
    /// Share of `W a + b` that training drops; at least 0 and below 1.
    pub dropout: f64,
    /// What is done to every frame first; nothing by default.
    #[serde(default)]
    pub adapter: Option<FrameAdapterConfig>,
}

fn one() -> usize {
    1
}

impl XPoolConfig {
    /// What X-Pool's code does on MSR-VTT-9k: one head, dropout 0.3.
    pub fn reference() -> Self {
        Self { heads: 1, dropout: 0.3, adapter: None }
    }

    /// Checks the settings and makes the head for features of one width.
    ///
    /// # Errors
    /// [`HeadError::Setting`] names the first setting outside its domain.
    pub fn init(&self, width: usize, device: &Device) -> Result<XPool, HeadError> {
        let width = at_least_one(NAME, "width", width)?;
        let heads = at_least_one(NAME, "heads", self.heads)?;
        if !width.is_multiple_of(heads) {
            let domain = "a divisor of the width";
            return Err(HeadError::Setting { head: NAME, setting: "heads", value: heads as f64, domain });
        }
        if !(0.0..1.0).contains(&self.dropout) {
            let domain = "at least 0 and below 1";
            return Err(HeadError::Setting { head: NAME, setting: "dropout", value: self.dropout, domain });
        }
        let identity = || Linear {
            weight: Param::from_tensor(Tensor::eye(width, device)),
            bias: Some(Initializer::Zeros.init([width], device)),
        };
        let norm = || LayerNorm::new(width, 1e-5, device);
        Ok(XPool {
            frames: FrameStage::new(self.adapter.as_ref(), None, width, device)?,
            input_norm: norm(),
            query: identity(),
            key: identity(),
            value: identity(),
            output: identity(),
            output_norm: norm(),
            linear: identity(),
            dropout: DropoutConfig::new(self.dropout).init(),
            last_norm: norm(),
            heads,
        })
    }
}

/// Frames pooled for each text by attention. Only [`XPoolConfig::init`] makes one.
#[derive(Module, Debug)]
pub struct XPool {
    /// What is done to frames first.
    pub frames: FrameStage,
    /// `n1`, of texts and frames.
    pub input_norm: LayerNorm,
    /// `W_q`.
    pub query: Linear,
    /// `W_k`.
    pub key: Linear,
    /// `W_v`.
    pub value: Linear,
    /// `W_o`.
    pub output: Linear,
    /// `n2`.
    pub output_norm: LayerNorm,
    /// `W`.
    pub linear: Linear,
    /// On what `W` puts out, in training.
    pub dropout: Dropout,
    /// `n3`.
    pub last_norm: LayerNorm,
    #[module(skip)]
    heads: usize,
}

impl XPool {
    /// What each text hears of each video, `[videos, texts, width]`.
    ///
    /// - `query`: `[texts, width]`
    /// - `keys_values`: keys and values side by side, `[videos, frames, 2 width]`
    /// - `mask`: `[videos, frames]`
    fn pool(&self, query: Tensor<2>, keys_values: Tensor<3>, mask: Tensor<2, Bool>) -> Tensor<3> {
        let [n_texts, width] = query.dims();
        let [n_videos, frames, _] = keys_values.dims();
        let (heads, size) = (self.heads, width / self.heads);
        let query = query.reshape([1, n_texts, heads, size]).swap_dims(1, 2);
        let query = query.expand([n_videos, heads, n_texts, size]);
        let part = |from: usize| {
            let part = keys_values.clone().slice_dim(2, from..from + width);
            part.reshape([n_videos, frames, heads, size]).swap_dims(1, 2)
        };
        let scale = (size as f32).powf(-0.5);
        let heard = attention(query, part(0), part(width), scale, false, Some(mask));
        let heard = linear(&self.output, heard.swap_dims(1, 2).reshape([n_videos, n_texts, width]));
        let heard = self.output_norm.forward(heard);
        let more = self.dropout.forward(linear(&self.linear, heard.clone()));
        self.last_norm.forward(more + heard)
    }
}

impl Head for XPool {
    fn needs(&self) -> Needs {
        Needs { frames: true, judges_pairs: true, ..Needs::default() }
    }

    /// Keys and values of the frames; the mean of the unit frames stands beside them for whoever wants one vector.
    fn code_videos(&self, videos: VideoFeatures) -> VideoCodes {
        let VideoFeatures { frames, mask, .. } = videos;
        let frames = self.frames.forward(quiet_padding(frames, &mask), mask.clone());
        let pooled = pool_frames(quiet_padding(frames.clone(), &mask), mask.clone());
        let frames = self.input_norm.forward(frames);
        let keys_values =
            Tensor::cat(vec![linear(&self.key, frames.clone()), linear(&self.value, frames)], 2);
        VideoCodes::new(pooled).with_sequence(keys_values, mask)
    }

    /// The text as it is, and its query.
    fn code_texts(&self, texts: TextFeatures) -> TextCodes {
        let query = linear(&self.query, self.input_norm.forward(texts.pooled.clone()));
        TextCodes::new(texts.pooled).with_extra(QUERY, query)
    }

    fn n_cosines(&self) -> usize {
        1
    }

    fn vectors(&self, texts: &TextCodes, videos: &VideoCodes) -> Vec<Vectors> {
        let Some(query) = texts.extra(QUERY) else {
            unreachable!("codes of another head: they have no queries")
        };
        let sequence = videos.steps();
        let pooled = self.pool(query.clone(), sequence.features.clone(), sequence.mask.clone());
        vec![Vectors::of_pairs(texts.pooled.clone(), pooled)]
    }

    fn similarity(&self, texts: &TextCodes, videos: &VideoCodes) -> Similarity {
        let cosines = self.vectors(texts, videos).into_iter().map(Vectors::cosine).collect();
        self.fuse(texts, videos, cosines)
    }
}
