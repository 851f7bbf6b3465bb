//! A head and an objective from outside: how they are made for each run, and what the run is known by.

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

/// The recipe's own head and objective, for the doors that take none from outside.
///
/// # Errors
/// A plan of parts from outside: what it names would be judged by another method.
pub(crate) fn built_in(parts: &Parts<'_>) -> Result<(BuiltHead, BuiltObjective), ExperimentError> {
    if let Some(own) = &parts.plan.recipe.own {
        return Err(ExperimentError::request(format!(
            "the plan is of {own:?}, whose head and objective come from outside; call the function whose name ends in _with, and \
             hand them over"
        )));
    }
    Ok((parts.head()?, parts.objective()?))
}

/// A head and an objective from outside.
pub struct Own<F> {
    /// What the run is known by: the parts' names and settings. It stands in recipe, record and checkpoints, and a run goes
    /// on and is judged under the same alone.
    pub name: String,
    pub(crate) make: F,
}

impl<F, H, O> Own<F>
where
    F: Fn(&Parts<'_>) -> Result<(H, O), ExperimentError>,
    H: Head,
    O: Objective,
{
    /// `make` is called for the plan, and once for each run after its seed is set: whatever it draws is the seed's.
    pub fn new(name: impl Into<String>, make: F) -> Self {
        Self { name: name.into(), make }
    }
}
