//! The kernels against burn's plain operations, in f64, and over numbers of threads.

use burn::prelude::*;
use burn::tensor::DType;
use tvr_nn::{attention, gelu, quick_gelu};

/// Numbers in −4..4 that depend on the seed alone.
pub fn numbers<const D: usize>(shape: [usize; D], seed: u64) -> Tensor<D> {
    let mut state = seed | 1;
    let values = (0..shape.iter().product()).map(|_| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        ((state >> 40) as f32 / (1u64 << 24) as f32) * 8.0 - 4.0
    });
    Tensor::from_data(TensorData::new(values.collect::<Vec<f32>>(), shape), &Device::flex())
}

/// The same tensor in f64, where the kernels do not apply.
pub fn wide<const D: usize>(x: &Tensor<D>) -> Tensor<D> {
    Tensor::from_data(x.clone().into_data().convert::<f64>(), (&x.device(), DType::F64))
}

/// Largest difference over the largest expected entry (at least 1).
fn error<const D: usize>(found: Tensor<D>, expected: Tensor<D>) -> f64 {
    let found: Vec<f64> = found.into_data().iter::<f64>().collect();
    let expected: Vec<f64> = expected.into_data().iter::<f64>().collect();
    assert_eq!(found.len(), expected.len());
    let largest = expected.iter().fold(1.0f64, |a, b| a.max(b.abs()));
    found.iter().zip(&expected).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max) / largest
}

/// Value and gradient of `f` under weights that are no constant.
fn both<const D: usize>(
    x: Tensor<D>,
    upstream: Tensor<D>,
    f: &dyn Fn(Tensor<D>) -> Tensor<D>,
) -> [Tensor<D>; 2] {
    let x = Tensor::from_inner(x).require_grad();
    let y = f(x.clone());
    let gradients = (y.clone() * Tensor::from_inner(upstream)).sum().backward();
    [y.inner(), x.grad(&gradients).unwrap()]
}

#[test]
fn activations_agree_with_plain_operations_in_f64() {
    let (x, upstream) = (numbers([3, 20_011], 3) * 3.0, numbers([3, 20_011], 4));
    for (name, f) in [("quick_gelu", quick_gelu::<2> as fn(Tensor<2>) -> Tensor<2>), ("gelu", gelu::<2>)] {
        let found = both(x.clone(), upstream.clone(), &f);
        let expected = both(wide(&x), wide(&upstream), &f);
        for (what, found, expected) in
            [("value", &found[0], &expected[0]), ("gradient", &found[1], &expected[1])]
        {
            let error = error(found.clone(), expected.clone());
            assert!(error < 1e-6, "{name}: {what} is {error} off");
        }
        // Without a graph the kernel works in place; a shared input must stay as it was.
        let before = x.clone().into_data();
        let error = error(f(x.clone()), expected[0].clone());
        assert!(error < 1e-6, "{name} without a graph is {error} off");
        x.clone().into_data().assert_eq(&before, true);
    }
}

#[test]
fn attention_agrees_with_plain_operations_in_f64() {
    for (queries, keys) in [(1, 1), (5, 5), (3, 7), (50, 50), (2, 77), (40, 40)] {
        for (causal, masked) in [(false, false), (true, false), (false, true), (true, true)] {
            let [q, g] = [5, 6].map(|seed| numbers([3, 2, queries, 8], seed));
            let [k, v] = [7, 8].map(|seed| numbers([3, 2, keys, 8], seed));
            let mask: Vec<bool> = (0..3 * keys).map(|index| index / keys != 2 && index % 3 != 1).collect();
            let mask = Tensor::<2, Bool>::from_data(TensorData::new(mask, [3, keys]), &Device::flex());
            let mask = masked.then_some(mask);
            let run = |wide: &dyn Fn(&Tensor<4>) -> Tensor<4>| {
                let [q, k, v] = [&q, &k, &v].map(|x| Tensor::from_inner(wide(x)).require_grad());
                let y = attention(q.clone(), k.clone(), v.clone(), 0.35, causal, mask.clone());
                let gradients = (y.clone() * Tensor::from_inner(wide(&g))).sum().backward();
                [
                    y.inner(),
                    q.grad(&gradients).unwrap(),
                    k.grad(&gradients).unwrap(),
                    v.grad(&gradients).unwrap(),
                ]
            };
            let (found, expected) = (run(&|x| x.clone()), run(&|x| wide(x)));
            for (index, (found, expected)) in found.into_iter().zip(expected).enumerate() {
                let error = error(found, expected);
                assert!(
                    error < 2e-6,
                    "{queries}x{keys} causal {causal} masked {masked}: {index} is {error} off"
                );
            }
        }
    }
}

#[test]
fn the_number_of_threads_never_changes_a_bit() {
    let x = numbers([4, 4, 60, 60], 9);
    let run = |threads: usize| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| {
            let f = |x: Tensor<4>| attention(quick_gelu(x.clone()), gelu(x.clone()), x, 0.1, true, None);
            both(x.clone(), x.clone(), &f).map(Tensor::into_data)
        })
    };
    let one = run(1);
    for threads in [2, 3, 4] {
        run(threads).iter().zip(&one).for_each(|(found, expected)| found.assert_eq(expected, true));
    }
}

#[test]
fn the_edges_are_finite_and_nan_stays_nan() {
    let edges = [f32::MIN, -1e3, -88.0, -0.0, 0.0, 88.0, 1e3, f32::MAX];
    for f in [quick_gelu::<1> as fn(Tensor<1>) -> Tensor<1>, gelu::<1>] {
        let values = f(Tensor::from_data(edges, &Device::flex())).try_into_vec_as::<f32>().unwrap();
        assert!(values.iter().all(|value| value.is_finite()), "{values:?}");
        assert_eq!(values[7], f32::MAX);
        let nan = f(Tensor::from_data([f32::NAN], &Device::flex())).into_scalar::<f32>();
        assert!(nan.is_nan());
    }
}
