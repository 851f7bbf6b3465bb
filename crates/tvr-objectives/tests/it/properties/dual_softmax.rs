//! Further properties of the dual softmax loss; the first ones stand in `properties.rs`.

use proptest::prelude::*;
use tvr_objectives::{Directions, DualSoftmax, DualSoftmaxConfig, Positives};

use crate::common::{Draw, Rows, assert_close, diagonal, gradient, loss, parts};

/// Every variant by name, at a temperature.
fn variants(temperature: f32) -> Vec<DualSoftmax> {
    let reference = DualSoftmaxConfig { temperature, ..DualSoftmaxConfig::reference() };
    let configs = [
        DualSoftmaxConfig { detach: true, ..reference.clone() },
        DualSoftmaxConfig { positives: Positives::Same, ..reference.clone() },
        DualSoftmaxConfig { temperature, ..DualSoftmaxConfig::clip_vip() },
        DualSoftmaxConfig { temperature, ..DualSoftmaxConfig::paper() },
        reference,
    ];
    configs.iter().map(|config| config.init().unwrap()).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn p_ds_3_pairs_permuted_jointly_leave_the_loss_and_permute_the_gradient(
        n in 1usize..7, log_temperature in 0f64..3.0, seed: u64,
    ) {
        let mut draw = Draw::new(seed);
        let (z, same, order) = (draw.scores(n, n, 20.0), diagonal(n), draw.order(n));
        let moved: Rows = order.iter().map(|&i| order.iter().map(|&j| z[i][j]).collect()).collect();
        for objective in variants(10f64.powf(log_temperature) as f32) {
            let value = loss(&objective, &z, &same);
            assert_close(&[loss(&objective, &moved, &same)], &[value], 1e-6 * value.abs().max(1.0));
            let (there, here) = (gradient(&objective, &moved, &same), gradient(&objective, &z, &same));
            let expected: Vec<f64> =
                (0..n * n).map(|at| here[order[at / n] * n + order[at % n]]).collect();
            assert_close(&there, &expected, 1e-9);
        }
    }

    #[test]
    fn p_ds_9_one_pair_costs_nothing(logit in -1e4f64..1e4, log_temperature in -2f64..6.0) {
        for objective in variants(10f64.powf(log_temperature) as f32) {
            prop_assert_eq!(loss(&objective, &vec![vec![logit]], &[0]), 0.0);
            prop_assert_eq!(gradient(&objective, &vec![vec![logit]], &[0]), vec![0.0]);
        }
    }

    #[test]
    fn added_directions_are_twice_their_mean(n in 1usize..6, seed: u64) {
        let (z, same) = (Draw::new(seed).scores(n, n, 20.0), diagonal(n));
        let averaged = DualSoftmaxConfig { directions: Directions::Averaged, ..DualSoftmaxConfig::clip_vip() };
        let (averaged, added) = (averaged.init().unwrap(), DualSoftmaxConfig::clip_vip().init().unwrap());
        assert_close(&[loss(&added, &z, &same)], &[2.0 * loss(&averaged, &z, &same)], 1e-12);
        prop_assert_eq!(parts(&added, &z, &same), parts(&averaged, &z, &same));
    }
}
