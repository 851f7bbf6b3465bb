//! Loops of shares, `exp(scale · s) / Σ exp(scale · s)`, with the largest score taken off first.
//!
//! New rows are written into memory that was never set, which spares one pass over the result.

use super::{exp, lane_sum, mul_add};
use std::mem::MaybeUninit;

vectorised! {
    /// `max_j ← max(max_j, s_rj)` over rows of `max.len()` scores, four at once, which loads and stores each maximum
    /// once; whether all scores are finite
    share_max(rows: &[f32], max: &mut [f32]) -> bool {
        const INFINITE: u32 = 0x7f80_0000;
        let larger = |a: f32, b: f32| if a > b { a } else { b };
        // Without its sign a float is the larger, the larger its bits; infinity and NaN are beyond all others.
        let size = |s: f32| s.to_bits() & 0x7fff_ffff;
        let (width, mut most) = (max.len(), 0);
        let mut fours = rows.chunks_exact(4 * width);
        for four in &mut fours {
            let (low, high) = four.split_at(2 * width);
            let ((a, b), (c, d)) = (low.split_at(width), high.split_at(width));
            for ((((&a, &b), &c), &d), max) in a.iter().zip(b).zip(c).zip(d).zip(max.iter_mut()) {
                *max = larger(larger(larger(a, b), larger(c, d)), *max);
                most = most.max(size(a).max(size(b)).max(size(c).max(size(d))));
            }
        }
        for row in fours.remainder().chunks_exact(width) {
            for (&s, max) in row.iter().zip(max.iter_mut()) {
                *max = larger(s, *max);
                most = most.max(size(s));
            }
        }
        most < INFINITE
    }
}

vectorised! {
    /// `sum_j += weight · exp(scale · (s_j − max_j))`
    share_sum(row: &[f32], scale: f32, max: &[f32], weight: f32, sum: &mut [f32]) {
        for ((&s, &max), sum) in row.iter().zip(max).zip(sum) {
            *sum = mul_add::<FMA>(weight, exp::<FMA>((s - max) * scale), *sum);
        }
    }
}

vectorised! {
    /// `sum_j ← sum_j · exp(scale · (old_j − new_j))`: sums made with one maximum, brought to a larger one
    rescale_sums(sum: &mut [f64], scale: f32, old: &[f32], new: &[f32]) {
        for ((sum, &old), &new) in sum.iter_mut().zip(old).zip(new) {
            *sum *= f64::from(exp::<FMA>((old - new) * scale));
        }
    }
}

vectorised! {
    /// `Σ_j exp(scale · (s_j − max))`
    row_share_sum(row: &[f32], scale: f32, max: f32) -> f64 {
        lane_sum(row, row, |sum, s, _| sum + exp::<FMA>((s - max) * scale))
    }
}

vectorised! {
    /// `out_j = s_j · exp(scale · (s_j − max_j)) · inverse_j`: the score times its share of the column
    times_share(row: &[f32], scale: f32, max: &[f32], inverse: &[f32], out: &mut [MaybeUninit<f32>]) {
        for (((&s, &max), &inverse), out) in row.iter().zip(max).zip(inverse).zip(out) {
            out.write(s * (exp::<FMA>((s - max) * scale) * inverse));
        }
    }
}

vectorised! {
    /// `out_j = s_j · exp(scale · (s_j − max)) / sum`: the score times its share of the row
    times_row_share(row: &[f32], scale: f32, max: f32, sum: f64, out: &mut [MaybeUninit<f32>]) {
        let inverse = (1.0 / sum) as f32;
        for (&s, out) in row.iter().zip(out) {
            out.write(s * (exp::<FMA>((s - max) * scale) * inverse));
        }
    }
}

/// `e^y / (1 + e^y)`
#[inline(always)]
fn logistic<const FMA: bool>(y: f32) -> f32 {
    let e = exp::<FMA>(-y.abs());
    (if y < 0.0 { e } else { 1.0 }) / (1.0 + e)
}

vectorised! {
    /// `out_j = s_j · e^y / (1 + e^y)`, `y = scale · (s_j − max_j) − log_sum_j`: the score times its share among a
    /// bank and the query itself
    times_share_with_bank(
        row: &[f32], scale: f32, max: &[f32], log_sum: &[f32], out: &mut [MaybeUninit<f32>]
    ) {
        for (((&s, &max), &log_sum), out) in row.iter().zip(max).zip(log_sum).zip(out) {
            out.write(s * logistic::<FMA>((s - max) * scale - log_sum));
        }
    }
}

vectorised! {
    /// `out_j` = share of the row times share of the column
    mutual_share(
        row: &[f32], scale: f32, row_max: f32, row_sum: f64, max: &[f32], inverse: &[f32],
        out: &mut [MaybeUninit<f32>]
    ) {
        let row_inverse = (1.0 / row_sum) as f32;
        for (((&s, &max), &inverse), out) in row.iter().zip(max).zip(inverse).zip(out) {
            let along_row = exp::<FMA>((s - row_max) * scale) * row_inverse;
            out.write(along_row * (exp::<FMA>((s - max) * scale) * inverse));
        }
    }
}

vectorised! {
    /// The same with the second share among a bank and the query itself
    mutual_share_with_bank(
        row: &[f32], scale: f32, row_max: f32, row_sum: f64, max: &[f32], log_sum: &[f32],
        out: &mut [MaybeUninit<f32>]
    ) {
        let row_inverse = (1.0 / row_sum) as f32;
        for (((&s, &max), &log_sum), out) in row.iter().zip(max).zip(log_sum).zip(out) {
            let along_row = exp::<FMA>((s - row_max) * scale) * row_inverse;
            out.write(along_row * logistic::<FMA>((s - max) * scale - log_sum));
        }
    }
}

vectorised! {
    /// `out_j = s_j + bias_j`
    plus_bias(row: &[f32], bias: &[f32], out: &mut [MaybeUninit<f32>]) {
        for ((&s, &bias), out) in row.iter().zip(bias).zip(out) {
            out.write(s + bias);
        }
    }
}

vectorised! {
    /// `out_j = 2 s_j − (own + item_j)`: the two means are added first, so that the transpose gives the same bits
    csls_row(row: &[f32], own: f32, items: &[f32], out: &mut [MaybeUninit<f32>]) {
        for ((&s, &item), out) in row.iter().zip(items).zip(out) {
            out.write(2.0 * s - (own + item));
        }
    }
}

vectorised! {
    /// `out_j = s_j · exp(scale · (s_j + bias_j − best))`
    times_inverted(row: &[f32], scale: f32, bias: &[f32], best: f32, out: &mut [MaybeUninit<f32>]) {
        for ((&s, &bias), out) in row.iter().zip(bias).zip(out) {
            out.write(s * exp::<FMA>((s + bias - best) * scale));
        }
    }
}
