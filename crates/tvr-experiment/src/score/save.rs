//! What `--save` writes for each row, so that it can be judged again, plotted, or carried by a search index.

use std::path::{Path, PathBuf};

use ndarray::{Array1, Array2};
use serde::Serialize;
use tvr_metrics::RepresentationChange;

use super::matrix;
use crate::error::ExperimentError;
use crate::files;

/// One row's results.
pub(super) struct Saved {
    /// T2V `[texts, videos]`, V2T `[videos, texts]`; nothing where the scores stay as they are.
    pub(super) matrices: Option<[Array2<f32>; 2]>,
    /// One number per video (T2V) and per text (V2T), for methods in bias form.
    pub(super) biases: [Option<Array1<f32>>; 2],
    /// ρ of every item before and after, where the scores are finite.
    pub(super) represented: Option<Changes>,
}

/// `NUMBER-SPEC.represented.json`.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Changes {
    schema: &'static str,
    normalize: String,
    logit_scale: f32,
    text_to_video: RepresentationChange,
    video_to_text: RepresentationChange,
}

impl Changes {
    pub(crate) fn new(normalize: &str, logit_scale: f32, [text, video]: [RepresentationChange; 2]) -> Self {
        let normalize = normalize.trim().to_owned();
        Self {
            schema: "tvr-represented/1",
            normalize,
            logit_scale,
            text_to_video: text,
            video_to_text: video,
        }
    }
}

/// Writes, for each row, `NUMBER-SPEC.text_to_video.npy` and `NUMBER-SPEC.video_to_text.npy`, both `[texts, videos]`,
/// so that each can be judged again as it is; beside them `….bias.npy` of methods in bias form, and
/// `NUMBER-SPEC.represented.json`.
pub(super) fn save(
    folder: &Path,
    specs: &[String],
    rows: Vec<Saved>,
    scores: &Array2<f32>,
) -> Result<Vec<PathBuf>, ExperimentError> {
    let mut saved = Vec::new();
    for (index, (spec, row)) in specs.iter().zip(rows).enumerate() {
        let safe = |c: char| if c.is_ascii_alphanumeric() || "-=.".contains(c) { c } else { '_' };
        let stem: String = spec.trim().chars().map(safe).collect();
        let mut write = |end: &str, bytes: std::io::Result<Vec<u8>>| -> Result<(), ExperimentError> {
            let path = folder.join(format!("{}-{stem}.{end}", index + 1));
            files::write_whole(&path, &bytes.map_err(ExperimentError::file(&path, "write"))?)?;
            saved.push(path);
            Ok(())
        };
        let [text_to_video, video_to_text] = match row.matrices {
            Some([text, video]) => [text, video.t().as_standard_layout().into_owned()],
            None => [scores.clone(), scores.clone()],
        };
        let directions = [("text_to_video", text_to_video), ("video_to_text", video_to_text)];
        for ((direction, values), bias) in directions.into_iter().zip(row.biases) {
            write(&format!("{direction}.npy"), matrix::npy(values.view().into_dyn()))?;
            if let Some(bias) = bias {
                write(&format!("{direction}.bias.npy"), matrix::npy(bias.view().into_dyn()))?;
            }
        }
        if let Some(changes) = row.represented {
            write("represented.json", serde_json::to_vec_pretty(&changes).map_err(std::io::Error::from))?;
        }
    }
    Ok(saved)
}
