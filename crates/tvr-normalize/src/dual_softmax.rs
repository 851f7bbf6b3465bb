//! Dual softmax at inference (DSL): a score counts as far as the gallery item, too, chooses the query.
//!
//! ```text
//! share[q, j] = exp(s[q, j] / T) / Σ_i exp(s[i, j] / T)                       i over the test queries
//! share[q, j] = exp(s[q, j] / T) / (exp(s[q, j] / T) + Σ_i exp(B[i, j] / T))  i over the bank
//! r[q, j]     = s[q, j] · share[q, j]
//! ```
//!
//! | symbol | meaning | shape, unit |
//! |---|---|---|
//! | `s` | test scores | `[queries, gallery]` |
//! | `B` | query bank | `[bank queries, gallery]` |
//! | `T` | temperature | above 0, unit of the scores; 1 on logits is 0.01 on cosines |
//!
//! Source: Cheng et al. 2021, arXiv 2109.04290; code: InternVideo `main_task_retrieval.py` (`T` = 1 on logits, own
//! prior per direction). The factor N of other code moves no ranking and is left out.
//! Regime: bank with a query bank, else transductive; one query without a bank stays raw.
//! Cost: two passes, O(queries · gallery).
//! A stated weakness: scores must be positive. A small share of a negative score is *large*
//! ([`Normalizer::warnings`]).

use crate::error::{NormalizeError, above_zero};
use crate::kernel;
use crate::passes::{column_lse, map_rows};
use crate::scores::{Normalizer, Regime, Scores, Warning};
use crate::source::{MatrixSource, ScoreSource};
use ndarray::Array2;

/// The dual softmax re-scorer.
///
/// # Example
/// ```
/// # use {ndarray::array, tvr_normalize::*};
/// let logits = array![[9.0, 2.0], [5.0, 4.5]]; // item 0 wins both rows
/// let revised = DualSoftmax::new(1.0)?.apply(&Scores::new(logits.view()))?;
/// assert!(revised[[1, 1]] > revised[[1, 0]]);
/// # Ok::<(), NormalizeError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct DualSoftmax {
    temperature: f32,
}

impl DualSoftmax {
    /// A dual softmax with this temperature, in the unit of the scores.
    ///
    /// # Errors
    /// [`NormalizeError::Setting`] unless it is a number above 0.
    pub fn new(temperature: f32) -> Result<Self, NormalizeError> {
        Ok(Self { temperature: above_zero("dual-softmax", "temperature", temperature)? })
    }

    /// The temperature of the share.
    pub fn temperature(&self) -> f32 {
        self.temperature
    }
}

impl Normalizer for DualSoftmax {
    fn name(&self) -> &'static str {
        "dual-softmax"
    }

    fn regime(&self, scores: &Scores) -> Regime {
        scores.bank_or_transductive()
    }

    fn apply(&self, scores: &Scores) -> Result<Array2<f32>, NormalizeError> {
        scores.check(self.name())?;
        let scale = 1.0 / f64::from(self.temperature);
        let lse = column_lse(&MatrixSource::new(scores.reference_rows()), scale)?;
        let test = MatrixSource::new(scores.test);
        Ok(map_rows(test.values(), test.shape(), |_, old, new| {
            if scores.query_bank.is_some() {
                new.copy_from_slice(old);
                kernel::times_share_with_bank(old, scale, &lse, new);
            } else if scores.test.nrows() == 1 {
                new.copy_from_slice(old); // the share is 1, and rounding must not make it less
            } else {
                kernel::times_share(old, scale, &lse, new);
            }
        }))
    }

    fn warnings(&self, scores: &Scores) -> Vec<Warning> {
        match scores.negative_share() {
            0.0 => Vec::new(),
            share => vec![Warning::NegativeScores { method: self.name(), share }],
        }
    }
}
