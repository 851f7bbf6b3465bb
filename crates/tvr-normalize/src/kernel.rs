//! The inner loops: one row of scores at a time, vectorised by the compiler.
//!
//! Each loop is written once and compiled three times (baseline, AVX2 with FMA, AVX-512); the best one the machine
//! has is chosen at run time. Exponentials are taken in f32 (about 1 ulp). Their exponents are formed in one of two
//! ways, both exact enough at any temperature: `(score − largest) · scale` in f32, where the subtraction comes first
//! and so loses nothing (`kernel/share.rs`), or in f64, where potentials of 4,000 are added (`kernel/potential.rs`).
//! Sums run in fixed lanes, so a result depends neither on the thread count nor on the rows around it.

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

/// Adds up `sum ← term(sum, a_j, b_j)`: f32 lanes, emptied into f64 each segment. Arrays of fixed size, not indices:
/// with overflow checks on, as in this workspace's one profile, a loop over indices does not vectorise.
#[inline(always)]
fn lane_sum<B: Copy>(a: &[f32], b: &[B], term: impl Fn(f32, f32, B) -> f32) -> f64 {
    let mut total = 0.0;
    for (a, b) in a.chunks(SEGMENT).zip(b.chunks(SEGMENT)) {
        let mut lanes = [0f32; LANES];
        let (a, a_rest) = a.as_chunks::<LANES>();
        let (b, b_rest) = b.as_chunks::<LANES>();
        for (a, b) in a.iter().zip(b) {
            for ((sum, &a), &b) in lanes.iter_mut().zip(a).zip(b) {
                *sum = term(*sum, a, b);
            }
        }
        for ((sum, &a), &b) in lanes.iter_mut().zip(a_rest).zip(b_rest) {
            *sum = term(*sum, a, b);
        }
        total += f64::from(fold(&mut lanes));
    }
    total
}

/// The sum of some lanes, pair by pair. A call of its own: inlined, it makes the compiler keep the lanes of the loop
/// before it in pieces (measured: a dot product of 1,000 takes 2.7 times as long).
#[inline(never)]
fn fold(lanes: &mut [f32; LANES]) -> f32 {
    let mut lanes = lanes.as_mut_slice();
    while lanes.len() > 1 {
        let (low, high) = lanes.split_at_mut(lanes.len() / 2);
        for (low, &mut high) in low.iter_mut().zip(high) {
            *low += high;
        }
        lanes = low;
    }
    lanes[0]
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
    /// `sum_j += values_j`, widened
    widen_into(values: &[f32], sum: &mut [f64]) {
        for (&value, sum) in values.iter().zip(sum) {
            *sum += f64::from(value);
        }
    }
}

// Below the macro, because a macro is seen only by what follows it.
mod potential;
mod select;
mod share;

pub(crate) use potential::{
    FAINTEST, add_four, add_one, column_max, column_sum_exp, dot, row_max, row_sum_exp, store_exp,
};
pub(crate) use select::{first_of, keep_above, largest, places_above};
pub(crate) use share::{
    csls_row, mutual_share, mutual_share_with_bank, plus_bias, rescale_sums, row_share_sum, share_max,
    share_sum, times_inverted, times_row_share, times_share, times_share_with_bank,
};
