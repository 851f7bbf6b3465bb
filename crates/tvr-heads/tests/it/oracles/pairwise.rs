//! Heads that compare a text with every frame, by loops over pairs: text-conditioned pooling, TI and WTI.

use burn::prelude::*;
use burn::tensor::DType;
use tvr_heads::token_wise::Weights;
use tvr_heads::{
    Conditioned, ConditionedConfig, FrameAdapter, Head, PoolingMask, TextFeatures, TokenMask, TokenWise,
    TokenWiseConfig, VideoFeatures,
};

use super::{Rows, contextualised, dot, linear, norm, quick_gelu, rows, softmax, unit};
use crate::common::{
    Draw, ToF64, WIDTH, assert_close, conditioned, floats, mask_tensor, temporal_conditioned, texts_of,
    token_wise, videos_of,
};

/// A case in f64: texts with tokens, and clips of different lengths with garbage at their padding.
pub fn case(seed: u64) -> (TextFeatures, VideoFeatures) {
    let mut draw = Draw::new(seed);
    let (texts, videos, frames) = (1 + draw.below(4), 1 + draw.below(4), 1 + draw.below(5));
    let mask = mask_tensor(&draw.prefix_mask(videos, frames));
    let tensor = |draw: &mut Draw, shape: Vec<usize>| -> TensorData {
        TensorData::new(draw.normals(shape.iter().product()), shape)
    };
    let wide = (&Device::flex(), DType::F64);
    let pooled = Tensor::<2>::from_data(tensor(&mut draw, vec![texts, WIDTH]), wide);
    let clips = Tensor::<3>::from_data(tensor(&mut draw, vec![videos, frames, WIDTH]), wide);
    (texts_of(pooled), videos_of(clips, mask))
}

/// Every clip's frames, and which are real.
pub fn clips(videos: &VideoFeatures) -> Vec<(Rows, Vec<bool>)> {
    let [count, frames, width] = videos.frames.dims();
    let (values, mask) = (rows(&floats(&videos.frames), width), bools(&videos.mask));
    (0..count)
        .map(|v| (values[v * frames..][..frames].to_vec(), mask[v * frames..][..frames].to_vec()))
        .collect()
}

pub fn bools<const D: usize>(mask: &Tensor<D, Bool>) -> Vec<bool> {
    mask.to_data().iter::<bool>().collect()
}

/// `W x`, then a perceptron of it on top.
pub fn adapted(adapter: &FrameAdapter, frame: &[f64]) -> Vec<f64> {
    let weight = rows(&floats(&adapter.projection.val()), frame.len());
    let x: Vec<f64> =
        (0..frame.len()).map(|o| (0..frame.len()).map(|i| frame[i] * weight[i][o]).sum()).collect();
    let hidden = linear(&adapter.expand, &norm(&adapter.norm, &x, 1e-5));
    linear(&adapter.contract, &quick_gelu(hidden)).iter().zip(&x).map(|(more, x)| x + more).collect()
}

/// What a frame stage makes of the real frames of a clip.
fn staged(stage: &tvr_heads::frame_stage::FrameStage, frames: &Rows) -> Rows {
    let frames: Rows = match &stage.adapter {
        Some(adapter) => frames.iter().map(|frame| adapted(adapter, frame)).collect(),
        None => frames.clone(),
    };
    match &stage.temporal {
        Some(temporal) => contextualised(temporal, &frames, 2, 1e-5),
        None => frames,
    }
}

fn real(frames: &Rows, mask: &[bool]) -> Rows {
    frames.iter().zip(mask).filter(|(_, real)| **real).map(|(frame, _)| frame.clone()).collect()
}

fn similarity<H: Head>(head: &H, texts: TextFeatures, videos: VideoFeatures) -> Vec<f64> {
    floats(&head.similarity(&head.code_texts(texts), &head.code_videos(videos)).fused)
}

/// The cosine of a text and the frames, weighed by their products with it.
fn heard(text: &[f64], frames: &Rows, weights: &[f64]) -> f64 {
    let pooled: Vec<f64> =
        (0..text.len()).map(|c| frames.iter().zip(weights).map(|(frame, w)| w * frame[c]).sum()).collect();
    dot(&unit(text), &unit(&pooled))
}

#[test]
fn conditioned_follows_the_formula() {
    for seed in 0..20 {
        let heads: [Conditioned; 2] =
            [conditioned(seed), temporal_conditioned(seed)].map(|head| head.map(&mut ToF64));
        for head in heads {
            let (texts, videos) = case(200 + seed);
            let (words, clips) = (rows(&floats(&texts.pooled), WIDTH), clips(&videos));
            let mut expected = Vec::new();
            for text in &words {
                for (frames, mask) in &clips {
                    let frames = staged(&head.frames, &real(frames, mask));
                    let logits: Vec<f64> = frames.iter().map(|frame| dot(text, frame) / 1.5).collect();
                    expected.push(heard(text, &frames, &softmax(&logits)));
                }
            }
            assert_close(&similarity(&head, texts, videos), &expected, 1e-9);
        }
    }
}

#[test]
fn conditioned_masked_afterwards_follows_the_published_formula() {
    let config =
        ConditionedConfig { temperature: 1.5, mask: PoolingMask::After, adapter: None, temporal: None };
    let head = config.init(WIDTH, &Device::flex()).unwrap();
    for seed in 0..20 {
        let (texts, videos) = case(300 + seed);
        let (words, clips) = (rows(&floats(&texts.pooled), WIDTH), clips(&videos));
        let mut expected = Vec::new();
        for text in &words {
            for (frames, mask) in &clips {
                // Padding takes its share with it.
                let logits: Vec<f64> = frames.iter().map(|frame| dot(text, frame) / 1.5).collect();
                let weights: Vec<f64> =
                    softmax(&logits).iter().zip(mask).map(|(w, real)| if *real { *w } else { 0.0 }).collect();
                expected.push(heard(text, frames, &weights));
            }
        }
        assert_close(&similarity(&head, texts, videos), &expected, 1e-9);
    }
}

/// Weights of the real steps: all alike, or a softmax of what the layers say of each.
fn weights(layers: &Weights, steps: &Rows) -> Vec<f64> {
    let say = |step: &Vec<f64>| {
        let mut x = step.clone();
        for (index, layer) in layers.layers.iter().enumerate() {
            let inner: Vec<f64> = if index == 0 { x } else { x.iter().map(|x| x.max(0.0)).collect() };
            x = linear(layer, &inner);
        }
        if layers.layers.is_empty() { 0.0 } else { x[0] }
    };
    softmax(&steps.iter().map(say).collect::<Vec<_>>())
}

fn check_token_wise(head: &TokenWise, seed: u64, padding_offers_zero: bool) {
    let (texts, videos) = case(400 + seed);
    let tokens = texts.tokens.clone().unwrap();
    let [n_texts, n_tokens, _] = tokens.features.dims();
    let (words, word_mask) = (rows(&floats(&tokens.features), WIDTH), bools(&tokens.mask));
    let mut expected = Vec::new();
    for text in 0..n_texts {
        let cut = text * n_tokens..(text + 1) * n_tokens;
        let all_words = word_mask[cut.clone()].iter().all(|&real| real);
        let words = real(&words[cut.clone()].to_vec(), &word_mask[cut]);
        let of_words = weights(&head.text_weights, &words);
        for (frames, mask) in clips(&videos) {
            let all_frames = mask.iter().all(|&real| real);
            let frames = staged(&head.frames, &real(&frames, &mask));
            let of_frames = weights(&head.video_weights, &frames);
            let cosine = |word: &Vec<f64>, frame: &Vec<f64>| dot(&unit(word), &unit(frame));
            let most = |values: Vec<f64>, padded: bool| {
                let floor = if padded && padding_offers_zero { 0.0 } else { f64::NEG_INFINITY };
                values.into_iter().fold(floor, f64::max)
            };
            let by_words: f64 = words
                .iter()
                .zip(&of_words)
                .map(|(word, w)| {
                    w * most(frames.iter().map(|frame| cosine(word, frame)).collect(), !all_frames)
                })
                .sum();
            let by_frames: f64 = frames
                .iter()
                .zip(&of_frames)
                .map(|(frame, w)| {
                    w * most(words.iter().map(|word| cosine(word, frame)).collect(), !all_words)
                })
                .sum();
            expected.push((by_words + by_frames) / 2.0);
        }
    }
    assert_close(&similarity(head, texts, videos), &expected, 1e-9);
}

#[test]
fn token_wise_follows_the_formula() {
    for seed in 0..20 {
        for layers in 0..4 {
            check_token_wise(&token_wise(layers, seed).map(&mut ToF64), seed, false);
        }
    }
}

#[test]
fn token_wise_with_masks_that_multiply_follows_the_published_formula() {
    for seed in 0..20 {
        for weight_layers in [0, 2] {
            let config =
                TokenWiseConfig { weight_layers, mask: TokenMask::Multiply, adapter: None, temporal: None };
            let head = Draw::new(seed).shake(config.init(WIDTH, &Device::flex()).unwrap());
            check_token_wise(&head.map(&mut ToF64), seed, true);
        }
    }
}
