//! Which queries a run answered at rank 1, row by row: what paired comparisons are made of.
//!
//! `hits.safetensors` holds `ROW.text_to_video` and `ROW.video_to_text`, f64 `[queries]`, in points: 100 for a hit, 0
//! for none, between where the true item ties.

use std::path::Path;

use safetensors::tensor::{Dtype, SafeTensors};

use crate::error::ExperimentError;
use crate::files::{self, FileTensor};
use crate::score::Row;

/// The file's name in a run folder.
const FILE: &str = "hits.safetensors";

/// Hits of one row.
#[derive(Clone, Debug, PartialEq)]
pub struct RowHits {
    /// The row, as the run's table names it.
    pub normalize: String,
    /// Of each text, in points.
    pub text_to_video: Vec<f64>,
    /// Of each video, in points.
    pub video_to_text: Vec<f64>,
}

impl RowHits {
    /// The hits of a judged row.
    pub fn of(row: &Row) -> Self {
        Self {
            normalize: row.normalize.clone(),
            text_to_video: row.judgement.text_to_video.ranks.hits_percent(1),
            video_to_text: row.judgement.video_to_text.ranks.hits_percent(1),
        }
    }
}

/// Writes the hits of every row.
///
/// # Errors
/// The file and the system's word.
pub fn write(folder: &Path, rows: &[Row]) -> Result<(), ExperimentError> {
    let tensors = rows.iter().map(RowHits::of).flat_map(|hits| {
        let tensor = |direction: &str, values: &[f64]| FileTensor {
            name: format!("{}.{direction}", hits.normalize),
            dtype: Dtype::F64,
            shape: vec![values.len()],
            bytes: values.iter().flat_map(|value| value.to_le_bytes()).collect(),
        };
        [tensor("text_to_video", &hits.text_to_video), tensor("video_to_text", &hits.video_to_text)]
    });
    files::write_tensors(&folder.join(FILE), &tensors.collect::<Vec<_>>())
}

/// The hits of some rows of a run, in their order.
///
/// # Errors
/// The file, and what is wrong with it; a row that the run does not have.
pub fn read<'a>(
    folder: &Path,
    rows: impl IntoIterator<Item = &'a str>,
) -> Result<Vec<RowHits>, ExperimentError> {
    let path = folder.join(FILE);
    let bytes = files::read(&path)?;
    let wrong = |cause: safetensors::SafeTensorError| {
        ExperimentError::work(format!(
            "{}: {cause}; remove the run's folder to make it again",
            path.display()
        ))
    };
    let file = SafeTensors::deserialize(&bytes).map_err(wrong)?;
    let values = |row: &str, direction: &str| -> Result<Vec<f64>, ExperimentError> {
        let view = file.tensor(&format!("{row}.{direction}")).map_err(wrong)?;
        let (chunks, _) = view.data().as_chunks::<8>();
        Ok(chunks.iter().map(|bytes| f64::from_le_bytes(*bytes)).collect())
    };
    rows.into_iter()
        .map(|row| {
            Ok(RowHits {
                normalize: row.to_string(),
                text_to_video: values(row, "text_to_video")?,
                video_to_text: values(row, "video_to_text")?,
            })
        })
        .collect()
}
