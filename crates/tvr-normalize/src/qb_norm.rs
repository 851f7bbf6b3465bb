//! QB-Norm, dynamic inverted softmax (DIS): the inverted softmax for queries whose winner is a hub of the bank.
//!
//! ```text
//! A       = items that are among the k best of at least θ bank queries
//! r[q, ·] = s[q, ·] − T · ln Σ_i exp(B[i, ·] / T)   if argmax_j s[q, j] ∈ A, else s[q, ·]
//! ```
//!
//! `s` test scores `[queries, gallery]`; `B` query bank; `T` temperature (0.05, that is β = 20, on cosines); `k` (1);
//! `θ` threshold (1). Of equal scores the lowest index is the better one.
//! Source: Bogolin et al. 2022, arXiv 2112.12777; code: ioanacroi/qb-norm. The published function writes into its
//! argument, this one does not.
//! Regime: bank; without a bank it is refused. Rows are comparable within themselves only, so for the other
//! direction normalise the transpose with its own bank. Cost: two passes over the bank.

use crate::error::{NormalizeError, above_zero, at_least_one};
use crate::inverted_softmax::InvertedSoftmax;
use crate::scores::{Normalizer, Regime, Scores};
use crate::source::MatrixSource;
use crate::top::{enough, largest};
use ndarray::{Array2, Zip};

/// The QB-Norm re-scorer.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct QbNorm {
    temperature: f32,
    k: usize,
    threshold: usize,
}

impl QbNorm {
    /// QB-Norm with a temperature in the unit of the scores; an item is active once it is among the `k` best of
    /// `threshold` bank queries.
    ///
    /// # Errors
    /// [`NormalizeError::Setting`] names the first setting outside its domain.
    pub fn new(temperature: f32, k: usize, threshold: usize) -> Result<Self, NormalizeError> {
        Ok(Self {
            temperature: above_zero("qb-norm", "temperature", temperature)?,
            k: at_least_one("qb-norm", "k", k)?,
            threshold: at_least_one("qb-norm", "threshold", threshold)?,
        })
    }

    /// The temperature.
    pub fn temperature(&self) -> f32 {
        self.temperature
    }

    /// How many of a bank query's best items count as retrieved.
    pub fn k(&self) -> usize {
        self.k
    }

    /// How often an item must be retrieved to be active.
    pub fn threshold(&self) -> usize {
        self.threshold
    }

    /// Which gallery items are active.
    ///
    /// # Errors
    /// As [`Normalizer::apply`].
    pub fn active(&self, scores: &Scores) -> Result<Vec<bool>, NormalizeError> {
        scores.check(self.name())?;
        let bank = scores.needs_query_bank(self.name())?;
        enough(self.name(), self.k, bank.ncols(), "gallery items to select from")?;
        let mut count = vec![0usize; bank.ncols()];
        for row in bank.rows() {
            for item in largest(row, self.k) {
                count[item] += 1;
            }
        }
        Ok(count.into_iter().map(|times| times >= self.threshold).collect())
    }
}

impl Normalizer for QbNorm {
    fn name(&self) -> &'static str {
        "qb-norm"
    }

    fn regime(&self, _scores: &Scores) -> Regime {
        Regime::Bank
    }

    fn apply(&self, scores: &Scores) -> Result<Array2<f32>, NormalizeError> {
        let active = self.active(scores)?;
        let bank = scores.needs_query_bank(self.name())?;
        let bias = InvertedSoftmax::new(self.temperature)?.bias_of(&MatrixSource::new(bank))?;
        let mut out = scores.test.to_owned();
        Zip::from(out.rows_mut()).for_each(|mut row| {
            if largest(row.view(), 1).first().is_some_and(|&winner| active[winner]) {
                row += &bias;
            }
        });
        Ok(out)
    }
}
