//! The single gate: how much each expert counts for a video.
//!
//! ```text
//! G = softmax(W x̄ + b)        x̄ = the mean of the video's real frames
//! ω[t, v, e] = G[v, e] a[t, e] / Σ_e' G[v, e'] a[t, e']
//! ```
//!
//! The gate sees the video alone, and all streams share it. `a` is 1, or whether text `t` has stream `e`.

use burn::module::Initializer;
use burn::nn::{Linear, LinearConfig};
use burn::prelude::*;
use burn::tensor::activation;

/// No expert's share is below exp(−60) of the largest one's: where a text lacks every other stream, what is left is
/// still a number that f32 can divide by.
const FAINTEST: f64 = 60.0;

/// The gate.
#[derive(Module, Debug)]
pub struct Gate {
    /// `W` and `b`, from the mean frame to the experts; at the start all experts count alike.
    pub layer: Linear,
}

impl Gate {
    pub(super) fn new(width: usize, experts: usize, device: &Device) -> Self {
        Self { layer: LinearConfig::new(width, experts).with_initializer(Initializer::Zeros).init(device) }
    }

    /// Shares of the experts. `[videos, width]` to `[videos, experts]`, rows sum to 1
    pub fn forward(&self, mean: Tensor<2>) -> Tensor<2> {
        faint_softmax(tvr_nn::linear(&self.layer, mean))
    }
}

/// Softmax of rows that leaves every entry above zero.
pub(crate) fn faint_softmax(logits: Tensor<2>) -> Tensor<2> {
    let least = logits.clone().detach().max_dim(1) - FAINTEST;
    let shape = logits.dims();
    activation::softmax(logits.max_pair(least.expand(shape)), 1)
}

/// Similarities of streams, weighed and added.
///
/// - `shares`: `[texts, streams]` and `[videos, streams]`, not negative; the weight of a stream for a pair is their
///   product over the sum of these products; a pair without any has similarity 0
/// - `streams`: each `[texts, videos]`
/// - returns `[texts, videos]`, between the least and the largest stream that counts
pub(crate) fn weighed(texts: &Tensor<2>, videos: &Tensor<2>, streams: Vec<Tensor<2>>) -> Tensor<2> {
    let total = texts.clone().matmul(videos.clone().transpose()); // [texts, videos]
    let total = total.clone().mask_fill(total.equal_scalar(0.0), 1.0);
    let sum = streams.into_iter().enumerate().map(|(stream, similarity)| {
        let text = texts.clone().slice_dim(1, stream..stream + 1); // [texts, 1]
        let video = videos.clone().slice_dim(1, stream..stream + 1).transpose(); // [1, videos]
        similarity * text * video
    });
    let sum = sum.reduce(|sum, term| sum + term);
    match sum {
        Some(sum) => sum / total,
        None => total.zeros_like(),
    }
}
