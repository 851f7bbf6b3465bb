//! The built-in objectives.

use burn::module::Module;
use burn::prelude::*;
use serde::{Deserialize, Serialize};
use tvr_objectives::{
    DualSoftmax, DualSoftmaxConfig, Loss, Ncl, NclConfig, Needs, Objective, Pairs, Symmetric, SymmetricConfig,
};

use crate::error::ExperimentError;

/// Similarities to a loss.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum ObjectiveRecipe {
    /// Symmetric cross-entropy, InfoNCE.
    Symmetric(SymmetricConfig),
    /// CAMoE's dual softmax loss.
    DualSoftmax(DualSoftmaxConfig),
    /// Normalised contrastive learning.
    Ncl(NclConfig),
}

/// A built-in objective.
#[derive(Module, Debug)]
#[allow(clippy::large_enum_variant, reason = "a run holds one objective")]
pub enum BuiltObjective {
    /// Symmetric cross-entropy, InfoNCE.
    Symmetric(Symmetric),
    /// CAMoE's dual softmax loss.
    DualSoftmax(DualSoftmax),
    /// Normalised contrastive learning.
    Ncl(Ncl),
}

impl ObjectiveRecipe {
    /// Makes the objective for heads whose vectors have one width.
    ///
    /// # Errors
    /// The first setting outside its domain.
    pub fn init(&self, width: usize, device: &Device) -> Result<BuiltObjective, ExperimentError> {
        let objective = match self {
            Self::Symmetric(config) => config.init().map(BuiltObjective::Symmetric),
            Self::DualSoftmax(config) => config.init().map(BuiltObjective::DualSoftmax),
            Self::Ncl(config) => config.init(width, device).map(BuiltObjective::Ncl),
        };
        objective.map_err(|error| ExperimentError::request(format!("[objective] {error}")))
    }
}

impl Objective for BuiltObjective {
    fn needs(&self) -> Needs {
        match self {
            Self::Symmetric(objective) => objective.needs(),
            Self::DualSoftmax(objective) => objective.needs(),
            Self::Ncl(objective) => objective.needs(),
        }
    }

    fn loss(&self, pairs: &Pairs) -> Loss {
        match self {
            Self::Symmetric(objective) => objective.loss(pairs),
            Self::DualSoftmax(objective) => objective.loss(pairs),
            Self::Ncl(objective) => objective.loss(pairs),
        }
    }

    fn after_step(&mut self, pairs: &Pairs) {
        match self {
            Self::Symmetric(objective) => objective.after_step(pairs),
            Self::DualSoftmax(objective) => objective.after_step(pairs),
            Self::Ncl(objective) => objective.after_step(pairs),
        }
    }
}
