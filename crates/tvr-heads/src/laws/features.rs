//! Features with all that a head may ask for.

use burn::prelude::*;
use tvr_nn::laws::select_flags;

use super::Draw;
use crate::features::{Expert, TextFeatures, TextStream, Tokens, VideoFeatures};
use crate::head::Needs;

/// Tokens of a text.
const TOKENS: usize = 4;

/// Streams that every text has.
const STREAMS: [&str; 3] = ["entity", "action", "scene"];

/// Experts that every video has, unless the head has others of these names.
const EXPERTS: [(&str, usize); 2] = [("motion", 5), ("audio", 3)];

/// A fixed pattern of the kind of another tensor.
fn pattern<const D: usize>(seed: u64, shape: [usize; D], like: &Tensor<D>) -> Tensor<D> {
    let device = like.device().without_autodiff();
    let pattern = Draw::new(seed).tensor::<D>(shape, &device).cast(like.dtype());
    if like.is_autodiff() { Tensor::from_inner(pattern) } else { pattern }
}

/// Texts with all that a head may ask for, made of the pooled vectors (`[texts, width]`) so that gradients pass through:
/// four tokens, of which every other text has three real ones, and streams (those of CAMoE and those that the head
/// needs), each missing from every third text.
pub fn text_features(pooled: Tensor<2>, needs: &Needs) -> TextFeatures {
    let [texts, width] = pooled.dims();
    let device = pooled.device();
    let others = needs.streams.iter().copied().filter(|name| !STREAMS.contains(name));
    let stream = |(place, name): (usize, &'static str)| {
        let available: Vec<bool> = (0..texts).map(|text| (text + place) % 3 != 0).collect();
        TextStream {
            name,
            pooled: pooled.clone() * pattern(90 + place as u64, [1, width], &pooled),
            available: Tensor::from_data(TensorData::new(available, [texts]), &device),
        }
    };
    let streams = STREAMS.into_iter().chain(others).enumerate().map(stream).collect();
    let items = pooled.clone().unsqueeze_dim::<3>(1);
    let features = items.clone() * pattern(99, [1, TOKENS, width], &items);
    let mask: Vec<Vec<bool>> =
        (0..texts).map(|text| (0..TOKENS).map(|token| token < TOKENS - text % 2).collect()).collect();
    let tokens = Tokens { features, mask: mask_tensor(&mask, &device) };
    TextFeatures { pooled, tokens: Some(tokens), streams }
}

/// Videos with all that a head may ask for, made of the frames (`[videos, frames, width]`) so that gradients pass through:
/// the experts that the head needs, made of some of the frames' channels each, and a "motion" and an "audio" beside.
/// Every other expert says nothing of every other video.
pub fn video_features(frames: Tensor<3>, mask: Tensor<2, Bool>, needs: &Needs) -> VideoFeatures {
    let [videos, n_frames, width] = frames.dims();
    let device = frames.device();
    let says: Vec<bool> = (0..videos * n_frames).map(|at| (at / n_frames) % 2 == 0).collect();
    let says = Tensor::<2, Bool>::from_data(TensorData::new(says, [videos, n_frames]), &device);
    let needed = needs.experts.iter().map(|expert| (expert.name.as_str(), expert.width));
    let others =
        EXPERTS.into_iter().filter(|(name, _)| needs.experts.iter().all(|expert| expert.name != *name));
    let expert = |(place, (name, channels)): (usize, (&str, usize))| {
        let channels: Vec<i64> =
            (0..channels).map(|channel| ((4 * place + channel) % width) as i64).collect();
        let count = channels.len();
        let channels = Tensor::<1, Int>::from_data(TensorData::new(channels, [count]), &device);
        Expert {
            name: name.into(),
            features: frames.clone().select(2, channels),
            mask: if place % 2 == 0 { mask.clone() } else { mask.clone().bool_and(says.clone()) },
        }
    };
    let experts = needed.chain(others).enumerate().map(expert).collect();
    VideoFeatures { frames, mask, experts }
}

/// A mask whose real frames come first, at least one each.
pub fn prefix_mask(draw: &mut Draw, videos: usize, frames: usize) -> Vec<Vec<bool>> {
    (0..videos)
        .map(|_| {
            let real = 1 + draw.below(frames);
            (0..frames).map(|frame| frame < real).collect()
        })
        .collect()
}

/// Rows of one length as a mask. `[items, steps]`
pub fn mask_tensor(mask: &[Vec<bool>], device: &Device) -> Tensor<2, Bool> {
    let shape = [mask.len(), mask.first().map_or(0, Vec::len)];
    Tensor::from_data(TensorData::new(mask.concat(), shape), device)
}

/// Some of the texts, in this order.
pub(super) fn select_texts(texts: &TextFeatures, order: &[usize]) -> TextFeatures {
    let rows: Vec<i64> = order.iter().map(|&text| text as i64).collect();
    let rows = Tensor::<1, Int>::from_data(TensorData::new(rows, [order.len()]), &texts.pooled.device());
    let stream = |stream: &TextStream| TextStream {
        name: stream.name,
        pooled: stream.pooled.clone().select(0, rows.clone()),
        available: select_flags(&stream.available, 0, order),
    };
    TextFeatures {
        pooled: texts.pooled.clone().select(0, rows.clone()),
        tokens: texts.tokens.as_ref().map(|tokens| Tokens {
            features: tokens.features.clone().select(0, rows.clone()),
            mask: select_flags(&tokens.mask, 0, order),
        }),
        streams: texts.streams.iter().map(stream).collect(),
    }
}
