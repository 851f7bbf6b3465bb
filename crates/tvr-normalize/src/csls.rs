//! Cross-domain similarity local scaling (CSLS): twice the score minus how near both sides are to their neighbours.
//!
//! ```text
//! r[q, j] = 2 s[q, j] − mean of the k largest s[q, ·] − mean of the k largest B[·, j]
//! ```
//!
//! `s` test scores `[queries, gallery]`; `B` the query bank, or the test scores; `k` neighbours (10).
//! Source: Conneau et al. 2018, arXiv 1710.04087; code: facebookresearch/MUSE `get_nn_avg_dist`.
//! Regime: bank with a query bank, else transductive. Bias form: the row's own mean moves no order, so the bias is
//! half the gallery term. Cost: one selection per row and column.

use crate::error::{NormalizeError, at_least_one};
use crate::scores::{Normalizer, Regime, Scores};
use crate::top::{enough, mean_of_largest};
use ndarray::{Array1, Array2, Axis, Zip};

/// The CSLS re-scorer.
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

    fn gallery_means(&self, scores: &Scores) -> Result<Array1<f32>, NormalizeError> {
        scores.check(self.name())?;
        scores.refuse_lonely(self.name(), "the gallery term would be the query's own score")?;
        let reference = scores.reference_rows();
        enough(self.name(), self.k, reference.nrows(), "queries to select from")?;
        Ok(mean_of_largest(reference, Axis(0), self.k))
    }
}

impl Normalizer for Csls {
    fn name(&self) -> &'static str {
        "csls"
    }

    fn regime(&self, scores: &Scores) -> Regime {
        scores.bank_or_transductive()
    }

    fn apply(&self, scores: &Scores) -> Result<Array2<f32>, NormalizeError> {
        let gallery = self.gallery_means(scores)?;
        enough(self.name(), self.k, scores.test.ncols(), "gallery items to select from")?;
        let queries = mean_of_largest(scores.test, Axis(1), self.k);
        let mut out = scores.test.to_owned();
        Zip::from(out.rows_mut()).and(&queries).for_each(|mut row, &own| {
            // The two means are added first, so that the transpose gives the same bits.
            row.zip_mut_with(&gallery, |score, &item| *score = 2.0 * *score - (own + item));
        });
        Ok(out)
    }

    fn bias(&self, scores: &Scores) -> Result<Option<Array1<f32>>, NormalizeError> {
        Ok(Some(self.gallery_means(scores)? * -0.5))
    }
}
