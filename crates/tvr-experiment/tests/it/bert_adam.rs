//! P-C4-4: BertAdam against the published optimiser's own numbers.

use std::path::Path;

use burn::optim::{GradientsParams, ModuleOptimizer, Optimizer};
use burn::prelude::*;
use burn::tensor::DType;
use safetensors::SafeTensors;
use tvr_experiment::bert_adam::{BertAdam, BertAdamState, BertSchedule};

const NAMES: [&str; 5] = ["tower_weight", "tower_bias", "head_weight", "head_bias", "logit_scale"];
const CASES: [&str; 11] = [
    "cosine",
    "cosine_f64",
    "cosine_outer",
    "cosine_small_gradients",
    "cosine_no_clip",
    "constant",
    "linear",
    "linear_no_warmup",
    "no_schedule",
    "skipped",
    "default_b2",
];

fn golden() -> Option<Vec<u8>> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../../shared/data/golden/reference/bertadam.safetensors");
    match std::fs::read(&path) {
        Ok(bytes) => Some(bytes),
        Err(error) => {
            println!("skipped: the golden data is not there ({error})");
            None
        }
    }
}

fn values(file: &SafeTensors, name: &str) -> Vec<f64> {
    let view = file.tensor(name).unwrap();
    match view.dtype() {
        safetensors::Dtype::F64 => {
            view.data().chunks_exact(8).map(|b| f64::from_le_bytes(b.try_into().unwrap())).collect()
        }
        safetensors::Dtype::F32 => view
            .data()
            .chunks_exact(4)
            .map(|b| f64::from(f32::from_le_bytes(b.try_into().unwrap())))
            .collect(),
        safetensors::Dtype::I64 => {
            view.data().chunks_exact(8).map(|b| i64::from_le_bytes(b.try_into().unwrap()) as f64).collect()
        }
        other => panic!("{name}: {other:?}"),
    }
}

fn schedule(name: &str) -> BertSchedule {
    match name {
        "warmup_constant" => BertSchedule::WarmupConstant,
        "warmup_linear" => BertSchedule::WarmupLinear,
        "warmup_cosine" => BertSchedule::WarmupCosine,
        other => panic!("{other}"),
    }
}

/// Largest difference over steps and values of one case, relative to max(1, |expected|).
fn largest_difference(file: &SafeTensors, case: &str) -> f64 {
    let key = |leaf: &str| format!("bertadam.{case}.{leaf}");
    let settings = values(file, &key("settings"));
    let [rate, coefficient, warmup, total, beta_1, beta_2, epsilon, decay, limit, outer] =
        <[f64; 10]>::try_from(settings).unwrap();
    let present = values(file, &key("present"));
    let steps = present.len() / 5;
    let schedule = schedule(std::str::from_utf8(file.tensor(&key("schedule")).unwrap().data()).unwrap());
    let device = Device::flex();
    let wide = case == "cosine_f64";
    let dtype = if wide { DType::F64 } else { DType::F32 };
    let tensor = |values: &[f64]| {
        if wide {
            Tensor::<1>::from_data(TensorData::new(values.to_vec(), [values.len()]), (&device, dtype))
        } else {
            let narrow: Vec<f32> = values.iter().map(|&value| value as f32).collect();
            Tensor::<1>::from_data(TensorData::new(narrow, [values.len()]), (&device, dtype))
        }
    };
    // The global clip of CLIP4Clip's loop: one factor for all tensors of a step.
    let gradients: Vec<Vec<f64>> =
        NAMES.iter().map(|name| values(file, &key(&format!("{name}.gradients")))).collect();
    let outer_factor = |step: usize| {
        if outer <= 0.0 {
            return 1.0;
        }
        let squares: f64 = (0..5)
            .filter(|index| present[step * 5 + index] > 0.0)
            .flat_map(|index| {
                let size = gradients[index].len() / steps;
                gradients[index][step * size..(step + 1) * size].to_vec()
            })
            .map(|value| value * value)
            .sum();
        (outer / (squares.sqrt() + 1e-6)).min(1.0)
    };
    let mut worst = 0f64;
    for (index, name) in NAMES.iter().enumerate() {
        let tower = name.starts_with("tower") || *name == "logit_scale";
        let adam = BertAdam {
            learning_rate: if tower { rate * coefficient } else { rate },
            schedule,
            warmup,
            total: (total > 0.0).then_some(total),
            beta_1,
            beta_2,
            epsilon,
            weight_decay: if name.ends_with("bias") { 0.0 } else { decay },
            max_gradient_norm: (limit > 0.0).then_some(limit),
        };
        let expected = values(file, &key(&format!("{name}.values")));
        let size = expected.len() / (steps + 1);
        let mut value = tensor(&expected[..size]);
        let mut state: Option<BertAdamState<1>> = None;
        for step in 0..steps {
            if present[step * 5 + index] > 0.0 {
                let factor = outer_factor(step);
                let gradient: Vec<f64> = gradients[index][step * size..(step + 1) * size]
                    .iter()
                    .map(|value| value * factor)
                    .collect();
                (value, state) = adam.step(1.0, value, tensor(&gradient), state);
            }
            let found: Vec<f64> = value.clone().into_data().convert::<f64>().iter::<f64>().collect();
            for (found, expected) in found.iter().zip(&expected[(step + 1) * size..(step + 2) * size]) {
                worst = worst.max((found - expected).abs() / expected.abs().max(1.0));
            }
        }
        let taken = values(file, &key(&format!("{name}.steps")))[0] as usize;
        assert_eq!(state.map_or(0, |state| state.time), taken, "{case} {name}");
    }
    worst
}

#[test]
fn p_c4_4_bert_adam_reproduces_every_published_case() {
    let Some(bytes) = golden() else { return };
    let file = SafeTensors::deserialize(&bytes).unwrap();
    for case in CASES {
        // f64 to rounding; f32 to the rounding of 24 steps on values near 1.
        let tolerance = if case == "cosine_f64" { 1e-12 } else { 1e-6 };
        let worst = largest_difference(&file, case);
        assert!(worst <= tolerance, "{case}: {worst}");
    }
}

#[test]
fn p_c4_4_schedules_agree_on_the_grid() {
    let Some(bytes) = golden() else { return };
    let file = SafeTensors::deserialize(&bytes).unwrap();
    let progress = values(&file, "bertadam.schedules.progress");
    for name in ["warmup_constant", "warmup_cosine", "warmup_linear"] {
        for (leaf, warmup) in [("0_1", 0.1), ("0_25", 0.25), ("minus_1", -1.0)] {
            let expected = values(&file, &format!("bertadam.schedules.{name}.{leaf}"));
            for (x, expected) in progress.iter().zip(expected) {
                let found = schedule(name).factor(*x, warmup);
                assert!((found - expected).abs() < 1e-12, "{name} {leaf} at {x}: {found} {expected}");
            }
        }
    }
}

#[test]
fn p_c4_4_the_first_step_of_a_warm_up_moves_nothing() {
    let device = Device::flex();
    let adam = BertAdam {
        learning_rate: 1e-2,
        schedule: BertSchedule::WarmupCosine,
        warmup: 0.1,
        total: Some(20.0),
        beta_1: 0.9,
        beta_2: 0.98,
        epsilon: 1e-6,
        weight_decay: 0.2,
        max_gradient_norm: None,
    };
    let before = Tensor::<1>::from_data([1.0f32, -2.0], &device);
    let gradient = || Tensor::<1>::from_data([3.0f32, 0.5], &device);
    let (after, state) = adam.step(1.0, before.clone(), gradient(), None);
    assert_eq!(before.to_data(), after.to_data());
    let (moved, _) = adam.step(1.0, after.clone(), gradient(), state);
    assert_ne!(after.to_data(), moved.to_data());
}

#[test]
fn p_c4_4_scaling_all_gradients_changes_updates_little() {
    let device = Device::flex();
    let run = |scale: f32| {
        let adam = BertAdam {
            learning_rate: 1e-2,
            schedule: BertSchedule::WarmupConstant,
            warmup: 0.0,
            total: None,
            beta_1: 0.9,
            beta_2: 0.98,
            epsilon: 1e-6,
            weight_decay: 0.0,
            max_gradient_norm: None,
        };
        let mut value = Tensor::<1>::from_data([0.0f32, 0.0], &device);
        let mut state = None;
        for step in 0..5 {
            let gradient = Tensor::<1>::from_data([1.0 + step as f32, -2.0], &device).mul_scalar(scale);
            (value, state) = adam.step(1.0, value, gradient, state);
        }
        value.into_data().iter::<f64>().collect::<Vec<f64>>()
    };
    for (one, many) in run(1.0).iter().zip(run(64.0)) {
        assert!((one - many).abs() <= 1e-4 * one.abs(), "{one} {many}");
    }
}

#[test]
fn bert_adam_state_survives_its_record() {
    #[derive(Module, Debug)]
    struct One {
        weight: burn::module::Param<Tensor<1>>,
    }
    let device = Device::flex().autodiff();
    let adam = || BertAdam {
        learning_rate: 1e-2,
        schedule: BertSchedule::WarmupLinear,
        warmup: 0.1,
        total: Some(10.0),
        beta_1: 0.9,
        beta_2: 0.98,
        epsilon: 1e-6,
        weight_decay: 0.1,
        max_gradient_norm: Some(1.0),
    };
    let step = |module: One, optimizer: &mut ModuleOptimizer| {
        let loss = module.weight.val().square().sum();
        let gradients = GradientsParams::from_grads(loss.backward(), &module);
        optimizer.step(1.0, module, gradients)
    };
    let mut optimizer = ModuleOptimizer::from(adam());
    let mut module = One { weight: burn::module::Param::from_data([1.0f32, 2.0], &device) };
    for _ in 0..3 {
        module = step(module, &mut optimizer);
    }
    let bytes = optimizer.into_bytes().unwrap();
    let mut resumed = ModuleOptimizer::from(adam()).from_bytes(bytes).unwrap();
    let went_on = step(module.clone(), &mut optimizer);
    let resumed = step(module, &mut resumed);
    assert_eq!(went_on.weight.val().into_data(), resumed.weight.val().into_data());
}
