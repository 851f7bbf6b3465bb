//! Loops of Sinkhorn: scores over a temperature plus potentials, in f64 until they are exponents.

use super::{exp, lane_sum, larger, mul_add};

vectorised! {
    /// `max_j (scale · s_j + offsets_j)`
    row_max(row: &[f32], scale: f64, offsets: &[f64]) -> f64 {
        const WIDE: usize = 16;
        let offsets = &offsets[..row.len()];
        let mut lanes = [f64::NEG_INFINITY; WIDE];
        let (rows, row_rest) = row.as_chunks::<WIDE>();
        let (others, other_rest) = offsets.as_chunks::<WIDE>();
        for (s, o) in rows.iter().zip(others) {
            for lane in 0..WIDE {
                lanes[lane] = larger(f64::from(s[lane]) * scale + o[lane], lanes[lane]);
            }
        }
        let rest = row_rest.iter().zip(other_rest).map(|(&s, &o)| f64::from(s) * scale + o);
        lanes.into_iter().chain(rest).fold(f64::NEG_INFINITY, larger)
    }
}

vectorised! {
    /// `Σ_j exp(scale · s_j + offsets_j + shift)`, every exponent at most about 0
    row_sum_exp(row: &[f32], scale: f64, offsets: &[f64], shift: f64) -> f64 {
        lane_sum(row, offsets, |sum, s, offset| sum + exp::<FMA>((f64::from(s) * scale + offset + shift) as f32))
    }
}

vectorised! {
    /// `max_j ← max(max_j, scale · s_j + offset)` for each column
    column_max(row: &[f32], scale: f64, offset: f64, max: &mut [f64]) {
        for (&s, max) in row.iter().zip(max) {
            *max = larger(f64::from(s) * scale + offset, *max);
        }
    }
}

vectorised! {
    /// `sum_j += exp(scale · s_j + offset − max_j)` for each column
    column_sum_exp(row: &[f32], scale: f64, offset: f64, max: &[f64], sum: &mut [f32]) {
        for ((&s, &max), sum) in row.iter().zip(max).zip(sum) {
            *sum += exp::<FMA>((f64::from(s) * scale + offset - max) as f32);
        }
    }
}

/// `ln` of an entry of the stored kernel that counts as none.
pub(crate) const FAINTEST: f32 = -58.0;

vectorised! {
    /// `kernel_j = exp(scale · s_j + offset − max_j)`, 0 below [`FAINTEST`], and `sum_j += weight · kernel_j` for each
    /// column
    store_exp(row: &[f32], scale: f64, offset: f64, max: &[f64], kernel: &mut [f32], weight: f32, sum: &mut [f32]) {
        for (((&s, &max), kernel), sum) in row.iter().zip(max).zip(kernel).zip(sum) {
            let x = (f64::from(s) * scale + offset - max) as f32;
            let value = if x < FAINTEST { 0.0 } else { exp::<FMA>(x) };
            *kernel = value;
            *sum = mul_add::<FMA>(weight, value, *sum);
        }
    }
}

vectorised! {
    /// `Σ_j a_j b_j`
    dot(a: &[f32], b: &[f32]) -> f64 {
        lane_sum(a, b, |sum, a, b| mul_add::<FMA>(a, b, sum))
    }
}

vectorised! {
    /// `sum_j += Σ_r weights_r · rows_rj` for four rows at once, which loads and stores each sum once
    add_four(rows: [&[f32]; 4], weights: [f32; 4], sum: &mut [f32]) {
        let width = sum.len();
        let [a, b, c, d] = rows.map(|row| &row[..width]);
        for j in 0..width {
            let near = mul_add::<FMA>(weights[1], b[j], weights[0] * a[j]);
            let far = mul_add::<FMA>(weights[3], d[j], weights[2] * c[j]);
            sum[j] += near + far;
        }
    }
}

vectorised! {
    /// `sum_j += weight · row_j`
    add_one(row: &[f32], weight: f32, sum: &mut [f32]) {
        for (&value, sum) in row.iter().zip(sum) {
            *sum = mul_add::<FMA>(weight, value, *sum);
        }
    }
}
