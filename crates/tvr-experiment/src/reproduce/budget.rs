//! Which models are trained, for how many steps, with which seeds: decided from measured times, before anything runs.
//!
//! Models come in a stated order ([`super::models`]). Each takes its share of the budget in turn: `seeds · (steps ·
//! seconds of a step + seconds beside)`. A model that no longer fits is dropped, and named. What is left in the end
//! lengthens the runs that compare heads, up to their most. What an earlier plan gave a model stays: its runs lie in the same
//! folder, whichever papers were asked for.

use serde::{Deserialize, Serialize};

use super::models::{Length, Trained};

/// Steps, seeds and seconds that an extent allows.
#[derive(Clone, Debug)]
pub struct Allowance {
    /// Seconds in all.
    pub seconds: f64,
    /// Seeds of every model but the controls.
    pub seeds: Vec<u64>,
    /// Steps of a model that is compared by its loss or normaliser.
    pub steps: usize,
    /// Least and most steps of a model that is compared by its head.
    pub head_steps: [usize; 2],
    /// Seconds that a run adds to the whole beside its steps: opening data, looks at val, checkpoints, the judging.
    pub beside: f64,
    /// Whether models may be dropped; `--full` takes the time it needs.
    pub may_drop: bool,
}

/// A model that may be run.
#[derive(Clone, Debug)]
pub struct Candidate {
    /// The model.
    pub model: Trained,
    /// Steps of its recipe.
    pub own_steps: usize,
    /// Seconds that a step adds to the whole.
    pub step_seconds: f64,
    /// What an earlier plan gave it.
    pub given: Option<Given>,
}

impl Candidate {
    /// Whether it is compared by its head, whose models all have the same number of steps.
    fn is_by_head(&self) -> bool {
        matches!(self.model.length, Length::Head | Length::Control)
    }
}

/// What an earlier plan gave a model.
#[derive(Clone, Debug)]
pub struct Given {
    /// Steps of a run.
    pub steps: usize,
    /// Its seeds.
    pub seeds: Vec<u64>,
    /// Seeds whose runs are not finished.
    pub left: usize,
}

/// One model of the plan.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Planned {
    /// The recipe.
    pub model: String,
    /// Steps of a run.
    pub steps: usize,
    /// Its seeds.
    pub seeds: Vec<u64>,
    /// Measured milliseconds of a step.
    pub step_milliseconds: f64,
    /// Seconds that all its runs should take that were not finished when this was planned.
    pub seconds: f64,
}

/// The outcome of planning: models that run, and those that were dropped, by name.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Fitted {
    /// In the stated order.
    pub planned: Vec<Planned>,
    /// Models that did not fit.
    pub dropped: Vec<String>,
}

impl Fitted {
    /// The seeds of any model, in their order.
    pub fn seeds(&self) -> Vec<u64> {
        let mut seeds: Vec<u64> = self.planned.iter().flat_map(|planned| planned.seeds.clone()).collect();
        seeds.sort_unstable();
        seeds.dedup();
        seeds
    }

    /// Whether this was decided about the same models.
    pub fn is_of(&self, models: &[Trained]) -> bool {
        let planned = self.planned.iter().map(|planned| planned.model.as_str());
        let mut decided: Vec<&str> = planned.chain(self.dropped.iter().map(String::as_str)).collect();
        let mut asked: Vec<&str> = models.iter().map(|model| model.name).collect();
        decided.sort_unstable();
        asked.sort_unstable();
        decided == asked
    }
}

/// Fits models into what is left of a budget.
///
/// - `spent`: seconds that are gone already
/// - `models`: in the stated order
pub fn fit(allowance: &Allowance, spent: f64, models: &[Candidate]) -> Fitted {
    let mut left = if allowance.may_drop { allowance.seconds - spent } else { f64::INFINITY };
    let mut fitted = Fitted { planned: Vec::new(), dropped: Vec::new() };
    let by_head = models.iter().filter(|candidate| candidate.is_by_head());
    let head_steps = by_head.filter_map(|candidate| candidate.given.as_ref()).map(|given| given.steps).next();
    for (index, Candidate { model, own_steps, step_seconds, given }) in models.iter().enumerate() {
        let seeds = match (model.length, given) {
            (_, Some(given)) => given.seeds.clone(),
            (Length::Control, None) => allowance.seeds[..1].to_vec(),
            (Length::Loss | Length::Head | Length::Recipe, None) => allowance.seeds.clone(),
        };
        let steps = match (model.length, given) {
            (_, Some(given)) => given.steps,
            (Length::Loss, None) => allowance.steps,
            (Length::Head | Length::Control, None) => head_steps.unwrap_or(allowance.head_steps[0]),
            (Length::Recipe, None) => *own_steps,
        };
        let runs = given.as_ref().map_or(seeds.len(), |given| given.left);
        let seconds = runs as f64 * (steps as f64 * step_seconds + allowance.beside);
        // Without its first model, the baseline, there is nothing to compare with.
        if index > 0 && given.is_none() && seconds > left {
            fitted.dropped.push(model.name.to_string());
            continue;
        }
        left -= seconds;
        let step_milliseconds = step_seconds * 1000.0;
        fitted.planned.push(Planned { model: model.name.into(), steps, seeds, step_milliseconds, seconds });
    }
    if head_steps.is_none() {
        lengthen(allowance, left, models, &mut fitted);
    }
    fitted
}

/// Gives what is left to the models that compare heads, all of them by the same number of steps.
fn lengthen(allowance: &Allowance, left: f64, models: &[Candidate], fitted: &mut Fitted) {
    let [least, most] = allowance.head_steps;
    let is_head = |planned: &Planned| {
        models.iter().any(|candidate| candidate.model.name == planned.model && candidate.is_by_head())
    };
    let of_one_step: f64 = fitted
        .planned
        .iter()
        .filter(|planned| is_head(planned))
        .map(|planned| planned.seeds.len() as f64 * planned.step_milliseconds / 1000.0)
        .sum();
    if of_one_step <= 0.0 {
        return;
    }
    let more = (left / of_one_step).clamp(0.0, (most - least) as f64) as usize / 10 * 10;
    for planned in fitted.planned.iter_mut().filter(|planned| is_head(planned)) {
        planned.steps += more;
        planned.seconds += planned.seeds.len() as f64 * more as f64 * planned.step_milliseconds / 1000.0;
    }
}
