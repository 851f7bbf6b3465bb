//! `verify`: a checkpoint against the reference's tensors, see [`tvr_clip::parity`].

use std::path::{Path, PathBuf};

use tvr_clip::ClipCheckpoint;
pub use tvr_clip::Precision;
pub use tvr_clip::parity::Certificate;
use tvr_clip::parity::{Golden, certify};

use crate::device;
use crate::error::ExperimentError;
use crate::weights;

/// What is asked for.
#[derive(Clone, Debug)]
pub struct Request {
    /// The checkpoint: a folder, or a name on the Hugging Face hub.
    pub weights: String,
    /// A folder with tokenizer and `preprocessor_config.json`, for a checkpoint that comes without.
    pub processor: Option<PathBuf>,
    /// The golden folder; by default the checkpoint's own.
    pub golden: Option<PathBuf>,
    /// The device's name.
    pub device: String,
    /// Type of the weights.
    pub precision: Precision,
}

/// Runs the checkpoint and compares.
///
/// # Errors
/// A name or device that does not exist (a wrong request); files that are missing or broken.
pub fn verify(
    request: &Request,
    events: crate::progress::Events<'_>,
) -> Result<Certificate, ExperimentError> {
    let device = device::open(&request.device)?;
    let folder = weights::folder(&request.weights, events)?;
    let golden = request.golden.as_deref().unwrap_or(&folder);
    let mut checkpoint = ClipCheckpoint::open(&folder).map_err(ExperimentError::because)?;
    if let Some(processor) = &request.processor {
        checkpoint = checkpoint.with_processor(processor);
    }
    let golden = open_golden(golden, &folder)?;
    certify(&checkpoint, &golden, &device, &request.device, request.precision)
        .map_err(ExperimentError::because)
}

fn open_golden(folder: &Path, weights: &Path) -> Result<Golden, ExperimentError> {
    if !folder.join("expected.safetensors").exists() {
        return Err(ExperimentError::request(format!(
            "{}: no expected.safetensors; make it with `python scripts/reference/clip.py --weights {} --out GOLDEN`, \
             then `--golden GOLDEN`",
            folder.display(),
            weights.display()
        )));
    }
    Golden::open(folder).map_err(ExperimentError::because)
}
