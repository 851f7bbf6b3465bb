//! Laws of what a head gives: shapes, extremes, codes by chunks, a saved state, and what it is never given.

use burn::prelude::*;
use burn::store::ModuleRecord;
use tvr_nn::laws::{close, floats, law};

use super::{Broken, Expected, SIZES, Trial, mask_tensor};
use crate::error::HeadError;
use crate::features::VideoFeatures;
use crate::head::{Head, Unit};
use crate::tiles::{Tile, code_all_texts, code_all_videos, score_all};

/// As many codes as items, similarities `[texts, videos]`, the same of each stream that [`Head::streams`] names and of no
/// other, `available` `[texts]`; and cosines in [-1, 1] within 1e-5 where the unit is a cosine.
///
/// For all sizes. Asks [`Head::code_texts`], [`Head::code_videos`], [`Head::similarity`], [`Head::streams`] and
/// [`Head::unit`].
///
/// # Errors
/// [`Broken`] with the shape or the cosine.
pub fn shapes_are_texts_by_videos(head: &impl Head, expected: &Expected, seed: u64) -> Result<(), Broken> {
    law("shapes_are_texts_by_videos", seed, || {
        let trial = Trial::new(head, expected);
        for size @ [n_texts, n_videos, frames] in SIZES {
            let (texts, videos) = trial.draw(seed.wrapping_add(1), size);
            let (texts, videos) = (trial.head.code_texts(texts), trial.head.code_videos(videos));
            let context = format!("{n_texts} texts, {n_videos} videos, {frames} frames");
            let same = |what: &str, found: &[usize], expected: &[usize]| match found == expected {
                true => Ok(()),
                false => Err(format!("{context}: {what} {found:?}, but expected {expected:?}")),
            };
            same("codes of texts and videos", &[texts.n_items(), videos.n_items()], &[n_texts, n_videos])?;
            let similarity = trial.head.similarity(&texts, &videos);
            same("the similarity's shape", &similarity.fused.dims(), &[n_texts, n_videos])?;
            let (names, told): (Vec<&str>, _) =
                (similarity.streams.iter().map(|stream| stream.name).collect(), trial.head.streams());
            if names != told {
                return Err(format!("{context}: streams {names:?}, but the head names {told:?}"));
            }
            for stream in similarity.streams {
                let name = stream.name;
                same(&format!("shape of {name:?}"), &stream.similarity.dims(), &[n_texts, n_videos])?;
                same(&format!("availability of {name:?}"), &stream.available.dims(), &[n_texts])?;
            }
            // Written so that NaN fails.
            let outside = |cosine: &f64| !(cosine.abs() <= 1.0 + 1e-5);
            let cosines = floats(&similarity.fused);
            if let Some(found) =
                cosines.into_iter().find(outside).filter(|_| trial.head.unit() == Unit::Cosine)
            {
                return Err(format!("{context}: a cosine is {found}, but expected it in [-1, 1]"));
            }
        }
        Ok(())
    })
}

/// Similarities are finite for features of 0 and of normal numbers times 1e-20, 1e-6, 1e4 and 1e8.
///
/// 3 texts, 4 videos, 5 frames.
///
/// # Errors
/// [`Broken`] with the size at which a number is not finite.
pub fn extremes_stay_finite(head: &impl Head, expected: &Expected, seed: u64) -> Result<(), Broken> {
    law("extremes_stay_finite", seed, || {
        let trial = Trial::new(head, expected);
        let (texts, videos) = trial.draw(seed.wrapping_add(2), [3, 4, 5]);
        for size in [0.0, 1e-20, 1e-6, 1e4, 1e8] {
            let texts = trial.texts_of(texts.pooled.clone() * size);
            let videos = trial.videos_of(videos.frames.clone() * size, videos.mask.clone());
            let found = trial.scores(&texts, &videos)?;
            if let Some(score) = found.iter().find(|score| !score.is_finite()) {
                return Err(format!(
                    "3 texts, 4 videos, features times {size:e}: a similarity is {score}, but expected finite numbers"
                ));
            }
        }
        Ok(())
    })
}

/// A code depends on its own item alone: coded one, two or three at a time, the similarities are those of one piece.
///
/// For all sizes, within the tolerance. Asks [`Head::code_texts`] and [`Head::code_videos`], also of heads that mix items,
/// which do so between codes.
///
/// # Errors
/// [`Broken`] with the first similarity that differs.
pub fn chunks_give_the_same_codes(head: &impl Head, expected: &Expected, seed: u64) -> Result<(), Broken> {
    law("chunks_give_the_same_codes", seed, || {
        let trial = Trial::new(head, expected);
        let said = |error: HeadError| error.to_string();
        for size @ [n_texts, n_videos, frames] in SIZES {
            let (texts, videos) = trial.draw(seed.wrapping_add(8), size);
            let whole = trial.scores(&texts, &videos)?;
            for chunk in [1, 2, 3] {
                let context =
                    || format!("{n_texts} texts, {n_videos} videos, {frames} frames, {chunk} at a time");
                let texts = code_all_texts(&trial.head, &texts, chunk).map_err(said)?;
                let videos = code_all_videos(&trial.head, &videos, chunk).map_err(said)?;
                let items = [texts.n_items(), videos.n_items()];
                if items != [n_texts, n_videos] {
                    return Err(format!("{}: {items:?} codes", context()));
                }
                let found = score_all(&trial.head, &texts, &videos, Tile::DEFAULT).map_err(said)?;
                close(&floats(&found), &whole, expected.tolerance, context)?;
            }
        }
        Ok(())
    })
}

/// A head's record, read into `other` (of the same settings with other weights), gives the head's similarities to the bit.
///
/// 4 texts, 3 videos, 5 frames. Everything that a similarity depends on has to be a parameter, state as well.
///
/// # Errors
/// [`Broken`] with the first similarity that differs, or with what the record said.
pub fn the_record_restores_the_head<H: Head>(
    head: &H,
    other: H,
    expected: &Expected,
    seed: u64,
) -> Result<(), Broken> {
    law("the_record_restores_the_head", seed, || {
        let trial = Trial::new(head, expected);
        let (texts, videos) = trial.draw(seed.wrapping_add(11), [4, 3, 5]);
        let whole = trial.scores(&texts, &videos)?;
        let bytes = head.clone().into_record().into_bytes().map_err(|error| error.to_string())?;
        let record = ModuleRecord::from_bytes(bytes).map_err(|error| error.to_string())?;
        let other = other.try_load_record(record).map_err(|error| error.to_string())?;
        let found = Trial::new(&other, expected).scores(&texts, &videos)?;
        close(&found, &whole, 0.0, || "4 texts, 3 videos, a restored head".into())
    })
}

/// Features that no head can code are refused where they enter, with a message that names the item: a video without a
/// real frame, a NaN in a real frame, an infinite text, a frame too many. The NaN in a masked frame harms nobody.
///
/// 2 texts, 3 videos, 4 frames. Asks [`code_all_videos`] and [`code_all_texts`] with [`Head::needs`].
///
/// # Errors
/// [`Broken`] with the message, or with a similarity that is not finite.
pub fn broken_features_are_refused_by_name(
    head: &impl Head,
    expected: &Expected,
    seed: u64,
) -> Result<(), Broken> {
    law("broken_features_are_refused_by_name", seed, || {
        let trial = Trial::new(head, expected);
        let (texts, videos) = trial.draw(seed.wrapping_add(15), [2, 3, 4]);
        let frames = trial.frames(4);
        let mut mask = vec![vec![true; frames]; 3];
        mask[1].fill(false);
        let silent = VideoFeatures::new(videos.frames.clone(), mask_tensor(&mask, &trial.device));
        refused(
            code_all_videos(&trial.head, &silent, 2),
            "video 1 has no real step: its mask is false everywhere; leave it out",
        )?;
        let mut broken = VideoFeatures::unmasked(videos.frames);
        broken.frames = broken.frames.slice_fill(s![2, frames - 1, 0..1], f32::NAN);
        refused(code_all_videos(&trial.head, &broken, 2), "video 2 has a value that is NaN or infinite")?;
        if frames > 1 {
            let mut mask = vec![vec![true; frames]; 3];
            mask[2][frames - 1] = false;
            let masked = trial.videos_of(broken.frames, mask_tensor(&mask, &trial.device));
            if let Some(found) = trial.scores(&texts, &masked)?.iter().find(|score| !score.is_finite()) {
                return Err(format!("a NaN in a masked frame of video 2: a similarity is {found}"));
            }
        }
        let mut broken = texts;
        broken.pooled = broken.pooled.slice_fill(s![1, 0..1], f32::INFINITY);
        refused(code_all_texts(&trial.head, &broken, 2), "text 1 has a value that is NaN or infinite")?;
        let Some(most) = trial.needs.max_frames else { return Ok(()) };
        let long = VideoFeatures::unmasked(Tensor::ones([1, most + 1, expected.width], &trial.device));
        refused(
            code_all_videos(&trial.head, &long, 1),
            &format!(
                "a video has {} frames, but the head was made for at most {most}; raise max_frames or sample fewer",
                most + 1
            ),
        )
    })
}

fn refused<T>(result: Result<T, HeadError>, expected: &str) -> Result<(), String> {
    let found = match result {
        Ok(_) => "they are taken".to_string(),
        Err(error) => error.to_string(),
    };
    if found == expected { Ok(()) } else { Err(format!("{found:?}, but expected {expected:?}")) }
}
