//! A split of the built-in world.

use rayon::prelude::*;
use tvr_data::world::CAPTIONS;
use tvr_data::{Split, World};
use tvr_heads::Needs;

use super::{Corpus, FrameRows, Texts, streams};
use crate::error::ExperimentError;
use crate::recipe::{EncoderRecipe, Frames};
use crate::towers::Towers;

/// Opens the first `videos` videos of a split.
pub(super) fn open(
    split: Split,
    videos: usize,
    towers: &Towers,
    encoder: &EncoderRecipe,
    needs: &Needs,
) -> Result<Corpus, ExperimentError> {
    let world = World::default();
    let sentences: Vec<String> = (0..videos * CAPTIONS)
        .into_par_iter()
        .map(|index| world.caption(split, index / CAPTIONS, index % CAPTIONS).text())
        .collect();
    let (features, made_by) = match encoder {
        EncoderRecipe::World { frames: Frames::Trained, .. } => (towers.frame_pixels(split, videos), None),
        _ => (towers.frame_features(split, videos)?, Some(towers.sha256.clone())),
    };
    let encode = |text: &str| towers.token_spans(text);
    let streams = streams::of(&sentences, &needs.streams, encoder.streams(), encode)?;
    Ok(Corpus {
        video_ids: (0..videos).map(|video| format!("{}{video}", split.name())).collect(),
        text_ids: (0..videos * CAPTIONS)
            .map(|text| format!("{}{}-{}", split.name(), text / CAPTIONS, text % CAPTIONS))
            .collect(),
        text_video: (0..videos * CAPTIONS).map(|text| text / CAPTIONS).collect(),
        queries: (0..videos).map(|video| video * CAPTIONS).collect(),
        frames_per_video: features.frames_per_video,
        width: features.width,
        frames: FrameRows::Values(features.values),
        mask: features.mask,
        texts: Texts::Tokens(towers.tokens(&sentences)?),
        sentences,
        streams,
        experts: Vec::new(),
        towers: made_by,
    })
}
