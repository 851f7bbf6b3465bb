//! Normalisers one after the other: `A+B` applies A, then B to what A made of the scores *and* of the banks.

use crate::error::NormalizeError;
use crate::family::Family;
use crate::prepared::{Prepared, Sources};
use crate::scores::{Normalizer, Regime, Scores, Warning};
use ndarray::{Array1, Array2, ArrayView2};
use serde::{Deserialize, Serialize};
use std::str::FromStr;

/// One or more normalisers, read from `A+B`. Its regime is the largest of its parts.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Chain {
    steps: Vec<Family>,
}

impl Chain {
    /// The steps in order. No steps at all are `raw`.
    ///
    /// # Errors
    /// [`NormalizeError::MixedRows`] if a step that compares rows follows one that leaves some of them raw, as
    /// `qb-norm` does; [`NormalizeError::NotFirst`] for a step that must come first.
    pub fn new(steps: Vec<Family>) -> Result<Self, NormalizeError> {
        let steps = if steps.is_empty() { vec![Family::Raw(crate::Raw)] } else { steps };
        let mixed = steps.iter().position(Family::mixes_rows);
        if let Some(at) = mixed {
            let later = steps[at + 1..].iter().find(|step| !matches!(step, Family::Raw(_)));
            if let Some(step) = later {
                return Err(NormalizeError::MixedRows { step: step.name(), before: steps[at].name() });
            }
        }
        let real = |step: &&Family| !matches!(step, Family::Raw(_));
        let late = steps.iter().filter(real).skip(1).find(|step| matches!(step, Family::Dbsn(_)));
        if let (Some(step), Some(before)) = (late, steps.iter().find(real)) {
            return Err(NormalizeError::NotFirst { step: step.name(), before: before.name() });
        }
        Ok(Self { steps })
    }

    /// The steps in order, at least one.
    pub fn steps(&self) -> &[Family] {
        &self.steps
    }

    /// Whether a bank, or the test where there is none, of so many queries and gallery items holds as many as every step
    /// selects among them.
    ///
    /// # Errors
    /// [`NormalizeError::TooFew`] of the first step that wants more.
    pub fn check_counts(&self, queries: usize, gallery: usize) -> Result<(), NormalizeError> {
        self.steps.iter().try_for_each(|step| step.check_counts(queries, gallery))
    }

    /// Whether its results have the unit of the scores: [`Family::keeps_unit`] of all steps.
    pub fn keeps_unit(&self) -> bool {
        self.steps.iter().all(Family::keeps_unit)
    }

    /// [`apply_with_bias`](Normalizer::apply_with_bias), and what each step warns of in the scores that it reads.
    ///
    /// # Errors
    /// As [`Normalizer::apply`].
    #[allow(clippy::type_complexity, reason = "the result of apply_with_bias, and one thing beside it")]
    pub fn apply_and_warn(
        &self,
        scores: &Scores,
    ) -> Result<(Array2<f32>, Option<Array1<f32>>, Vec<Warning>), NormalizeError> {
        let mut warnings = Vec::new();
        let (revised, bias) =
            self.revised(scores, &mut |step, scores| warnings.extend(step.warnings(scores)))?;
        Ok((revised, bias, warnings))
    }

    /// The new scores; `before` sees every step with the scores that it is about to read.
    fn revised(
        &self,
        scores: &Scores,
        before: &mut dyn FnMut(&Family, &Scores),
    ) -> Result<(Array2<f32>, Option<Array1<f32>>), NormalizeError> {
        scores.check(self.name())?; // here, so that an error names a bank as a bank and not as a step's input
        if let Some(step) = self.only() {
            before(step, scores);
            return step.apply_with_bias(scores);
        }
        let Some((last, earlier)) = self.steps.split_last() else {
            return crate::Raw.apply_with_bias(scores);
        };
        let mut owned: Option<Made> = None;
        for step in earlier {
            let now = view(scores, &owned);
            before(step, &now);
            let query_bank = as_queries(step, &now, now.query_bank)?;
            let gallery_bank = as_queries(step, &now, now.gallery_bank)?;
            let test = step.apply(&now)?;
            owned = Some(Made { test, query_bank, gallery_bank });
        }
        let now = view(scores, &owned);
        before(last, &now);
        Ok((last.apply(&now)?, None))
    }

    /// The one step that does something, if there is only one; `raw` if there is none.
    fn only(&self) -> Option<&Family> {
        let mut real = self.steps.iter().filter(|step| !matches!(step, Family::Raw(_)));
        match (real.next(), real.next()) {
            (None, _) => self.steps.first(),
            (step, None) => step,
            _ => None,
        }
    }
}

impl Normalizer for Chain {
    fn name(&self) -> &'static str {
        match self.steps.as_slice() {
            [one] => one.name(),
            _ => "chain",
        }
    }

    fn regime(&self, scores: &Scores) -> Regime {
        self.steps.iter().map(|step| step.regime(scores)).max().unwrap_or(Regime::Raw)
    }

    /// Several steps have no bias: what the last one shifts are no longer the scores.
    fn apply_with_bias(&self, scores: &Scores) -> Result<(Array2<f32>, Option<Array1<f32>>), NormalizeError> {
        self.revised(scores, &mut |_, _| ())
    }

    /// One step, `raw` apart, is prepared as it is. Several need the matrix.
    fn prepare<'a>(&self, sources: &Sources<'a>) -> Result<Prepared<'a>, NormalizeError> {
        match self.only() {
            Some(step) => step.prepare(sources),
            None => Err(NormalizeError::ChainNeedsMatrix { chain: self.to_string() }),
        }
    }

    fn bias(&self, scores: &Scores) -> Result<Option<Array1<f32>>, NormalizeError> {
        self.only().map_or(Ok(None), |step| step.bias(scores))
    }

    /// Of several steps each warns of the scores that it reads, which are made for it: [`Chain::apply_and_warn`] makes
    /// them once. None where a step refuses them.
    fn warnings(&self, scores: &Scores) -> Vec<Warning> {
        match self.only() {
            Some(step) => step.warnings(scores),
            None => self.apply_and_warn(scores).map(|(.., warnings)| warnings).unwrap_or_default(),
        }
    }
}

/// What the steps so far made of the test scores and of the two banks over the same gallery.
struct Made {
    test: Array2<f32>,
    query_bank: Option<Array2<f32>>,
    gallery_bank: Option<Array2<f32>>,
}

/// A bank is normalised as if its rows were queries, so that it stays comparable with them.
fn as_queries(
    step: &Family,
    scores: &Scores,
    bank: Option<ArrayView2<f32>>,
) -> Result<Option<Array2<f32>>, NormalizeError> {
    let Some(bank) = bank else { return Ok(None) };
    step.apply(&Scores { test: bank.reborrow(), query_weights: None, ..scores.reborrow() }).map(Some)
}

/// What the next step reads; the scores themselves before the first.
fn view<'a>(first: &'a Scores, made: &'a Option<Made>) -> Scores<'a> {
    let Some(made) = made else { return first.reborrow() };
    Scores {
        test: made.test.view(),
        query_bank: made.query_bank.as_ref().map(|bank| bank.view()),
        gallery_bank: made.gallery_bank.as_ref().map(|bank| bank.view()),
        ..first.reborrow()
    }
}

impl FromStr for Chain {
    type Err = NormalizeError;

    fn from_str(spec: &str) -> Result<Self, NormalizeError> {
        Self::new(spec.split('+').map(str::parse).collect::<Result<_, _>>()?)
    }
}

impl TryFrom<String> for Chain {
    type Error = NormalizeError;

    fn try_from(spec: String) -> Result<Self, NormalizeError> {
        spec.parse()
    }
}

impl From<Chain> for String {
    fn from(chain: Chain) -> Self {
        chain.to_string()
    }
}

impl std::fmt::Display for Chain {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for (index, step) in self.steps.iter().enumerate() {
            write!(f, "{}{step}", if index == 0 { "" } else { "+" })?;
        }
        Ok(())
    }
}
