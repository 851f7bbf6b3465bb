//! The two activations of CLIP's blocks, and a gate.
//!
//! ```text
//! quick_gelu(x)  = x · σ(1.702 x)         OpenAI's weights
//! gelu(x)        = x · Φ(x)               most of OpenCLIP's weights; Φ is the normal distribution function
//! gated(x, gate) = x · σ(gate)            experts' units, CAMoE's squeeze and excite
//! ```
//!
//! The first two differ by up to 0.02, which ruins weights trained with the other: a checkpoint's config names its own.

use burn::prelude::*;
use burn::tensor::activation as burn_activation;
use serde::{Deserialize, Serialize};

use crate::kernels::{self, Pointwise};

/// The slope of quick-GELU's sigmoid.
pub(crate) const QUICK_SLOPE: f32 = 1.702;

/// An activation, named as Hugging Face's configs name it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Activation {
    /// `x · σ(1.702 x)`.
    QuickGelu,
    /// `x · Φ(x)`, with the error function, not the hyperbolic tangent.
    Gelu,
}

impl Activation {
    /// Applies the activation to every value.
    pub fn forward<const D: usize>(self, x: Tensor<D>) -> Tensor<D> {
        match self {
            Self::QuickGelu => quick_gelu(x),
            Self::Gelu => gelu(x),
        }
    }
}

/// `x · σ(1.702 x)`, value by value.
pub fn quick_gelu<const D: usize>(x: Tensor<D>) -> Tensor<D> {
    if kernels::applies(&x) {
        return kernels::pointwise(x, Pointwise::QuickGelu);
    }
    x.clone() * burn_activation::sigmoid(x * f64::from(QUICK_SLOPE))
}

/// `x · Φ(x)`, value by value.
pub fn gelu<const D: usize>(x: Tensor<D>) -> Tensor<D> {
    if kernels::applies(&x) {
        return kernels::pointwise(x, Pointwise::Gelu);
    }
    // burn's own backward pass is that of the formula with the hyperbolic tangent, up to 8e-4 off.
    x.clone() * ((x / std::f64::consts::SQRT_2).erf() + 1.0) / 2.0
}

/// `x · σ(gate)`, value by value; both have one shape.
pub fn gated<const D: usize>(x: Tensor<D>, gate: Tensor<D>) -> Tensor<D> {
    if kernels::applies(&x) && kernels::applies(&gate) && x.dims() == gate.dims() {
        return kernels::gated(x, gate);
    }
    x * burn_activation::sigmoid(gate)
}
