//! Dual softmax at inference (DSL): a score counts as far as the gallery item, too, chooses the query.
//!
//! ```text
//! share[q, j] = exp(s[q, j] / T) / Σ_i w[i] · exp(s[i, j] / T)                i over the test queries
//! share[q, j] = exp(s[q, j] / T) / (exp(s[q, j] / T) + Σ_i exp(B[i, j] / T))  i over the bank
//! r[q, j]     = s[q, j] · share[q, j]
//! ```
//!
//! | symbol | meaning | shape, unit |
//! |---|---|---|
//! | `s` | test scores | `[queries, gallery]` |
//! | `B` | query bank | `[bank queries, gallery]` |
//! | `T` | temperature | above 0, unit of the scores; 1 on logits is 0.01 on cosines |
//! | `w` | weight of a query: 1, or 1 over the captions of its video | `[queries]` |
//!
//! | `prior` | the share is taken | who |
//! |---|---|---|
//! | `own` | among the queries of this direction | InternVideo `main_task_retrieval.py`, EMCL-Net `main_retrieval.py` |
//! | `shared` | among the texts, in both directions | TS2-Net, CLIP-ViP, the commented lines of CenterCLIP and DGL |
//! | `videos` | as `own`, but captions that share a video count once together | ours |
//!
//! With `shared` and positive scores V2T keeps the raw order: each video's scores are divided by one number. It is
//! there to reproduce what those code bases report, T-MASS's T2V and LanguageBind's `T` = 0.1 among them.
//!
//! Source: Cheng et al. 2021, arXiv 2109.04290; code: as in the table. The factor N of some code moves no ranking and
//! is left out. With a bank `videos` is `own`: nothing is known of the bank's videos.
//! Regime: bank with a query bank, else transductive; V2T with `shared` is raw. One query without a bank stays raw.
//! Cost: two passes, O(queries · gallery).
//! A stated weakness: scores must be positive. A small share of a negative score is *large*
//! ([`Normalizer::warnings`]).
//! The published criticism of it (issue 7 of starmemda/CAMoE): it needs all queries at once, and it assumes that every
//! video is asked for once. A query bank answers the first; a video that many ask for loses by the second.

use crate::error::{NormalizeError, above_zero};
use crate::kernel;
use crate::passes::{ColumnSums, narrow};
use crate::prepared::{Prepared, RowMap, Sources, filled};
use crate::scores::{Normalizer, Regime, Scores, Side, Warning};
use ndarray::Array1;
use std::mem::MaybeUninit;

/// Among what a share is taken.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Prior {
    /// The queries of this direction.
    #[default]
    Own,
    /// The texts, whichever way is searched.
    Shared,
    /// The queries of this direction, where captions of one video count once together.
    Videos,
}

/// The dual softmax re-scorer.
///
/// # Example
/// ```
/// # use {ndarray::array, tvr_normalize::*};
/// let logits = array![[9.0, 2.0], [5.0, 4.5]]; // item 0 wins both rows
/// let revised = DualSoftmax::new(1.0)?.apply(&Scores::new(logits.view()))?;
/// assert!(revised[[1, 1]] > revised[[1, 0]]);
/// # Ok::<(), NormalizeError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct DualSoftmax {
    temperature: f32,
    prior: Prior,
}

impl DualSoftmax {
    /// A dual softmax with this temperature, in the unit of the scores, and a prior of its own for each direction.
    ///
    /// # Errors
    /// [`NormalizeError::Setting`] unless it is a number above 0.
    pub fn new(temperature: f32) -> Result<Self, NormalizeError> {
        Ok(Self { temperature: above_zero("dual-softmax", "temperature", temperature)?, prior: Prior::Own })
    }

    /// The same with another prior.
    pub fn with_prior(self, prior: Prior) -> Self {
        Self { prior, ..self }
    }

    /// The temperature of the share.
    pub fn temperature(&self) -> f32 {
        self.temperature
    }

    /// Among what the share is taken.
    pub fn prior(&self) -> Prior {
        self.prior
    }

    /// Whether the share is taken along the row: texts are then the gallery.
    fn along_row(&self, queries: Side) -> bool {
        self.prior == Prior::Shared && queries == Side::Videos
    }
}

impl Normalizer for DualSoftmax {
    fn name(&self) -> &'static str {
        "dual-softmax"
    }

    fn regime(&self, scores: &Scores) -> Regime {
        if self.along_row(scores.queries) { Regime::Raw } else { scores.bank_or_transductive() }
    }

    fn prepare<'a>(&self, sources: &Sources<'a>) -> Result<Prepared<'a>, NormalizeError> {
        let scale = 1.0 / f64::from(self.temperature);
        let (test, bank) = (sources.test, sources.query_bank);
        if let Some(any) = test.or(bank).filter(|_| self.along_row(sources.queries)) {
            let any = filled(self.name(), any)?;
            return Ok(Prepared::new(any.shape()[1], RowShare(narrow(scale))));
        }
        if let Some(test) = test.filter(|test| bank.is_none() && test.shape()[0] == 1) {
            // The share is 1, and rounding must not make it less.
            let test = filled(self.name(), test)?;
            return Ok(Prepared::shift(Array1::zeros(test.shape()[1])));
        }
        let reference = sources.reference(self.name(), "")?;
        let [_, gallery] = reference.shape();
        if bank.is_some() {
            let sums = ColumnSums::of(reference, scale, None)?;
            let log_sum = sums.log_sum();
            return Ok(Prepared::new(gallery, BankShare { scale: narrow(scale), max: sums.max, log_sum }));
        }
        let weights = sources.query_weights.filter(|_| self.prior == Prior::Videos);
        let (found, [expected, _]) = (weights.map_or(0, <[f32]>::len), reference.shape());
        if weights.is_some() && found != expected {
            return Err(NormalizeError::WeightCount { method: self.name(), found, expected });
        }
        let sums = ColumnSums::of(reference, scale, weights)?;
        let inverse = sums.inverse();
        Ok(Prepared::new(gallery, Share { scale: narrow(scale), max: sums.max, inverse }))
    }

    fn warnings(&self, scores: &Scores) -> Vec<Warning> {
        Warning::of_negative(self.name(), scores)
    }
}

/// The score times its share of the column.
struct Share {
    scale: f32,
    max: Vec<f32>,
    inverse: Vec<f32>,
}

impl RowMap for Share {
    fn map(&self, scores: &[f32], out: &mut [MaybeUninit<f32>]) -> Result<(), NormalizeError> {
        kernel::times_share(scores, self.scale, &self.max, &self.inverse, out);
        Ok(())
    }
}

/// The score times its share among the bank and itself.
struct BankShare {
    scale: f32,
    max: Vec<f32>,
    log_sum: Vec<f32>,
}

impl RowMap for BankShare {
    fn map(&self, scores: &[f32], out: &mut [MaybeUninit<f32>]) -> Result<(), NormalizeError> {
        kernel::times_share_with_bank(scores, self.scale, &self.max, &self.log_sum, out);
        Ok(())
    }
}

/// The score times its share of the row.
struct RowShare(f32);

impl RowMap for RowShare {
    fn map(&self, scores: &[f32], out: &mut [MaybeUninit<f32>]) -> Result<(), NormalizeError> {
        let max = kernel::largest(scores);
        kernel::times_row_share(scores, self.0, max, kernel::row_share_sum(scores, self.0, max), out);
        Ok(())
    }
}
