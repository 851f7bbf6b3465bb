//! The loops of `ln Σ exp(x + bias)` over one side of a matrix, and of its gradient.

use rayon::prelude::*;

use super::loops::{LANES, exp, largest, rows_of_a_task, total};
use crate::widest;

/// Columns that a task takes at a time; a constant, as every cut.
const STRIP: usize = 64;

/// Along every row. `x`: `[rows, columns]`, `bias`: one per column, `out`: one per row.
pub(super) fn of_rows(x: &[f32], bias: &[f32], out: &mut [f32]) {
    let columns = bias.len();
    if columns == 0 {
        return out.fill(f32::NEG_INFINITY);
    }
    let rows = rows_of_a_task(columns);
    x.par_chunks(rows * columns)
        .zip(out.par_chunks_mut(rows))
        .for_each(|(x, out)| rows_of_task(x, bias, out));
}

#[inline(always)]
fn rows_body<const FMA: bool>(x: &[f32], bias: &[f32], out: &mut [f32]) {
    let mut moved = vec![0.0f32; bias.len()];
    for (row, out) in x.chunks_exact(bias.len()).zip(out) {
        for ((moved, &x), &bias) in moved.iter_mut().zip(row).zip(bias) {
            *moved = x + bias;
        }
        let most = largest(&moved);
        if most == f32::NEG_INFINITY {
            *out = moved.iter().copied().find(|value| value.is_nan()).unwrap_or(f32::NEG_INFINITY);
            continue;
        }
        let mut lanes = [0.0f32; LANES];
        let parts = moved.chunks_exact(LANES);
        for (&value, lane) in parts.remainder().iter().zip(&mut lanes) {
            *lane = exp::<FMA>(value - most);
        }
        for part in parts {
            for (&value, lane) in part.iter().zip(&mut lanes) {
                *lane += exp::<FMA>(value - most);
            }
        }
        *out = total(lanes).ln() + most;
    }
}
widest!(rows_of_task = rows_body::<FMA>(x: &[f32], bias: &[f32], out: &mut [f32]));

/// Along every column. `x`: `[rows, columns]`, `bias`: one per row, `out`: one per column.
pub(super) fn of_columns(x: &[f32], bias: &[f32], out: &mut [f32]) {
    let columns = out.len();
    out.par_chunks_mut(STRIP)
        .enumerate()
        .for_each(|(strip, out)| columns_of_task(x, bias, columns, strip * STRIP, out));
}

#[inline(always)]
fn columns_body<const FMA: bool>(x: &[f32], bias: &[f32], columns: usize, first: usize, out: &mut [f32]) {
    let (mut most, mut sums) = ([f32::NEG_INFINITY; STRIP], [0.0f32; STRIP]);
    let rows = || x.chunks_exact(columns).map(|row| &row[first..first + out.len()]).zip(bias);
    for (row, &bias) in rows() {
        for (&x, most) in row.iter().zip(&mut most) {
            let value = x + bias;
            *most = if value > *most { value } else { *most };
        }
    }
    // Shifting a column of −∞ by −∞ would make NaN of it.
    for most in &mut most {
        *most = if *most == f32::NEG_INFINITY { 0.0 } else { *most };
    }
    for (row, &bias) in rows() {
        for ((&x, most), sum) in row.iter().zip(&most).zip(&mut sums) {
            *sum += exp::<FMA>(x + bias - most);
        }
    }
    for ((out, sum), most) in out.iter_mut().zip(sums).zip(most) {
        *out = sum.ln() + most;
    }
}
widest!(columns_of_task = columns_body::<FMA>(x: &[f32], bias: &[f32], columns: usize, first: usize, out: &mut [f32]));

/// Turns `x` into the gradients `g · exp(x + bias − out)`, where `out` and `g` have one value per row.
pub(super) fn gradient_of_rows(x: &mut [f32], bias: &[f32], out: &[f32], gradient: &[f32]) {
    let columns = bias.len();
    if columns == 0 {
        return;
    }
    let rows = rows_of_a_task(columns);
    x.par_chunks_mut(rows * columns)
        .zip(out.par_chunks(rows).zip(gradient.par_chunks(rows)))
        .for_each(|(x, (out, gradient))| gradient_rows_of_task(x, bias, out, gradient));
}

#[inline(always)]
fn gradient_rows_body<const FMA: bool>(x: &mut [f32], bias: &[f32], out: &[f32], gradient: &[f32]) {
    for ((row, &out), &gradient) in x.chunks_exact_mut(bias.len()).zip(out).zip(gradient) {
        // Nothing moves what is −∞.
        let out = if out == f32::NEG_INFINITY { f32::INFINITY } else { out };
        for (x, &bias) in row.iter_mut().zip(bias) {
            *x = gradient * exp::<FMA>(*x + bias - out);
        }
    }
}
widest!(gradient_rows_of_task = gradient_rows_body::<FMA>(x: &mut [f32], bias: &[f32], out: &[f32], gradient: &[f32]));

/// The same where `bias` has one value per row, and `out` and `g` one per column.
pub(super) fn gradient_of_columns(x: &mut [f32], bias: &[f32], out: &[f32], gradient: &[f32]) {
    let columns = out.len();
    if columns == 0 {
        return;
    }
    let out: Vec<f32> =
        out.iter().map(|&out| if out == f32::NEG_INFINITY { f32::INFINITY } else { out }).collect();
    let rows = rows_of_a_task(columns);
    x.par_chunks_mut(rows * columns)
        .zip(bias.par_chunks(rows))
        .for_each(|(x, bias)| gradient_columns_of_task(x, bias, &out, gradient));
}

#[inline(always)]
fn gradient_columns_body<const FMA: bool>(x: &mut [f32], bias: &[f32], out: &[f32], gradient: &[f32]) {
    for (row, &bias) in x.chunks_exact_mut(out.len()).zip(bias) {
        for ((x, &out), &gradient) in row.iter_mut().zip(out).zip(gradient) {
            *x = gradient * exp::<FMA>(*x + bias - out);
        }
    }
}
widest!(gradient_columns_of_task = gradient_columns_body::<FMA>(x: &mut [f32], bias: &[f32], out: &[f32], gradient: &[f32]));
