//! The parity certificate: how far a checkpoint in this crate is from the reference, stage by stage.
//!
//! The reference's tensors lie in a golden folder, made beforehand by `scripts/reference/clip.py` with `transformers`:
//! `texts.txt` (a text a line), `images/` (lossless pictures), where JPEG is measured `images_other/`, and
//! `expected.safetensors`. Each stage is fed with the reference's own input, so an error shows where it arises and not
//! only at the end; the last lines go the whole way from words and pictures.
//!
//! | stage | compared | unit | tolerance |
//! |---|---|---|---|
//! | tokenizer | `input_ids` where `attention_mask` is 1, and where that is | ids that differ | 0 |
//! | pixels | `pixels_u8` (Hugging Face's crop), `openai.pixels_u8` (OpenAI's), bytes after resize and crop | levels | 0 |
//! | pixels, lossy | `other.pixels_u8`: JPEG decoders are free to round | levels | 4 |
//! | normalised | `pixel_values`; `other.pixel_values` from the reference's `other.pixels_u8` | absolute | 1e-6 |
//! | towers, logits | every stored state | absolute | 1e-4 · max(1, largest state) in f32; of half precision [`tolerance`] |
//! | end to end | `image`, `text`, and `other.image`, `other.image_normalized` (0.03, for their decoder) | absolute | as towers |
//!
//! Rows of a text after its end depend on whether the blocks are told of the padding. The reference's are, so they are
//! told here too, and every row is compared. Ids after the end are not: they are whatever a tokenizer pads with.
//! A tensor of the golden folder that no stage compares is named in [`Certificate::left_out`], and so are the last lines
//! of pictures where the folder crops them to another side than the tower's.

mod golden;
mod stage;
mod states;

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use burn::prelude::*;
use serde::Serialize;
use tvr_picture::Picture;

pub use golden::Golden;
use stage::{Bound, Stage};

use crate::pixels::{Preprocessor, PreprocessorConfig, Reference};
use crate::{ClipCheckpoint, ClipError, Precision, Tokenizer};

/// Levels by which a JPEG decoder may differ from libjpeg-turbo.
const JPEG_LEVELS: f64 = 4.0;

/// What those levels may do to a code.
const JPEG_CODE: f64 = 0.03;

/// What a certificate says of a checkpoint.
#[derive(Clone, Debug, Serialize)]
pub struct Certificate {
    /// Schema of the JSON: `tvr-parity/1`.
    pub schema: &'static str,
    /// The checkpoint's folder.
    pub weights: PathBuf,
    /// SHA-256 of its weights.
    pub sha256: String,
    /// The golden folder.
    pub golden: PathBuf,
    /// Who made the golden tensors: programs and their versions.
    pub reference: BTreeMap<String, String>,
    /// Name of the device that computed.
    pub device: String,
    /// Type of the weights in memory.
    pub dtype: &'static str,
    /// The stages.
    pub lines: Vec<Line>,
    /// Stages that could not be compared, with the reason.
    pub left_out: Vec<String>,
}

/// One stage.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Line {
    /// Its name.
    pub stage: &'static str,
    /// Tensors compared; one that is reached in two ways counts twice.
    pub tensors: usize,
    /// Values compared.
    pub values: usize,
    /// The tensor with the largest error.
    pub worst: String,
    /// The largest error of all tensors, in the stage's unit.
    pub largest: f64,
    /// The tensor nearest to its own tolerance, or farthest beyond it; large values may err more.
    pub nearest: String,
    /// That tensor's error.
    pub error: f64,
    /// What that tensor's error may be.
    pub tolerance: f64,
}

impl Line {
    /// Whether every tensor is within its tolerance.
    pub fn holds(&self) -> bool {
        self.error <= self.tolerance
    }
}

impl Certificate {
    /// Whether every stage holds, and there is one.
    pub fn holds(&self) -> bool {
        !self.lines.is_empty() && self.lines.iter().all(Line::holds)
    }
}

/// Largest error of a state, for a state whose largest value is 1: of f32 sums, and of half precision's rounding
/// through a tower's blocks, about twice the worst that random towers of two to four blocks show.
pub fn tolerance(precision: Precision) -> f64 {
    match precision {
        Precision::F32 => 1e-4,
        Precision::F16 => 1e-2,
        Precision::Bf16 => 8e-2,
    }
}

/// Runs a checkpoint against a golden folder. `name` is how the device is called.
///
/// # Errors
/// A file that cannot be read, or tensors of the golden folder that do not fit one another or the towers.
pub fn certify(
    checkpoint: &ClipCheckpoint,
    golden: &Golden,
    device: &Device,
    name: &str,
    precision: Precision,
) -> Result<Certificate, ClipError> {
    let mut session = Session { golden, lines: Vec::new(), left_out: Vec::new(), compared: BTreeSet::new() };
    let tokenizer = session.tokenizer(checkpoint)?;
    let preprocessor = session.pixels(checkpoint)?;
    states::compare(&mut session, checkpoint, device, precision, tokenizer.as_ref(), preprocessor.as_ref())?;
    session.name_the_rest();
    Ok(Certificate {
        schema: "tvr-parity/1",
        weights: checkpoint.folder().to_owned(),
        sha256: checkpoint.sha256(),
        golden: golden.folder().to_owned(),
        reference: golden.made_by().clone(),
        device: name.to_owned(),
        dtype: precision.name(),
        lines: session.lines,
        left_out: session.left_out,
    })
}

/// A certificate in the making.
struct Session<'a> {
    golden: &'a Golden,
    lines: Vec<Line>,
    left_out: Vec<String>,
    /// Golden tensors that some stage has compared.
    compared: BTreeSet<String>,
}

impl Session<'_> {
    fn leave_out(&mut self, stage: &str, reason: impl std::fmt::Display) {
        self.left_out.push(format!("{stage}: {reason}"));
    }

    /// Names the golden tensors that no stage has compared.
    fn name_the_rest(&mut self) {
        let names = self.golden.names();
        let rest: Vec<&str> =
            names.iter().map(String::as_str).filter(|name| !self.compared.contains(*name)).collect();
        if !rest.is_empty() {
            self.left_out.push(format!("of {} golden tensors: {}", names.len(), rest.join(", ")));
        }
    }

    fn tokenizer(&mut self, checkpoint: &ClipCheckpoint) -> Result<Option<Tokenizer>, ClipError> {
        const STAGE: &str = "tokenizer";
        let Ok(config) = checkpoint.text_config() else {
            self.leave_out(STAGE, "the checkpoint has no text tower");
            return Ok(None);
        };
        let tokenizer = match checkpoint.tokenizer() {
            Err(error @ ClipError::NoCheckpoint { .. }) => {
                self.leave_out(STAGE, error);
                return Ok(None);
            }
            found => found?,
        };
        let texts = self.golden.texts()?;
        let (ids, mask) = (self.golden.integers("input_ids")?, self.golden.real()?);
        let width = ids.len() / texts.len().max(1);
        let mut differ = 0;
        for (text, (ids, mask)) in texts.iter().zip(ids.chunks(width.max(1)).zip(mask.chunks(width.max(1)))) {
            let found = tokenizer.encode(text, config.context)?;
            let expected: Vec<u32> =
                ids.iter().zip(mask).filter(|(_, real)| **real != 0).map(|(id, _)| *id as u32).collect();
            differ += found.iter().zip(&expected).filter(|(a, b)| a != b).count()
                + found.len().abs_diff(expected.len());
        }
        let mut stage = Stage::new(self, STAGE, Bound::Fixed(0.0));
        stage.error("input_ids", ids.len(), differ as f64);
        stage.done();
        self.compared.insert("attention_mask".to_owned());
        Ok(Some(tokenizer))
    }

    fn pixels(&mut self, checkpoint: &ClipCheckpoint) -> Result<Option<Preprocessor>, ClipError> {
        const STAGE: &str = "pixels, Hugging Face's crop";
        if checkpoint.image_config().is_err() {
            self.leave_out("pixels", "the checkpoint has no image tower");
            return Ok(None);
        }
        let folder = checkpoint.processor();
        if !PreprocessorConfig::is_told(folder) {
            self.leave_out("pixels", "the folder has no preprocessor_config.json");
            return Ok(None);
        }
        let config = PreprocessorConfig::read(folder)?;
        let golden = self.golden;
        let pictures = golden.pictures("images")?;
        let with = |reference| PreprocessorConfig { reference, ..config.clone() }.init();
        let hugging_face = with(Reference::HuggingFace)?;
        self.levels(STAGE, "pixels_u8", &hugging_face, &pictures, 0.0)?;
        let openai = "pixels, OpenAI's crop";
        if self.golden.has("openai.pixels_u8") {
            self.levels(openai, "openai.pixels_u8", &with(Reference::OpenAi)?, &pictures, 0.0)?;
        } else {
            self.leave_out(openai, "the golden folder has no openai.pixels_u8");
        }
        let own = config.init()?;
        // Normalisation is the same for both rules, so it is compared on the pixels that the golden folder has.
        let normalised = |crops: &[Picture]| -> Vec<f32> {
            crops.iter().flat_map(|crop| hugging_face.normalise(crop)).collect()
        };
        let crops: Vec<Picture> = pictures.iter().map(|picture| hugging_face.crop(picture)).collect();
        let mut stage = Stage::new(self, "normalised pixels", Bound::Fixed(1e-6));
        stage.add("pixel_values", &normalised(&crops), None)?;
        if golden.has("other.pixel_values") && golden.has("other.pixels_u8") {
            stage.add("other.pixel_values", &normalised(&golden.crops("other.pixels_u8")?), None)?;
        }
        stage.done();
        if golden.has("other.pixels_u8") {
            let pictures = self.golden.pictures("images_other")?;
            self.levels("pixels, lossy files", "other.pixels_u8", &hugging_face, &pictures, JPEG_LEVELS)?;
        }
        Ok(Some(own))
    }

    /// Bytes after resize and crop, `[images, 3, side, side]`.
    fn levels(
        &mut self,
        stage: &'static str,
        tensor: &str,
        preprocessor: &Preprocessor,
        pictures: &[Picture],
        tolerance: f64,
    ) -> Result<(), ClipError> {
        let expected = self.golden.bytes(tensor)?;
        let mut found = Vec::with_capacity(expected.len());
        for picture in pictures {
            let crop = preprocessor.crop(picture);
            for band in 0..3 {
                found.extend(crop.values().chunks_exact(crop.bands()).map(|pixel| pixel[band]));
            }
        }
        let largest = if found.len() == expected.len() {
            let levels = found.iter().zip(&expected).map(|(a, b)| f64::from(a.abs_diff(*b)));
            levels.fold(0.0, f64::max)
        } else {
            f64::INFINITY
        };
        let mut stage = Stage::new(self, stage, Bound::Fixed(tolerance));
        stage.error(tensor, expected.len(), largest);
        stage.done();
        Ok(())
    }
}
