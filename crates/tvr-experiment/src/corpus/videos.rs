//! A split of a list of videos.

use tvr_data::Split;

use super::{Corpus, Texts, streams};
use crate::clips::Clips;
use crate::error::ExperimentError;
use crate::plan::Plan;
use crate::pretrained::Pretrained;

/// Opens a split: captions in the checkpoint's tokens, frames or their features as they lie in the store. A video's first
/// caption is its query.
pub(super) fn open(
    plan: &Plan,
    clips: &Clips,
    pretrained: &Pretrained,
    split: Split,
) -> Result<Corpus, ExperimentError> {
    let entries = clips.entries(split);
    let (mut text_ids, mut text_video, mut queries, mut sentences) = (vec![], vec![], vec![], vec![]);
    for (video, entry) in entries.iter().enumerate() {
        queries.push(sentences.len());
        for (number, caption) in entry.captions.iter().enumerate() {
            text_ids.push(format!("{}#{number}", entry.id));
            text_video.push(video);
            sentences.push(caption.clone());
        }
    }
    let mode = plan.recipe.encoder.streams();
    let (frames, mask, width) = clips.rows(&entries)?;
    Ok(Corpus {
        video_ids: entries.iter().map(|entry| entry.id.clone()).collect(),
        text_ids,
        text_video,
        queries,
        frames,
        frames_per_video: clips.vectors(),
        width,
        mask,
        texts: Texts::Tokens(pretrained.tokens(&sentences)?),
        streams: streams::of(&sentences, &plan.needs.streams, mode, |text| pretrained.encode_spans(text))?,
        sentences,
        experts: Vec::new(),
        towers: None,
    })
}
