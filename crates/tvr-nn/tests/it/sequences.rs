//! The recurrence of an LSTM and best matches: the kernels against burn's plain operations in f64.

use burn::prelude::*;
use tvr_nn::{best_matches, lstm};

use crate::kernels::{error, numbers, wide};

/// Every third step of an item is masked; the last item has nothing real.
pub fn gaps(items: usize, steps: usize) -> Tensor<2, Bool> {
    let real = (0..items * steps).map(|at| at / steps + 1 != items && at % 3 != 1);
    Tensor::from_data(TensorData::new(real.collect::<Vec<bool>>(), [items, steps]), &Device::flex())
}

#[test]
fn lstm_agrees_with_plain_operations_in_f64() {
    for (items, steps, width) in [(1, 1, 1), (3, 4, 5), (5, 7, 33), (2, 3, 64)] {
        for masked in [false, true] {
            let mask = if masked { gaps(items, steps) } else { gaps(items, steps).ones_like() };
            let (x, u) = (numbers([items, steps, 4 * width], 61), numbers([width, 4 * width], 62) * 0.2);
            let upstream = numbers([items, steps, width], 63);
            let run = |x: Tensor<3>, u: Tensor<2>, upstream: Tensor<3>| {
                let (x, u) = (Tensor::from_inner(x).require_grad(), Tensor::from_inner(u).require_grad());
                let y = lstm(x.clone(), u.clone(), Tensor::from_inner(mask.clone()));
                let gradients = (y.clone() * Tensor::from_inner(upstream)).sum().backward();
                [y.inner(), x.grad(&gradients).unwrap(), u.grad(&gradients).unwrap().unsqueeze::<3>()]
            };
            let expected = run(wide(&x), wide(&u), wide(&upstream));
            let alone = lstm(x.clone(), u.clone(), mask.clone());
            let found = run(x, u, upstream);
            found[0].clone().into_data().assert_eq(&alone.into_data(), true);
            for (what, (found, expected)) in found.into_iter().zip(expected).enumerate() {
                let error = error(found, expected);
                assert!(error < 5e-6, "{items}x{steps}x{width}, masked {masked}: {what} is {error} off");
            }
        }
    }
}

#[test]
fn best_matches_agree_with_plain_operations_in_f64() {
    for (texts, tokens, videos, steps, width) in [(1, 1, 1, 1, 1), (3, 5, 2, 4, 3), (4, 7, 9, 5, 150)] {
        for masked in [false, true] {
            let masks = masked.then(|| (gaps(texts, tokens), gaps(videos, steps)));
            let (x, y) = (numbers([texts, tokens, width], 64), numbers([videos, steps, width], 65));
            let (of_x, of_y) = (numbers([texts, videos, tokens], 66), numbers([texts, videos, steps], 67));
            let run = |wide: &dyn Fn(&Tensor<3>) -> Tensor<3>| {
                let [x, y] = [&x, &y].map(|x| Tensor::from_inner(wide(x)).require_grad());
                let masks = masks.clone().map(|(x, y)| (Tensor::from_inner(x), Tensor::from_inner(y)));
                let (best_x, best_y) = best_matches(x.clone(), y.clone(), masks, -1e3);
                let weigh =
                    |best: &Tensor<3>, by: &Tensor<3>| (best.clone() * Tensor::from_inner(wide(by))).sum();
                let gradients = (weigh(&best_x, &of_x) + weigh(&best_y, &of_y)).backward();
                let [of_x, of_y] = [x, y].map(|x| x.grad(&gradients).unwrap());
                [best_x.inner(), best_y.inner(), of_x, of_y]
            };
            for (what, (found, expected)) in run(&|x| x.clone()).into_iter().zip(run(&wide)).enumerate() {
                let error = error(found, expected);
                assert!(error < 5e-6, "{texts}x{videos}, masked {masked}: {what} is {error} off");
            }
        }
    }
}

#[test]
fn the_number_of_threads_never_changes_a_bit() {
    let (x, u) = (numbers([9, 5, 4 * 48], 68), numbers([48, 4 * 48], 69) * 0.2);
    let run = |threads: usize| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| {
            let x = Tensor::from_inner(x.clone()).require_grad();
            let u = Tensor::from_inner(u.clone()).require_grad();
            let hidden = lstm(x.clone(), u.clone(), Tensor::from_inner(gaps(9, 5)));
            let (of_x, of_y) = best_matches(hidden.clone(), hidden.clone() * 0.5, None, -1e3);
            let gradients = (of_x.sum() + of_y.sum()).backward();
            [
                hidden.inner().into_data(),
                x.grad(&gradients).unwrap().into_data(),
                u.grad(&gradients).unwrap().into_data(),
            ]
        })
    };
    let one = run(1);
    for threads in [2, 3, 4] {
        run(threads).iter().zip(&one).for_each(|(found, expected)| found.assert_eq(expected, true));
    }
}

#[test]
fn nan_is_never_hidden_by_a_better_match() {
    let x = Tensor::<3>::from_data([[[1.0f32], [f32::NAN], [2.0]]], &Device::flex());
    let y = Tensor::<3>::from_data([[[1.0f32], [3.0]]], &Device::flex());
    let (of_x, of_y) = best_matches(x, y, None, -9.0);
    let of_x = of_x.try_into_vec_as::<f32>().unwrap();
    assert!(of_x[0] == 3.0 && of_x[1].is_nan() && of_x[2] == 6.0, "{of_x:?}");
    assert!(of_y.try_into_vec_as::<f32>().unwrap().iter().all(|best| best.is_nan()));
}

/// What stands at a masked step reaches neither the states nor a gradient, by the kernel and by plain operations.
#[test]
fn a_masked_step_is_not_read() {
    let (x, u, mask) = (numbers([3, 4, 8], 68), numbers([2, 8], 69), gaps(3, 4));
    let hidden = mask.clone().bool_not().reshape([3, 4, 1]).expand([3, 4, 8]);
    let run = |x: Tensor<3>, u: Tensor<2>| {
        let (x, u) = (Tensor::from_inner(x).require_grad(), Tensor::from_inner(u).require_grad());
        let y = lstm(x.clone(), u.clone(), Tensor::from_inner(mask.clone()));
        let gradients = y.clone().sum().backward();
        [y.inner(), x.grad(&gradients).unwrap(), u.grad(&gradients).unwrap().unsqueeze::<3>()]
    };
    let expected = run(x.clone(), u.clone());
    let x = x.mask_fill(hidden, f32::NAN);
    for found in [run(x.clone(), u.clone()), run(wide(&x), wide(&u))] {
        for (found, expected) in found.into_iter().zip(expected.clone()) {
            assert!(error(found, expected) < 5e-6);
        }
    }
}

#[test]
#[should_panic = "u"]
fn an_lstm_refuses_gates_of_another_width() {
    lstm(numbers([2, 3, 8], 70), numbers([2, 10], 71), gaps(2, 3));
}

#[test]
#[should_panic = "real_y"]
fn best_matches_refuse_a_mask_of_another_shape() {
    let (x, y) = (numbers([1, 2, 3], 72), numbers([1, 2, 3], 73));
    best_matches(x, y, Some((gaps(1, 2), gaps(1, 3))), -1e3);
}
