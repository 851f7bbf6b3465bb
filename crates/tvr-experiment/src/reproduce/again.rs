//! Models that were trained, judged again in other ways: with banks of training items, with EM at inference.

use std::sync::atomic::AtomicBool;
use std::time::Instant;

use super::papers::Paper;
use super::summary::Runs;
use super::{Request, budget, own_towers};
use crate::error::ExperimentError;
use crate::experiment::{self, Opened};
use crate::plan::Plan;
use crate::progress::{Event, Events};
use crate::recipe::Recipe;

/// Judges again what was trained; `opened` are data and towers of seed 0.
///
/// # Errors
/// As [`experiment::judge_again`].
pub(super) fn judged_again(
    request: &Request,
    papers: &[Paper],
    chosen: &[(budget::Planned, Plan)],
    seeds: &[u64],
    mut opened: Opened,
    stop: &AtomicBool,
    events: Events<'_>,
) -> Result<Vec<Runs>, ExperimentError> {
    let mut again = Vec::new();
    for of in request.data.again(request.extent, papers) {
        let Some((planned, plan)) = chosen.iter().find(|(planned, _)| planned.model == of.of) else {
            continue;
        };
        let mut plan = plan.clone();
        plan.recipe.eval = Recipe::parse(of.recipe)?.eval;
        for (key, value) in of.set {
            plan.recipe.set(key, value)?;
        }
        again.push((Runs::new(of.name, planned), plan));
    }
    if again.is_empty() {
        return Ok(Vec::new());
    }
    let (mut done, total) = (0, again.iter().map(|(runs, _)| runs.seeds.len()).sum());
    events(Event::Begin { label: "judging again, in other ways".into(), total, done });
    for &seed in seeds {
        if seed != 0 && own_towers::each_seed(&request.data, request.extent) {
            opened = experiment::open(&own_towers::of_seed(&chosen[0].1, seed, request), stop, events)?;
        }
        for (runs, plan) in again.iter_mut().filter(|(runs, _)| runs.seeds.contains(&seed)) {
            let began = Instant::now();
            let mut plan = own_towers::of_seed(plan, seed, request);
            plan.recipe.eval = plan.recipe.eval.drawn(seed);
            runs.judge(&plan, &opened, seed)?;
            done += 1;
            events(Event::Step { done, loss: None, seconds: began.elapsed().as_secs_f64() });
        }
    }
    events(Event::End);
    Ok(again.into_iter().map(|(runs, _)| runs).collect())
}
