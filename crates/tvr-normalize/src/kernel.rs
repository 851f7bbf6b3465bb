//! The inner loops: one row of scores at a time, vectorised by the compiler.
//!
//! Each loop is written once and compiled three times (baseline, AVX2 with FMA, AVX-512); the best one the machine
//! has is chosen at run time. Exponents are formed in f64 (a score over a temperature of 0.001 minus a potential of
//! 4,000 keeps only three digits in f32) and exponentiated in f32 (about 1 ulp). Sums run in fixed lanes, so a
//! result depends neither on the thread count nor on the rows around it.

/// Lanes of a sum, and entries after which a lane is emptied into f64.
const LANES: usize = 32;
const SEGMENT: usize = 2048;

/// Below this exponent `exp` is 0: the smallest normal f32 is e^−87.3, and subnormal numbers are slow.
const SMALLEST_EXPONENT: f32 = -87.0;

/// Compiles a loop for three instruction sets and chooses at run time. Inside, `FMA` says whether `mul_add` is one
/// instruction (else it would be a call into libm).
macro_rules! vectorised {
    ($(#[$doc:meta])* $name:ident($($arg:ident: $kind:ty),*) $(-> $out:ty)? $body:block) => {
        $(#[$doc])*
        pub(crate) fn $name($($arg: $kind),*) $(-> $out)? {
            #[inline(always)]
            fn body<const FMA: bool>($($arg: $kind),*) $(-> $out)? $body

            #[cfg(target_arch = "x86_64")]
            {
                #[target_feature(enable = "avx512f,avx512vl,avx512dq,avx512bw,avx2,fma")]
                fn avx512($($arg: $kind),*) $(-> $out)? { body::<true>($($arg),*) }
                #[target_feature(enable = "avx2,fma")]
                fn avx2($($arg: $kind),*) $(-> $out)? { body::<true>($($arg),*) }

                if is_x86_feature_detected!("avx512f")
                    && is_x86_feature_detected!("avx512vl")
                    && is_x86_feature_detected!("avx512dq")
                    && is_x86_feature_detected!("avx512bw")
                    && is_x86_feature_detected!("fma")
                {
                    // SAFETY: the features this function is compiled for were just detected.
                    return unsafe { avx512($($arg),*) };
                }
                if is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") {
                    // SAFETY: as above.
                    return unsafe { avx2($($arg),*) };
                }
            }
            body::<false>($($arg),*)
        }
    };
}

#[inline(always)]
fn mul_add<const FMA: bool>(a: f32, b: f32, c: f32) -> f32 {
    if FMA { a.mul_add(b, c) } else { a * b + c }
}

#[inline(always)]
fn larger(a: f64, b: f64) -> f64 {
    if a > b { a } else { b }
}

/// `e^x` for `x` up to 88, 0 below [`SMALLEST_EXPONENT`]; about 1 ulp.
#[inline(always)]
fn exp<const FMA: bool>(x: f32) -> f32 {
    // Adding 1.5 · 2^23 rounds to a whole number and leaves that number in the low bits.
    const ROUND: f32 = 12_582_912.0;
    let y = if x < SMALLEST_EXPONENT { SMALLEST_EXPONENT } else { x };
    let shifted = mul_add::<FMA>(y, std::f32::consts::LOG2_E, ROUND);
    let whole = shifted - ROUND;
    // ln 2 in two parts, so that whole · ln 2 is taken off without rounding.
    let rest = mul_add::<FMA>(whole, -0.693_359_4, y);
    let rest = mul_add::<FMA>(whole, 2.121_944_4e-4, rest);
    let p = mul_add::<FMA>(1.987_569_1e-4, rest, 1.398_199_9e-3);
    let p = mul_add::<FMA>(p, rest, 8.333_452e-3);
    let p = mul_add::<FMA>(p, rest, 4.166_579_6e-2);
    let p = mul_add::<FMA>(p, rest, 1.666_666_5e-1);
    let p = mul_add::<FMA>(p, rest, 5e-1);
    let p = mul_add::<FMA>(p, rest * rest, rest) + 1.0;
    let power = f32::from_bits((shifted.to_bits() << 23).wrapping_add(0x3f80_0000));
    if x < SMALLEST_EXPONENT { 0.0 } else { p * power }
}

/// Sums `term(a_j, b_j)`: f32 lanes, emptied into f64 each segment. Arrays of fixed size, not indices: with overflow
/// checks on, as in this workspace's one profile, a loop over indices does not vectorise.
#[inline(always)]
fn lane_sum<B: Copy>(a: &[f32], b: &[B], term: impl Fn(f32, B) -> f32) -> f64 {
    let mut total = 0.0;
    for (a, b) in a.chunks(SEGMENT).zip(b.chunks(SEGMENT)) {
        let mut lanes = [0f32; LANES];
        let (a, a_rest) = a.as_chunks::<LANES>();
        let (b, b_rest) = b.as_chunks::<LANES>();
        for (a, b) in a.iter().zip(b) {
            for ((sum, &a), &b) in lanes.iter_mut().zip(a).zip(b) {
                *sum += term(a, b);
            }
        }
        for ((sum, &a), &b) in lanes.iter_mut().zip(a_rest).zip(b_rest) {
            *sum += term(a, b);
        }
        let mut lanes = lanes.as_mut_slice();
        while lanes.len() > 1 {
            let (low, high) = lanes.split_at_mut(lanes.len() / 2);
            for (low, &mut high) in low.iter_mut().zip(high) {
                *low += high;
            }
            lanes = low;
        }
        total += f64::from(lanes[0]);
    }
    total
}

vectorised! {
    /// Whether every value is finite.
    all_finite(values: &[f32]) -> bool {
        const INFINITE: u32 = 0x7f80_0000;
        values.chunks(4096).all(|chunk| {
            chunk.iter().fold(0u32, |bad, v| bad | u32::from(v.to_bits() & INFINITE == INFINITE)) == 0
        })
    }
}

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
        lane_sum(row, offsets, |s, offset| exp::<FMA>((f64::from(s) * scale + offset + shift) as f32))
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

vectorised! {
    /// `kernel_j = exp(scale · s_j + offset − max_j)` and `sum_j += weight · kernel_j` for each column
    store_exp(row: &[f32], scale: f64, offset: f64, max: &[f64], kernel: &mut [f32], weight: f32, sum: &mut [f32]) {
        for (((&s, &max), kernel), sum) in row.iter().zip(max).zip(kernel).zip(sum) {
            let value = exp::<FMA>((f64::from(s) * scale + offset - max) as f32);
            *kernel = value;
            *sum = mul_add::<FMA>(weight, value, *sum);
        }
    }
}

vectorised! {
    /// `Σ_j a_j b_j`
    dot(a: &[f32], b: &[f32]) -> f64 {
        lane_sum(a, b, |a, b| a * b)
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

vectorised! {
    /// `out_j = s_j · exp(scale · s_j − lse_j)`: the score times its share of the column
    times_share(row: &[f32], scale: f64, lse: &[f64], out: &mut [f32]) {
        for ((&s, &lse), out) in row.iter().zip(lse).zip(out) {
            *out = s * exp::<FMA>((f64::from(s) * scale - lse) as f32);
        }
    }
}

vectorised! {
    /// `out_j ·= e^y / (1 + e^y)`, `y = scale · s_j − lse_j`: the share among a bank and the query itself
    times_share_with_bank(row: &[f32], scale: f64, lse: &[f64], out: &mut [f32]) {
        for ((&s, &lse), out) in row.iter().zip(lse).zip(out) {
            let y = (f64::from(s) * scale - lse) as f32;
            let e = exp::<FMA>(-y.abs());
            *out *= (if y < 0.0 { e } else { 1.0 }) / (1.0 + e);
        }
    }
}

vectorised! {
    /// `out_j ·= exp(scale · s_j − lse_j)`
    times_exp(row: &[f32], scale: f64, lse: &[f64], out: &mut [f32]) {
        for ((&s, &lse), out) in row.iter().zip(lse).zip(out) {
            *out *= exp::<FMA>((f64::from(s) * scale - lse) as f32);
        }
    }
}

vectorised! {
    /// `sum_j += values_j`, widened
    widen_into(values: &[f32], sum: &mut [f64]) {
        for (&value, sum) in values.iter().zip(sum) {
            *sum += f64::from(value);
        }
    }
}
