//! The k largest of a row or column; of equal ones the lowest index first.

use crate::error::NormalizeError;
use crate::kernel;
use crate::passes::check_finite;
use crate::source::ScoreSource;
use rayon::prelude::*;
use std::ops::Range;

/// Columns that one task collects, and rows it reads before it looks at what it has.
const TILE_COLUMNS: usize = 64;
const TILE_ROWS: usize = 256;

/// The k largest of a stream of values. It keeps up to `2 k + TILE_ROWS` of them, and once it has k, only what is
/// larger than the k-th is looked at.
struct Top {
    k: usize,
    kept: Vec<f32>,
    threshold: f32,
}

impl Top {
    fn new(k: usize) -> Self {
        Self { k, kept: Vec::new(), threshold: f32::NEG_INFINITY }
    }

    /// At most a tile of values.
    fn offer(&mut self, values: &[f32]) {
        kernel::keep_above(values, self.threshold, &mut self.kept);
        self.settle();
    }

    /// Lets go of what is not among the k largest, if that is much, and says what a value must exceed from now on.
    fn settle(&mut self) -> f32 {
        if self.kept.len() >= 2 * self.k.max(TILE_ROWS / 4) {
            self.shrink();
        }
        self.threshold
    }

    fn shrink(&mut self) {
        if self.kept.len() > self.k {
            let (_, &mut last, _) = self.kept.select_nth_unstable_by(self.k - 1, |a, b| b.total_cmp(a));
            self.kept.truncate(self.k);
            self.threshold = last;
        }
    }

    /// Their mean; in descending order, so that it does not depend on the order of the stream.
    fn mean(mut self) -> f32 {
        self.shrink();
        self.kept.sort_unstable_by(|a, b| b.total_cmp(a));
        (self.kept.iter().map(|&value| f64::from(value)).sum::<f64>() / self.k as f64) as f32
    }
}

/// The mean of the `k` largest values of a row.
pub(crate) fn row_mean_of_largest(row: &[f32], k: usize) -> f32 {
    let mut top = Top::new(k);
    row.chunks(TILE_ROWS).for_each(|values| top.offer(values));
    top.mean()
}

/// The mean of the `k` largest values of every column: one pass, a tile of columns a task. A row is compared with all
/// thresholds at once, and after the first few hundred rows next to nothing of it is above.
pub(crate) fn column_means_of_largest(
    source: &dyn ScoreSource,
    k: usize,
) -> Result<Vec<f32>, NormalizeError> {
    let [_, gallery] = source.shape();
    let tiles: Vec<Vec<f32>> = (0..gallery.div_ceil(TILE_COLUMNS))
        .into_par_iter()
        .map(|tile| {
            let start = tile * TILE_COLUMNS;
            tile_means(source, start..(start + TILE_COLUMNS).min(gallery), k)
        })
        .collect::<Result<_, _>>()?;
    Ok(tiles.concat())
}

fn tile_means(source: &dyn ScoreSource, columns: Range<usize>, k: usize) -> Result<Vec<f32>, NormalizeError> {
    let [queries, gallery] = source.shape();
    let mut tops: Vec<Top> = columns.clone().map(|_| Top::new(k)).collect();
    let mut thresholds = vec![f32::NEG_INFINITY; columns.len()];
    let (mut scratch, mut places) = (Vec::new(), Vec::new());
    for start in (0..queries).step_by(TILE_ROWS) {
        let rows = start..(start + TILE_ROWS).min(queries);
        for row in source.tile(rows.clone(), columns.clone(), &mut scratch).rows() {
            if !kernel::all_finite(row) {
                let mut scratch = Vec::new();
                check_finite(source.name(), start, gallery, source.block(rows.clone(), &mut scratch))?;
            }
            kernel::places_above(row, &thresholds, &mut places);
            for &place in &places {
                tops[place].kept.push(row[place]);
            }
        }
        for (threshold, top) in thresholds.iter_mut().zip(&mut tops) {
            *threshold = top.settle();
        }
    }
    Ok(tops.into_iter().map(Top::mean).collect())
}

/// Calls `found` with the index of each of the `k` largest values of a row; of equal ones the lowest first.
pub(crate) fn largest(row: &[f32], k: usize, mut found: impl FnMut(usize)) {
    if k == 1 {
        return kernel::first_of(row, kernel::largest(row)).into_iter().for_each(found);
    }
    let mut top = Top::new(k);
    row.chunks(TILE_ROWS).for_each(|values| top.offer(values));
    top.shrink();
    let last = top.kept.iter().copied().fold(f32::INFINITY, f32::min);
    let above = row.iter().filter(|&&value| value > last).count();
    let mut equal = top.kept.len() - above;
    for (index, &value) in row.iter().enumerate() {
        if value > last {
            found(index);
        } else if value == last && equal > 0 {
            equal -= 1;
            found(index);
        }
    }
}

/// What [`enough`] calls the items of a gallery.
pub(crate) const GALLERY: &str = "gallery items to select from";

/// Refuses a `k` above what there is.
pub(crate) fn enough(
    method: &'static str,
    k: usize,
    available: usize,
    items: &'static str,
) -> Result<(), NormalizeError> {
    if k <= available {
        return Ok(());
    }
    Err(NormalizeError::TooFew { method, k, available, items })
}
