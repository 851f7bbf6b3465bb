//! What a list says of its videos, beside their features: with `captions.jsonl` and `splits.json` the folder of the
//! feature file is a data set that recipes train on.
//!
//! A caption's id is its video's, `#`, and its number. Splits are those named `train`, `val` and `test`; a video without
//! a caption is in none, since it cannot be looked for.

use std::path::Path;

use serde_json::json;
use tvr_data::Entry;

use crate::error::ExperimentError;
use crate::files;

/// Captions and splits of a list.
#[derive(Debug)]
pub(super) struct Told {
    captions: String,
    splits: serde_json::Value,
}

impl Told {
    /// What is said of these videos; `None` if nothing is.
    pub fn of(videos: &[Entry]) -> Option<Self> {
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
        (!captions.is_empty()).then_some(Self { captions, splits })
    }

    /// The captions, one JSON a line.
    pub fn lines(&self) -> String {
        self.captions.clone()
    }

    /// Refuses to write over another's captions or splits.
    ///
    /// # Errors
    /// The file that is there and says something else.
    pub fn check(&self, out: &Path) -> Result<(), ExperimentError> {
        for (path, text) in self.files(out)? {
            if std::fs::read(&path).is_ok_and(|there| there != text.as_bytes()) {
                return Err(ExperimentError::request(format!(
                    "{}: is there and says something else than the list; remove it, or give --out in another folder",
                    path.display()
                )));
            }
        }
        Ok(())
    }

    /// What keeps the folder from being a data set, if anything does.
    pub fn incomplete(&self) -> Option<String> {
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
    pub fn write(&self, list: &Path, out: &Path) -> Result<(), ExperimentError> {
        for (path, text) in self.files(out)? {
            files::write_whole(&path, text.as_bytes())?;
        }
        let (gallery, copy) = (list.with_file_name("gallery.json"), out.with_file_name("gallery.json"));
        if gallery.is_file() && gallery != copy {
            files::write_whole(&copy, &files::read(&gallery)?)?;
        }
        Ok(())
    }

    fn files(&self, out: &Path) -> Result<[(std::path::PathBuf, String); 2], ExperimentError> {
        let splits = serde_json::to_string_pretty(&self.splits)
            .map_err(|cause| ExperimentError::work(format!("splits cannot be JSON: {cause}")))?;
        Ok([
            (out.with_file_name("captions.jsonl"), self.captions.clone()),
            (out.with_file_name("splits.json"), format!("{splits}\n")),
        ])
    }
}
