//! Dual bank Sinkhorn normalisation (DBSN): Sinkhorn biases of the gallery, found in a wider gallery.
//!
//! ```text
//! P[i, j] = exp([B H][i, j] / τ + f[i] + g[j])    rows sum alike, columns sum alike (sinkhorn.rs)
//! r[q, j] = s[q, j] + τ · g[j]                    j over the true gallery, the first columns
//! ```
//!
//! | symbol | meaning | shape, unit |
//! |---|---|---|
//! | `s`, `B` | test scores, query bank | `[queries, gallery]`, `[bank queries, gallery]` |
//! | `H` | the bank queries against training gallery items | `[bank queries, bank items]` |
//! | `τ` | temperature | above 0, unit of the scores; 0.01 on cosines |
//!
//! A bank query that has its own item in the gallery need not lay its probability on the test items.
//! Source: Pan et al. 2025, arXiv 2508.02538; code: ppanzx/DBSN `Video_Retrieval/dbsn.py`, which begins with the
//! columns and runs ten iterations. `g` is reported with mean 0 over the true gallery.
//! Regime: bank; without both blocks it is refused. Bias form. Cost: `iterations` passes over both blocks.

use super::{Marginals, Sinkhorn};
use crate::error::{self, NormalizeError, above_zero};
use crate::passes::check_finite;
use crate::prepared::{Prepared, Sources};
use crate::scores::{Normalizer, Regime, Scores};
use crate::source::{Beside, MatrixSource, ScoreSource};
use ndarray::{Array1, Array2};

/// The dual bank Sinkhorn re-scorer.
///
/// # Example
/// ```
/// # use {ndarray::array, tvr_normalize::*};
/// let logits = array![[5.0, 4.5]]; // item 0 wins
/// let bank = array![[9.0, 2.0], [8.0, 3.0]]; // but item 0 wins everything
/// let own = array![[9.5, 0.0], [0.0, 3.5]]; // each bank query has an item of its own
/// let scores = Scores::new(logits.view()).with_query_bank(bank.view()).with_bank_gallery(own.view());
/// let revised = Dbsn::new(1.0, 50)?.apply(&scores)?;
/// assert!(revised[[0, 1]] > revised[[0, 0]]);
/// # Ok::<(), NormalizeError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Dbsn {
    tau: f32,
    iterations: usize,
}

impl Dbsn {
    /// DBSN with this temperature and number of iterations, rows first.
    ///
    /// # Errors
    /// [`NormalizeError::Setting`] unless `tau` is above 0 and `iterations` from 1 to 10,000.
    pub fn new(tau: f32, iterations: usize) -> Result<Self, NormalizeError> {
        Ok(Self { tau: above_zero("dbsn", "tau", tau)?, iterations: error::iterations("dbsn", iterations)? })
    }

    /// The temperature.
    pub fn tau(&self) -> f32 {
        self.tau
    }

    /// The number of iterations.
    pub fn iterations(&self) -> usize {
        self.iterations
    }
}

impl Normalizer for Dbsn {
    fn name(&self) -> &'static str {
        "dbsn"
    }

    fn regime(&self, _scores: &Scores) -> Regime {
        Regime::Bank
    }

    fn prepare<'a>(&self, sources: &Sources<'a>) -> Result<Prepared<'a>, NormalizeError> {
        let bank = sources.needs_query_bank(self.name())?;
        let own = sources.needs_bank_gallery(self.name())?;
        let ([expected, gallery], [found, items]) = (bank.shape(), own.shape());
        if found != expected {
            return Err(NormalizeError::BankRows { method: self.name(), found, expected });
        }
        let sinkhorn = Sinkhorn::new(self.tau, self.iterations)?;
        let marginals = Marginals::uniform(expected, gallery + items);
        let beside = Beside { left: bank, right: own };
        let fit = match (bank.matrix(), own.matrix()) {
            (Some(scores), Some(others)) => {
                check_finite(bank.name(), 0, gallery, scores)?;
                check_finite(own.name(), 0, items, others)?;
                // In memory anyway: one matrix more, and the fast solver.
                let mut wide = Vec::new();
                beside.block(0..expected, &mut wide);
                let wide = Array2::from_shape_vec((expected, gallery + items), wide).unwrap_or_default();
                sinkhorn.solve(&MatrixSource::new(wide.view()).named(beside.name()), &marginals)?
            }
            _ => sinkhorn.solve(&beside, &marginals)?,
        };
        let potential = fit.gallery_potential.slice(ndarray::s![..gallery]);
        let mean = potential.sum() / gallery as f64;
        let bias: Array1<f32> = potential.mapv(|g| (f64::from(self.tau) * (g - mean)) as f32);
        Ok(Prepared::shift(bias))
    }
}
