//! Kernels of our own, for flex and f32: quick-GELU, GELU, the scaled, masked softmax of attention's weights (`ops.rs`), all
//! of attention (`heads.rs`), the log of a sum of exponentials, rows of unit length and layer norm (`rows.rs`), values weighted by
//! their own softmax (`weighted.rs`), gated values (`gated.rs`), linear layers (`affine.rs`, over `product.rs`), an LSTM's
//! recurrence (`recurrent.rs`), and best matches (`matches.rs`).
//!
//! burn's flex computes these value by value with libm, on one thread, and under autodiff once more in the
//! backward pass. Here one loop per operation is vectorised, runs on all cores, and has its own backward.
//! Work is cut into chunks of a fixed size (a product into tiles by the number of threads, which changes none of its sums) and
//! sums have a fixed order, so results have the same bits for any number of threads.
//!
//! [`applies`] is asked at run time. Whatever it refuses (f64, half precision, another backend) takes burn's
//! plain operations at the call, so the extension needs no other backend and no feature.

mod affine;
mod gated;
mod heads;
mod log_sum_exp;
mod loops;
mod matches;
mod ops;
mod product;
mod recurrent;
mod rows;
mod weighted;

use std::sync::Arc;

use burn::backend::{Dispatch, DispatchTensorKind};
use burn::prelude::*;
use burn::tensor::DType;

use affine::Affine;
use gated::Gated;
use heads::OverHeads;
pub(crate) use matches::Contest;
use matches::Matches;
use ops::Fused;
use recurrent::Recurrent;
use rows::OnRows;
pub(crate) use weighted::OwnWeights;
use weighted::WeightedByItself;

/// An operation on each value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Pointwise {
    QuickGelu,
    Gelu,
}

/// Which scores of `[items, heads, queries, keys]` a softmax sees, and their factor.
#[derive(Clone, Debug)]
pub(crate) struct Visible {
    pub scale: f32,
    pub causal: bool,
    pub real: Option<Arc<[bool]>>, // [items, keys], row by row
}

/// Whether these kernels can run on `x`.
pub(crate) fn applies<const D: usize>(x: &Tensor<D>) -> bool {
    x.dtype() == DType::F32 && is_flex(&x.clone().into_dispatch().kind)
}

/// A tensor on a graph wraps the one that holds its values.
fn is_flex(kind: &DispatchTensorKind) -> bool {
    match kind {
        DispatchTensorKind::Flex(_) => true,
        DispatchTensorKind::Autodiff(inner) => is_flex(inner),
        #[allow(unreachable_patterns, reason = "other backends are there with their features")]
        _ => false,
    }
}

/// `x + y`, of one shape, for which, as for the others, [`applies`] holds.
pub(crate) fn added<const D: usize>(x: Tensor<D>, y: Tensor<D>) -> Tensor<D> {
    Tensor::from_dispatch(<Dispatch as Fused>::added(x.into_dispatch(), y.into_dispatch()))
}

/// `x · σ(gate)`, of one shape, for which, as for the others, [`applies`] holds.
pub(crate) fn gated<const D: usize>(x: Tensor<D>, gate: Tensor<D>) -> Tensor<D> {
    Tensor::from_dispatch(<Dispatch as Gated>::gated(x.into_dispatch(), gate.into_dispatch()))
}

/// Applies `function` to each value of `x`, for which [`applies`] holds.
pub(crate) fn pointwise<const D: usize>(x: Tensor<D>, function: Pointwise) -> Tensor<D> {
    Tensor::from_dispatch(<Dispatch as Fused>::pointwise(x.into_dispatch(), function))
}

/// Attention of `query` to the visible keys, for which, as for the others, [`applies`] holds. `[items, heads, tokens, width]`
pub(crate) fn attention(query: Tensor<4>, key: Tensor<4>, value: Tensor<4>, visible: Visible) -> Tensor<4> {
    let [query, key, value] = [query, key, value].map(Tensor::into_dispatch);
    Tensor::from_dispatch(<Dispatch as OverHeads>::attention(query, key, value, visible))
}

/// Softmax of the visible scores, for which [`applies`] holds.
pub(crate) fn softmax(scores: Tensor<4>, visible: Visible) -> Tensor<4> {
    Tensor::from_dispatch(<Dispatch as Fused>::visible_softmax(scores.into_dispatch(), visible))
}

/// `ln Σ exp(x + bias)` along axis `dim` of a matrix for which [`applies`] holds; `bias` has size 1 along the other.
pub(crate) fn log_sum_exp<const D: usize>(x: Tensor<D>, bias: Tensor<D>, dim: usize) -> Tensor<D> {
    Tensor::from_dispatch(<Dispatch as Fused>::log_sum_exp(x.into_dispatch(), bias.into_dispatch(), dim))
}

/// `factor · x · softmax(scale · x)` along one side of a matrix, for which [`applies`] holds.
pub(crate) fn weighted_by_itself(x: Tensor<2>, how: OwnWeights) -> Tensor<2> {
    Tensor::from_dispatch(<Dispatch as WeightedByItself>::weighted_by_itself(x.into_dispatch(), how))
}

/// `x · weight`, of two matrices for which [`applies`] holds.
pub(crate) fn projection(x: Tensor<2>, weight: Tensor<2>) -> Tensor<2> {
    Tensor::from_dispatch(<Dispatch as Affine>::projection(x.into_dispatch(), weight.into_dispatch()))
}

/// `x · weight + bias` for a matrix for which, as for the others, [`applies`] holds.
pub(crate) fn affine(x: Tensor<2>, weight: Tensor<2>, bias: Tensor<1>) -> Tensor<2> {
    let [x, weight, bias] = [x.into_dispatch(), weight.into_dispatch(), bias.into_dispatch()];
    Tensor::from_dispatch(<Dispatch as Affine>::affine(x, weight, bias))
}

/// Rows of `x`, for which [`applies`] holds, over their lengths.
pub(crate) fn unit_rows<const D: usize>(x: Tensor<D>) -> Tensor<D> {
    Tensor::from_dispatch(<Dispatch as OnRows>::unit_rows(x.into_dispatch()))
}

/// Layer norm of the rows of `x`, for which, as for `gamma` and `beta`, [`applies`] holds.
pub(crate) fn layer_norm<const D: usize>(
    x: Tensor<D>,
    gamma: Tensor<1>,
    beta: Tensor<1>,
    epsilon: f32,
) -> Tensor<D> {
    let [gamma, beta] = [gamma, beta].map(Tensor::into_dispatch);
    Tensor::from_dispatch(<Dispatch as OnRows>::row_norm(x.into_dispatch(), gamma, beta, epsilon))
}

/// What an LSTM shows, for `x` and `u` for which [`applies`] holds; `real` is `[items, steps]`, row by row.
pub(crate) fn lstm(x: Tensor<3>, u: Tensor<2>, real: Arc<[bool]>) -> Tensor<3> {
    Tensor::from_dispatch(<Dispatch as Recurrent>::lstm(x.into_dispatch(), u.into_dispatch(), real))
}

/// The best matches of steps, for `x` and `y` for which [`applies`] holds. `[texts, videos, tokens + steps]`
pub(crate) fn best_matches(x: Tensor<3>, y: Tensor<3>, contest: Contest) -> Tensor<3> {
    Tensor::from_dispatch(<Dispatch as Matches>::best_matches(x.into_dispatch(), y.into_dispatch(), contest))
}
