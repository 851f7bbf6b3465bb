//! The slow way: the whole picture, one value at a time, in i64; and the same without any rounding, in f64.

/// Bytes `[height, width, bands]`.
#[derive(Clone, Debug, PartialEq)]
pub struct Plain {
    pub width: usize,
    pub height: usize,
    pub bands: usize,
    pub bytes: Vec<u8>,
}

/// Weight of the input value `k` for output `i`, before rounding: every input value has one, most of them zero.
fn weight(input: usize, output: usize, i: usize) -> Vec<f64> {
    let scale = input as f64 / output as f64;
    let wide = if scale < 1.0 { 1.0 } else { scale };
    let centre = (i as f64 + 0.5) * scale;
    let low = (centre - 2.0 * wide + 0.5).trunc().max(0.0);
    let high = (centre + 2.0 * wide + 0.5).trunc().min(input as f64);
    let mut row = vec![0.0; input];
    for (k, value) in row.iter_mut().enumerate() {
        if (k as f64) < low || (k as f64) >= high {
            continue;
        }
        let t = ((k as f64 - centre + 0.5) / wide).abs();
        *value = if t < 1.0 {
            1.5 * t.powi(3) - 2.5 * t.powi(2) + 1.0
        } else if t < 2.0 {
            -0.5 * t.powi(3) + 2.5 * t.powi(2) - 4.0 * t + 2.0
        } else {
            0.0
        };
    }
    let sum: f64 = row.iter().sum();
    row.iter().map(|w| w / sum).collect()
}

/// One pass along rows.
fn along(values: &[f64], [height, width, bands]: [usize; 3], to: usize, round: Round<'_>) -> Vec<f64> {
    let mut out = vec![0.0; height * to * bands];
    for x in 0..to {
        let weights = weight(width, to, x);
        for y in 0..height {
            for b in 0..bands {
                let row: Vec<f64> = (0..width).map(|k| values[(y * width + k) * bands + b]).collect();
                out[(y * to + x) * bands + b] = round(&weights, &row);
            }
        }
    }
    out
}

/// Rows and columns exchanged.
fn turned(values: &[f64], [height, width, bands]: [usize; 3]) -> Vec<f64> {
    let mut out = vec![0.0; values.len()];
    for y in 0..height {
        for x in 0..width {
            for b in 0..bands {
                out[(x * height + y) * bands + b] = values[(y * width + x) * bands + b];
            }
        }
    }
    out
}

type Round<'a> = &'a dyn Fn(&[f64], &[f64]) -> f64;

/// Both passes; `round` stands between them and at the end.
fn two_passes(plain: &Plain, width: usize, height: usize, round: Round<'_>) -> Vec<f64> {
    let Plain { width: from_width, height: from_height, bands, .. } = *plain;
    let values: Vec<f64> = plain.bytes.iter().map(|&byte| f64::from(byte)).collect();
    let (rows_lost, columns_lost) = (from_height as i64 - height as i64, from_width as i64 - width as i64);
    if rows_lost > 0 && rows_lost > 2 * columns_lost {
        let values = turned(&values, [from_height, from_width, bands]);
        let values = along(&values, [from_width, from_height, bands], height, round);
        let values = turned(&values, [from_width, height, bands]);
        return along(&values, [height, from_width, bands], width, round);
    }
    let values = along(&values, [from_height, from_width, bands], width, round);
    let values = turned(&values, [from_height, width, bands]);
    let values = along(&values, [width, from_height, bands], height, round);
    turned(&values, [width, height, bands])
}

/// The integer scheme.
pub fn fixed_point(plain: &Plain, width: usize, height: usize) -> Plain {
    let round = |weights: &[f64], values: &[f64]| {
        let mut sum = 1i64 << 21;
        for (weight, value) in weights.iter().zip(values) {
            // `round` is half away from zero.
            sum += (weight * 4_194_304.0).round() as i64 * *value as i64;
        }
        (sum >> 22).clamp(0, 255) as f64
    };
    let bytes = two_passes(plain, width, height, &round).into_iter().map(|value| value as u8).collect();
    Plain { width, height, bands: plain.bands, bytes }
}

/// No rounding at all, only the clamps.
pub fn exact(plain: &Plain, width: usize, height: usize) -> Vec<f64> {
    two_passes(plain, width, height, &|weights, values| {
        weights.iter().zip(values).map(|(weight, value)| weight * value).sum::<f64>().clamp(0.0, 255.0)
    })
}

/// A window.
pub fn cut(plain: &Plain, left: usize, top: usize, side: usize) -> Plain {
    let mut bytes = Vec::new();
    for y in top..top + side {
        for x in left..left + side {
            let start = (y * plain.width + x) * plain.bands;
            bytes.extend_from_slice(&plain.bytes[start..start + plain.bands]);
        }
    }
    Plain { width: side, height: side, bands: plain.bands, bytes }
}
