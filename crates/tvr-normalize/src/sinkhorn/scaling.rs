//! Sinkhorn on a matrix, in scaling form around an anchor.
//!
//! ```text
//! anchor   one iteration in the log domain gives a[i], b[j]; K[i, j] = exp(s[i, j] / τ + a[i] + b[j])
//! then     u[i] = 1 / Σ_j K[i, j] v[j]      v[j] = c[j] / Σ_i r[i] u[i] K[i, j]
//!          f = a + ln r + ln u              g = b + ln v
//! ```
//!
//! `a` makes the rows sum to 1, `b` makes the largest entry of each column 1. An entry below e^−58
//! ([`kernel::FAINTEST`]) becomes 0, which is harmless while `u` and `v` stay near where the anchor found them: what is
//! lost is at most `e^(2 · drift − 58) / min r` of a column sum. When an iteration drifts further than [`drift_bound`]
//! allows, its result is thrown away and done again as an anchor. The bound also keeps products of the entries that are
//! left from being subnormal numbers, which are slow, but for the faintest where there are very many gallery items.

use super::log_domain::gallery_step;
use super::{Fit, Marginals, Sinkhorn, Start};
use crate::error::NormalizeError;
use crate::kernel;
use crate::passes::{ColumnSums, GROUP, check_finite, chunk_rows};
use crate::source::ScoreSource;
use rayon::prelude::*;

/// `ln` of the share of a column sum that may be lost to entries that became 0.
const LOSS: f64 = -16.0;

struct Problem<'a> {
    scores: &'a [f32],
    queries: usize,
    gallery: usize,
    scale: f64,
    log_r: Vec<f64>,
    log_c: Vec<f64>,
    r: Vec<f32>,
    chunk: usize,
    drift: f64,
}

struct Anchor {
    kernel: Vec<f32>,  // K, [queries, gallery]
    queries: Vec<f64>, // a
    gallery: Vec<f64>, // b
    first_v: Vec<f64>, // v at the anchor
}

pub(super) fn solve(
    settings: &Sinkhorn,
    source: &dyn ScoreSource,
    scores: &[f32], // those of `source`, row by row
    marginals: &Marginals,
) -> Result<Fit, NormalizeError> {
    let problem = Problem::new(settings, scores, source.shape(), marginals);
    let rows = problem.chunk * problem.gallery;
    scores.par_chunks(rows).enumerate().try_for_each(|(index, chunk)| {
        check_finite(source.name(), index * problem.chunk, problem.gallery, chunk)
    })?;
    let start = match settings.start {
        Start::Row => vec![0.0; problem.gallery],
        Start::Column => gallery_step(&problem.log_c, ColumnSums::of(source, problem.scale, None)?.lse()),
    };
    let mut anchor = Anchor {
        kernel: vec![0.0; problem.queries * problem.gallery],
        queries: vec![0.0; problem.queries],
        gallery: vec![0.0; problem.gallery],
        first_v: Vec::new(),
    };
    let mass = marginals.log_mass().exp();
    problem.anchor(&start, &mut anchor);
    let mut v = anchor.first_v.clone();
    let mut u = vec![1.0; problem.queries];
    let mut iterations = 1;
    while iterations < settings.iterations {
        let (next_u, sums) = problem.iterate(&anchor, &v);
        // The row sums of the iteration before are known only now: they are what this half-step mends.
        let error = row_error(&u, &next_u, mass);
        if settings.done(error) {
            return Ok(problem.fit(settings, &anchor, &u, &v, error, iterations));
        }
        let next_v: Vec<f64> = problem.log_c.iter().zip(&sums).map(|(c, sum)| c.exp() / sum).collect();
        if problem.within_drift(&anchor, &next_u, &next_v, mass) {
            (u, v) = (next_u, next_v);
        } else {
            let g: Vec<f64> = anchor.gallery.iter().zip(&v).map(|(b, v)| b + v.ln()).collect();
            problem.anchor(&g, &mut anchor);
            v = anchor.first_v.clone();
            u.fill(1.0);
        }
        iterations += 1;
    }
    let (last_u, _) = problem.iterate(&anchor, &v);
    let error = row_error(&u, &last_u, mass);
    Ok(problem.fit(settings, &anchor, &u, &v, error, iterations))
}

/// The largest relative error of the row sums, from `u` before and after it is mended.
fn row_error(before: &[f64], after: &[f64], mass: f64) -> f64 {
    let error = |(before, after): (&f64, &f64)| (before / (after * mass) - 1.0).abs();
    before.iter().zip(after).map(error).fold(0.0, f64::max)
}

/// How far `ln u` and `ln v` may move before the entries that became 0 could count.
fn drift_bound(log_r: &[f64]) -> f64 {
    let smallest = log_r.iter().copied().fold(0.0, f64::min);
    (-f64::from(kernel::FAINTEST) + LOSS + smallest) / 2.0
}

impl<'a> Problem<'a> {
    fn new(settings: &Sinkhorn, scores: &'a [f32], shape: [usize; 2], marginals: &Marginals) -> Self {
        let [queries, gallery] = shape;
        let (log_r, log_c) = marginals.logs();
        Self {
            scores,
            queries,
            gallery,
            scale: settings.scale(),
            r: log_r.iter().map(|log_r| log_r.exp() as f32).collect(),
            drift: drift_bound(&log_r),
            log_r,
            log_c,
            chunk: chunk_rows(queries, GROUP),
        }
    }

    /// One iteration in the log domain from gallery potentials `g`; its result is the new anchor.
    fn anchor(&self, g: &[f64], anchor: &mut Anchor) {
        let (gallery, chunk) = (self.gallery, self.chunk);
        let scores = self.scores.par_chunks(chunk * gallery);
        let maxima: Vec<Vec<f64>> = scores
            .clone()
            .zip(anchor.queries.par_chunks_mut(chunk))
            .map(|(scores, a)| {
                let mut columns = vec![f64::NEG_INFINITY; gallery];
                for (row, a) in scores.chunks_exact(gallery).zip(a) {
                    let max = kernel::row_max(row, self.scale, g);
                    *a = -max - kernel::row_sum_exp(row, self.scale, g, -max).ln();
                    kernel::column_max(row, self.scale, *a, &mut columns);
                }
                columns
            })
            .collect();
        let mut max = vec![f64::NEG_INFINITY; gallery];
        for chunk in &maxima {
            for (max, &candidate) in max.iter_mut().zip(chunk) {
                *max = max.max(candidate);
            }
        }
        let sums: Vec<Vec<f64>> = scores
            .zip(anchor.kernel.par_chunks_mut(chunk * gallery))
            .zip(anchor.queries.par_chunks(chunk).zip(self.r.par_chunks(chunk)))
            .map(|((scores, kernel), (a, r))| {
                let mut sums = vec![0.0; gallery];
                let mut partial = vec![0f32; gallery];
                for (index, row) in scores.chunks_exact(gallery).enumerate() {
                    let kernel = &mut kernel[index * gallery..][..gallery];
                    kernel::store_exp(row, self.scale, a[index], &max, kernel, r[index], &mut partial);
                    if (index + 1) % GROUP == 0 || index + 1 == a.len() {
                        kernel::widen_into(&partial, &mut sums);
                        partial.fill(0.0);
                    }
                }
                sums
            })
            .collect();
        let sums = self.merge(&sums);
        anchor.first_v = self.log_c.iter().zip(&sums).map(|(c, sum)| c.exp() / sum).collect();
        anchor.gallery = max.into_iter().map(|max| -max).collect();
    }

    /// `u` for `v`, and the column sums for that `u`: each row is read once.
    fn iterate(&self, anchor: &Anchor, v: &[f64]) -> (Vec<f64>, Vec<f64>) {
        let (gallery, chunk) = (self.gallery, self.chunk);
        let narrow: Vec<f32> = v.iter().map(|&v| v as f32).collect();
        let parts: Vec<(Vec<f64>, Vec<f64>)> = anchor
            .kernel
            .par_chunks(chunk * gallery)
            .zip(self.r.par_chunks(chunk))
            .map(|(kernel, r)| {
                let mut u = Vec::with_capacity(r.len());
                let mut sums = vec![0.0; gallery];
                let mut partial = vec![0f32; gallery];
                for (group, r) in kernel.chunks(GROUP * gallery).zip(r.chunks(GROUP)) {
                    for (rows, r) in group.chunks(4 * gallery).zip(r.chunks(4)) {
                        add_rows(rows, &narrow, r, &mut u, &mut partial);
                    }
                    kernel::widen_into(&partial, &mut sums);
                    partial.fill(0.0);
                }
                (u, sums)
            })
            .collect();
        let (u, sums): (Vec<Vec<f64>>, Vec<Vec<f64>>) = parts.into_iter().unzip();
        (u.concat(), self.merge(&sums))
    }

    fn merge(&self, chunks: &[Vec<f64>]) -> Vec<f64> {
        let mut total = vec![0.0; self.gallery];
        total.par_chunks_mut(4096).enumerate().for_each(|(index, total)| {
            for chunk in chunks {
                for (total, &part) in total.iter_mut().zip(&chunk[index * 4096..]) {
                    *total += part;
                }
            }
        });
        total
    }

    fn within_drift(&self, anchor: &Anchor, u: &[f64], v: &[f64], mass: f64) -> bool {
        let near = |ratio: f64| ratio > (-self.drift).exp() && ratio < self.drift.exp();
        self.drift > 0.0
            && u.iter().all(|&u| near(u * mass))
            && v.iter().zip(&anchor.first_v).all(|(v, first)| near(v / first / mass))
    }

    fn fit(
        &self,
        settings: &Sinkhorn,
        anchor: &Anchor,
        u: &[f64],
        v: &[f64],
        error: f64,
        iterations: usize,
    ) -> Fit {
        let rows = anchor.queries.iter().zip(&self.log_r).zip(u);
        let f = rows.map(|((a, log_r), u)| a + log_r + u.ln()).collect();
        let g = anchor.gallery.iter().zip(v).map(|(b, v)| b + v.ln()).collect();
        settings.finish(f, g, error, iterations)
    }
}

/// Up to four rows of the kernel: their `u`, and their part of the column sums.
fn add_rows(rows: &[f32], v: &[f32], r: &[f32], u: &mut Vec<f64>, sums: &mut [f32]) {
    let gallery = v.len();
    let first = u.len();
    u.extend(rows.chunks_exact(gallery).map(|row| 1.0 / kernel::dot(row, v)));
    let weight = |row: usize| r[row] * u[first + row] as f32;
    if let [_, _, _, _] = r {
        let row = |index: usize| &rows[index * gallery..][..gallery];
        kernel::add_four([row(0), row(1), row(2), row(3)], [0, 1, 2, 3].map(weight), sums);
    } else {
        for (index, row) in rows.chunks_exact(gallery).enumerate() {
            kernel::add_one(row, weight(index), sums);
        }
    }
}
