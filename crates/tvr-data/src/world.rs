//! The built-in world: small clips and sentences, drawn on the fly from `(seed, split, index)`.
//!
//! It contains what the papers speak of, at realistic strength: motion whose order matters, hubs, false negatives, a
//! long tail, vague and mistaken captions. It is not a benchmark: an effect here says that code does what a paper's
//! mechanism promises, not how large the effect is elsewhere. Integer arithmetic only, so that every machine draws
//! the same bytes; the order of the draws is part of the format, and a change of it is a new [`WORLD_VERSION`].

mod tables;
mod scene;
mod draw;
mod caption;

use serde::{Deserialize, Serialize};

use crate::random::Rng;
pub use caption::{Sentence, Tag};

/// The version of the world's format; part of every cache key and evaluation card.
pub const WORLD_VERSION: u32 = 1;

/// Side of a frame in pixels.
pub const SIDE: usize = 32;

/// Most frames of a clip.
pub const FRAMES: usize = 8;

/// Captions of a video that are used; more may be drawn.
pub const CAPTIONS: usize = 5;

/// A part of a data set.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Split {
    /// What weights are fitted on.
    Train,
    /// What is chosen on.
    Val,
    /// What is judged on, once.
    Test,
}

impl Split {
    /// `train`, `val` or `test`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Train => "train",
            Self::Val => "val",
            Self::Test => "test",
        }
    }

    fn key(self) -> u64 {
        match self {
            Self::Train => 1,
            Self::Val => 2,
            Self::Test => 3,
        }
    }
}

/// Stills for pretraining have a split of their own.
const PRETRAIN: u64 = 0;

/// Recurring channels have another.
const CHANNEL: u64 = 99;

/// The world of one seed. The default is the one that everything in tvr uses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct World {
    seed: u64,
}

impl Default for World {
    fn default() -> Self {
        Self { seed: 1 }
    }
}

/// A clip.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Clip {
    /// Real frames, u8 `[frames, 32, 32, 3]`.
    pub frames: Vec<u8>,
    /// Number of real frames, 5 to 8.
    pub length: usize,
}

/// A single frame with a sentence that speaks of no motion.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Still {
    /// u8 `[32, 32, 3]`.
    pub pixels: Vec<u8>,
    /// What is to be seen.
    pub caption: String,
    /// Where the only thing is, if there is exactly one.
    pub place: Option<String>,
}

impl World {
    /// The world of a seed.
    pub fn new(seed: u64) -> Self {
        Self { seed }
    }

    /// Videos of a split that are used; any index may be drawn.
    pub fn size(split: Split) -> usize {
        match split {
            Split::Train => 6000,
            Split::Val => 512,
            Split::Test => 1000,
        }
    }

    /// A clip.
    pub fn clip(&self, split: Split, index: usize) -> Clip {
        let semantics = scene::semantics(self.seed, split.key(), index as u64);
        let frames = draw::render(self.seed, split.key(), index as u64, &semantics, None);
        Clip { frames, length: semantics.length }
    }

    /// Real frames of a clip, without drawing it.
    pub fn length(&self, split: Split, index: usize) -> usize {
        scene::semantics(self.seed, split.key(), index as u64).length
    }

    /// Caption `number` of a video.
    pub fn caption(&self, split: Split, index: usize, number: usize) -> Sentence {
        let semantics = scene::semantics(self.seed, split.key(), index as u64);
        let mut random = Rng::new(&[self.seed, split.key(), index as u64, 16 + number as u64]);
        caption::caption(&mut random, &semantics)
    }

    /// Whether a caption's verb tells a clip from the same clip run backwards.
    pub fn order_bearing(&self, split: Split, index: usize, number: usize) -> bool {
        self.caption(split, index, number).order_bearing
    }

    /// A still for pretraining.
    pub fn still(&self, index: usize) -> Still {
        let (semantics, frame, caption, place) = self.still_words(index);
        let pixels = draw::render(self.seed, PRETRAIN, index as u64, &semantics, Some(frame));
        Still { pixels, caption, place }
    }

    /// Whether a still has a place sentence, without drawing it.
    pub fn still_has_place(&self, index: usize) -> bool {
        self.still_words(index).3.is_some()
    }

    fn still_words(&self, index: usize) -> (scene::Semantics, usize, String, Option<String>) {
        let semantics = scene::semantics(self.seed, PRETRAIN, index as u64);
        let mut random = Rng::new(&[self.seed, PRETRAIN, index as u64, 16]);
        let frame = random.below(semantics.length as u64) as usize;
        let (_, sprites) = scene::layout(self.seed, PRETRAIN, index as u64, &semantics);
        let (caption, place) = caption::still(&mut random, &semantics, &sprites, frame);
        (semantics, frame, caption, place)
    }
}
