//! Pictures to what the image tower takes: exactly the reference's pixels.
//!
//! ```text
//! picture → RGB → bicubic resize of the short side → centre crop → · rescale → (− mean) / std
//! ```
//!
//! "The reference" is two programs that differ in two places ([`Reference`]); a folder of Hugging Face's means the
//! first one. All bytes equal those of Pillow 13, whatever the number of threads.
//!
//! | | Hugging Face (`CLIPImageProcessorPil`) | OpenAI (torchvision on Pillow), OpenCLIP |
//! |---|---|---|
//! | offset of the crop, odd remainder | down | to the even neighbour |
//! | transparent pictures | laid on white, then resized | resized as premultiplied RGBA, alpha then dropped |
//!
//! Sources: transformers 5.23, `CLIPImageProcessorPil`; openai/CLIP, `clip/clip.py`, `_transform`; Pillow 13.
//! As in both, an orientation that a camera noted beside the picture (EXIF) is not applied.
//!
//! ```
//! use tvr_clip::{Picture, PreprocessorConfig, Reference};
//!
//! let preprocessor = PreprocessorConfig::clip(224, Reference::HuggingFace).init()?;
//! let picture = Picture::from_rgb(640, 427, vec![128; 640 * 427 * 3])?;
//! let crop = preprocessor.crop(&picture); // bytes
//! let pixels = preprocessor.normalise(&crop); // [3, 224, 224]
//! assert_eq!((crop.width(), crop.height(), pixels.len()), (224, 224, 3 * 224 * 224));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod alpha;
mod crop;
mod preprocessor_config;
mod resize;

use burn::prelude::*;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};
use tvr_picture::Picture;

pub use preprocessor_config::{PreprocessorConfig, Size};

/// Whose rules hold where the two references differ.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Reference {
    /// `CLIPImageProcessorPil` of transformers.
    HuggingFace,
    /// OpenAI's own transform, which OpenCLIP took over.
    OpenAi,
}

impl Reference {
    /// Its name in words.
    pub fn name(self) -> &'static str {
        match self {
            Self::HuggingFace => "Hugging Face",
            Self::OpenAi => "OpenAI",
        }
    }
}

/// From pictures to pixels. Only [`PreprocessorConfig::init`] makes one, so its settings are valid.
#[derive(Clone, Debug)]
pub struct Preprocessor {
    config: PreprocessorConfig,
    /// What a byte becomes, by band.
    values: [Vec<f32>; 3], // [3, 256]
}

impl Preprocessor {
    fn new(config: PreprocessorConfig) -> Self {
        let values = [0, 1, 2].map(|band| (0..256).map(|byte| config.value(band, byte)).collect());
        Self { config, values }
    }

    /// The settings.
    pub fn config(&self) -> &PreprocessorConfig {
        &self.config
    }

    /// Side of the square that the tower sees, pixels.
    pub fn side(&self) -> usize {
        self.config.crop
    }

    /// Resizes and crops: RGB bytes of `side` x `side`.
    pub fn crop(&self, picture: &Picture) -> Picture {
        let config = &self.config;
        let size = crop::resized(picture, config.size);
        let [columns, rows] = size.map(|length| crop::centre(length, config.crop, config.reference));
        match config.reference {
            Reference::HuggingFace => resize::resize(&picture.on_white(), size, columns, rows),
            // A picture that has the size already is not touched, not even by the way through premultiplied alpha.
            Reference::OpenAi if picture.bands() == 4 && size != [picture.width(), picture.height()] => {
                let resized = resize::resize(&alpha::multiply(picture), size, columns, rows);
                alpha::divide(&resized).opaque().into_owned()
            }
            Reference::OpenAi => resize::resize(&picture.opaque(), size, columns, rows),
        }
    }

    /// Bytes of a [`crop`](Self::crop) to normalised values, `[3, side, side]`.
    pub fn normalise(&self, crop: &Picture) -> Vec<f32> {
        let count = crop.width() * crop.height();
        let mut pixels = vec![0.0; 3 * count];
        let [red, green, blue] = &self.values;
        let (reds, rest) = pixels.split_at_mut(count);
        let (greens, blues) = rest.split_at_mut(count);
        let places = reds.iter_mut().zip(greens).zip(blues).zip(crop.values().chunks_exact(crop.bands()));
        for (((r, g), b), bytes) in places {
            *r = red[usize::from(bytes[0])];
            *g = green[usize::from(bytes[1])];
            *b = blue[usize::from(bytes[2])];
        }
        pixels
    }

    /// Pixels of many pictures, on all cores: `[pictures, 3, side, side]`.
    pub fn batch(&self, pictures: &[Picture], device: &Device) -> Tensor<4> {
        let side = self.side();
        let pixels: Vec<Vec<f32>> =
            pictures.par_iter().map(|picture| self.normalise(&self.crop(picture))).collect();
        Tensor::from_data(TensorData::new(pixels.concat(), [pictures.len(), 3, side, side]), device)
    }
}
