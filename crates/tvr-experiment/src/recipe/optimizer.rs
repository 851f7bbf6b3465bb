//! The built-in optimisers.

use serde::{Deserialize, Serialize};

use crate::bert_adam::BertSchedule;
use crate::error::ExperimentError;
use crate::schedule::Schedule;

/// The optimiser and its settings.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case", deny_unknown_fields)]
pub enum OptimizerRecipe {
    /// AdamW with PyTorch's order of decay.
    Adamw {
        /// Rate of new modules: head, projections, objective.
        learning_rate: f64,
        /// Rate of towers and of the logit scale; by default that of new modules.
        #[serde(default)]
        tower_learning_rate: Option<f64>,
        /// Decay of the groups that decay.
        #[serde(default = "weight_decay")]
        weight_decay: f64,
        /// Decays of the moments.
        #[serde(default = "betas")]
        betas: [f64; 2],
        /// Added to the root of the second moment.
        #[serde(default = "epsilon")]
        epsilon: f64,
        /// Share of steps that warm up.
        #[serde(default = "warmup_share")]
        warmup_share: f64,
        /// The schedule: `warmup-cosine`, or `warmup-constant`.
        #[serde(default = "schedule")]
        schedule: Schedule,
        /// Who decays.
        #[serde(default)]
        groups: Groups,
    },
    /// CLIP4Clip's optimiser.
    BertAdam {
        /// Rate of new modules.
        #[serde(default = "bert_rate")]
        learning_rate: f64,
        /// Rate of towers, as a share of `learning_rate`.
        #[serde(default = "bert_coefficient")]
        tower_coefficient: f64,
        /// Decay of the groups that decay.
        #[serde(default = "bert_decay")]
        weight_decay: f64,
        /// Share of steps that warm up.
        #[serde(default = "warmup_share")]
        warmup_share: f64,
        /// The schedule: `warmup-cosine`, `warmup-constant`, or `warmup-linear`.
        #[serde(default = "bert_schedule")]
        schedule: BertSchedule,
        /// Who decays.
        #[serde(default = "clip4clip")]
        groups: Groups,
    },
}

impl OptimizerRecipe {
    /// AdamW of one rate, with everything else as a recipe has it that does not say.
    pub const fn adamw(learning_rate: f64) -> Self {
        Self::Adamw {
            learning_rate,
            tower_learning_rate: None,
            weight_decay: weight_decay(),
            betas: betas(),
            epsilon: epsilon(),
            warmup_share: warmup_share(),
            schedule: schedule(),
            groups: Groups::Ours,
        }
    }

    /// The rate of new modules at `step` (from 0) of `steps`; of BertAdam that of tensors which had a gradient in every step.
    pub fn rate_at(&self, step: usize, steps: usize) -> f64 {
        let (Self::Adamw { learning_rate, .. } | Self::BertAdam { learning_rate, .. }) = self;
        learning_rate * self.factor(step, steps)
    }

    /// The schedule's factor of the rates at `step` (from 0) of `steps`.
    pub fn factor(&self, step: usize, steps: usize) -> f64 {
        match self {
            Self::Adamw { schedule, warmup_share, .. } => schedule.factor(step, steps, *warmup_share),
            Self::BertAdam { schedule, warmup_share, .. } => {
                schedule.factor(step as f64 / steps as f64, *warmup_share)
            }
        }
    }

    /// Names the first setting outside its domain.
    pub(crate) fn check(&self) -> Result<(), ExperimentError> {
        match self {
            Self::Adamw {
                learning_rate,
                tower_learning_rate,
                weight_decay,
                betas,
                epsilon,
                warmup_share,
                ..
            } => {
                above_zero("learning_rate", *learning_rate)?;
                above_zero("tower_learning_rate", tower_learning_rate.unwrap_or(*learning_rate))?;
                at_least_zero("weight_decay", *weight_decay)?;
                below_one("betas[0]", betas[0])?;
                below_one("betas[1]", betas[1])?;
                above_zero("epsilon", *epsilon)?;
                below_one("warmup_share", *warmup_share)
            }
            Self::BertAdam { learning_rate, tower_coefficient, weight_decay, warmup_share, .. } => {
                above_zero("learning_rate", *learning_rate)?;
                at_least_zero("tower_coefficient", *tower_coefficient)?;
                at_least_zero("weight_decay", *weight_decay)?;
                below_one("warmup_share", *warmup_share)
            }
        }
    }
}

fn above_zero(key: &str, value: f64) -> Result<(), ExperimentError> {
    within(key, value, value.is_finite() && value > 0.0, "a number above 0")
}

fn at_least_zero(key: &str, value: f64) -> Result<(), ExperimentError> {
    within(key, value, value.is_finite() && value >= 0.0, "a number of at least 0")
}

fn below_one(key: &str, value: f64) -> Result<(), ExperimentError> {
    within(key, value, (0.0..1.0).contains(&value), "at least 0 and below 1")
}

fn within(key: &str, value: f64, fits: bool, domain: &str) -> Result<(), ExperimentError> {
    if fits {
        return Ok(());
    }
    Err(ExperimentError::request(format!("train.optimizer.{key} = {value}, but it must be {domain}")))
}

/// Who decays.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Groups {
    /// Matrices alone: no bias, norm, embedding, position, class token or logit scale.
    #[default]
    Ours,
    /// CLIP4Clip's: everything whose name has no "bias", norm gains and logit scale included.
    Clip4clip,
}

const fn weight_decay() -> f64 {
    0.1
}
const fn betas() -> [f64; 2] {
    [0.9, 0.98]
}
const fn epsilon() -> f64 {
    1e-6
}
const fn warmup_share() -> f64 {
    0.1
}
const fn schedule() -> Schedule {
    Schedule::WarmupCosine
}
fn bert_rate() -> f64 {
    1e-4
}
fn bert_coefficient() -> f64 {
    1e-3
}
fn bert_decay() -> f64 {
    0.2
}
fn bert_schedule() -> BertSchedule {
    BertSchedule::WarmupCosine
}
fn clip4clip() -> Groups {
    Groups::Clip4clip
}
