//! Sinkhorn in the log domain on any source: every iteration reads the scores once, a block at a time. Within a
//! block the query half-step comes first; its offsets then enter the running `lse` of every column.

use super::{Fit, Marginals, Sinkhorn, Start};
use crate::error::NormalizeError;
use crate::kernel;
use crate::passes::{ColumnLse, ColumnSums, check_finite, each_chunk};
use crate::source::ScoreSource;

pub(super) fn solve(
    settings: &Sinkhorn,
    source: &dyn ScoreSource,
    marginals: &Marginals,
    warm: Option<&[f64]>, // gallery potentials to begin with
) -> Result<Fit, NormalizeError> {
    let [_, gallery] = source.shape();
    let scale = settings.scale();
    let (log_r, log_c) = marginals.logs();
    let mut g = match (warm, settings.start) {
        (Some(warm), _) => warm.to_vec(),
        (None, Start::Row) => vec![0.0; gallery],
        (None, Start::Column) => gallery_step(&log_c, ColumnSums::of(source, scale, None)?.lse()),
    };
    let mut f: Vec<f64> = Vec::new();
    for iteration in 0..settings.iterations {
        let (next_f, lse) = sweep(source, scale, &log_r, &g)?;
        // The row sums of the iteration before are known only now: they are what this half-step mends.
        if iteration > 0 {
            let error = row_error(&f, &next_f, marginals.log_mass());
            if settings.done(error) {
                return Ok(settings.finish(f, g, error, iteration));
            }
        }
        f = next_f;
        g = gallery_step(&log_c, lse);
    }
    let error = row_error(&f, &query_step(source, scale, &log_r, &g)?, marginals.log_mass());
    Ok(settings.finish(f, g, error, settings.iterations))
}

/// `ln c − lse`
pub(super) fn gallery_step(log_c: &[f64], lse: Vec<f64>) -> Vec<f64> {
    log_c.iter().zip(lse).map(|(log_c, lse)| log_c - lse).collect()
}

/// The largest relative error of the row sums, from the query potentials before and after they are mended.
fn row_error(before: &[f64], after: &[f64], log_mass: f64) -> f64 {
    let error = |(before, after): (&f64, &f64)| (before - after - log_mass).exp_m1().abs();
    before.iter().zip(after).map(error).fold(0.0, f64::max)
}

fn row_lse(row: &[f32], scale: f64, g: &[f64]) -> f64 {
    let max = kernel::row_max(row, scale, g);
    max + kernel::row_sum_exp(row, scale, g, -max).ln()
}

/// One reading: the query potentials for `g`, and the `lse` of every column for them.
fn sweep(
    source: &dyn ScoreSource,
    scale: f64,
    log_r: &[f64],
    g: &[f64],
) -> Result<(Vec<f64>, Vec<f64>), NormalizeError> {
    let gallery = g.len();
    let start = || (Vec::new(), ColumnLse::new(gallery));
    let chunks = each_chunk(source, start, |(f, columns), rows, block| {
        check_finite(source.name(), rows.start, gallery, block)?;
        let first = f.len();
        for (row, scores) in rows.zip(block.chunks_exact(gallery)) {
            f.push(log_r[row] - row_lse(scores, scale, g));
        }
        columns.add(block, scale, |row| f[first + row]);
        Ok(())
    })?;
    let (f, columns): (Vec<Vec<f64>>, Vec<ColumnLse>) = chunks.into_iter().unzip();
    Ok((f.concat(), ColumnLse::finish(columns)))
}

/// The query potentials for `g`.
fn query_step(
    source: &dyn ScoreSource,
    scale: f64,
    log_r: &[f64],
    g: &[f64],
) -> Result<Vec<f64>, NormalizeError> {
    let chunks = each_chunk(source, Vec::new, |f, rows, block| {
        for (row, scores) in rows.zip(block.chunks_exact(g.len())) {
            f.push(log_r[row] - row_lse(scores, scale, g));
        }
        Ok(())
    })?;
    Ok(chunks.concat())
}
