//! What a plan's data come through, opened once for all seeds.

use std::sync::atomic::AtomicBool;

use crate::clips::Clips;
use crate::error::ExperimentError;
use crate::plan::Plan;
use crate::pretrained::Pretrained;
use crate::progress::Events;
use crate::recipe::EncoderRecipe;
use crate::towers::Towers;

/// Towers and clips of a plan.
#[derive(Default)]
pub struct Sources {
    /// The world's towers.
    pub world: Option<Towers>,
    /// The CLIP checkpoint.
    pub pretrained: Option<Pretrained>,
    /// The list of videos, with their frames.
    pub clips: Option<Clips>,
}

impl Sources {
    /// Opens what a plan's recipe names; trains the world's towers, decodes and encodes where that is not done yet.
    ///
    /// # Errors
    /// What is missing or broken, or a wish to stop.
    pub fn open(plan: &Plan, stop: &AtomicBool, events: Events<'_>) -> Result<Self, ExperimentError> {
        let encoder = &plan.recipe.encoder;
        if let EncoderRecipe::World { .. } = encoder {
            let world = Towers::open(encoder, &plan.surroundings.cache, &plan.device, stop, events)?;
            return Ok(Self { world: Some(world), ..Self::default() });
        }
        let pretrained = Pretrained::open(encoder, &mut *events)?;
        let clips = match &pretrained {
            Some(pretrained) => Clips::open(plan, pretrained, stop, events)?,
            None => None,
        };
        Ok(Self { world: None, pretrained, clips })
    }

    /// Hash of the weights that a run begins with; `None` where it has no towers.
    pub fn weights(&self) -> Option<String> {
        let pretrained = self.pretrained.as_ref().map(|pretrained| pretrained.checkpoint().sha256());
        pretrained.or_else(|| self.world.as_ref().map(|towers| towers.sha256.clone()))
    }
}
