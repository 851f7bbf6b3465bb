//! Inverted softmax (IS), in logs: each gallery item pays for how much all queries want it.
//!
//! ```text
//! r[q, j] = s[q, j] − T · ln Σ_i exp(B[i, j] / T)        i over the bank, or the test queries
//! ```
//!
//! | symbol | meaning | shape, unit |
//! |---|---|---|
//! | `s`, `B` | test scores, query bank | `[queries, gallery]`, `[bank queries, gallery]` |
//! | `T` | temperature, 1/β elsewhere | above 0, unit of the scores |
//!
//! Source: Smith et al. 2017, arXiv 1702.03859; code: facebookresearch/MUSE `word_translation.py`, which gives
//! `exp(r / T)`: the same order.
//! Regime: bank with a query bank, else transductive. Bias form. Cost: one pass over the bank.

use crate::error::{NormalizeError, above_zero};
use crate::passes::column_lse;
use crate::scores::{Normalizer, Regime, Scores};
use crate::source::{MatrixSource, ScoreSource};
use ndarray::{Array1, Array2};

/// The inverted softmax.
///
/// # Example
/// ```
/// # use {ndarray::array, tvr_normalize::*};
/// let logits = array![[9.0, 2.0], [5.0, 4.5]]; // item 0 wins both rows
/// let revised = InvertedSoftmax::new(1.0)?.apply(&Scores::new(logits.view()))?;
/// assert!(revised[[1, 1]] > revised[[1, 0]]);
/// # Ok::<(), NormalizeError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct InvertedSoftmax {
    temperature: f32,
}

impl InvertedSoftmax {
    /// An inverted softmax with this temperature, in the unit of the scores.
    ///
    /// # Errors
    /// [`NormalizeError::Setting`] unless it is a number above 0.
    pub fn new(temperature: f32) -> Result<Self, NormalizeError> {
        Ok(Self { temperature: above_zero("inverted-softmax", "temperature", temperature)? })
    }

    /// The temperature.
    pub fn temperature(&self) -> f32 {
        self.temperature
    }

    /// The bias of each gallery item, `[gallery]`, from bank scores that are read once, a block at a time.
    ///
    /// # Errors
    /// [`NormalizeError::Empty`] without rows or columns, [`NormalizeError::NotFinite`] at the first bad score.
    pub fn bias_of(&self, bank: &dyn ScoreSource) -> Result<Array1<f32>, NormalizeError> {
        let [queries, gallery] = bank.shape();
        if queries == 0 || gallery == 0 {
            return Err(NormalizeError::Empty { method: self.name(), block: "bank", queries, gallery });
        }
        let temperature = f64::from(self.temperature);
        let lse = column_lse(bank, 1.0 / temperature)?;
        Ok(lse.into_iter().map(|lse| (-temperature * lse) as f32).collect())
    }

    pub(crate) fn checked_bias(&self, scores: &Scores) -> Result<Array1<f32>, NormalizeError> {
        scores.check(self.name())?;
        scores.refuse_lonely(self.name(), "all scores of its row would become equal")?;
        self.bias_of(&MatrixSource::new(scores.reference_rows()))
    }
}

impl Normalizer for InvertedSoftmax {
    fn name(&self) -> &'static str {
        "inverted-softmax"
    }

    fn regime(&self, scores: &Scores) -> Regime {
        scores.bank_or_transductive()
    }

    fn apply(&self, scores: &Scores) -> Result<Array2<f32>, NormalizeError> {
        Ok(&scores.test + &self.checked_bias(scores)?)
    }

    fn bias(&self, scores: &Scores) -> Result<Option<Array1<f32>>, NormalizeError> {
        self.checked_bias(scores).map(Some)
    }
}
