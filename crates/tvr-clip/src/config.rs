//! Sizes of a model, and the presets.

use std::str::FromStr;

use burn::prelude::Device;
use burn::tensor::DType;
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
    /// Width inside a block's perceptron.
    pub hidden: usize,
    /// Activation of the blocks.
    pub activation: Activation,
    /// Added to the variance by every norm.
    pub layer_norm_epsilon: f64,
    /// What a patch sees of a video.
    pub patches: PatchMode,
    /// How the learned patch positions start.
    pub positions: PatchPositions,
}

/// What a patch sees of a video (CLIP4Clip, `--linear_patch`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum PatchMode {
    /// Its own frame, as CLIP.
    #[default]
    #[serde(rename = "2d")]
    Flat,
    /// Its own frame and both neighbours.
    #[serde(rename = "3d")]
    Temporal,
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
    /// Width inside a block's perceptron.
    pub hidden: usize,
    /// Activation of the blocks.
    pub activation: Activation,
    /// Added to the variance by every norm.
    pub layer_norm_epsilon: f64,
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

/// Type of weights in memory, or of a tower's stream. Norms, the softmax of attention and codes are f32 in every case.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Precision {
    /// 32 bits.
    #[default]
    F32,
    /// IEEE half precision.
    F16,
    /// Brain floats.
    Bf16,
}

impl Precision {
    /// The name that `--dtype` takes.
    pub fn name(self) -> &'static str {
        match self {
            Self::F32 => "f32",
            Self::F16 => "f16",
            Self::Bf16 => "bf16",
        }
    }

    /// The type of tensors.
    pub fn dtype(self) -> DType {
        match self {
            Self::F32 => DType::F32,
            Self::F16 => DType::F16,
            Self::Bf16 => DType::BF16,
        }
    }

    /// The type of a tower's stream: its weights', or the half precision that is asked for.
    pub(crate) fn stream(self, weights: DType) -> DType {
        match self {
            Self::F32 => weights,
            half => half.dtype(),
        }
    }
}

impl FromStr for Precision {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut all = [Self::F32, Self::F16, Self::Bf16].into_iter();
        let found = all.find(|precision| precision.name() == text);
        found.ok_or_else(|| format!("{text:?} is no type of weights; it must be f32, f16 or bf16"))
    }
}

impl ClipConfig {
    /// The towers of the built-in world: 32 x 32 images in 16 patches, 0.3 M parameters.
    pub fn world(vocabulary: usize, context: usize) -> Self {
        let mut image = ImageConfig::like_openai(32, 8, 64, 3, 4);
        image.positions = PatchPositions::Waves { amplitude: 0.7 };
        Self { image, text: TextConfig::like_openai(vocabulary, context, 64, 2, 4), joint: 96 }
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
    fn openai([size, patch, width, layers]: [usize; 4], [text, text_layers]: [usize; 2]) -> Self {
        Self {
            image: ImageConfig::like_openai(size, patch, width, layers, width / 64),
            text: TextConfig::like_openai(49_408, 77, text, text_layers, text / 64),
            joint: text,
        }
    }

    /// Checks every setting.
    ///
    /// # Errors
    /// [`ClipError`] names the first setting outside its domain.
    pub fn check(&self) -> Result<(), ClipError> {
        self.image.check()?;
        self.text.check()?;
        above_zero("joint", self.joint)
    }

    /// A model with random weights, all drawn now, in module order: `device.seed(s)` before it fixes them.
    ///
    /// # Errors
    /// [`ClipError`] names the first setting outside its domain.
    pub fn init(&self, device: &Device) -> Result<Clip, ClipError> {
        let clip = self.init_lazy(device)?;
        touch(&clip);
        Ok(clip)
    }

    /// As [`init`](Self::init), but a weight is drawn when it is first read.
    pub(crate) fn init_lazy(&self, device: &Device) -> Result<Clip, ClipError> {
        self.check()?;
        let image = ImageTower::new(&self.image, self.joint, device)?;
        Ok(Clip::new(image, TextTower::new(&self.text, self.joint, device)?, device))
    }
}

impl ImageConfig {
    /// As OpenAI's towers: quick-GELU, four-fold perceptrons, 2d patches.
    fn like_openai(size: usize, patch: usize, width: usize, layers: usize, heads: usize) -> Self {
        Self {
            size,
            patch,
            width,
            layers,
            heads,
            hidden: 4 * width,
            activation: Activation::QuickGelu,
            layer_norm_epsilon: 1e-5,
            patches: PatchMode::Flat,
            positions: PatchPositions::Normal,
        }
    }

    /// Patches of an image, a square number.
    pub fn patch_count(&self) -> usize {
        (self.size / self.patch).pow(2)
    }

    /// Checks every setting.
    ///
    /// # Errors
    /// [`ClipError`] names the first setting outside its domain.
    pub fn check(&self) -> Result<(), ClipError> {
        for (setting, value) in [
            ("image.size", self.size),
            ("image.patch", self.patch),
            ("image.width", self.width),
            ("image.layers", self.layers),
            ("image.hidden", self.hidden),
        ] {
            above_zero(setting, value)?;
        }
        if !self.size.is_multiple_of(self.patch) {
            return Err(ClipError::Patch { size: self.size, patch: self.patch });
        }
        Ok(())
    }

    /// The tower's block.
    pub(crate) fn block(&self) -> BlockConfig {
        BlockConfig {
            width: self.width,
            heads: self.heads,
            hidden: self.hidden,
            layer_norm_epsilon: self.layer_norm_epsilon,
            activation: self.activation,
        }
    }
}

impl TextConfig {
    /// As OpenAI's towers: quick-GELU, four-fold perceptrons, pooled at the largest id.
    fn like_openai(vocabulary: usize, context: usize, width: usize, layers: usize, heads: usize) -> Self {
        Self {
            vocabulary,
            context,
            width,
            layers,
            heads,
            hidden: 4 * width,
            activation: Activation::QuickGelu,
            layer_norm_epsilon: 1e-5,
            eos: EosRule::LargestId,
        }
    }

    /// Checks every setting.
    ///
    /// # Errors
    /// [`ClipError`] names the first setting outside its domain.
    pub fn check(&self) -> Result<(), ClipError> {
        for (setting, value) in [
            ("text.vocabulary", self.vocabulary),
            ("text.context", self.context),
            ("text.width", self.width),
            ("text.layers", self.layers),
            ("text.hidden", self.hidden),
        ] {
            above_zero(setting, value)?;
        }
        Ok(())
    }

    /// The tower's block.
    pub(crate) fn block(&self) -> BlockConfig {
        BlockConfig {
            width: self.width,
            heads: self.heads,
            hidden: self.hidden,
            layer_norm_epsilon: self.layer_norm_epsilon,
            activation: self.activation,
        }
    }
}

fn above_zero(setting: &'static str, value: usize) -> Result<(), ClipError> {
    match value {
        0 => Err(ClipError::Setting { setting, value, domain: "above 0" }),
        _ => Ok(()),
    }
}
