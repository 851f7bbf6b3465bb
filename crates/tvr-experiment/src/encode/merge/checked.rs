//! What a shard must be, so that the joined file is one that readers open.

use std::collections::HashMap;

use safetensors::tensor::TensorView;
use safetensors::{Dtype, SafeTensors};

/// Widths of frames and of text, of a shard's file whose types, shapes and names are sound; `None` where it has no item.
///
/// # Errors
/// The first thing that is wrong, in words.
pub(super) fn widths(bytes: &[u8]) -> Result<[Option<usize>; 2], String> {
    let (_, header) = SafeTensors::read_metadata(bytes).map_err(|cause| cause.to_string())?;
    let tensors = SafeTensors::deserialize(bytes).map_err(|cause| cause.to_string())?;
    let file = File { metadata: header.metadata().clone().unwrap_or_default(), tensors };
    if file.metadata.get("format").is_none_or(|format| format != "tvr-features/1") {
        return Err("its metadata does not say tvr-features/1".into());
    }
    let mut widths = [None; 2];
    let has = |name: &str| file.tensors.tensor(name).is_ok();
    if !has("frames") && !has("text") {
        return Err("it has neither frames nor text".into());
    }
    if has("frames") {
        let [videos, frames, width] = file.f32s("frames")?;
        widths[0] = (videos > 0).then_some(width);
        file.mask("mask", videos, frames)?;
        file.names("video_ids", videos)?;
        if let Some(patches) = file.metadata.get("tokens_per_frame")
            && !patches.parse().is_ok_and(|count: usize| count > 0 && frames.is_multiple_of(count))
        {
            return Err(format!("tokens_per_frame is {patches:?}, which must divide its {frames} vectors"));
        }
    }
    if has("text") {
        let [texts, width] = file.f32s("text")?;
        widths[1] = (texts > 0).then_some(width);
        file.names("text_ids", texts)?;
        if file.metadata.contains_key("text_videos") {
            file.names("text_videos", texts)?;
        }
        if has("text_tokens") {
            let [rows, tokens, of_token] = file.f32s("text_tokens")?;
            if [rows, of_token] != [texts, width] {
                let shapes = ([rows, tokens, of_token], [texts, width]);
                return Err(format!("text_tokens is {:?}, but text is {:?}", shapes.0, shapes.1));
            }
            file.mask("text_mask", texts, tokens)?;
        }
    }
    Ok(widths)
}

struct File<'a> {
    metadata: HashMap<String, String>,
    tensors: SafeTensors<'a>,
}

impl File<'_> {
    fn tensor(&self, name: &str) -> Result<TensorView<'_>, String> {
        self.tensors.tensor(name).map_err(|_| format!("it has no {name}"))
    }

    /// The shape of a tensor of f32: no items at all, or no axis empty.
    fn f32s<const D: usize>(&self, name: &str) -> Result<[usize; D], String> {
        let tensor = self.tensor(name)?;
        let shape: Option<[usize; D]> = tensor.shape().try_into().ok();
        let sound = |shape: &[usize; D]| shape[0] == 0 || !shape.contains(&0);
        match shape.filter(|shape| tensor.dtype() == Dtype::F32 && sound(shape)) {
            Some(shape) => Ok(shape),
            None => Err(format!(
                "{name} is {} {:?}, but it must be F32 with {D} axes, none empty",
                tensor.dtype(),
                tensor.shape()
            )),
        }
    }

    /// 1 for each real row of an item; they come first, and there is one.
    fn mask(&self, name: &str, items: usize, longest: usize) -> Result<(), String> {
        let tensor = self.tensor(name)?;
        if tensor.dtype() != Dtype::U8 || tensor.shape() != [items, longest] {
            let found = (tensor.dtype(), tensor.shape());
            return Err(format!(
                "{name} is {} {:?}, but it must be U8 {:?}",
                found.0,
                found.1,
                [items, longest]
            ));
        }
        let sound = |row: &[u8]| row[0] == 1 && row.is_sorted_by(|one, next| one >= next && *next <= 1);
        match tensor.data().chunks(longest.max(1)).position(|row| !sound(row)) {
            Some(item) => Err(format!("row {item} of {name} is not ones, at least one, and then zeros")),
            None => Ok(()),
        }
    }

    /// One name for each row.
    fn names(&self, key: &str, rows: usize) -> Result<(), String> {
        let text = self.metadata.get(key).ok_or_else(|| format!("its metadata has no {key}"))?;
        let names: Vec<String> =
            serde_json::from_str(text).map_err(|cause| format!("{key} is no list of names: {cause}"))?;
        if names.len() == rows {
            return Ok(());
        }
        Err(format!("{key} has {} names for {rows} rows", names.len()))
    }
}
