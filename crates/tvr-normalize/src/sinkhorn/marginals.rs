//! What the rows and columns of the plan sum to.

use crate::error::NormalizeError;
use ndarray::Array1;

/// Row sums `r` and column sums `c` of the plan. Their totals may differ (unit marginals on an oblong matrix): then
/// column sums are `c` and row sums are proportional to `r`.
#[derive(Clone, Debug, PartialEq)]
pub struct Marginals {
    pub(super) queries: Vec<f64>,
    pub(super) gallery: Vec<f64>,
}

impl Marginals {
    /// Each side sums to 1, all entries alike.
    pub fn uniform(queries: usize, gallery: usize) -> Self {
        Self { queries: vec![1.0 / queries as f64; queries], gallery: vec![1.0 / gallery as f64; gallery] }
    }

    /// Weights of the queries, and how often each gallery item is asked for.
    ///
    /// # Errors
    /// [`NormalizeError::Marginal`] at the first entry that is not a number above 0.
    pub fn new(queries: Array1<f64>, gallery: Array1<f64>) -> Result<Self, NormalizeError> {
        for (marginal, values) in [("query", &queries), ("gallery", &gallery)] {
            let bad = values.iter().position(|value| !(value.is_finite() && *value > 0.0));
            if let Some(index) = bad {
                return Err(NormalizeError::Marginal { marginal, index, value: values[index] });
            }
        }
        Ok(Self { queries: queries.to_vec(), gallery: gallery.to_vec() })
    }

    pub(super) fn check(&self, shape: [usize; 2]) -> Result<(), NormalizeError> {
        let sides = [("query", self.queries.len()), ("gallery", self.gallery.len())];
        for ((marginal, found), expected) in sides.into_iter().zip(shape) {
            if found != expected {
                return Err(NormalizeError::MarginalLength { marginal, found, expected });
            }
        }
        Ok(())
    }

    /// `ln r` with `Σ r = 1`, and `ln c` as given.
    pub(super) fn logs(&self) -> (Vec<f64>, Vec<f64>) {
        let total = self.queries.iter().sum::<f64>();
        let queries = self.queries.iter().map(|r| (r / total).ln()).collect();
        (queries, self.gallery.iter().map(|c| c.ln()).collect())
    }

    /// `ln` of the mass of the plan.
    pub(super) fn log_mass(&self) -> f64 {
        self.gallery.iter().sum::<f64>().ln()
    }
}
