//! Unit rows, the log of a sum of exponentials, and values weighted by their own softmax.

use burn::prelude::*;
use burn::tensor::activation;

use crate::kernels::{self, OwnWeights};
use crate::precision::widened;

/// Rows shorter than this are divided by it, so that a zero row stays zero and has a finite gradient.
pub(crate) const SHORTEST: f64 = 1e-6;

/// Divides every row (last dimension) by its length. A row of zeros stays zero. Lengths of half-precision rows are f32.
pub fn unit_rows<const D: usize>(x: Tensor<D>) -> Tensor<D> {
    if kernels::applies(&x) {
        return kernels::unit_rows(x);
    }
    let (outer, x) = (x.dtype(), widened(x));
    // The clamp stands below the root: the root's gradient at zero is infinite, and 0 · ∞ is NaN.
    let length = x.clone().square().sum_dim(D - 1).clamp_min(SHORTEST * SHORTEST).sqrt();
    (x / length).cast(outer)
}

/// `ln Σ exp(x)` along `dim`, which stays with size 1. Finite wherever the result is; −∞ where all are −∞.
pub fn log_sum_exp<const D: usize>(x: Tensor<D>, dim: usize) -> Tensor<D> {
    if D == 2 && kernels::applies(&x) {
        let bias = x.clone().detach().slice_dim(1 - dim, 0..1).zeros_like();
        return kernels::log_sum_exp(x, bias, dim);
    }
    let largest = x.clone().detach().max_dim(dim);
    // −∞ − (−∞) is NaN: such rows are not shifted.
    let empty = largest.clone().equal_elem(f32::NEG_INFINITY);
    let largest = largest.mask_fill(empty.clone(), 0.0);
    // The logarithm's slope at zero is infinite: such rows take that of 1.
    let sums = (x - largest.clone()).exp().sum_dim(dim).mask_fill(empty.clone(), 1.0);
    (sums.log() + largest).mask_fill(empty, f32::NEG_INFINITY)
}

/// `ln Σ exp(x + bias)` along `dim`, which stays with size 1: one half of a Sinkhorn sweep. The sum `x + bias` is
/// never held.
///
/// - `x`: `[rows, columns]`
/// - `bias`: `[1, columns]` along the rows (`dim` = 1), `[rows, 1]` along the columns (`dim` = 0)
pub fn biased_log_sum_exp(x: Tensor<2>, bias: Tensor<2>, dim: usize) -> Tensor<2> {
    assert_eq!(bias.dims()[dim], x.dims()[dim], "one bias for each value of a sum");
    assert_eq!(bias.dims()[1 - dim], 1, "one bias for all sums");
    if kernels::applies(&x) { kernels::log_sum_exp(x, bias, dim) } else { log_sum_exp(x + bias, dim) }
}

/// `factor · x · softmax(x / temperature)` along `dim`: every value weighted by its share. Of a matrix lying row by row
/// or of the transposed view of one nothing is copied.
///
/// - `x`: `[rows, columns]`
/// - `temperature`: above 0, in the unit of `x`
/// - `constant`: whether the weights are constants to the gradient
pub fn weighted_by_itself(
    x: Tensor<2>,
    temperature: f32,
    factor: f32,
    dim: usize,
    constant: bool,
) -> Tensor<2> {
    // The kernel takes x / T less the log of their sum, of which f32 leaves out as much as either is large: harmless to
    // logits at T = 1 and above. Below, the largest value comes off first.
    if temperature >= 1.0 && kernels::applies(&x) {
        return kernels::weighted_by_itself(
            x,
            OwnWeights { scale: 1.0 / temperature, factor, dim, constant },
        );
    }
    let largest = x.clone().detach().max_dim(dim);
    let weights = activation::softmax((x.clone() - largest) / temperature, dim);
    let weights = if constant { weights.detach() } else { weights };
    x * weights * factor
}
