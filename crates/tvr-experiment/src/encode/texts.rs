//! Captions to codes: reads a file line by line, groups texts of one length, runs the text tower.

use std::collections::HashMap;
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::time::Instant;

use burn::prelude::*;
use serde::Deserialize;
use tvr_clip::{ClipError, TextTower, TokenBatch};
use tvr_data::files::unmarked;

use super::parts::{Kind, Part, Parts};
use super::{Job, Pace, share};
use crate::error::ExperimentError;
use crate::files;
use crate::progress::Events;
use crate::shard::Shard;

/// Texts of a part.
const PART: usize = 1024;

/// A file of texts: `.txt` with one a line, or `.jsonl`.
#[derive(Debug)]
pub(super) struct Texts {
    path: PathBuf,
    /// Lines that are in no file.
    lines_of_list: Option<String>,
    json: bool,
    /// The lines of this shard.
    lines: Range<usize>,
    digest: String,
}

/// A line of a `.jsonl` file.
#[derive(Debug, Deserialize)]
#[serde(expecting = "an object with text")]
struct Caption {
    text: String,
    id: Option<String>,
    video: Option<String>,
}

/// Cuts texts into ids.
pub(super) type Tokenize<'a> = &'a dyn Fn(&[String]) -> Result<TokenBatch, ClipError>;

impl Texts {
    /// Reads the file once: how many lines it has, and whether each of them is a caption.
    pub fn open(path: &Path, shard: Option<Shard>, skip_bad: bool) -> Result<Self, ExperimentError> {
        let json = match path.extension().map(|ending| ending.to_string_lossy().to_lowercase()).as_deref() {
            Some("jsonl") => true,
            Some("txt") => false,
            _ => {
                return Err(ExperimentError::request(format!(
                    "--texts {}: it must end in .txt (one text a line) or .jsonl",
                    path.display()
                )));
            }
        };
        let digest = files::sha256_of_file(path)?;
        let texts =
            Self { path: path.to_path_buf(), lines_of_list: None, json, lines: 0..usize::MAX, digest };
        texts.checked(shard, skip_bad)
    }

    /// Captions of a list of videos, one JSON a line; a shard of the list may have none.
    pub fn of_list(list: &Path, lines: String) -> Result<Self, ExperimentError> {
        let digest = files::sha256(lines.as_bytes());
        let count = if lines.is_empty() { 0 } else { usize::MAX };
        let (path, lines_of_list) = (list.to_path_buf(), Some(lines));
        let texts = Self { path, lines_of_list, json: true, lines: 0..count, digest };
        if texts.is_empty() { Ok(texts) } else { texts.checked(None, false) }
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.lines.is_empty()
    }

    fn checked(mut self, shard: Option<Shard>, skip_bad: bool) -> Result<Self, ExperimentError> {
        let texts = &self;
        let (mut count, mut good, mut with_video) = (0, 0, 0);
        let mut lines = HashMap::new();
        for caption in texts.read()? {
            count += 1;
            match caption? {
                Ok(caption) => {
                    good += 1;
                    with_video += usize::from(caption.video.is_some());
                    let id = caption.id.unwrap_or_default();
                    if let Some(first) = lines.get(&id) {
                        return Err(ExperimentError::work(format!(
                            "{}: line {count} has the id {id:?}, as line {first} has; give each text its own",
                            texts.path.display()
                        )));
                    }
                    lines.insert(id, count);
                }
                Err(reason) if !skip_bad => {
                    return Err(ExperimentError::work(format!(
                        "{reason}; mend the line, or give --skip-bad"
                    )));
                }
                Err(_) => {}
            }
        }
        if count == 0 {
            return Err(ExperimentError::work(format!("{}: there is no text in it", texts.path.display())));
        }
        if with_video > 0 && with_video < good {
            return Err(ExperimentError::work(format!(
                "{}: {} of {good} lines name no video; name one in every line, or in none",
                texts.path.display(),
                good - with_video
            )));
        }
        self.lines = share(count, shard);
        if let (true, Some(shard)) = (self.lines.is_empty(), shard) {
            return Err(ExperimentError::request(format!(
                "--shard {shard}: of {count} texts none is left for it; take fewer shards"
            )));
        }
        Ok(self)
    }

    /// SHA-256 of the lines.
    pub fn digest(&self) -> &str {
        &self.digest
    }

    /// Every line of the shard: a caption, or why it is none.
    fn read(
        &self,
    ) -> Result<impl Iterator<Item = Result<Result<Caption, String>, ExperimentError>>, ExperimentError> {
        let lines: Box<dyn BufRead + '_> = match &self.lines_of_list {
            Some(lines) => Box::new(lines.as_bytes()),
            None => {
                let file = File::open(&self.path).map_err(ExperimentError::file(&self.path, "read"))?;
                Box::new(BufReader::new(file))
            }
        };
        let lines = lines.split(b'\n').enumerate();
        let lines = lines.skip(self.lines.start).take(self.lines.len());
        Ok(lines.map(move |(index, line)| {
            let line = line.map_err(ExperimentError::file(&self.path, "read"))?;
            Ok(self
                .caption(index, line)
                .map_err(|problem| format!("{}: line {} {problem}", self.path.display(), index + 1)))
        }))
    }

    fn caption(&self, index: usize, mut line: Vec<u8>) -> Result<Caption, String> {
        if line.last() == Some(&b'\r') {
            line.pop();
        }
        if index == 0 {
            line = unmarked(&line).to_vec();
        }
        let text = String::from_utf8(line).map_err(|_| "is not UTF-8".to_owned())?;
        if !self.json {
            return Ok(Caption { text, id: Some(index.to_string()), video: None });
        }
        let mut caption: Caption = serde_json::from_str(&text).map_err(|cause| {
            format!("is no caption such as {{\"id\": …, \"video\": …, \"text\": …}}: {cause}")
        })?;
        if caption.id.as_deref() == Some("") {
            return Err("has an empty id, where a text without one is numbered".to_owned());
        }
        caption.id.get_or_insert_with(|| index.to_string());
        Ok(caption)
    }
}

/// The text tower, what it takes, and where it runs.
#[derive(Clone, Copy)]
pub(super) struct Reader<'a> {
    pub tower: &'a TextTower,
    pub tokenize: Tokenize<'a>,
    /// Whether every token of a text is kept beside its code.
    pub tokens: bool,
    pub device: &'a Device,
}

/// Encodes every part that is not there yet.
pub(super) fn run(
    job: &Job<'_>,
    parts: &Parts,
    reader: &Reader<'_>,
    texts: &Texts,
    events: Events<'_>,
) -> Result<(), ExperimentError> {
    let count = texts.lines.len();
    let there = (0..count.div_ceil(PART)).filter(|&number| parts.has(Kind::Text, number));
    let done: usize = there.map(|number| PART.min(count - number * PART)).sum();
    let mut pace = Pace::begin(events, "texts", count, done);
    let mut lines = texts.read()?;
    for number in 0..count.div_ceil(PART) {
        let lines = lines.by_ref().take(PART);
        if parts.has(Kind::Text, number) {
            lines.for_each(drop);
            continue;
        }
        let mut part = Part::default();
        let mut words = Vec::with_capacity(PART);
        for line in lines {
            match line? {
                Ok(caption) => {
                    part.names.ids.push(caption.id.unwrap_or_default());
                    part.names.videos.extend(caption.video);
                    words.push(caption.text);
                }
                Err(reason) => {
                    pace.note(&format!("left out: {reason}"));
                    part.names.skipped.push(reason);
                    pace.step(1, Instant::now());
                }
            }
        }
        part.counts = vec![1; words.len()];
        let batch = (reader.tokenize)(&words).map_err(ExperimentError::because)?;
        encode(job, reader, &batch, &mut part, &mut pace)?;
        parts.write(Kind::Text, number, &part)?;
    }
    pace.end();
    Ok(())
}

/// Codes of a part's texts: batches of texts of nearly one length, so that little padding is computed.
fn encode(
    job: &Job<'_>,
    reader: &Reader<'_>,
    texts: &TokenBatch,
    part: &mut Part,
    pace: &mut Pace<'_, '_>,
) -> Result<(), ExperimentError> {
    let &Reader { tower, tokens, device, .. } = reader;
    let mut order: Vec<usize> = (0..texts.lengths.len()).collect();
    order.sort_by_key(|&text| texts.lengths[text]);
    let mut rows: Vec<Vec<f32>> = vec![Vec::new(); order.len()];
    let mut token_rows: Vec<Vec<f32>> = vec![Vec::new(); if tokens { order.len() } else { 0 }];
    part.token_counts = vec![0; token_rows.len()];
    for group in order.chunks(job.batch) {
        job.go_on()?;
        let began = Instant::now();
        let longest = group.iter().map(|&text| texts.lengths[text]).max().unwrap_or(0);
        let ids: Vec<i64> = group
            .iter()
            .flat_map(|&text| &texts.ids[text * texts.tokens..text * texts.tokens + longest])
            .map(|&id| i64::from(id))
            .collect();
        let ids = Tensor::<2, Int>::from_data(TensorData::new(ids, [group.len(), longest]), device);
        // Where a text ends is the tower's own rule, and need not be the last token.
        let lengths = tower.lengths(ids.clone());
        let (codes, states) = if tokens {
            for (&text, length) in group.iter().zip(lengths.clone().into_data().iter::<i64>()) {
                part.token_counts[text] = length as usize;
            }
            let states = tower.encode_tokens(ids, lengths);
            (states.pooled, Some(states.states))
        } else {
            (tower.encode(ids, lengths), None)
        };
        let name = |row: usize| format!("the text {:?}", part.names.ids[group[row]]);
        let codes = super::values(codes, name)?;
        part.width = codes.len() / group.len();
        for (&text, code) in group.iter().zip(codes.chunks_exact(part.width)) {
            rows[text] = code.to_vec();
        }
        if let Some(states) = states {
            let states = super::values(states, name)?;
            for (&text, states) in group.iter().zip(states.chunks_exact(part.width * longest)) {
                token_rows[text] = states[..part.width * part.token_counts[text]].to_vec();
            }
        }
        pace.step(group.len(), began);
    }
    part.rows = rows.concat();
    part.token_rows = token_rows.concat();
    Ok(())
}
