//! Mean and softmax over what is real. In every mask, true = real.

use burn::prelude::*;
use burn::tensor::{DType, activation};

/// Mean over the real tokens of each item; zeros for an item without one.
///
/// - `x`: `[items, tokens, width]`; what stands at padding is never read, not even NaN
/// - `mask`: `[items, tokens]`
/// - returns `[items, width]`
pub fn masked_mean(x: Tensor<3>, mask: Tensor<2, Bool>) -> Tensor<2> {
    let [items, tokens, width] = x.dims();
    burn::tensor::assert_shape!(mask, [items, tokens]);
    let count = Tensor::<2>::zeros([items, tokens], (&x.device(), x.dtype())).mask_fill(mask.clone(), 1.0);
    let count = count.sum_dim(1).clamp_min(1.0); // [items, 1]
    let hidden = mask.bool_not().reshape([items, tokens, 1]).expand([items, tokens, width]);
    x.mask_fill(hidden, 0.0).sum_dim(1).reshape([items, width]) / count
}

/// Softmax over the last dimension, where masked values get zero exactly; zeros for a row without a real one.
///
/// - `x`, `mask`: one shape
pub fn masked_softmax<const D: usize>(x: Tensor<D>, mask: Tensor<D, Bool>) -> Tensor<D> {
    softmax_where(x, Some(mask.bool_not()))
}

/// Softmax over the last dimension without what is `hidden` (true = hidden).
pub(crate) fn softmax_where<const D: usize>(x: Tensor<D>, hidden: Option<Tensor<D, Bool>>) -> Tensor<D> {
    let Some(hidden) = hidden else { return activation::softmax(x, D - 1) };
    // A finite value: a row of −∞ would be NaN. Its exponential is zero beside any real value; the second fill
    // is for rows with nothing real.
    let lowest = if x.dtype() == DType::F16 { -6e4 } else { -1e30 };
    activation::softmax(x.mask_fill(hidden.clone(), lowest), D - 1).mask_fill(hidden, 0.0)
}

/// Masks one after another along `axis`.
///
/// A mask that was made on the host and one that an operation made are stored differently on flex, and burn joins like
/// with like alone.
pub fn cat_masks(masks: Vec<Tensor<2, Bool>>, axis: usize) -> Tensor<2, Bool> {
    Tensor::cat(masks.into_iter().map(|mask| mask.int()).collect(), axis).bool()
}
