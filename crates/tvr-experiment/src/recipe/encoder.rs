//! The built-in encoders.

use serde::{Deserialize, Serialize};
use tvr_clip::{ImageConfig, PatchMode};

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
        /// What stands for a frame; `patches` wants a trained image tower, since the cache has one vector a frame.
        #[serde(default, skip_serializing_if = "FrameTokens::is_class")]
        frame_tokens: FrameTokens,
        /// How a stream of a caption becomes a vector, for heads that ask for streams.
        #[serde(default)]
        streams: StreamMode,
    },
    /// A linear map for each side of a feature file, with dropout before it.
    Projection {
        /// Joint width.
        width: usize,
        /// Share of input values dropped in training, 0..1.
        #[serde(default)]
        dropout: f64,
    },
    /// Captions as words, each with a trained vector, then a linear map; a linear map for the frames of a feature
    /// file. For methods that need tokens, streams or captions on real features.
    Words {
        /// Joint width.
        width: usize,
        /// Width of a word's vector.
        #[serde(default = "embedding")]
        embedding: usize,
        /// A word is known if the training captions hold it this many times.
        #[serde(default = "least")]
        least: usize,
        /// Share of input values of both linear maps dropped in training, 0..1.
        #[serde(default)]
        dropout: f64,
        /// How a stream of a caption becomes a vector, for heads that ask for streams.
        #[serde(default)]
        streams: StreamMode,
    },
    /// The towers of a CLIP checkpoint, over videos, or over a feature file whose frames its own image tower has made
    /// (`cargo xtask encode`). Codes are not normalised, as in CLIP4Clip.
    Clip {
        /// The checkpoint's folder, or its name on the Hugging Face hub (feature `hub`).
        weights: String,
        /// Whether frames go through the frozen image tower once, or through one that is trained along.
        #[serde(default)]
        frames: Frames,
        /// What stands for a frame; over a feature file, what it was encoded with.
        #[serde(default, skip_serializing_if = "FrameTokens::is_class")]
        frame_tokens: FrameTokens,
        /// Whether the text tower is trained along.
        #[serde(default)]
        text: TextMode,
        /// Blocks of a trained tower that stay as they are, counted from its input, with all that comes before the
        /// blocks; absent, everything is trained. CLIP4Clip's `--freeze_layer_num`, 0 in its published commands.
        #[serde(default)]
        frozen_blocks: Option<usize>,
        /// What a patch sees of a video; `3d` starts equal to `2d` and wants a trained image tower.
        #[serde(default)]
        patches: PatchMode,
        /// Longest caption in tokens, marks included; CLIP4Clip's 32, or 64 for paragraphs.
        #[serde(default = "context")]
        context: usize,
        /// Whether positions and blocks of every temporal transformer (seq-transf, tight-transf, those inside conditioned,
        /// token-wise and camoe) start as those of the text tower.
        #[serde(default = "start_from_tower")]
        start_from_tower: bool,
        /// How a stream of a caption becomes a vector, for heads that ask for streams.
        #[serde(default)]
        streams: StreamMode,
    },
}

impl EncoderRecipe {
    /// The name in recipes.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::World { .. } => "world",
            Self::Projection { .. } => "projection",
            Self::Words { .. } => "words",
            Self::Clip { .. } => "clip",
        }
    }

    /// What stands for a frame. An encoder without an image tower takes what its feature file has.
    pub fn frame_tokens(&self) -> FrameTokens {
        match self {
            Self::World { frame_tokens, .. } | Self::Clip { frame_tokens, .. } => *frame_tokens,
            Self::Projection { .. } | Self::Words { .. } => FrameTokens::Class,
        }
    }

    /// How a stream of a caption becomes a vector. An encoder that takes captions as vectors has no streams.
    pub fn streams(&self) -> StreamMode {
        match self {
            Self::World { streams, .. } | Self::Words { streams, .. } | Self::Clip { streams, .. } => {
                *streams
            }
            Self::Projection { .. } => StreamMode::default(),
        }
    }
}

/// Where frame features come from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Frames {
    /// The frozen tower, once.
    #[default]
    Cached,
    /// The tower, in every step, trained along.
    Trained,
}

/// What stands for a frame where heads take frames.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum FrameTokens {
    /// The class token's code: one vector.
    #[default]
    Class,
    /// The codes of its patches, each of which then is a small frame: `[videos, frames · patches, width]`.
    Patches,
}

impl FrameTokens {
    /// Whether it is the usual vector; then it is not written out, and a recipe keeps its hash.
    fn is_class(&self) -> bool {
        *self == Self::Class
    }

    /// Patches of a frame of such a tower, where they stand for it.
    pub fn of(self, image: &ImageConfig) -> Option<usize> {
        (self == Self::Patches).then(|| image.patch_count())
    }
}

/// What becomes of a text tower in training.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum TextMode {
    /// It is trained along.
    #[default]
    Trained,
    /// It stays as it is.
    Frozen,
}

/// How a stream of a caption (its nouns, its verbs, ...) becomes a vector.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum StreamMode {
    /// The mean over the states of its words in the whole caption, which is encoded once.
    #[default]
    Mask,
    /// Its words, joined by blanks, through the same encoder.
    ReEncode,
    /// `a video of {words}` through the same encoder.
    Prompt,
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
fn context() -> usize {
    32
}
fn start_from_tower() -> bool {
    true
}
fn embedding() -> usize {
    256
}
fn least() -> usize {
    3
}
