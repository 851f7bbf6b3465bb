//! What a normaliser takes and promises: [`Scores`], [`Regime`], [`Normalizer`].

use crate::error::NormalizeError;
use crate::kernel;
use ndarray::{Array1, Array2, ArrayView2};
use serde::{Deserialize, Serialize};

/// What a result for one query depends on. Ordered: a later regime uses more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Regime {
    /// This query alone.
    Raw,
    /// This query and a bank that holds no test query.
    Bank,
    /// This query and the other test queries: never to be set beside raw figures without the word.
    Transductive,
}

impl std::fmt::Display for Regime {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Raw => "raw",
            Self::Bank => "bank",
            Self::Transductive => "transductive",
        })
    }
}

/// Scores to normalise, always `[queries, gallery]`. The other direction is the transpose, with its own bank.
#[derive(Clone, Copy, Debug)]
pub struct Scores<'a> {
    /// The test scores, `[queries, gallery]`.
    pub test: ArrayView2<'a, f32>,
    /// Training queries against the same gallery, `[bank queries, gallery]`.
    pub query_bank: Option<ArrayView2<'a, f32>>,
    /// Training gallery items against the same gallery, `[bank items, gallery]`.
    pub gallery_bank: Option<ArrayView2<'a, f32>>,
}

impl<'a> Scores<'a> {
    /// Test scores `[queries, gallery]` without a bank.
    pub fn new(test: ArrayView2<'a, f32>) -> Self {
        Self { test, query_bank: None, gallery_bank: None }
    }

    /// The same with a bank of training queries, `[bank queries, gallery]`.
    pub fn with_query_bank(self, bank: ArrayView2<'a, f32>) -> Self {
        Self { query_bank: Some(bank), ..self }
    }

    /// The same with a bank of training gallery items, `[bank items, gallery]`.
    pub fn with_gallery_bank(self, bank: ArrayView2<'a, f32>) -> Self {
        Self { gallery_bank: Some(bank), ..self }
    }

    /// The share of test scores below 0, in 0..=1. A dual softmax is wrong on them.
    pub fn negative_share(&self) -> f32 {
        if self.test.is_empty() {
            return 0.0;
        }
        self.test.iter().filter(|&&score| score < 0.0).count() as f32 / self.test.len() as f32
    }

    /// Refuses empty blocks, banks of another width, and the first score that is not finite.
    ///
    /// # Errors
    /// [`NormalizeError::Empty`], [`NormalizeError::BankWidth`] or [`NormalizeError::NotFinite`].
    pub fn check(&self, method: &'static str) -> Result<(), NormalizeError> {
        let expected = self.test.ncols();
        check_block(method, "scores", self.test)?;
        for (name, bank) in [("query bank", self.query_bank), ("gallery bank", self.gallery_bank)] {
            let Some(bank) = bank else { continue };
            if bank.ncols() != expected {
                let found = bank.ncols();
                return Err(NormalizeError::BankWidth { method, bank: name, found, expected });
            }
            check_block(method, name, bank)?;
        }
        Ok(())
    }

    /// What a method with a query bank or the test queries uses: bank if there is one.
    pub(crate) fn bank_or_transductive(&self) -> Regime {
        if self.query_bank.is_some() { Regime::Bank } else { Regime::Transductive }
    }

    /// The rows a column statistic is taken over: the query bank, else the test queries.
    pub(crate) fn reference_rows(&self) -> ArrayView2<'a, f32> {
        self.query_bank.unwrap_or(self.test)
    }

    /// Refuses one query without a bank.
    pub(crate) fn refuse_lonely(
        &self,
        method: &'static str,
        reason: &'static str,
    ) -> Result<(), NormalizeError> {
        if self.query_bank.is_none() && self.test.nrows() == 1 {
            return Err(NormalizeError::LonelyQuery { method, reason });
        }
        Ok(())
    }

    /// The query bank, or why there must be one.
    pub(crate) fn needs_query_bank(
        &self,
        method: &'static str,
    ) -> Result<ArrayView2<'a, f32>, NormalizeError> {
        self.query_bank.ok_or(NormalizeError::BankMissing { method, bank: "query bank" })
    }
}

fn check_block(
    method: &'static str,
    block: &'static str,
    scores: ArrayView2<f32>,
) -> Result<(), NormalizeError> {
    let (queries, gallery) = scores.dim();
    if scores.is_empty() {
        return Err(NormalizeError::Empty { method, block, queries, gallery });
    }
    if scores.as_slice_memory_order().is_some_and(kernel::all_finite) {
        return Ok(());
    }
    match scores.indexed_iter().find(|(_, score)| !score.is_finite()) {
        None => Ok(()),
        Some(((row, column), value)) => {
            Err(NormalizeError::NotFinite { block, row, column, value: value.to_string() })
        }
    }
}

/// A re-scorer of similarity matrices. Its input is never modified.
pub trait Normalizer {
    /// Its name in specs.
    fn name(&self) -> &'static str;

    /// What a result depends on when applied to `scores`: most methods use a query bank if there is one, and the
    /// test queries if not.
    fn regime(&self, scores: &Scores) -> Regime;

    /// The new scores, `[queries, gallery]`, finite; higher is better, comparable within a row.
    ///
    /// # Errors
    /// Scores that are empty or not finite, a bank that is missing or of another width, too few queries.
    fn apply(&self, scores: &Scores) -> Result<Array2<f32>, NormalizeError>;

    /// For methods in *bias form*: one number per gallery item, in the unit of the scores, such that each row of
    /// `test + bias` has the order of the result. An index can carry it as one more coordinate. Else `None`.
    ///
    /// # Errors
    /// As [`Normalizer::apply`].
    fn bias(&self, _scores: &Scores) -> Result<Option<Array1<f32>>, NormalizeError> {
        Ok(None)
    }

    /// What a reader of the figures must know about these scores under this method.
    fn warnings(&self, _scores: &Scores) -> Vec<Warning> {
        Vec::new()
    }
}

/// Something that makes a result doubtful, not impossible.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Warning {
    /// A method that multiplies scores met negative ones.
    NegativeScores {
        /// The normaliser.
        method: &'static str,
        /// Share of scores below 0, in 0..=1.
        share: f32,
    },
}

impl std::fmt::Display for Warning {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::NegativeScores { method, share } => write!(
                f,
                "{method}: {:.1} % of the scores are negative, and a small share of a negative score is large; \
                 inverted-softmax and sinkhorn do not have this flaw",
                share * 100.0
            ),
        }
    }
}
