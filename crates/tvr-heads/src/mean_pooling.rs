//! Mean pooling (CLIP4Clip's meanP): a video is the mean of its unit frames.
//!
//! ```text
//! h_f = x_f / |x_f|                            every frame
//! v   = Σ_f mask_f h_f / max(Σ_f mask_f, 1)    then v / |v|
//! t   = t / |t|
//! similarity = t · v
//! ```
//!
//! | symbol | meaning | shape |
//! |---|---|---|
//! | `x` | frame features, adapted where asked for | `[videos, frames, width]` |
//! | `t` | text features | `[texts, width]` |
//!
//! Source: Luo et al. 2021 (CLIP4Clip), arXiv 2104.08860; code: ArrowLuo/CLIP4Clip, `modules/modeling.py:
//! _loose_similarity`. There a zero row is NaN; here it stays zero.

use burn::prelude::*;
use burn::tensor::assert_shape;
use serde::{Deserialize, Serialize};
use tvr_nn::{masked_mean, unit_rows};

use crate::adapter::{FrameAdapter, FrameAdapterConfig};
use crate::codes::{TextCodes, VideoCodes};
use crate::error::{HeadError, at_least_one};
use crate::features::{TextFeatures, VideoFeatures};
use crate::head::{Head, Needs, Similarity, cosine, pooled_vectors};
use crate::vectors::Vectors;

/// Settings of [`MeanPooling`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MeanPoolingConfig {
    /// What is done to every frame first; nothing by default.
    #[serde(default)]
    pub adapter: Option<FrameAdapterConfig>,
}

impl MeanPoolingConfig {
    /// CLIP4Clip's meanP: no parameters at all.
    pub fn reference() -> Self {
        Self { adapter: None }
    }

    /// Checks the settings and makes the head for features of one width.
    ///
    /// # Errors
    /// [`HeadError::Setting`] names the first setting outside its domain.
    pub fn init(&self, width: usize, device: &Device) -> Result<MeanPooling, HeadError> {
        at_least_one("mean-pooling", "width", width)?;
        let adapter = self.adapter.as_ref().map(|adapter| adapter.init(width, device)).transpose()?;
        Ok(MeanPooling { adapter })
    }
}

/// The mean of a video's unit frames. Only [`MeanPoolingConfig::init`] makes one.
#[derive(Module, Debug)]
pub struct MeanPooling {
    /// Applied to every frame before it is pooled.
    pub adapter: Option<FrameAdapter>,
}

impl Head for MeanPooling {
    fn needs(&self) -> Needs {
        Needs { frames: true, ..Needs::default() }
    }

    fn code_videos(&self, videos: VideoFeatures) -> VideoCodes {
        let VideoFeatures { frames, mask, .. } = videos;
        let frames = adapted(self.adapter.as_ref(), quiet_padding(frames, &mask));
        VideoCodes::new(pool_frames(frames, mask))
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

/// CLIP4Clip's common end: unit frames, their mean over the real ones, unit again.
///
/// - `frames`: `[videos, frames, width]`
/// - `mask`: `[videos, frames]`
/// - returns `[videos, width]`
pub(crate) fn pool_frames(frames: Tensor<3>, mask: Tensor<2, Bool>) -> Tensor<2> {
    unit_rows(masked_mean(unit_rows(frames), mask))
}

/// Zeros wherever the mask says padding. What stands there may be huge or NaN, and a zero gradient times an
/// infinite one is NaN.
pub(crate) fn quiet_padding(frames: Tensor<3>, mask: &Tensor<2, Bool>) -> Tensor<3> {
    let [videos, n_frames, width] = frames.dims();
    assert_shape!(mask, [videos, n_frames]);
    let hidden = mask.clone().bool_not().unsqueeze_dim::<3>(2).expand([videos, n_frames, width]);
    frames.mask_fill(hidden, 0.0)
}

pub(crate) fn adapted(adapter: Option<&FrameAdapter>, frames: Tensor<3>) -> Tensor<3> {
    match adapter {
        Some(adapter) => adapter.forward(frames),
        None => frames,
    }
}
