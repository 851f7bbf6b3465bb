//! Collaborative gating (CE): every expert hears what each of the others makes of it.
//!
//! ```text
//! g_e = H · ( Σ_e' a_e a_e' relu(G [ψ_e, ψ_e']) / Σ_e' a_e' )
//! ψ_e ← unit(ψ_e ⊙ σ(norm(W ψ_e) + norm'(g_e)))
//! ```
//!
//! | symbol | meaning | shape |
//! |---|---|---|
//! | `ψ` | unit vectors of the experts | `[videos, experts, width]` |
//! | `a` | 1 where a video has the expert | `[videos, experts]` |
//!
//! Pairs hold an expert with itself too. `G` is one map of both halves, so it is computed once per expert and half.
//!
//! Source: Liu et al. 2019 (CE), arXiv 1907.13487; code: albanie/collaborative-experts, `model/model.py`, with a
//! layer norm or none where it has a batch norm. That `G` and `H` are one layer each is ours.

use burn::nn::{Linear, LinearConfig};
use burn::prelude::*;
use burn::tensor::activation::relu;
use tvr_nn::{LayerNorm, gated, linear, unit_rows};

/// Collaborative gating; one for all experts.
#[derive(Module, Debug)]
pub struct Gating {
    /// The half of `G` for the expert itself, with the bias.
    pub own: Linear,
    /// The half of `G` for the other one.
    pub other: Linear,
    /// `H`.
    pub reason: Linear,
    /// `W`.
    pub gate: Linear,
    /// The norms before the sigmoid.
    pub norms: Option<[LayerNorm; 2]>,
}

impl Gating {
    pub(super) fn new(width: usize, norm: bool, device: &Device) -> Self {
        let layer = || LinearConfig::new(width, width).init(device);
        let norms = || [(); 2].map(|()| LayerNorm::new(width, 1e-5, device));
        Self {
            own: layer(),
            other: LinearConfig::new(width, width).with_bias(false).init(device),
            reason: layer(),
            gate: layer(),
            norms: norm.then(norms),
        }
    }

    /// Gated vectors.
    ///
    /// - `vectors`: `[videos, experts, width]`
    /// - `present`: `[videos, experts]`, true where a video has the expert
    /// - returns `[videos, experts, width]`, unit rows
    pub fn forward(&self, vectors: Tensor<3>, present: Tensor<2, Bool>) -> Tensor<3> {
        let [videos, experts, width] = vectors.dims();
        let present = present.float().cast(vectors.dtype());
        let own = linear(&self.own, vectors.clone()).unsqueeze_dim::<4>(2); // [videos, experts, 1, width]
        let other = linear(&self.other, vectors.clone()).unsqueeze_dim::<4>(1); // [videos, 1, experts, width]
        let shape = [videos, experts, experts, width];
        let pairs = relu(own.expand(shape) + other.expand(shape));
        let counts = present.clone().reshape([videos, 1, experts, 1]);
        let total = present.clone().sum_dim(1).clamp_min(1.0).reshape([videos, 1, 1]);
        let heard = (pairs * counts).sum_dim(2).reshape([videos, experts, width]) / total;
        let heard = linear(&self.reason, heard * present.unsqueeze_dim::<3>(2));
        let gate = linear(&self.gate, vectors.clone());
        let sum = match &self.norms {
            Some([own, reasoned]) => own.forward(gate) + reasoned.forward(heard),
            None => gate + heard,
        };
        unit_rows(gated(vectors, sum))
    }
}
