//! CAMoE's aggregators, gate and fusion against the separate oracle (numpy, f64).

use burn::module::Param;
use burn::nn::Linear;
use burn::prelude::*;
use burn::tensor::DType;
use tvr_heads::camoe::Missing;
use tvr_heads::camoe::aggregators::{
    Aggregator, AggregatorConfig, Excites, SelfAttentionConfig, SqueezeExciteConfig,
};
use tvr_heads::{CamoeConfig, Head, TextCodes, VideoCodes};

use super::{Golden, open};
use crate::common::{ToF64, assert_close, floats};

/// The oracle keeps weights as burn does, `[inputs, outputs]`.
fn plain(golden: &Golden, name: &str) -> Linear {
    let weight = golden.tensor(&format!("oracle.camoe.w.{name}"));
    Linear { weight: Param::from_tensor(weight), bias: None }
}

fn config() -> CamoeConfig {
    let (reduction, over) = (2, Excites::Frames);
    CamoeConfig {
        entity: Some(AggregatorConfig::Mean {}),
        action: Some(AggregatorConfig::SelfAttention(SelfAttentionConfig { heads: 1, max_frames: None })),
        scene: Some(AggregatorConfig::SqueezeExcite(SqueezeExciteConfig { reduction, over })),
        fusion: AggregatorConfig::Mean {},
        missing: Missing::Drop,
        adapter: None,
    }
}

#[test]
fn aggregators_and_gate_are_the_oracle_s() {
    let Some(golden) = open("oracle-b.safetensors") else { return };
    let frames = golden.tensor::<3>("oracle.camoe.frames");
    let mask = golden.tensor::<2>("oracle.camoe.mask").greater_elem(0.5);
    let mut head = config().init(8, &Device::flex()).unwrap().map(&mut ToF64);
    if let Aggregator::SelfAttention(layer) = &mut head.experts[1] {
        (layer.query, layer.key, layer.value) =
            (plain(&golden, "q"), plain(&golden, "k"), plain(&golden, "v"));
    }
    if let Aggregator::SqueezeExcite(layer) = &mut head.experts[2] {
        (layer.squeeze, layer.excite) = (plain(&golden, "se1"), plain(&golden, "se2"));
    }
    head.gate.layer.weight = Param::from_tensor(golden.tensor("oracle.camoe.w.gate"));
    for (expert, key) in [(0, "mean"), (1, "self_attention"), (2, "squeeze_excite")] {
        let found = head.experts[expert].forward(frames.clone(), mask.clone());
        assert_close(&floats(&found), &floats(&golden.tensor::<2>(&format!("oracle.camoe.{key}"))), 1e-10);
    }
    let gate = head.gate.forward(tvr_nn::masked_mean(frames, mask));
    assert_close(&floats(&gate), &floats(&golden.tensor::<2>("oracle.camoe.gate")), 1e-10);
}

#[test]
fn the_fused_similarity_is_the_oracle_s() {
    let Some(golden) = open("oracle-b.safetensors") else { return };
    let sims = golden.tensor::<3>("oracle.camoe.stream_sims"); // [streams, texts, videos]
    let [streams, texts, videos] = sims.dims();
    let available = golden.tensor::<2>("oracle.camoe.available").greater_elem(0.5);
    let head = config().init(8, &Device::flex()).unwrap();
    // Codes whose products are the given similarities: a text's vectors are its rows, a video's are axes.
    let rows = sims.clone().permute([1, 0, 2]);
    let axes = Tensor::<2>::eye(videos, &Device::flex()).cast(DType::F64);
    let axes = axes.unsqueeze_dim::<3>(1).expand([videos, streams, videos]);
    let real = Tensor::<2, Int>::ones([videos, streams], &Device::flex()).bool();
    let pooled = |items| Tensor::<2>::zeros([items, videos], (&Device::flex(), DType::F64));
    let texts = TextCodes::new(pooled(texts)).with_sequence(rows, available);
    let videos = VideoCodes::new(pooled(videos))
        .with_sequence(axes, real)
        .with_extra("gate", golden.tensor("oracle.camoe.gate"));
    let similarity = head.similarity(&texts, &videos);
    assert_close(&floats(&similarity.fused), &floats(&golden.tensor::<2>("oracle.camoe.fused")), 1e-10);
    for (place, stream) in similarity.streams.iter().enumerate() {
        let expected = sims.clone().slice_dim(0, place..place + 1);
        assert_close(&floats(&stream.similarity), &floats(&expected), 0.0);
    }
}
