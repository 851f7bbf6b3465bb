//! Student's t: its quantile, from the regularised incomplete beta function.
//!
//! ```text
//! P(|T| > t) = I_x(ν/2, 1/2),   x = ν / (ν + t²)
//! ```
//!
//! Source: Abramowitz and Stegun 26.5.27; the continued fraction is Lentz's, as in Numerical Recipes §6.4.

/// The `t` with `P(|T| <= t) = level` at `freedom` degrees of freedom; `level` in (0, 1).
pub(super) fn two_sided_quantile(freedom: f64, level: f64) -> f64 {
    let inside = |t: f64| 1.0 - incomplete_beta(freedom / (freedom + t * t), freedom / 2.0, 0.5);
    let mut high = 1.0;
    while inside(high) < level && high < 1e300 {
        high *= 2.0;
    }
    let mut low = 0.0;
    // Each step halves the bracket; 200 take any bracket below the last bit.
    for _ in 0..200 {
        let middle = low + (high - low) / 2.0;
        if inside(middle) < level { low = middle } else { high = middle }
    }
    low + (high - low) / 2.0
}

/// The regularised incomplete beta function.
fn incomplete_beta(x: f64, a: f64, b: f64) -> f64 {
    if x <= 0.0 {
        return 0.0;
    }
    if x >= 1.0 {
        return 1.0;
    }
    let front = (ln_gamma(a + b) - ln_gamma(a) - ln_gamma(b) + a * x.ln() + b * (1.0 - x).ln()).exp();
    // The fraction converges fast on this side of the mean; the other side is its mirror image.
    if x < (a + 1.0) / (a + b + 2.0) {
        front * fraction(x, a, b) / a
    } else {
        1.0 - front * fraction(1.0 - x, b, a) / b
    }
}

fn fraction(x: f64, a: f64, b: f64) -> f64 {
    let away_from_zero = |value: f64| if value.abs() < 1e-300 { 1e-300 } else { value };
    let mut c = 1.0;
    let mut d = 1.0 / away_from_zero(1.0 - (a + b) * x / (a + 1.0));
    let mut value = d;
    for step in 1..1000 {
        let m = f64::from(step);
        let even = m * (b - m) * x / ((a + 2.0 * m - 1.0) * (a + 2.0 * m));
        let odd = -(a + m) * (a + b + m) * x / ((a + 2.0 * m) * (a + 2.0 * m + 1.0));
        let mut change = 1.0;
        for term in [even, odd] {
            d = 1.0 / away_from_zero(1.0 + term * d);
            c = away_from_zero(1.0 + term / c);
            change = d * c;
            value *= change;
        }
        if (change - 1.0).abs() < 1e-16 {
            break;
        }
    }
    value
}

/// ln Γ(x) for x > 0: Stirling's series beyond 10, the recurrence below.
fn ln_gamma(x: f64) -> f64 {
    let (mut x, mut shift) = (x, 0.0);
    while x < 10.0 {
        shift += x.ln();
        x += 1.0;
    }
    let inverse = 1.0 / (x * x);
    let series = (1.0 / 12.0 - inverse * (1.0 / 360.0 - inverse * (1.0 / 1260.0 - inverse / 1680.0))) / x;
    (x - 0.5) * x.ln() - x + 0.5 * (2.0 * std::f64::consts::PI).ln() + series - shift
}
