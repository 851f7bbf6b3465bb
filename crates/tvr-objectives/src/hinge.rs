//! Hinge loss: an own pair should beat every other pair of its text and of its video by a margin.
//!
//! ```text
//! cost[t, v]  = max(0, α − s[t, v(t)] + s[t, v])             for v ≠ v(t)
//! cost'[t, u] = max(0, α − s[t, v(t)] + s[u, v(t)])          for texts u of other videos
//!
//! hardest:  L = mean_t max_v cost[t, v] + mean_t max_u cost'[t, u]
//! all:      L = ½ (mean cost + mean cost')
//! ```
//!
//! | symbol | meaning | shape, unit |
//! |---|---|---|
//! | `s` | similarity, without a scale | `[texts, videos]`, cosine |
//! | `v(t)` | the video that text `t` belongs to | index |
//! | `α` | margin | above 0, cosine |
//!
//! Source: Patrick et al. 2021 (support-set), arXiv 2010.02824, for `hardest`; the margin of 0.2 is from memory.
//! `all` is the max-margin loss of the feature-expert hosts; code: gabeur/mmt, `model/loss.py`, which takes one
//! mean over both directions and, as here, leaves the own pairs out. Other captions of a text's video are no
//! negatives of it (ours); `positives = "diagonal"` is the code's.

use burn::prelude::*;
use serde::{Deserialize, Serialize};
use tvr_nn::{mean, sum};

use crate::error::{ObjectiveError, above_zero};
use crate::objective::{Loss, Needs, Objective, Pairs};
use crate::positives::Positives;

/// Stands for "no such item" under a maximum; finite, so that its gradient is 0 and not NaN.
const NONE: f64 = -1e30;

/// Which wrong pairs cost.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Negatives {
    /// The worst one of each text and of each text's video.
    #[default]
    Hardest,
    /// Every one.
    All,
}

/// Settings of [`Hinge`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HingeConfig {
    /// By how much an own pair should win, in cosine; above 0.
    pub margin: f32,
    /// Which wrong pairs cost.
    #[serde(default)]
    pub negatives: Negatives,
    /// Which pairs count as right.
    #[serde(default)]
    pub positives: Positives,
}

impl HingeConfig {
    /// The support-set paper's: the hardest negatives, a margin of 0.2.
    pub fn paper() -> Self {
        Self { margin: 0.2, negatives: Negatives::Hardest, positives: Positives::Same }
    }

    /// What MMT's code does: every negative, a margin of 0.05, the diagonal.
    pub fn reference() -> Self {
        Self { margin: 0.05, negatives: Negatives::All, positives: Positives::Diagonal }
    }

    /// Checks every setting and makes the objective.
    ///
    /// # Errors
    /// [`ObjectiveError::Setting`] names the first setting outside its domain.
    pub fn init(&self) -> Result<Hinge, ObjectiveError> {
        Ok(Hinge {
            margin: above_zero("hinge", "margin", self.margin)?,
            negatives: self.negatives,
            positives: self.positives,
        })
    }
}

/// The hinge loss. Only [`HingeConfig::init`] makes one, so its settings are valid.
#[derive(Module, Debug)]
pub struct Hinge {
    #[module(skip)]
    margin: f32,
    #[module(skip)]
    negatives: Negatives,
    #[module(skip)]
    positives: Positives,
}

impl Hinge {
    /// The costs of one direction, reduced to `[1]`.
    ///
    /// - `own`: `[texts, 1]`, the own pair's similarity
    /// - `others`: `[texts, any]`, what it is compared with
    /// - `related`: `[texts, any]`, true where that is no wrong pair
    fn direction(&self, own: Tensor<2>, others: Tensor<2>, related: Tensor<2, Bool>) -> Tensor<1> {
        let excess = others - own + f64::from(self.margin);
        match self.negatives {
            Negatives::Hardest => mean(excess.mask_fill(related, NONE).max_dim(1).clamp_min(0.0)),
            Negatives::All => {
                let wrong = related.bool_not().float().cast(excess.dtype());
                let count = sum(wrong.clone()).clamp_min(1.0);
                sum(excess.clamp_min(0.0) * wrong) / count
            }
        }
    }
}

impl Objective for Hinge {
    fn needs(&self) -> Needs {
        Needs { square: self.positives.square(), ..Needs::default() }
    }

    fn loss(&self, pairs: &Pairs) -> Loss {
        let similarity = pairs.similarity.clone();
        let [texts, videos] = similarity.dims();
        let numbers = |count: usize| {
            Tensor::<1, Int>::arange(0..count as i64, (&pairs.same.device(), pairs.same.dtype()))
        };
        let same = match self.positives {
            Positives::Same => pairs.same.clone(),
            Positives::Diagonal => numbers(texts),
        };
        let column = same.clone().unsqueeze_dim::<2>(1); // [texts, 1]
        let own = similarity.clone().gather(1, column.clone());
        let is_own = |row: Tensor<1, Int>, count: usize| {
            column.clone().expand([texts, count]).equal(row.unsqueeze_dim::<2>(0).expand([texts, count]))
        };
        let text_to_video = self.direction(own.clone(), similarity.clone(), is_own(numbers(videos), videos));
        // Row t: what every text makes of the video of text t.
        let of_own_video = similarity.select(1, same.clone()).transpose();
        let video_to_text = self.direction(own, of_own_video, is_own(same, texts));
        let both = text_to_video.clone() + video_to_text.clone();
        Loss {
            total: if self.negatives == Negatives::All { both / 2.0 } else { both },
            parts: vec![("text_to_video".into(), text_to_video), ("video_to_text".into(), video_to_text)],
        }
    }
}
