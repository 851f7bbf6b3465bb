//! Unit rows, layer norm and linear layers: the kernels against burn's plain operations in f64.

use burn::module::Param;
use burn::nn::Linear;
use burn::prelude::*;
use burn::tensor::DType;
use tvr_nn::{LayerNorm, added, linear, project, unit_rows};

use crate::kernels::{both, error, numbers, wide};

/// A norm whose factors and levels are no constants.
fn norm(width: usize, wide: &dyn Fn(&Tensor<1>) -> Tensor<1>) -> LayerNorm {
    let mut norm = LayerNorm::new(width, 1e-5, &Device::flex());
    let parameter =
        |seed| Param::from_tensor(Tensor::from_inner(wide(&numbers([width], seed))).require_grad());
    (norm.gamma, norm.beta) = (parameter(51), parameter(52));
    norm
}

#[test]
fn unit_rows_agree_with_plain_operations_in_f64() {
    for shape in [[1, 1, 1], [1, 2, 5], [3, 70, 33], [2, 40, 130]] {
        let (x, upstream) = (numbers(shape, 53), numbers(shape, 54));
        let expected = both(wide(&x), wide(&upstream), &unit_rows);
        for (found, expected) in both(x, upstream, &unit_rows).into_iter().zip(expected) {
            let error = error(found, expected);
            assert!(error < 2e-6, "{shape:?}: {error} off");
        }
    }
}

/// By itself: the gradient of such a row is a million times that of others.
#[test]
fn a_row_of_zeros_stays_so_and_has_the_gradient_of_plain_operations() {
    let x = numbers([3, 5], 53);
    let x = Tensor::cat(vec![x.clone().zeros_like(), x], 0);
    let upstream = numbers([6, 5], 54);
    let [found, gradient] = both(x.clone(), upstream.clone(), &unit_rows);
    let [expected, slope] = both(wide(&x), wide(&upstream), &unit_rows);
    assert!(error(found.clone(), expected) < 2e-6);
    assert!(found.slice_dim(0, 0..3).into_data().iter::<f32>().all(|value| value == 0.0));
    let zeros = |x: Tensor<2>| x.slice_dim(0, 0..3);
    assert!(error(zeros(gradient), zeros(slope)) < 1e-6);
}

#[test]
fn layer_norm_agrees_with_plain_operations_in_f64() {
    for (rows, width) in [(1, 1), (3, 5), (70, 33), (9, 512), (300, 130)] {
        let x = numbers([rows, width], 55) * 2.0 + 3.0;
        let upstream = numbers([rows, width], 56);
        let run = |x: Tensor<2>, upstream: Tensor<2>, norm: LayerNorm| {
            let x = Tensor::from_inner(x).require_grad();
            let y = norm.forward(x.clone());
            let gradients = (y.clone() * Tensor::from_inner(upstream)).sum().backward();
            let of =
                |parameter: &Param<Tensor<1>>| parameter.val().grad(&gradients).unwrap().unsqueeze::<2>();
            [y.inner(), x.grad(&gradients).unwrap(), of(&norm.gamma), of(&norm.beta)]
        };
        let expected = run(wide(&x), wide(&upstream), norm(width, &wide));
        let found = run(x, upstream, norm(width, &|x| x.clone()));
        for (what, (found, expected)) in found.into_iter().zip(expected).enumerate() {
            let error = error(found, expected);
            assert!(error < 5e-6, "{rows}x{width}: {what} is {error} off");
        }
    }
}

#[test]
fn linear_layers_agree_with_plain_operations_in_f64() {
    // The last four run on all cores: rows and columns are cut; columns of few rows, and rows of the weights' gradient; rows of
    // few columns; two rows, whose tiles must not come down to dot products.
    for (rows, inputs, outputs) in [
        (1, 1, 1),
        (5, 3, 7),
        (130, 40, 200),
        (150, 270, 300),
        (20, 1300, 300),
        (600, 130, 70),
        (1, 1024, 4096),
    ] {
        let (x, upstream) = (numbers([2, rows, inputs], 61), numbers([2, rows, outputs], 62));
        let (weight, bias) = (numbers([inputs, outputs], 63), numbers([outputs], 64));
        let run = |weight: Tensor<2>, bias: Tensor<1>, x: Tensor<3>, upstream: Tensor<3>| {
            let weight = Param::from_tensor(Tensor::from_inner(weight).require_grad());
            let bias = Param::from_tensor(Tensor::from_inner(bias).require_grad());
            let layer = Linear { weight, bias: Some(bias) };
            let x = Tensor::from_inner(x).require_grad();
            let y = linear(&layer, x.clone());
            let gradients = (y.clone() * Tensor::from_inner(upstream)).sum().backward();
            let of_weight = layer.weight.val().grad(&gradients).unwrap().unsqueeze::<3>();
            let of_bias = layer.bias.unwrap().val().grad(&gradients).unwrap().unsqueeze::<3>();
            [y.inner(), x.grad(&gradients).unwrap(), of_weight, of_bias]
        };
        let expected = run(wide(&weight), wide(&bias), wide(&x), wide(&upstream));
        let on = |threads: usize| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            pool.install(|| run(weight.clone(), bias.clone(), x.clone(), upstream.clone()))
        };
        let found = on(1);
        for threads in [2, 3, 5, 16] {
            for (own, one) in on(threads).into_iter().zip(&found) {
                own.into_data().assert_eq(&one.clone().into_data(), true);
            }
        }
        for (what, (found, expected)) in found.into_iter().zip(expected).enumerate() {
            let error = error(found, expected);
            assert!(error < 2e-6, "{rows}x{inputs}x{outputs}: {what} is {error} off");
        }
    }
}

#[test]
fn projections_agree_with_plain_operations_in_f64() {
    for (rows, inputs, outputs) in [(1, 1, 1), (5, 3, 7), (90, 200, 230)] {
        let (x, upstream) = (numbers([2, rows, inputs], 65), numbers([2, rows, outputs], 66));
        // A view that is not contiguous, as attention's heads are.
        let weight = numbers([outputs, inputs], 67).transpose();
        let run = |weight: Tensor<2>, x: Tensor<3>, upstream: Tensor<3>| {
            let (weight, x) =
                (Tensor::from_inner(weight).require_grad(), Tensor::from_inner(x).require_grad());
            let y = project(x.clone(), weight.clone());
            let gradients = (y.clone() * Tensor::from_inner(upstream)).sum().backward();
            let of_weight = weight.grad(&gradients).unwrap().unsqueeze::<3>();
            [y.inner(), x.grad(&gradients).unwrap(), of_weight]
        };
        let expected = run(wide(&weight), wide(&x), wide(&upstream));
        for (what, (found, expected)) in run(weight, x, upstream).into_iter().zip(expected).enumerate() {
            let error = error(found, expected);
            assert!(error < 2e-6, "{rows}x{inputs}x{outputs}: {what} is {error} off");
        }
    }
}

/// Views that run backwards, cut along rows and along columns.
#[test]
fn a_linear_layer_takes_flipped_views() {
    for (rows, outputs) in [(600, 150), (150, 600)] {
        let (x, weight) = (numbers([rows, 130], 73), numbers([130, outputs], 74));
        for axis in [0, 1] {
            let found = project(x.clone().flip([axis]), weight.clone().flip([axis]));
            let expected = project(wide(&x).flip([axis]), wide(&weight).flip([axis]));
            let error = error(found, expected);
            assert!(error < 2e-6, "{rows}x{outputs}, axis {axis}: {error} off");
        }
    }
}

/// Sums of several tasks, of views as well, leave what is added as it was, and pass the gradient to both.
#[test]
fn what_is_added_stays_and_both_have_the_gradient() {
    let (x, y) = (numbers([300, 130], 68), numbers([130, 300], 69).transpose());
    let before = [x.clone().into_data(), y.clone().into_data()];
    let expected = wide(&x) + wide(&y);
    assert_eq!(error(added(x.clone(), y.clone()), expected.clone()), error(x.clone() + y.clone(), expected));
    for (x, before) in [&x, &y].into_iter().zip(&before) {
        x.clone().into_data().assert_eq(before, true);
    }
    let upstream = numbers([300, 130], 70);
    let twice = both(x, upstream.clone(), &|x: Tensor<2>| added(x.clone() * 3.0, x));
    assert!(error(twice[1].clone(), wide(&upstream) * 4.0) < 1e-6);
    // Another shape is burn's to stretch.
    let row = numbers([1, 4], 71);
    added(numbers([3, 4], 72), row.clone())
        .into_data()
        .assert_eq(&(numbers([3, 4], 72) + row).into_data(), true);
}

/// f32 norms beside half-precision rows: the rows come back in their own type.
#[test]
fn a_norm_computes_in_its_own_type() {
    let x = numbers([4, 8], 57);
    let norm = LayerNorm::new(8, 1e-5, &Device::flex());
    let y = norm.forward(x.clone().cast(DType::F16));
    assert_eq!(y.dtype(), DType::F16);
    let error = error(y, norm.forward(x));
    assert!(error < 2e-3, "{error}");
}

/// Squares of a few hundred leave f16, and so does the square of the shortest length.
#[test]
fn half_precision_rows_have_lengths_in_f32() {
    for (value, expected) in [(0.0, 0.0), (1e-3, 0.5), (3e4, 0.5)] {
        let x = Tensor::<2>::full([1, 4], value, (&Device::flex(), DType::F16));
        let y = unit_rows(x);
        assert_eq!(y.dtype(), DType::F16);
        y.into_data().convert::<f32>().assert_eq(&TensorData::new(vec![expected as f32; 4], [1, 4]), true);
    }
}

#[test]
fn a_layer_without_outputs_has_gradients_of_zero() {
    let bias = Param::from_tensor(Tensor::from_inner(numbers([0], 75)).require_grad());
    let weight = Param::from_tensor(Tensor::from_inner(numbers([3, 0], 75)).require_grad());
    let layer = Linear { weight, bias: Some(bias) };
    let x = Tensor::from_inner(numbers([2, 3], 75)).require_grad();
    let gradients = (linear(&layer, x.clone()).sum() + x.clone().sum()).backward();
    assert_eq!(x.grad(&gradients).unwrap().sum().into_scalar::<f32>(), 6.0);
}

#[test]
#[should_panic = "bias"]
fn a_bias_of_another_size_is_refused() {
    let parameter = Param::from_tensor(numbers([3, 8], 76));
    linear(
        &Linear { weight: parameter, bias: Some(Param::from_tensor(numbers([16], 77))) },
        numbers([2, 3], 78),
    );
}

#[test]
#[should_panic = "gamma"]
fn a_norm_refuses_rows_of_another_width() {
    LayerNorm::new(4, 1e-5, &Device::flex()).forward(numbers([2, 8], 79));
}
