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
//! `exp(r / T)`: the same order. As published, every score carries the constant −T · ln n of n rows: where T is a thousand
//! times the scores' spread, f32 rounds some of them to one another, and `sinkhorn` or `nnn` serve better.
//! Regime: bank with a query bank, else transductive. Bias form. Cost: one pass over the bank.

use crate::error::{NormalizeError, above_zero};
use crate::passes::ColumnSums;
use crate::prepared::{Prepared, Sources};
use crate::scores::{Normalizer, Regime, Scores};
use crate::source::ScoreSource;
use ndarray::Array1;

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
}

impl Normalizer for InvertedSoftmax {
    fn name(&self) -> &'static str {
        "inverted-softmax"
    }

    fn regime(&self, scores: &Scores) -> Regime {
        scores.bank_or_transductive()
    }

    fn prepare<'a>(&self, sources: &Sources<'a>) -> Result<Prepared<'a>, NormalizeError> {
        let bank = sources.reference(self.name(), "all scores of its row would become equal")?;
        Ok(Prepared::shift(inverted_bias(bank, self.temperature)?))
    }
}

/// `−T · ln Σ_i exp(B[i, j] / T)` of every gallery item.
pub(crate) fn inverted_bias(bank: &dyn ScoreSource, temperature: f32) -> Result<Array1<f32>, NormalizeError> {
    let temperature = f64::from(temperature);
    let lse = ColumnSums::of(bank, 1.0 / temperature, None)?.lse();
    Ok(lse.into_iter().map(|lse| (-temperature * lse) as f32).collect())
}
