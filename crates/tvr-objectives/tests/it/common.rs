//! Batches drawn on the host, and losses of them in f64.

use burn::prelude::*;
use burn::tensor::DType;
use tvr_objectives::{Objective, Pairs};

pub type Rows = Vec<Vec<f64>>;

/// Splitmix64, and the normal numbers made of it.
pub struct Draw(u64);

impl Draw {
    pub fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x2545_F491_4F6C_DD1D).wrapping_add(1))
    }

    pub fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// In [0, 1).
    pub fn uniform(&mut self) -> f64 {
        (self.bits() >> 11) as f64 / (1u64 << 53) as f64
    }

    pub fn below(&mut self, bound: usize) -> usize {
        (self.bits() % bound as u64) as usize
    }

    /// Scores in ±`size`.
    pub fn scores(&mut self, rows: usize, columns: usize, size: f64) -> Rows {
        (0..rows).map(|_| (0..columns).map(|_| size * (2.0 * self.uniform() - 1.0)).collect()).collect()
    }

    /// Every text with one of the videos; every video has a text where there are enough.
    pub fn same(&mut self, texts: usize, videos: usize) -> Vec<usize> {
        let mut same: Vec<usize> =
            (0..texts).map(|text| if text < videos { text } else { self.below(videos) }).collect();
        same.sort_by_key(|_| self.bits());
        same
    }

    pub fn order(&mut self, items: usize) -> Vec<usize> {
        let mut order: Vec<usize> = (0..items).collect();
        order.sort_by_key(|_| self.bits());
        order
    }
}

pub fn matrix(rows: &Rows) -> Tensor<2> {
    let shape = [rows.len(), rows[0].len()];
    Tensor::from_data(TensorData::new(rows.concat(), shape), (&Device::flex(), DType::F64))
}

pub fn indices(same: &[usize]) -> Tensor<1, Int> {
    let values: Vec<i64> = same.iter().map(|&video| video as i64).collect();
    Tensor::from_data(TensorData::new(values, [same.len()]), &Device::flex())
}

pub fn scale(value: f64) -> Tensor<1> {
    Tensor::from_data(TensorData::new(vec![value], [1]), (&Device::flex(), DType::F64))
}

pub fn floats<const D: usize>(tensor: &Tensor<D>) -> Vec<f64> {
    tensor.to_data().iter::<f64>().collect()
}

pub fn diagonal(items: usize) -> Vec<usize> {
    (0..items).collect()
}

pub fn transposed(rows: &Rows) -> Rows {
    (0..rows[0].len()).map(|column| rows.iter().map(|row| row[column]).collect()).collect()
}

/// The loss of logits at scale 1.
pub fn loss<O: Objective>(objective: &O, logits: &Rows, same: &[usize]) -> f64 {
    let (similarity, same) = (matrix(logits), indices(same));
    let pairs = Pairs::new(&similarity, scale(1.0), &same);
    pairs.check(&objective.needs()).unwrap();
    objective.loss(&pairs).total.into_scalar()
}

pub fn parts<O: Objective>(objective: &O, logits: &Rows, same: &[usize]) -> Vec<f64> {
    let (similarity, same) = (matrix(logits), indices(same));
    let pairs = Pairs::new(&similarity, scale(1.0), &same);
    objective.loss(&pairs).parts.into_iter().map(|(_, part)| part.into_scalar()).collect()
}

/// The gradient of that loss with respect to the logits, row by row.
pub fn gradient<O: Objective>(objective: &O, logits: &Rows, same: &[usize]) -> Vec<f64> {
    let similarity = Tensor::from_inner(matrix(logits)).require_grad();
    let same = indices(same).to_device(&similarity.device());
    let pairs = Pairs::new(&similarity, Tensor::from_inner(scale(1.0)), &same);
    let gradients = objective.clone().train().loss(&pairs).total.backward();
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
