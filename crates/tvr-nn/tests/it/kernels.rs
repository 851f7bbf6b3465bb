//! The kernels against burn's plain operations, in f64, and over numbers of threads.

use burn::prelude::*;
use burn::tensor::DType;
use tvr_nn::{
    added, attention, attention_weights, biased_log_sum_exp, gated, gelu, log_sum_exp, project, quick_gelu,
    unit_rows, weighted_by_itself,
};

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
pub fn error<const D: usize>(found: Tensor<D>, expected: Tensor<D>) -> f64 {
    let found: Vec<f64> = found.into_data().iter::<f64>().collect();
    let expected: Vec<f64> = expected.into_data().iter::<f64>().collect();
    assert_eq!(found.len(), expected.len());
    let largest = expected.iter().fold(1.0f64, |a, b| a.max(b.abs()));
    let gaps = found.iter().zip(&expected).map(|(a, b)| (a - b).abs());
    gaps.fold(0.0, |most: f64, gap| if gap <= most { most } else { gap }) / largest // NaN is the largest
}

/// Value and gradient of `f` under weights that are no constant.
pub fn both<const D: usize>(
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
    type Activation = fn(Tensor<2>) -> Tensor<2>;
    let by_itself: Activation = |x| gated(x.clone(), x * 0.7);
    let by_another: Activation = |x| gated(x.clone() * 0.7, x);
    let all: [(&str, Activation); 4] =
        [("quick_gelu", quick_gelu), ("gelu", gelu), ("gated", by_itself), ("its gate", by_another)];
    for (name, f) in all {
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

/// The weights alone, of rows enough for several tasks; nothing of the last item is real.
#[test]
fn attention_weights_agree_with_plain_operations_in_f64() {
    for (items, tokens) in [(3, 7), (5, 50)] {
        for (causal, masked) in [(false, false), (true, false), (false, true), (true, true)] {
            let [q, k] = [92, 93].map(|seed| numbers([items, 2, tokens, 8], seed));
            let g = numbers([items, 2, tokens, tokens], 94);
            let mask: Vec<bool> = (0..items * tokens)
                .map(|at| at / tokens + 1 < items && (at + at / tokens) % 3 != 1)
                .collect();
            let mask = Tensor::<2, Bool>::from_data(TensorData::new(mask, [items, tokens]), &Device::flex());
            let mask = masked.then_some(mask);
            let run = |wide: &dyn Fn(&Tensor<4>) -> Tensor<4>| {
                let [q, k] = [&q, &k].map(|x| Tensor::from_inner(wide(x)).require_grad());
                let weights = attention_weights(q.clone(), k.clone(), 0.35, causal, mask.clone());
                let gradients = (weights.clone() * Tensor::from_inner(wide(&g))).sum().backward();
                [weights.inner(), q.grad(&gradients).unwrap(), k.grad(&gradients).unwrap()]
            };
            let (found, expected) = (run(&|x| x.clone()), run(&|x| wide(x)));
            for (what, (found, expected)) in found.into_iter().zip(expected).enumerate() {
                let error = error(found, expected);
                assert!(
                    error < 2e-6,
                    "{items} items of {tokens}, causal {causal}, masked {masked}: {what} is {error} off"
                );
            }
        }
    }
}

/// Heads as blocks split them, a key and value that all heads share, and values of a width of their own.
#[test]
fn attention_reads_heads_where_they_lie() {
    let split = |x: Tensor<3>| {
        let [items, tokens, width] = x.dims();
        x.reshape([items, tokens, 3, width / 3]).swap_dims(1, 2)
    };
    let run = |wide: &dyn Fn(Tensor<3>) -> Tensor<3>| {
        let learns = |x: Tensor<3>| Tensor::from_inner(wide(x)).require_grad();
        let query = learns(numbers([4, 6, 12], 85));
        let [key, value] = [learns(numbers([4, 9, 4], 86)), learns(numbers([4, 9, 7], 87))];
        let [keys, values] = [(&key, 4), (&value, 7)]
            .map(|(x, width)| x.clone().unsqueeze_dim::<4>(1).expand([4, 3, 9, width]));
        // Heads from the last to the first and back.
        let heard = attention(split(query.clone()).flip([1]), keys, values, 0.5, true, None).flip([1]);
        let joined = heard.swap_dims(1, 2).reshape([4, 6, 21]);
        let upstream = Tensor::from_inner(wide(numbers([4, 6, 21], 88)));
        let gradients = (joined.clone() * upstream).sum().backward();
        [joined.inner()].into_iter().chain([query, key, value].map(|x| x.grad(&gradients).unwrap()))
    };
    for (what, (found, expected)) in run(&|x| x).zip(run(&|x| wide(&x))).enumerate() {
        let error = error(found, expected);
        assert!(error < 2e-6, "{what} is {error} off");
    }
}

#[test]
#[should_panic = "keys fit the queries"]
fn attention_refuses_keys_of_another_shape() {
    let key = numbers([4, 1, 9, 4], 89);
    attention(numbers([4, 3, 6, 4], 90), key.clone(), key, 0.5, false, None);
}

/// One mask for all items would be read across them.
#[test]
#[should_panic = "the mask fits the keys"]
fn attention_refuses_a_mask_of_another_shape() {
    let x = numbers([2, 1, 3, 4], 91);
    let mask = Tensor::<2, Bool>::from_data([[true, false, true]], &Device::flex());
    attention(x.clone(), x.clone(), x, 0.5, false, Some(mask));
}

/// A product of so large a score is rounded by more than a weight can bear.
#[test]
fn the_largest_score_has_its_weight_however_large_it_is() {
    let (one, score) = ([1, 1, 1, 1], 30_000_001_024.0);
    let ones = Tensor::<4>::ones(one, &Device::flex());
    let heard = attention(ones.clone() * score, ones.clone(), ones, 0.1, false, None);
    assert_eq!(heard.into_scalar::<f32>(), 1.0);
}

#[test]
fn log_sum_exp_agrees_with_plain_operations_in_f64() {
    for (rows, columns) in [(1, 1), (3, 5), (33, 70), (130, 257)] {
        for dim in [0, 1] {
            let bias = if dim == 1 { [1, columns] } else { [rows, 1] };
            let out = if dim == 1 { [rows, 1] } else { [1, columns] };
            let (x, bias, upstream) =
                (numbers([rows, columns], 21) * 9.0, numbers(bias, 22), numbers(out, 23));
            let run = |wide: &dyn Fn(&Tensor<2>) -> Tensor<2>| {
                let [x, bias] = [&x, &bias].map(|x| Tensor::from_inner(wide(x)).require_grad());
                let y = biased_log_sum_exp(x.clone(), bias.clone(), dim) + log_sum_exp(x.clone(), dim);
                let gradients = (y.clone() * Tensor::from_inner(wide(&upstream))).sum().backward();
                [y.inner(), x.grad(&gradients).unwrap(), bias.grad(&gradients).unwrap()]
            };
            // Row by row, and as the transposed view of a matrix that is so, which is not copied.
            let turned = |x: &Tensor<2>| (x.clone().transpose() + 0.0).transpose();
            for run_of in [run(&|x| x.clone()), run(&turned)] {
                for (found, expected) in run_of.into_iter().zip(run(&|x| wide(x))) {
                    let error = error(found, expected);
                    assert!(error < 2e-6, "{rows}x{columns} along {dim}: {error} off");
                }
            }
        }
    }
}

#[test]
fn values_weighted_by_their_softmax_agree_with_plain_operations_in_f64() {
    for (rows, columns) in [(1, 1), (3, 5), (33, 70), (130, 257)] {
        let (x, upstream) = (numbers([rows, columns], 41) * 3.0, numbers([rows, columns], 42));
        for (dim, constant) in [(0, false), (1, false), (0, true), (1, true)] {
            let f = |x: Tensor<2>| weighted_by_itself(x, 2.5, 3.0, dim, constant);
            let expected = both(wide(&x), wide(&upstream), &f);
            // Row by row, and as the transposed view of a matrix that is so.
            let turned = |x: &Tensor<2>| (x.clone().transpose() + 0.0).transpose();
            let found =
                [both(x.clone(), upstream.clone(), &f), both(turned(&x), turned(&upstream), &f)].concat();
            for (found, expected) in found.into_iter().zip(expected.iter().cycle()) {
                let error = error(found, expected.clone());
                assert!(error < 2e-6, "{rows}x{columns} along {dim}, constant {constant}: {error} off");
            }
        }
    }
}

/// Logits of a hundred over a small temperature: weights are still a distribution, and those of f64.
#[test]
fn values_are_weighted_at_a_low_temperature_as_in_f64() {
    let (x, upstream) = (numbers([33, 70], 51) * 25.0 + 101.0, numbers([33, 70], 52));
    for temperature in [0.5, 0.01, 1e-4, 1e-8, 1e-20] {
        for dim in [0, 1] {
            let f = |x: Tensor<2>| weighted_by_itself(x, temperature, 1.0, dim, false);
            let shares = (f(x.clone()) / x.clone()).sum_dim(dim);
            let off = error(shares.clone(), shares.ones_like());
            assert!(off < 1e-6, "at {temperature}: a sum is {off} off");
            let found = both(x.clone(), upstream.clone(), &f);
            let expected = both(wide(&x), wide(&upstream), &f);
            assert!(error(found[0].clone(), expected[0].clone()) < 1e-6, "at {temperature}");
            if temperature >= 0.01 {
                assert!(error(found[1].clone(), expected[1].clone()) < 1e-4, "the gradient at {temperature}");
            }
        }
    }
}

#[test]
fn log_sum_exp_takes_views_and_keeps_infinities() {
    let x = numbers([5, 4], 31);
    let view = x.clone().transpose().slice_dim(0, 1..4);
    let off = error(log_sum_exp(view.clone(), 1), log_sum_exp(wide(&view), 1));
    assert!(off < 1e-6, "{off}");
    let low = f32::NEG_INFINITY;
    let x = Tensor::<2>::from_data([[low, low], [1e4, -1e4], [f32::NAN, low]], &Device::flex());
    // By the kernel and by plain operations.
    for x in [x.clone(), wide(&x)] {
        let x = Tensor::from_inner(x).require_grad();
        let rows = log_sum_exp(x.clone(), 1);
        let values = rows.clone().inner().into_data().iter::<f32>().collect::<Vec<_>>();
        assert!(values[0] == low && values[1] == 1e4 && values[2].is_nan(), "{values:?}");
        let gradient = x.grad(&rows.sum().backward()).unwrap().into_data().iter::<f32>().collect::<Vec<_>>();
        assert_eq!(gradient[..4], [0.0, 0.0, 1.0, 0.0]);
    }
    let columns = log_sum_exp(x.slice_dim(0, 0..2), 0).try_into_vec_as::<f32>().unwrap();
    assert_eq!(columns, [1e4, -1e4]);
}

#[test]
fn the_number_of_threads_never_changes_a_bit() {
    let x = numbers([4, 4, 60, 60], 9);
    let run = |threads: usize| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| {
            let f = |x: Tensor<4>| {
                attention(quick_gelu(x.clone()), gelu(x.clone()), gated(x.clone(), x), 0.1, true, None)
            };
            let [value, gradient] = both(x.clone(), x.clone(), &f);
            let flat = x.clone().reshape([240, 240]);
            let sums = |x: Tensor<2>| {
                let rows = log_sum_exp(x.clone(), 1);
                biased_log_sum_exp(x, rows, 0)
            };
            let sum_gradient = both(flat.clone(), flat.clone().slice_dim(0, 0..1), &sums)[1].clone();
            let weighted = |x: Tensor<2>| {
                weighted_by_itself(x.clone(), 1.0, 1.0, 0, false) + weighted_by_itself(x, 1.0, 1.0, 1, false)
            };
            let weighted = both(flat.clone(), flat.clone(), &weighted)[1].clone();
            let of_rows = |x: Tensor<2>| unit_rows(added(project(x.clone(), x.clone()), x));
            let [rows, row_gradient] = both(flat.clone(), flat, &of_rows);
            [value, gradient]
                .map(Tensor::into_data)
                .into_iter()
                .chain([sum_gradient, weighted, rows, row_gradient].map(Tensor::into_data))
                .collect::<Vec<_>>()
        })
    };
    let one = run(1);
    for threads in [2, 3, 4] {
        run(threads).iter().zip(&one).for_each(|(found, expected)| found.assert_eq(expected, true));
    }
}

#[test]
fn attention_over_no_keys_is_zeros_and_so_is_its_gradient() {
    let query = Tensor::from_inner(numbers([2, 1, 3, 4], 81)).require_grad();
    let none = Tensor::from_inner(numbers([2, 1, 3, 4], 82).slice_dim(2, 0..0));
    let heard = attention(query.clone(), none.clone(), none, 0.5, false, None);
    assert_eq!(heard.dims(), [2, 1, 3, 4]);
    let gradient = query.grad(&heard.clone().sum().backward()).unwrap();
    for zeros in [heard.inner(), gradient] {
        assert!(zeros.into_data().iter::<f32>().all(|value| value == 0.0));
    }
}

#[test]
fn values_and_slopes_at_the_edges_are_finite_and_nan_stays_nan() {
    let edges = [f32::MIN, -1e3, -88.0, -0.0, 0.0, 88.0, 1e3, f32::MAX];
    for f in [quick_gelu::<1> as fn(Tensor<1>) -> Tensor<1>, gelu::<1>, |x| gated(x.clone(), x)] {
        let values = f(Tensor::from_data(edges, &Device::flex())).try_into_vec_as::<f32>().unwrap();
        assert!(values.iter().all(|value| value.is_finite()), "{values:?}");
        assert_eq!((values[0], values[7]), (0.0, f32::MAX));
        let x = Tensor::from_inner(Tensor::<1>::from_data(edges, &Device::flex())).require_grad();
        let slopes = x.grad(&f(x.clone()).sum().backward()).unwrap().try_into_vec_as::<f32>().unwrap();
        assert_eq!((slopes[0], slopes[7]), (0.0, 1.0));
        assert!(slopes.iter().all(|slope| slope.is_finite()), "{slopes:?}");
        let nan = f(Tensor::from_data([f32::NAN], &Device::flex())).into_scalar::<f32>();
        assert!(nan.is_nan());
    }
}
