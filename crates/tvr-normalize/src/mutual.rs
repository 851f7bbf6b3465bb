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
//! Regime: bank with a query bank, else transductive. Cost: three passes, O(queries · gallery).

use crate::error::{NormalizeError, above_zero};
use crate::kernel;
use crate::passes::{column_lse, map_rows};
use crate::scores::{Normalizer, Regime, Scores};
use crate::source::{MatrixSource, ScoreSource};
use ndarray::Array2;

/// The mutual softmax re-scorer.
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

    fn apply(&self, scores: &Scores) -> Result<Array2<f32>, NormalizeError> {
        scores.check(self.name())?;
        let scale = 1.0 / f64::from(self.temperature);
        let lse = column_lse(&MatrixSource::new(scores.reference_rows()), scale)?;
        let test = MatrixSource::new(scores.test);
        let nothing = vec![0.0; scores.test.ncols()];
        Ok(map_rows(test.values(), test.shape(), |_, old, new| {
            let max = kernel::row_max(old, scale, &nothing);
            let row = vec![max + kernel::row_sum_exp(old, scale, &nothing, -max).ln(); old.len()];
            new.fill(1.0);
            kernel::times_exp(old, scale, &row, new);
            if scores.query_bank.is_some() {
                kernel::times_share_with_bank(old, scale, &lse, new);
            } else {
                kernel::times_exp(old, scale, &lse, new);
            }
        }))
    }
}
