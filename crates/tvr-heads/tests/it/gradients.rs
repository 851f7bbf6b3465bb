//! Central differences in f64.

use burn::prelude::*;
use burn::tensor::DType;
use tvr_heads::Head;

use crate::common::{
    Draw, ToF64, WIDTH, adapted_mean_pooling, adapted_seq_transf, adapted_xpool, camoe, conditioned,
    dropping_camoe, emcl_global, emcl_paper, emcl_reference, experts, floats, gated_experts, largest_gap,
    mask_tensor, mean_pooling, mixed_experts, seq_lstm, seq_transf, temporal_conditioned, texts_of,
    tight_transf, token_wise, videos_of, xpool,
};

const TEXTS: usize = 3;
const VIDEOS: usize = 2;
const FRAMES: usize = 4;

fn tensor<const D: usize>(values: &[f64], shape: [usize; D]) -> Tensor<D> {
    Tensor::from_data(TensorData::new(values.to_vec(), shape), (&Device::flex(), DType::F64))
}

fn loss<H: Head>(head: &H, texts: Tensor<2>, frames: Tensor<3>, weight: &[f64]) -> Tensor<1> {
    let mask = mask_tensor(&[vec![true, true, true, false], vec![true, true, false, false]]);
    let mask = mask.to_device(&frames.device());
    let texts = head.code_texts(texts_of(texts));
    let videos = head.code_videos(videos_of(frames, mask));
    let similarity = head.similarity(&texts, &videos);
    // Streams too, so that every output of the head is under test.
    let streams = similarity.streams.into_iter().enumerate();
    let fused = streams.fold(similarity.fused, |sum, (place, stream)| {
        sum + stream.similarity.square() * (1.0 + place as f64)
    });
    let weight = tensor(weight, [TEXTS, VIDEOS]).cast(fused.dtype());
    let weight = if fused.is_autodiff() { Tensor::from_inner(weight) } else { weight };
    (fused * weight).sum()
}

fn check<H: Head>(head: H) {
    let head = head.map(&mut ToF64);
    let mut draw = Draw::new(7);
    let texts = draw.normals(TEXTS * WIDTH);
    let frames = draw.normals(VIDEOS * FRAMES * WIDTH);
    let weight = draw.normals(TEXTS * VIDEOS);
    let (text_shape, frame_shape) = ([TEXTS, WIDTH], [VIDEOS, FRAMES, WIDTH]);

    let training = head.clone().train();
    let text_leaf = Tensor::from_inner(tensor(&texts, text_shape)).require_grad();
    let frame_leaf = Tensor::from_inner(tensor(&frames, frame_shape)).require_grad();
    let gradients = loss(&training, text_leaf.clone(), frame_leaf.clone(), &weight).backward();
    let text_gradient = floats(&text_leaf.grad(&gradients).unwrap());
    let frame_gradient = floats(&frame_leaf.grad(&gradients).unwrap());

    let value = |texts: &[f64], frames: &[f64]| -> f64 {
        loss(&head, tensor(texts, text_shape), tensor(frames, frame_shape), &weight).into_scalar()
    };
    let step = 2e-6;
    let compare = |values: &[f64], gradient: &[f64], value: &dyn Fn(&[f64]) -> f64| {
        for place in 0..values.len() {
            let moved = |by: f64| {
                let mut values = values.to_vec();
                values[place] += by;
                value(&values)
            };
            // Of fourth order: weights are partly random, and some make short vectors, whose cosines bend much.
            let [near, far] = [step, 2.0 * step].map(|by| moved(by) - moved(-by));
            let slope = (8.0 * near - far) / (12.0 * step);
            let found = gradient[place];
            assert!(
                (slope - found).abs() <= 1e-6 * slope.abs().max(1.0),
                "at {place}: {found} is not {slope}"
            );
        }
    };
    compare(&texts, &text_gradient, &|texts| value(texts, &frames));
    compare(&frames, &frame_gradient, &|frames| value(&texts, frames));
}

/// What trains is f32, with kernels of its own; the differences above see f64 alone. By one of four inputs: where a
/// vector happens to be short, f32 rounds the gradient of its cosine.
pub fn f32_has_the_gradient_of_f64<H: Head>(head: &H) {
    let gap = |seed: u64| {
        let mut draw = Draw::new(seed);
        let (texts, frames) = (draw.tensor([TEXTS, WIDTH]), draw.tensor([VIDEOS, FRAMES, WIDTH]));
        let weight = draw.normals(TEXTS * VIDEOS);
        let gradient = |head: H, dtype: DType| {
            let texts = Tensor::from_inner(texts.clone().cast(dtype)).require_grad();
            let frames = Tensor::from_inner(frames.clone().cast(dtype)).require_grad();
            let gradients = loss(&head.train(), texts.clone(), frames.clone(), &weight).backward();
            [floats(&texts.grad(&gradients).unwrap()), floats(&frames.grad(&gradients).unwrap())].concat()
        };
        let (found, expected) =
            (gradient(head.clone(), DType::F32), gradient(head.clone().map(&mut ToF64), DType::F64));
        let largest = expected.iter().fold(1.0f64, |most, slope| most.max(slope.abs()));
        largest_gap(&found, &expected) / largest
    };
    let gaps: Vec<f64> = (0..4).map(gap).collect();
    assert!(gaps.iter().any(|&gap| gap <= 1e-4), "{gaps:?}");
}

#[test]
fn mean_pooling_has_the_gradient_of_its_value() {
    check(mean_pooling());
    check(adapted_mean_pooling(1));
}

#[test]
fn seq_transf_has_the_gradient_of_its_value() {
    check(seq_transf(1));
    check(adapted_seq_transf(1));
}

#[test]
fn seq_lstm_has_the_gradient_of_its_value() {
    check(seq_lstm(1));
}

#[test]
fn tight_transf_has_the_gradient_of_its_value() {
    check(tight_transf(1));
}

#[test]
fn conditioned_has_the_gradient_of_its_value() {
    check(conditioned(1));
    check(temporal_conditioned(1));
}

#[test]
fn xpool_has_the_gradient_of_its_value() {
    check(xpool(1));
    check(adapted_xpool(1));
}

#[test]
fn token_wise_has_the_gradient_of_its_value() {
    check(token_wise(0, 1));
    check(token_wise(3, 1));
}

#[test]
fn emcl_has_the_gradient_of_its_value() {
    check(emcl_paper(1));
    check(emcl_reference(1));
    check(emcl_global(1));
}

#[test]
fn camoe_has_the_gradient_of_its_value() {
    check(camoe(1));
    check(dropping_camoe(1));
}

#[test]
fn experts_have_the_gradient_of_their_value() {
    check(experts(1));
    check(gated_experts(1));
    check(mixed_experts(1));
}
