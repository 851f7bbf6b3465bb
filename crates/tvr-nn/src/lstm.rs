//! The recurrence of an LSTM.
//!
//! ```text
//! i, f, g, o = split(x_t + h_{t−1} U)      σ, σ, tanh, σ
//! c_t = f c_{t−1} + i g          h_t = o tanh(c_t)          both start as zeros
//! ```

use burn::prelude::*;
use burn::tensor::activation::sigmoid;
use burn::tensor::assert_shape;

use crate::kernels;

/// What an LSTM shows after every step; a masked step leaves its state as it is.
///
/// - `x`: `[items, steps, 4 width]`, inputs to the gates i, f, g, o with their biases
/// - `u`: `[width, 4 width]`, from the state to the gates
/// - `mask`: `[items, steps]`, true = real
/// - returns `[items, steps, width]`
pub fn lstm(x: Tensor<3>, u: Tensor<2>, mask: Tensor<2, Bool>) -> Tensor<3> {
    let [items, steps, _] = x.dims();
    let [width, _] = u.dims();
    assert_shape!(u, [width, 4 * width]);
    assert_shape!(x, [items, steps, 4 * width]);
    assert_shape!(mask, [items, steps]);
    if kernels::applies(&x) {
        return kernels::lstm(x, u, mask.into_data().iter::<bool>().collect());
    }
    // What stands at a masked step is never read, not even NaN.
    let hidden = mask.clone().bool_not().reshape([items, steps, 1]).expand([items, steps, 4 * width]);
    let x = x.mask_fill(hidden, 0.0);
    let zeros = || Tensor::<2>::zeros([items, width], (&x.device(), x.dtype()));
    let (mut cell, mut hidden) = (zeros(), zeros());
    let mut outputs = Vec::with_capacity(steps);
    for step in 0..steps {
        let input = x.clone().slice_dim(1, step..step + 1).reshape([items, 4 * width]);
        let gates = input + hidden.clone().matmul(u.clone());
        let gate = |index: usize| gates.clone().slice_dim(1, index * width..(index + 1) * width);
        let kept = sigmoid(gate(1)) * cell.clone() + sigmoid(gate(0)) * gate(2).tanh();
        let shown = sigmoid(gate(3)) * kept.clone().tanh();
        let real = mask.clone().slice_dim(1, step..step + 1).expand([items, width]);
        cell = cell.mask_where(real.clone(), kept);
        hidden = hidden.mask_where(real, shown);
        outputs.push(hidden.clone());
    }
    Tensor::stack::<3>(outputs, 1)
}
