//! Learning rates over a run: warm-up, then a cosine or a constant.

use serde::{Deserialize, Serialize};

/// A schedule: a factor on the learning rate as a function of the step alone, so nothing of it needs saving.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Schedule {
    /// Linear warm-up, then a cosine from 1 to 0 over the steps that are left.
    WarmupCosine,
    /// Linear warm-up, then 1.
    WarmupConstant,
}

impl Schedule {
    /// The factor for `step` (from 0) of `steps`, with `warmup_share` (0..1) of them warm-up.
    ///
    /// The first step of a warm-up has factor `1 / warm`, not 0, so that no step is spent on nothing. The cosine
    /// starts at 1 where the warm-up ends (CLIP4Clip's does not: see [`crate::bert_adam`]).
    pub fn factor(self, step: usize, steps: usize, warmup_share: f64) -> f64 {
        let warm = (warmup_share * steps as f64).round();
        let done = step as f64;
        if done < warm {
            return (done + 1.0) / warm;
        }
        match self {
            Self::WarmupConstant => 1.0,
            Self::WarmupCosine => {
                let share = ((done - warm) / (steps as f64 - warm).max(1.0)).min(1.0);
                0.5 * (1.0 + (std::f64::consts::PI * share).cos())
            }
        }
    }
}
