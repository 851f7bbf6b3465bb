//! Finite differences in f64.

use burn::prelude::*;
use tvr_nn::{
    attention, best_matches, gated, gelu, log_sum_exp, lstm, masked_mean, quick_gelu, unit_rows,
    weighted_by_itself,
};

use crate::kernels::{numbers, wide};
use crate::sequences::gaps;

#[track_caller]
fn check<const D: usize, const E: usize>(shape: [usize; D], f: impl Fn(Tensor<D>) -> Tensor<E>) {
    let x = wide(&numbers(shape, 11));
    let loss = |x: Tensor<D>| {
        let y = f(x);
        let weights = wide(&numbers(y.dims(), 12));
        let weights = if y.is_autodiff() { Tensor::from_inner(weights) } else { weights };
        (y * weights).sum()
    };
    let leaf = Tensor::from_inner(x.clone()).require_grad();
    let gradient = leaf.grad(&loss(leaf.clone()).backward()).unwrap();
    let gradient: Vec<f64> = gradient.into_data().iter::<f64>().collect();
    let values: Vec<f64> = x.clone().into_data().iter::<f64>().collect();
    for (index, expected) in gradient.into_iter().enumerate() {
        let at = |step: f64| {
            let mut values = values.clone();
            values[index] += step;
            let x =
                Tensor::from_data(TensorData::new(values, shape), (&x.device(), burn::tensor::DType::F64));
            loss(x).into_scalar::<f64>()
        };
        let found = (at(1e-5) - at(-1e-5)) / 2e-5;
        assert!(
            (found - expected).abs() < 1e-6 * (1.0 + expected.abs()),
            "{index}: {found} instead of {expected}"
        );
    }
}

#[test]
fn gradients_agree_with_finite_differences() {
    let mask = || Tensor::<2, Bool>::from_data([[true, false, true], [false, false, false]], &Device::flex());
    check([3, 5], quick_gelu::<2>);
    check([3, 5], gelu::<2>);
    check([3, 5], |x: Tensor<2>| gated(x.clone() * 0.5, x));
    let constant = |x: &Tensor<2>| {
        let constant = wide(&numbers([3, 5], 14));
        if x.is_autodiff() { Tensor::from_inner(constant) } else { constant }
    };
    check([3, 5], |x: Tensor<2>| gated(constant(&x), x));
    check([3, 5], |x: Tensor<2>| gated(x.clone(), constant(&x)));
    check([3, 5], unit_rows::<2>);
    check([3, 5], |x: Tensor<2>| log_sum_exp(x, 1));
    check([3, 5], |x: Tensor<2>| weighted_by_itself(x, 2.5, 3.0, 0, false));
    check([3, 4, 8], |x: Tensor<3>| {
        let u = wide(&numbers([2, 8], 13));
        let u = if x.is_autodiff() { Tensor::from_inner(u) } else { u };
        lstm(x, u, gaps(3, 4))
    });
    check([2, 3, 4], |x: Tensor<3>| best_matches(x.clone(), x * 0.5, Some((gaps(2, 3), gaps(2, 3))), -1e3).0);
    check([2, 3, 2], |x: Tensor<3>| masked_mean(x, mask()));
    check([2, 2, 3, 2], |x: Tensor<4>| attention(x.clone(), x.clone() * 0.5, x, 0.3, true, Some(mask())));
}
