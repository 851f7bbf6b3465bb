//! Pillow's bicubic resize, bit by bit.
//!
//! ```text
//! scale   = input / output,  stretch = max(scale, 1),  centre[i] = (i + 0.5) · scale
//! taps[i] = trunc(centre − 2 stretch + 0.5) .. trunc(centre + 2 stretch + 0.5), cut to the picture
//! w[i, k] = cubic((k − centre[i] + 0.5) / stretch) / Σ_k,  to 22 fractional bits, half away from zero
//! out[i]  = clamp((2^21 + Σ_k w[i, k] · in[k]) >> 22, 0, 255)
//! ```
//!
//! | symbol | meaning |
//! |---|---|
//! | `cubic` | Keys' kernel with a = −0.5 |
//! | `stretch` | widens the kernel where the picture shrinks: antialiasing |
//!
//! Each row along itself, rounded to bytes, then each column; the other way round if the picture becomes lower and
//! loses more than twice as many rows as columns (a tall one whose short side is resized). All sums are whole
//! numbers, so neither their order nor the number of threads can show. Only what the crop keeps is computed: an
//! output value depends on its own taps alone.
//!
//! Source: Pillow, `src/libImaging/Resample.c` (`precompute_coeffs`, `normalize_coeffs_8bpc`); the order of the passes
//! is that of Pillow 13, found by experiment on 2,982 pairs of sizes. Pillow 12 and older always begin with the rows.

use std::ops::Range;

use rayon::prelude::*;
use tvr_nn::widest;
use tvr_picture::Picture;

/// Fractional bits of a weight: 32, less 8 of a value, less 2 for sums beyond one.
const FRACTION: u32 = 22;

/// One half, which makes the final shift round.
const HALF: i32 = 1 << (FRACTION - 1);

/// The kernel's reach at its own size.
const REACH: f64 = 2.0;

/// Rows that one task resizes together: their values stand side by side, one vector instruction for all.
const ROWS: usize = 32;

/// Values of a row that one loop of the second pass holds in registers.
const BLOCK: usize = 64;

/// Where an output value comes from, along one axis.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Taps {
    first: usize,
    weights: Vec<i32>,
}

impl Taps {
    fn end(&self) -> usize {
        self.first + self.weights.len()
    }
}

/// A picture resized to `size` (width, height), of which only the window `columns` × `rows` is computed.
pub(super) fn resize(
    picture: &Picture,
    size: [usize; 2],
    columns: Range<usize>,
    rows: Range<usize>,
) -> Picture {
    let [width, height] = size;
    let (mut across, mut down) =
        (taps(picture.width(), width, &columns), taps(picture.height(), height, &rows));
    let lost = |from: usize, to: usize| from as i128 - to as i128;
    let columns_first =
        height < picture.height() && lost(picture.height(), height) > 2 * lost(picture.width(), width);
    if columns_first {
        let needed = span(&across);
        across.iter_mut().for_each(|taps| taps.first -= needed.start);
        let lower = shrink_columns(picture, needed, &down);
        shrink_rows(&lower, 0..rows.len(), &across)
    } else {
        let needed = span(&down);
        down.iter_mut().for_each(|taps| taps.first -= needed.start);
        let narrower = shrink_rows(picture, needed, &across);
        shrink_columns(&narrower, 0..columns.len(), &down)
    }
}

/// The input values that any of the taps need.
fn span(taps: &[Taps]) -> Range<usize> {
    let first = taps.iter().map(|taps| taps.first).min().unwrap_or(0);
    first..taps.iter().map(Taps::end).max().unwrap_or(first)
}

/// The rows `rows` of a picture, each resized along itself.
fn shrink_rows(picture: &Picture, rows: Range<usize>, across: &[Taps]) -> Picture {
    let stride = across.len() * picture.bands();
    let mut narrower = picture.blank(across.len(), rows.len());
    narrower.values_mut().par_chunks_mut(ROWS * stride).enumerate().for_each(|(task, out)| {
        let first = rows.start + task * ROWS;
        narrow(picture, first..first + out.len() / stride, across, out);
    });
    narrower
}

/// The columns `columns` of a picture, each resized along itself.
fn shrink_columns(picture: &Picture, columns: Range<usize>, down: &[Taps]) -> Picture {
    let (from, stride) = (picture.width() * picture.bands(), columns.len() * picture.bands());
    let mut lower = picture.blank(columns.len(), down.len());
    lower.values_mut().par_chunks_mut(ROWS * stride).zip(down.par_chunks(ROWS)).for_each(|(out, down)| {
        for (out, taps) in out.chunks_exact_mut(stride).zip(down) {
            let start = taps.first * from + columns.start * picture.bands();
            add_rows(&picture.values()[start..], from, &taps.weights, out);
        }
    });
    lower
}

/// The taps of the output values `keep` of an axis.
fn taps(input: usize, output: usize, keep: &Range<usize>) -> Vec<Taps> {
    let scale = input as f64 / output as f64;
    let stretch = scale.max(1.0);
    let support = REACH * stretch;
    let of = |index: usize| {
        let centre = (index as f64 + 0.5) * scale;
        // A cast cuts towards zero and takes what is negative to zero, as the source does in two steps.
        let first = (centre - support + 0.5) as usize;
        let end = ((centre + support + 0.5) as usize).min(input);
        let reciprocal = 1.0 / stretch;
        let mut weights: Vec<f64> =
            (first..end).map(|tap| cubic((tap as f64 - centre + 0.5) * reciprocal)).collect();
        let total: f64 = weights.iter().sum();
        if total != 0.0 {
            weights.iter_mut().for_each(|weight| *weight /= total);
        }
        let whole = |weight: f64| {
            let shifted = weight * f64::from(1 << FRACTION);
            (if weight < 0.0 { shifted - 0.5 } else { shifted + 0.5 }) as i32
        };
        Taps { first, weights: weights.into_iter().map(whole).collect() }
    };
    keep.clone().map(of).collect()
}

/// Keys' cubic with a = −0.5, in the source's order of operations.
fn cubic(x: f64) -> f64 {
    const A: f64 = -0.5;
    let x = x.abs();
    if x < 1.0 {
        ((A + 2.0) * x - (A + 3.0)) * x * x + 1.0
    } else if x < 2.0 {
        (((x - 5.0) * x + 8.0) * x - 4.0) * A
    } else {
        0.0
    }
}

/// Resizes the rows of one task along themselves.
fn narrow(picture: &Picture, rows: Range<usize>, across: &[Taps], out: &mut [u8]) {
    let bands = picture.bands();
    let Range { start: first, end } = span(across);
    let width = (end - first) * bands;
    // Turned so that values of one column are neighbours. A short last task repeats its last row.
    let mut turned = vec![[0u8; ROWS]; width];
    let line = |row: usize| {
        let start = (row * picture.width() + first) * bands;
        &picture.values()[start..start + width]
    };
    let lines: [&[u8]; ROWS] = std::array::from_fn(|row| line((rows.start + row).min(rows.end - 1)));
    turn(&lines, &mut turned);
    let mut results = vec![[0u8; ROWS]; across.len() * bands];
    add_columns(&turned, across, first, bands, &mut results);
    let stride = across.len() * bands;
    for (row, out) in out.chunks_exact_mut(stride).enumerate() {
        for (out, column) in out.iter_mut().zip(&results) {
            *out = column[row];
        }
    }
}

/// `sum + weight · value`. It never overflows: weights sum to one, and their magnitudes to less than two. The wrapping
/// forms spare the test for it, which would keep the loops from being vectorised.
#[inline(always)]
fn add(sum: i32, weight: i32, value: u8) -> i32 {
    sum.wrapping_add(weight.wrapping_mul(i32::from(value)))
}

#[inline(always)]
fn turn_body(lines: &[&[u8]; ROWS], turned: &mut [[u8; ROWS]]) {
    for (place, column) in turned.iter_mut().enumerate() {
        for (value, line) in column.iter_mut().zip(lines) {
            *value = line[place];
        }
    }
}
widest!(turn = turn_body(lines: &[&[u8]; ROWS], turned: &mut [[u8; ROWS]]));

#[inline(always)]
fn add_columns_body(
    turned: &[[u8; ROWS]],
    across: &[Taps],
    first: usize,
    bands: usize,
    results: &mut [[u8; ROWS]],
) {
    for (taps, results) in across.iter().zip(results.chunks_exact_mut(bands)) {
        let columns = &turned[(taps.first - first) * bands..];
        for (band, result) in results.iter_mut().enumerate() {
            let mut sums = [HALF; ROWS];
            for (&weight, column) in taps.weights.iter().zip(columns[band..].iter().step_by(bands)) {
                for (sum, &value) in sums.iter_mut().zip(column) {
                    *sum = add(*sum, weight, value);
                }
            }
            for (value, sum) in result.iter_mut().zip(sums) {
                *value = (sum >> FRACTION).clamp(0, 255) as u8;
            }
        }
    }
}
widest!(add_columns = add_columns_body(
    turned: &[[u8; ROWS]], across: &[Taps], first: usize, bands: usize, results: &mut [[u8; ROWS]]
));

/// One row of the result from the rows under its taps, which begin every `stride` values.
#[inline(always)]
fn add_rows_body(rows: &[u8], stride: usize, weights: &[i32], out: &mut [u8]) {
    for (block, out) in out.chunks_mut(BLOCK).enumerate() {
        let start = block * BLOCK;
        if let Ok(out) = <&mut [u8; BLOCK]>::try_from(&mut *out) {
            let mut sums = [HALF; BLOCK];
            for (tap, &weight) in weights.iter().enumerate() {
                let row = &rows[tap * stride + start..][..BLOCK];
                for (sum, &value) in sums.iter_mut().zip(row) {
                    *sum = add(*sum, weight, value);
                }
            }
            for (value, sum) in out.iter_mut().zip(sums) {
                *value = (sum >> FRACTION).clamp(0, 255) as u8;
            }
            continue;
        }
        for (place, value) in out.iter_mut().enumerate() {
            let column = rows[start + place..].iter().step_by(stride);
            let sum = weights.iter().zip(column).fold(HALF, |sum, (&weight, &value)| add(sum, weight, value));
            *value = (sum >> FRACTION).clamp(0, 255) as u8;
        }
    }
}
widest!(add_rows = add_rows_body(rows: &[u8], stride: usize, weights: &[i32], out: &mut [u8]));
