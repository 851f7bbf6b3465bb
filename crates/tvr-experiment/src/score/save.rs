//! What `--save` writes for each row, so that it can be judged again, plotted, or carried by a search index.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use ndarray::{Array1, Array2};
use serde::Serialize;
use tvr_metrics::{MetricError, Representation, RepresentationChange};

use super::{Input, matrix};
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
    /// What a normaliser made of how items are represented, T2V and V2T; `None` where that is not known of both.
    ///
    /// # Errors
    /// The two are not of one gallery.
    pub(crate) fn between(
        normalize: &str,
        logit_scale: f32,
        before: Option<&[Representation; 2]>,
        after: Option<&[Representation; 2]>,
    ) -> Result<Option<Self>, MetricError> {
        let (Some([text, video]), Some([text_after, video_after])) = (before, after) else { return Ok(None) };
        Ok(Some(Self {
            schema: "tvr-represented/1",
            normalize: normalize.trim().to_owned(),
            logit_scale,
            text_to_video: text.change(text_after)?,
            video_to_text: video.change(video_after)?,
        }))
    }
}

/// How the names end that [`save`] writes.
const ENDS: [&str; 5] = [
    "text_to_video.npy",
    "text_to_video.bias.npy",
    "video_to_text.npy",
    "video_to_text.bias.npy",
    "represented.json",
];

/// What an earlier call may have saved in a folder: whatever is called `NUMBER-SPEC.END`.
fn earlier(folder: &Path) -> Result<Vec<PathBuf>, ExperimentError> {
    let entries = match std::fs::read_dir(folder) {
        Ok(entries) => entries,
        // What stands in the way of writing is said where it is written.
        Err(cause) if [ErrorKind::NotFound, ErrorKind::NotADirectory].contains(&cause.kind()) => {
            return Ok(Vec::new());
        }
        Err(cause) => return Err(ExperimentError::file(folder, "read")(cause)),
    };
    let mut found = Vec::new();
    for entry in entries {
        let path = entry.map_err(ExperimentError::file(folder, "read"))?.path();
        if path.file_name().is_some_and(|name| is_ours(&name.to_string_lossy())) {
            found.push(path);
        }
    }
    Ok(found)
}

/// Whether [`save`] writes such a name.
fn is_ours(name: &str) -> bool {
    let Some((number, rest)) = name.split_once('-') else { return false };
    let counts = number.starts_with(|first: char| ('1'..='9').contains(&first))
        && number.bytes().all(|digit| digit.is_ascii_digit());
    let ends = |end: &&str| rest.strip_suffix(*end).is_some_and(|spec| spec.len() > 1 && spec.ends_with('.'));
    counts && ENDS.iter().any(ends)
}

/// Refuses a folder in which saving would remove or replace a file that the call reads.
///
/// # Errors
/// The first such file; a folder that cannot be read.
pub(super) fn refuse_inputs(folder: &Path, inputs: &[Input]) -> Result<(), ExperimentError> {
    let there: Vec<PathBuf> = earlier(folder)?.iter().filter_map(|path| path.canonicalize().ok()).collect();
    let file = |input: &&Input| {
        let (path, _) = matrix::file_and_key(&input.path);
        Path::new(&path).canonicalize().is_ok_and(|path| there.contains(&path))
    };
    match inputs.iter().find(file) {
        None => Ok(()),
        Some(Input { role, path, .. }) => Err(ExperimentError::request(format!(
            "--save {}: --{role} {path} lies there under a name that --save writes, and would be removed; name another folder",
            folder.display()
        ))),
    }
}

/// Removes what an earlier call saved, so that all files of a folder are of one call. A link is none of those.
fn clear(folder: &Path) -> Result<(), ExperimentError> {
    for path in earlier(folder)? {
        if path.symlink_metadata().is_ok_and(|there| there.is_file()) {
            std::fs::remove_file(&path).map_err(ExperimentError::file(&path, "remove"))?;
        }
    }
    Ok(())
}

/// Writes, for each row, `NUMBER-SPEC.text_to_video.npy` and `NUMBER-SPEC.video_to_text.npy`, both `[texts, videos]`,
/// so that each can be judged again as it is; beside them `….bias.npy` of methods in bias form, and
/// `NUMBER-SPEC.represented.json`. What an earlier call left in the folder under such names is removed.
pub(super) fn save(
    folder: &Path,
    specs: &[String],
    rows: Vec<Saved>,
    scores: &Array2<f32>,
) -> Result<Vec<PathBuf>, ExperimentError> {
    clear(folder)?;
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
