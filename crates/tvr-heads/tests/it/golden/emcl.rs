//! EMCL as its authors wrote it: `shared/data/golden/reference/emcl.safetensors`.

use burn::module::Param;
use burn::prelude::*;
use burn::tensor::DType;
use tvr_heads::emcl::{Average, Detach, Em, Inference, Init, Items, Mode, Scale, Scope, Start};
use tvr_heads::{
    Conditioned, ConditionedConfig, Emcl, EmclConfig, Head, PoolingMask, TextCodes, TextFeatures, Tile,
    VideoFeatures, score_all,
};
use tvr_nn::unit_rows;

use super::{Golden, open};
use crate::common::{assert_close, floats, largest_gap};
use crate::oracles::em::{distinct_columns, singular_values};

const FILE: &str = "emcl.safetensors";

/// `[K, T, momentum, sigma, beta]` of a case.
fn config(golden: &Golden, case: &str) -> EmclConfig {
    let settings = floats(&golden.tensor::<1>(&format!("emcl.{case}.settings")));
    EmclConfig {
        mode: Mode::Reference,
        bases: settings[0] as usize,
        iterations: settings[1] as usize,
        sigma: settings[3],
        weight: settings[4],
        residual: true,
        init: Init::Signs,
        detach: Detach::All,
        items: Items::Call,
        scale: Scale::Sum,
        momentum: settings[2],
        unit_input: false,
        epsilon: 1e-6,
        tile: 32,
    }
}

fn em(config: &EmclConfig) -> Em {
    config.layer().unwrap().em().clone()
}

/// A moving average that holds these values, a row per cosine.
fn average(config: &EmclConfig, values: Tensor<2>) -> Average {
    let mut average = config.at_inference(1, 0, &Device::flex()).unwrap().average().clone();
    average.values = Param::from_tensor(values).set_require_grad(false);
    average
}

fn row(values: Tensor<1>) -> Tensor<2> {
    values.unsqueeze_dim(0)
}

/// Step `index` of `[steps, rows, columns]`.
fn step(all: &Tensor<3>, index: usize) -> Vec<f64> {
    floats(&all.clone().slice_dim(0, index..index + 1))
}

/// Every inner value of every call of a case.
fn calls_agree(case: &str, calls: usize, tolerance: f64) {
    let Some(golden) = open(FILE) else { return };
    let config = config(&golden, case);
    let mut state = average(&config, row(golden.tensor(&format!("emcl.{case}.initial"))));
    for call in 0..calls {
        let key = |name: &str| format!("emcl.{case}.call{call}.{name}");
        let x = golden.tensor::<2>(&key("input"));
        assert_close(
            &floats(&state.values.val()),
            &floats(&golden.tensor::<1>(&key("initial_before"))),
            tolerance,
        );
        let start = Start::Average(row(golden.tensor(&key("start"))));
        for iteration in 0..config.iterations {
            let config = EmclConfig { iterations: iteration + 1, ..config.clone() };
            let (clusters, bases) = em(&config).direct(&x, &start);
            let close = |found: &Tensor<2>, name: &str| {
                assert_close(&floats(found), &step(&golden.tensor::<3>(&key(name)), iteration), tolerance);
            };
            close(&clusters.softmax, "softmax");
            close(&clusters.responsibilities, "responsibilities");
            close(&bases, "bases");
        }
        let (clusters, bases) = em(&config).direct(&x, &start);
        let reconstruction = floats(&golden.tensor::<2>(&key("reconstruction")));
        assert_close(&floats(&clusters.rebuild(bases)), &reconstruction, tolerance);
        let layer = config.layer().unwrap();
        // The residual is three to four times the reconstruction.
        let output = layer.of_call(x.clone(), &state.start(0));
        assert_close(&floats(&output), &floats(&golden.tensor::<2>(&key("output"))), 4.0 * tolerance);
        if golden.scalar(&key("train")) != 0.0 {
            state.update(vec![layer.mean_base(x, &state.start(0))]);
        }
        let after = golden.tensor::<1>(&key("initial_after"));
        assert_close(&floats(&state.values.val()), &floats(&after), tolerance);
    }
}

#[test]
fn emcl_has_every_inner_value_of_the_published_layer() {
    calls_agree("small", 3, 1e-6); // both sides f32
    calls_agree("small64", 3, 1e-13);
}

#[test]
fn emcl_agrees_under_the_published_training_settings() {
    calls_agree("train", 3, 2e-6); // f32, nine iterations
}

#[test]
fn emcl_agrees_under_the_published_inference_settings() {
    calls_agree("infer64", 1, 1e-8); // sigma 0.1 amplifies rounding by 1e6
}

#[test]
fn emcl_in_f32_keeps_its_invariants_under_the_published_inference_settings() {
    let Some(golden) = open(FILE) else { return };
    let config = config(&golden, "infer");
    let x = golden.tensor::<2>("emcl.infer.call0.input");
    let start = Start::Average(row(golden.tensor("emcl.infer.call0.start")));
    let (clusters, bases) = em(&config).direct(&x, &start);
    for sum in floats(&clusters.softmax.clone().sum_dim(1)) {
        assert!((sum - 1.0).abs() <= 1e-5);
    }
    for length in floats(&bases.clone().square().sum_dim(0).sqrt()) {
        assert!((length - 1.0).abs() <= 1e-4, "{length}");
    }
    assert!(floats(&clusters.rebuild(bases)).iter().all(|x| x.is_finite()));
}

#[test]
fn emcl_agrees_on_degenerate_inputs() {
    let Some(golden) = open(FILE) else { return };
    for case in ["one_base", "one_item", "zeros"] {
        let key = |name: &str| format!("emcl.{case}.{name}");
        let config = config(&golden, case);
        let x = golden.tensor::<2>(&key("input"));
        let start = Start::Average(row(golden.tensor(&key("initial"))));
        let (clusters, bases) = em(&config).direct(&x, &start);
        let close = |found: Vec<f64>, name: &str| {
            assert_close(&found, &floats(&golden.tensor::<2>(&key(name))), 2e-6);
        };
        close(floats(&clusters.responsibilities), "responsibilities");
        close(floats(&bases), "bases");
        close(floats(&clusters.rebuild(bases)), "reconstruction");
        close(floats(&config.layer().unwrap().of_call(x.clone(), &start)), "output");
        let mut state = average(&config, row(golden.tensor(&key("initial"))));
        state.update(vec![config.layer().unwrap().mean_base(x, &start)]);
        let after = golden.tensor::<1>(&key("initial_after"));
        let untouched = floats(&golden.tensor::<1>(&key("initial"))) == floats(&after);
        if !untouched {
            assert_close(&floats(&state.values.val()), &floats(&after), 2e-6);
        }
    }
}

/// Singular values of the reconstruction relative to the first, and the number of distinct bases, in the precision
/// of the input.
fn collapse(golden: &Golden, case: &str, start: Tensor<2>, dtype: DType) -> (Vec<f64>, usize) {
    // The files hold the defaults' settings with these inputs.
    let config = EmclConfig::reference();
    let x = golden.tensor::<2>(&format!("emcl.{case}.input")).cast(dtype);
    let (clusters, bases) = em(&config).direct(&x, &Start::Average(start.cast(dtype)));
    let matrix = |tensor: &Tensor<2>| {
        let [_, width] = tensor.dims();
        floats(tensor).chunks(width).map(<[f64]>::to_vec).collect::<Vec<_>>()
    };
    let values = singular_values(&matrix(&clusters.rebuild(bases.clone())));
    (values.iter().map(|value| value / values[0]).collect(), distinct_columns(&matrix(&bases)))
}

#[test]
fn p_em_11_fails_in_reference_mode_on_features_with_a_common_direction() {
    let Some(golden) = open(FILE) else { return };
    let signs = row(golden.tensor("emcl.collapse_mean.initial"));
    let (values, distinct) = collapse(&golden, "collapse_mean", signs.clone(), DType::F32);
    assert_eq!(distinct, 2);
    assert!(values[2] < 1e-6, "{values:?}");
    let published = floats(&golden.tensor::<1>("emcl.collapse_mean.singular_values"));
    assert!((values[1] - published[1] / published[0]).abs() <= 1e-5, "{} {published:?}", values[1]);
    let (bases, [_, k]) = (golden.tensor::<2>("emcl.collapse_mean.bases_gram"), [32, 32]);
    let x = golden.tensor::<2>("emcl.collapse_mean.input");
    let (_, found) = em(&EmclConfig::reference()).direct(&x, &Start::Average(signs));
    assert_close(&floats(&found.clone().transpose().matmul(found)), &floats(&bases), 2e-5);
    assert_eq!(bases.dims(), [k, k]);
}

#[test]
fn p_em_11_a_normal_start_keeps_bases_apart_on_the_same_features() {
    let Some(golden) = open(FILE) else { return };
    let mut draw = crate::common::Draw::new(1);
    let start: Vec<f64> = draw.normals(32).iter().map(|x| x * 0.25).collect(); // N(0, 2 / 32)
    let start = Tensor::<2>::from_data(TensorData::new(start, [1, 32]), (&Device::flex(), DType::F64));
    let (_, distinct) = collapse(&golden, "collapse_mean", start, DType::F64);
    assert!(distinct >= 3, "{distinct}");
}

#[test]
fn emcl_has_the_published_rank_on_normal_features() {
    let Some(golden) = open(FILE) else { return };
    let signs = row(golden.tensor("emcl.collapse_normal.initial"));
    let (values, _) = collapse(&golden, "collapse_normal", signs, DType::F32);
    let published = floats(&golden.tensor::<1>("emcl.collapse_normal.singular_values"));
    let published: Vec<f64> = published.iter().map(|value| value / published[0]).collect();
    // Bases part by growing rounding there, so only what stands out agrees.
    assert!((values[1] - published[1]).abs() <= 0.05, "{} {}", values[1], published[1]);
}

#[test]
fn p_em_11_the_published_start_is_signs() {
    let Some(golden) = open(FILE) else { return };
    for seed in 0..4 {
        let values = floats(&golden.tensor::<1>(&format!("emcl.fresh.seed{seed}")));
        assert!(values.iter().all(|value| (value.abs() - 1.0).abs() <= 1e-3));
    }
}

#[test]
fn p_em_global_fails_in_reference_mode_where_items_are_repeated() {
    let Some(golden) = open(FILE) else { return };
    let config = config(&golden, "repeat");
    let x = golden.tensor::<2>("emcl.repeat.input");
    let start = Start::Average(row(golden.tensor("emcl.repeat.initial")));
    let layer = config.layer().unwrap();
    let once = floats(&layer.of_call(x.clone(), &start));
    assert_close(&once, &floats(&golden.tensor::<2>("emcl.repeat.output")), 1e-5);
    let published = floats(&golden.tensor::<2>("emcl.repeat.output_of_two_copies"));
    let correction =
        |output: &[f64]| output.iter().zip(floats(&x)).map(|(a, b)| (a - b).powi(2)).sum::<f64>().sqrt();
    let [items, width] = x.dims();
    // The copies' order is not recorded, so both are tried; rows are comparable either way.
    let twice = layer.of_call(Tensor::cat(vec![x.clone(), x.clone()], 0), &start);
    let twice = floats(&twice.slice_dim(0, 0..items));
    assert_close(&twice, &published[..items * width], 1e-5);
    let ratio = correction(&twice) / correction(&once);
    assert!((ratio - 0.736).abs() < 1e-3, "{ratio}");
}

fn inference(golden: &Golden, case: &str) -> Inference {
    let config = config(golden, case);
    let initial = row(golden.tensor(&format!("emcl.{case}.initial")));
    let inference = config.at_inference(32, 0, &Device::flex()).unwrap();
    inference.with_average(average(&config, initial))
}

#[test]
fn p_em_7_fails_in_reference_mode_exactly_as_published() {
    let Some(golden) = open(FILE) else { return };
    let (texts, videos) = (golden.tensor::<2>("emcl.tile.texts"), golden.tensor::<2>("emcl.tile.videos"));
    let scale = golden.scalar("emcl.tile.scale");
    let inference = inference(&golden, "tile");
    let raw = floats(&(texts.clone().matmul(videos.clone().transpose()) * scale));
    assert_close(&raw, &floats(&golden.tensor::<2>("emcl.tile.similarity_raw")), 1e-10);
    let mut tops = Vec::new();
    for size in [24, 12, 8, 7, 1] {
        let tile = Tile { texts: size, videos: size };
        let found = floats(&(inference.products(&texts, &videos, Scope::Tiles(tile)).unwrap() * scale));
        let expected = floats(&golden.tensor::<2>(&format!("emcl.tile.similarity_{size}")));
        for (a, b) in found.iter().zip(&expected) {
            assert!((a - b).abs() <= 1e-6 * b.abs().max(1.0), "tile {size}: {a} is not {b}");
        }
        let top = |row: &[f64]| (0..24).max_by(|&a, &b| row[a].total_cmp(&row[b])).unwrap();
        tops.push((found.clone(), found.chunks(24).map(top).collect::<Vec<_>>()));
    }
    let largest = largest_gap(&tops[0].0, &tops[1].0);
    assert!(largest > 1.0, "{largest}");
    assert_ne!(tops[0].1, tops[1].1);
    // With sums, global is the reference called once on everything.
    let global = inference.products(&texts, &videos, Scope::Everything).unwrap() * scale;
    for (a, b) in floats(&global).iter().zip(&tops[0].0) {
        assert!((a - b).abs() <= 1e-6 * b.abs().max(1.0), "{a} is not {b}");
    }
}

#[test]
fn emcl_has_the_published_output_of_one_tile() {
    let Some(golden) = open(FILE) else { return };
    let config = config(&golden, "tile");
    let items = vec![golden.tensor::<2>("emcl.tile.videos"), golden.tensor::<2>("emcl.tile.texts")];
    let start = Start::Average(row(golden.tensor("emcl.tile.initial")));
    let output = config.layer().unwrap().of_call(Tensor::cat(items, 0), &start);
    assert_close(&floats(&output), &floats(&golden.tensor::<2>("emcl.tile.output_24")), 1e-8);
}

/// EMCL-Net behind its temporal transformer, and its features.
fn net(golden: &Golden, case: &str) -> (Emcl<Conditioned>, TextFeatures, VideoFeatures) {
    let device = Device::flex();
    let key = |name: &str| format!("emcl.{case}.{name}");
    let head = ConditionedConfig {
        temperature: golden.scalar(&key("temp")),
        mask: PoolingMask::After,
        adapter: None,
        temporal: None,
    };
    let mut head = EmclConfig::reference().init(head.init(32, &device).unwrap(), 32, &device).unwrap();
    head.average = average(&EmclConfig::reference(), row(golden.tensor(&key("initial_before"))));
    let mask = golden.tensor::<2>(&key("mask")).greater_elem(0.5);
    let videos = VideoFeatures::new(golden.tensor(&key("frames")), mask);
    (head, TextFeatures::pooled(golden.tensor(&key("texts"))), videos)
}

#[test]
fn emcl_around_conditioned_is_the_published_emcl_net() {
    let Some(golden) = open(FILE) else { return };
    for (case, tolerance) in [("net_train", 1e-12), ("net_train32", 2e-6), ("net_eval", 1e-12)] {
        let (mut head, texts, videos) = net(&golden, case);
        let (texts, videos): (TextCodes, _) = (head.code_texts(texts), head.code_videos(videos));
        let found = head.similarity(&texts, &videos).fused;
        assert_close(
            &floats(&found),
            &floats(&golden.tensor::<2>(&format!("emcl.{case}.cosine"))),
            tolerance,
        );
        if case == "net_eval" {
            for size in [3, 4] {
                let tile = Tile { texts: size, videos: size };
                let found = score_all(&head, &texts, &videos, tile).unwrap();
                let expected = golden.tensor::<2>(&format!("emcl.net_eval.cosine_tile_{size}"));
                assert_close(&floats(&found), &floats(&expected), tolerance);
            }
        } else {
            head.after_step(&texts, &videos);
            let after = golden.tensor::<1>(&format!("emcl.{case}.initial_after"));
            assert_close(&floats(&head.average.values.val()), &floats(&after), tolerance);
        }
    }
}

#[test]
fn emcl_per_expert_is_the_published_training_layer() {
    let Some(golden) = open(FILE) else { return };
    let config = config(&golden, "experts");
    let layer = config.layer().unwrap();
    let first = golden.tensor::<2>("emcl.experts.call0.initial_before");
    // What `init = "unit"` draws: bases of unit length over the experts.
    assert_close(&floats(&first.clone().square().sum_dim(0)), &[1.0; 64][..config.bases], 1e-5);
    let mut state = average(&config, first);
    for call in 0..2 {
        let key = |name: &str| format!("emcl.experts.call{call}.{name}");
        let before = floats(&golden.tensor::<2>(&key("initial_before")));
        assert_close(&floats(&state.values.val()), &before, 1e-6);
        let (x, expected) = (golden.tensor::<3>(&key("input")), golden.tensor::<3>(&key("output")));
        let [experts, items, width] = x.dims();
        let mut means = Vec::new();
        for expert in 0..experts {
            let rows = x.clone().slice_dim(0, expert..expert + 1).reshape([items, width]);
            let output = unit_rows(layer.of_call(rows.clone(), &state.start(expert)));
            assert_close(&floats(&output), &step(&expected, expert), 1e-6);
            means.push(layer.mean_base(rows, &state.start(expert)));
        }
        let after = floats(&golden.tensor::<2>(&key("initial_after")));
        if after != before {
            state.update(means);
        }
        assert_close(&floats(&state.values.val()), &after, 1e-6);
    }
}

#[test]
fn emcl_passes_the_published_gradient() {
    let Some(golden) = open(FILE) else { return };
    let x = Tensor::from_inner(golden.tensor::<2>("emcl.gradient.input")).require_grad();
    let weight = golden.tensor::<2>("emcl.gradient.weight");
    let config = EmclConfig { bases: 4, iterations: 3, ..EmclConfig::reference() };
    let start = Start::Average(Tensor::<2>::from_data([[1.0, -1.0, 0.5, 2.0]], &Device::flex()));
    let out = config.layer().unwrap().of_call(x.clone(), &start);
    let gradients = (out * Tensor::from_inner(weight.clone())).sum().backward();
    let found = floats(&x.grad(&gradients).unwrap());
    assert_eq!(found, floats(&weight));
    assert_eq!(found, floats(&golden.tensor::<2>("emcl.gradient.gradient")));
}
