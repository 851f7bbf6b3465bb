//! `steps.jsonl`: a line for each step.

use std::io::{ErrorKind, Write};
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::error::ExperimentError;
use crate::files;

/// One line of `steps.jsonl`.
#[derive(Debug, Serialize)]
pub(super) struct StepLine {
    pub(super) step: usize,
    pub(super) epoch: u64,
    pub(super) loss: f64,
    pub(super) parts: Vec<(String, f64)>,
    pub(super) lr: f64,
    pub(super) grad_norm: f64,
    pub(super) logit_scale: f64,
    pub(super) seconds: f64,
}

/// The log, cut back to the checkpoint's step: a resumed run's log reads like one that was never stopped.
pub(super) fn open(path: &Path, step: usize) -> Result<std::fs::File, ExperimentError> {
    let kept: Vec<u8> = match std::fs::read(path) {
        Ok(bytes) => {
            // What a power cut tore has no end, and the next line would hang on it.
            let whole = bytes.split_inclusive(|&byte| byte == b'\n').filter(|line| line.ends_with(b"\n"));
            whole.filter(|line| is_until(line, step)).flatten().copied().collect()
        }
        Err(cause) if cause.kind() == ErrorKind::NotFound => Vec::new(),
        Err(cause) => return Err(ExperimentError::file(path, "read")(cause)),
    };
    files::write_whole(path, &kept)?;
    std::fs::OpenOptions::new().append(true).open(path).map_err(ExperimentError::file(path, "open"))
}

/// Whether a line is of one of the first `until` steps. What is no such line is dropped.
fn is_until(line: &[u8], until: usize) -> bool {
    #[derive(Deserialize)]
    struct Of {
        step: usize,
    }
    serde_json::from_slice(line).is_ok_and(|Of { step }| step <= until)
}

pub(super) fn append(log: &mut std::fs::File, path: &Path, line: &StepLine) -> Result<(), ExperimentError> {
    let mut text = serde_json::to_string(line)
        .map_err(|cause| ExperimentError::work(format!("{}: {cause}", path.display())))?;
    text.push('\n');
    log.write_all(text.as_bytes()).map_err(ExperimentError::file(path, "write"))
}

/// Mean of the seconds that the log has of steps, those before an interruption included.
pub(super) fn mean_seconds(log: &Path) -> Result<f64, ExperimentError> {
    #[derive(Deserialize)]
    struct Took {
        seconds: f64,
    }
    let text = files::read(log)?;
    let lines = text.split(|&byte| byte == b'\n').filter_map(|line| serde_json::from_slice(line).ok());
    let took: Vec<f64> = lines.map(|Took { seconds }| seconds).collect();
    Ok(took.iter().sum::<f64>() / took.len().max(1) as f64)
}
