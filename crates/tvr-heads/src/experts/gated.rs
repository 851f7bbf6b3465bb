//! The gated embedding unit: a projection that damps its own channels.
//!
//! ```text
//! y = W x + b
//! u = unit(y ⊙ σ(norm(V y + d)))
//! ```
//!
//! `x` is `[items, inputs]`, `u` `[items, width]`. The published units have a batch norm there; here it is a layer
//! norm or none, since a batch norm would make an item's vector depend on the others it is encoded with. A published
//! batch norm in evaluation is a linear map, and can be folded into `V` and `d`.

use burn::nn::{Linear, LinearConfig};
use burn::prelude::*;
use tvr_nn::{LayerNorm, gated, linear, unit_rows};

/// The unit.
#[derive(Module, Debug)]
pub struct GatedUnit {
    /// `W` and `b`.
    pub project: Linear,
    /// `V` and `d`.
    pub gate: Linear,
    /// The norm before the sigmoid.
    pub norm: Option<LayerNorm>,
}

impl GatedUnit {
    pub(super) fn new(inputs: usize, width: usize, norm: bool, device: &Device) -> Self {
        Self {
            project: LinearConfig::new(inputs, width).init(device),
            gate: LinearConfig::new(width, width).init(device),
            norm: norm.then(|| LayerNorm::new(width, 1e-5, device)),
        }
    }

    /// Unit rows. `[items, inputs]` to `[items, width]`
    pub fn forward(&self, x: Tensor<2>) -> Tensor<2> {
        let y = linear(&self.project, x);
        let gate = linear(&self.gate, y.clone());
        let gate = match &self.norm {
            Some(norm) => norm.forward(gate),
            None => gate,
        };
        unit_rows(gated(y, gate))
    }
}
