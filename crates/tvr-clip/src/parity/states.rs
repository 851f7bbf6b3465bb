//! The towers' states, layer by layer, against the reference's.

use burn::prelude::*;
use tvr_nn::{unit_rows, widened};

use crate::parity::golden::largest;
use crate::parity::{JPEG_CODE, Line, Session, tolerance};
use crate::pixels::Preprocessor;
use crate::{ClipCheckpoint, ClipError, ImageTower, Precision, TextTower, Tokenizer};

/// Compares both towers, what lies between them, and the whole way.
pub(super) fn compare(
    session: &mut Session<'_>,
    checkpoint: &ClipCheckpoint,
    device: &Device,
    precision: Precision,
    tokenizer: Option<&Tokenizer>,
    preprocessor: Option<&Preprocessor>,
) -> Result<(), ClipError> {
    let (image, text, scale) = match checkpoint.config() {
        Ok(_) => {
            let clip = checkpoint.load_as(device, precision)?;
            (Some(clip.image), Some(clip.text), Some(clip.logit_scale.val()))
        }
        Err(_) => (
            checkpoint
                .image_config()
                .is_ok()
                .then(|| checkpoint.load_image(device, precision))
                .transpose()?,
            checkpoint.text_config().is_ok().then(|| checkpoint.load_text(device, precision)).transpose()?,
            None,
        ),
    };
    let images = match &image {
        Some(tower) => Some(image_states(session, tower, device, precision)?),
        None => {
            session.leave_out("image tower", "the checkpoint has none");
            None
        }
    };
    let texts = match &text {
        Some(tower) => Some(text_states(session, tower, device, precision)?),
        None => {
            session.leave_out("text tower", "the checkpoint has none");
            None
        }
    };
    match (images, texts, scale) {
        (Some(images), Some(texts), Some(scale)) => {
            let mut stage = Stage::new(session, "logits", precision);
            stage.add("logit_scale", &values(scale.clone()), None)?;
            let logits = unit_rows(texts).matmul(unit_rows(images).transpose()) * scale.exp().reshape([1, 1]);
            stage.add("logits", &values(logits), None)?;
            stage.done();
        }
        _ => session.leave_out("logits", "the checkpoint has one tower"),
    }
    if let (Some(tower), Some(tokenizer), Ok(config)) = (&text, tokenizer, checkpoint.text_config()) {
        let batch = tokenizer.encode_batch(&session.golden.texts()?, config.context)?;
        let codes = tower.encode(batch.tensor(device), batch.lengths_tensor(device));
        let mut stage = Stage::new(session, "from words", precision);
        stage.add("text", &values(codes), None)?;
        stage.done();
    }
    if let (Some(tower), Some(preprocessor)) = (&image, preprocessor) {
        let codes = tower.encode(preprocessor.batch(&session.golden.pictures("images")?, device));
        let mut stage = Stage::new(session, "from pictures", precision);
        stage.add("image", &values(codes), None)?;
        stage.done();
        if session.golden.has("other.image") {
            let codes = tower.encode(preprocessor.batch(&session.golden.pictures("images_other")?, device));
            let mut stage = Stage::new(session, "from lossy pictures", precision);
            stage.least = JPEG_CODE;
            stage.add("other.image", &values(codes), None)?;
            stage.done();
        }
    }
    Ok(())
}

/// Every state of the image tower from the reference's pixels; returns the codes.
fn image_states(
    session: &mut Session<'_>,
    tower: &ImageTower,
    device: &Device,
    precision: Precision,
) -> Result<Tensor<2>, ClipError> {
    let golden = session.golden;
    let pixels = golden.tensor::<4>("pixel_values", device)?;
    let [images, ..] = pixels.dims();
    let mut stage = Stage::new(session, "image tower", precision);
    stage.add("patch_embed", &values(tower.embed_patches(pixels.clone(), images)), None)?;
    let embedded = tower.embed(pixels.clone(), images);
    stage.add("vision_embed", &values(embedded.clone()), None)?;
    let mut x = tower.pre_norm(embedded);
    for (layer, name) in golden.series("vision_hidden.").iter().enumerate() {
        if layer > 0 {
            let Some(block) = tower.blocks.get(layer - 1) else { break };
            x = block.forward(x, None, false);
        }
        stage.add(name, &values(x.clone()), None)?;
    }
    let normed = tower.post_norm.forward(x);
    let [_, _, width] = normed.dims();
    stage.add("vision_pooled", &values(normed.narrow(1, 0, 1).reshape([images, width])), None)?;
    stage.add("image_tokens", &values(tower.encode_tokens(pixels.clone())), None)?;
    let codes = tower.encode(pixels);
    stage.add("image", &values(codes.clone()), None)?;
    stage.add("image_normalized", &values(unit_rows(codes.clone())), None)?;
    stage.done();
    Ok(codes)
}

/// Every state of the text tower from the reference's ids; returns the codes.
fn text_states(
    session: &mut Session<'_>,
    tower: &TextTower,
    device: &Device,
    precision: Precision,
) -> Result<Tensor<2>, ClipError> {
    let golden = session.golden;
    let ids = golden.ids(device)?;
    let lengths = tower.lengths(ids.clone());
    let real = golden.integers("attention_mask")?;
    let mut stage = Stage::new(session, "text tower", precision);
    let mut x = tower.embed(ids.clone());
    for (layer, name) in golden.series("text_hidden.").iter().enumerate() {
        if layer > 0 {
            let Some(block) = tower.blocks.get(layer - 1) else { break };
            x = block.forward(x, None, true);
        }
        stage.add(name, &values(x.clone()), Some(&real))?;
    }
    let normed = tower.final_norm.forward(x);
    stage.add("text_last", &values(normed.clone()), Some(&real))?;
    stage.add("text_pooled", &values(tvr_nn::block::rows_at(normed, lengths.clone() - 1)), None)?;
    let tokens = tower.encode_tokens(ids.clone(), lengths.clone());
    stage.add("text_tokens", &values(tokens.states), Some(&real))?;
    let codes = tower.encode(ids, lengths);
    stage.add("text", &values(codes.clone()), None)?;
    stage.add("text_normalized", &values(unit_rows(codes.clone())), None)?;
    stage.done();
    Ok(codes)
}

/// Values in f32.
fn values<const D: usize>(x: Tensor<D>) -> Vec<f32> {
    widened(x).into_data().iter::<f32>().collect()
}

/// A line in the making: the tensor that is nearest to its tolerance stands for all.
struct Stage<'a, 'b> {
    session: &'a mut Session<'b>,
    /// Tolerance of a state whose largest value is 1.
    base: f64,
    /// Tolerance of every state at least.
    least: f64,
    line: Line,
}

impl<'a, 'b> Stage<'a, 'b> {
    fn new(session: &'a mut Session<'b>, stage: &'static str, precision: Precision) -> Self {
        let base = tolerance(precision);
        let line = Line { stage, tensors: 0, values: 0, worst: String::new(), largest: 0.0, tolerance: base };
        Self { session, base, least: 0.0, line }
    }

    /// Compares one tensor, if the golden folder has it; of `[texts, tokens, width]` only the rows that are real.
    fn add(&mut self, name: &str, found: &[f32], real: Option<&[i64]>) -> Result<(), ClipError> {
        if !self.session.golden.has(name) {
            return Ok(());
        }
        let mut expected = self.session.golden.floats(name)?;
        let mut found = found.to_vec();
        if let Some(real) = real {
            let width = expected.len() / real.len().max(1);
            let kept = |values: &[f32]| -> Vec<f32> {
                let rows = values.chunks(width.max(1)).zip(real).filter(|(_, real)| **real != 0);
                rows.flat_map(|(row, _)| row.iter().copied()).collect()
            };
            // Of another length it is wrong as a whole, and stays so.
            if found.len() == expected.len() {
                (found, expected) = (kept(&found), kept(&expected));
            }
        }
        let error = largest(&found, &expected);
        let size = expected.iter().fold(1.0, |most: f64, value| most.max(f64::from(value.abs())));
        let tolerance = (self.base * size).max(self.least);
        let line = &mut self.line;
        line.tensors += 1;
        line.values += expected.len();
        if line.worst.is_empty() || error / tolerance > line.largest / line.tolerance {
            (line.worst, line.largest, line.tolerance) = (name.to_owned(), error, tolerance);
        }
        Ok(())
    }

    fn done(self) {
        if self.line.tensors > 0 {
            self.session.lines.push(self.line);
        }
    }
}
