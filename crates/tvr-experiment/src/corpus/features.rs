//! A split of a feature folder.

use std::path::Path;

use tvr_data::{FeatureFile, Split};

use super::{Corpus, ExpertRows, FrameRows, Texts, streams};
use crate::error::ExperimentError;
use crate::plan::Plan;
use crate::recipe::EncoderRecipe;
use crate::sources::Sources;
use crate::words::Vocabulary;

/// Opens a split: captions as vectors, as words where the encoder takes words, or in a checkpoint's tokens.
pub(super) fn open(
    plan: &Plan,
    folder: &Path,
    split: Split,
    sources: &Sources,
) -> Result<Corpus, ExperimentError> {
    let set = FeatureFile::open(folder).map_err(ExperimentError::because)?;
    let part = set.part(split);
    let mut frames = Vec::new();
    let mut mask = Vec::new();
    for &video in &part.videos {
        frames.extend(set.frames(video).map_err(ExperimentError::because)?);
        mask.extend(set.mask(video));
    }
    let mut experts = Vec::new();
    for expert in set.experts() {
        let (mut values, mut mask) = (Vec::new(), Vec::new());
        for &video in &part.videos {
            values.extend(set.expert(expert, video).map_err(ExperimentError::because)?);
            mask.extend(set.expert_mask(expert, video));
        }
        let (name, steps, width) = (expert.name.clone(), expert.steps, expert.width);
        experts.push(ExpertRows { name, values, mask, steps, width });
    }
    let mut corpus = Corpus {
        video_ids: part.videos.iter().map(|&video| set.video_ids()[video].clone()).collect(),
        text_ids: part.texts.iter().map(|&text| set.text_ids()[text].clone()).collect(),
        text_video: part.text_video.clone(),
        queries: part.queries.clone(),
        frames: FrameRows::Values(frames),
        frames_per_video: set.frames_per_video(),
        width: set.width(),
        mask,
        texts: Texts::Tokens(Vec::new()),
        sentences: Vec::new(),
        streams: Vec::new(),
        experts,
        towers: None,
    };
    match (&plan.recipe.encoder, &sources.pretrained) {
        (EncoderRecipe::Words { least, streams: mode, .. }, _) => {
            let captions = set.captions().map_err(ExperimentError::because)?;
            let words = vocabulary(&set, &captions, *least);
            corpus.sentences = part.texts.iter().map(|&text| captions[text].clone()).collect();
            let encode = |text: &str| Ok(words.encode(text));
            corpus.streams = streams::of(&corpus.sentences, &plan.needs.streams, *mode, encode)?;
            let ids = corpus.sentences.iter().map(|caption| words.encode(caption).0);
            corpus.texts = Texts::Tokens(ids.collect());
        }
        (EncoderRecipe::Clip { streams: mode, .. }, Some(pretrained)) => {
            let captions = set.captions().map_err(ExperimentError::because)?;
            corpus.sentences = part.texts.iter().map(|&text| captions[text].clone()).collect();
            let encode = |text: &str| pretrained.encode_spans(text);
            corpus.streams = streams::of(&corpus.sentences, &plan.needs.streams, *mode, encode)?;
            corpus.texts = Texts::Tokens(pretrained.tokens(&corpus.sentences)?);
        }
        _ => {
            let mut values = Vec::new();
            for &text in &part.texts {
                values.extend(set.text(text).map_err(ExperimentError::because)?);
            }
            corpus.texts = Texts::Features { values, width: set.text_width() };
        }
    }
    corpus.check_experts(&plan.needs)?;
    Ok(corpus)
}

/// The words of the training captions of a feature folder.
pub(crate) fn vocabulary(set: &FeatureFile, captions: &[String], least: usize) -> Vocabulary {
    let train = set.part(Split::Train);
    Vocabulary::learn(train.texts.iter().map(|&text| captions[text].as_str()), least)
}
