//! The towers' states, layer by layer, against the reference's.

use burn::prelude::*;
use tvr_nn::{linear, unit_rows, widened};

use crate::parity::stage::{Bound, Stage};
use crate::parity::{JPEG_CODE, Session, tolerance};
use crate::pixels::Preprocessor;
use crate::{ClipCheckpoint, ClipError, ImageTower, Precision, TextConfig, TextTower, Tokenizer};

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
        Some(tower) => {
            let side = checkpoint.image_config()?.size;
            Some(image_states(session, tower, side, device, precision)?)
        }
        None => {
            session.leave_out("image tower", "the checkpoint has none");
            None
        }
    };
    let texts = match &text {
        Some(tower) => Some(text_states(session, tower, checkpoint.text_config()?, device, precision)?),
        None => {
            session.leave_out("text tower", "the checkpoint has none");
            None
        }
    };
    match (images, texts, scale) {
        (Some(images), Some(texts), Some(scale)) => {
            let mut stage = Stage::new(session, "logits", scaled(precision));
            stage.add("logit_scale", &values(scale.clone()), None)?;
            let logits = unit_rows(texts).matmul(unit_rows(images).transpose()) * scale.exp().reshape([1, 1]);
            stage.add("logits", &values(logits), None)?;
            stage.done();
        }
        _ => session.leave_out("logits", "the checkpoint has one tower"),
    }
    if let (Some(tower), Some(tokenizer), Ok(config)) = (&text, tokenizer, checkpoint.text_config()) {
        let batch = tokenizer.encode_batch(&session.golden.texts()?, config.context)?;
        let ids = batch.tensor(device);
        // The tower's own rule: a text may have the end's mark inside.
        let lengths = tower.lengths(ids.clone());
        let codes = tower.encode(ids, lengths);
        let mut stage = Stage::new(session, "from words", scaled(precision));
        stage.add("text", &values(codes), None)?;
        stage.done();
    }
    match (&image, preprocessor) {
        (Some(tower), Some(preprocessor)) => {
            let side = checkpoint.image_config()?.size;
            from_pictures(session, tower, side, preprocessor, device, precision)
        }
        _ => Ok(()),
    }
}

/// Both kinds of pictures the whole way, where the folder's pixels are as many as the tower takes.
fn from_pictures(
    session: &mut Session<'_>,
    tower: &ImageTower,
    side: usize,
    preprocessor: &Preprocessor,
    device: &Device,
    precision: Precision,
) -> Result<(), ClipError> {
    const STAGES: [&str; 2] = ["from pictures", "from lossy pictures"];
    let lossy = session.golden.has("other.image");
    if preprocessor.side() != side {
        let cropped = preprocessor.side();
        let reason =
            format!("preprocessor_config.json crops to {cropped} pixels, but the tower takes {side}");
        for stage in &STAGES[..1 + usize::from(lossy)] {
            session.leave_out(stage, &reason);
        }
        return Ok(());
    }
    let codes = tower.encode(preprocessor.batch(&session.golden.pictures("images")?, device));
    let mut stage = Stage::new(session, STAGES[0], scaled(precision));
    stage.add("image", &values(codes), None)?;
    stage.done();
    if lossy {
        let codes = tower.encode(preprocessor.batch(&session.golden.pictures("images_other")?, device));
        let bound = Bound::Scaled { base: tolerance(precision), least: JPEG_CODE };
        let mut stage = Stage::new(session, STAGES[1], bound);
        stage.add("other.image", &values(codes.clone()), None)?;
        stage.add("other.image_normalized", &values(unit_rows(codes)), None)?;
        stage.done();
    }
    Ok(())
}

/// Every state of the image tower from the reference's pixels; returns the codes.
fn image_states(
    session: &mut Session<'_>,
    tower: &ImageTower,
    side: usize,
    device: &Device,
    precision: Precision,
) -> Result<Tensor<2>, ClipError> {
    let golden = session.golden;
    let pixels = golden.rows::<4>("pixel_values", &[3, side, side], device)?;
    let [images, ..] = pixels.dims();
    let mut stage = Stage::new(session, "image tower", scaled(precision));
    stage.add("patch_embed", &values(tower.embed_patches(pixels.clone(), images)), None)?;
    let embedded = tower.embed(pixels.clone(), images);
    stage.add("vision_embed", &values(embedded.clone()), None)?;
    let mut x = tower.pre_norm(embedded);
    stage.add("vision_hidden.0", &values(x.clone()), None)?;
    for (layer, block) in tower.blocks.iter().enumerate() {
        x = block.forward(x, None, false);
        stage.add(&format!("vision_hidden.{}", layer + 1), &values(x.clone()), None)?;
    }
    let normed = tower.post_norm.forward(x);
    let [_, _, width] = normed.dims();
    stage.add("vision_pooled", &values(normed.narrow(1, 0, 1).reshape([images, width])), None)?;
    stage.add("image_tokens", &values(tower.encode_tokens(pixels.clone())), None)?;
    let codes = tower.encode(pixels);
    stage.add("image", &values(codes.clone()), None)?;
    stage.add("image_normalized", &values(unit_rows(codes.clone())), None)?;
    if golden.has("other.pixel_values") {
        let others = tower.encode(golden.rows("other.pixel_values", &[3, side, side], device)?);
        stage.add("other.image", &values(others.clone()), None)?;
        stage.add("other.image_normalized", &values(unit_rows(others)), None)?;
    }
    stage.done();
    Ok(codes)
}

/// Every state of the text tower from the reference's ids; returns the codes.
///
/// The reference hands its blocks the mask of the padding, so they get it here too: then all rows can be compared,
/// those after the end of text included. The tower itself goes without (what stands after the end never reaches a
/// row before it), so its own [`encode_tokens`](TextTower::encode_tokens) is compared up to the end.
fn text_states(
    session: &mut Session<'_>,
    tower: &TextTower,
    config: &TextConfig,
    device: &Device,
    precision: Precision,
) -> Result<Tensor<2>, ClipError> {
    let golden = session.golden;
    let ids = golden.ids(device)?;
    golden.check_ids(config)?;
    let real = golden.real()?;
    let shape = ids.dims();
    let mask = TensorData::new(real.iter().map(|&real| real != 0).collect::<Vec<_>>(), shape);
    let mask = Tensor::<2, Bool>::from_data(mask, device);
    // Ids after the end are the golden tokenizer's, and may be larger than the end's; the checkpoint's own pads with 0.
    let lengths = tower.lengths(ids.clone().mask_fill(mask.clone().bool_not(), 0));
    let mut stage = Stage::new(session, "text tower", scaled(precision));
    let mut x = tower.embed(ids.clone());
    stage.add("text_hidden.0", &values(x.clone()), None)?;
    for (layer, block) in tower.blocks.iter().enumerate() {
        x = block.forward(x, Some(mask.clone()), true);
        stage.add(&format!("text_hidden.{}", layer + 1), &values(x.clone()), None)?;
    }
    let normed = tower.final_norm.forward(x);
    stage.add("text_last", &values(normed.clone()), None)?;
    stage.add("text_tokens", &values(linear(&tower.projection, normed.clone())), None)?;
    stage.add("text_pooled", &values(tvr_nn::block::rows_at(normed, lengths.clone() - 1)), None)?;
    let tokens = tower.encode_tokens(ids.clone(), lengths.clone());
    let up_to_the_end: Vec<i64> = tokens.mask.int().into_data().iter::<i64>().collect();
    stage.add("text_tokens", &values(tokens.states), Some(&up_to_the_end))?;
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

/// Bound of the towers' states.
fn scaled(precision: Precision) -> Bound {
    Bound::Scaled { base: tolerance(precision), least: 0.0 }
}
