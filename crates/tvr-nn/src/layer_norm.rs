//! Layer norm: rows of mean 0 and variance 1, then a factor and a level for each channel.
//!
//! ```text
//! y = γ (x − mean x) / √(var x + ε) + β
//! ```
//!
//! The parameters and their names are those of burn's module. It is ours for the sake of its gradient, which burn
//! composes of some fifteen operations, and of its epsilon, which burn keeps to itself.

use burn::module::{Initializer, Param};
use burn::prelude::*;
use burn::tensor::assert_shape;

use crate::kernels;

/// A norm of the last axis.
#[derive(Module, Debug)]
pub struct LayerNorm {
    /// Factor of each channel. `[width]`
    pub gamma: Param<Tensor<1>>,
    /// Level of each channel. `[width]`
    pub beta: Param<Tensor<1>>,
    #[module(skip)]
    epsilon: f64,
}

impl LayerNorm {
    /// Factors of 1 and levels of 0; `epsilon` is added to the variance.
    pub fn new(width: usize, epsilon: f64, device: &Device) -> Self {
        let [gamma, beta] = [Initializer::Ones, Initializer::Zeros].map(|value| value.init([width], device));
        Self { gamma, beta, epsilon }
    }

    /// The norm in the parameters' own type, which is f32 beside half-precision weights too; the result has the type
    /// of `x`.
    ///
    /// - `x`: `[..., width]`
    pub fn forward<const D: usize>(&self, x: Tensor<D>) -> Tensor<D> {
        let (gamma, beta) = (self.gamma.val(), self.beta.val());
        let width = x.dims()[D - 1];
        assert_shape!(gamma, [width]);
        assert_shape!(beta, [width]);
        let (outer, inner) = (x.dtype(), gamma.dtype());
        let x = if outer == inner { x } else { x.cast(inner) };
        let y = if kernels::applies(&x) {
            kernels::layer_norm(x, gamma, beta, self.epsilon as f32)
        } else {
            burn::tensor::module::layer_norm(x, gamma, Some(beta), self.epsilon)
        };
        if outer == inner { y } else { y.cast(outer) }
    }
}
