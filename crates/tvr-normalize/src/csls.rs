//! Cross-domain similarity local scaling (CSLS): twice the score minus how near both sides are to their neighbours.
//!
//! ```text
//! r[q, j] = 2 s[q, j] − mean of the k largest s[q, ·] − mean of the k largest B[·, j]
//! ```
//!
//! `s` test scores `[queries, gallery]`; `B` the query bank, or the test scores; `k` neighbours (10).
//! Source: Conneau et al. 2018, arXiv 1710.04087; code: facebookresearch/MUSE `get_nn_avg_dist`.
//! Regime: bank with a query bank, else transductive. Bias form: the row's own mean moves no order, so the bias is
//! half the gallery term. Cost: one pass over the bank, which is read a tile at a time; little is kept of it.

use crate::error::{NormalizeError, at_least_one};
use crate::kernel;
use crate::prepared::{Prepared, RowMap, Sources};
use crate::scores::{Normalizer, Regime, Scores};
use crate::top::{GALLERY, column_means_of_largest, enough, row_mean_of_largest};
use std::mem::MaybeUninit;

/// The CSLS re-scorer.
///
/// # Example
/// ```
/// # use {ndarray::array, tvr_normalize::*};
/// let logits = array![[9.0, 2.0], [5.0, 4.5]]; // item 0 wins both rows
/// let revised = Csls::new(1)?.apply(&Scores::new(logits.view()))?;
/// assert!(revised[[1, 1]] > revised[[1, 0]]);
/// # Ok::<(), NormalizeError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Csls {
    k: usize,
}

impl Csls {
    /// CSLS with `k` neighbours.
    ///
    /// # Errors
    /// [`NormalizeError::Setting`] unless `k` is at least 1.
    pub fn new(k: usize) -> Result<Self, NormalizeError> {
        Ok(Self { k: at_least_one("csls", "k", k)? })
    }

    /// The number of neighbours.
    pub fn k(&self) -> usize {
        self.k
    }

    /// Whether both sides have as many items as it selects.
    pub(crate) fn enough(&self, queries: usize, gallery: usize) -> Result<(), NormalizeError> {
        enough(self.name(), self.k, queries, "queries to select from")?;
        enough(self.name(), self.k, gallery, GALLERY)
    }
}

impl Normalizer for Csls {
    fn name(&self) -> &'static str {
        "csls"
    }

    fn regime(&self, scores: &Scores) -> Regime {
        scores.bank_or_transductive()
    }

    fn prepare<'a>(&self, sources: &Sources<'a>) -> Result<Prepared<'a>, NormalizeError> {
        let bank = sources.reference(self.name(), "the gallery term would be the query's own score")?;
        let [queries, gallery] = bank.shape();
        self.enough(queries, gallery)?;
        let items = column_means_of_largest(bank, self.k)?;
        let bias = items.iter().map(|item| item * -0.5).collect();
        Ok(Prepared::new(gallery, Scaling { k: self.k, items }).with_bias(bias))
    }
}

struct Scaling {
    k: usize,
    items: Vec<f32>,
}

impl RowMap for Scaling {
    fn map(&self, scores: &[f32], out: &mut [MaybeUninit<f32>]) -> Result<(), NormalizeError> {
        kernel::csls_row(scores, row_mean_of_largest(scores, self.k), &self.items, out);
        Ok(())
    }
}
