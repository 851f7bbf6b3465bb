//! What a list says of its videos, beside their features: with `captions.jsonl` and `splits.json` the folder of the
//! feature file is a data set that recipes train on.
//!
//! A caption's id is its video's, `#`, and its number. Splits are those named `train`, `val` and `test`; a video without
//! a caption is in none, since it cannot be looked for.

use std::path::{Path, PathBuf};

use serde_json::json;
use tvr_data::Entry;

use crate::clips::elsewhere;
use crate::error::ExperimentError;
use crate::files;

/// Said of a shard, whose neighbours these files would be of as well.
pub(super) const BESIDE_NO_SHARD: &str = "captions.jsonl and splits.json are not written beside a shard; the same command \
     without --shard finds the features in the store, and writes them";

/// Captions and splits of a list.
#[derive(Debug)]
pub(super) struct Told {
    list: PathBuf,
    captions: String,
    splits: serde_json::Value,
    elsewhere: Option<String>,
}

impl Told {
    /// What a list says of these videos.
    pub fn of(list: &Path, videos: &[Entry]) -> Self {
        let mut captions = String::new();
        for video in videos {
            for (number, text) in video.captions.iter().enumerate() {
                let id = format!("{}#{number}", video.id);
                captions.push_str(&format!("{}\n", json!({ "id": id, "video": video.id, "text": text })));
            }
        }
        let split = |name: &str| -> Vec<&str> {
            let of = |video: &&Entry| video.split.as_deref() == Some(name) && !video.captions.is_empty();
            videos.iter().filter(of).map(|video| video.id.as_str()).collect()
        };
        let splits = json!({ "train": split("train"), "val": split("val"), "test": split("test") });
        Self { list: list.to_path_buf(), captions, splits, elsewhere: elsewhere(list, videos) }
    }

    /// The captions, one JSON a line.
    pub fn lines(&self) -> String {
        self.captions.clone()
    }

    /// Refuses to write over another's captions, splits or gallery, and to write no caption.
    ///
    /// # Errors
    /// The file that is there and says something else; a list whose videos with captions were all left out.
    pub fn check(&self, out: &Path) -> Result<(), ExperimentError> {
        if self.captions.is_empty() {
            return Err(ExperimentError::work(format!(
                "{}: every video with a caption was bad; mend one, or take the captions from the list",
                self.list.display()
            )));
        }
        for (path, text) in self.files(out)? {
            if std::fs::read(&path).is_ok_and(|there| there != text) {
                return Err(ExperimentError::request(format!(
                    "{}: is there and says something else than {}; remove it, or give --out in another folder",
                    path.display(),
                    if path == gallery(out) { "the list's" } else { "the list" }
                )));
            }
        }
        Ok(())
    }

    /// What must be said of the splits.
    pub fn notes(&self) -> impl Iterator<Item = String> {
        self.elsewhere.clone().into_iter().chain(self.incomplete())
    }

    /// What keeps the folder from being a data set, if anything does.
    fn incomplete(&self) -> Option<String> {
        let empty = |split: &&str| self.splits[*split].as_array().is_none_or(Vec::is_empty);
        let empty: Vec<&str> = ["train", "val", "test"].into_iter().filter(|split| empty(&split)).collect();
        let empty = empty.join(", ");
        (!empty.is_empty()).then(|| {
            format!(
                "splits.json: the list has no video with captions in {empty}; a recipe needs all three splits"
            )
        })
    }

    /// Writes both beside the feature file; and `gallery.json`, where one lies beside the list.
    ///
    /// # Errors
    /// A file that cannot be written.
    pub fn write(&self, out: &Path) -> Result<(), ExperimentError> {
        for (path, text) in self.files(out)? {
            files::write_whole(&path, &text)?;
        }
        Ok(())
    }

    /// What is written, and where.
    fn files(&self, out: &Path) -> Result<Vec<(PathBuf, Vec<u8>)>, ExperimentError> {
        let splits = serde_json::to_string_pretty(&self.splits)
            .map_err(|cause| ExperimentError::work(format!("splits cannot be JSON: {cause}")))?;
        let mut all = vec![
            (out.with_file_name("captions.jsonl"), self.captions.clone().into_bytes()),
            (out.with_file_name("splits.json"), format!("{splits}\n").into_bytes()),
        ];
        let of_list = gallery(&self.list);
        if of_list.is_file() && of_list != gallery(out) {
            all.push((gallery(out), files::read(&of_list)?));
        }
        Ok(all)
    }
}

/// Where a gallery lies beside a file.
fn gallery(file: &Path) -> PathBuf {
    file.with_file_name("gallery.json")
}
