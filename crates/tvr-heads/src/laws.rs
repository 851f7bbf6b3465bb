//! What any head keeps to, as functions that a test of one's own can call.
//!
//! Every function here states one law, draws its features from a seed, and answers `Ok` or [`Broken`]: the law's name
//! and a sentence with what was found and what was expected. [`check`] asks all of them. No law panics; a panic of the
//! head breaks the law that met it. What a head needs ([`Needs`]) it says itself, and the features then have it: tokens,
//! streams, experts, no more frames than it has positions for. What it says there is held against it: who does not
//! [mix items](Needs::mixes_items) may not look at other items, who does not read [time](Needs::in_time) may not look at
//! the order of frames.
//!
//! Numbers are f32, as in training, on the device of the head's parameters, or on burn's default one where it has none.
//! Dropout has to be 0: a law that takes gradients compares two passes. A part whose weights are zero keeps every law; so
//! [`Draw::shake`] a fresh head first, as here.
//!
//! ```
//! use burn::prelude::*;
//! use tvr_heads::laws::{self, Draw, Expected};
//! use tvr_heads::{
//!     Head, MeanPoolingConfig, Needs, Similarity, TextCodes, TextFeatures, VideoCodes, VideoFeatures, cosine,
//! };
//!
//! let device = Device::flex();
//! for seed in 0..3 { // or as an argument of a proptest
//!     let head = MeanPoolingConfig::reference().init(8, &device).unwrap();
//!     laws::check(&Draw::new(seed).shake(head), &Expected::PLAIN, seed).unwrap();
//! }
//!
//! /// The mean of all frames, as if none were padding.
//! #[derive(burn::module::Module, Debug)]
//! struct Unmasked;
//!
//! impl Head for Unmasked {
//!     fn needs(&self) -> Needs {
//!         Needs { frames: true, ..Needs::default() }
//!     }
//!
//!     fn code_videos(&self, videos: VideoFeatures) -> VideoCodes {
//!         VideoCodes::new(tvr_nn::unit_rows(videos.frames.mean_dim(1).squeeze_dim::<2>(1)))
//!     }
//!
//!     fn code_texts(&self, texts: TextFeatures) -> TextCodes {
//!         TextCodes::new(tvr_nn::unit_rows(texts.pooled))
//!     }
//!
//!     fn similarity(&self, texts: &TextCodes, videos: &VideoCodes) -> Similarity {
//!         Similarity::of(cosine(texts, videos))
//!     }
//! }
//!
//! assert_eq!(laws::check(&Unmasked, &Expected::PLAIN, 0).unwrap_err().law, "padding_changes_nothing");
//! ```

mod codes;
mod features;
mod gradients;
mod masks;
mod pairs;

use burn::prelude::*;
use tvr_nn::laws::{device_of, floats};

use crate::features::{TextFeatures, VideoFeatures};
use crate::head::{Head, Needs};
use crate::tiles::{Tile, code_all_texts, code_all_videos, score_all};

pub use codes::{
    broken_features_are_refused_by_name, chunks_give_the_same_codes, extremes_stay_finite,
    shapes_are_texts_by_videos, the_record_restores_the_head,
};
pub use features::{mask_tensor, prefix_mask, text_features, video_features};
pub use gradients::{parts_give_the_gradient_of_the_whole, training_and_inference_agree};
pub use masks::{
    frames_are_a_set_unless_read_in_time, padded_tokens_change_nothing, padding_changes_nothing,
};
pub use pairs::{
    a_batch_of_one_is_a_row_of_many, columns_stay_when_queries_leave, cosines_make_the_similarity,
    one_query_at_a_time_is_the_whole, permuted_captions_permute_rows_only, tiles_give_the_same_scores,
};
pub use tvr_nn::laws::{Broken, Draw};

/// What an author says of a head, beside its [`Needs`].
#[derive(Clone, Debug)]
pub struct Expected {
    /// Width of frames, of texts and of their tokens: what the head was made for.
    pub width: usize,
    /// How far two numbers may be apart that are equal in exact arithmetic: f32 sums of a few hundred terms, in another
    /// order where a matrix is cut. Of similarities as they are; of gradients relative to the largest above 1.
    pub tolerance: f64,
    /// How far the order of frames moves some similarity at least, where the head reads it as time.
    pub order: f64,
}

impl Expected {
    /// A head of width 8 whose similarities are about 1 in size.
    pub const PLAIN: Self = Self { width: 8, tolerance: 1e-5, order: 1e-4 };
}

impl Default for Expected {
    fn default() -> Self {
        Self::PLAIN
    }
}

/// Every law of this module, one after the other. The record is read into the same head with other weights.
///
/// # Errors
/// The first law that is broken.
pub fn check<H: Head>(head: &H, expected: &Expected, seed: u64) -> Result<(), Broken> {
    shapes_are_texts_by_videos(head, expected, seed)?;
    extremes_stay_finite(head, expected, seed)?;
    padding_changes_nothing(head, expected, seed)?;
    padded_tokens_change_nothing(head, expected, seed)?;
    chunks_give_the_same_codes(head, expected, seed)?;
    tiles_give_the_same_scores(head, expected, seed)?;
    a_batch_of_one_is_a_row_of_many(head, expected, seed)?;
    permuted_captions_permute_rows_only(head, expected, seed)?;
    one_query_at_a_time_is_the_whole(head, expected, seed)?;
    columns_stay_when_queries_leave(head, expected, seed)?;
    cosines_make_the_similarity(head, expected, seed)?;
    frames_are_a_set_unless_read_in_time(head, expected, seed)?;
    broken_features_are_refused_by_name(head, expected, seed)?;
    training_and_inference_agree(head, expected, seed)?;
    parts_give_the_gradient_of_the_whole(head, expected, seed)?;
    let other = Draw::new(seed).shake(head.clone());
    the_record_restores_the_head(head, other, expected, seed)
}

/// Texts, videos and frames: unequal numbers of texts and videos, one of each, one frame.
const SIZES: [[usize; 3]; 5] = [[5, 3, 4], [2, 6, 7], [1, 1, 1], [1, 4, 3], [7, 1, 5]];

/// A head before its laws.
struct Trial<'a, H> {
    head: H,
    expected: &'a Expected,
    needs: Needs,
    device: Device,
}

impl<'a, H: Head> Trial<'a, H> {
    fn new(head: &H, expected: &'a Expected) -> Self {
        let device = device_of(head);
        let head = head.valid().to_device(&device);
        let needs = head.needs();
        Self { head, expected, needs, device }
    }

    /// So many frames, or as many as the head takes.
    fn frames(&self, frames: usize) -> usize {
        self.needs.max_frames.map_or(frames, |most| frames.min(most)).max(1)
    }

    /// Features of so many texts, and of so many videos with so many frames, of which at least one is real.
    fn draw(&self, seed: u64, [texts, videos, frames]: [usize; 3]) -> (TextFeatures, VideoFeatures) {
        let (mut draw, width, frames) = (Draw::new(seed), self.expected.width, self.frames(frames));
        let texts = self.texts_of(draw.tensor([texts, width], &self.device));
        let mask = mask_tensor(&prefix_mask(&mut draw, videos, frames), &self.device);
        (texts, self.videos_of(draw.tensor([videos, frames, width], &self.device), mask))
    }

    fn texts_of(&self, pooled: Tensor<2>) -> TextFeatures {
        text_features(pooled, &self.needs)
    }

    fn videos_of(&self, frames: Tensor<3>, mask: Tensor<2, Bool>) -> VideoFeatures {
        video_features(frames, mask, &self.needs)
    }

    /// All pairs, coded and scored at once, row by row.
    fn scores(&self, texts: &TextFeatures, videos: &VideoFeatures) -> Result<Vec<f64>, String> {
        scores(&self.head, texts, videos)
    }
}

fn scores<H: Head>(head: &H, texts: &TextFeatures, videos: &VideoFeatures) -> Result<Vec<f64>, String> {
    let all = Tile { texts: usize::MAX, videos: usize::MAX };
    let said = |error: crate::HeadError| error.to_string();
    let texts = code_all_texts(head, texts, usize::MAX).map_err(said)?;
    let videos = code_all_videos(head, videos, usize::MAX).map_err(said)?;
    Ok(floats(&score_all(head, &texts, &videos, all).map_err(said)?))
}
