//! The EM layer by loops in f64, and the singular values that judge it.

use std::ops::Range;

use tvr_heads::emcl::Mode;

pub type Rows = Vec<Vec<f64>>;

/// Everything that the iteration ends with.
pub struct Solved {
    /// `Y`, per channel.
    pub softmax: Rows,
    /// `Z`, per channel.
    pub responsibilities: Rows,
    /// Per item.
    pub bases: Rows,
    /// Per item.
    pub reconstruction: Rows,
    /// Per base.
    pub mean_base: Vec<f64>,
}

/// The published loop on items `x`, from `start`, one number per base.
pub fn solve(mode: Mode, x: &Rows, start: &[f64], iterations: usize, sigma: f64, epsilon: f64) -> Solved {
    let (items, width, bases_count) = (x.len(), x[0].len(), start.len());
    let mut bases: Rows = vec![start.to_vec(); items];
    let (mut softmax, mut responsibilities) = (Rows::new(), Rows::new());
    for _ in 0..iterations {
        softmax = (0..width)
            .map(|j| {
                let logit = |k: usize| (0..items).map(|i| x[i][j] * bases[i][k]).sum::<f64>() / sigma;
                let logits: Vec<f64> = (0..bases_count).map(logit).collect();
                let top = logits.iter().copied().fold(f64::NEG_INFINITY, f64::max);
                let total: f64 = logits.iter().map(|logit| (logit - top).exp()).sum();
                logits.iter().map(|logit| (logit - top).exp() / total).collect()
            })
            .collect();
        let counts: Vec<f64> = (0..bases_count).map(|k| softmax.iter().map(|y| y[k]).sum()).collect();
        responsibilities = softmax
            .iter()
            .map(|y| y.iter().zip(&counts).map(|(y, count)| y / (count + epsilon)).collect())
            .collect();
        for i in 0..items {
            for k in 0..bases_count {
                bases[i][k] = (0..width).map(|j| x[i][j] * responsibilities[j][k]).sum();
            }
        }
        if mode == Mode::Reference {
            for k in 0..bases_count {
                let length = bases.iter().map(|base| base[k] * base[k]).sum::<f64>().sqrt();
                for base in &mut bases {
                    base[k] /= epsilon + length;
                }
            }
        }
    }
    let back = if mode == Mode::Paper { &softmax } else { &responsibilities };
    let reconstruction = bases
        .iter()
        .map(|base| (0..width).map(|j| base.iter().zip(&back[j]).map(|(b, y)| b * y).sum()).collect())
        .collect();
    let mean_base =
        (0..bases_count).map(|k| bases.iter().map(|base| base[k]).sum::<f64>() / items as f64).collect();
    Solved { softmax, responsibilities, bases, reconstruction, mean_base }
}

/// Singular values in falling order, by rotations of pairs of columns (Hestenes).
pub fn singular_values(matrix: &Rows) -> Vec<f64> {
    let width = matrix[0].len();
    let mut columns: Rows = (0..width).map(|j| matrix.iter().map(|row| row[j]).collect()).collect();
    let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
    for _ in 0..60 {
        let mut turned = false;
        for p in 0..width {
            for q in p + 1..width {
                let (a, b) = (dot(&columns[p], &columns[p]), dot(&columns[q], &columns[q]));
                let c = dot(&columns[p], &columns[q]);
                if c.abs() <= 1e-15 * (a * b).sqrt() || c == 0.0 {
                    continue;
                }
                turned = true;
                let zeta = (b - a) / (2.0 * c);
                let t = zeta.signum() / (zeta.abs() + (1.0 + zeta * zeta).sqrt());
                let t = if zeta == 0.0 { 1.0 } else { t };
                let cosine = 1.0 / (1.0 + t * t).sqrt();
                let (low, high) = columns.split_at_mut(q);
                rotate(&mut low[p], &mut high[0], cosine, cosine * t, 0..matrix.len());
            }
        }
        if !turned {
            break;
        }
    }
    let mut values: Vec<f64> = columns.iter().map(|column| dot(column, column).sqrt()).collect();
    values.sort_by(|a, b| b.total_cmp(a));
    values
}

fn rotate(p: &mut [f64], q: &mut [f64], cosine: f64, sine: f64, rows: Range<usize>) {
    for row in rows {
        let (x, y) = (p[row], q[row]);
        p[row] = cosine * x - sine * y;
        q[row] = sine * x + cosine * y;
    }
}

/// How many of these columns differ in direction from one another (cosine below 0.9999).
pub fn distinct_columns(matrix: &Rows) -> usize {
    let column = |k: usize| -> Vec<f64> { matrix.iter().map(|row| row[k]).collect() };
    let cosine = |a: &[f64], b: &[f64]| {
        let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
        dot(a, b) / (dot(a, a) * dot(b, b)).sqrt()
    };
    let mut kept: Rows = Vec::new();
    for k in 0..matrix[0].len() {
        let candidate = column(k);
        if kept.iter().all(|other| cosine(other, &candidate) < 0.9999) {
            kept.push(candidate);
        }
    }
    kept.len()
}
