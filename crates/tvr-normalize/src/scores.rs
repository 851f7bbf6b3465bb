//! What a normaliser takes and promises: [`Scores`], [`Regime`], [`Normalizer`].

use crate::error::NormalizeError;
use crate::kernel;
use crate::prepared::{Dense, Prepared, Sources};
use ndarray::{Array1, Array2, ArrayView2};
use rayon::prelude::*;
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

/// What the queries of a run are. Only `dual-softmax:prior=shared` asks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Side {
    /// Texts look for videos.
    #[default]
    Texts,
    /// Videos look for texts.
    Videos,
}

/// Scores to normalise, always `[queries, gallery]`. The other direction is the transpose, with its own banks.
#[derive(Clone, Copy, Debug)]
pub struct Scores<'a> {
    /// The test scores, `[queries, gallery]`.
    pub test: ArrayView2<'a, f32>,
    /// Training queries against the same gallery, `[bank queries, gallery]`.
    pub query_bank: Option<ArrayView2<'a, f32>>,
    /// Training gallery items against the same gallery, `[bank items, gallery]`.
    pub gallery_bank: Option<ArrayView2<'a, f32>>,
    /// The training queries against training gallery items, `[bank queries, bank items]`.
    pub bank_gallery: Option<ArrayView2<'a, f32>>,
    /// How much each test query counts, `[queries]`, above 0; 1 without. Captions that share a video count 1 over
    /// their number. Only `dual-softmax:prior=videos` asks.
    pub query_weights: Option<&'a [f32]>,
    /// What the queries are.
    pub queries: Side,
}

impl<'a> Scores<'a> {
    /// Test scores `[queries, gallery]` without a bank; the queries are texts.
    pub fn new(test: ArrayView2<'a, f32>) -> Self {
        Self {
            test,
            query_bank: None,
            gallery_bank: None,
            bank_gallery: None,
            query_weights: None,
            queries: Side::Texts,
        }
    }

    /// The same with a bank of training queries, `[bank queries, gallery]`.
    pub fn with_query_bank(self, bank: ArrayView2<'a, f32>) -> Self {
        Self { query_bank: Some(bank), ..self }
    }

    /// The same with a bank of training gallery items, `[bank items, gallery]`.
    pub fn with_gallery_bank(self, bank: ArrayView2<'a, f32>) -> Self {
        Self { gallery_bank: Some(bank), ..self }
    }

    /// The same with the bank queries against a gallery of their own, `[bank queries, bank items]`.
    pub fn with_bank_gallery(self, scores: ArrayView2<'a, f32>) -> Self {
        Self { bank_gallery: Some(scores), ..self }
    }

    /// The same with a weight for each test query, `[queries]`.
    pub fn with_query_weights(self, weights: &'a [f32]) -> Self {
        Self { query_weights: Some(weights), ..self }
    }

    /// The same with queries of another kind.
    pub fn with_queries(self, queries: Side) -> Self {
        Self { queries, ..self }
    }

    /// The same scores for a shorter time: the views of ndarray do not shorten by themselves.
    pub(crate) fn reborrow(&self) -> Scores<'_> {
        Scores {
            test: self.test.reborrow(),
            query_bank: self.query_bank.map(|bank| bank.reborrow()),
            gallery_bank: self.gallery_bank.map(|bank| bank.reborrow()),
            bank_gallery: self.bank_gallery.map(|bank| bank.reborrow()),
            query_weights: self.query_weights,
            queries: self.queries,
        }
    }

    /// How many test scores are below 0. A dual softmax is wrong on them.
    pub fn negative(&self) -> usize {
        self.test.iter().filter(|&&score| score < 0.0).count()
    }

    /// Refuses empty blocks, banks of another width, and the first score that is not finite.
    ///
    /// # Errors
    /// [`NormalizeError::Empty`], [`NormalizeError::BankWidth`], [`NormalizeError::BankRows`],
    /// [`NormalizeError::WeightCount`], [`NormalizeError::Weight`] or [`NormalizeError::NotFinite`].
    pub fn check(&self, method: &'static str) -> Result<(), NormalizeError> {
        self.check_shapes(method)?;
        check_finite("scores", self.test)?;
        for (name, bank) in self.banks() {
            check_finite(name, bank)?;
        }
        Ok(())
    }

    /// The same but for scores that are not finite, which a pass over them finds.
    pub(crate) fn check_shapes(&self, method: &'static str) -> Result<(), NormalizeError> {
        filled(method, "scores", self.test)?;
        for (name, bank) in self.banks() {
            filled(method, name, bank)?;
        }
        let expected = self.test.ncols();
        for (bank, scores) in [("query bank", self.query_bank), ("gallery bank", self.gallery_bank)] {
            let Some(found) = scores.map(|scores| scores.ncols()) else { continue };
            if found != expected {
                return Err(NormalizeError::BankWidth { method, bank, found, expected });
            }
        }
        if let (Some(queries), Some(gallery)) = (self.query_bank, self.bank_gallery)
            && queries.nrows() != gallery.nrows()
        {
            let (found, expected) = (gallery.nrows(), queries.nrows());
            return Err(NormalizeError::BankRows { method, found, expected });
        }
        let Some(weights) = self.query_weights else { return Ok(()) };
        if weights.len() != self.test.nrows() {
            let (found, expected) = (weights.len(), self.test.nrows());
            return Err(NormalizeError::WeightCount { method, found, expected });
        }
        match weights.iter().position(|weight| !(weight.is_finite() && *weight > 0.0)) {
            None => Ok(()),
            Some(query) => Err(NormalizeError::Weight { method, query, value: weights[query] }),
        }
    }

    fn banks(&self) -> impl Iterator<Item = (&'static str, ArrayView2<'a, f32>)> + use<'a> {
        let banks = [
            ("query bank", self.query_bank),
            ("gallery bank", self.gallery_bank),
            ("bank's gallery", self.bank_gallery),
        ];
        banks.into_iter().filter_map(|(name, bank)| bank.map(|bank| (name, bank)))
    }

    /// What a method with a query bank or the test queries uses: bank if there is one.
    pub(crate) fn bank_or_transductive(&self) -> Regime {
        if self.query_bank.is_some() { Regime::Bank } else { Regime::Transductive }
    }
}

fn filled(method: &'static str, block: &'static str, scores: ArrayView2<f32>) -> Result<(), NormalizeError> {
    let (queries, gallery) = scores.dim();
    if scores.is_empty() { Err(NormalizeError::Empty { method, block, queries, gallery }) } else { Ok(()) }
}

fn check_finite(block: &'static str, scores: ArrayView2<f32>) -> Result<(), NormalizeError> {
    /// Scores that one task looks at.
    const SHARE: usize = 1 << 16;
    if scores.as_slice_memory_order().is_some_and(|all| all.par_chunks(SHARE).all(kernel::all_finite)) {
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

    /// Reads the banks, or the test queries, and keeps a few numbers per gallery item. The sources may be embeddings:
    /// then no matrix is ever made.
    ///
    /// # Errors
    /// Scores that are empty or not finite, a bank that is missing, too few queries.
    fn prepare<'a>(&self, sources: &Sources<'a>) -> Result<Prepared<'a>, NormalizeError>;

    /// The new scores, `[queries, gallery]`, finite; higher is better, comparable within a row.
    ///
    /// # Errors
    /// Scores that are empty or not finite, a bank that is missing or of another width, too few queries.
    fn apply(&self, scores: &Scores) -> Result<Array2<f32>, NormalizeError> {
        Ok(self.apply_with_bias(scores)?.0)
    }

    /// [`apply`](Self::apply) and [`bias`](Self::bias) out of one preparation.
    ///
    /// # Errors
    /// As [`Normalizer::apply`].
    fn apply_with_bias(&self, scores: &Scores) -> Result<(Array2<f32>, Option<Array1<f32>>), NormalizeError> {
        scores.check_shapes(self.name())?;
        let dense = Dense::new(scores);
        let prepared = self.prepare(&dense.sources())?;
        let revised = prepared.apply_rows(dense.test(), 0..scores.test.nrows())?;
        Ok((revised, prepared.into_bias()))
    }

    /// For methods in *bias form*: one number per gallery item, in the unit of the scores, such that each row of
    /// `test + bias` has the order of the result. An index can carry it as one more coordinate. Else `None`.
    ///
    /// # Errors
    /// As [`Normalizer::apply`].
    fn bias(&self, scores: &Scores) -> Result<Option<Array1<f32>>, NormalizeError> {
        scores.check_shapes(self.name())?;
        Ok(self.prepare(&Dense::new(scores).sources())?.into_bias())
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
        /// How many scores are below 0.
        negative: usize,
        /// How many scores there are.
        scores: usize,
    },
    /// A method that weighs by `exp(score / temperature)` met scores that hardly differ in that unit.
    Flat {
        /// The normaliser.
        method: &'static str,
        /// Its temperature.
        temperature: f32,
        /// The largest score less the smallest.
        span: f32,
    },
    /// A method that repeats until a tolerance is met stopped before.
    NotConverged {
        /// The normaliser.
        method: &'static str,
        /// Iterations done, all it may do.
        iterations: usize,
        /// The largest relative deviation of a row sum from its marginal.
        error: f32,
        /// What it was to be at most.
        tol: f32,
    },
}

/// Scores that span no more temperatures than this weigh alike but for a factor of e² = 7.4, the most that cosines can at
/// a temperature of 1.
const FLAT: f32 = 2.0;

impl Warning {
    /// The warning of a method with a temperature, if scores of different size weigh nearly alike.
    pub(crate) fn of_flat(method: &'static str, temperature: f32, scores: &Scores) -> Vec<Self> {
        let (least, most) =
            scores.test.iter().fold((f32::INFINITY, f32::NEG_INFINITY), |(least, most), &score| {
                (least.min(score), most.max(score))
            });
        let span = most - least;
        // A constant matrix is flat at every temperature, and an empty one has no span.
        match span > 0.0 && span <= FLAT * temperature {
            true => vec![Self::Flat { method, temperature, span }],
            false => Vec::new(),
        }
    }

    /// The warning of a method that multiplies scores, if one of them is negative.
    pub(crate) fn of_negative(method: &'static str, scores: &Scores) -> Vec<Self> {
        match scores.negative() {
            0 => Vec::new(),
            negative => vec![Self::NegativeScores { method, negative, scores: scores.test.len() }],
        }
    }
}

impl std::fmt::Display for Warning {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::NegativeScores { method, negative, scores } => {
                let percent = *negative as f64 / *scores as f64 * 100.0;
                if percent >= 0.1 {
                    write!(f, "{method}: {percent:.1} % of the scores are negative")?;
                } else {
                    // As a percentage it would be printed as 0.0.
                    write!(f, "{method}: {negative} of {scores} scores are negative")?;
                }
                f.write_str(
                    ", and a small share of a negative score is large; inverted-softmax and sinkhorn do not have \
                     this flaw",
                )
            }
            Self::Flat { method, temperature, span } => write!(
                f,
                "{method}: scores span {span:.3}, so that at a temperature of {temperature} they weigh alike but for a \
                 factor of {:.1}; temperatures are in the unit of the scores: 1 for logits, about 0.01 for cosines",
                (span / temperature).exp()
            ),
            Self::NotConverged { method, iterations, error, tol } => write!(
                f,
                "{method}: after {iterations} iterations a row sum is still {error:.1e} off, above its tol of {tol:e}; \
                 allow more iterations or a larger tau"
            ),
        }
    }
}
