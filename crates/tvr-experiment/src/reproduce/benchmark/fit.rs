//! A recipe on a benchmark and a checkpoint that it was not written for: data, lengths, and what a small one asks for.

use std::path::PathBuf;

use tvr_clip::{ClipCheckpoint, ClipConfig, ImageConfig};
use tvr_data::Sampler;

use super::Size;
use crate::doctor::Benchmark;
use crate::error::ExperimentError;
use crate::recipe::{Captions, DataRecipe, EncoderRecipe, Recipe};

/// CLIP4Clip's words and frames where a caption is a paragraph.
const PARAGRAPH: usize = 64;

/// Whether a benchmark's captions are paragraphs.
fn paragraphs(benchmark: Benchmark) -> bool {
    matches!(benchmark, Benchmark::Didemo | Benchmark::Activitynet)
}

/// CLIP4Clip's frames: one a second, 12 at most, or 64 for paragraphs; of DiDeMo's videos, which may be longer than what
/// is told of them, those of the seconds 0 to 31 (`dataloader_didemo_retrieval.py`).
pub(super) fn sampler(benchmark: Benchmark) -> Sampler {
    match (paragraphs(benchmark), Sampler::clip4clip()) {
        (true, Sampler::Rate { per_second, cut, .. }) => {
            let until = (benchmark == Benchmark::Didemo).then_some(31);
            Sampler::Rate { per_second, frames: PARAGRAPH, cut, until }
        }
        (_, sampler) => sampler,
    }
}

/// Epochs where a benchmark has others than the recipe: EMCL-Net trains 20 on MSVD (jpthu17/EMCL, EMCL-Net's README).
pub(super) fn epochs(recipe: &mut Recipe, benchmark: Benchmark) {
    if (benchmark, recipe.name.as_str()) == (Benchmark::Msvd, "clip-emcl-net") {
        recipe.train.epochs = 20;
    }
}

/// Sets where the videos come from.
pub(super) fn data(recipe: &mut Recipe, manifest: PathBuf, store: PathBuf, sampler: Sampler) {
    recipe.data = DataRecipe::Videos { manifest, store, sampler };
}

/// Fits encoder and batch to the checkpoint and to what there is to train on; what had to change, in words.
pub(super) fn encoder(
    recipe: &mut Recipe,
    checkpoint: &ClipCheckpoint,
    benchmark: Benchmark,
    size: &Size,
) -> Result<Vec<String>, ExperimentError> {
    let mut changes = Vec::new();
    let tower = checkpoint.text_config().map_err(ExperimentError::because)?;
    if let EncoderRecipe::Clip { weights, context, start_from_tower, .. } = &mut recipe.encoder {
        *weights = checkpoint.folder().display().to_string();
        if paragraphs(benchmark) {
            *context = PARAGRAPH;
        }
        if *context > tower.context {
            *context = tower.context;
            changes.push(format!("{context} words a caption, the most that the text tower takes"));
        }
        let mut at_random = |why: String| {
            *start_from_tower = false;
            changes.push(format!("the temporal transformer starts at random: {why}"));
        };
        let temporal = recipe.head.block_heads();
        if !temporal.is_empty() && checkpoint.joint() != tower.width {
            at_random(format!("features are {} wide, the text tower {}", checkpoint.joint(), tower.width));
        } else if let Some(heads) = temporal.iter().find(|heads| **heads != tower.heads) {
            at_random(format!("it has {heads} attention heads, the text tower {}", tower.heads));
        }
    }
    if let Some(bank) = &mut recipe.eval.bank {
        let [texts, videos] = [bank.texts, bank.videos];
        (bank.texts, bank.videos) = (texts.min(size.train_captions), videos.min(size.train));
        if [bank.texts, bank.videos] != [texts, videos] {
            changes.push(format!(
                "a bank of {} captions and {} clips in place of {texts} and {videos}: there are no more",
                bank.texts, bank.videos
            ));
        }
    }
    if recipe.train.batch > size.train_captions {
        let pairs = size.train_captions;
        changes.push(format!(
            "{pairs} pairs a step in place of {}: there are no more captions",
            recipe.train.batch
        ));
        recipe.train.batch = pairs;
        recipe.train.chunk = recipe.train.chunk.min(pairs);
    }
    // A contrastive batch must hold two clips at least, whichever captions come together.
    if recipe.train.captions == Captions::All && recipe.train.batch <= size.most_captions {
        recipe.train.captions = Captions::OnePerVideo;
        recipe.train.batch = recipe.train.batch.min(size.train);
        recipe.train.chunk = recipe.train.chunk.min(size.train);
        changes.push(format!(
            "one caption of each clip in an epoch, {} pairs a step: one clip alone has {}",
            recipe.train.batch, size.most_captions
        ));
    }
    Ok(changes)
}

/// Whether the image tower has the shape of ViT-B/32.
pub(super) fn is_vit_b_32(checkpoint: &ClipCheckpoint) -> bool {
    let shape = |image: &ImageConfig| (image.layers, image.width, image.patch, image.size);
    let known = ClipConfig::vit_b_32();
    checkpoint
        .image_config()
        .is_ok_and(|image| shape(image) == shape(&known.image) && checkpoint.joint() == known.joint)
}

/// The checkpoint in words.
pub(super) fn described(checkpoint: &ClipCheckpoint) -> String {
    let shape = checkpoint.image_config().map_or(String::new(), |image| {
        format!(
            ", image tower {} x {}, patches of {} at {} pixels",
            image.layers, image.width, image.patch, image.size
        )
    });
    format!("{}{shape}, SHA-256 {}", checkpoint.folder().display(), checkpoint.sha256())
}
