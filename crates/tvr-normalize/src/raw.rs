//! The scores as they are.
//!
//! ```text
//! r[q, j] = s[q, j]
//! ```
//!
//! Regime: raw. Cost: one copy.

use crate::error::NormalizeError;
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

    fn apply(&self, scores: &Scores) -> Result<Array2<f32>, NormalizeError> {
        scores.check(self.name())?;
        Ok(scores.test.to_owned())
    }

    fn bias(&self, scores: &Scores) -> Result<Option<Array1<f32>>, NormalizeError> {
        Ok(Some(Array1::zeros(scores.test.ncols())))
    }
}
