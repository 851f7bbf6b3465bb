//! The feature-expert host against MMT's and CE's own functions.

use burn::module::Param;
use burn::nn::Linear;
use burn::prelude::*;
use tvr_heads::experts::MissingExpert;
use tvr_heads::experts::gated::GatedUnit;
use tvr_heads::{ExpertsConfig, Head, TextCodes, VideoCodes};

use super::{Golden, open};
use crate::common::{ToF64, assert_close, expert_inputs, floats};

/// The published functions take experts in the order of their names.
const NAMES: [&str; 3] = ["appearance", "audio", "motion"];

fn similarity(golden: &Golden, available: &str, missing: MissingExpert) -> Vec<f64> {
    let stacked = |side: &str| -> Tensor<3> {
        Tensor::stack(NAMES.map(|name| golden.tensor::<2>(&format!("experts.{side}.{name}"))).to_vec(), 1)
    };
    let config = ExpertsConfig { frames: true, missing, ..ExpertsConfig::ours(expert_inputs()) };
    let head = config.init(8, &Device::flex()).unwrap();
    let (texts, videos) = (stacked("text"), stacked("video"));
    let [n_texts, experts, width] = texts.dims();
    let all = Tensor::<2, Int>::ones([n_texts, experts], &Device::flex()).bool();
    let first = |x: &Tensor<3>| x.clone().slice_dim(1, 0..1).reshape([n_texts, width]);
    let weights = golden.tensor::<2>("experts.text_weights");
    let weights = if missing == MissingExpert::Equal { weights.ones_like() } else { weights };
    let codes = TextCodes::new(first(&texts)).with_sequence(texts, all).with_extra("weights", weights);
    let present = golden.tensor::<2>(available).greater_elem(0.5);
    let videos = VideoCodes::new(first(&videos)).with_sequence(videos, present);
    floats(&head.similarity(&codes, &videos).fused)
}

#[test]
fn the_similarity_is_mmt_s_and_ce_s() {
    let Some(golden) = open("experts.safetensors") else { return };
    let expected = |key: &str| floats(&golden.tensor::<2>(key));
    // Both accumulate in f32.
    let found = similarity(&golden, "experts.available", MissingExpert::Drop);
    assert_close(&found, &expected("experts.mmt.sims"), 1e-6);
    assert_close(&found, &expected("experts.ce.sims"), 1e-6);
    // A video without any expert, which the data never hands on, has similarity 0 there.
    let found = similarity(&golden, "experts.mmt.available_none_row4", MissingExpert::Drop);
    assert_close(&found, &expected("experts.mmt.sims_none_row4"), 1e-6);
    // CE's keep_missing_modalities: the sum over experts, ours is their mean.
    let found = similarity(&golden, "experts.available", MissingExpert::Equal);
    let sums: Vec<f64> = found.iter().map(|mean| 3.0 * mean).collect();
    assert_close(&sums, &expected("experts.ce.sims_keep_missing"), 1e-6);
}

fn layer(golden: &Golden, key: &str) -> Linear {
    Linear {
        weight: Param::from_tensor(golden.tensor::<2>(&format!("{key}.weight")).transpose()),
        bias: Some(Param::from_tensor(golden.tensor(&format!("{key}.bias")))),
    }
}

#[test]
fn the_gated_unit_is_mmt_s() {
    let Some(golden) = open("experts.safetensors") else { return };
    let unit = |key: &str| GatedUnit {
        project: layer(&golden, &format!("experts.geu.{key}.fc")),
        gate: layer(&golden, &format!("experts.geu.{key}.cg.fc")),
        norm: None,
    };
    let check = |key: &str, unit: GatedUnit| {
        let found = unit.map(&mut ToF64).forward(golden.tensor(&format!("experts.geu.{key}.input")));
        assert_close(
            &floats(&found),
            &floats(&golden.tensor::<2>(&format!("experts.geu.{key}.output"))),
            1e-10,
        );
    };
    check("plain", unit("plain"));
    // A batch norm in evaluation is a linear map: folded into the gate it needs no norm.
    let norm = |part: &str| golden.tensor::<1>(&format!("experts.geu.bn.cg.batch_norm.{part}"));
    let factor = norm("weight") / (norm("running_var") + 1e-5).sqrt();
    let mut folded = unit("bn");
    let bias = folded.gate.bias.as_ref().unwrap().val();
    folded.gate.weight = Param::from_tensor(folded.gate.weight.val() * factor.clone().unsqueeze::<2>());
    folded.gate.bias = Some(Param::from_tensor((bias - norm("running_mean")) * factor + norm("bias")));
    check("bn", folded);
}
