//! Slow, obvious, f64; written from the formulas, apart from the crate.

use burn::prelude::*;
use tvr_objectives::ncl::sinkhorn::{Marginals, Start, potentials};
use tvr_objectives::{DualSoftmaxConfig, NclConfig, Positives, SymmetricConfig};

use crate::common::{Draw, Rows, assert_close, floats, loss, matrix, transposed};

fn log_sum(values: &[f64]) -> f64 {
    let largest = values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    largest + values.iter().map(|x| (x - largest).exp()).sum::<f64>().ln()
}

/// Mean over the rows with a positive; a row's positives share its mass.
fn rows_entropy(logits: &Rows, positives: &[Vec<usize>]) -> f64 {
    let (mut sum, mut judged) = (0.0, 0.0);
    for (row, positives) in logits.iter().zip(positives) {
        if positives.is_empty() {
            continue;
        }
        judged += 1.0;
        for &column in positives {
            sum -= (row[column] - log_sum(row)) / positives.len() as f64;
        }
    }
    sum / judged
}

fn both(text_to_video: &Rows, video_to_text: &Rows, same: &[usize]) -> f64 {
    let of_texts: Vec<Vec<usize>> = same.iter().map(|&video| vec![video]).collect();
    let of_videos: Vec<Vec<usize>> = (0..video_to_text.len())
        .map(|video| (0..same.len()).filter(|&text| same[text] == video).collect())
        .collect();
    (rows_entropy(text_to_video, &of_texts) + rows_entropy(video_to_text, &of_videos)) / 2.0
}

pub fn symmetric(logits: &Rows, same: &[usize]) -> f64 {
    both(logits, &transposed(logits), same)
}

fn revised(logits: &Rows, temperature: f64, scaled: bool) -> Rows {
    let columns = transposed(logits);
    let n = if scaled { logits.len() as f64 } else { 1.0 };
    logits
        .iter()
        .map(|row| {
            row.iter()
                .zip(&columns)
                .map(|(&z, column)| {
                    let tempered: Vec<f64> = column.iter().map(|x| x / temperature).collect();
                    n * z * (z / temperature - log_sum(&tempered)).exp()
                })
                .collect()
        })
        .collect()
}

pub fn dual_softmax(logits: &Rows, same: &[usize], temperature: f64, scaled: bool) -> f64 {
    both(&revised(logits, temperature, scaled), &revised(&transposed(logits), temperature, scaled), same)
}

pub fn column_bias(s: &Rows, sweeps: usize, start: Start, r: &[f64], c: &[f64]) -> Vec<f64> {
    let columns = transposed(s);
    let add = |row: &[f64], bias: &[f64]| row.iter().zip(bias).map(|(x, b)| x + b).collect::<Vec<f64>>();
    let mut g: Vec<f64> = match start {
        Start::Row => vec![0.0; columns.len()],
        Start::Column => columns.iter().zip(c).map(|(column, c)| c.ln() - log_sum(column)).collect(),
    };
    for _ in 0..sweeps {
        let f: Vec<f64> = s.iter().zip(r).map(|(row, r)| r.ln() - log_sum(&add(row, &g))).collect();
        g = columns.iter().zip(c).map(|(column, c)| c.ln() - log_sum(&add(column, &f))).collect();
    }
    g
}

fn uniform(items: usize) -> Vec<f64> {
    vec![1.0 / items as f64; items]
}

pub fn ncl(logits: &Rows, same: &[usize], sweeps: usize, start: Start) -> f64 {
    let biased = |s: &Rows| -> Rows {
        let bias = column_bias(s, sweeps, start, &uniform(s.len()), &uniform(s[0].len()));
        s.iter().map(|row| row.iter().zip(&bias).map(|(x, b)| x + b).collect()).collect()
    };
    both(&biased(logits), &biased(&transposed(logits)), same)
}

/// `s` holds the scores of texts among videos, `back` those of videos among texts, both `[texts, videos]`.
pub fn hinge(s: &Rows, back: &Rows, same: &[usize], margin: f64, hardest: bool) -> f64 {
    let (mut sums, mut counts, mut worst) = ([0.0; 2], [0.0; 2], 0.0);
    for (text, &own) in same.iter().enumerate() {
        let cost = |s: &Rows, other: f64| (margin - s[text][own] + other).max(0.0);
        let of_videos: Vec<f64> =
            (0..s[0].len()).filter(|&video| video != own).map(|video| cost(s, s[text][video])).collect();
        let of_texts: Vec<f64> = (0..same.len())
            .filter(|&other| same[other] != own)
            .map(|other| cost(back, back[other][own]))
            .collect();
        for (direction, costs) in [of_videos, of_texts].iter().enumerate() {
            worst += costs.iter().copied().fold(0.0, f64::max);
            sums[direction] += costs.iter().sum::<f64>();
            counts[direction] += costs.len() as f64;
        }
    }
    if hardest {
        return worst / same.len() as f64;
    }
    (0..2)
        .map(|direction| if counts[direction] > 0.0 { sums[direction] / counts[direction] } else { 0.0 })
        .sum::<f64>()
        / 2.0
}

pub fn every_margin_holds(s: &Rows, same: &[usize], margin: f64) -> bool {
    same.iter().enumerate().all(|(text, &own)| {
        (0..s[0].len()).all(|video| video == own || s[text][own] >= margin + s[text][video])
            && (0..same.len()).all(|other| same[other] == own || s[text][own] >= margin + s[other][own])
    })
}

/// Random grouped batches: unequal numbers, videos with several texts and videos with none.
fn for_batches(check: impl Fn(&Rows, &[usize], f64)) {
    for seed in 0..40 {
        let mut draw = Draw::new(seed);
        let (texts, videos) = (1 + draw.below(8), 1 + draw.below(8));
        let logits = draw.scores(texts, videos, 20.0);
        let same: Vec<usize> = (0..texts).map(|_| draw.below(videos)).collect();
        check(&logits, &same, 10f64.powf(4.0 * draw.uniform() - 1.0));
    }
}

#[test]
fn symmetric_follows_the_formula() {
    let objective = SymmetricConfig::ours().init().unwrap();
    for_batches(|logits, same, _| {
        assert_close(&[loss(&objective, logits, same)], &[symmetric(logits, same)], 1e-10);
    });
}

#[test]
fn dual_softmax_follows_the_formula() {
    for_batches(|logits, same, temperature| {
        for scale_by_batch in [true, false] {
            let (temperature, detach, positives) = (temperature as f32, scale_by_batch, Positives::Same);
            let config = DualSoftmaxConfig {
                temperature,
                detach,
                scale_by_batch,
                positives,
                ..DualSoftmaxConfig::paper()
            };
            let expected = dual_softmax(logits, same, temperature.into(), scale_by_batch);
            let found = loss(&config.init().unwrap(), logits, same);
            assert_close(&[found], &[expected], 1e-6 * expected.abs().max(1.0)); // the temperature is an f32
        }
    });
}

#[test]
fn ncl_follows_the_formula() {
    for_batches(|logits, same, _| {
        for (sweeps, start) in [(1, Start::Row), (4, Start::Column), (30, Start::Row)] {
            let config = NclConfig { sweeps, start, ..NclConfig::reference() };
            let objective = config.init(1, &Device::flex()).unwrap();
            assert_close(&[loss(&objective, logits, same)], &[ncl(logits, same, sweeps, start)], 1e-9);
        }
    });
}

#[test]
fn potentials_follow_the_formula_for_any_marginals() {
    for seed in 0..20 {
        let mut draw = Draw::new(seed);
        let (rows, columns) = (1 + draw.below(6), 1 + draw.below(6));
        let s = draw.scores(rows, columns, 20.0);
        let mut share = |items: usize| -> Vec<f64> {
            let values: Vec<f64> = (0..items).map(|_| 0.1 + draw.uniform()).collect();
            let sum: f64 = values.iter().sum();
            values.iter().map(|x| x / sum).collect()
        };
        let (r, c) = (share(rows), share(columns));
        let marginals = Marginals {
            rows: matrix(&r.iter().map(|&x| vec![x]).collect()),
            columns: matrix(&vec![c.clone()]),
        };
        for start in [Start::Row, Start::Column] {
            let found = floats(&potentials(matrix(&s), start, 5, Some(&marginals)).columns);
            assert_close(&found, &column_bias(&s, 5, start, &r, &c), 1e-10);
        }
    }
}
