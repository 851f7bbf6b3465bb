//! Laws of training: the seam of a step, and that a graph changes no value.

use burn::prelude::*;
use burn::tensor::Gradients;
use tvr_nn::laws::{close, floats, law};

use super::{Broken, Draw, Expected, Trial};
use crate::codes::{TextCodes, VideoCodes};
use crate::features::{TextFeatures, VideoFeatures};
use crate::head::Head;

/// On a graph a head has the similarities that it has without one.
///
/// 5 texts, 4 videos, 6 frames, within the tolerance; without dropout.
///
/// # Errors
/// [`Broken`] with the first similarity that differs.
pub fn training_and_inference_agree(head: &impl Head, expected: &Expected, seed: u64) -> Result<(), Broken> {
    law("training_and_inference_agree", seed, || {
        let trial = Trial::new(head, expected);
        let (texts, videos) = trial.draw(seed.wrapping_add(18), [5, 4, 6]);
        let whole = trial.scores(&texts, &videos)?;
        let head = trial.head.clone().train();
        let leaves = Leaves::new(&trial, &texts, &videos);
        let (texts, videos) = (head.code_texts(leaves.all_texts), head.code_videos(leaves.all_videos));
        let found = floats(&head.similarity(&texts, &videos).fused.inner());
        close(&found, &whole, expected.tolerance, || "5 texts, 4 videos, on a graph".into())
    })
}

/// The seam of a training step: texts and videos are coded by parts, the codes of all parts are judged as leaves, and each
/// part is pulled by its share of their gradients. The gradient of the features is that of the whole in one pass, and none
/// of it reaches a masked frame.
///
/// 6 texts, 4 videos, 5 frames in 1, 2 and 4 parts, within the tolerance times the largest slope where that is above 1: a
/// short vector that is brought to unit length has slopes of thousands. Without dropout. Asks everything that a step asks:
/// a code has to hold all that a similarity depends on.
///
/// # Errors
/// [`Broken`] with the first gradient that differs.
pub fn parts_give_the_gradient_of_the_whole(
    head: &impl Head,
    expected: &Expected,
    seed: u64,
) -> Result<(), Broken> {
    law("parts_give_the_gradient_of_the_whole", seed, || {
        let trial = Trial::new(head, expected);
        let (texts, videos) = trial.draw(seed.wrapping_add(16), [6, 4, 5]);
        let head = trial.head.clone().train();
        let weight = Draw::new(seed.wrapping_add(17)).tensor::<2>([6, 4], &trial.device);
        let weight = Tensor::from_inner(weight);
        let leaves = Leaves::new(&trial, &texts, &videos);
        let codes = head.code_videos(leaves.all_videos.clone());
        let similarity = head.similarity(&head.code_texts(leaves.all_texts.clone()), &codes);
        let direct = leaves.gradients((similarity.fused * weight.clone()).sum().backward());
        let largest = direct.iter().flatten().fold(1.0, |largest: f64, slope| largest.max(slope.abs()));
        for parts in [1, 2, 4] {
            let leaves = Leaves::new(&trial, &texts, &videos);
            let text_parts: Vec<TextCodes> =
                starts(6, parts).map(|rows| head.code_texts(leaves.all_texts.rows(rows))).collect();
            let video_parts: Vec<VideoCodes> =
                starts(4, parts).map(|rows| head.code_videos(leaves.all_videos.rows(rows))).collect();
            let text_leaves = TextCodes::cat(text_parts.clone()).map_err(|error| error.to_string())?.leaves();
            let video_leaves =
                VideoCodes::cat(video_parts.clone()).map_err(|error| error.to_string())?.leaves();
            let judged = (head.similarity(&text_leaves, &video_leaves).fused * weight.clone()).sum();
            let mut upstream = judged.backward();
            let text_gradients = text_leaves.gradients(&mut upstream);
            let video_gradients = video_leaves.gradients(&mut upstream);
            let text_pulls = text_parts
                .iter()
                .zip(starts(6, parts))
                .filter_map(|(part, rows)| part.pull(&text_gradients.rows(rows)));
            let video_pulls = video_parts
                .iter()
                .zip(starts(4, parts))
                .filter_map(|(part, rows)| part.pull(&video_gradients.rows(rows)));
            let Some(pull) = text_pulls.chain(video_pulls).reduce(|sum, pull| sum + pull) else {
                return Err(format!("6 texts, 4 videos, {parts} parts: no gradient reaches a code"));
            };
            let found = leaves.gradients(pull.backward());
            for ((found, direct), what) in found.iter().zip(&direct).zip(["texts", "frames"]) {
                close(found, direct, expected.tolerance * largest, || {
                    format!("6 texts, 4 videos, {parts} parts, gradient of the {what}")
                })?;
            }
        }
        let masked = videos.mask.to_data().iter::<bool>().collect::<Vec<_>>();
        for (frame, gradient) in direct[1].chunks(expected.width).enumerate() {
            if let Some(found) = gradient.iter().find(|&&number| number != 0.0 && !masked[frame]) {
                return Err(format!("a masked frame has the gradient {found}, but expected 0"));
            }
        }
        Ok(())
    })
}

/// The rows of each part.
fn starts(items: usize, parts: usize) -> impl Iterator<Item = std::ops::Range<usize>> {
    let chunk = items.div_ceil(parts);
    (0..items).step_by(chunk).map(move |start| start..(start + chunk).min(items))
}

/// Features on a graph, and the tensors that all of them are made of.
struct Leaves {
    pooled: Tensor<2>,
    frames: Tensor<3>,
    all_texts: TextFeatures,
    all_videos: VideoFeatures,
}

impl Leaves {
    fn new<H: Head>(trial: &Trial<'_, H>, texts: &TextFeatures, videos: &VideoFeatures) -> Self {
        let pooled = Tensor::from_inner(texts.pooled.clone()).require_grad();
        let frames = Tensor::from_inner(videos.frames.clone()).require_grad();
        let mask = videos.mask.clone().to_device(&trial.device.clone().autodiff());
        let all_texts = trial.texts_of(pooled.clone());
        let all_videos = trial.videos_of(frames.clone(), mask);
        Self { pooled, frames, all_texts, all_videos }
    }

    /// Of the texts and of the frames; zeros where nothing reaches them.
    fn gradients(&self, gradients: Gradients) -> [Vec<f64>; 2] {
        let count = |dims: &[usize]| vec![0.0; dims.iter().product()];
        [
            self.pooled.grad(&gradients).map_or(count(&self.pooled.dims()), |tensor| floats(&tensor)),
            self.frames.grad(&gradients).map_or(count(&self.frames.dims()), |tensor| floats(&tensor)),
        ]
    }
}
