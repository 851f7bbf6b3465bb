//! Single-query Sinkhorn: every query is normalised alone, together with the bank.
//!
//! ```text
//! P[i, j] = exp(C[i, j] / τ + f[i] + g[j])     C = the bank and, below it, the one query q
//! f, g    = Sinkhorn on C: rows sum alike, columns sum alike (sinkhorn.rs)
//! r[q, j] = s[q, j] + τ · g[j]                 g differs from query to query
//! ```
//!
//! | symbol | meaning | shape, unit |
//! |---|---|---|
//! | `s`, `B` | test scores, query bank | `[queries, gallery]`, `[bank queries, gallery]` |
//! | `C` | bank and query | `[bank queries + 1, gallery]` |
//! | `τ` | temperature | above 0, unit of the scores |
//!
//! Source: Yakovlev et al. 2023, arXiv 2311.08143, for the setting; its equations were not at hand, so this is ours:
//! the plainest reading. `start=bank` begins each query with the bank's own potentials (`iterations` for the bank,
//! then `iterations` a query), which few iterations then correct.
//! The biases come near the bank's own as the bank grows, about as 1/bank queries: with a large bank prefer
//! `sinkhorn`, which needs one run for all queries.
//! Regime: bank; without a bank it is refused. Cost: `iterations` passes over the bank **for each query**.

use super::{Marginals, Sinkhorn, log_domain};
use crate::error::{self, NormalizeError, above_zero};
use crate::kernel;
use crate::prepared::{Prepared, RowMap, Sources};
use crate::scores::{Normalizer, Regime, Scores};
use crate::source::{ScoreSource, WithRow};
use std::mem::MaybeUninit;

/// What each query's run begins with.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum WarmStart {
    /// Nothing.
    #[default]
    Cold,
    /// The potentials of the bank alone.
    Bank,
}

/// The single-query Sinkhorn re-scorer.
///
/// # Example
/// ```
/// # use {ndarray::array, tvr_normalize::*};
/// let logits = array![[5.0, 4.5]]; // item 0 wins
/// let bank = array![[9.0, 2.0], [8.0, 3.0]]; // but item 0 wins everything
/// let scores = Scores::new(logits.view()).with_query_bank(bank.view());
/// let revised = SingleQuery::new(1.0, 20)?.apply(&scores)?;
/// assert!(revised[[0, 1]] > revised[[0, 0]]);
/// # Ok::<(), NormalizeError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SingleQuery {
    tau: f32,
    iterations: usize,
    start: WarmStart,
}

impl SingleQuery {
    /// A run of this temperature and number of iterations for each query.
    ///
    /// # Errors
    /// [`NormalizeError::Setting`] unless `tau` is above 0 and `iterations` from 1 to 10,000.
    pub fn new(tau: f32, iterations: usize) -> Result<Self, NormalizeError> {
        Ok(Self {
            tau: above_zero("single-query", "tau", tau)?,
            iterations: error::iterations("single-query", iterations)?,
            start: WarmStart::Cold,
        })
    }

    /// The same with another start.
    pub fn with_start(self, start: WarmStart) -> Self {
        Self { start, ..self }
    }

    /// The temperature.
    pub fn tau(&self) -> f32 {
        self.tau
    }

    /// Iterations for each query.
    pub fn iterations(&self) -> usize {
        self.iterations
    }

    /// What each run begins with.
    pub fn start(&self) -> WarmStart {
        self.start
    }
}

impl Normalizer for SingleQuery {
    fn name(&self) -> &'static str {
        "single-query"
    }

    fn regime(&self, _scores: &Scores) -> Regime {
        Regime::Bank
    }

    fn prepare<'a>(&self, sources: &Sources<'a>) -> Result<Prepared<'a>, NormalizeError> {
        let bank = sources.needs_query_bank(self.name())?;
        let [queries, gallery] = bank.shape();
        let sinkhorn = Sinkhorn::new(self.tau, self.iterations)?;
        let warm = match self.start {
            WarmStart::Cold => vec![0.0; gallery],
            WarmStart::Bank => {
                sinkhorn.solve(bank, &Marginals::uniform(queries, gallery))?.gallery_potential.to_vec()
            }
        };
        Ok(Prepared::new(gallery, OneByOne { sinkhorn, bank, warm }))
    }
}

struct OneByOne<'a> {
    sinkhorn: Sinkhorn,
    bank: &'a dyn ScoreSource,
    warm: Vec<f64>,
}

impl RowMap for OneByOne<'_> {
    fn map(&self, scores: &[f32], out: &mut [MaybeUninit<f32>]) -> Result<(), NormalizeError> {
        let source = WithRow { source: self.bank, row: scores };
        let [queries, gallery] = source.shape();
        let marginals = Marginals::uniform(queries, gallery);
        let fit = log_domain::solve(&self.sinkhorn, &source, &marginals, Some(&self.warm))?;
        let bias = self.sinkhorn.bias_of(&fit).to_vec();
        kernel::plus_bias(scores, &bias, out);
        Ok(())
    }
}
