//! Dual softmax loss (DSL): a pair counts as far as *both* sides choose each other.
//!
//! ```text
//! prior[t, v] = exp(z[t, v] / T) / Σ_t' exp(z[t', v] / T)     over the texts, per video
//! r[t, v]     = N · z[t, v] · prior[t, v]
//! T2V         = −mean_t Σ_v y[t, v] ln softmax_v(r)[t, v]      V2T is the same on zᵀ, with its own prior
//! L           = ½ (T2V + V2T), or T2V + V2T
//! ```
//!
//! | symbol | meaning | shape, unit |
//! |---|---|---|
//! | `z` | similarity times scale | `[texts, videos]`, logits |
//! | `T` | temperature of the prior | above 0, logits |
//! | `N` | texts in the batch (videos, for V2T), or 1 | count |
//! | `y` | targets, see [`crate::positives`] | `[texts, videos]` |
//!
//! The variants that circulate as losses:
//!
//! | settings | whose |
//! |---|---|
//! | [`reference()`](DualSoftmaxConfig::reference): `T = 1000`, `N`, gradient through the prior | starmemda/CAMoE, `DSL.py`; it has one direction and returns the rows, the caller passes `zᵀ` too |
//! | the same with `detach = true` | asked for, in no public code: the gradient differs by 5 % at `T = 1000`, by 34 % at 100 |
//! | [`clip_vip()`](DualSoftmaxConfig::clip_vip): `T = 1`, no `N`, directions added | microsoft/XPretrain, CLIP-ViP `src/optimization/loss.py`, `NCELearnableTempDSLLoss`; its scale is learned through the prior too |
//! | prior along the axis that is ranked ("same-axis") | jpthu17/EMCL, `As_a_joint_training_module/model/loss.py`: it re-ranks nothing and is not dual softmax; see [`crate::HingeConfig::same_axis`] |
//!
//! Scores may be negative here: training compares logits under a softmax, and a share of a negative logit is a
//! smaller push, not a wrong order. As a re-scorer dual softmax is wrong for negative scores, and `tvr-normalize`
//! warns of them. At `T = 1` *with* `N` the loss explodes (revised logits reach `N` times the scale): use it without.
//!
//! The published criticism of it (issue 7 of the code below): at inference it needs all queries at once, and either way it
//! assumes that every video is asked for once. Here the batch takes the place of all queries: a video that two captions
//! of a batch ask for shares its prior between them.
//!
//! Source: Cheng et al. 2021 (CAMoE), arXiv 2109.04290; code: starmemda/CAMoE, `DSL.py`, where `N` and `T = 1000`
//! are read. The paper adds the two directions (from memory); here they are averaged unless asked otherwise, so that
//! the loss stands beside [`crate::Symmetric`] on one scale.

use burn::prelude::*;
use serde::{Deserialize, Serialize};
use tvr_nn::weighted_by_itself;

use crate::error::{ObjectiveError, divisor};
use crate::objective::{Loss, Needs, Objective, Pairs};
use crate::positives::Positives;
use crate::rows::Rows;
use crate::symmetric::averaged;

/// Settings of [`DualSoftmax`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DualSoftmaxConfig {
    /// Temperature of the prior, in logits; above 0.
    pub temperature: f32,
    /// Whether the prior is a constant to the gradient.
    #[serde(default)]
    pub detach: bool,
    /// Whether `N` is the number of items that the prior runs over; else it is 1.
    pub scale_by_batch: bool,
    /// Which pairs count as right.
    #[serde(default)]
    pub positives: Positives,
    /// How the two directions make one loss.
    #[serde(default)]
    pub directions: Directions,
}

/// How the two directions make one loss.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Directions {
    /// Their mean.
    #[default]
    Averaged,
    /// Their sum.
    Added,
}

impl DualSoftmaxConfig {
    /// The paper's formula: the prior on the logits themselves, without `N`. Its temperature is from memory; 1 is what
    /// CLIP-ViP's code does.
    pub fn paper() -> Self {
        Self {
            temperature: 1.0,
            detach: false,
            scale_by_batch: false,
            positives: Positives::Same,
            directions: Directions::Averaged,
        }
    }

    /// What the authors' code does.
    pub fn reference() -> Self {
        Self { temperature: 1000.0, scale_by_batch: true, positives: Positives::Diagonal, ..Self::paper() }
    }

    /// What CLIP-ViP's code does.
    pub fn clip_vip() -> Self {
        Self { positives: Positives::Diagonal, directions: Directions::Added, ..Self::paper() }
    }

    /// Checks every setting. The plan calls this, so a wrong recipe fails before data is opened.
    ///
    /// # Errors
    /// [`ObjectiveError::Setting`] names the first setting outside its domain.
    pub fn init(&self) -> Result<DualSoftmax, ObjectiveError> {
        Ok(DualSoftmax {
            temperature: divisor("dual-softmax", "temperature", self.temperature)?,
            detach: self.detach,
            scale_by_batch: self.scale_by_batch,
            positives: self.positives,
            directions: self.directions,
        })
    }
}

/// The dual softmax loss. Only [`DualSoftmaxConfig::init`] makes one, so its settings are valid.
#[derive(Module, Debug)]
pub struct DualSoftmax {
    #[module(skip)]
    temperature: f32,
    #[module(skip)]
    detach: bool,
    #[module(skip)]
    scale_by_batch: bool,
    #[module(skip)]
    positives: Positives,
    #[module(skip)]
    directions: Directions,
}

impl DualSoftmax {
    /// Logits times prior times `N`, where the prior runs along axis `over`: 0 for a search along the columns, and 1
    /// for one along the rows, which spares a transposed copy. `[rows, columns]`
    pub fn revise(&self, logits: Tensor<2>, over: usize) -> Tensor<2> {
        let items = if self.scale_by_batch { logits.dims()[over] as f32 } else { 1.0 };
        weighted_by_itself(logits, self.temperature, items, over, self.detach)
    }
}

impl Objective for DualSoftmax {
    fn needs(&self) -> Needs {
        Needs { square: self.positives.square(), ..Needs::default() }
    }

    fn loss(&self, pairs: &Pairs) -> Loss {
        let (logits, targets) = (pairs.logits(), self.positives.targets(&Rows::all(pairs)));
        let [texts, videos] = logits.dims();
        let text_to_video = targets.text_to_video(self.revise(logits.clone(), 0), None, 0..texts);
        let video_to_text = targets.video_to_text(self.revise(logits, 1), None, 0..videos);
        let averaged = averaged(&targets, text_to_video, video_to_text);
        match self.directions {
            Directions::Averaged => averaged,
            Directions::Added => Loss { total: averaged.total * 2.0, parts: averaged.parts },
        }
    }
}
