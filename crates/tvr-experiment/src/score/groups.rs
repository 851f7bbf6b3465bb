//! Which text belongs to which video, from a file: `.npy` or a tensor of whole numbers, or text with one number a line.

use std::path::Path;

use npyz::TypeChar;
use safetensors::Dtype;
use tvr_data::files::unmarked;
use tvr_metrics::Truth;

use super::{Input, matrix};
use crate::error::ExperimentError;
use crate::files;

/// The truth over a matrix `[texts, videos]`: the groups of a file, or the diagonal of a square.
///
/// - `role`: `groups` or `val-groups`, the option that names the file
pub(super) fn truth(
    role: &'static str,
    similarity: &str,
    (texts, videos): (usize, usize),
    groups: Option<&str>,
    inputs: &mut Vec<Input>,
) -> Result<Truth, ExperimentError> {
    let Some(name) = groups else {
        if texts != videos {
            return Err(ExperimentError::request(format!(
                "{similarity} has {texts} texts and {videos} videos; a matrix that is not square needs --{role}, \
                 the video index of every text"
            )));
        }
        return Ok(Truth::diagonal(texts));
    };
    let wrong = |text: String| ExperimentError::work(format!("{name}: {text}"));
    let (path, key) = matrix::file_and_key(name);
    let bytes = files::read(Path::new(&path))?;
    let numbers = match key {
        Some(key) => from_safetensors(name, &bytes, key)?,
        None if bytes.starts_with(b"\x93NUMPY") || name.ends_with(".npy") => from_npy(name, &bytes)?,
        None => from_text(name, &bytes)?,
    };
    if numbers.len() != texts {
        return Err(wrong(format!(
            "{} groups, but {similarity} has {texts} texts; give one for each text",
            numbers.len()
        )));
    }
    let mut video_of = Vec::with_capacity(texts);
    let mut seen = vec![false; videos];
    for (text, &number) in numbers.iter().enumerate() {
        let video = usize::try_from(number).ok().filter(|&video| video < videos).ok_or_else(|| {
            wrong(format!(
                "groups[{text}] = {number}, but {similarity} has {videos} videos; indices count from 0 to {}",
                videos.saturating_sub(1)
            ))
        })?;
        seen[video] = true;
        video_of.push(video);
    }
    if let Some(video) = seen.iter().position(|seen| !seen) {
        return Err(wrong(format!(
            "video {video} of {videos} has no text in the groups; leave its column out of {similarity} and renumber \
             the videos after it"
        )));
    }
    inputs.push(Input { role, path: name.to_owned(), shape: vec![texts], sha256: files::sha256(&bytes) });
    Truth::groups(video_of).map_err(|error| wrong(error.to_string()))
}

/// As a feature file's `text_video`.
fn from_safetensors(name: &str, bytes: &[u8], key: &str) -> Result<Vec<i128>, ExperimentError> {
    let file = matrix::open_safetensors(name, bytes)?;
    match file.tensor(key) {
        Ok(tensor) if tensor.dtype() == Dtype::I64 && tensor.shape().len() == 1 => Ok(tensor
            .data()
            .as_chunks::<8>()
            .0
            .iter()
            .map(|&bytes| i64::from_le_bytes(bytes).into())
            .collect()),
        Ok(tensor) => Err(ExperimentError::work(format!(
            "{name}: the tensor is {} {:?}, but groups must be I64 and 1-D, a video index for each text",
            tensor.dtype(),
            tensor.shape()
        ))),
        Err(_) => Err(ExperimentError::request(format!("{name}: no tensor \"{key}\" in the file"))),
    }
}

fn from_npy(name: &str, bytes: &[u8]) -> Result<Vec<i128>, ExperimentError> {
    let (header, shape, data) = matrix::open_npy(name, bytes)?;
    let kind = matrix::plain(&header);
    let dtype = matrix::dtype_name(&header);
    if shape.len() != 1 {
        return Err(ExperimentError::work(format!(
            "{name}: the array has shape {shape:?}, but groups must be 1-D, a video index for each text"
        )));
    }
    let file = npyz::NpyFile::with_header(header, data);
    let widened = match kind {
        Some((TypeChar::Int, 1)) => file.into_vec::<i8>().map(widen),
        Some((TypeChar::Int, 2)) => file.into_vec::<i16>().map(widen),
        Some((TypeChar::Int, 4)) => file.into_vec::<i32>().map(widen),
        Some((TypeChar::Int, 8)) => file.into_vec::<i64>().map(widen),
        Some((TypeChar::Uint, 1)) => file.into_vec::<u8>().map(widen),
        Some((TypeChar::Uint, 2)) => file.into_vec::<u16>().map(widen),
        Some((TypeChar::Uint, 4)) => file.into_vec::<u32>().map(widen),
        Some((TypeChar::Uint, 8)) => file.into_vec::<u64>().map(widen),
        _ => {
            return Err(ExperimentError::work(format!(
                "{name}: the array holds {dtype}, but groups must be whole numbers, as numpy's int64"
            )));
        }
    };
    widened.map_err(ExperimentError::file(Path::new(name), "read"))
}

fn widen<T: Into<i128>>(values: Vec<T>) -> Vec<i128> {
    values.into_iter().map(Into::into).collect()
}

fn from_text(name: &str, bytes: &[u8]) -> Result<Vec<i128>, ExperimentError> {
    let text = std::str::from_utf8(unmarked(bytes)).map_err(|_| {
        ExperimentError::work(format!("{name}: neither .npy nor text; write one video index a line"))
    })?;
    let number = |(index, line): (usize, &str)| {
        line.trim().parse().map_err(|_| {
            ExperimentError::work(format!(
                "{name}: line {} is \"{}\", but each line must be one whole number, the video of a text",
                index + 1,
                line.trim().chars().take(40).collect::<String>()
            ))
        })
    };
    text.trim_end().lines().enumerate().map(number).collect()
}
