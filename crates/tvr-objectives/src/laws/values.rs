//! Laws of what a loss is: its parts, its extremes, what costs nothing, what is refused.

use burn::prelude::*;
use burn::tensor::DType;
use tvr_nn::laws::{cast, close, floats, law};

use super::{Broken, Draw, Expected, Trial, matrix};
use crate::objective::{Objective, Pairs};

/// `total` and all parts are one finite number each, and `total = expected.total(parts)` where that is told.
///
/// For logits in ±20 and all sizes, in f64; the equality within the tolerance, relative above 1. Asks [`Objective::loss`].
///
/// # Errors
/// [`Broken`] with total and parts.
pub fn the_loss_is_one_number_made_of_its_parts(
    objective: &impl Objective,
    expected: &Expected,
    seed: u64,
) -> Result<(), Broken> {
    law("the_loss_is_one_number_made_of_its_parts", seed, || {
        let trial = Trial::new(objective, expected);
        for size @ [texts, videos] in trial.sizes() {
            let (logits, same) = trial.draw(&mut Draw::new(seed.wrapping_add(1)), size, 20.0);
            let (total, parts) = trial.judge(&trial.batch(&logits, &same))?;
            let context = || format!("{texts} texts, {videos} videos, total of the parts {parts:?}");
            if !(total.is_finite() && parts.iter().all(|part| part.is_finite())) {
                return Err(format!("{}: the total is {total}, but expected finite numbers", context()));
            }
            if let Some(made) = expected.total {
                close(&[total], &[made(&parts)], trial.rounding(total), context)?;
            }
        }
        Ok(())
    })
}

/// One text and one video that belong together cost nothing: `contrastive(L([[z]])) = 0` for any `z`.
///
/// In f64 within 1e-12. Not asked of an objective that is not [`Expected::free_alone`] or needs two videos.
///
/// # Errors
/// [`Broken`] with what it costs.
pub fn a_single_pair_costs_nothing(
    objective: &impl Objective,
    expected: &Expected,
    seed: u64,
) -> Result<(), Broken> {
    law("a_single_pair_costs_nothing", seed, || {
        let trial = Trial::new(objective, expected);
        if !expected.free_alone || trial.needs.least_videos > 1 {
            return Ok(());
        }
        for logit in [3.0, 20.0 * (2.0 * Draw::new(seed).uniform() - 1.0)] {
            let (total, parts) = trial.judge(&trial.batch(&vec![vec![logit]], &[0]))?;
            let cost = (expected.contrastive)(total, &parts);
            close(&[cost], &[0.0], 1e-12, || format!("one text, one video, logit {logit}"))?;
        }
        Ok(())
    })
}

/// Loss and gradient are finite in f32 for similarities of 0, of ±1e-30 and of ±1e4, at scale 1.
///
/// Asks [`Objective::loss`] on a graph, of all parameters in f32. 6 texts and 4 videos, or what the objective needs.
///
/// # Errors
/// [`Broken`] with the size at which a number is not finite.
pub fn extremes_stay_finite_in_f32(
    objective: &impl Objective,
    expected: &Expected,
    seed: u64,
) -> Result<(), Broken> {
    law("extremes_stay_finite_in_f32", seed, || {
        let trial = Trial::new(objective, expected);
        let training = cast(&trial.objective, DType::F32).train();
        let videos = trial.needs.least_videos.max(4);
        let texts = if trial.needs.square { videos } else { videos + 2 };
        for size in [0.0, 1e-30, 1e4] {
            let (logits, same) = trial.draw(&mut Draw::new(seed.wrapping_add(2)), [texts, videos], size);
            let logits = matrix(&logits, &trial.device).cast(DType::F32);
            let similarity = Tensor::from_inner(logits).require_grad();
            let batch = trial.of(similarity.clone(), &same);
            let total = training.loss(&batch.pairs()).total;
            let gradient = similarity.grad(&total.backward()).map_or(Vec::new(), |tensor| floats(&tensor));
            let numbers = [floats(&total), gradient].concat();
            if let Some(found) = numbers.iter().find(|number| !number.is_finite()) {
                return Err(format!(
                    "{texts} texts, {videos} videos, similarities in ±{size:e}: loss or gradient has {found}, but expected finite numbers"
                ));
            }
        }
        Ok(())
    })
}

/// Another caption of the same video is no negative: with logits of 40 for right pairs and −40 for wrong ones, two
/// captions of one video and one of another cost at most [`Expected::doubled`] (`contrastive` of them).
///
/// The default bound, ln 2 / 4, is the entropy of one of two videos over its two captions, in one of two directions: such a
/// loss cannot be lower. As a negative the second caption would cost some 20 nats. In f64. Not asked of an objective
/// that needs a square.
///
/// # Errors
/// [`Broken`] with what they cost.
pub fn doubled_captions_are_no_negatives(
    objective: &impl Objective,
    expected: &Expected,
    seed: u64,
) -> Result<(), Broken> {
    law("doubled_captions_are_no_negatives", seed, || {
        let trial = Trial::new(objective, expected);
        if trial.needs.square {
            return Ok(());
        }
        // More videos where the objective needs them, each with a caption of its own.
        let videos = trial.needs.least_videos.max(2);
        let same: Vec<usize> = std::iter::once(0).chain(0..videos).collect();
        let logit = |own: usize, video: usize| if own == video { 40.0 } else { -40.0 };
        let logits = same.iter().map(|&own| (0..videos).map(|video| logit(own, video)).collect()).collect();
        let (total, parts) = trial.judge(&trial.batch(&logits, &same))?;
        let cost = (expected.contrastive)(total, &parts);
        // Written so that NaN fails.
        if cost <= expected.doubled {
            return Ok(());
        }
        let texts = same.len();
        Err(format!(
            "{texts} texts of {videos} videos, two of them of one: they cost {cost}, but expected at most {}",
            expected.doubled
        ))
    })
}

/// A batch whose `same` has another length or leaves the batch is refused before the objective sees it, with a
/// message that says so. Asks [`Pairs::check`] with [`Objective::needs`].
///
/// # Errors
/// [`Broken`] with the message.
pub fn broken_batches_are_refused_by_name(
    objective: &impl Objective,
    expected: &Expected,
    seed: u64,
) -> Result<(), Broken> {
    law("broken_batches_are_refused_by_name", seed, || {
        let trial = Trial::new(objective, expected);
        let videos = trial.needs.least_videos.max(2);
        let texts = if trial.needs.square { videos } else { videos + 1 };
        let (logits, _) = trial.draw(&mut Draw::new(seed.wrapping_add(8)), [texts, videos], 1.0);
        let short: Vec<usize> = (0..texts - 1).collect();
        let outside: Vec<usize> = (0..texts - 1).chain([videos]).collect();
        let told = [
            (short, format!("same has {} rows, but the batch has {texts}", texts - 1)),
            (
                outside,
                format!(
                    "text {} belongs to video {videos}, but the batch has videos 0 to {}",
                    texts - 1,
                    videos - 1
                ),
            ),
        ];
        for (same, expected) in told {
            let batch = trial.batch(&logits, &same);
            let pairs = Pairs::new(&batch.similarity, batch.scale.clone(), &batch.same);
            let found = match pairs.check(&trial.needs) {
                Ok(()) => "it is taken".to_string(),
                Err(error) => error.to_string(),
            };
            if found != expected {
                return Err(format!(
                    "{texts} texts, {videos} videos, same {same:?}: {found:?}, but expected {expected:?}"
                ));
            }
        }
        Ok(())
    })
}

/// [`Objective::loss`] is a pure function: the same batch has the same loss, to the bit, when it is asked twice and, unless
/// the objective [remembers](Expected::remembers), after [`Objective::after_step`] too.
///
/// # Errors
/// [`Broken`] with both losses.
pub fn the_optimiser_may_step_without_state(
    objective: &impl Objective,
    expected: &Expected,
    seed: u64,
) -> Result<(), Broken> {
    law("the_optimiser_may_step_without_state", seed, || {
        let mut trial = Trial::new(objective, expected);
        let items = trial.needs.least_videos.max(3);
        let (logits, _) = trial.draw(&mut Draw::new(seed.wrapping_add(9)), [items, items], 1.0);
        let diagonal: Vec<usize> = (0..items).collect();
        let batch = trial.batch(&logits, &diagonal);
        let (before, _) = trial.judge(&batch)?;
        let (again, _) = trial.judge(&batch)?;
        close(&[again], &[before], 0.0, || format!("{items} texts, {items} videos, asked again"))?;
        trial.objective.after_step(&batch.pairs());
        let (after, _) = trial.judge(&batch)?;
        if expected.remembers {
            return Ok(());
        }
        close(&[after], &[before], 0.0, || format!("{items} texts, {items} videos, after a step"))
    })
}
