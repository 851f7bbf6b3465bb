//! Hinge loss: an own pair should beat every other pair of its text and of its video by a margin.
//!
//! ```text
//! cost[t, v]  = max(0, α − s[t, v(t)] + s[t, v])             for v ≠ v(t)
//! cost'[t, u] = max(0, α − s[t, v(t)] + s[u, v(t)])          for texts u of other videos
//!
//! hardest:  L = mean_t max_v cost[t, v] + mean_t max_u cost'[t, u]
//! all:      L = ½ (mean cost + mean cost')
//!
//! same-axis: s[t, ·] · softmax(s[t, ·]) in cost, s[·, v] · softmax(s[·, v]) in cost'
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
//! negatives of it (ours); `positives = "diagonal"` is the code's. `same_axis` is EMCL's hinge in a host of experts,
//! jpthu17/EMCL, `As_a_joint_training_module/model/loss.py: topk_example_mining2`: it looks like dual softmax, but its
//! share is taken along the axis that is ranked, so positive scores keep their order.

use std::ops::Range;

use burn::prelude::*;
use serde::{Deserialize, Serialize};
use tvr_nn::{sum, weighted_by_itself};

use crate::error::{ObjectiveError, above_zero};
use crate::objective::{Loss, Needs, Objective, Pairs};
use crate::positives::Positives;
use crate::rows::{ByRows, Rows};

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
    /// Whether a score first takes its softmax share of what it is ranked among.
    #[serde(default)]
    pub same_axis: bool,
}

impl HingeConfig {
    /// The support-set paper's: the hardest negatives, a margin of 0.2.
    pub fn paper() -> Self {
        Self { margin: 0.2, negatives: Negatives::Hardest, positives: Positives::Same, same_axis: false }
    }

    /// What MMT's code does: every negative, a margin of 0.05, the diagonal.
    pub fn reference() -> Self {
        Self { negatives: Negatives::All, margin: 0.05, positives: Positives::Diagonal, ..Self::paper() }
    }

    /// What EMCL's code does in a host of experts: the hardest negatives of scores times their share. The margin is the
    /// paper's of [`HingeConfig::paper`].
    pub fn same_axis() -> Self {
        Self { same_axis: true, positives: Positives::Diagonal, ..Self::paper() }
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
            same_axis: self.same_axis,
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
    #[module(skip)]
    same_axis: bool,
}

impl Hinge {
    /// Scores of texts, and of videos where they are another tensor, as they are ranked along axis 1 and axis 0.
    fn ranked(&self, rows: &Rows) -> (Tensor<2>, Option<Tensor<2>>) {
        let (of_texts, of_videos) = (rows.of_texts.clone(), rows.of_videos.cloned());
        if !self.same_axis {
            return (of_texts, of_videos);
        }
        let times_share = |scores: Tensor<2>, axis: usize| weighted_by_itself(scores, 1.0, 1.0, axis, false);
        let of_videos = of_videos.unwrap_or_else(|| of_texts.clone());
        (times_share(of_texts, 1), Some(times_share(of_videos, 0)))
    }

    /// What every wrong pair costs, summed to `[1]`.
    ///
    /// - `own`: `[some texts, 1]`, the own pair's similarity
    /// - `others`: `[some texts, any]`, what it is compared with
    /// - `related`: `[some texts, any]`, true where that is no wrong pair
    fn all(&self, own: Tensor<2>, others: Tensor<2>, related: Tensor<2, Bool>) -> Tensor<1> {
        let excess = others - own + f64::from(self.margin);
        let wrong = related.bool_not().float().cast(excess.dtype());
        sum(excess.clamp_min(0.0) * wrong)
    }

    /// What the hardest wrong pairs cost, summed to `[1]`; both `[some texts, 1]`. It is the one that scores highest, so
    /// margin and own pair, the same for all that a text is compared with, wait until one is left.
    fn hardest(&self, own: Tensor<2>, hardest: Tensor<2>) -> Tensor<1> {
        sum((hardest - own + f64::from(self.margin)).clamp_min(0.0))
    }

    /// The loss of two directions.
    fn both(&self, text_to_video: Tensor<1>, video_to_text: Tensor<1>) -> Loss {
        let both = text_to_video.clone() + video_to_text.clone();
        Loss {
            total: if self.negatives == Negatives::All { both / 2.0 } else { both },
            parts: vec![("text_to_video".into(), text_to_video), ("video_to_text".into(), video_to_text)],
        }
    }
}

impl Objective for Hinge {
    fn needs(&self) -> Needs {
        Needs { square: self.positives.square(), ..Needs::default() }
    }

    fn loss(&self, pairs: &Pairs) -> Loss {
        self.loss_of(&Rows::all(pairs))
    }

    fn by_rows(&self) -> Option<&dyn ByRows> {
        Some(self)
    }
}

impl ByRows for Hinge {
    /// A share judges its texts, and for its videos the texts that belong to them.
    fn loss_of(&self, rows: &Rows) -> Loss {
        let (texts, videos) = (rows.n_texts(), rows.n_videos());
        let same = self.positives.own(rows);
        let numbers = |range: Range<usize>| {
            Tensor::<1, Int>::arange(range.start as i64..range.end as i64, (&same.device(), same.dtype()))
        };
        let is_own = |own: &Tensor<1, Int>, row: Tensor<1, Int>| {
            let shape = [own.dims()[0], row.dims()[0]];
            own.clone().unsqueeze_dim::<2>(1).expand(shape).equal(row.unsqueeze_dim::<2>(0).expand(shape))
        };
        let targets = self.positives.targets(rows);
        let of_one_video: usize = targets.captions.iter().map(|n| n * n).sum();
        let wrong = [texts * (videos - 1), texts * texts - of_one_video];

        let (of_texts, of_videos) = self.ranked(rows);
        let mine = same.clone().slice_dim(0, rows.texts.clone());
        let own = of_texts.clone().gather(1, mine.clone().unsqueeze_dim::<2>(1));
        let related = is_own(&mine, numbers(0..videos));
        let places = (0..texts).filter(|&text| rows.videos.contains(&targets.own[text]));
        let places: Vec<i32> = places.map(|text| text as i32).collect();
        // Of every text whose video is judged here: what its own pair scores, and the column of its video. Nobody may
        // describe the share's videos.
        let described = (!places.is_empty()).then(|| match &of_videos {
            None => (own.clone(), mine),
            Some(of_videos) => {
                let count = places.len();
                let places = Tensor::<1, Int>::from_data(TensorData::new(places, [count]), &same.device());
                let columns = same.clone().select(0, places.clone()) - rows.videos.start as i64;
                let own = of_videos.clone().select(0, places);
                (own.gather(1, columns.clone().unsqueeze_dim::<2>(1)), columns)
            }
        });
        let (text_to_video, video_to_text) = match self.negatives {
            Negatives::Hardest => {
                let none_own = of_texts.mask_fill(related, NONE);
                let text_to_video = self.hardest(own, none_own.clone().max_dim(1)) / texts as f64;
                let video_to_text = described.map(|(own, columns)| {
                    let none_own = of_videos.map_or(none_own, |of_videos| {
                        of_videos.mask_fill(is_own(&same, numbers(rows.videos.clone())), NONE)
                    });
                    self.hardest(own, none_own.max_dim(0).select(1, columns).transpose()) / texts as f64
                });
                (text_to_video, video_to_text)
            }
            Negatives::All => {
                let text_to_video = self.all(own, of_texts.clone(), related) / rows.count(wrong[0]);
                let video_to_text = described.map(|(own, columns)| {
                    // Row t: what every text makes of the video of text t.
                    let theirs = columns.clone() + rows.videos.start as i64;
                    let others = of_videos.unwrap_or(of_texts).select(1, columns).transpose();
                    self.all(own, others, is_own(&theirs, same.clone())) / rows.count(wrong[1])
                });
                (text_to_video, video_to_text)
            }
        };
        let video_to_text = video_to_text.unwrap_or_else(|| text_to_video.zeros_like().detach());
        self.both(text_to_video, video_to_text)
    }
}
