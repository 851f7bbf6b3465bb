//! A folder of frames: images in natural order (`frame_2` before `frame_10`), one a second.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use super::image::{FORMATS, read};
use super::{Decoder, Fault, Footage, Verdict};

/// Names that count as images, in lower case. A frame folder may hold notes beside its frames.
const ENDINGS: [&str; 5] = ["jpg", "jpeg", "png", "webp", "gif"];

/// The images of a folder, hidden files and folders in it apart.
pub(super) fn list(folder: &Path) -> Result<Vec<PathBuf>, Fault> {
    let closed = |cause: std::io::Error| Fault::Closed { reason: cause.to_string() };
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(closed)? {
        let path = entry.map_err(closed)?.path();
        let ending = path.extension().and_then(|ending| ending.to_str()).unwrap_or("").to_lowercase();
        let hidden = path.file_name().and_then(|name| name.to_str()).is_none_or(|name| name.starts_with('.'));
        if ENDINGS.contains(&ending.as_str()) && !hidden && path.is_file() {
            files.push(path);
        }
    }
    if files.is_empty() {
        return Err(Fault::EmptyFolder);
    }
    files.sort_by(|a, b| {
        let (a, b) = (a.to_string_lossy(), b.to_string_lossy());
        natord::compare(&a, &b).then_with(|| a.cmp(&b))
    });
    Ok(files)
}

/// Only chosen frames are opened; one that cannot be read fails the clip by its name.
pub(super) fn decode(files: &[PathBuf], decoder: &Decoder<'_>, number: u64) -> Result<Footage, Fault> {
    Footage::choose(files.len(), 1.0, Verdict::Whole, (decoder, number), |index| {
        let file = &files[index];
        let name = file.file_name().unwrap_or_default().to_string_lossy();
        let named = |reason: String| Fault::Unreadable { reason: format!("{name}: {reason}") };
        let mut start = Vec::new();
        File::open(file)
            .and_then(|file| file.take(64).read_to_end(&mut start))
            .map_err(|cause| named(cause.to_string()))?;
        let format = ::image::guess_format(&start).ok().filter(|format| FORMATS.contains(format));
        let format = format.ok_or_else(|| named("is no PNG, JPEG, GIF or WebP".into()))?;
        read(file, format).map_err(|fault| named(fault.to_string()))
    })
}
