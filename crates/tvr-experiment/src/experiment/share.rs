//! One share of a finished run's similarities, for judging on several machines.

use std::path::Path;

use tvr_heads::Head;
use tvr_objectives::Objective;

use super::{Opened, selected};
use crate::checkpoint::Checkpoints;
use crate::error::ExperimentError;
use crate::evaluate;
use crate::files;
use crate::own::{Own, Parts};
use crate::plan::Plan;
use crate::record;
use crate::score::shards::{self, Written};
use crate::shard::Shard;

/// Writes one share of the similarities of a finished run to `out`, on test or, if asked for, val.
///
/// # Errors
/// As [`judge_again`](super::judge_again); similarities that cannot be shared out.
pub fn score_share<F, H, O>(
    plan: &Plan,
    opened: &Opened,
    own: &Own<F>,
    seed: u64,
    on_val: bool,
    shard: Shard,
    out: &Path,
) -> Result<Written, ExperimentError>
where
    F: Fn(&Parts<'_>) -> Result<(H, O), ExperimentError>,
    H: Head,
    O: Objective,
{
    files::refuse_npy(out)?;
    let plan = &plan.with(own)?;
    let model = &selected(plan, opened, &own.make, seed)?;
    let folder = plan.run_folder(seed);
    let weights = Checkpoints::of(&folder).best_hash(record::read(&folder)?.selected)?;
    let share = if on_val {
        evaluate::share(model, opened.val_splits(), plan, shard)?
    } else {
        evaluate::test_share(model, plan, &opened.train, &opened.sources, shard)?
    };
    let settled = evaluate::settled(model, opened.val_splits(), plan)?;
    let made_of = [
        ("version", env!("CARGO_PKG_VERSION").to_owned()),
        ("recipe", plan.recipe.hash()?),
        ("seed", seed.to_string()),
        ("weights", weights),
        ("split", if on_val { "val" } else { "test" }.to_owned()),
        ("gallery", share.gallery),
    ];
    let made_of = made_of.map(|(key, value)| (key.to_owned(), value)).into();
    shards::write(out, Some(shard), made_of, settled.specs, &share.blocks, share.video_of.as_deref())
}
