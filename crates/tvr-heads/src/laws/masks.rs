//! Laws of what is no item's content: padding, and the order of a set.

use burn::prelude::*;
use tvr_nn::laws::{close, law, select_flags};

use super::{Broken, Draw, Expected, Trial, mask_tensor};
use crate::features::{Tokens, VideoFeatures};
use crate::head::Head;

/// What stands at a masked frame changes nothing, nor do more masked frames: filled with 0, 1, 1e4, 1e30 and the largest
/// number of f32.
///
/// 4 texts, 3 videos, 5 frames and two more (as many as the head takes), within the tolerance. Experts' steps are padded as
/// the frames are.
///
/// # Errors
/// [`Broken`] with the first similarity that differs.
pub fn padding_changes_nothing(head: &impl Head, expected: &Expected, seed: u64) -> Result<(), Broken> {
    law("padding_changes_nothing", seed, || {
        let trial = Trial::new(head, expected);
        for (place, garbage) in [(3, 1.0f32), (4, 1e4), (5, 1e30), (6, f32::MAX), (7, 0.0)] {
            let (texts, videos) = trial.draw(seed.wrapping_add(place), [4, 3, trial.frames(7).max(3) - 2]);
            let [n_videos, frames, width] = videos.frames.dims();
            let whole = trial.scores(&texts, &videos)?;
            let more = trial.frames(frames + 2) - frames;
            let hidden =
                videos.mask.clone().bool_not().unsqueeze_dim::<3>(2).expand([n_videos, frames, width]);
            let mut padded = videos.frames.mask_fill(hidden, garbage);
            let mut mask = videos.mask;
            if more > 0 {
                let filled = Tensor::<3>::full([n_videos, more, width], garbage, &trial.device);
                let masked = mask_tensor(&vec![vec![false; more]; n_videos], &trial.device);
                padded = Tensor::cat(vec![padded, filled], 1);
                mask = Tensor::cat(vec![mask, masked], 1);
            }
            let found = trial.scores(&texts, &trial.videos_of(padded, mask))?;
            close(&found, &whole, expected.tolerance, || {
                format!("4 texts, 3 videos, {frames} frames and {more} masked ones, {garbage:e} where masked")
            })?;
        }
        Ok(())
    })
}

/// What stands at a masked token changes nothing, nor do more masked tokens: filled with 0, 1, 1e4, 1e30 and the largest
/// number of f32.
///
/// 4 texts of 4 tokens and two more, 3 videos, within the tolerance.
///
/// # Errors
/// [`Broken`] with the first similarity that differs.
pub fn padded_tokens_change_nothing(head: &impl Head, expected: &Expected, seed: u64) -> Result<(), Broken> {
    law("padded_tokens_change_nothing", seed, || {
        let trial = Trial::new(head, expected);
        let (mut texts, videos) = trial.draw(seed.wrapping_add(20), [4, 3, 4]);
        let whole = trial.scores(&texts, &videos)?;
        let Some(tokens) = texts.tokens.take() else { return Ok(()) };
        let [n_texts, n_tokens, width] = tokens.features.dims();
        let hidden = tokens.mask.clone().bool_not().unsqueeze_dim::<3>(2).expand([n_texts, n_tokens, width]);
        let masked = mask_tensor(&vec![vec![false; 2]; n_texts], &trial.device);
        let mask = Tensor::cat(vec![tokens.mask, masked], 1);
        for garbage in [0.0, 1.0, 1e4, 1e30, f32::MAX] {
            let more = Tensor::<3>::full([n_texts, 2, width], garbage, &trial.device);
            let features = tokens.features.clone().mask_fill(hidden.clone(), garbage);
            let features = Tensor::cat(vec![features, more], 1);
            texts.tokens = Some(Tokens { features, mask: mask.clone() });
            close(&trial.scores(&texts, &videos)?, &whole, expected.tolerance, || {
                format!("4 texts, 3 videos, 4 tokens and 2 masked ones, {garbage:e} where masked")
            })?;
        }
        Ok(())
    })
}

/// Frames in another order, in which none stays at its place, have the same similarities, within the tolerance; or,
/// where a head reads them [in time](crate::Needs::in_time), some similarity moves by more than [`Expected::order`].
///
/// 4 texts, 3 videos, 6 frames, of which the first video has all. Steps of experts stay. Not asked of a head that takes one
/// frame.
///
/// # Errors
/// [`Broken`] with the similarity that differs, or with how little they do.
pub fn frames_are_a_set_unless_read_in_time(
    head: &impl Head,
    expected: &Expected,
    seed: u64,
) -> Result<(), Broken> {
    law("frames_are_a_set_unless_read_in_time", seed, || {
        let trial = Trial::new(head, expected);
        let (texts, mut videos) = trial.draw(seed.wrapping_add(19), [4, 3, 6]);
        let [_, frames, _] = videos.frames.dims();
        if frames < 2 {
            return Ok(());
        }
        let real = mask_tensor(&[vec![true; frames]], &trial.device);
        let rest = videos.mask.slice_dim(0, 1..3);
        videos = trial.videos_of(videos.frames, Tensor::cat(vec![real, rest], 0));
        let whole = trial.scores(&texts, &videos)?;
        // Along one cycle, so that no frame stays where it was.
        let cycle = Draw::new(seed).order(frames);
        let mut order = cycle.clone();
        for (place, &frame) in cycle.iter().enumerate() {
            order[frame] = cycle[(place + 1) % frames];
        }
        let places: Vec<i64> = order.iter().map(|&frame| frame as i64).collect();
        let places = Tensor::<1, Int>::from_data(TensorData::new(places, [frames]), &trial.device);
        let moved = VideoFeatures {
            frames: videos.frames.select(1, places),
            mask: select_flags(&videos.mask, 1, &order),
            experts: videos.experts, // other networks' steps stay
        };
        let found = trial.scores(&texts, &moved)?;
        let context = || format!("4 texts, 3 videos, frames in the order {order:?}");
        if !trial.needs.in_time {
            return close(&found, &whole, expected.tolerance, context);
        }
        let apart = found.iter().zip(&whole).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
        if apart > expected.order {
            return Ok(());
        }
        Err(format!(
            "{}: similarities move by {apart:e} at most, but expected more than {:e} of a head in time",
            context(),
            expected.order
        ))
    })
}
