//! The loops over slices. Each body is compiled three times (AVX-512, AVX2, baseline) and vectorises by itself.

use super::{Pointwise, Visible};
use crate::activation::QUICK_SLOPE;
use crate::widest;

/// Values a task takes; a constant, so that the cut never depends on the number of threads.
pub(super) const CHUNK: usize = 1 << 12;

/// Sums are kept in as many lanes, which one or two registers hold.
pub(super) const LANES: usize = 32;

/// `1 / sqrt(2π)`.
pub(super) const DENSITY: f32 = 0.398_942_3;

/// `a · b + c`, fused only where the processor can: elsewhere `mul_add` is a call into libm.
#[inline(always)]
pub(super) fn madd<const FMA: bool>(a: f32, b: f32, c: f32) -> f32 {
    if FMA { a.mul_add(b, c) } else { a * b + c }
}

/// `exp(x)` within about one unit in the last place; 0 below −87.3, finite above 88. NaN stays NaN.
#[inline(always)]
pub(super) fn exp<const FMA: bool>(x: f32) -> f32 {
    const LOWEST: f32 = -87.3;
    const HIGHEST: f32 = 88.0;
    const ROUND: f32 = 12_582_912.0; // 1.5 · 2^23: adding it rounds to an integer in the lowest bits
    // Comparisons, not `max` and `min`, which would turn NaN into a number.
    let clamped = if x < LOWEST { LOWEST } else { x };
    let clamped = if clamped > HIGHEST { HIGHEST } else { clamped };
    let shifted = madd::<FMA>(clamped, std::f32::consts::LOG2_E, ROUND);
    let power = shifted - ROUND;
    // ln 2 in two parts, so that the remainder is exact to its last bit.
    let rest = madd::<FMA>(power, -0.693_359_4, clamped);
    let rest = madd::<FMA>(power, 2.121_944_4e-4, rest);
    let mut sum = 1.987_569_1e-4;
    for factor in [1.398_2e-3, 8.333_452e-3, 4.166_579_6e-2, 1.666_666_5e-1, 0.5] {
        sum = madd::<FMA>(sum, rest, factor);
    }
    let value = madd::<FMA>(sum, rest * rest, rest) + 1.0;
    let scale = f32::from_bits(shifted.to_bits().wrapping_add(127) << 23);
    if x < LOWEST { 0.0 } else { value * scale }
}

#[inline(always)]
pub(super) fn sigmoid<const FMA: bool>(x: f32) -> f32 {
    // Above, `exp` stands still, and what is left would count beside values of 1e38.
    const HIGHEST: f32 = 88.0;
    let value = 1.0 / (1.0 + exp::<FMA>(-x));
    if x < -HIGHEST { 0.0 } else { value }
}

/// Within about two units in the last place (Cephes, `tanhf`).
#[inline(always)]
pub(super) fn tanh<const FMA: bool>(x: f32) -> f32 {
    const NEAR: f32 = 0.625;
    let squared = x * x;
    let mut sum = -5.704_988_7e-3;
    for factor in [2.063_909e-2, -5.373_971_5e-2, 1.333_144_2e-1, -3.333_328e-1] {
        sum = madd::<FMA>(sum, squared, factor);
    }
    let near = madd::<FMA>(sum * squared, x, x);
    let far = 1.0 - 2.0 / (exp::<FMA>(2.0 * x.abs()) + 1.0);
    if x.abs() < NEAR { near } else { far.copysign(x) }
}

/// The normal distribution function, through a Chebyshev fit of `erfc` with a relative error of 1.2e-7
/// (Press et al., Numerical Recipes, `erfcc`).
#[inline(always)]
fn normal_share<const FMA: bool>(x: f32) -> f32 {
    let z = x.abs() * std::f32::consts::FRAC_1_SQRT_2;
    let t = 1.0 / (1.0 + 0.5 * z);
    let mut sum = 0.170_872_77;
    for factor in [
        -0.822_152_23,
        1.488_515_9,
        -1.135_204,
        0.278_868_07,
        -0.186_288_06,
        0.096_784_18,
        0.374_091_96,
        1.000_023_7,
        -1.265_512_2,
    ] {
        sum = madd::<FMA>(sum, t, factor);
    }
    let tail = 0.5 * t * exp::<FMA>(sum - z * z);
    if x < 0.0 { tail } else { 1.0 - tail }
}

#[inline(always)]
fn add_body(x: &[f32], y: &mut [f32]) {
    for (&x, y) in x.iter().zip(y) {
        *y += x;
    }
}
widest!(pub(super) add = add_body(x: &[f32], y: &mut [f32]));

#[inline(always)]
fn quick_gelu_body<const FMA: bool>(x: &mut [f32]) {
    for x in x {
        *x *= sigmoid::<FMA>(QUICK_SLOPE * *x);
    }
}
widest!(quick_gelu = quick_gelu_body::<FMA>(x: &mut [f32]));

#[inline(always)]
fn gelu_body<const FMA: bool>(x: &mut [f32]) {
    for x in x {
        *x *= normal_share::<FMA>(*x);
    }
}
widest!(gelu = gelu_body::<FMA>(x: &mut [f32]));

#[inline(always)]
fn quick_gelu_gradient_body<const FMA: bool>(x: &[f32], gradient: &mut [f32]) {
    for (&x, gradient) in x.iter().zip(gradient) {
        let gate = sigmoid::<FMA>(QUICK_SLOPE * x);
        // The slope first: it is 0 where `x` times anything may be infinite.
        *gradient *= madd::<FMA>(QUICK_SLOPE * gate * (1.0 - gate), x, gate);
    }
}
widest!(quick_gelu_gradient = quick_gelu_gradient_body::<FMA>(x: &[f32], gradient: &mut [f32]));

#[inline(always)]
fn gelu_gradient_body<const FMA: bool>(x: &[f32], gradient: &mut [f32]) {
    for (&x, gradient) in x.iter().zip(gradient) {
        let density = DENSITY * exp::<FMA>(-0.5 * x * x);
        *gradient *= madd::<FMA>(x, density, normal_share::<FMA>(x));
    }
}
widest!(gelu_gradient = gelu_gradient_body::<FMA>(x: &[f32], gradient: &mut [f32]));

/// Replaces every value by the function of it.
pub(super) fn pointwise(x: &mut [f32], function: Pointwise) {
    let run = match function {
        Pointwise::QuickGelu => quick_gelu,
        Pointwise::Gelu => gelu,
    };
    run(x);
}

/// Multiplies every gradient by the function's slope at `x`.
pub(super) fn pointwise_gradient(x: &[f32], gradient: &mut [f32], function: Pointwise) {
    let run = match function {
        Pointwise::QuickGelu => quick_gelu_gradient,
        Pointwise::Gelu => gelu_gradient,
    };
    run(x, gradient);
}

/// The rows of a task: at least one, about [`CHUNK`] values.
pub(super) fn rows_of_a_task(keys: usize) -> usize {
    (CHUNK / keys.max(1)).max(1)
}

/// Softmax in place over the keys of some rows of `[items, heads, queries, keys]`, from row `first` on.
pub(super) fn softmax(scores: &mut [f32], first: usize, shape: [usize; 4], visible: &Visible) {
    let [_, heads, queries, keys] = shape;
    for (index, row) in (first..).zip(scores.chunks_exact_mut(keys)) {
        let item = index / (heads * queries);
        if visible.causal {
            // The queries are the last ones: query q sees the keys up to keys − queries + q.
            let seen = (keys + index % queries + 1).saturating_sub(queries).min(keys);
            row[seen..].fill(f32::NEG_INFINITY);
        }
        if let Some(real) = &visible.real {
            for (score, &real) in row.iter_mut().zip(&real[item * keys..(item + 1) * keys]) {
                *score = if real { *score } else { f32::NEG_INFINITY };
            }
        }
    }
    softmax_rows(scores, keys, visible.scale);
}

/// −∞ means hidden: such a key has weight zero, and a row of nothing else becomes zeros. The largest score comes off before the
/// factor, so that its own exponent is 0 and not what a product was rounded by.
#[inline(always)]
fn softmax_rows_body<const FMA: bool>(chunk: &mut [f32], keys: usize, scale: f32) {
    for row in chunk.chunks_exact_mut(keys) {
        let most = largest(row);
        if most == f32::NEG_INFINITY {
            for value in row {
                *value = if value.is_nan() { f32::NAN } else { 0.0 };
            }
            continue;
        }
        let mut lanes = [0.0f32; LANES];
        let mut parts = row.chunks_exact_mut(LANES);
        for part in &mut parts {
            for (value, lane) in part.iter_mut().zip(&mut lanes) {
                *value = exp::<FMA>(scale * (*value - most));
                *lane += *value;
            }
        }
        for (value, lane) in parts.into_remainder().iter_mut().zip(&mut lanes) {
            *value = exp::<FMA>(scale * (*value - most));
            *lane += *value;
        }
        let inverse = 1.0 / total(lanes);
        for value in row {
            *value *= inverse;
        }
    }
}
widest!(softmax_rows = softmax_rows_body::<FMA>(chunk: &mut [f32], keys: usize, scale: f32));

/// Turns the weights' gradients into the scores': `scale · w · (g − Σ w g)`, row by row.
#[inline(always)]
fn softmax_gradient_body<const FMA: bool>(weights: &[f32], gradient: &mut [f32], keys: usize, scale: f32) {
    for (weights, gradient) in weights.chunks_exact(keys).zip(gradient.chunks_exact_mut(keys)) {
        let mut lanes = [0.0f32; LANES];
        let (head, tail) = (weights.chunks_exact(LANES), gradient.chunks_exact(LANES));
        for ((&weight, &gradient), lane) in head.remainder().iter().zip(tail.remainder()).zip(&mut lanes) {
            *lane = weight * gradient;
        }
        for (weights, gradient) in head.zip(tail) {
            for ((&weight, &gradient), lane) in weights.iter().zip(gradient).zip(&mut lanes) {
                *lane = madd::<FMA>(weight, gradient, *lane);
            }
        }
        let inner = total(lanes);
        for (&weight, gradient) in weights.iter().zip(gradient) {
            *gradient = scale * weight * (*gradient - inner);
        }
    }
}
widest!(pub(super) softmax_gradient_rows = softmax_gradient_body::<FMA>(weights: &[f32], gradient: &mut [f32], keys: usize, scale: f32));

/// The largest value that is not NaN; −∞ if there is none.
#[inline(always)]
pub(super) fn largest(row: &[f32]) -> f32 {
    let mut lanes = [f32::NEG_INFINITY; LANES];
    let parts = row.chunks_exact(LANES);
    for (&value, lane) in parts.remainder().iter().zip(&mut lanes) {
        *lane = value.max(*lane);
    }
    for part in parts {
        for (&value, lane) in part.iter().zip(&mut lanes) {
            *lane = if value > *lane { value } else { *lane };
        }
    }
    lanes.into_iter().fold(f32::NEG_INFINITY, f32::max)
}

/// The sum of the lanes, halves first.
#[inline(always)]
pub(super) fn total(mut lanes: [f32; LANES]) -> f32 {
    let mut half = LANES / 2;
    while half > 0 {
        for lane in 0..half {
            lanes[lane] += lanes[lane + half];
        }
        half /= 2;
    }
    lanes[0]
}
