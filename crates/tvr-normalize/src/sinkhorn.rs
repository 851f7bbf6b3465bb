//! Sinkhorn-Knopp biases (NCL at test time): one number per gallery item that makes every item wanted equally.
//!
//! ```text
//! P[i, j] = exp(B[i, j] / τ + f[i] + g[j])    rows sum to r, columns to c
//! f[i] ← ln r[i] − lse_j (B[i, j] / τ + g[j])   query half-step, first
//! g[j] ← ln c[j] − lse_i (B[i, j] / τ + f[i])   gallery half-step; both are one iteration
//! result[q, j] = s[q, j] + τ · g[j]
//! ```
//!
//! | symbol | meaning | shape, unit |
//! |---|---|---|
//! | `s`, `B` | test scores; the bank, or the test scores | `[queries, gallery]`, `[bank queries, gallery]` |
//! | `τ` | temperature | above 0, unit of the scores; 1 on logits |
//! | `f`, `g` | potentials | `[bank queries]`, `[gallery]`, nats |
//! | `r`, `c` | marginals, uniform unless given | the same, above 0 |
//!
//! Single queries are normalised by [`SingleQuery`], with a wider gallery by [`Dbsn`].
//!
//! Source: Park et al. 2022 (NCL), arXiv 2212.11790; Cuturi 2013. UCoFiA's function is `start=column` and unit
//! marginals, which move `g` by a constant only. `g` is reported with mean 0.
//! Regime: bank with a query bank, else transductive. Bias form.
//! Cost: `iterations` passes. A matrix is solved in a stabilised kernel (`sinkhorn/scaling.rs`: two multiply-adds
//! per score and iteration, one copy of the matrix), a [`ScoreSource`] in the log domain (`sinkhorn/log_domain.rs`:
//! two exponentials, memory of a few blocks). Both are finite at any τ and agree within 1e-4 nats.

mod dbsn;
mod log_domain;
mod marginals;
mod scaling;
mod single_query;

pub use dbsn::Dbsn;
pub use marginals::Marginals;
pub use single_query::{SingleQuery, WarmStart};

use crate::error::{self, NormalizeError, above_zero};
use crate::prepared::{Prepared, Sources};
use crate::scores::{Normalizer, Regime, Scores, Warning};
use crate::source::{MatrixSource, ScoreSource};
use ndarray::Array1;

/// A run without `tol` calls itself converged below this marginal error.
const CONVERGED: f64 = 1e-3;

const LONELY: &str = "all scores of its row would become equal";

/// What happens before the first iteration.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Start {
    /// Nothing: `g = 0`.
    #[default]
    Row,
    /// One gallery half-step, as in the published function of UCoFiA.
    Column,
}

/// What a run of Sinkhorn found. Potentials are f64: at logits of 4,000 an f32 keeps only three decimals, and a
/// column sum would be off by that much.
#[derive(Clone, Debug, PartialEq)]
pub struct Fit {
    /// `f`, `[queries]`, nats.
    pub query_potential: Array1<f64>,
    /// `g`, `[gallery]`, nats, mean 0.
    pub gallery_potential: Array1<f64>,
    /// The largest relative deviation of a row sum from its marginal. Column sums are exact.
    pub marginal_error: f32,
    /// Whether `marginal_error` is at most `tol` (1e-3 without one).
    pub converged: bool,
    /// Iterations done.
    pub iterations: usize,
}

/// The Sinkhorn normaliser.
///
/// # Example
/// ```
/// # use {ndarray::array, tvr_normalize::*};
/// let logits = array![[9.0, 2.0], [5.0, 4.5]]; // item 0 wins both rows
/// let fit = Sinkhorn::new(1.0, 50)?.fit(&Scores::new(logits.view()))?;
/// assert!(fit.converged && fit.gallery_potential[1] > fit.gallery_potential[0]);
/// # Ok::<(), NormalizeError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sinkhorn {
    tau: f32,
    iterations: usize,
    start: Start,
    tol: Option<f32>,
}

impl Sinkhorn {
    /// Sinkhorn with this temperature and at most this many iterations; `start = row`, no early stop.
    ///
    /// # Errors
    /// [`NormalizeError::Setting`] unless `tau` is above 0 and `iterations` from 1 to 10,000.
    pub fn new(tau: f32, iterations: usize) -> Result<Self, NormalizeError> {
        Ok(Self {
            tau: above_zero("sinkhorn", "tau", tau)?,
            iterations: error::iterations("sinkhorn", iterations)?,
            start: Start::Row,
            tol: None,
        })
    }

    /// The same with another start.
    pub fn with_start(self, start: Start) -> Self {
        Self { start, ..self }
    }

    /// The same, stopping when no row sum is off by more than `tol`, relative to its marginal.
    ///
    /// # Errors
    /// [`NormalizeError::Setting`] unless it is a number above 0.
    pub fn with_tol(self, tol: f32) -> Result<Self, NormalizeError> {
        Ok(Self { tol: Some(above_zero("sinkhorn", "tol", tol)?), ..self })
    }

    /// The temperature.
    pub fn tau(&self) -> f32 {
        self.tau
    }

    /// The largest number of iterations.
    pub fn iterations(&self) -> usize {
        self.iterations
    }

    /// What happens before the first iteration.
    pub fn start(&self) -> Start {
        self.start
    }

    /// The marginal error at which a run stops early.
    pub fn tol(&self) -> Option<f32> {
        self.tol
    }

    /// Potentials of the query bank, or without one of the test scores, with uniform marginals.
    ///
    /// # Errors
    /// As [`Normalizer::apply`].
    pub fn fit(&self, scores: &Scores) -> Result<Fit, NormalizeError> {
        let (rows, columns) = scores.query_bank.unwrap_or(scores.test).dim();
        self.fit_with(scores, &Marginals::uniform(rows, columns))
    }

    /// The same with marginals: `r` of the bank (or test) queries, `c` of the gallery.
    ///
    /// # Errors
    /// As [`Normalizer::apply`], and [`NormalizeError::MarginalLength`].
    pub fn fit_with(&self, scores: &Scores, marginals: &Marginals) -> Result<Fit, NormalizeError> {
        scores.check(self.name())?;
        let (test, bank) = (MatrixSource::new(scores.test), scores.query_bank.map(MatrixSource::new));
        let bank = bank.as_ref().map(|bank| bank as &dyn ScoreSource);
        let sources = Sources { test: Some(&test), query_bank: bank, ..Sources::default() };
        self.solve(sources.reference(self.name(), LONELY)?, marginals)
    }

    /// Matrix-free: the same potentials from scores that are made again in every iteration.
    ///
    /// # Errors
    /// [`NormalizeError::Empty`], [`NormalizeError::NotFinite`], [`NormalizeError::MarginalLength`].
    pub fn fit_source(&self, source: &dyn ScoreSource, marginals: &Marginals) -> Result<Fit, NormalizeError> {
        let [queries, gallery] = source.shape();
        if queries == 0 || gallery == 0 {
            return Err(NormalizeError::Empty { method: self.name(), block: "scores", queries, gallery });
        }
        marginals.check(source.shape())?;
        log_domain::solve(self, source, marginals, None)
    }

    /// In the stabilised kernel where there is a matrix, else in the log domain.
    fn solve(&self, source: &dyn ScoreSource, marginals: &Marginals) -> Result<Fit, NormalizeError> {
        marginals.check(source.shape())?;
        match source.matrix() {
            Some(scores) => scaling::solve(self, source, scores, marginals),
            None => log_domain::solve(self, source, marginals, None),
        }
    }

    fn bias_of(&self, fit: &Fit) -> Array1<f32> {
        fit.gallery_potential.mapv(|potential| (f64::from(self.tau) * potential) as f32)
    }

    /// The fit of potentials up to a constant, and the row error they leave.
    fn finish(&self, query: Vec<f64>, gallery: Vec<f64>, error: f64, iterations: usize) -> Fit {
        let mean = gallery.iter().sum::<f64>() / gallery.len() as f64;
        Fit {
            query_potential: query.into_iter().map(|f| f + mean).collect(),
            gallery_potential: gallery.into_iter().map(|g| g - mean).collect(),
            marginal_error: error as f32,
            converged: error <= self.tol.map_or(CONVERGED, f64::from),
            iterations,
        }
    }

    fn scale(&self) -> f64 {
        1.0 / f64::from(self.tau)
    }

    fn done(&self, error: f64) -> bool {
        self.tol.is_some_and(|tol| error <= f64::from(tol))
    }
}

impl Normalizer for Sinkhorn {
    fn name(&self) -> &'static str {
        "sinkhorn"
    }

    fn regime(&self, scores: &Scores) -> Regime {
        scores.bank_or_transductive()
    }

    fn prepare<'a>(&self, sources: &Sources<'a>) -> Result<Prepared<'a>, NormalizeError> {
        let source = sources.reference(self.name(), LONELY)?;
        let [rows, columns] = source.shape();
        Ok(Prepared::shift(self.bias_of(&self.solve(source, &Marginals::uniform(rows, columns))?)))
    }

    /// Solves once more where a `tol` is set, to see whether it is met.
    fn warnings(&self, scores: &Scores) -> Vec<Warning> {
        let Some(tol) = self.tol else { return Vec::new() };
        match self.fit(scores) {
            Ok(Fit { converged: false, iterations, marginal_error: error, .. }) => {
                vec![Warning::NotConverged { method: self.name(), iterations, error, tol }]
            }
            _ => Vec::new(),
        }
    }
}
