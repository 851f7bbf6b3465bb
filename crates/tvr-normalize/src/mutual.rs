//! Mutual softmax: the share along the column times the share along the row.
//!
//! ```text
//! r[q, j] = σ_i(s[i, j] / T)[q] · σ_j(s[q, j] / T)[j]
//! ```
//!
//! `s` test scores `[queries, gallery]`, `T` temperature in their unit. With a query bank the first share is taken
//! among the bank and the query.
//! Source: Sun et al. 2021 (LoFTR), arXiv 2104.00680, where it picks matches between two images and is called dual
//! softmax; code: zju3dv/LoFTR, `src/loftr/utils/coarse_matching.py: CoarseMatching`. The bank is ours.
//! Regime: bank with a query bank, else transductive. Cost: two passes, O(queries · gallery).

use crate::error::{NormalizeError, above_zero};
use crate::kernel;
use crate::passes::{ColumnSums, narrow};
use crate::prepared::{Prepared, RowMap, Sources, filled};
use crate::scores::{Normalizer, Regime, Scores};
use std::mem::MaybeUninit;

/// The mutual softmax re-scorer.
///
/// # Example
/// ```
/// # use {ndarray::array, tvr_normalize::*};
/// let logits = array![[9.0, 2.0], [5.0, 4.5]]; // item 0 wins both rows
/// let revised = Mutual::new(1.0)?.apply(&Scores::new(logits.view()))?;
/// assert!(revised[[1, 1]] > revised[[1, 0]]);
/// # Ok::<(), NormalizeError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Mutual {
    temperature: f32,
}

impl Mutual {
    /// A mutual softmax with this temperature, in the unit of the scores.
    ///
    /// # Errors
    /// [`NormalizeError::Setting`] unless it is a number above 0.
    pub fn new(temperature: f32) -> Result<Self, NormalizeError> {
        Ok(Self { temperature: above_zero("mutual", "temperature", temperature)? })
    }

    /// The temperature of both shares.
    pub fn temperature(&self) -> f32 {
        self.temperature
    }
}

impl Normalizer for Mutual {
    fn name(&self) -> &'static str {
        "mutual"
    }

    fn regime(&self, scores: &Scores) -> Regime {
        scores.bank_or_transductive()
    }

    fn prepare<'a>(&self, sources: &Sources<'a>) -> Result<Prepared<'a>, NormalizeError> {
        let scale = 1.0 / f64::from(self.temperature);
        // One query alone is no harm here: its share of the column is 1, and the row's share keeps the raw order.
        let source = match (sources.query_bank, sources.test) {
            (None, Some(test)) => filled(self.name(), test)?,
            _ => sources.needs_query_bank(self.name())?,
        };
        let sums = ColumnSums::of(source, scale, None)?;
        let column = match sources.query_bank {
            Some(_) => Column::WithBank(sums.log_sum()),
            None => Column::Alone(sums.inverse()),
        };
        Ok(Prepared::new(source.shape()[1], MutualShare { scale: narrow(scale), max: sums.max, column }))
    }
}

struct MutualShare {
    scale: f32,
    max: Vec<f32>,
    column: Column,
}

enum Column {
    /// `1 / Σ` of each column.
    Alone(Vec<f32>),
    /// `ln Σ` of each column of the bank.
    WithBank(Vec<f32>),
}

impl RowMap for MutualShare {
    fn map(&self, scores: &[f32], out: &mut [MaybeUninit<f32>]) -> Result<(), NormalizeError> {
        let max = kernel::largest(scores);
        let sum = kernel::row_share_sum(scores, self.scale, max);
        match &self.column {
            Column::Alone(inverse) => {
                kernel::mutual_share(scores, self.scale, max, sum, &self.max, inverse, out);
            }
            Column::WithBank(log_sum) => {
                kernel::mutual_share_with_bank(scores, self.scale, max, sum, &self.max, log_sum, out);
            }
        }
        Ok(())
    }
}
