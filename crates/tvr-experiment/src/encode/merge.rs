//! Shards back to one feature file: what `--shard I/N` shared out.
//!
//! Each shard becomes a part, with its own frames and tokens and without what filled them up, and the parts are joined as
//! those of one run are. So the whole does not depend on the order in which shards are named, and one side of one shard is in
//! memory at a time.

mod checked;

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use safetensors::SafeTensors;

use super::parts::{Kind, Names, Part, Parts};
use super::{Report, Settings, feature_file};
use crate::error::ExperimentError;
use crate::files;
use crate::progress::Events;
use crate::shard::{Shard, ShardFile, in_order};

/// Joins the shards of one `encode` to the file that it would have written without shards.
///
/// # Errors
/// A file that is no shard, a shard that is missing or there twice, shards of different checkpoints or collections; a file that
/// cannot be written.
pub fn merge(shards: &[PathBuf], out: &Path, events: Events<'_>) -> Result<Report, ExperimentError> {
    super::no_folder(out)?;
    let (mut files, mut widths) = (Vec::new(), Vec::new());
    for path in shards {
        let bytes = files::map(path)?;
        widths.push((path, checked::widths(&bytes).map_err(|cause| broken(path, cause))?));
        let (shard, common) = settings(&Content::of(path, &bytes)?)?;
        files.push(ShardFile { path, shard, common });
    }
    let order = in_order(files, |one, other| {
        let words = match one.collection == other.collection {
            true => {
                "were not encoded alike: checkpoint, tokenizer, pixels, --dtype, --patches, texts and pictures must be \
                 the same"
            }
            false => {
                "are shards of different collections: pictures or texts have come or gone; encode all shards of one"
            }
        };
        (one != other).then(|| words.to_owned())
    })?;
    for (side, name) in ["frames", "text"].into_iter().enumerate() {
        let mut known = widths.iter().filter_map(|(path, of)| Some((path, of[side]?)));
        let Some((first, width)) = known.next() else { continue };
        if let Some((path, other)) = known.find(|(_, other)| *other != width) {
            let words = format!("{name} is {other} wide, but {width} in {}", first.display());
            return Err(broken(path, words));
        }
    }
    let Some(first) = order.first() else { return Ok(Report::default()) };
    let settings = Settings { collection: None, ..first.common.clone() };
    // What a joining that was killed has left may be of more shards than these, and is written again.
    let parts = Parts::open(out, &settings, true)?;
    parts.empty()?;
    for (number, ShardFile { path, .. }) in order.into_iter().enumerate() {
        let bytes = files::map(path)?;
        let content = Content::of(path, &bytes)?;
        for kind in [Kind::Frames, Kind::Text] {
            if let Some(part) = part(&content, kind)? {
                parts.write(kind, number, &part)?;
            }
        }
    }
    let sides: [&dyn feature_file::Side; 2] = [&(&parts, Kind::Frames), &(&parts, Kind::Text)];
    let report = feature_file::write(out, sides, &settings, events)?;
    parts.remove()?;
    Ok(report)
}

fn broken(path: &Path, cause: impl std::fmt::Display) -> ExperimentError {
    ExperimentError::work(format!(
        "{}: is no feature file of encode: {cause}; encode the shard again",
        path.display()
    ))
}

/// What a shard's file holds. Its values are read when they are asked for.
struct Content<'a> {
    path: &'a Path,
    metadata: HashMap<String, String>,
    tensors: SafeTensors<'a>,
}

impl<'a> Content<'a> {
    fn of(path: &'a Path, bytes: &'a [u8]) -> Result<Self, ExperimentError> {
        let broken = |cause| broken(path, cause);
        let (_, header) = SafeTensors::read_metadata(bytes).map_err(broken)?;
        let tensors = SafeTensors::deserialize(bytes).map_err(broken)?;
        Ok(Self { path, metadata: header.metadata().clone().unwrap_or_default(), tensors })
    }

    fn has(&self, name: &str) -> bool {
        self.tensors.tensor(name).is_ok()
    }
}

/// Which shard a file is, and what it has in common with the others.
fn settings(content: &Content<'_>) -> Result<(Shard, Settings), ExperimentError> {
    let Content { path, metadata, .. } = content;
    let Some(shard) = metadata.get("shard") else {
        return Err(ExperimentError::request(format!(
            "{}: was encoded without --shard; there is nothing to join it with",
            path.display()
        )));
    };
    let shard = shard.parse::<Shard>().map_err(|cause: String| broken(path, cause))?;
    let text = |key: &str| metadata.get(key).cloned();
    // Of pictures and texts only whether there are any: each shard has its own.
    let settings = Settings {
        schema: "tvr-merge/1".to_owned(),
        encoder: text("encoder").unwrap_or_default(),
        wiring: text("wiring").unwrap_or_default(),
        pixels: text("pixels"),
        precision: text("precision").unwrap_or_default(),
        tokens: content.has("text_tokens"),
        patches: text("tokens_per_frame").and_then(|count| count.parse().ok()),
        skip_bad: true,
        shard: None,
        collection: text("collection"),
        pictures: content.has("frames").then(String::new),
        texts: content.has("text").then(String::new),
    };
    Ok((shard, settings))
}

/// One side of a shard, without padding; `None` where it has none.
fn part(content: &Content<'_>, kind: Kind) -> Result<Option<Part>, ExperimentError> {
    let Content { path, metadata, tensors } = content;
    let names = |key: &str| -> Result<Vec<String>, ExperimentError> {
        let Some(text) = metadata.get(key) else { return Ok(Vec::new()) };
        serde_json::from_str(text).map_err(|cause| broken(path, cause))
    };
    let tensor = |name: &str| tensors.tensor(name).map_err(|cause| broken(path, cause));
    let floats = |name: &str| -> Result<(Vec<f32>, usize), ExperimentError> {
        let view = tensor(name)?;
        let (numbers, _) = view.data().as_chunks::<4>();
        let width = view.shape().last().copied().unwrap_or_default();
        Ok((numbers.iter().map(|&number| f32::from_le_bytes(number)).collect(), width))
    };
    // Real rows come first, and what fills an item up follows them.
    let unpadded = |rows: &str, mask: &str| -> Result<(Vec<usize>, Vec<f32>, usize), ExperimentError> {
        let (values, width) = floats(rows)?;
        let mask = tensor(mask)?;
        let longest = mask.shape().last().copied().unwrap_or_default();
        let counts: Vec<usize> = (mask.data().chunks(longest.max(1)))
            .map(|item| item.iter().filter(|&&real| real == 1).count())
            .collect();
        let items = values.chunks((longest * width).max(1)).zip(&counts);
        let kept = items.flat_map(|(item, count)| item[..(count * width).min(item.len())].iter().copied());
        Ok((counts.clone(), kept.collect(), width))
    };
    match kind {
        Kind::Frames if content.has("frames") => {
            let (counts, rows, width) = unpadded("frames", "mask")?;
            let names = Names { ids: names("video_ids")?, skipped: names("skipped")?, ..Names::default() };
            Ok(Some(Part { names, counts, rows, width, ..Part::default() }))
        }
        Kind::Text if content.has("text") => {
            let (rows, width) = floats("text")?;
            // A file of both lists what was left out once.
            let skipped = if content.has("frames") { Vec::new() } else { names("skipped")? };
            let (ids, videos) = (names("text_ids")?, names("text_videos")?);
            let names = Names { ids, videos, skipped, goes_on: false };
            let counts = vec![1; names.ids.len()];
            let (token_counts, token_rows) = match content.has("text_tokens") {
                true => {
                    let (counts, rows, _) = unpadded("text_tokens", "text_mask")?;
                    (counts, rows)
                }
                false => (Vec::new(), Vec::new()),
            };
            Ok(Some(Part { names, counts, rows, token_counts, token_rows, width }))
        }
        _ => Ok(None),
    }
}
