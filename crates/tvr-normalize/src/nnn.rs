//! Nearest-neighbour normalisation (NNN): each gallery item pays for its nearest bank queries.
//!
//! ```text
//! r[q, j] = s[q, j] − α · mean of the k largest B[·, j]
//! ```
//!
//! `s` test scores `[queries, gallery]`; `B` query bank `[bank queries, gallery]`; `k` (128) neighbours; `α` (0.75).
//! Source: Chowdhury et al., EMNLP 2024, arXiv 2410.24114; code: multimodal-interpretability/nnn.
//! Regime: bank; without a bank it is refused. Bias form. Cost: one pass over the bank.

use crate::error::{NormalizeError, at_least_one};
use crate::prepared::{Prepared, Sources};
use crate::scores::{Normalizer, Regime, Scores};
use crate::top::{column_means_of_largest, enough};

/// The NNN re-scorer.
///
/// # Example
/// ```
/// # use {ndarray::array, tvr_normalize::*};
/// let logits = array![[5.0, 4.5]]; // item 0 wins
/// let bank = array![[9.0, 2.0], [8.0, 1.0]]; // but item 0 wins everything
/// let revised = Nnn::new(1, 0.75)?.apply(&Scores::new(logits.view()).with_query_bank(bank.view()))?;
/// assert!(revised[[0, 1]] > revised[[0, 0]]);
/// # Ok::<(), NormalizeError>(())
/// ```
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

    /// Whether a bank has as many queries as it selects.
    pub(crate) fn enough(&self, queries: usize) -> Result<(), NormalizeError> {
        enough(self.name(), self.k, queries, "bank queries to select from")
    }
}

impl Normalizer for Nnn {
    fn name(&self) -> &'static str {
        "nnn"
    }

    fn regime(&self, _scores: &Scores) -> Regime {
        Regime::Bank
    }

    fn prepare<'a>(&self, sources: &Sources<'a>) -> Result<Prepared<'a>, NormalizeError> {
        let bank = sources.needs_query_bank(self.name())?;
        self.enough(bank.shape()[0])?;
        let means = column_means_of_largest(bank, self.k)?;
        Ok(Prepared::shift(means.into_iter().map(|mean| mean * -self.alpha).collect()))
    }
}
