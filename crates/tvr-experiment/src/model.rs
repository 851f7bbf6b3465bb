//! Encoder, head and objective as one module, so that one record holds a run's whole state.

mod build;
mod text;

use burn::module::{Module, ModuleDisplay, Param};
use burn::nn;
use burn::prelude::*;
use tvr_clip::ImageTower;
use tvr_clip::model::clamped;
use tvr_heads::{Head, Unit, VideoFeatures};
use tvr_objectives::Objective;

use crate::recipe::FrameTokens;
pub(crate) use build::build;
pub use text::TextEncoder;
pub(crate) use text::{encode_pooled, padded};

/// Frames to features.
#[derive(Module, Debug)]
pub struct VideoEncoder {
    /// An image tower, for pixels; cached features of a tower need none.
    pub tower: Option<ImageTower>,
    /// A linear map, for features.
    pub projection: Option<nn::Linear>,
    /// Dropout before the linear map.
    pub dropout: nn::Dropout,
    /// Whether a tower's codes are brought to unit length, as the world's cached ones are.
    #[module(skip)]
    pub unit: bool,
    /// Which codes of a tower stand for a frame.
    #[module(skip)]
    pub frame_tokens: FrameTokens,
}

/// A whole model.
#[derive(Module, Debug)]
pub struct Model<H: Module + ModuleDisplay, O: Module + ModuleDisplay> {
    /// Texts to features.
    pub text: TextEncoder,
    /// Frames to features.
    pub video: VideoEncoder,
    /// Features to similarities.
    pub head: H,
    /// Similarities to a loss.
    pub objective: O,
    /// Logarithm of the scale between cosines and logits, `[1]`.
    pub logit_scale: Param<Tensor<1>>,
}

impl VideoEncoder {
    /// Features of frames, `[videos, frames, width]`, or of pixels, `[videos, frames, 3 · side · side]` for a tower,
    /// whose patches follow one another frame by frame where they stand for frames. Experts stay as they are: what is
    /// done to them is the head's.
    pub fn encode(&self, videos: VideoFeatures) -> VideoFeatures {
        let VideoFeatures { frames, mask, experts } = videos;
        let (frames, mask) = match &self.tower {
            Some(tower) => {
                let (codes, mask) = self.codes(tower, frames, mask);
                (if self.unit { tvr_nn::unit_rows(codes) } else { codes }, mask)
            }
            None => (frames, mask),
        };
        let frames = match &self.projection {
            Some(projection) => tvr_nn::linear(projection, self.dropout.forward(frames)),
            None => frames,
        };
        VideoFeatures { frames, mask, experts }
    }

    /// A tower's codes of pixels, and which of them are real: all patches of a real frame.
    fn codes(
        &self,
        tower: &ImageTower,
        pixels: Tensor<3>,
        mask: Tensor<2, Bool>,
    ) -> (Tensor<3>, Tensor<2, Bool>) {
        let [videos, frames, values] = pixels.dims();
        let side = (values / 3).isqrt();
        let pixels = pixels.reshape([videos, frames, 3, side, side]);
        match self.frame_tokens {
            FrameTokens::Class => (tower.encode_videos(pixels), mask),
            FrameTokens::Patches => {
                let codes = tower.encode_patches(pixels);
                let [_, _, patches, width] = codes.dims();
                let mask = mask.unsqueeze_dim::<3>(2).expand([videos, frames, patches]);
                let count = frames * patches;
                (codes.reshape([videos, count, width]), mask.reshape([videos, count]))
            }
        }
    }
}

impl<H: Head, O: Objective> Model<H, O> {
    /// The scale between cosines and logits, `[1]`.
    pub fn scale(&self) -> Tensor<1> {
        self.logit_scale.val().exp()
    }

    /// What makes logits of the head's similarities, `[1]`: the scale, or 1 where they are logits already.
    pub fn to_logits(&self) -> Tensor<1> {
        match self.head.unit() {
            Unit::Cosine => self.scale(),
            Unit::Logit => self.logit_scale.val().ones_like(),
        }
    }

    /// Clamps the logit scale, as CLIP does after every step.
    pub fn clamp_logit_scale(mut self) -> Self {
        self.logit_scale = clamped(self.logit_scale);
        self
    }
}
