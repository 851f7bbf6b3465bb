//! `splits.json`: who is in train, val and test, and which caption of a video is looked for with.

use std::collections::HashMap;
use std::path::Path;

use serde::Deserialize;

use crate::error::DataError;
use crate::files;
use crate::world::Split;

/// `splits.json`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, expecting = "an object with the lists train, val and test")]
struct Splits {
    train: Vec<String>,
    val: Vec<String>,
    test: Vec<String>,
    #[serde(default)]
    val_queries: Vec<String>,
    #[serde(default)]
    test_queries: Vec<String>,
}

/// One split of a feature folder, as rows of its tensors.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Part {
    /// Rows of the videos, in the split's order; at least one.
    pub videos: Vec<usize>,
    /// Rows of their captions.
    pub texts: Vec<usize>,
    /// For each caption the place of its video in `videos`.
    pub text_video: Vec<usize>,
    /// The standard protocol: for each video the place of one caption in `texts`.
    pub queries: Vec<usize>,
}

/// All splits, no video in two of them.
#[derive(Debug)]
pub(super) struct Parts {
    train: Part,
    val: Part,
    test: Part,
}

impl Parts {
    /// The rows of a split.
    pub(super) fn of(&self, split: Split) -> &Part {
        match split {
            Split::Train => &self.train,
            Split::Val => &self.val,
            Split::Test => &self.test,
        }
    }
}

/// What splits are made of: names by row, and each caption's video.
struct Rows<'a> {
    path: &'a Path,
    videos: HashMap<&'a str, usize>,
    text_ids: &'a [String],
    text_video: &'a [usize],
}

/// The splits of a folder, as rows of its tensors.
pub(super) fn read(
    folder: &Path,
    video_ids: &[String],
    text_ids: &[String],
    text_video: &[usize],
) -> Result<Parts, DataError> {
    let path = &folder.join("splits.json");
    let splits: Splits = serde_json::from_str(&files::read_text(path)?)
        .map_err(|cause| DataError::format(path, cause.to_string()))?;
    let named = [(Split::Train, &splits.train), (Split::Val, &splits.val), (Split::Test, &splits.test)];
    let mut of = HashMap::new();
    for (split, ids) in named {
        for id in ids {
            let problem = match of.insert(id, split) {
                None => continue,
                Some(other) if other == split => format!("is in {} twice; keep one", split.name()),
                Some(other) => format!("is in {} and in {}; leave it in one", other.name(), split.name()),
            };
            return Err(DataError::item(path, id, problem));
        }
    }
    let videos = video_ids.iter().enumerate().map(|(row, id)| (id.as_str(), row)).collect();
    let rows = Rows { path, videos, text_ids, text_video };
    Ok(Parts {
        train: rows.part(Split::Train, &splits.train, &[])?,
        val: rows.part(Split::Val, &splits.val, &splits.val_queries)?,
        test: rows.part(Split::Test, &splits.test, &splits.test_queries)?,
    })
}

impl Rows<'_> {
    fn part(&self, split: Split, ids: &[String], queries: &[String]) -> Result<Part, DataError> {
        let Self { path, videos: rows, text_ids, text_video: owners } = self;
        let name = split.name();
        if ids.is_empty() {
            let reason = "names no video; a run trains on train, chooses on val and is judged on test";
            return Err(DataError::format(path, format!("{name} {reason}")));
        }
        let mut videos = Vec::with_capacity(ids.len());
        for id in ids {
            videos.push(*rows.get(id.as_str()).ok_or_else(|| {
                DataError::item(path, id, format!("is in the {name} split but has no features"))
            })?);
        }
        let places: HashMap<usize, usize> =
            videos.iter().enumerate().map(|(place, &row)| (row, place)).collect();
        let (mut texts, mut text_video) = (Vec::new(), Vec::new());
        for (text, video) in owners.iter().enumerate() {
            if let Some(&video) = places.get(video) {
                texts.push(text);
                text_video.push(video);
            }
        }
        let mut first = vec![None; videos.len()];
        for (text, &video) in text_video.iter().enumerate() {
            first[video].get_or_insert(text);
        }
        if !queries.is_empty() && queries.len() != videos.len() {
            let reason = format!(
                "{name}_queries has {} captions for {} videos; name one for each, in the order of {name}",
                queries.len(),
                videos.len()
            );
            return Err(DataError::format(path, reason));
        }
        let named: HashMap<&str, usize> =
            texts.iter().enumerate().map(|(place, &row)| (text_ids[row].as_str(), place)).collect();
        for (video, query) in queries.iter().enumerate() {
            let text = named.get(query.as_str()).copied().filter(|&text| text_video[text] == video);
            first[video] = Some(text.ok_or_else(|| {
                DataError::item(
                    path,
                    query,
                    format!("is in {name}_queries, but is no caption of {}", ids[video]),
                )
            })?);
        }
        let queries = first
            .into_iter()
            .enumerate()
            .map(|(video, text)| {
                let problem = || format!("is in the {name} split but has no caption; leave it out");
                text.ok_or_else(|| DataError::item(path, &ids[video], problem()))
            })
            .collect::<Result<_, _>>()?;
        Ok(Part { videos, texts, text_video, queries })
    }
}
