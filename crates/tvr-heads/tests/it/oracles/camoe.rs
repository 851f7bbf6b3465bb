//! CAMoE by loops over pairs and streams.

use burn::prelude::*;
use tvr_heads::camoe::aggregators::{Aggregator, Excites};
use tvr_heads::{Camoe, Head};

use super::pairwise::{adapted, bools, case, clips};
use super::{Rows, contextualised, dot, linear, mean_pooled, rows, softmax, unit};
use crate::common::{ToF64, WIDTH, assert_close, camoe, dropping_camoe, floats};

fn mean(frames: &Rows) -> Vec<f64> {
    (0..WIDTH).map(|c| frames.iter().map(|frame| frame[c]).sum::<f64>() / frames.len() as f64).collect()
}

fn sigmoid(x: f64) -> f64 {
    1.0 / (1.0 + (-x).exp())
}

fn relu(x: Vec<f64>) -> Vec<f64> {
    x.iter().map(|x| x.max(0.0)).collect()
}

/// One expert's vector of real frames; `heads` and `over` are what the head was made with.
fn aggregate(expert: &Aggregator, frames: &Rows, heads: usize, over: Excites) -> Vec<f64> {
    match expert {
        Aggregator::Mean(_) => mean(frames),
        Aggregator::SqueezeExcite(layer) => match over {
            Excites::Frames => {
                let say = |frame: &Vec<f64>| {
                    sigmoid(linear(&layer.excite, &relu(linear(&layer.squeeze, frame)))[0])
                };
                let shares: Vec<f64> = frames.iter().map(say).collect();
                let total: f64 = shares.iter().sum();
                (0..WIDTH)
                    .map(|c| frames.iter().zip(&shares).map(|(f, a)| a * f[c]).sum::<f64>() / total)
                    .collect()
            }
            Excites::Channels => {
                let mean = mean(frames);
                let gate = linear(&layer.excite, &relu(linear(&layer.squeeze, &mean)));
                mean.iter().zip(gate).map(|(x, z)| x * sigmoid(z)).collect()
            }
        },
        Aggregator::SelfAttention(layer) => {
            let positions = layer.positions.as_ref().map(|table| rows(&floats(&table.val()), WIDTH));
            let placed: Rows = frames
                .iter()
                .enumerate()
                .map(|(place, frame)| match &positions {
                    Some(table) => frame.iter().zip(&table[place]).map(|(x, p)| x + p).collect(),
                    None => frame.clone(),
                })
                .collect();
            let [q, k, v] = [&layer.query, &layer.key, &layer.value]
                .map(|layer| placed.iter().map(|x| linear(layer, x)).collect::<Rows>());
            let size = WIDTH / heads;
            let seen: Rows = (0..frames.len())
                .map(|i| {
                    (0..WIDTH)
                        .map(|c| {
                            let cut = c / size * size..c / size * size + size;
                            let logits: Vec<f64> = k
                                .iter()
                                .map(|k| dot(&q[i][cut.clone()], &k[cut.clone()]) / (size as f64).sqrt())
                                .collect();
                            let shares = softmax(&logits);
                            frames[i][c] + shares.iter().zip(&v).map(|(share, v)| share * v[c]).sum::<f64>()
                        })
                        .collect()
                })
                .collect();
            mean(&seen)
        }
        Aggregator::SeqTransf(layer) => {
            mean_pooled(&contextualised(layer, frames, 2, 1e-5), &vec![true; frames.len()])
        }
    }
}

fn check(head: &Camoe, seed: u64, drops: bool, heads: usize, over: Excites) {
    let (texts, videos) = case(500 + seed);
    let n_texts = texts.n_texts();
    let whole = rows(&floats(&texts.pooled), WIDTH);
    let names = head.streams();
    let mut expected = Vec::new();
    for text in 0..n_texts {
        for (frames, mask) in clips(&videos) {
            let real = frames.iter().zip(&mask).filter(|(_, real)| **real).map(|(frame, _)| frame.clone());
            let frames: Rows = match &head.adapter {
                Some(adapter) => real.map(|frame| adapted(adapter, &frame)).collect(),
                None => real.collect(),
            };
            let gate = softmax(&linear(&head.gate.layer, &mean(&frames)));
            let (mut sum, mut total) = (0.0, 0.0);
            for (place, name) in names.iter().enumerate() {
                let stream = texts.streams.iter().find(|stream| stream.name == *name);
                let available = stream.is_none_or(|stream| bools(&stream.available)[text]);
                let words = match stream {
                    Some(stream) if available => rows(&floats(&stream.pooled), WIDTH)[text].clone(),
                    _ => whole[text].clone(),
                };
                let share = if available || !drops { gate[place] } else { 0.0 };
                let video = aggregate(&head.experts[place], &frames, heads, over);
                sum += share * dot(&unit(&words), &unit(&video));
                total += share;
            }
            expected.push(sum / total);
        }
    }
    let found = head.similarity(&head.code_texts(texts), &head.code_videos(videos)).fused;
    assert_close(&floats(&found), &expected, 1e-9);
}

#[test]
fn camoe_follows_the_formula() {
    for seed in 0..12 {
        check(&camoe(seed).map(&mut ToF64), seed, false, 2, Excites::Frames);
        check(&dropping_camoe(seed).map(&mut ToF64), seed, true, 4, Excites::Channels);
    }
}
