//! The loops of `ln Σ exp(scale · x + bias)` over one side of a matrix, and of its gradient at a scale of 1.

use rayon::prelude::*;

use super::loops::{LANES, exp, largest, madd, rows_of_a_task, total};
use crate::widest;

/// Columns that a task takes at a time; a constant, as every cut.
pub(super) const STRIP: usize = 64;

/// Along every row. `x`: `[rows, columns]`, `bias`: one per column, `out`: one per row.
pub(super) fn of_rows(x: &[f32], scale: f32, bias: &[f32], out: &mut [f32]) {
    let columns = bias.len();
    if columns == 0 {
        return out.fill(f32::NEG_INFINITY);
    }
    let rows = rows_of_a_task(columns);
    x.par_chunks(rows * columns)
        .zip(out.par_chunks_mut(rows))
        .for_each(|(x, out)| rows_of_task(x, scale, bias, out));
}

#[inline(always)]
fn rows_body<const FMA: bool>(x: &[f32], scale: f32, bias: &[f32], out: &mut [f32]) {
    let mut moved = vec![0.0f32; bias.len()];
    for (row, out) in x.chunks_exact(bias.len()).zip(out) {
        for ((moved, &x), &bias) in moved.iter_mut().zip(row).zip(bias) {
            *moved = madd::<FMA>(x, scale, bias);
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
widest!(rows_of_task = rows_body::<FMA>(x: &[f32], scale: f32, bias: &[f32], out: &mut [f32]));

/// Along every column. `x`: `[rows, columns]`, `bias`: one per row, `out`: one per column.
pub(super) fn of_columns(x: &[f32], scale: f32, bias: &[f32], out: &mut [f32]) {
    let columns = out.len();
    out.par_chunks_mut(STRIP)
        .enumerate()
        .for_each(|(strip, out)| columns_of_task(x, scale, bias, columns, strip * STRIP, out));
}

#[inline(always)]
fn columns_body<const FMA: bool>(
    x: &[f32],
    scale: f32,
    bias: &[f32],
    columns: usize,
    first: usize,
    out: &mut [f32],
) {
    let (mut most, mut sums) = ([f32::NEG_INFINITY; STRIP], [0.0f32; STRIP]);
    let rows = || x.chunks_exact(columns).map(|row| &row[first..first + out.len()]).zip(bias);
    for (row, &bias) in rows() {
        for (&x, most) in row.iter().zip(&mut most) {
            let value = madd::<FMA>(x, scale, bias);
            *most = if value > *most { value } else { *most };
        }
    }
    // Shifting a column of −∞ by −∞ would make NaN of it.
    for most in &mut most {
        *most = if *most == f32::NEG_INFINITY { 0.0 } else { *most };
    }
    for (row, &bias) in rows() {
        for ((&x, most), sum) in row.iter().zip(&most).zip(&mut sums) {
            *sum += exp::<FMA>(madd::<FMA>(x, scale, bias) - most);
        }
    }
    for ((out, sum), most) in out.iter_mut().zip(sums).zip(most) {
        *out = sum.ln() + most;
    }
}
widest!(columns_of_task = columns_body::<FMA>(x: &[f32], scale: f32, bias: &[f32], columns: usize, first: usize, out: &mut [f32]));

/// The gradients `g · exp(x + bias − out)` into `of_x`, where `out` and `g` have one value per row.
pub(super) fn gradient_of_rows(x: &[f32], bias: &[f32], out: &[f32], gradient: &[f32], of_x: &mut [f32]) {
    let columns = bias.len();
    if columns == 0 {
        return;
    }
    let rows = rows_of_a_task(columns);
    x.par_chunks(rows * columns)
        .zip(of_x.par_chunks_mut(rows * columns))
        .zip(out.par_chunks(rows).zip(gradient.par_chunks(rows)))
        .for_each(|((x, of_x), (out, gradient))| gradient_rows_of_task(x, bias, out, gradient, of_x));
}

#[inline(always)]
fn gradient_rows_body<const FMA: bool>(
    x: &[f32],
    bias: &[f32],
    out: &[f32],
    gradient: &[f32],
    of_x: &mut [f32],
) {
    let columns = bias.len();
    let rows = x.chunks_exact(columns).zip(of_x.chunks_exact_mut(columns));
    for ((row, of_row), (&out, &gradient)) in rows.zip(out.iter().zip(gradient)) {
        // Nothing moves what is −∞.
        let out = if out == f32::NEG_INFINITY { f32::INFINITY } else { out };
        for ((&x, &bias), of_x) in row.iter().zip(bias).zip(of_row) {
            *of_x = gradient * exp::<FMA>(x + bias - out);
        }
    }
}
widest!(gradient_rows_of_task = gradient_rows_body::<FMA>(x: &[f32], bias: &[f32], out: &[f32], gradient: &[f32], of_x: &mut [f32]));

/// The same where `bias` has one value per row, and `out` and `g` one per column.
pub(super) fn gradient_of_columns(x: &[f32], bias: &[f32], out: &[f32], gradient: &[f32], of_x: &mut [f32]) {
    let columns = out.len();
    if columns == 0 {
        return;
    }
    let out: Vec<f32> =
        out.iter().map(|&out| if out == f32::NEG_INFINITY { f32::INFINITY } else { out }).collect();
    let rows = rows_of_a_task(columns);
    x.par_chunks(rows * columns)
        .zip(of_x.par_chunks_mut(rows * columns))
        .zip(bias.par_chunks(rows))
        .for_each(|((x, of_x), bias)| gradient_columns_of_task(x, bias, &out, gradient, of_x));
}

#[inline(always)]
fn gradient_columns_body<const FMA: bool>(
    x: &[f32],
    bias: &[f32],
    out: &[f32],
    gradient: &[f32],
    of_x: &mut [f32],
) {
    let columns = out.len();
    let rows = x.chunks_exact(columns).zip(of_x.chunks_exact_mut(columns));
    for ((row, of_row), &bias) in rows.zip(bias) {
        for (((&x, &out), &gradient), of_x) in row.iter().zip(out).zip(gradient).zip(of_row) {
            *of_x = gradient * exp::<FMA>(x + bias - out);
        }
    }
}
widest!(gradient_columns_of_task = gradient_columns_body::<FMA>(x: &[f32], bias: &[f32], out: &[f32], gradient: &[f32], of_x: &mut [f32]));
