//! Normalisers one after the other: `A+B` applies A, then B to what A made of the scores *and* of the banks.

use crate::error::NormalizeError;
use crate::family::Family;
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
    /// [`NormalizeError::MixedRows`] if a step that compares rows follows `qb-norm`.
    pub fn new(steps: Vec<Family>) -> Result<Self, NormalizeError> {
        let steps = if steps.is_empty() { vec![Family::Raw(crate::Raw)] } else { steps };
        let mixed = steps.iter().position(|step| matches!(step, Family::QbNorm(_)));
        if let Some(at) = mixed {
            let later = steps[at + 1..].iter().find(|step| !matches!(step, Family::Raw(_)));
            if let Some(step) = later {
                return Err(NormalizeError::MixedRows { step: step.name(), before: steps[at].name() });
            }
        }
        Ok(Self { steps })
    }

    /// The steps in order, at least one.
    pub fn steps(&self) -> &[Family] {
        &self.steps
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

    fn apply(&self, scores: &Scores) -> Result<Array2<f32>, NormalizeError> {
        let Some((last, before)) = self.steps.split_last() else { return crate::Raw.apply(scores) };
        scores.check(self.name())?; // here, so that an error names a bank as a bank and not as a step's input
        let mut owned: Option<[Option<Array2<f32>>; 3]> = None;
        for step in before {
            let now = view(scores, &owned);
            let query_bank = as_queries(step, &now, now.query_bank)?;
            let gallery_bank = as_queries(step, &now, now.gallery_bank)?;
            let test = step.apply(&now)?;
            owned = Some([Some(test), query_bank, gallery_bank]);
        }
        last.apply(&view(scores, &owned))
    }

    fn bias(&self, scores: &Scores) -> Result<Option<Array1<f32>>, NormalizeError> {
        match self.steps.as_slice() {
            [one] => one.bias(scores),
            _ => Ok(None),
        }
    }

    fn warnings(&self, scores: &Scores) -> Vec<Warning> {
        self.steps.iter().flat_map(|step| step.warnings(scores)).collect()
    }
}

/// A bank is normalised as if its rows were queries, so that it stays comparable with them.
fn as_queries(
    step: &Family,
    scores: &Scores,
    bank: Option<ArrayView2<f32>>,
) -> Result<Option<Array2<f32>>, NormalizeError> {
    let Some(bank) = bank else { return Ok(None) };
    let scores = Scores {
        test: bank.reborrow(),
        query_bank: scores.query_bank.map(|bank| bank.reborrow()),
        gallery_bank: scores.gallery_bank.map(|bank| bank.reborrow()),
    };
    step.apply(&scores).map(Some)
}

/// What the steps so far made of the test scores and the two banks; nothing before the first step.
fn view<'a>(first: &'a Scores, owned: &'a Option<[Option<Array2<f32>>; 3]>) -> Scores<'a> {
    let Some([test, query_bank, gallery_bank]) = owned else {
        return Scores {
            test: first.test.reborrow(),
            query_bank: first.query_bank.map(|bank| bank.reborrow()),
            gallery_bank: first.gallery_bank.map(|bank| bank.reborrow()),
        };
    };
    Scores {
        test: test.as_ref().map_or(first.test.reborrow(), |test| test.view()),
        query_bank: query_bank.as_ref().map(|bank| bank.view()),
        gallery_bank: gallery_bank.as_ref().map(|bank| bank.view()),
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
