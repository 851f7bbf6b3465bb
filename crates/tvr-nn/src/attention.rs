//! Multi-head attention.
//!
//! ```text
//! weight[q, k] = softmax over the visible k of (scale · query[q] · key[k])
//! out[q]       = Σ_k weight[q, k] · value[k]
//! ```
//!
//! Key `k` is visible to query `q` if the mask says that it is real and, when causal, if it does not come
//! later. With fewer queries than keys, the queries are the last ones (aligned at the end).
//! A hidden key has weight zero exactly, a query that sees nothing gets zeros.

use std::sync::Arc;

use burn::prelude::*;

use crate::kernels::{self, Visible};
use crate::mask::softmax_where;
use crate::precision::widened;

/// Attention over all heads.
///
/// - `query`: `[items, heads, queries, width]`
/// - `key`, `value`: `[items, heads, keys, width]`; values may have a width of their own
/// - `scale`: factor of the products, above 0, usually `width^-0.5`
/// - `mask`: `[items, keys]`, true = real
/// - returns `[items, heads, queries, width]`, the width that of the values
///
/// Half-precision scores are widened to f32 for the softmax.
pub fn attention(
    query: Tensor<4>,
    key: Tensor<4>,
    value: Tensor<4>,
    scale: f32,
    causal: bool,
    mask: Option<Tensor<2, Bool>>,
) -> Tensor<4> {
    let ([items, heads, keys, _], [.., depth]) = (key.dims(), value.dims());
    assert_eq!(value.dims(), [items, heads, keys, depth], "values fit the keys");
    if [&query, &key, &value].into_iter().all(kernels::applies) {
        fit(&query, &key, mask.as_ref());
        let causal = causal && query.dims()[2] > 1;
        return kernels::attention(query, key, value, Visible { scale, causal, real: real(mask) });
    }
    attention_weights(query, key, scale, causal, mask).cast(value.dtype()).matmul(value)
}

/// The weights of [`attention`], for who does more with them than to sum values; arguments as there.
///
/// Returns `[items, heads, queries, keys]`; rows sum to 1, or to 0 where nothing is seen. Those of half-precision queries
/// are f32.
pub fn attention_weights(
    query: Tensor<4>,
    key: Tensor<4>,
    scale: f32,
    causal: bool,
    mask: Option<Tensor<2, Bool>>,
) -> Tensor<4> {
    fit(&query, &key, mask.as_ref());
    let scores = widened(query.matmul(key.swap_dims(2, 3)));
    let [items, _, queries, keys] = scores.dims();
    // One query aligned at the end sees every key.
    let causal = causal && queries > 1;
    if kernels::applies(&scores) {
        return kernels::softmax(scores, Visible { scale, causal, real: real(mask) });
    }
    let hidden = mask.map(|mask| mask.bool_not().reshape([items, 1, 1, keys]).expand(scores.dims()));
    let later = causal.then(|| later(queries, keys, &scores.device()).expand(scores.dims()));
    let hidden = match (hidden, later) {
        (Some(hidden), Some(later)) => Some(hidden.bool_or(later)),
        (hidden, later) => hidden.or(later),
    };
    softmax_where(scores * f64::from(scale), hidden)
}

/// Refuses what would be stretched, or read across items.
fn fit(query: &Tensor<4>, key: &Tensor<4>, mask: Option<&Tensor<2, Bool>>) {
    let ([items, heads, _, width], [.., keys, _]) = (query.dims(), key.dims());
    assert_eq!(key.dims(), [items, heads, keys, width], "keys fit the queries");
    if let Some(mask) = mask {
        assert_eq!(mask.dims(), [items, keys], "the mask fits the keys");
    }
}

/// A mask as the kernels take it.
fn real(mask: Option<Tensor<2, Bool>>) -> Option<Arc<[bool]>> {
    mask.map(|mask| mask.into_data().iter::<bool>().collect())
}

/// True where a key comes later than the query, `[1, 1, queries, keys]`.
fn later(queries: usize, keys: usize, device: &Device) -> Tensor<4, Bool> {
    let first = keys as i64 - queries as i64;
    let shape = [1, 1, queries, keys];
    let query =
        Tensor::<1, Int>::arange(first..keys as i64, device).reshape([1, 1, queries, 1]).expand(shape);
    let key = Tensor::<1, Int>::arange(0..keys as i64, device).reshape([1, 1, 1, keys]).expand(shape);
    key.greater(query)
}
