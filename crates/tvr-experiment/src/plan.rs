//! The plan: every check that can be made before data is read in full, and every choice written out.

use std::path::{Path, PathBuf};

use burn::prelude::*;
use serde::Serialize;
use tvr_data::{FeatureFile, Split, World};
use tvr_heads::Head;
use tvr_objectives::Objective;

use crate::device;
use crate::error::ExperimentError;
use crate::recipe::{Captions, DataRecipe, EncoderRecipe, OptimizerRecipe, Recipe};

/// What surrounds a run: folders and the device.
#[derive(Clone, Debug)]
pub struct Surroundings {
    /// Where runs are written.
    pub runs: PathBuf,
    /// Where towers and features are cached.
    pub cache: PathBuf,
    /// The device's name, as `--device` takes it.
    pub device: String,
}

impl Default for Surroundings {
    fn default() -> Self {
        Self { runs: "runs".into(), cache: "cache".into(), device: device::DEFAULT_DEVICE.into() }
    }
}

/// A checked recipe with everything resolved.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The recipe.
    pub recipe: Recipe,
    /// The file it came from, for messages.
    pub source: PathBuf,
    /// Folders and device.
    pub surroundings: Surroundings,
    /// The opened device.
    pub device: Device,
    /// Steps of a run.
    pub steps: usize,
    /// Counts of the data.
    pub counts: Counts,
}

/// Counts that a plan knows.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Counts {
    /// Videos of the training split.
    pub train_videos: usize,
    /// Captions of the training split.
    pub train_texts: usize,
    /// Videos of the validation split.
    pub val_videos: usize,
    /// Frames of a video, padding included.
    pub frames: usize,
}

/// Checks a recipe against its surroundings.
///
/// # Errors
/// The first thing that cannot work, with the key to mend.
pub fn plan(recipe: &Recipe, source: &Path, surroundings: &Surroundings) -> Result<Plan, ExperimentError> {
    let named = |error: ExperimentError| match error {
        ExperimentError::Request { message } => {
            ExperimentError::request(format!("{}: {message}", source.display()))
        }
        other => other,
    };
    check(recipe).map_err(named)?;
    let device = device::open(&surroundings.device)?;
    // Building head and objective once checks their settings against the width; no weights are ever drawn.
    let head = recipe.head.init(width(recipe), &device).map_err(named)?;
    let objective = recipe.objective.init(width(recipe), &device).map_err(named)?;
    let counts = count(recipe)?;
    offers(&head, &objective.needs(), counts.frames).map_err(named)?;
    let items = match recipe.train.captions {
        Captions::OnePerVideo => counts.train_videos,
        Captions::All => counts.train_texts,
    };
    for (what, count) in [("train.batch", recipe.train.batch), recipe.objective.remembers()] {
        if count > items {
            return Err(named(ExperimentError::request(format!(
                "{what} = {count}, but the training split has {items}; lower it"
            ))));
        }
    }
    let whole = items / recipe.train.batch * recipe.train.epochs;
    let steps = recipe.train.steps.map_or(whole, |cap| cap.min(whole));
    if steps == 0 {
        return Err(named(ExperimentError::request(
            "train.epochs and train.steps must leave at least one step",
        )));
    }
    Ok(Plan {
        recipe: recipe.clone(),
        source: source.to_path_buf(),
        surroundings: surroundings.clone(),
        device,
        steps,
        counts,
    })
}

impl Plan {
    /// The run folder of a seed.
    pub fn run_folder(&self, seed: u64) -> PathBuf {
        self.surroundings.runs.join(format!("{}-{seed}", self.recipe.name))
    }
}

fn check(recipe: &Recipe) -> Result<(), ExperimentError> {
    let request = |text: String| Err(ExperimentError::request(text));
    if recipe.name.is_empty() || recipe.name.contains(['/', '\\']) || recipe.name.contains("..") {
        return request(format!("name = {:?}, but it must be a plain file name", recipe.name));
    }
    if recipe.seeds.is_empty() {
        return request("seeds is empty; name at least one, as in seeds = [0]".into());
    }
    let train = &recipe.train;
    if train.batch < 2 {
        return request(format!(
            "train.batch = {}, but a contrastive batch must hold at least 2 pairs",
            train.batch
        ));
    }
    if train.clip_norm.is_nan() || train.clip_norm < 0.0 {
        return request(format!(
            "train.clip_norm = {}, but it must be 0 (no clipping) or above",
            train.clip_norm
        ));
    }
    if !(train.initial_scale > 0.0 && train.initial_scale <= 100.0) {
        return request(format!(
            "train.initial_scale = {}, but it must be above 0 and at most 100",
            train.initial_scale
        ));
    }
    let rates = match &train.optimizer {
        OptimizerRecipe::Adamw { learning_rate, tower_learning_rate, warmup_share, .. } => {
            [*learning_rate, tower_learning_rate.unwrap_or(*learning_rate), 1.0 - *warmup_share]
        }
        OptimizerRecipe::BertAdam { learning_rate, warmup_share, .. } => {
            [*learning_rate, *learning_rate, 1.0 - *warmup_share]
        }
    };
    if !rates.iter().all(|rate| *rate > 0.0 && rate.is_finite()) {
        return request("train.optimizer: learning rates must be above 0 and warmup_share below 1".into());
    }
    match (&recipe.data, &recipe.encoder) {
        (
            DataRecipe::World { gallery, .. },
            EncoderRecipe::World { place_steps, pretrain_steps, pretrain_batch, .. },
        ) => {
            if *gallery < 2 || *gallery > World::size(Split::Test) {
                return request(format!(
                    "data.gallery = {gallery}, but it must be from 2 to {}",
                    World::size(Split::Test)
                ));
            }
            if place_steps > pretrain_steps || *pretrain_batch < 2 {
                return request(
                    "encoder: place_steps must be at most pretrain_steps, and pretrain_batch at least 2"
                        .into(),
                );
            }
        }
        (DataRecipe::Features { .. }, EncoderRecipe::Projection { width, dropout }) => {
            if *width == 0 || !(0.0..1.0).contains(dropout) {
                return request(format!(
                    "encoder.width = {width} and encoder.dropout = {dropout}, but they must be above 0 and in 0..1"
                ));
            }
        }
        (DataRecipe::World { .. }, EncoderRecipe::Projection { .. }) => {
            return request("data.kind = \"world\" needs encoder.kind = \"world\"".into());
        }
        (DataRecipe::Features { .. }, EncoderRecipe::World { .. }) => {
            return request("data.kind = \"features\" needs encoder.kind = \"projection\"".into());
        }
    }
    for spec in &recipe.eval.normalize {
        spec.parse::<tvr_normalize::Chain>()
            .map_err(|error| ExperimentError::request(format!("eval.normalize: {error}")))?;
    }
    Ok(())
}

/// The joint width that heads see.
fn width(recipe: &Recipe) -> usize {
    match &recipe.encoder {
        EncoderRecipe::Projection { width, .. } => *width,
        EncoderRecipe::World { .. } => tvr_clip::ClipConfig::world(1, 1).joint,
    }
}

/// Whether encoders and data offer what head and objective need.
fn offers(head: &impl Head, objective: &tvr_objectives::Needs, frames: usize) -> Result<(), ExperimentError> {
    // An objective that holds vectors of earlier items compares them by cosine, and so must the head.
    if objective.codes && head.needs().judges_pairs {
        return Err(ExperimentError::request(
            "objective.queue holds one vector per item, but this [head] judges every pair by itself, and its \
             similarity is no product of two vectors; set objective.queue = 0 and askers = \"batch\", or choose \
             another head",
        ));
    }
    let head = head.needs();
    let missing =
        |what: &str| Err(ExperimentError::request(format!("{what}, which no built-in encoder offers yet")));
    if head.tokens {
        return missing("[head] needs a vector per token");
    }
    if !head.streams.is_empty() || !objective.streams.is_empty() {
        return missing("[head] or [objective] needs text streams");
    }
    if !head.experts.is_empty() {
        return missing("[head] needs experts");
    }
    if objective.captions {
        return missing("[objective] needs caption tokens");
    }
    match head.max_frames {
        Some(most) if most < frames => Err(ExperimentError::request(format!(
            "head.max_frames = {most}, but the data has videos of {frames} frames; raise it"
        ))),
        _ => Ok(()),
    }
}

fn count(recipe: &Recipe) -> Result<Counts, ExperimentError> {
    Ok(match &recipe.data {
        DataRecipe::World { .. } => Counts {
            train_videos: World::size(Split::Train),
            train_texts: World::size(Split::Train) * crate::corpus::WORLD_CAPTIONS,
            val_videos: World::size(Split::Val),
            frames: 8,
        },
        DataRecipe::Features { path } => {
            let set = FeatureFile::open(path).map_err(|error| ExperimentError::work(error.to_string()))?;
            let train = set.part(Split::Train).map_err(|error| ExperimentError::work(error.to_string()))?;
            let val = set.part(Split::Val).map_err(|error| ExperimentError::work(error.to_string()))?;
            Counts {
                train_videos: train.videos.len(),
                train_texts: train.texts.len(),
                val_videos: val.videos.len(),
                frames: set.frames_per_video(),
            }
        }
    })
}
