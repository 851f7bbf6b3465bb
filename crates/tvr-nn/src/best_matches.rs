//! The best match of every step of an item among the steps of another.
//!
//! ```text
//! c[t, v, i, j] = x[t, i] · y[v, j]
//! of_x[t, v, i] = max over the real j of c       of_y[t, v, j] = max over the real i of c
//! ```

use burn::prelude::*;
use burn::tensor::assert_shape;

use crate::kernels::{self, Contest};

/// The best matches of both sides for every pair of items. A gradient goes to the pair of steps that won.
///
/// - `x`, `y`: `[texts, tokens, width]`, `[videos, steps, width]`
/// - `masks`: `[texts, tokens]`, `[videos, steps]`, true = may win; all may where absent
/// - `nobody`: what stands where nobody may win; below every product
/// - returns `[texts, videos, tokens]`, `[texts, videos, steps]`
pub fn best_matches(
    x: Tensor<3>,
    y: Tensor<3>,
    masks: Option<(Tensor<2, Bool>, Tensor<2, Bool>)>,
    nobody: f32,
) -> (Tensor<3>, Tensor<3>) {
    let ([texts, tokens, width], [videos, steps, _]) = (x.dims(), y.dims());
    assert_shape!(y, [videos, steps, width]);
    if let Some((real_x, real_y)) = &masks {
        assert_shape!(real_x, [texts, tokens]);
        assert_shape!(real_y, [videos, steps]);
    }
    if kernels::applies(&x) {
        let real = |mask: Tensor<2, Bool>| mask.into_data().iter::<bool>().collect();
        let (real_x, real_y) = masks.map(|(x, y)| (real(x), real(y))).unzip();
        let best = kernels::best_matches(x, y, Contest { real_x, real_y, nobody });
        return (best.clone().slice_dim(2, 0..tokens), best.slice_dim(2, tokens..tokens + steps));
    }
    let shape = [texts, tokens, videos, steps];
    let rows = y.reshape([videos * steps, width]);
    let products = x.reshape([texts * tokens, width]).matmul(rows.transpose()).reshape(shape);
    let without = |hidden: Option<Tensor<4, Bool>>| match hidden {
        Some(hidden) => products.clone().mask_fill(hidden.expand(shape), nobody),
        None => products.clone(),
    };
    let (hidden_x, hidden_y) = masks.map(|(x, y)| (x.bool_not(), y.bool_not())).unzip();
    let of_x = without(hidden_y.map(|hidden| hidden.reshape([1, 1, videos, steps]))).max_dim(3);
    let of_y = without(hidden_x.map(|hidden| hidden.reshape([texts, tokens, 1, 1]))).max_dim(1);
    (of_x.reshape([texts, tokens, videos]).swap_dims(1, 2), of_y.reshape([texts, videos, steps]))
}
