//! BertAdam, the optimiser of CLIP4Clip and its descendants.
//!
//! ```text
//! g ← g · min(1, c / (|g|₂ + 1e-6))      per tensor, if c > 0
//! m ← β₁ m + (1 − β₁) g
//! v ← β₂ v + (1 − β₂) g²
//! u ← m / (√v + ε) + wd · p              no bias correction; p before the update
//! p ← p − lr · schedule(k / total) · u
//! k ← k + 1
//! ```
//!
//! | symbol | meaning | unit |
//! |---|---|---|
//! | `k` | steps this tensor has taken; a tensor without a gradient lags | count |
//! | `total` | steps of the run; without it the schedule is 1 | count |
//! | `c` | largest norm of one tensor's gradient | above 0 |
//!
//! Source: ArrowLuo/CLIP4Clip, `modules/optimization.py`.

use burn::optim::{AdaptiveMomentumState, Optimizer};
use burn::prelude::*;
use serde::{Deserialize, Serialize};

/// The schedules of BertAdam, of `x = k / total` and the warm-up share `w`.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum BertSchedule {
    /// `x / w`, then `(1 + cos πx) / 2`: not rescaled, so it drops where the warm-up ends.
    WarmupCosine,
    /// `x / w`, then 1.
    WarmupConstant,
    /// `x / w`, then `max((x − 1) / (w − 1), 0)`; without warm-up (`w = −1`) it starts at one half.
    WarmupLinear,
}

impl BertSchedule {
    /// The factor at `x = k / total`.
    pub fn factor(self, x: f64, warmup: f64) -> f64 {
        if x < warmup {
            return x / warmup;
        }
        match self {
            Self::WarmupCosine => 0.5 * (1.0 + (std::f64::consts::PI * x).cos()),
            Self::WarmupConstant => 1.0,
            Self::WarmupLinear => ((x - 1.0) / (warmup - 1.0)).max(0.0),
        }
    }
}

/// One group's settings. The learning rate that [`Optimizer::step`] is given multiplies `learning_rate`.
#[derive(Clone, Copy, Debug)]
pub struct BertAdam {
    /// The group's rate.
    pub learning_rate: f64,
    /// The schedule.
    pub schedule: BertSchedule,
    /// Share of warm-up steps, 0..1, or −1 for none.
    pub warmup: f64,
    /// Steps of the run, or `None` for a schedule of 1.
    pub total: Option<f64>,
    /// Decay of the first moment.
    pub beta_1: f64,
    /// Decay of the second moment.
    pub beta_2: f64,
    /// Added to the root of the second moment.
    pub epsilon: f64,
    /// Weight decay, added to the update.
    pub weight_decay: f64,
    /// Largest norm of one tensor's gradient; `None` does not clip.
    pub max_gradient_norm: Option<f64>,
}

/// What BertAdam remembers of one tensor: burn's Adam state, whose `time` counts the steps.
pub type BertAdamState<const D: usize> = AdaptiveMomentumState<D>;

impl Optimizer for BertAdam {
    type State<const D: usize> = BertAdamState<D>;

    fn step<const D: usize>(
        &self,
        rate: f64,
        tensor: Tensor<D>,
        gradient: Tensor<D>,
        state: Option<BertAdamState<D>>,
    ) -> (Tensor<D>, Option<BertAdamState<D>>) {
        let gradient = match self.max_gradient_norm {
            Some(limit) => {
                let norm = tvr_nn::sum(gradient.clone().square()).sqrt().add_scalar(1e-6);
                let factor = norm.recip().mul_scalar(limit).clamp_max(1.0);
                gradient * factor.reshape([1; D])
            }
            None => gradient,
        };
        let (steps, moment_1, moment_2) = match state {
            Some(state) => (
                state.time,
                state.moment_1.mul_scalar(self.beta_1) + gradient.clone().mul_scalar(1.0 - self.beta_1),
                state.moment_2.mul_scalar(self.beta_2) + gradient.square().mul_scalar(1.0 - self.beta_2),
            ),
            None => (
                0,
                gradient.clone().mul_scalar(1.0 - self.beta_1),
                gradient.square().mul_scalar(1.0 - self.beta_2),
            ),
        };
        let mut update = moment_1.clone() / (moment_2.clone().sqrt().add_scalar(self.epsilon));
        if self.weight_decay > 0.0 {
            update = update + tensor.clone().mul_scalar(self.weight_decay);
        }
        let factor = self.total.map_or(1.0, |total| self.schedule.factor(steps as f64 / total, self.warmup));
        let tensor = tensor - update.mul_scalar(rate * self.learning_rate * factor);
        (tensor, Some(AdaptiveMomentumState { time: steps + 1, moment_1, moment_2, max_moment_2: None }))
    }

    fn to_device<const D: usize>(state: BertAdamState<D>, device: &Device) -> BertAdamState<D> {
        state.to_device(device)
    }
}
