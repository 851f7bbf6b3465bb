//! Sums whose order never depends on the number of threads, and the sum of two tensors on all cores.
//!
//! flex adds 4 Mi values or more in a tree that follows work stealing, so burn's own `sum` and `mean` can
//! differ in their last bits from run to run. Here such tensors are summed in rows of fixed size.

use burn::prelude::*;

use crate::kernels;

/// Values in a row.
const ROW: usize = 1 << 16;

/// `x + y`. Of two tensors of one shape the sum is made on all cores: burn's own runs on one thread, and so takes as long as a
/// product of few rows. A tensor of another shape is stretched, as burn does.
pub fn added<const D: usize>(x: Tensor<D>, y: Tensor<D>) -> Tensor<D> {
    let one_shape = x.dims() == y.dims();
    if one_shape && kernels::applies(&x) && kernels::applies(&y) { kernels::added(x, y) } else { x + y }
}

/// Sum of all values.
pub fn sum<const D: usize>(x: Tensor<D>) -> Tensor<1> {
    let count = x.shape().num_elements();
    if count <= ROW {
        return x.sum();
    }
    let (rows, values) = (count / ROW, x.reshape([count]));
    let rest = count - rows * ROW;
    let whole =
        values.clone().narrow(0, 0, rows * ROW).reshape([rows, ROW]).sum_dim(1).sum_dim(0).reshape([1]);
    // An empty rest cannot be narrowed to.
    if rest == 0 { whole } else { whole + values.narrow(0, rows * ROW, rest).sum() }
}

/// Mean of all values.
pub fn mean<const D: usize>(x: Tensor<D>) -> Tensor<1> {
    let count = x.shape().num_elements();
    sum(x) / count as f64
}
