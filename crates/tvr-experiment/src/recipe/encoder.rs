//! The built-in encoders.

use serde::{Deserialize, Serialize};

/// How texts and frames become features.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case", deny_unknown_fields)]
pub enum EncoderRecipe {
    /// The built-in world's CLIP: trained on stills first, then frames come from a cache and the text tower is
    /// trained along; or both towers are (`frames = "trained"`).
    World {
        /// Steps of the towers' pretraining.
        #[serde(default = "pretrain_steps")]
        pretrain_steps: usize,
        /// Of these, the first on sentences that speak of places only. Without them the tower never learns where
        /// things are.
        #[serde(default = "place_steps")]
        place_steps: usize,
        /// Stills in a step of pretraining.
        #[serde(default = "pretrain_batch")]
        pretrain_batch: usize,
        /// Learning rate of pretraining.
        #[serde(default = "pretrain_learning_rate")]
        pretrain_learning_rate: f64,
        /// Seed of the towers.
        #[serde(default)]
        tower_seed: u64,
        /// Whether frame features come from a cache or the image tower is trained too.
        #[serde(default)]
        frames: Frames,
    },
    /// A linear map for each side of a feature file, with dropout before it.
    Projection {
        /// Joint width.
        width: usize,
        /// Share of input values dropped in training, 0..1.
        #[serde(default)]
        dropout: f64,
    },
}

/// Where the world's frame features come from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Frames {
    /// The frozen tower, once.
    #[default]
    Cached,
    /// The tower, in every step, trained along.
    Trained,
}

fn pretrain_steps() -> usize {
    1400
}
fn place_steps() -> usize {
    200
}
fn pretrain_batch() -> usize {
    128
}
fn pretrain_learning_rate() -> f64 {
    2.5e-3
}
