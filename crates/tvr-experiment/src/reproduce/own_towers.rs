//! Which towers the runs of a seed start from: on the built-in world one set for all, or with `--full` a set for each seed.
//! Then intervals over seeds hold for other towers as well, and not for these alone.

use std::collections::BTreeMap;
use std::sync::atomic::AtomicBool;

use super::{Data, Extent, Request};
use crate::error::ExperimentError;
use crate::experiment::Opened;
use crate::plan::Plan;
use crate::progress::Events;
use crate::recipe::EncoderRecipe;
use crate::sources::Sources;

/// Whether every seed has towers of its own.
pub(super) fn each_seed(data: &Data, extent: Extent) -> bool {
    *data == Data::World && extent == Extent::Full
}

/// A plan with one seed alone, and that seed's towers.
pub(super) fn of_seed(plan: &Plan, seed: u64, request: &Request) -> Plan {
    let mut plan = plan.clone();
    plan.recipe.seeds = vec![seed];
    if let (true, EncoderRecipe::World { tower_seed, .. }) =
        (each_seed(&request.data, request.extent), &mut plan.recipe.encoder)
    {
        *tower_seed = seed;
    }
    plan
}

/// Hash of the weights that the runs of each seed begin with. Towers that are not in the cache are trained, one set after
/// another: two runs side by side would each train the same. `opened` are those of seed 0.
///
/// # Errors
/// As [`Sources::open`].
pub(super) fn trained(
    request: &Request,
    plan: &Plan,
    opened: &Opened,
    seeds: &[u64],
    stop: &AtomicBool,
    events: Events<'_>,
) -> Result<BTreeMap<u64, Option<String>>, ExperimentError> {
    let mut weights = BTreeMap::new();
    for &seed in seeds {
        let own = if seed == 0 || !each_seed(&request.data, request.extent) {
            opened.sources.weights()
        } else {
            Sources::open(&of_seed(plan, seed, request), stop, events)?.weights()
        };
        weights.insert(seed, own);
    }
    Ok(weights)
}
