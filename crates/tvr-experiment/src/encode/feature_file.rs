//! Finished parts, or what a store keeps, to one feature file, row by row: nothing but a part is in memory.
//!
//! | tensor | shape | is there |
//! |---|---|---|
//! | `frames`, `mask` | f32 `[videos, frames, width]`, u8 `[videos, frames]` | with pictures; with `--patches`, `frames · patches` in place of `frames` |
//! | `text` | f32 `[captions, width]` | with texts |
//! | `text_video` | i64 `[captions]` | if the texts name videos and all of them are in this file; else a note says why |
//! | `text_tokens`, `text_mask` | f32 `[captions, tokens, width]`, u8 `[captions, tokens]` | with `--tokens` |
//!
//! Metadata: `format`, `encoder`, `wiring` (a hash of what else makes a code: config and tokenizer), `unit_rows`
//! ("false": rows are not of unit length), `pixels` (how they were made), `precision`, `frame_tokens` (that rows are
//! patches) and `tokens_per_frame` (how many to a frame), `shard` and `collection` (SHA-256 of all that is shared out),
//! `video_ids`, `text_ids`, `text_videos` (the video's name for each text), `skipped`.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::io::Write;
use std::path::Path;

use serde_json::json;

use super::parts::{Kind, Part, Parts};
use super::{Report, Settings};
use crate::error::ExperimentError;
use crate::files;
use crate::progress::{Event, Events};

/// What is known before the first value is written.
#[derive(Debug, Default)]
struct Plan {
    ids: Vec<String>,
    videos: Vec<String>,
    skipped: Vec<String>,
    /// Rows of each item, and tokens of each text.
    counts: [Vec<usize>; 2],
    width: usize,
}

/// Which of [`Plan::counts`].
const ROWS: usize = 0;
const TOKENS: usize = 1;

/// Frames or texts that are encoded, in parts of which one is in memory at a time.
pub(super) trait Side {
    /// How many parts there are.
    fn count(&self) -> usize;

    /// One of them.
    fn read(&self, number: usize) -> Result<Part, ExperimentError>;
}

impl Side for (&Parts, Kind) {
    fn count(&self) -> usize {
        self.0.count(self.1)
    }

    fn read(&self, number: usize) -> Result<Part, ExperimentError> {
        self.0.read(self.1, number)
    }
}

impl Plan {
    fn read(side: &dyn Side) -> Result<Self, ExperimentError> {
        let mut plan = Self::default();
        for number in 0..side.count() {
            let Part { names, counts, token_counts, width, .. } = side.read(number)?;
            // An item that began in the part before.
            let begun = usize::from(names.goes_on && names.ids.first() == plan.ids.last());
            if let (1, Some(rows), Some(more)) = (begun, plan.counts[ROWS].last_mut(), counts.first()) {
                *rows += more;
            }
            plan.ids.extend(names.ids.into_iter().skip(begun));
            plan.videos.extend(names.videos);
            plan.skipped.extend(names.skipped);
            plan.counts[ROWS].extend(counts.into_iter().skip(begun));
            plan.counts[TOKENS].extend(token_counts);
            plan.width = plan.width.max(width);
        }
        Ok(plan)
    }

    fn longest(&self, which: usize) -> usize {
        self.counts[which].iter().copied().max().unwrap_or(0)
    }
}

/// Writes the file, whole or not at all.
pub(super) fn write(
    out: &Path,
    [frame_side, text_side]: [&dyn Side; 2],
    settings: &Settings,
    events: Events<'_>,
) -> Result<Report, ExperimentError> {
    let (frames, text) = (Plan::read(frame_side)?, Plan::read(text_side)?);
    // A share may be empty; what all shares make may not.
    if settings.shard.is_none() {
        let empty = |asked: &Option<String>, plan: &Plan| asked.is_some() && plan.ids.is_empty();
        let what = match [empty(&settings.pictures, &frames), empty(&settings.texts, &text)] {
            [false, false] => None,
            [false, true] if settings.pictures.is_some() => {
                Some("no text is left: each, or its video, was bad")
            }
            _ => Some("everything was bad, nothing is left"),
        };
        if let Some(what) = what {
            return Err(ExperimentError::work(format!("{}: {what}", out.display())));
        }
        if let (true, Some(note)) = (settings.pictures.is_some(), unplaced(&frames, &text)) {
            events(Event::Note(note));
        }
    }
    let text_video = text_video(&frames, &text);
    let mut tensors: Vec<(&str, &str, Vec<usize>, usize)> = Vec::new(); // name, type, shape, bytes of a value
    if let Some(text_video) = &text_video {
        tensors.push(("text_video", "I64", vec![text_video.len()], 8));
    }
    if settings.pictures.is_some() {
        tensors.push(("frames", "F32", vec![frames.ids.len(), frames.longest(ROWS), frames.width], 4));
    }
    if settings.texts.is_some() {
        tensors.push(("text", "F32", vec![text.ids.len(), text.width], 4));
    }
    if settings.tokens {
        tensors.push(("text_tokens", "F32", vec![text.ids.len(), text.longest(TOKENS), text.width], 4));
    }
    if settings.pictures.is_some() {
        tensors.push(("mask", "U8", vec![frames.ids.len(), frames.longest(ROWS)], 1));
    }
    if settings.tokens {
        tensors.push(("text_mask", "U8", vec![text.ids.len(), text.longest(TOKENS)], 1));
    }
    let header = header(&tensors, metadata(settings, &frames, &text)?)?;
    files::write_with(out, &mut |file: &mut dyn Write| {
        file.write_all(&header)?;
        for (name, ..) in &tensors {
            match *name {
                "text_video" => {
                    for video in text_video.iter().flatten() {
                        file.write_all(&(*video as i64).to_le_bytes())?;
                    }
                }
                "frames" => ragged(file, frame_side, &frames, ROWS)?,
                "text" => ragged(file, text_side, &text, ROWS)?,
                "text_tokens" => ragged(file, text_side, &text, TOKENS)?,
                "mask" => mask(file, &frames, ROWS)?,
                _ => mask(file, &text, TOKENS)?,
            }
        }
        Ok(())
    })?;
    Ok(Report {
        videos: frames.ids.len(),
        frames: frames.counts[ROWS].iter().sum::<usize>() / settings.patches.unwrap_or(1),
        patches: settings.patches,
        texts: text.ids.len(),
        width: frames.width.max(text.width),
        skipped: [frames.skipped, text.skipped].concat(),
    })
}

/// The row of each text's video, if every text names one and all of them are here.
fn text_video(frames: &Plan, text: &Plan) -> Option<Vec<usize>> {
    if text.ids.is_empty() || text.videos.len() != text.ids.len() {
        return None;
    }
    let rows: HashMap<&str, usize> =
        frames.ids.iter().enumerate().map(|(row, id)| (id.as_str(), row)).collect();
    text.videos.iter().map(|video| rows.get(video.as_str()).copied()).collect()
}

/// Why [`text_video`] is left out, where texts name videos: some of those have no frames here.
fn unplaced(frames: &Plan, text: &Plan) -> Option<String> {
    let here: HashSet<&str> = frames.ids.iter().map(String::as_str).collect();
    let lost = || text.videos.iter().map(String::as_str).filter(|video| !here.contains(video));
    let first = lost().next()?;
    Some(format!(
        "text_video is left out: {} of {} texts are of videos without frames here, {} in all, such as {first:?}; take \
         those texts out, or name the videos as their frames are",
        lost().count(),
        text.ids.len(),
        lost().collect::<HashSet<_>>().len()
    ))
}

fn metadata(
    settings: &Settings,
    frames: &Plan,
    text: &Plan,
) -> Result<BTreeMap<&'static str, String>, ExperimentError> {
    let list = |names: &[String]| {
        serde_json::to_string(names)
            .map_err(|cause| ExperimentError::work(format!("names cannot be JSON: {cause}")))
    };
    let mut entries = BTreeMap::from([
        ("format", "tvr-features/1".to_owned()),
        ("encoder", settings.encoder.clone()),
        ("wiring", settings.wiring.clone()),
        ("unit_rows", "false".to_owned()),
        ("precision", settings.precision.clone()),
        ("video_ids", list(&frames.ids)?),
        ("text_ids", list(&text.ids)?),
    ]);
    let skipped = [frames.skipped.as_slice(), text.skipped.as_slice()].concat();
    for (key, value) in [
        ("pixels", settings.pixels.clone()),
        ("frame_tokens", settings.patches.map(|_| "patches, without the class token".to_owned())),
        ("tokens_per_frame", settings.patches.map(|count| count.to_string())),
        ("shard", settings.shard.map(|shard| shard.to_string())),
        ("collection", settings.collection.clone().filter(|_| settings.shard.is_some())),
        ("text_videos", if text.videos.is_empty() { None } else { Some(list(&text.videos)?) }),
        ("skipped", if skipped.is_empty() { None } else { Some(list(&skipped)?) }),
    ] {
        entries.extend(value.map(|value| (key, value)));
    }
    Ok(entries)
}

/// The head of a safetensors file: its length, then JSON, filled up to whole words.
fn header(
    tensors: &[(&str, &str, Vec<usize>, usize)],
    metadata: BTreeMap<&'static str, String>,
) -> Result<Vec<u8>, ExperimentError> {
    /// What readers of the format accept.
    const LONGEST: usize = 100_000_000;
    let mut entries = serde_json::Map::new();
    entries.insert("__metadata__".to_owned(), json!(metadata));
    let mut end = 0;
    for (name, dtype, shape, size) in tensors {
        let start = end;
        end += shape.iter().product::<usize>() * size;
        let entry = json!({ "dtype": dtype, "shape": shape, "data_offsets": [start, end] });
        entries.insert((*name).to_owned(), entry);
    }
    let mut text = serde_json::to_vec(&entries)
        .map_err(|cause| ExperimentError::work(format!("the head of the file cannot be JSON: {cause}")))?;
    text.resize(text.len().next_multiple_of(8), b' ');
    if text.len() > LONGEST {
        return Err(ExperimentError::request(
            "the names of all items are longer than a safetensors file may say; encode it in shards (--shard I/N)",
        ));
    }
    let mut bytes = (text.len() as u64).to_le_bytes().to_vec();
    bytes.append(&mut text);
    Ok(bytes)
}

/// Rows of every item, or of its tokens, filled up with zeros to the longest.
fn ragged(file: &mut dyn Write, side: &dyn Side, plan: &Plan, which: usize) -> std::io::Result<()> {
    let longest = plan.longest(which);
    let mut counts = plan.counts[which].iter().copied();
    let mut wanted = 0; // rows of the item at hand that are still to come
    let mut filling = 0;
    for number in 0..side.count() {
        let part = side.read(number).map_err(std::io::Error::other)?;
        let mut rows = if which == TOKENS { &part.token_rows[..] } else { &part.rows[..] };
        while !rows.is_empty() {
            if wanted == 0 {
                wanted =
                    counts.next().ok_or_else(|| std::io::Error::other("parts have more rows than items"))?;
                filling = longest - wanted;
            }
            let (own, rest) = rows.split_at(rows.len().min(wanted * part.width));
            rows = rest;
            wanted -= own.len() / part.width;
            let bytes: Vec<u8> = own.iter().flat_map(|value| value.to_le_bytes()).collect();
            file.write_all(&bytes)?;
            if wanted == 0 {
                file.write_all(&vec![0; filling * part.width * 4])?;
            }
        }
    }
    if wanted > 0 || counts.next().is_some() {
        return Err(std::io::Error::other("parts have fewer rows than items"));
    }
    Ok(())
}

/// 1 for each real row.
fn mask(file: &mut dyn Write, plan: &Plan, which: usize) -> std::io::Result<()> {
    let longest = plan.longest(which);
    for &count in &plan.counts[which] {
        let row: Vec<u8> = (0..longest).map(|place| u8::from(place < count)).collect();
        file.write_all(&row)?;
    }
    Ok(())
}
