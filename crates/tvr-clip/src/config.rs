//! Sizes of a model, and the presets.

use burn::prelude::Device;
use serde::{Deserialize, Serialize};
use tvr_nn::{Activation, BlockConfig, touch};

use crate::{Clip, ClipError, ImageTower, TextTower};

/// Settings of a [`Clip`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ClipConfig {
    /// The image tower.
    pub image: ImageConfig,
    /// The text tower.
    pub text: TextConfig,
    /// Width of the joint space.
    pub joint: usize,
    /// Activation of both towers.
    pub activation: Activation,
    /// Added to the variance by every norm.
    pub layer_norm_epsilon: f64,
}

/// Settings of an [`ImageTower`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ImageConfig {
    /// Side of the image, pixels.
    pub size: usize,
    /// Side of a patch, pixels; divides `size`.
    pub patch: usize,
    /// Width of a token.
    pub width: usize,
    /// Number of blocks.
    pub layers: usize,
    /// Heads of a block.
    pub heads: usize,
    /// How the learned patch positions start.
    pub positions: PatchPositions,
}

/// How learned patch positions start.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PatchPositions {
    /// Normal with standard deviation `width^-0.5`, as CLIP.
    Normal,
    /// Sines and cosines of row and column. The amplitude is ours: a short training learns places only if it can
    /// tell them apart from the first step.
    Waves {
        /// Amplitude of every wave.
        amplitude: f32,
    },
}

/// Settings of a [`TextTower`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TextConfig {
    /// Number of tokens in the vocabulary, marks included.
    pub vocabulary: usize,
    /// Longest text, in tokens, marks included.
    pub context: usize,
    /// Width of a token.
    pub width: usize,
    /// Number of blocks.
    pub layers: usize,
    /// Heads of a block.
    pub heads: usize,
    /// Where the tower pools.
    pub eos: EosRule,
}

/// Where the text tower pools.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EosRule {
    /// At the first of the largest ids, as OpenAI's code.
    LargestId,
    /// At the first token with this id; at the last token if there is none.
    First(u32),
}

impl ClipConfig {
    /// The towers of the built-in world: 32 x 32 images in 16 patches, 0.3 M parameters.
    pub fn world(vocabulary: usize, context: usize) -> Self {
        let waves = PatchPositions::Waves { amplitude: 0.7 };
        Self {
            image: ImageConfig { size: 32, patch: 8, width: 64, layers: 3, heads: 4, positions: waves },
            text: TextConfig { vocabulary, context, width: 64, layers: 2, heads: 4, eos: EosRule::LargestId },
            joint: 96,
            activation: Activation::QuickGelu,
            layer_norm_epsilon: 1e-5,
        }
    }

    /// OpenAI's ViT-B/32.
    pub fn vit_b_32() -> Self {
        Self::openai([224, 32, 768, 12], [512, 12])
    }

    /// OpenAI's ViT-B/16.
    pub fn vit_b_16() -> Self {
        Self::openai([224, 16, 768, 12], [512, 12])
    }

    /// OpenAI's ViT-L/14.
    pub fn vit_l_14() -> Self {
        Self::openai([224, 14, 1024, 24], [768, 12])
    }

    /// OpenAI's ViT-L/14 at 336 pixels.
    pub fn vit_l_14_336() -> Self {
        Self::openai([336, 14, 1024, 24], [768, 12])
    }

    /// Image `[size, patch, width, layers]` and text `[width, layers]`; heads are 64 wide, the joint space is as
    /// wide as the text tower.
    fn openai(image: [usize; 4], text: [usize; 2]) -> Self {
        let [size, patch, width, layers] = image;
        let [text_width, text_layers] = text;
        Self {
            image: ImageConfig {
                size,
                patch,
                width,
                layers,
                heads: width / 64,
                positions: PatchPositions::Normal,
            },
            text: TextConfig {
                vocabulary: 49_408,
                context: 77,
                width: text_width,
                layers: text_layers,
                heads: text_width / 64,
                eos: EosRule::LargestId,
            },
            joint: text_width,
            activation: Activation::QuickGelu,
            layer_norm_epsilon: 1e-5,
        }
    }

    /// Checks every setting.
    ///
    /// # Errors
    /// [`ClipError`] names the first setting outside its domain.
    pub fn check(&self) -> Result<(), ClipError> {
        let (image, text) = (&self.image, &self.text);
        for (setting, value) in [
            ("image.size", image.size),
            ("image.patch", image.patch),
            ("image.width", image.width),
            ("image.layers", image.layers),
            ("text.vocabulary", text.vocabulary),
            ("text.context", text.context),
            ("text.width", text.width),
            ("text.layers", text.layers),
            ("joint", self.joint),
        ] {
            if value == 0 {
                return Err(ClipError::Setting { setting, value, domain: "above 0" });
            }
        }
        if !image.size.is_multiple_of(image.patch) {
            return Err(ClipError::Patch { size: image.size, patch: image.patch });
        }
        Ok(())
    }

    /// A model with random weights, all drawn now, in module order: `device.seed(s)` before it fixes them.
    ///
    /// # Errors
    /// [`ClipError`] names the first setting outside its domain.
    pub fn init(&self, device: &Device) -> Result<Clip, ClipError> {
        self.check()?;
        let clip = Clip::new(ImageTower::new(self, device)?, TextTower::new(self, device)?, device);
        touch(&clip);
        Ok(clip)
    }

    /// The block of a tower.
    pub(crate) fn block(&self, width: usize, heads: usize) -> BlockConfig {
        BlockConfig {
            width,
            heads,
            hidden: 4 * width,
            layer_norm_epsilon: self.layer_norm_epsilon,
            activation: self.activation,
        }
    }
}
