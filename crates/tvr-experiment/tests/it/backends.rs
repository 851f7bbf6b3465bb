//! The backends beside flex that are compiled in: they open or say why not, and they compute what flex computes.

use std::path::Path;
use std::sync::atomic::AtomicBool;

use burn::module::{Module, ModuleMapper, Param};
use burn::prelude::*;
use burn::tensor::DType;
use tvr_experiment::collective::Single;
use tvr_experiment::model::Model;
use tvr_experiment::recipe::{HeadKind, HeadRecipe, ObjectiveRecipe};
use tvr_experiment::step::{Batch, Way, after_step, gradients};
use tvr_experiment::{ExperimentError, Own, Plan, Recipe, Surroundings, device, experiment, plan};
use tvr_nn::{attention, biased_log_sum_exp, gelu, log_sum_exp, quick_gelu};

use crate::mixing::{Encoder, heads, objectives, reason};
use crate::run::{RECIPE, features, generator};
use crate::step::flat;

#[path = "../../src/device/guard.rs"]
mod guard;

/// Names of devices whose feature is compiled in.
fn compiled<'a>(names: &[(&str, &'a str)]) -> Vec<&'a str> {
    let features = device::features();
    names.iter().filter(|(feature, _)| features.contains(feature)).map(|&(_, name)| name).collect()
}

/// The devices beside flex that open here.
fn opened() -> Vec<(&'static str, Device)> {
    let names =
        compiled(&[("cuda", "cuda:0"), ("vulkan", "vulkan:0"), ("tch", "tch:cpu"), ("tch", "tch:cuda:0")]);
    let mut opened = Vec::new();
    for name in names {
        match device::open(name) {
            Ok(device) => opened.push((name, device)),
            Err(reason) => println!("skipped: {reason}"),
        }
    }
    if opened.is_empty() {
        println!("skipped: no backend beside flex is compiled in and opens here");
    }
    opened
}

#[test]
fn a_device_that_is_not_there_is_one_sentence() {
    for name in compiled(&[("cuda", "cuda:4000"), ("vulkan", "vulkan:4000"), ("tch", "tch:cuda:4000")]) {
        for names in [name.to_string(), name.replace("4000", "4000-4001"), format!("flex,{name}")] {
            let error = device::open_all(&names).unwrap_err();
            let said = error.to_string();
            let known =
                ["none is found here", "only one is found here", "are found here; the number must be below"];
            assert!(said.starts_with(&format!("device {name}: ")), "{said}");
            assert!(known.iter().any(|word| said.contains(word)), "{said}");
            assert_eq!((said.lines().count(), error.exit_code()), (1, 1), "{said}");
        }
    }
}

#[test]
fn the_processor_of_libtorch_opens_and_has_one_name_in_a_list() {
    for name in compiled(&[("tch", "tch"), ("tch", "tch:cpu")]) {
        device::open(name).unwrap();
    }
    // Names are compared before any device is opened: this needs no feature.
    let error = device::open_all("tch,tch:cpu").unwrap_err();
    assert!(error.to_string().starts_with("device tch:cpu is named twice"), "{error}");
}

#[test]
fn a_panic_of_any_thread_becomes_its_reason() {
    // The hook of panics belongs to the whole process.
    let _alone = generator();
    assert_eq!(guard::run(|| 3), Ok(3));
    let lost = || std::thread::spawn(|| panic!("no driver\nand a stack trace")).join().unwrap();
    assert_eq!(guard::run(lost), Err::<(), _>("no driver".into()));
    // As libtorch says it, by way of an `unwrap`.
    let unwrapped = || Err::<(), _>("no driver\nframe #0").unwrap();
    assert_eq!(guard::run(unwrapped), Err("no driver".into()));
    assert_eq!(guard::run(|| std::panic::panic_any(3)), Err::<(), _>("it gave no reason".into()));
    // Within work that is guarded as a whole.
    let (inner, first) =
        guard::around(|| (guard::run(|| panic!("no such card")), std::thread::spawn(lost).join()));
    assert_eq!(inner.map(|(inner, _)| inner), Some(Err::<(), _>("no such card".into())));
    assert_eq!(first, Some("no driver".into()), "a thread's own");
    assert_eq!(guard::around(lost), (None, Some("no driver".into())));
    assert_eq!(guard::around(|| 3), (Some(3), None));
}

#[test]
fn a_device_that_fails_in_the_middle_is_one_sentence_and_the_processor_s_panic_stays() {
    let _alone = generator();
    let lost = || -> Result<(), ExperimentError> { panic!("out of memory\nframe #0") };
    let error = device::guarded("cuda:0-1", lost).unwrap_err();
    assert_eq!(error.exit_code(), 1);
    assert!(
        error
            .to_string()
            .starts_with("device cuda:0-1: it failed in the middle of the work: out of memory; "),
        "{error}"
    );
    // A rank only learns that nobody answers; the device's own thread knows why.
    let rank = || -> Result<(), ExperimentError> {
        let _ = std::thread::spawn(|| panic!("illegal access\nframe #0")).join();
        Err(ExperimentError::work("rank 1 of 2: it broke off: nobody answers"))
    };
    let error = device::guarded("cuda:0-1", rank).unwrap_err().to_string();
    let expected = "rank 1 of 2: it broke off: nobody answers; before that device cuda:0-1 said: illegal access; whatever is";
    assert!(error.starts_with(expected), "{error}");
    let itself = || -> Result<(), ExperimentError> {
        let cause = std::thread::spawn(|| panic!("out of memory\nframe #0")).join().unwrap_err();
        drop(cause);
        Err(ExperimentError::work("rank 1 of 2: it broke off: out of memory"))
    };
    let error = device::guarded("cuda:0-1", itself).unwrap_err().to_string();
    assert!(error.starts_with("rank 1 of 2: it broke off: out of memory; whatever is"), "{error}");
    let refused = || -> Result<(), ExperimentError> { Err(ExperimentError::request("no")) };
    assert_eq!(device::guarded("cuda", refused).unwrap_err().to_string(), "no");
    assert_eq!(device::guarded("cuda", || Ok(3)).unwrap(), 3);
    for names in ["flex", "flex:3"] {
        assert!(std::panic::catch_unwind(|| device::guarded(names, lost)).is_err());
    }
}

/// Numbers in −4..4.
fn numbers<const D: usize>(shape: [usize; D], turn: f64) -> TensorData {
    let count: usize = shape.iter().product();
    TensorData::new((0..count).map(|index| 4.0 * (turn * index as f64 + turn).sin()).collect(), shape)
}

fn largest(values: &[f64]) -> f64 {
    values.iter().fold(0.0, |most, value| most.max(value.abs()))
}

fn apart(found: &[f64], expected: &[f64]) -> f64 {
    assert_eq!(found.len(), expected.len());
    let gaps = found.iter().zip(expected).map(|(a, b)| (a - b).abs());
    gaps.fold(0.0, |most: f64, gap| if gap <= most { most } else { gap }) // NaN is the largest
}

/// Largest difference over the largest expected entry (at least 1).
fn error(found: &[f64], expected: &[f64]) -> f64 {
    apart(found, expected) / largest(expected).max(1.0)
}

/// How far, in parts, a factor of a product of f32 may be rounded on a device: CubeCL's go through a card's TF32 units,
/// whose mantissa has ten bits.
fn rounding(device: &str) -> f64 {
    if device.starts_with("cuda") { 2f64.powi(-11) } else { 1e-6 }
}

/// Values and gradients of everything that has a kernel of its own on flex.
fn kernels(device: &Device, dtype: DType) -> Vec<(&'static str, Vec<f64>)> {
    fn tensor<const D: usize>(data: TensorData, device: &Device, dtype: DType) -> Tensor<D> {
        Tensor::from_inner(Tensor::from_data(data, (device, dtype))).require_grad()
    }
    fn flat<const D: usize>(tensors: &[Tensor<D>]) -> Vec<f64> {
        tensors.iter().flat_map(|x| x.clone().into_data().iter::<f64>().collect::<Vec<f64>>()).collect()
    }
    let mut found = Vec::new();
    for (name, f) in [("quick_gelu", quick_gelu::<2> as fn(Tensor<2>) -> Tensor<2>), ("gelu", gelu::<2>)] {
        let x = tensor(numbers([3, 50], 0.7), device, dtype);
        let y = f(x.clone());
        let gradients = (y.clone() * tensor(numbers([3, 50], 1.9), device, dtype).detach()).sum().backward();
        found.push((name, flat(&[y.inner(), x.grad(&gradients).unwrap()])));
    }
    for (name, causal, masked) in
        [("attention", false, false), ("causal attention", true, false), ("masked attention", false, true)]
    {
        let [q, k, v] = [0.3, 1.1, 2.3].map(|turn| tensor(numbers([3, 2, 7, 4], turn), device, dtype));
        // The last item sees nothing.
        let mask =
            TensorData::new((0..21).map(|key| key < 14 && key % 3 != 1).collect::<Vec<bool>>(), [3, 7]);
        let mask = masked.then(|| Tensor::<2, Bool>::from_data(mask, device));
        let y = attention(q.clone(), k.clone(), v.clone(), 0.35, causal, mask);
        let upstream = tensor(numbers([3, 2, 7, 4], 1.9), device, dtype).detach();
        let gradients = (y.clone() * upstream).sum().backward();
        let [q, k, v] = [q, k, v].map(|x| x.grad(&gradients).unwrap());
        found.push((name, flat(&[y.inner(), q, k, v])));
    }
    for (name, dim) in [("log_sum_exp down", 0), ("log_sum_exp across", 1)] {
        let bias = if dim == 1 { [1, 9] } else { [6, 1] };
        let out = if dim == 1 { [6, 1] } else { [1, 9] };
        let x = tensor::<2>(numbers([6, 9], 0.7), device, dtype);
        let bias = tensor::<2>(numbers(bias, 1.3), device, dtype);
        let y = biased_log_sum_exp(x.clone(), bias.clone(), dim) + log_sum_exp(x.clone(), dim);
        let gradients = (y.clone() * tensor(numbers(out, 1.9), device, dtype).detach()).sum().backward();
        found.push((name, flat(&[y.inner(), x.grad(&gradients).unwrap(), bias.grad(&gradients).unwrap()])));
    }
    found
}

#[test]
fn what_has_a_kernel_on_flex_takes_plain_operations_elsewhere_and_agrees() {
    let expected = kernels(&Device::flex(), DType::F64);
    for (name, device) in std::iter::once(("flex", Device::flex())).chain(opened()) {
        for ((what, found), (_, expected)) in kernels(&device, DType::F32).iter().zip(&expected) {
            let error = error(found, expected);
            // Only attention takes products.
            let may = if what.contains("attention") { 5.0 * rounding(name) } else { 5e-6 };
            println!("{name}, {what}: {error:.1e} off");
            assert!(error < may, "{name}, {what}: {error} off");
        }
    }
}

/// Multiplies every parameter.
struct Nudge(f64);

impl ModuleMapper for Nudge {
    fn map_float<const D: usize>(&mut self, parameter: Param<Tensor<D>>) -> Param<Tensor<D>> {
        let by = self.0;
        parameter.map(|values| Tensor::from_inner(values.inner() * by).require_grad())
    }
}

/// Loss and gradient of the second of two steps: queues and averages have seen the first.
fn second_step(
    head: &HeadRecipe,
    objective: &ObjectiveRecipe,
    encoder: Encoder,
    nudge: f64,
    device: &Device,
) -> (f64, Vec<f64>) {
    // Drawn on flex: another backend draws other numbers.
    let (flex, corpus, offer) = (Device::flex().autodiff(), encoder.corpus(), encoder.offer());
    flex.seed(3);
    let (text, video) = encoder.encoders(&flex);
    let (head, objective) = (head.init(&offer, &flex).unwrap(), objective.init(&offer, &flex).unwrap());
    let model = Model { text, video, head, objective, logit_scale: Param::from_data([2.0f32], &flex) };
    tvr_nn::touch(&model);
    let mut model = model.map(&mut Nudge(nudge)).fork(&device.clone().autodiff());
    let [first, second] = [0, 4].map(|first| Batch {
        texts: [0, 3, 4, 7].map(|text| 2 * first + text).to_vec(),
        videos: (first..first + 4).collect(),
        text_video: vec![0, 1, 2, 3],
        shuffle: None,
    });
    // Chunks of three and one.
    let way = |random| Way { ranks: &Single, chunk: 3, device, random, draws: false };
    let (_, _, seen) = gradients(&model, &corpus, &first, &way(5)).unwrap();
    after_step(&mut model, &seen);
    let (found, judged, _) = gradients(&model, &corpus, &second, &way(6)).unwrap();
    (judged.loss, flat(&model, &found).into_iter().map(f64::from).collect())
}

#[test]
fn every_head_and_objective_has_the_gradient_of_flex() {
    let devices = opened();
    if devices.is_empty() {
        return;
    }
    let _alone = generator();
    let (mut compared, mut wrong) = (0, Vec::new());
    let (symmetric, pooling) = (objectives().remove(0), heads().remove(0));
    let mut pairs: Vec<(HeadRecipe, ObjectiveRecipe)> =
        heads().into_iter().map(|head| (head, symmetric.clone())).collect();
    for objective in objectives() {
        let camoe = matches!(objective, ObjectiveRecipe::Streams(_));
        let head = heads().into_iter().find(|head| camoe && matches!(head.kind, HeadKind::Camoe(_)));
        pairs.push((head.unwrap_or_else(|| pooling.clone()), objective));
    }
    for encoder in [Encoder::Words, Encoder::World, Encoder::Projection] {
        for (head, objective) in &mut pairs {
            // Another backend draws other numbers.
            match &mut head.kind {
                HeadKind::TightTransf(config) => config.dropout = 0.0,
                HeadKind::XPool(config) => config.dropout = 0.0,
                _ => {}
            }
            if reason(encoder, head, objective).is_some() {
                continue;
            }
            let here = |nudge| second_step(head, objective, encoder, nudge, &Device::flex());
            let (loss, expected) = here(1.0);
            let largest = largest(&expected);
            assert!(largest > 1e-4, "{encoder:?}, {head:?}, {objective:?}: the gradient is nothing");
            for (device_name, device) in &devices {
                // Nine rounds of EMCL magnify rounding: what weights that differ by a rounding change on flex, another
                // backend may change as well.
                let by = rounding(device_name);
                let (nudged_loss, nudged) = here(1.0 + by);
                let loss_may = 10.0 * by * loss.abs().max(1.0) + (loss - nudged_loss).abs();
                let may = 20.0 * by * largest + apart(&nudged, &expected);
                let name = format!("{device_name}, {encoder:?}, {head:?}, {objective:?}");
                let (found_loss, found) = second_step(head, objective, encoder, 1.0, device);
                let difference = apart(&found, &expected);
                let (of_loss, of_gradient) = ((loss - found_loss).abs() / loss_may, difference / may);
                println!("{name}: {of_loss:.3} and {of_gradient:.3} of what loss and gradient may differ");
                if !(of_loss <= 1.0 && of_gradient <= 1.0) {
                    wrong.push(format!(
                        "{name}: losses {loss} {found_loss}, gradients {difference} of {largest}"
                    ));
                }
                compared += 1;
            }
        }
    }
    println!("{compared} gradients compared");
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

fn planned(folder: &Path, device: &str) -> Plan {
    let mut recipe = Recipe::parse(&RECIPE.replace("DATA", folder.join("data").to_str().unwrap())).unwrap();
    recipe.seeds = vec![3];
    recipe.train.epochs = 30;
    let surroundings =
        Surroundings { runs: folder.join("runs"), cache: folder.join("cache"), device: device.into() };
    plan(&recipe, Path::new("small.toml"), &surroundings).unwrap()
}

#[test]
fn training_finds_the_pairs_and_flex_judges_the_run_alike() {
    for (name, _) in opened() {
        let _alone = generator();
        let folder = tempfile::tempdir().unwrap();
        features(&folder.path().join("data"));
        let never = AtomicBool::new(false);
        let there = planned(folder.path(), name);
        let opened = experiment::open(&there, &never, &mut |_| ()).unwrap();
        let outcome =
            experiment::run(&there, &opened, &Own::built_in(), 3, false, &never, &mut |_| ()).unwrap();
        let recall = outcome.record.metric("raw.text_to_video.R@1").unwrap();
        assert!(recall >= 75.0, "{name}: chance is 12.5, found {recall}");

        let here = planned(folder.path(), "flex");
        let opened = experiment::open(&here, &never, &mut |_| ()).unwrap();
        let judged = experiment::judge_again(&here, &opened, &Own::built_in(), 3, false).unwrap();
        let again = tvr_experiment::record::RowRecord::of(&judged.rows[0]);
        let ranks = |row| {
            let row = serde_json::to_value::<&tvr_experiment::record::RowRecord>(row).unwrap();
            (row["text_to_video"].clone(), row["video_to_text"].clone())
        };
        assert_eq!(ranks(&again), ranks(&outcome.record.test[0]), "{name}");
    }
}
