//! The sentences beside a feature file: `captions.jsonl`, a line for each row of `text`, in the same order.

use serde::Deserialize;

use super::FeatureFile;
use crate::error::DataError;
use crate::files;

/// A line of `captions.jsonl`.
#[derive(Debug, Deserialize)]
#[serde(expecting = "an object with id, video and text")]
struct Line {
    id: String,
    video: String,
    text: String,
}

impl FeatureFile {
    /// The sentences, by row. Read anew at every call; who needs vectors alone never pays for them.
    ///
    /// # Errors
    /// The file, or the first line that is not the caption of its row.
    pub fn captions(&self) -> Result<Vec<String>, DataError> {
        let path = self.path.with_file_name("captions.jsonl");
        let text = files::read_text(&path)?;
        let mut captions = Vec::with_capacity(self.text_ids.len());
        for (row, line) in text.lines().filter(|line| !line.trim().is_empty()).enumerate() {
            let line: Line = serde_json::from_str(line)
                .map_err(|cause| DataError::format(&path, format!("line {}: {cause}", row + 1)))?;
            let video = self.text_video.get(row).map(|&video| self.video_ids[video].as_str());
            if self.text_ids.get(row) != Some(&line.id) || video != Some(&line.video) {
                let problem = format!(
                    "of {} stands on line {}, but there features.safetensors has {} of {}; write both in one order",
                    line.video,
                    row + 1,
                    self.text_ids.get(row).map_or("nothing", String::as_str),
                    video.unwrap_or("no video"),
                );
                return Err(DataError::item(&path, &line.id, problem));
            }
            captions.push(line.text);
        }
        if captions.len() != self.text_ids.len() {
            let reason = format!("has {} captions for {} rows of text", captions.len(), self.text_ids.len());
            return Err(DataError::format(&path, reason));
        }
        Ok(captions)
    }
}
