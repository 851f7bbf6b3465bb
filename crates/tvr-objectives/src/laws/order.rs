//! Laws of what may not matter: the order of a batch, how logits are made, who judges which rows.

use std::ops::Range;

use burn::prelude::*;
use tvr_nn::laws::{close, law};

use super::{Broken, Draw, Expected, Rows, Trial};
use crate::objective::{Loss, Objective, Pairs};
use crate::rows::{self, ByRows};

/// Loss and gradient know no order of the texts: `L(P z) = L(z)` and `∇L(P z) = P ∇L(z)` for a permutation `P` of rows,
/// with each text's video, vector, caption and streams.
///
/// For logits in ±20 and all sizes, in f64: the loss within the tolerance, relative above 1, the gradient within ten
/// times the tolerance. Where the objective needs a square, videos move with their texts.
///
/// # Errors
/// [`Broken`] with the first number that differs.
pub fn permuted_texts_change_nothing(
    objective: &impl Objective,
    expected: &Expected,
    seed: u64,
) -> Result<(), Broken> {
    law("permuted_texts_change_nothing", seed, || {
        let trial = Trial::new(objective, expected);
        for size @ [texts, videos] in trial.sizes() {
            let (logits, same) = trial.draw(&mut Draw::new(seed.wrapping_add(3)), size, 20.0);
            let order = Draw::new(seed.wrapping_add(4)).order(texts);
            let here: [Vec<usize>; 2] = [(0..texts).collect(), (0..videos).collect()];
            let columns = if trial.needs.square { &order } else { &here[1] };
            let batch = trial.batch(&logits, &same);
            let (whole, _) = trial.judge(&batch)?;
            let (found, _) = trial.judge(&batch.reordered(&order, columns))?;
            let context = || format!("{texts} texts in the order {order:?}, {videos} videos");
            close(&[found], &[whole], trial.rounding(whole), || format!("{}, loss", context()))?;
            let gradient = trial.gradient(&logits, &same, [&here[0], &here[1]]);
            let found = trial.gradient(&logits, &same, [&order, columns]);
            close(&found, &gradient, 10.0 * expected.tolerance, || format!("{}, gradient", context()))?;
        }
        Ok(())
    })
}

/// The loss knows no order of the videos: `L(z Q) = L(z)` for a permutation `Q` of columns, with each
/// video's texts, vector and number.
///
/// For logits in ±20 and all sizes, in f64 within the tolerance, relative above 1. Where the objective needs a square,
/// texts move with their videos.
///
/// # Errors
/// [`Broken`] with both losses.
pub fn permuted_videos_change_nothing(
    objective: &impl Objective,
    expected: &Expected,
    seed: u64,
) -> Result<(), Broken> {
    law("permuted_videos_change_nothing", seed, || {
        let trial = Trial::new(objective, expected);
        for size @ [texts, videos] in trial.sizes() {
            let (logits, same) = trial.draw(&mut Draw::new(seed.wrapping_add(5)), size, 20.0);
            let order = Draw::new(seed.wrapping_add(6)).order(videos);
            let here: Vec<usize> = (0..texts).collect();
            let batch = trial.batch(&logits, &same);
            let (whole, _) = trial.judge(&batch)?;
            let rows = if trial.needs.square { &order } else { &here };
            let (found, _) = trial.judge(&batch.reordered(rows, &order))?;
            close(&[found], &[whole], trial.rounding(whole), || {
                format!("{texts} texts, {videos} videos in the order {order:?}, loss")
            })?;
        }
        Ok(())
    })
}

/// A loss of logits takes them as cosine times scale, `L(z / 40, 40) = L(z, 1)`; a loss of cosines takes no scale,
/// `L(z, 40) = L(z, 1)`. [`Expected::scaled`] says which.
///
/// 5 texts and 5 videos or what the objective needs, in f64 within the tolerance, relative above 1.
///
/// # Errors
/// [`Broken`] with both losses.
pub fn scale_and_cosines_make_the_logits(
    objective: &impl Objective,
    expected: &Expected,
    seed: u64,
) -> Result<(), Broken> {
    law("scale_and_cosines_make_the_logits", seed, || {
        let trial = Trial::new(objective, expected);
        let items = trial.needs.least_videos.max(5);
        let (logits, same) = trial.draw(&mut Draw::new(seed.wrapping_add(7)), [items, items], 20.0);
        let (whole, _) = trial.judge(&trial.batch(&logits, &same))?;
        let divisor = if expected.scaled { 40.0 } else { 1.0 };
        let cosines: Rows =
            logits.iter().map(|row| row.iter().map(|logit| logit / divisor).collect()).collect();
        let mut batch = trial.batch(&cosines, &same);
        batch.scale = batch.scale * 40.0;
        let (found, _) = trial.judge(&batch)?;
        close(&[found], &[whole], trial.rounding(whole), || {
            format!("{items} texts, {items} videos, similarities divided by {divisor} at scale 40")
        })
    })
}

/// Where an objective is a sum over rows ([`Objective::by_rows`]), shares that cover every text and every video once add up
/// to the loss of the batch and to each of its parts, also where one matrix holds the whole of it.
///
/// For logits in ±20 and all sizes, cut in one and in two, in f64 within the tolerance, relative above 1. An objective that
/// wants the whole batch keeps the law as it is.
///
/// # Errors
/// [`Broken`] with the first sum that differs.
pub fn shares_of_rows_add_up(
    objective: &impl Objective,
    expected: &Expected,
    seed: u64,
) -> Result<(), Broken> {
    law("shares_of_rows_add_up", seed, || {
        let trial = Trial::new(objective, expected);
        let Some(by_rows) = trial.objective.by_rows() else { return Ok(()) };
        for size @ [texts, videos] in trial.sizes() {
            let mut draw = Draw::new(seed.wrapping_add(10));
            let (logits, same) = trial.draw(&mut draw, size, 20.0);
            let batch = trial.batch(&logits, &same);
            let pairs = batch.pairs();
            let (total, parts) = trial.judge(&batch)?;
            let whole = [vec![total], parts].concat();
            let largest = whole.iter().fold(0.0, |most: f64, number| most.max(number.abs()));
            let context = |cut: &str| format!("{texts} texts, {videos} videos, {cut}: total and parts");
            let all = by_rows.loss_of(&rows::Rows::all(&pairs));
            close(&numbers(all), &whole, trial.rounding(largest), || context("as one share"))?;
            if texts < 2 || videos < 2 {
                continue;
            }
            let cuts = [1 + draw.below(texts - 1), 1 + draw.below(videos - 1)];
            let first = share(by_rows, &pairs, 0..cuts[0], 0..cuts[1]);
            let second = share(by_rows, &pairs, cuts[0]..texts, cuts[1]..videos);
            let sums: Vec<f64> = first.iter().zip(&second).map(|(first, second)| first + second).collect();
            close(&sums, &whole, trial.rounding(largest), || {
                context(&format!("cut before text {} and video {}", cuts[0], cuts[1]))
            })?;
        }
        Ok(())
    })
}

/// What some texts and some videos of a batch add to its loss and to the parts.
fn share(by_rows: &dyn ByRows, pairs: &Pairs, texts: Range<usize>, videos: Range<usize>) -> Vec<f64> {
    let of_texts = pairs.similarity.clone().slice_dim(0, texts.clone());
    let of_videos = pairs.similarity.clone().slice_dim(1, videos.clone());
    let rows = rows::Rows {
        of_texts: &of_texts,
        of_videos: Some(&of_videos),
        scale: pairs.scale.clone(),
        same: pairs.same,
        texts,
        videos,
    };
    numbers(by_rows.loss_of(&rows))
}

fn numbers(loss: Loss) -> Vec<f64> {
    let parts = loss.parts.into_iter().map(|(_, part)| part);
    std::iter::once(loss.total).chain(parts).map(|number: Tensor<1>| number.into_scalar::<f64>()).collect()
}
