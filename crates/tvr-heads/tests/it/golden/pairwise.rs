//! X-Pool, its baselines, and DRL's token-wise interaction: `heads.xpool*`, `heads.frame_pooling.*`, `heads.wti.*`.

use burn::prelude::*;
use tvr_heads::{
    Conditioned, ConditionedConfig, Head, MeanPoolingConfig, PoolingMask, TextFeatures, TokenMask, TokenWise,
    TokenWiseConfig, Tokens, VideoFeatures, XPoolConfig,
};

use super::{Golden, linear, load_norm, open};
use crate::common::{assert_close, floats, scores};

const FILE: &str = "heads.safetensors";

fn layer(golden: &Golden, key: &str) -> burn::nn::Linear {
    linear(golden.tensor(&format!("{key}.weight")), golden.tensor(&format!("{key}.bias")))
}

/// The shared texts and frames; X-Pool has no mask, so all frames are real.
fn unmasked(golden: &Golden) -> (TextFeatures, VideoFeatures) {
    let texts = TextFeatures::pooled(golden.tensor("heads.common.texts"));
    (texts, VideoFeatures::unmasked(golden.tensor("heads.common.frames")))
}

#[test]
fn xpool_is_the_published_x_pool() {
    let Some(golden) = open(FILE) else { return };
    for case in ["xpool", "xpool_two_heads", "xpool_initial"] {
        let key = |name: &str| format!("heads.{case}.{name}");
        let heads = golden.scalar(&key("heads")) as usize;
        let mut head = XPoolConfig { heads, ..XPoolConfig::reference() }.init(32, &Device::flex()).unwrap();
        // The published start is ours.
        if case != "xpool_initial" {
            let weights = |name: &str| layer(&golden, &key(&format!("weights.{name}")));
            head.query = weights("cross_attn.q_proj");
            head.key = weights("cross_attn.k_proj");
            head.value = weights("cross_attn.v_proj");
            head.output = weights("cross_attn.out_proj");
            head.linear = weights("linear_proj");
            load_norm(&mut head.input_norm, &golden, &key("weights.layer_norm1"));
            load_norm(&mut head.output_norm, &golden, &key("weights.layer_norm2"));
            load_norm(&mut head.last_norm, &golden, &key("weights.layer_norm3"));
        }
        let (texts, videos) = unmasked(&golden);
        let found = floats(&scores(&head, &texts, &videos));
        assert_close(&found, &floats(&golden.tensor::<2>(&key("cosine"))), 5e-6); // both sides f32
        let (texts, videos) = (head.code_texts(texts), head.code_videos(videos));
        let pooled = head.vectors(&texts, &videos).remove(0).videos;
        assert_close(&floats(&pooled), &floats(&golden.tensor::<3>(&key("pooled"))), 5e-5); // entries up to 5
    }
}

#[test]
fn mean_pooling_of_unit_features_is_the_published_average() {
    let Some(golden) = open(FILE) else { return };
    let (texts, videos) = unmasked(&golden);
    let head = MeanPoolingConfig::reference().init(32, &Device::flex()).unwrap();
    let key = |name: &str| format!("heads.frame_pooling.avg.{name}");
    let found = floats(&scores(&head, &texts, &videos));
    assert_close(&found, &floats(&golden.tensor::<2>(&key("cosine"))), 2e-6);
    // The published vector is not of unit length.
    let pooled = tvr_nn::unit_rows(golden.tensor::<2>(&key("pooled")));
    assert_close(&floats(&head.code_videos(videos).pooled), &floats(&pooled), 2e-6);
}

/// Pooling without what stands before it.
fn conditioned(temperature: f64) -> Conditioned {
    let config = ConditionedConfig { temperature, mask: PoolingMask::Before, adapter: None, temporal: None };
    config.init(32, &Device::flex()).unwrap()
}

#[test]
fn conditioned_on_unit_features_is_the_published_softmax_attention() {
    let Some(golden) = open(FILE) else { return };
    let (texts, videos) = unmasked(&golden);
    let texts = TextFeatures::pooled(tvr_nn::unit_rows(texts.pooled));
    let videos = VideoFeatures::unmasked(tvr_nn::unit_rows(videos.frames));
    let head = conditioned(0.1);
    let key = |name: &str| format!("heads.frame_pooling.attention.{name}");
    let found = floats(&scores(&head, &texts, &videos));
    assert_close(&found, &floats(&golden.tensor::<2>(&key("cosine"))), 2e-6);
    let (texts, videos) = (head.code_texts(texts), head.code_videos(videos));
    let pooled = head.vectors(&texts, &videos).remove(0).videos;
    assert_close(&floats(&pooled), &floats(&golden.tensor::<3>(&key("pooled"))), 2e-6);
}

fn token_wise(weight_layers: usize) -> TokenWise {
    let config = TokenWiseConfig { weight_layers, mask: TokenMask::Multiply, adapter: None, temporal: None };
    config.init(32, &Device::flex()).unwrap()
}

fn words(golden: &Golden) -> (TextFeatures, VideoFeatures) {
    let tokens =
        Tokens { features: golden.tensor("heads.wti.text_tokens"), mask: golden.mask("heads.wti.text_mask") };
    let texts =
        TextFeatures { tokens: Some(tokens), ..TextFeatures::pooled(golden.tensor("heads.common.texts")) };
    (texts, VideoFeatures::new(golden.tensor("heads.common.frames"), golden.mask("heads.common.mask")))
}

#[test]
fn token_wise_without_weights_is_the_published_token_interaction() {
    let Some(golden) = open(FILE) else { return };
    let (texts, videos) = words(&golden);
    let found = floats(&scores(&token_wise(0), &texts, &videos));
    assert_close(&found, &floats(&golden.tensor::<2>("heads.ti.cosine")), 2e-6);
}

#[test]
fn token_wise_with_weights_is_the_published_weighted_interaction() {
    let Some(golden) = open(FILE) else { return };
    let mut head = token_wise(2);
    for (side, weights) in [("text", &mut head.text_weights), ("video", &mut head.video_weights)] {
        for (at, name) in [(0, "0"), (1, "2")] {
            weights.layers[at] = layer(&golden, &format!("heads.wti.{side}.weights.{name}"));
        }
    }
    let (texts, videos) = words(&golden);
    let found = floats(&scores(&head, &texts, &videos));
    assert_close(&found, &floats(&golden.tensor::<2>("heads.wti.cosine")), 2e-6);
}
