//! What counts as found: ties, scores that are no numbers, cut-offs.
//!
//! For a query, `g` gallery items score above its true item and `e` score equal to it, itself included.
//!
//! | ties | rank | hit at K |
//! |---|---|---|
//! | optimistic | `g + 1` | `g < K` |
//! | pessimistic | `g + e` | `g + e <= K` |
//! | average | `g + (e + 1) / 2` | `min(max(K - g, 0), e) / e` |
//! | reference | the entries `g + 1, …, g + e` | the share of all queries' entries up to K |
//!
//! Source of `reference`: ArrowLuo/CLIP4Clip, `metrics.py` @508ffa3; `average` as the default is ours: a constant
//! matrix then scores chance level, neither 0 nor 100.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::MetricError;

/// Which way one searches.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Direction {
    /// A text asks, videos are the gallery (T2V).
    TextToVideo,
    /// A video asks, texts are the gallery (V2T).
    VideoToText,
}

/// Where the true item stands among items of the same score.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Ties {
    /// In the middle: the expectation under random order.
    #[default]
    Average,
    /// First.
    Optimistic,
    /// Last.
    Pessimistic,
    /// As CLIP4Clip's published code: a tied query contributes every place of its tie and so weighs more than others;
    /// a query with a NaN or infinite own score contributes nothing. With several captions per video the T2V
    /// tie goes to the smaller video index, and the T2V median is the lower of two middle values.
    Reference,
}

/// What a NaN or infinite score does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum NonFinite {
    /// An error that names the first such cell.
    #[default]
    Refuse,
    /// It never helps: a query whose own score is NaN or infinite ranks last, elsewhere NaN and inf win and -inf
    /// loses. [`Ties::Reference`] keeps the published rule instead, under which such a query is dropped.
    Miss,
}

impl Ties {
    /// Every policy, the default first.
    pub const ALL: [Self; 4] = [Self::Average, Self::Optimistic, Self::Pessimistic, Self::Reference];

    /// The name in recipes, arguments and reports.
    pub fn name(self) -> &'static str {
        match self {
            Self::Average => "average",
            Self::Optimistic => "optimistic",
            Self::Pessimistic => "pessimistic",
            Self::Reference => "reference",
        }
    }
}

impl fmt::Display for Ties {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(self.name())
    }
}

impl FromStr for Ties {
    type Err = MetricError;

    fn from_str(word: &str) -> Result<Self, MetricError> {
        let choices = "average, optimistic, pessimistic, reference";
        let unknown = || MetricError::Choice { name: "ties", value: word.to_owned(), choices };
        Self::ALL.into_iter().find(|ties| ties.name() == word).ok_or_else(unknown)
    }
}

impl FromStr for NonFinite {
    type Err = MetricError;

    fn from_str(word: &str) -> Result<Self, MetricError> {
        match word {
            "refuse" => Ok(Self::Refuse),
            "miss" => Ok(Self::Miss),
            _ => Err(MetricError::Choice {
                name: "non-finite",
                value: word.to_owned(),
                choices: "refuse, miss",
            }),
        }
    }
}

/// How a matrix is judged.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Policy {
    /// Where the true item stands among equals.
    pub ties: Ties,
    /// What a NaN or infinite score does.
    pub non_finite: NonFinite,
    /// The K of R@K, each above 0.
    pub cutoffs: Vec<usize>,
}

impl Default for Policy {
    fn default() -> Self {
        Self { ties: Ties::Average, non_finite: NonFinite::Refuse, cutoffs: vec![1, 5, 10, 50] }
    }
}

impl Policy {
    pub(crate) fn check(&self) -> Result<(), MetricError> {
        if self.cutoffs.contains(&0) {
            return Err(MetricError::Setting { name: "cutoff", value: 0.0, domain: "at least 1" });
        }
        Ok(())
    }
}
