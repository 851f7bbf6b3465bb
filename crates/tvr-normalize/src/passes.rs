//! Passes over whole matrices: rows are cut into chunks by their number alone, chunks run in parallel, and their
//! results are merged in order, so the thread count changes nothing.

use crate::error::NormalizeError;
use crate::kernel;
use crate::source::ScoreSource;
use ndarray::Array2;
use rayon::prelude::*;
use std::mem::MaybeUninit;
use std::ops::Range;

/// Rows whose f32 sums are emptied into f64 together.
pub(crate) const GROUP: usize = 32;
/// Most chunks of one pass.
const CHUNKS: usize = 64;

/// The rows of each chunk: at most [`CHUNKS`] chunks, each a multiple of `block` rows.
pub(crate) fn chunk_rows(rows: usize, block: usize) -> usize {
    rows.div_ceil(CHUNKS).div_ceil(block).max(1) * block
}

/// Runs `work` on every block of every chunk; a chunk's blocks share one `T`, and the `T`s come back in order.
pub(crate) fn each_chunk<T: Send>(
    source: &dyn ScoreSource,
    start: impl Fn() -> T + Sync,
    work: impl Fn(&mut T, Range<usize>, &[f32]) -> Result<(), NormalizeError> + Sync,
) -> Result<Vec<T>, NormalizeError> {
    let [rows, _] = source.shape();
    let block = source.block_rows();
    let chunk = chunk_rows(rows, block);
    (0..rows.div_ceil(chunk))
        .into_par_iter()
        .map(|index| {
            let mut state = start();
            let mut scratch = Vec::new();
            let end = (index * chunk + chunk).min(rows);
            let mut at = index * chunk;
            while at < end {
                let range = at..(at + block).min(end);
                work(&mut state, range.clone(), source.block(range.clone(), &mut scratch))?;
                at = range.end;
            }
            Ok(state)
        })
        .collect()
}

/// Refuses the first value of a block that is not finite.
pub(crate) fn check_finite(
    name: &'static str,
    first_row: usize,
    gallery: usize,
    block: &[f32],
) -> Result<(), NormalizeError> {
    if kernel::all_finite(block) {
        return Ok(());
    }
    match block.iter().position(|value| !value.is_finite()) {
        None => Ok(()),
        Some(at) => Err(NormalizeError::NotFinite {
            block: name,
            row: first_row + at / gallery,
            column: at % gallery,
            value: block[at].to_string(),
        }),
    }
}

/// `ln Σ exp` of every column, collected a block of rows at a time.
pub(crate) struct ColumnLse {
    max: Vec<f64>,
    next: Vec<f64>,
    sum: Vec<f64>,
    partial: Vec<f32>,
}

impl ColumnLse {
    pub(crate) fn new(gallery: usize) -> Self {
        Self {
            max: vec![f64::NEG_INFINITY; gallery],
            next: vec![f64::NEG_INFINITY; gallery],
            sum: vec![0.0; gallery],
            partial: vec![0.0; gallery],
        }
    }

    /// Adds the rows `scale · s + offset`, one offset a row.
    pub(crate) fn add(&mut self, block: &[f32], scale: f64, offset: impl Fn(usize) -> f64) {
        let gallery = self.max.len();
        for (group_index, group) in block.chunks(GROUP * gallery).enumerate() {
            let first = group_index * GROUP;
            for (row, scores) in group.chunks_exact(gallery).enumerate() {
                kernel::column_max(scores, scale, offset(first + row), &mut self.next);
            }
            self.rescale();
            self.partial.fill(0.0);
            for (row, scores) in group.chunks_exact(gallery).enumerate() {
                kernel::column_sum_exp(scores, scale, offset(first + row), &self.max, &mut self.partial);
            }
            kernel::widen_into(&self.partial, &mut self.sum);
        }
    }

    /// Takes over the maxima in `next`, with the sums made so far brought to the new ones.
    fn rescale(&mut self) {
        for ((max, &next), sum) in self.max.iter_mut().zip(&self.next).zip(&mut self.sum) {
            if next > *max {
                *sum *= (*max - next).exp(); // exp(−∞) is 0 for a column that has no rows yet
                *max = next;
            }
        }
    }

    fn merge(&mut self, other: &Self) {
        self.next.copy_from_slice(&self.max);
        for (next, &max) in self.next.iter_mut().zip(&other.max) {
            *next = next.max(max);
        }
        self.rescale();
        for (column, sum) in self.sum.iter_mut().enumerate() {
            *sum += other.sum[column] * (other.max[column] - self.max[column]).exp();
        }
    }

    /// Merges the chunks of one pass, in order.
    pub(crate) fn finish(chunks: Vec<Self>) -> Vec<f64> {
        let mut chunks = chunks.into_iter();
        let Some(mut total) = chunks.next() else { return Vec::new() };
        for chunk in chunks {
            total.merge(&chunk);
        }
        total.max.iter().zip(&total.sum).map(|(max, sum)| max + sum.ln()).collect()
    }
}

/// Of every column the largest score, and `Σ w · exp(scale · (s − largest))`: shares and log-sum-exps follow.
pub(crate) struct ColumnSums {
    pub(crate) max: Vec<f32>,
    pub(crate) sum: Vec<f64>,
    scale: f64,
}

impl ColumnSums {
    /// One pass over a source: a block of rows is read twice while it is in the cache. `weights` has one number a row.
    pub(crate) fn of(
        source: &dyn ScoreSource,
        scale: f64,
        weights: Option<&[f32]>,
    ) -> Result<Self, NormalizeError> {
        let [_, gallery] = source.shape();
        let narrow = narrow(scale);
        let start = || Partial {
            max: vec![f32::NEG_INFINITY; gallery],
            next: vec![f32::NEG_INFINITY; gallery],
            sum: vec![0.0; gallery],
            part: vec![0.0; gallery],
        };
        let chunks = each_chunk(source, start, |partial, rows, block| {
            if !kernel::share_max(block, &mut partial.next) {
                return check_finite(source.name(), rows.start, gallery, block);
            }
            kernel::rescale_sums(&mut partial.sum, narrow, &partial.max, &partial.next);
            partial.max.copy_from_slice(&partial.next);
            for (group_index, group) in block.chunks(GROUP * gallery).enumerate() {
                partial.part.fill(0.0);
                for (index, row) in group.chunks_exact(gallery).enumerate() {
                    let row_index = rows.start + group_index * GROUP + index;
                    let weight = weights.map_or(1.0, |weights| weights[row_index]);
                    kernel::share_sum(row, narrow, &partial.max, weight, &mut partial.part);
                }
                kernel::widen_into(&partial.part, &mut partial.sum);
            }
            Ok(())
        })?;
        let mut max = vec![f32::NEG_INFINITY; gallery];
        for chunk in &chunks {
            kernel::share_max(&chunk.max, &mut max);
        }
        let mut sum = vec![0.0; gallery];
        for mut chunk in chunks {
            kernel::rescale_sums(&mut chunk.sum, narrow, &chunk.max, &max);
            sum.iter_mut().zip(&chunk.sum).for_each(|(sum, part)| *sum += part);
        }
        Ok(Self { max, sum, scale })
    }

    /// `ln Σ w · exp(scale · s)` of every column.
    pub(crate) fn lse(&self) -> Vec<f64> {
        self.max.iter().zip(&self.sum).map(|(&max, sum)| f64::from(max) * self.scale + sum.ln()).collect()
    }

    /// What a term `exp(scale · (s − largest))` is multiplied with to be a share.
    pub(crate) fn inverse(&self) -> Vec<f32> {
        self.sum.iter().map(|sum| (1.0 / sum) as f32).collect()
    }

    /// `ln Σ w · exp(scale · (s − largest))`
    pub(crate) fn log_sum(&self) -> Vec<f32> {
        self.sum.iter().map(|sum| sum.ln() as f32).collect()
    }
}

struct Partial {
    max: Vec<f32>,
    next: Vec<f32>,
    sum: Vec<f64>,
    part: Vec<f32>,
}

/// A scale in f32. Of a temperature below 1e-38 it is as large as can be, and what is not the largest has no share.
pub(crate) fn narrow(scale: f64) -> f32 {
    (scale as f32).min(f32::MAX)
}

/// A new matrix `[rows, gallery]`: `work(index of the first row, old rows, new rows)` for every block, which sets
/// every value of the new rows.
pub(crate) fn map_rows(
    source: &dyn ScoreSource,
    rows: Range<usize>,
    work: impl Fn(usize, &[f32], &mut [MaybeUninit<f32>]) -> Result<(), NormalizeError> + Sync,
) -> Result<Array2<f32>, NormalizeError> {
    let [_, gallery] = source.shape();
    let block = chunk_rows(rows.len(), 8).min(source.block_rows()).max(1);
    // Not set beforehand: writing zeros first would cost as much as the work itself.
    let mut values: Vec<f32> = Vec::with_capacity(rows.len() * gallery);
    values.spare_capacity_mut()[..rows.len() * gallery]
        .par_chunks_mut(block * gallery)
        .enumerate()
        .try_for_each_init(Vec::new, |scratch, (index, new)| {
            let first = rows.start + index * block;
            work(first, source.block(first..(first + block).min(rows.end), scratch), new)
        })?;
    // SAFETY: the capacity was asked for above, and every block of it was set by `work`.
    unsafe { values.set_len(rows.len() * gallery) };
    // The shape holds by construction; an empty matrix stands for the error that cannot be.
    Ok(Array2::from_shape_vec((rows.len(), gallery), values).unwrap_or_default())
}
