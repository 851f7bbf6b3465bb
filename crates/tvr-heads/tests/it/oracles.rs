//! Slow, obvious, f64; written from the formulas, apart from the crate.

mod camoe;
pub mod em;
mod experts;
mod pairwise;

use crate::common::{Draw, WIDTH, assert_close, floats, mean_pooling, scores, seq_transf};
use burn::nn::Linear;
use burn::prelude::*;
use tvr_heads::SeqTransf;
use tvr_nn::LayerNorm;

type Rows = Vec<Vec<f64>>;

fn rows(values: &[f64], width: usize) -> Rows {
    values.chunks(width).map(<[f64]>::to_vec).collect()
}

fn unit(row: &[f64]) -> Vec<f64> {
    let length = row.iter().map(|x| x * x).sum::<f64>().sqrt();
    row.iter().map(|x| x / length).collect()
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(x, y)| x * y).sum()
}

/// The slope is an f32 everywhere: 1.702 in f64 is 2e-8 away.
fn quick_gelu(x: Vec<f64>) -> Vec<f64> {
    x.iter().map(|z| z / (1.0 + (-f64::from(1.702f32) * z).exp())).collect()
}

fn softmax(logits: &[f64]) -> Vec<f64> {
    let most = logits.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let total: f64 = logits.iter().map(|logit| (logit - most).exp()).sum();
    logits.iter().map(|logit| (logit - most).exp() / total).collect()
}

fn mean_pooled(frames: &Rows, mask: &[bool]) -> Vec<f64> {
    let mut sum = vec![0.0; frames[0].len()];
    let mut count = 0.0;
    for (frame, &real) in frames.iter().zip(mask) {
        if real {
            count += 1.0;
            for (total, x) in sum.iter_mut().zip(unit(frame)) {
                *total += x;
            }
        }
    }
    unit(&sum.iter().map(|x| x / count).collect::<Vec<_>>())
}

fn linear(layer: &Linear, x: &[f64]) -> Vec<f64> {
    let [inputs, outputs] = layer.weight.val().dims();
    let weight = floats(&layer.weight.val());
    let bias = layer.bias.as_ref().map_or(vec![0.0; outputs], |bias| floats(&bias.val()));
    (0..outputs).map(|o| bias[o] + (0..inputs).map(|i| x[i] * weight[i * outputs + o]).sum::<f64>()).collect()
}

fn norm(layer: &LayerNorm, x: &[f64], epsilon: f64) -> Vec<f64> {
    normed(&floats(&layer.gamma.val()), &floats(&layer.beta.val()), x, epsilon)
}

fn normed(gamma: &[f64], beta: &[f64], x: &[f64], epsilon: f64) -> Vec<f64> {
    let n = x.len() as f64;
    let mean = x.iter().sum::<f64>() / n;
    let variance = x.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / n;
    x.iter().enumerate().map(|(i, x)| (x - mean) / (variance + epsilon).sqrt() * gamma[i] + beta[i]).collect()
}

/// The real frames alone, so no mask is needed: `blocks(x + P) + x`.
pub fn contextualised(head: &SeqTransf, frames: &Rows, heads: usize, epsilon: f64) -> Rows {
    let width = frames[0].len();
    let size = width / heads;
    let positions = rows(&floats(&head.positions.val()), width);
    let mut x: Rows =
        frames.iter().zip(&positions).map(|(x, p)| x.iter().zip(p).map(|(x, p)| x + p).collect()).collect();
    for block in &head.blocks {
        let normed: Rows = x.iter().map(|x| norm(&block.attention_norm, x, epsilon)).collect();
        let [q, k, v] = [&block.query, &block.key, &block.value]
            .map(|layer| normed.iter().map(|x| linear(layer, x)).collect::<Rows>());
        for (i, token) in x.iter_mut().enumerate() {
            let mut context = vec![0.0; width];
            for h in 0..heads {
                let cut = h * size..(h + 1) * size;
                let scores: Vec<f64> = k
                    .iter()
                    .map(|k| (dot(&q[i][cut.clone()], &k[cut.clone()]) / (size as f64).sqrt()).exp())
                    .collect();
                let total: f64 = scores.iter().sum();
                for (score, v) in scores.iter().zip(&v) {
                    for c in cut.clone() {
                        context[c] += score / total * v[c];
                    }
                }
            }
            for (x, y) in token.iter_mut().zip(linear(&block.output, &context)) {
                *x += y;
            }
        }
        for token in &mut x {
            let hidden = linear(&block.expand, &norm(&block.mlp_norm, token, epsilon));
            let hidden = quick_gelu(hidden);
            for (x, y) in token.iter_mut().zip(linear(&block.contract, &hidden)) {
                *x += y;
            }
        }
    }
    x.iter().zip(frames).map(|(h, x)| h.iter().zip(x).map(|(h, x)| h + x).collect()).collect()
}

fn check(similarity: &Tensor<2>, texts: &Tensor<2>, videos: &[Vec<f64>]) {
    let texts = rows(&floats(texts), WIDTH);
    let expected: Vec<f64> =
        texts.iter().flat_map(|text| videos.iter().map(|video| dot(&unit(text), video))).collect();
    assert_close(&floats(similarity), &expected, 2e-6); // f32 sums of 8 to 32 terms
}

#[test]
fn mean_pooling_follows_the_formula() {
    for seed in 0..20 {
        let mut draw = Draw::new(seed);
        let (videos, frames) = (1 + draw.below(4), 1 + draw.below(6));
        let (texts, features) = (draw.texts(3), draw.videos(videos, frames));
        let mask: Vec<bool> = features.mask.to_data().iter::<bool>().collect();
        let values = rows(&floats(&features.frames), WIDTH);
        let pooled: Rows = (0..videos)
            .map(|v| mean_pooled(&values[v * frames..][..frames].to_vec(), &mask[v * frames..][..frames]))
            .collect();
        check(&scores(&mean_pooling(), &texts, &features), &texts.pooled, &pooled);
    }
}

#[test]
fn seq_transf_follows_the_formula() {
    for seed in 0..20 {
        let mut draw = Draw::new(100 + seed);
        let head = seq_transf(seed);
        let (videos, frames) = (1 + draw.below(4), 1 + draw.below(6));
        let (texts, features) = (draw.texts(3), draw.videos(videos, frames));
        let mask: Vec<bool> = features.mask.to_data().iter::<bool>().collect();
        let values = rows(&floats(&features.frames), WIDTH);
        let pooled: Rows = (0..videos)
            .map(|v| {
                let real = mask[v * frames..][..frames].iter().filter(|&&real| real).count();
                let hidden = contextualised(&head, &values[v * frames..][..real].to_vec(), 2, 1e-5);
                mean_pooled(&hidden, &vec![true; real])
            })
            .collect();
        check(&scores(&head, &texts, &features), &texts.pooled, &pooled);
    }
}
