//! The host of feature experts by loops over pairs and experts.

use burn::prelude::*;
use tvr_heads::experts::ce::Gating;
use tvr_heads::experts::gated::GatedUnit;
use tvr_heads::experts::mmt::Transformer;
use tvr_heads::{Experts, Head, VideoFeatures};

use super::pairwise::{bools, case};
use super::{Rows, dot, linear, norm, rows, softmax, unit};
use crate::common::{ToF64, WIDTH, assert_close, experts, floats, gated_experts, mixed_experts};

fn sigmoid(x: f64) -> f64 {
    1.0 / (1.0 + (-x).exp())
}

fn gated(unit_of: &GatedUnit, x: &[f64]) -> Vec<f64> {
    let y = linear(&unit_of.project, x);
    let gate = linear(&unit_of.gate, &y);
    let gate = match &unit_of.norm {
        Some(layer) => norm(layer, &gate, 1e-5),
        None => gate,
    };
    unit(&y.iter().zip(gate).map(|(y, z)| y * sigmoid(z)).collect::<Vec<_>>())
}

/// The real steps of every expert of a video.
fn steps(head: &Experts, videos: &VideoFeatures, video: usize) -> Vec<Rows> {
    let named = ["motion", "audio"].map(|name| {
        let expert = videos.experts.iter().find(|expert| expert.name == name).unwrap();
        (expert.features.clone(), expert.mask.clone())
    });
    let mut all = named.to_vec();
    if head.needs().frames {
        all.push((videos.frames.clone(), videos.mask.clone()));
    }
    all.iter()
        .map(|(features, mask)| {
            let [_, steps, width] = features.dims();
            let (values, mask) = (rows(&floats(features), width), bools(mask));
            (video * steps..(video + 1) * steps).filter(|&at| mask[at]).map(|at| values[at].clone()).collect()
        })
        .collect()
}

fn mean(steps: &Rows) -> Vec<f64> {
    (0..steps[0].len()).map(|c| steps.iter().map(|x| x[c]).sum::<f64>() / steps.len() as f64).collect()
}

/// CE: every expert that is there hears what each of those makes of it.
fn mixed_by_gating(gating: &Gating, vectors: &[Option<Vec<f64>>]) -> Vec<Option<Vec<f64>>> {
    let there: Vec<&Vec<f64>> = vectors.iter().flatten().collect();
    let mix = |own: &Vec<f64>| {
        let width = own.len();
        let mut heard = vec![0.0; width];
        for other in &there {
            let (a, b) = (linear(&gating.own, own), linear(&gating.other, other));
            for c in 0..width {
                heard[c] += (a[c] + b[c]).max(0.0) / there.len() as f64;
            }
        }
        let (gate, heard) = (linear(&gating.gate, own), linear(&gating.reason, &heard));
        let (gate, heard) = match &gating.norms {
            Some([first, second]) => (norm(first, &gate, 1e-5), norm(second, &heard, 1e-5)),
            None => (gate, heard),
        };
        unit(&(0..width).map(|c| own[c] * sigmoid(gate[c] + heard[c])).collect::<Vec<_>>())
    };
    vectors.iter().map(|vector| vector.as_ref().map(mix)).collect()
}

/// By the series whose terms all have one sign: `2 / √π · exp(-x²) · Σ 2ⁿ x²ⁿ⁺¹ / (1 · 3 · … · (2n + 1))`.
fn erf(x: f64) -> f64 {
    let (mut sum, mut term) = (0.0, x);
    for n in 0..400 {
        sum += term;
        term *= 2.0 * x * x / (2 * n + 3) as f64;
    }
    2.0 / std::f64::consts::PI.sqrt() * (-x * x).exp() * sum
}

fn add(a: &[f64], b: &[f64]) -> Vec<f64> {
    a.iter().zip(b).map(|(a, b)| a + b).collect()
}

/// MMT: CLS, then an aggregate and the steps of every expert that is there; what is not there is no token at all.
fn mixed_by_transformer(mixer: &Transformer, head: &Experts, steps: &[Rows]) -> Vec<Option<Vec<f64>>> {
    let width = 6;
    let (positions, types) =
        (rows(&floats(&mixer.positions.val()), width), rows(&floats(&mixer.types.val()), width));
    let mut tokens = vec![add(&positions[0], &types[0])];
    let mut places = Vec::new();
    for (number, steps) in steps.iter().enumerate() {
        places.push((!steps.is_empty()).then_some(tokens.len()));
        if steps.is_empty() {
            continue;
        }
        let largest: Vec<f64> = (0..steps[0].len())
            .map(|c| steps.iter().map(|step| step[c]).fold(f64::NEG_INFINITY, f64::max))
            .collect();
        let project = |x: &[f64]| unit(&linear(&head.project[number], x));
        let kind = &types[number + 1];
        tokens.push(add(&add(&project(&largest), &positions[0]), kind));
        for (place, step) in steps.iter().enumerate() {
            let position = &positions[place.min(positions.len() - 1)];
            tokens.push(add(&add(&project(step), position), kind));
        }
    }
    let mut x: Rows = tokens.iter().map(|token| norm(&mixer.norm, token, 1e-12)).collect();
    for layer in &mixer.encoder {
        let [q, k, v] = [&layer.query, &layer.key, &layer.value]
            .map(|layer| x.iter().map(|x| linear(layer, x)).collect::<Rows>());
        let size = width / layer.heads;
        // Attention takes its scale in f32.
        let scale = f64::from((size as f32).powf(-0.5));
        x = (0..x.len())
            .map(|i| {
                let seen: Vec<f64> = (0..width)
                    .map(|c| {
                        let cut = c / size * size..c / size * size + size;
                        let logits: Vec<f64> =
                            k.iter().map(|k| dot(&q[i][cut.clone()], &k[cut.clone()]) * scale).collect();
                        softmax(&logits).iter().zip(&v).map(|(share, v)| share * v[c]).sum()
                    })
                    .collect();
                let attended = add(&x[i], &linear(&layer.output, &seen));
                let attended = norm(&layer.attention_norm, &attended, 1e-12);
                let hidden = linear(&layer.expand, &attended);
                let hidden: Vec<f64> =
                    hidden.iter().map(|z| z * 0.5 * (1.0 + erf(z / std::f64::consts::SQRT_2))).collect();
                norm(&layer.mlp_norm, &add(&attended, &linear(&layer.contract, &hidden)), 1e-12)
            })
            .collect();
    }
    places.into_iter().map(|place| place.map(|place| unit(&x[place]))).collect()
}

fn check(head: &Experts, seed: u64) {
    let (texts, videos) = case(600 + seed);
    let words = rows(&floats(&texts.pooled), WIDTH);
    let mut expected = Vec::new();
    for text in &words {
        let weights = softmax(&linear(&head.weights, text));
        for video in 0..videos.n_videos() {
            let steps = steps(head, &videos, video);
            let vectors = match (&head.transformer, &head.gating) {
                (Some(mixer), _) => mixed_by_transformer(mixer, head, &steps),
                (None, gating) => {
                    let vectors: Vec<Option<Vec<f64>>> = steps
                        .iter()
                        .zip(&head.project)
                        .map(|(steps, project)| {
                            (!steps.is_empty()).then(|| unit(&linear(project, &mean(steps))))
                        })
                        .collect();
                    match gating {
                        Some(gating) => mixed_by_gating(gating, &vectors),
                        None => vectors,
                    }
                }
            };
            let (mut sum, mut total) = (0.0, 0.0);
            for ((vector, weight), unit_of) in vectors.iter().zip(&weights).zip(&head.text) {
                if let Some(vector) = vector {
                    sum += weight * dot(&gated(unit_of, text), vector);
                    total += weight;
                }
            }
            expected.push(sum / total);
        }
    }
    let found = head.similarity(&head.code_texts(texts), &head.code_videos(videos)).fused;
    assert_close(&floats(&found), &expected, 1e-9);
}

#[test]
fn experts_follow_the_formula() {
    for seed in 0..20 {
        check(&experts(seed).map(&mut ToF64), seed);
        check(&gated_experts(seed).map(&mut ToF64), seed);
        check(&mixed_experts(seed).map(&mut ToF64), seed);
    }
}
