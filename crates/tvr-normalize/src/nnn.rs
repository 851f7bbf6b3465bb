//! Nearest-neighbour normalisation (NNN): each gallery item pays for its nearest bank queries.
//!
//! ```text
//! r[q, j] = s[q, j] − α · mean of the k largest B[·, j]
//! ```
//!
//! `s` test scores `[queries, gallery]`; `B` query bank `[bank queries, gallery]`; `k` (128) neighbours; `α` (0.75).
//! Source: Chowdhury et al., EMNLP 2024, arXiv 2410.24114; code: multimodal-interpretability/nnn.
//! Regime: bank; without a bank it is refused. Bias form. Cost: one selection per column of the bank.

use crate::error::{NormalizeError, at_least_one};
use crate::scores::{Normalizer, Regime, Scores};
use crate::top::{enough, mean_of_largest};
use ndarray::{Array1, Array2, Axis};

/// The NNN re-scorer.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Nnn {
    k: usize,
    alpha: f32,
}

impl Nnn {
    /// NNN with `k` neighbours and weight `alpha`.
    ///
    /// # Errors
    /// [`NormalizeError::Setting`] unless `k` is at least 1 and `alpha` a number of at least 0.
    pub fn new(k: usize, alpha: f32) -> Result<Self, NormalizeError> {
        if !(alpha.is_finite() && alpha >= 0.0) {
            let (value, domain) = (alpha.to_string(), "a number of at least 0");
            return Err(NormalizeError::Setting { method: "nnn", setting: "alpha", value, domain });
        }
        Ok(Self { k: at_least_one("nnn", "k", k)?, alpha })
    }

    /// The number of neighbours.
    pub fn k(&self) -> usize {
        self.k
    }

    /// The weight of the neighbours' mean.
    pub fn alpha(&self) -> f32 {
        self.alpha
    }

    fn checked_bias(&self, scores: &Scores) -> Result<Array1<f32>, NormalizeError> {
        scores.check(self.name())?;
        let bank = scores.needs_query_bank(self.name())?;
        enough(self.name(), self.k, bank.nrows(), "bank queries to select from")?;
        Ok(mean_of_largest(bank, Axis(0), self.k) * -self.alpha)
    }
}

impl Normalizer for Nnn {
    fn name(&self) -> &'static str {
        "nnn"
    }

    fn regime(&self, _scores: &Scores) -> Regime {
        Regime::Bank
    }

    fn apply(&self, scores: &Scores) -> Result<Array2<f32>, NormalizeError> {
        Ok(&scores.test + &self.checked_bias(scores)?)
    }

    fn bias(&self, scores: &Scores) -> Result<Option<Array1<f32>>, NormalizeError> {
        self.checked_bias(scores).map(Some)
    }
}
