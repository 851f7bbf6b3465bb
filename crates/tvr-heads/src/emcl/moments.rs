//! Second moments of many items, from any blocks: what `items = "global"` finds its bases on.

use burn::module::Param;
use burn::prelude::*;
use burn::tensor::DType;

use super::average::replaced;
use super::em::Gram;
use crate::error::HeadError;
use crate::features::first_false;

/// Columns of a block of a Gram matrix.
const BLOCK: usize = 128;

/// `Xᵀ X` and `Xᵀ 1` of a declared set, added up block by block in f64.
#[derive(Clone, Debug, PartialEq)]
pub struct Moments {
    width: usize,
    gram: Vec<f64>,
    sum: Vec<f64>,
    items: usize,
}

impl Moments {
    /// Of no items yet.
    pub fn new(width: usize) -> Self {
        Self { width, gram: vec![0.0; width * width], sum: vec![0.0; width], items: 0 }
    }

    /// Number of items so far.
    pub fn n_items(&self) -> usize {
        self.items
    }

    /// Adds the items of a block, `[items, width]`. Products within a block have the block's own precision.
    ///
    /// # Errors
    /// A block of another width, or with a value that is NaN or infinite.
    pub fn add(&mut self, block: &Tensor<2>) -> Result<(), HeadError> {
        let [items, width] = block.dims();
        if width != self.width {
            let (expected, found) = (vec![items, self.width], vec![items, width]);
            return Err(HeadError::Shape { what: "a block of items", expected, found });
        }
        if items == 0 {
            return Ok(());
        }
        if let Some(item) = first_false(block.clone().is_finite().all_dim(1)) {
            return Err(HeadError::NotFinite { what: "item", item: self.items + item });
        }
        add_to(&mut self.gram, gram(block));
        add_to(&mut self.sum, block.clone().sum_dim(0));
        self.items += items;
        Ok(())
    }

    /// The moments as tensors.
    ///
    /// # Errors
    /// There is no item.
    pub fn gram(&self, device: &Device, dtype: DType) -> Result<Gram, HeadError> {
        if self.items == 0 {
            return Err(HeadError::Empty { what: "items to find bases on" });
        }
        let tensor = |values: &[f64], rows: usize| {
            Tensor::<2>::from_data(TensorData::new(values.to_vec(), [rows, self.width]), (device, dtype))
        };
        Ok(Gram { gram: tensor(&self.gram, self.width), sum: tensor(&self.sum, 1), items: self.items as f64 })
    }
}

/// `Xᵀ X` of items, `[items, width]` to `[width, width]`. Outside a graph a wide one is made of blocks of columns, those
/// below the diagonal mirrored; in a graph the gradient of each cut would be as large as the items.
pub(super) fn gram(items: &Tensor<2>) -> Tensor<2> {
    let [_, width] = items.dims();
    let blocks = width.div_ceil(BLOCK);
    if blocks < 2 || items.is_autodiff() {
        return items.clone().transpose().matmul(items.clone());
    }
    let columns = |block: usize| items.clone().slice_dim(1, block * BLOCK..width.min((block + 1) * BLOCK));
    // Row by row of blocks, from the diagonal to the right.
    let right = (0..blocks).map(|row| {
        let left = columns(row).transpose();
        left.matmul(items.clone().slice_dim(1, row * BLOCK..width))
    });
    let right: Vec<Tensor<2>> = right.collect();
    let rows = (0..blocks).map(|row| {
        let mirrored = (0..row).map(|above| {
            let start = (row - above) * BLOCK;
            let stop = start + right[row].dims()[0];
            right[above].clone().slice_dim(1, start..stop).transpose()
        });
        let row: Vec<Tensor<2>> = mirrored.chain([right[row].clone()]).collect();
        Tensor::cat(row, 1)
    });
    Tensor::cat(rows.collect(), 0)
}

fn add_to(total: &mut [f64], block: Tensor<2>) {
    for (total, value) in total.iter_mut().zip(block.into_data().iter::<f64>()) {
        *total += value;
    }
}

/// Moving means of second moments over the steps of a training run, part of the record (ours).
#[derive(Module, Debug)]
pub struct Running {
    /// Of `Xᵀ X / items`, a matrix per cosine. `[cosines, width, width]`
    pub gram: Param<Tensor<3>>,
    /// Of `Xᵀ 1 / items`. `[cosines, width]`
    pub sum: Param<Tensor<2>>,
    /// How much of the means is data: 0 before the first step, towards 1. `[1]`
    pub weight: Param<Tensor<1>>,
    #[module(skip)]
    momentum: f64,
}

impl Running {
    pub(crate) fn new(momentum: f64, cosines: usize, width: usize, device: &Device) -> Self {
        Self {
            gram: Param::from_tensor(Tensor::zeros([cosines, width, width], device)).set_require_grad(false),
            sum: Param::from_tensor(Tensor::zeros([cosines, width], device)).set_require_grad(false),
            weight: Param::from_tensor(Tensor::zeros([1], device)).set_require_grad(false),
            momentum,
        }
    }

    /// The means of one cosine, outside any graph; `None` before the first step. Reads a number from the device.
    pub fn gram(&self, cosine: usize) -> Option<Gram> {
        let weight = self.weight.val().into_data().iter::<f64>().next().filter(|&weight| weight > 0.0)?;
        let [_, width, _] = self.gram.val().dims();
        let rows = cosine..cosine + 1;
        let gram = self.gram.val().without_autodiff().slice_dim(0, rows.clone()).reshape([width, width]);
        let sum = self.sum.val().without_autodiff().slice_dim(0, rows);
        Some(Gram { gram: gram / weight, sum: sum / weight, items: 1.0 })
    }

    /// Moves the means towards those of a batch: the rows of each cosine, `[items, width]`.
    pub fn update(&mut self, rows: &[Tensor<2>]) {
        if rows.is_empty() {
            return;
        }
        let mean = |rows: &Tensor<2>| rows.clone().sum_dim(0) / rows.dims()[0] as f64;
        let grams = rows.iter().map(|rows| gram(rows) / rows.dims()[0] as f64);
        let grams = Tensor::stack::<3>(grams.collect(), 0);
        let sums = Tensor::cat(rows.iter().map(mean).collect(), 0);
        let (old, new) = (self.momentum, 1.0 - self.momentum);
        let grams = self.gram.val().without_autodiff() * old + grams * new;
        let sums = self.sum.val().without_autodiff() * old + sums * new;
        let weight = self.weight.val().without_autodiff() * old + new;
        self.gram = replaced(self.gram.clone(), grams);
        self.sum = replaced(self.sum.clone(), sums);
        self.weight = replaced(self.weight.clone(), weight);
    }
}
