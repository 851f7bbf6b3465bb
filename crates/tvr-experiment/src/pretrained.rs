//! `encoder.kind = "clip"`: a checkpoint's towers, its tokenizer, its pixels, and where heads start.

use std::ops::Range;
use std::path::Path;

use burn::module::{Module, Param};
use burn::prelude::*;
use rayon::prelude::*;
use tvr_clip::model::LARGEST_SCALE;
use tvr_clip::saver::{self, Towers};
use tvr_clip::{
    ClipCheckpoint, ClipError, ImageTower, PatchMode, Precision, Preprocessor, PreprocessorConfig, TextTower,
    Tokenizer,
};

use crate::error::ExperimentError;
use crate::files;
use crate::progress::Events;
use crate::recipe::{EncoderRecipe, Frames, TextMode};
use crate::weights;

/// The checkpoint of a recipe. Weights are mapped, and read when a tower is asked for.
#[derive(Debug)]
pub struct Pretrained {
    checkpoint: ClipCheckpoint,
    tokenizer: Tokenizer,
    frames: Frames,
    text: TextMode,
    frozen_blocks: Option<usize>,
    patches: PatchMode,
    context: usize,
}

impl Pretrained {
    /// Opens the checkpoint of a recipe, downloaded where it is a name on the hub; `None` for other encoders.
    ///
    /// # Errors
    /// A checkpoint that is missing, broken or without a text tower; settings that it does not have.
    pub fn open(encoder: &EncoderRecipe, events: Events<'_>) -> Result<Option<Self>, ExperimentError> {
        let EncoderRecipe::Clip { weights, frames, text, frozen_blocks, patches, context, .. } = encoder
        else {
            return Ok(None);
        };
        let named = |error: ClipError| ExperimentError::request(format!("encoder.weights: {error}"));
        let refuse = |reason: String| Err(ExperimentError::request(reason));
        let checkpoint = ClipCheckpoint::open(&weights::folder(weights, events)?).map_err(named)?;
        let tower = checkpoint.text_config().map_err(named)?;
        let (most, mut layers) = (tower.context, tower.layers);
        if !(2..=most).contains(context) {
            return refuse(format!(
                "encoder.context = {context}, but the checkpoint's text tower takes from 2 to {most} tokens"
            ));
        }
        if *frames == Frames::Trained {
            layers = layers.max(checkpoint.image_config().map_err(named)?.layers);
        } else if *patches == PatchMode::Temporal {
            return refuse(
                "encoder.patches = \"3d\" starts equal to 2d and learns from there; use frames = \"trained\""
                    .into(),
            );
        }
        if let Some(blocks) = frozen_blocks.filter(|&blocks| blocks > layers) {
            return refuse(format!(
                "encoder.frozen_blocks = {blocks}, but the deepest trained tower has {layers} blocks"
            ));
        }
        let tokenizer = checkpoint.tokenizer().map_err(named)?;
        Ok(Some(Self {
            checkpoint,
            tokenizer,
            frames: *frames,
            text: *text,
            frozen_blocks: *frozen_blocks,
            patches: *patches,
            context: *context,
        }))
    }

    /// The checkpoint.
    pub fn checkpoint(&self) -> &ClipCheckpoint {
        &self.checkpoint
    }

    /// Its tokenizer.
    pub fn tokenizer(&self) -> &Tokenizer {
        &self.tokenizer
    }

    /// SHA-256 of the towers' settings and of the tokenizer.
    ///
    /// # Errors
    /// Settings that cannot be written out.
    pub(crate) fn wiring(&self) -> Result<String, ExperimentError> {
        wiring(&self.checkpoint, Some(&self.tokenizer))
    }

    /// Attention heads of the text tower.
    ///
    /// # Errors
    /// A checkpoint without a text tower.
    pub fn text_heads(&self) -> Result<usize, ExperimentError> {
        self.checkpoint.text_config().map(|config| config.heads).map_err(ExperimentError::because)
    }

    /// Tokens of the vocabulary.
    pub fn vocabulary(&self) -> usize {
        self.tokenizer.vocabulary()
    }

    /// The scale between cosines and logits; `None` for a text tower alone.
    ///
    /// # Errors
    /// A value that is not finite.
    pub fn scale(&self) -> Result<Option<f64>, ExperimentError> {
        let logarithm = self.checkpoint.logit_scale().map_err(ExperimentError::because)?;
        Ok(logarithm.map(|logarithm| f64::from(logarithm).exp().min(LARGEST_SCALE)))
    }

    /// Ids of a caption between its marks, with the bytes that each stands for.
    ///
    /// # Errors
    /// A caption that the tokenizer refuses.
    pub fn encode_spans(&self, caption: &str) -> Result<(Vec<u32>, Vec<Range<usize>>), ExperimentError> {
        self.tokenizer.encode_spans(caption, self.context).map_err(ExperimentError::because)
    }

    /// Ids of captions between their marks.
    ///
    /// # Errors
    /// As [`encode_spans`](Self::encode_spans).
    pub fn tokens(&self, captions: &[String]) -> Result<Vec<Vec<u32>>, ExperimentError> {
        let encode =
            |caption: &String| self.tokenizer.encode(caption, self.context).map_err(ExperimentError::because);
        captions.par_iter().map(encode).collect()
    }

    /// The text tower in f32, for training.
    ///
    /// # Errors
    /// A weight that is not finite.
    pub fn text_tower(&self, device: &Device) -> Result<TextTower, ExperimentError> {
        let mut tower =
            self.checkpoint.load_text(device, Precision::F32).map_err(ExperimentError::because)?;
        if self.text == TextMode::Frozen {
            return Ok(tower.no_grad());
        }
        if let Some(blocks) = self.frozen_blocks {
            tower.token_embedding = tower.token_embedding.no_grad();
            tower.positions = tower.positions.no_grad();
            tower.blocks = frozen(tower.blocks, blocks);
        }
        Ok(tower)
    }

    /// The image tower in f32, for training; `None` where frames pass a frozen one beforehand.
    ///
    /// # Errors
    /// A weight that is not finite.
    pub fn image_tower(&self, device: &Device) -> Result<Option<ImageTower>, ExperimentError> {
        if self.frames == Frames::Cached {
            return Ok(None);
        }
        let mut tower =
            self.checkpoint.load_image(device, Precision::F32).map_err(ExperimentError::because)?;
        if self.patches == PatchMode::Temporal {
            tower = tower.into_3d();
        }
        if let Some(blocks) = self.frozen_blocks {
            // 3d patches are equal to 2d ones until they are trained; CLIP4Clip freezes nothing at all then.
            if self.patches == PatchMode::Flat {
                tower.patch_embedding = tower.patch_embedding.no_grad();
            }
            tower.class = tower.class.no_grad();
            tower.positions = tower.positions.no_grad();
            tower.pre_norm = tower.pre_norm.no_grad();
            tower.blocks = frozen(tower.blocks, blocks);
        }
        Ok(Some(tower))
    }

    /// Writes towers that were trained as a Hugging Face folder, with the tokenizer and the pixels of the checkpoint;
    /// `false` where none was trained, and for 3d patches, which such a folder cannot hold.
    ///
    /// # Errors
    /// A file that cannot be written.
    pub fn save(
        &self,
        trained: &Trained<'_>,
        folder: &Path,
        device: &Device,
    ) -> Result<bool, ExperimentError> {
        let still = self.text == TextMode::Frozen && self.frames == Frames::Cached;
        if still || self.patches == PatchMode::Temporal {
            return Ok(false);
        }
        let fill = |folder: &Path| {
            match self.checkpoint.config() {
                Ok(config) => {
                    let mut clip = self.checkpoint.load(device)?;
                    clip.text = trained.text.clone();
                    clip.logit_scale = trained.logit_scale.clone();
                    if let Some(image) = trained.image {
                        clip.image = image.clone();
                    }
                    saver::save(Towers::Both(&clip, &config), folder)?;
                }
                Err(_) => saver::save(Towers::Text(trained.text, self.checkpoint.text_config()?), folder)?,
            }
            saver::copy_beside(self.checkpoint.processor(), folder)
        };
        files::write_folder(folder, |fresh| fill(fresh).map_err(ExperimentError::because))?;
        Ok(true)
    }
}

/// Towers of a model, after training.
#[derive(Clone, Copy, Debug)]
pub struct Trained<'a> {
    /// The text tower.
    pub text: &'a TextTower,
    /// The image tower; `None` where frames came from the frozen one.
    pub image: Option<&'a ImageTower>,
    /// Logarithm of the scale between cosines and logits, `[1]`.
    pub logit_scale: &'a Param<Tensor<1>>,
}

/// The first `count` blocks without gradients.
fn frozen<M: Module>(blocks: Vec<M>, count: usize) -> Vec<M> {
    let freeze = |(index, block): (usize, M)| if index < count { block.no_grad() } else { block };
    blocks.into_iter().enumerate().map(freeze).collect()
}

/// How pictures become the pixels that a checkpoint's image tower takes.
///
/// # Errors
/// A checkpoint without an image tower, settings that cannot be read, or pixels of another size.
pub fn preprocessor(checkpoint: &ClipCheckpoint) -> Result<Preprocessor, ClipError> {
    let side = checkpoint.image_config()?.size;
    let folder = checkpoint.processor();
    let preprocessor = PreprocessorConfig::read(folder).and_then(PreprocessorConfig::init)?;
    if preprocessor.side() != side {
        let reason = format!(
            "pictures are cut to {} pixels, but the image tower takes {side}; mend preprocessor_config.json",
            preprocessor.side()
        );
        return Err(ClipError::Format { path: folder.to_owned(), reason });
    }
    Ok(preprocessor)
}

/// What makes a code beside weights and pixels: settings of the towers, and the tokenizer of texts.
pub(crate) fn wiring(
    checkpoint: &ClipCheckpoint,
    tokenizer: Option<&Tokenizer>,
) -> Result<String, ExperimentError> {
    let towers = (checkpoint.image_config().ok(), checkpoint.text_config().ok());
    let towers = serde_json::to_string(&towers)
        .map_err(|cause| ExperimentError::work(format!("the towers' settings cannot be JSON: {cause}")))?;
    let tokenizer =
        tokenizer.map(Tokenizer::to_json).transpose().map_err(ExperimentError::because)?.unwrap_or_default();
    Ok(files::sha256(format!("{towers}\n{tokenizer}").as_bytes()))
}
