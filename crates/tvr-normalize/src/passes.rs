//! Passes over whole matrices: rows are cut into chunks by their number alone, chunks run in parallel, and their
//! results are merged in order, so the thread count changes nothing.

use crate::error::NormalizeError;
use crate::kernel;
use crate::source::ScoreSource;
use ndarray::Array2;
use rayon::prelude::*;
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
pub(crate) fn check_finite(first_row: usize, gallery: usize, block: &[f32]) -> Result<(), NormalizeError> {
    if kernel::all_finite(block) {
        return Ok(());
    }
    match block.iter().position(|value| !value.is_finite()) {
        None => Ok(()),
        Some(at) => Err(NormalizeError::NotFinite {
            block: "scores",
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

/// `lse_i (scale · s_ij)` for every column: one pass, each block read twice while it is in the cache.
pub(crate) fn column_lse(source: &dyn ScoreSource, scale: f64) -> Result<Vec<f64>, NormalizeError> {
    let [_, gallery] = source.shape();
    let chunks = each_chunk(
        source,
        || ColumnLse::new(gallery),
        |columns, rows, block| {
            check_finite(rows.start, gallery, block)?;
            columns.add(block, scale, |_| 0.0);
            Ok(())
        },
    )?;
    Ok(ColumnLse::finish(chunks))
}

/// A new matrix, `work(row index, old row, new row)` for every row.
pub(crate) fn map_rows(
    scores: &[f32],
    shape: [usize; 2],
    work: impl Fn(usize, &[f32], &mut [f32]) + Sync,
) -> Array2<f32> {
    let [rows, gallery] = shape;
    let mut out = Array2::zeros((rows, gallery));
    let chunk = chunk_rows(rows, 8) * gallery;
    if let Some(values) = out.as_slice_mut() {
        values.par_chunks_mut(chunk).zip(scores.par_chunks(chunk)).enumerate().for_each(
            |(index, (new, old))| {
                let first = index * chunk / gallery;
                for (row, (new, old)) in
                    new.chunks_exact_mut(gallery).zip(old.chunks_exact(gallery)).enumerate()
                {
                    work(first + row, old, new);
                }
            },
        );
    }
    out
}
