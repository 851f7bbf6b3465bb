//! QB-Norm, dynamic inverted softmax (DIS): the inverted softmax for queries whose winner is a hub of the bank.
//!
//! ```text
//! A       = items that are among the k best of at least θ bank queries
//! r[q, ·] = s[q, ·] − T · ln Σ_i exp(B[i, ·] / T)   if argmax_j s[q, j] ∈ A, else s[q, ·]
//! ```
//!
//! `s` test scores `[queries, gallery]`; `B` query bank; `T` temperature (0.05, that is β = 20, on cosines); `k` (1);
//! `θ` threshold (1). Of equal scores the lowest index is the better one.
//! Source: Bogolin et al. 2022, arXiv 2112.12777; code: ioanacroi/qb-norm. The published function writes into its
//! argument, this one does not.
//! Regime: bank; without a bank it is refused. Rows are comparable within themselves only, so for the other
//! direction normalise the transpose with its own bank. Cost: two passes over the bank.

use crate::error::{NormalizeError, above_zero, at_least_one};
use crate::inverted_softmax::inverted_bias;
use crate::kernel;
use crate::passes::{check_finite, each_chunk};
use crate::prepared::{Prepared, RowMap, Sources};
use crate::scores::{Normalizer, Regime, Scores};
use crate::source::ScoreSource;
use crate::top::{GALLERY, enough, largest};
use std::mem::MaybeUninit;

/// The QB-Norm re-scorer.
///
/// # Example
/// ```
/// # use {ndarray::array, tvr_normalize::*};
/// let logits = array![[5.0, 4.5, 0.0], [0.0, 1.0, 2.0]]; // item 0 wins row 0, item 2 wins row 1
/// let bank = array![[9.0, 2.0, 0.0], [8.0, 1.0, 0.0]]; // item 0 is what every bank query finds
/// let scores = Scores::new(logits.view()).with_query_bank(bank.view());
/// let revised = QbNorm::new(1.0, 1, 1)?.apply(&scores)?;
/// assert!(revised[[0, 1]] > revised[[0, 0]]); // the hub pays
/// assert_eq!(revised.row(1), logits.row(1)); // and where no hub wins, nothing changes
/// # Ok::<(), NormalizeError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct QbNorm {
    temperature: f32,
    k: usize,
    threshold: usize,
}

impl QbNorm {
    /// QB-Norm with a temperature in the unit of the scores; an item is active once it is among the `k` best of
    /// `threshold` bank queries.
    ///
    /// # Errors
    /// [`NormalizeError::Setting`] names the first setting outside its domain.
    pub fn new(temperature: f32, k: usize, threshold: usize) -> Result<Self, NormalizeError> {
        Ok(Self {
            temperature: above_zero("qb-norm", "temperature", temperature)?,
            k: at_least_one("qb-norm", "k", k)?,
            threshold: at_least_one("qb-norm", "threshold", threshold)?,
        })
    }

    /// The temperature.
    pub fn temperature(&self) -> f32 {
        self.temperature
    }

    /// How many of a bank query's best items count as retrieved.
    pub fn k(&self) -> usize {
        self.k
    }

    /// How often an item must be retrieved to be active.
    pub fn threshold(&self) -> usize {
        self.threshold
    }

    /// Which gallery items are active for a bank, `[gallery]`.
    ///
    /// # Errors
    /// As [`Normalizer::prepare`].
    pub fn active(&self, bank: &dyn ScoreSource) -> Result<Vec<bool>, NormalizeError> {
        active(self.name(), bank, self.k, self.threshold)
    }
}

/// Which gallery items are among the `k` best of at least `threshold` bank queries.
pub(crate) fn active(
    method: &'static str,
    bank: &dyn ScoreSource,
    k: usize,
    threshold: usize,
) -> Result<Vec<bool>, NormalizeError> {
    let [_, gallery] = bank.shape();
    enough(method, k, gallery, GALLERY)?;
    let chunks = each_chunk(
        bank,
        || vec![0usize; gallery],
        |count, rows, block| {
            check_finite(bank.name(), rows.start, gallery, block)?;
            block.chunks_exact(gallery).for_each(|row| largest(row, k, |item| count[item] += 1));
            Ok(())
        },
    )?;
    let times = |item: usize| chunks.iter().map(|count| count[item]).sum::<usize>();
    Ok((0..gallery).map(|item| times(item) >= threshold).collect())
}

/// The item that a row prefers; of equal ones the lowest.
pub(crate) fn winner(scores: &[f32]) -> usize {
    kernel::first_of(scores, kernel::largest(scores)).unwrap_or(0)
}

impl Normalizer for QbNorm {
    fn name(&self) -> &'static str {
        "qb-norm"
    }

    fn regime(&self, _scores: &Scores) -> Regime {
        Regime::Bank
    }

    fn prepare<'a>(&self, sources: &Sources<'a>) -> Result<Prepared<'a>, NormalizeError> {
        let bank = sources.needs_query_bank(self.name())?;
        let active = self.active(bank)?;
        let bias = inverted_bias(bank, self.temperature)?.to_vec();
        Ok(Prepared::new(active.len(), Dynamic { active, bias }))
    }
}

struct Dynamic {
    active: Vec<bool>,
    bias: Vec<f32>,
}

impl RowMap for Dynamic {
    fn map(&self, scores: &[f32], out: &mut [MaybeUninit<f32>]) -> Result<(), NormalizeError> {
        if self.active[winner(scores)] {
            kernel::plus_bias(scores, &self.bias, out);
        } else {
            out.write_copy_of_slice(scores);
        }
        Ok(())
    }
}
