//! Real clips and FFmpeg, where they are there; a test without them says why it skips.

use std::path::{Path, PathBuf};
use std::time::Duration;

use tvr_data::frames::ffmpeg::Ffmpeg;
use tvr_data::frames::{AsDecoded, Decoder, Fault, Footage, FrameSource};
use tvr_data::sampling::{Offset, Sampler};

pub const LIMIT: Duration = Duration::from_secs(60);

/// The folder of real, unusual and damaged videos.
pub fn videos() -> Option<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data/videos");
    if folder.exists() {
        return Some(folder);
    }
    eprintln!("skipped: {} is not here", folder.display());
    None
}

/// FFmpeg.
pub fn ffmpeg() -> Option<Ffmpeg> {
    match Ffmpeg::find() {
        Ok(ffmpeg) => Some(ffmpeg),
        Err(cause) => {
            eprintln!("skipped: {cause}");
            None
        }
    }
}

/// Both.
pub fn both() -> Option<(PathBuf, Ffmpeg)> {
    Some((videos()?, ffmpeg()?))
}

pub fn centres(frames: usize) -> Sampler {
    Sampler::Segments { frames, offset: Offset::Centre }
}

/// Decodes files together, as they are.
pub fn decode(ffmpeg: Option<&Ffmpeg>, sampler: Sampler, files: &[PathBuf]) -> Vec<Result<Footage, Fault>> {
    let decoder = Decoder { sampler, finish: &AsDecoded, limit: LIMIT, ffmpeg };
    let mut sources = Vec::new();
    let mut results: Vec<Option<Result<Footage, Fault>>> = Vec::new();
    for file in files {
        match FrameSource::at(file) {
            Ok(source) => {
                sources.push((source, 0));
                results.push(None);
            }
            Err(fault) => results.push(Some(Err(fault))),
        }
    }
    let mut decoded = sources.chunks(12).flat_map(|group| decoder.decode(group).unwrap());
    let results = results.into_iter().map(|known| known.unwrap_or_else(|| decoded.next().unwrap()));
    results.collect()
}
