//! Which queries a run answered at rank 1 and the rank of each, row by row: what paired comparisons are made of.
//!
//! `hits.safetensors` holds `ROW.text_to_video` and `ROW.video_to_text`, f64 `[2, queries]`: hits at rank 1 in points
//! (100 for a hit, 0 for none, between where the true item ties), then ranks from 1 (the mean over a tie).

use std::path::Path;

use safetensors::tensor::{Dtype, SafeTensors};

use crate::error::ExperimentError;
use crate::files::{self, FileTensor};
use crate::score::Row;

/// The file's name in a run folder.
const FILE: &str = "hits.safetensors";

/// Hits and ranks of the queries of one direction.
#[derive(Clone, Debug, PartialEq)]
pub struct QueryHits {
    /// Hits at rank 1, in points.
    pub hits: Vec<f64>,
    /// Ranks, from 1.
    pub ranks: Vec<f64>,
}

impl QueryHits {
    fn of(ranks: &tvr_metrics::Ranks) -> Self {
        Self { hits: ranks.hits_percent(1), ranks: ranks.per_query() }
    }
}

/// Hits and ranks of one row.
#[derive(Clone, Debug, PartialEq)]
pub struct RowHits {
    /// The row, as the run's table names it.
    pub normalize: String,
    /// Of each text.
    pub text_to_video: QueryHits,
    /// Of each video.
    pub video_to_text: QueryHits,
}

impl RowHits {
    /// The hits of a judged row.
    pub fn of(row: &Row) -> Self {
        Self {
            normalize: row.normalize.clone(),
            text_to_video: QueryHits::of(&row.judgement.text_to_video.ranks),
            video_to_text: QueryHits::of(&row.judgement.video_to_text.ranks),
        }
    }
}

/// Writes hits and ranks of every row.
///
/// # Errors
/// The file and the system's word.
pub fn write(folder: &Path, rows: &[Row]) -> Result<(), ExperimentError> {
    let tensors = rows.iter().map(RowHits::of).flat_map(|hits| {
        let tensor = |direction: &str, of: &QueryHits| FileTensor {
            name: format!("{}.{direction}", hits.normalize),
            dtype: Dtype::F64,
            shape: vec![2, of.hits.len()],
            bytes: of.hits.iter().chain(&of.ranks).flat_map(|value| value.to_le_bytes()).collect(),
        };
        [tensor("text_to_video", &hits.text_to_video), tensor("video_to_text", &hits.video_to_text)]
    });
    files::write_tensors(&folder.join(FILE), &tensors.collect::<Vec<_>>())
}

/// Hits and ranks of some rows of a run, in their order.
///
/// # Errors
/// The file, and what is wrong with it; a row that the run does not have.
pub fn read<'a>(
    folder: &Path,
    rows: impl IntoIterator<Item = &'a str>,
) -> Result<Vec<RowHits>, ExperimentError> {
    let path = folder.join(FILE);
    let bytes = files::read(&path)?;
    let wrong = |cause: &dyn std::fmt::Display| {
        ExperimentError::work(format!(
            "{}: {cause}; remove the run's folder to make it again",
            path.display()
        ))
    };
    let file = SafeTensors::deserialize(&bytes).map_err(|cause| wrong(&cause))?;
    let values = |row: &str, direction: &str| -> Result<QueryHits, ExperimentError> {
        let name = format!("{row}.{direction}");
        let view = file.tensor(&name).map_err(|cause| wrong(&cause))?;
        if view.dtype() != Dtype::F64 || !matches!(view.shape(), [2, _]) {
            let found =
                format!("{name:?} is {} {:?}, but it must be F64 [2, queries]", view.dtype(), view.shape());
            return Err(wrong(&found));
        }
        let (chunks, _) = view.data().as_chunks::<8>();
        let mut hits: Vec<f64> = chunks.iter().map(|bytes| f64::from_le_bytes(*bytes)).collect();
        if hits.iter().any(|value| !value.is_finite()) {
            return Err(wrong(&format!("{name:?} holds a value that is not finite")));
        }
        let ranks = hits.split_off(hits.len() / 2);
        Ok(QueryHits { hits, ranks })
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
