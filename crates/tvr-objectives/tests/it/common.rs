//! Batches drawn on the host, and losses of them in f64.

use std::ops::{Deref, DerefMut};

use burn::prelude::*;
use burn::tensor::DType;
use tvr_objectives::laws::{self, Expected};
use tvr_objectives::{CaptionTokens, DecoderConfig, Objective};

pub use tvr_nn::laws::{cast, floats};
pub use tvr_objectives::laws::{Batch, Rows};

/// Width of the vectors of a [`Batch`].
pub const WIDTH: usize = Expected::PLAIN.width;

/// Tokens that captions of a [`Batch`] are made of.
pub const VOCABULARY: usize = Expected::PLAIN.vocabulary;

/// The laws' numbers, with what batches are made of as methods.
pub struct Draw(laws::Draw);

impl Draw {
    pub fn new(seed: u64) -> Self {
        Self(laws::Draw::new(seed))
    }

    /// Scores in ±`size`.
    pub fn scores(&mut self, rows: usize, columns: usize, size: f64) -> Rows {
        laws::scores(&mut self.0, rows, columns, size)
    }

    /// Every text with one of the videos; every video has a text where there are enough.
    pub fn same(&mut self, texts: usize, videos: usize) -> Vec<usize> {
        laws::owners(&mut self.0, texts, videos)
    }
}

impl Deref for Draw {
    type Target = laws::Draw;

    fn deref(&self) -> &laws::Draw {
        &self.0
    }
}

impl DerefMut for Draw {
    fn deref_mut(&mut self) -> &mut laws::Draw {
        &mut self.0
    }
}

pub fn matrix(rows: &Rows) -> Tensor<2> {
    laws::matrix(rows, &Device::flex())
}

pub fn indices(same: &[usize]) -> Tensor<1, Int> {
    let values: Vec<i64> = same.iter().map(|&video| video as i64).collect();
    Tensor::from_data(TensorData::new(values, [same.len()]), &Device::flex())
}

pub fn scale(value: f64) -> Tensor<1> {
    Tensor::from_data(TensorData::new(vec![value], [1]), (&Device::flex(), DType::F64))
}

pub fn diagonal(items: usize) -> Vec<usize> {
    (0..items).collect()
}

pub fn transposed(rows: &Rows) -> Rows {
    (0..rows[0].len()).map(|column| rows.iter().map(|row| row[column]).collect()).collect()
}

/// Captions of one to five tokens, by name.
pub fn captions(names: &[usize], device: &Device) -> CaptionTokens {
    Batch::new(Tensor::zeros([names.len(), 1], device), &vec![0; names.len()], names).captions
}

/// A decoder for captions of a [`Batch`].
pub fn small_decoder() -> DecoderConfig {
    DecoderConfig { layers: 2, width: 8, heads: 2, prefix: 2, max_tokens: 5 }
}

/// The loss of logits at scale 1, and its parts.
pub fn judged<O: Objective>(
    objective: &O,
    logits: &Rows,
    same: &[usize],
    names: &[usize],
) -> (f64, Vec<f64>) {
    let batch = Batch::new(matrix(logits), same, names);
    batch.pairs().check(&objective.needs()).unwrap();
    let loss = objective.loss(&batch.pairs());
    (loss.total.into_scalar(), loss.parts.into_iter().map(|(_, part)| part.into_scalar()).collect())
}

pub fn loss<O: Objective>(objective: &O, logits: &Rows, same: &[usize]) -> f64 {
    judged(objective, logits, same, &diagonal(same.len())).0
}

pub fn parts<O: Objective>(objective: &O, logits: &Rows, same: &[usize]) -> Vec<f64> {
    judged(objective, logits, same, &diagonal(same.len())).1
}

/// The gradient of that loss with respect to the logits, row by row.
pub fn gradient<O: Objective>(objective: &O, logits: &Rows, same: &[usize]) -> Vec<f64> {
    named_gradient(objective, logits, same, &diagonal(same.len()))
}

pub fn named_gradient<O: Objective>(
    objective: &O,
    logits: &Rows,
    same: &[usize],
    names: &[usize],
) -> Vec<f64> {
    let similarity = Tensor::from_inner(matrix(logits)).require_grad();
    let batch = Batch::new(similarity.clone(), same, names);
    let gradients = objective.clone().train().loss(&batch.pairs()).total.backward();
    floats(&similarity.grad(&gradients).unwrap())
}

#[track_caller]
pub fn assert_close(found: &[f64], expected: &[f64], tolerance: f64) {
    assert_eq!(found.len(), expected.len(), "sizes differ");
    for (place, (&a, &b)) in found.iter().zip(expected).enumerate() {
        // Written so that NaN fails.
        assert!((a - b).abs() <= tolerance, "at {place}: {a} is not within {tolerance} of {b}");
    }
}
