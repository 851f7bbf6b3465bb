//! A linear layer as one matrix product.

use burn::nn::Linear;
use burn::prelude::*;
use burn::tensor::assert_shape;

use crate::kernels;

/// A linear layer on the last axis, all leading axes as rows of one product.
///
/// burn's own `forward` keeps leading axes as a batch of small products where the rows of an item are a multiple of
/// 32. That suits an accelerator's tiles; the CPU backend then packs the weights anew for every item, and a text tower
/// on captions of 32 tokens takes several times as long.
///
/// The weights are taken in the type of `x`: f32 weights learn from a stream of half precision.
///
/// - `x`: `[..., inputs]`, at least two axes
/// - returns `[..., outputs]`, in the type of `x`
pub fn linear<const D: usize>(layer: &Linear, x: Tensor<D>) -> Tensor<D> {
    affine(x, layer.weight.val(), layer.bias.as_ref().map(|bias| bias.val()))
}

/// A linear map without a bias, as [`linear`] computes it.
///
/// - `x`: `[..., inputs]`, at least two axes
/// - `weight`: `[inputs, outputs]`
/// - returns `[..., outputs]`, in the type of `x`
pub fn project<const D: usize>(x: Tensor<D>, weight: Tensor<2>) -> Tensor<D> {
    affine(x, weight, None)
}

fn affine<const D: usize>(x: Tensor<D>, weight: Tensor<2>, bias: Option<Tensor<1>>) -> Tensor<D> {
    let mut dims = x.dims();
    let rows = dims[..D - 1].iter().product();
    let x = x.reshape([rows, dims[D - 1]]);
    let [_, outputs] = weight.dims();
    assert_shape!(weight, [dims[D - 1], outputs]);
    if let Some(bias) = &bias {
        assert_shape!(bias, [outputs]);
    }
    let (weight, bias) = (weight.cast(x.dtype()), bias.map(|bias| bias.cast(x.dtype())));
    let y = if kernels::applies(&x) && kernels::applies(&weight) {
        match bias {
            Some(bias) => kernels::affine(x, weight, bias),
            None => kernels::projection(x, weight),
        }
    } else {
        burn::tensor::module::linear(x, weight, bias)
    };
    dims[D - 1] = outputs;
    y.reshape(dims)
}
