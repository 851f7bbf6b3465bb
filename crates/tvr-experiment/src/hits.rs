//! Which queries a run answered at rank 1, row by row: what paired comparisons are made of.
//!
//! `hits.safetensors` holds `ROW.text_to_video` and `ROW.video_to_text`, f64 `[queries]`, in points: 100 for a hit, 0
//! for none, between where the true item ties.

use std::path::Path;

use safetensors::tensor::{Dtype, SafeTensors, TensorView};

use crate::error::ExperimentError;
use crate::files;
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
    let path = folder.join(FILE);
    let bytes: Vec<(String, Vec<u8>)> = rows
        .iter()
        .map(RowHits::of)
        .flat_map(|hits| {
            let bytes = |values: &[f64]| values.iter().flat_map(|value| value.to_le_bytes()).collect();
            [
                (format!("{}.text_to_video", hits.normalize), bytes(&hits.text_to_video)),
                (format!("{}.video_to_text", hits.normalize), bytes(&hits.video_to_text)),
            ]
        })
        .collect();
    let wrong = |cause: safetensors::SafeTensorError| wrong(&path, cause);
    let views = bytes
        .iter()
        .map(|(name, bytes)| {
            TensorView::new(Dtype::F64, vec![bytes.len() / 8], bytes).map(|view| (name.clone(), view))
        })
        .collect::<Result<Vec<_>, _>>()
        .map_err(wrong)?;
    files::write_whole(&path, &safetensors::serialize(views, None).map_err(wrong)?)
}

/// The hits of one row of a run.
///
/// # Errors
/// The file, and what is wrong with it; a row that the run does not have.
pub fn read(folder: &Path, normalize: &str) -> Result<RowHits, ExperimentError> {
    let path = folder.join(FILE);
    let bytes = files::read(&path)?;
    let file = SafeTensors::deserialize(&bytes).map_err(|cause| wrong(&path, cause))?;
    let values = |direction: &str| -> Result<Vec<f64>, ExperimentError> {
        let view = file.tensor(&format!("{normalize}.{direction}")).map_err(|cause| wrong(&path, cause))?;
        let (chunks, _) = view.data().as_chunks::<8>();
        Ok(chunks.iter().map(|bytes| f64::from_le_bytes(*bytes)).collect())
    };
    Ok(RowHits {
        normalize: normalize.to_string(),
        text_to_video: values("text_to_video")?,
        video_to_text: values("video_to_text")?,
    })
}

fn wrong(path: &Path, cause: safetensors::SafeTensorError) -> ExperimentError {
    ExperimentError::work(format!("{}: {cause}; remove the run's folder to make it again", path.display()))
}
