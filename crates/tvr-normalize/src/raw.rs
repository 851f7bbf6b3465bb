//! The scores as they are.
//!
//! ```text
//! r[q, j] = s[q, j]
//! ```
//!
//! Regime: raw. Cost: one copy.

use crate::error::NormalizeError;
use crate::prepared::{Prepared, Sources};
use crate::scores::{Normalizer, Regime, Scores};
use ndarray::{Array1, Array2};

/// No normalisation; the row every other one is compared with.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Raw;

impl Normalizer for Raw {
    fn name(&self) -> &'static str {
        "raw"
    }

    fn regime(&self, _scores: &Scores) -> Regime {
        Regime::Raw
    }

    fn prepare<'a>(&self, sources: &Sources<'a>) -> Result<Prepared<'a>, NormalizeError> {
        let any = [sources.test, sources.query_bank, sources.gallery_bank];
        let Some(source) = any.into_iter().flatten().next() else {
            return Err(NormalizeError::BankMissing { method: self.name(), bank: "query bank" });
        };
        let [queries, gallery] = source.shape();
        if gallery == 0 {
            return Err(NormalizeError::Empty {
                method: self.name(),
                block: source.name(),
                queries,
                gallery,
            });
        }
        Ok(Prepared::shift(Array1::zeros(gallery)))
    }

    /// A copy: not even a zero is added, which would turn −0 into 0.
    fn apply_with_bias(&self, scores: &Scores) -> Result<(Array2<f32>, Option<Array1<f32>>), NormalizeError> {
        scores.check(self.name())?;
        Ok((scores.test.to_owned(), Some(Array1::zeros(scores.test.ncols()))))
    }
}
