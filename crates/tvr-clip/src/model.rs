//! Both towers and the scale between them.

use burn::module::Param;
use burn::prelude::*;

use crate::{ImageTower, TextTower};

/// Where the learned scale between cosines and logits starts unless something else says it.
pub const INITIAL_SCALE: f64 = 1.0 / 0.07;

/// The scale never grows beyond this.
pub const LARGEST_SCALE: f64 = 100.0;

/// A CLIP model. Only [`ClipConfig::init`](crate::ClipConfig::init) makes one, so its sizes fit.
#[derive(Module, Debug)]
pub struct Clip {
    /// The image tower.
    pub image: ImageTower,
    /// The text tower.
    pub text: TextTower,
    /// Logarithm of the scale of the logits.
    pub logit_scale: Param<Tensor<1>>, // [1]
}

impl Clip {
    pub(crate) fn new(image: ImageTower, text: TextTower, device: &Device) -> Self {
        Self { image, text, logit_scale: Param::from_data([(INITIAL_SCALE as f32).ln()], device) }
    }

    /// Codes of images, not normalised: `[images, 3, size, size]` to `[images, joint]`.
    pub fn encode_images(&self, pixels: Tensor<4>) -> Tensor<2> {
        self.image.encode(pixels)
    }

    /// Codes of texts, not normalised: `[texts, tokens]` to `[texts, joint]`.
    pub fn encode_texts(&self, ids: Tensor<2, Int>) -> Tensor<2> {
        let lengths = self.text.lengths(ids.clone());
        self.text.encode(ids, lengths)
    }

    /// Factor that turns a cosine into a logit: `[1]`.
    pub fn logit_scale(&self) -> Tensor<1> {
        self.logit_scale.val().exp()
    }

    /// Keeps the scale at 100 at most; call it after every step of an optimiser, as CLIP does.
    pub fn clamp_logit_scale(mut self) -> Self {
        self.logit_scale = clamped(self.logit_scale);
        self
    }
}

/// The logarithm of a scale, `[1]`, with the scale at [`LARGEST_SCALE`] at most; one that learned learns on.
pub fn clamped(logit_scale: Param<Tensor<1>>) -> Param<Tensor<1>> {
    let largest = (LARGEST_SCALE as f32).ln();
    logit_scale.map(|scale| {
        if !scale.is_autodiff() {
            return scale.clamp_max(largest);
        }
        // Below the graph: the result must be a leaf again.
        let learned = scale.is_require_grad();
        let scale = Tensor::from_inner(scale.inner().clamp_max(largest));
        if learned { scale.require_grad() } else { scale }
    })
}
