//! A head and an objective, the recipe's or from outside: how they are made for each run, and what the run is known by.

use tvr_heads::Head;
use tvr_objectives::Objective;

use burn::prelude::Device;

use crate::error::ExperimentError;
use crate::plan::{self, Plan};
use crate::recipe::{BuiltHead, BuiltObjective};
use crate::sources::Sources;

/// What a head and an objective are made with. Parameters are drawn from the run's seed, on [`device`](Self::device).
pub struct Parts<'a> {
    /// The plan: [`Offer`](crate::offer::Offer) tells widths, vocabulary and counts.
    pub plan: &'a Plan,
    /// The device that trains. A parameter on another would never move, and is refused.
    pub device: &'a Device,
    /// What data came through; `None` while a plan is made, when no weights are drawn.
    pub(crate) sources: Option<&'a Sources>,
}

impl Parts<'_> {
    /// The recipe's own head, as a run without parts from outside has it: its temporal transformers start from the
    /// checkpoint's text tower unless the recipe says otherwise.
    ///
    /// # Errors
    /// Settings outside their domain.
    pub fn head(&self) -> Result<BuiltHead, ExperimentError> {
        let pretrained = self.sources.and_then(|sources| sources.pretrained.as_ref());
        plan::head(&self.plan.recipe, &self.plan.offer, pretrained, self.device)
    }

    /// The recipe's own objective.
    ///
    /// # Errors
    /// Settings outside their domain.
    pub fn objective(&self) -> Result<BuiltObjective, ExperimentError> {
        self.plan.recipe.objective.init(&self.plan.offer, self.device)
    }
}

/// What makes the head and the objective that the recipe names.
pub type BuiltIn = fn(&Parts<'_>) -> Result<(BuiltHead, BuiltObjective), ExperimentError>;

/// A head and an objective: [`built_in`](Own::built_in) or, as [`new`](Own::new) takes them, from outside.
pub struct Own<F> {
    /// What a run of parts from outside is known by; `None` of the recipe's own, which are known by the recipe.
    pub(crate) name: Option<String>,
    pub(crate) make: F,
}

impl Own<BuiltIn> {
    /// The recipe's own head and objective. A plan of parts from outside is refused with them: what it names would be judged
    /// by another method.
    pub fn built_in() -> Self {
        Self { name: None, make: |parts| Ok((parts.head()?, parts.objective()?)) }
    }
}

impl<F, H, O> Own<F>
where
    F: Fn(&Parts<'_>) -> Result<(H, O), ExperimentError>,
    H: Head,
    O: Objective,
{
    /// A head and an objective from outside.
    ///
    /// - `name`: the parts' names and settings. It stands in recipe, record and checkpoints, and a run goes on and is judged
    ///   under the same alone
    /// - `make`: called for the plan, and once for each run after its seed is set: whatever it draws is the seed's
    pub fn new(name: impl Into<String>, make: F) -> Self {
        Self { name: Some(name.into()), make }
    }
}
