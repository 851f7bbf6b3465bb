//! A folder of frames: images in natural order (`frame_2` before `frame_10`), one a second.

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};

use super::image::read;
use super::{Decoder, Fault, Footage, Picture, Verdict};

/// Frames a second, as CLIP4Clip extracts them.
const RATE: f64 = 1.0;

/// The images of a folder, hidden files and folders in it apart. What cannot be looked at, such as a link that leads
/// nowhere, is among them: a frame is missing, and whoever opens it says which.
pub(super) fn list(folder: &Path) -> Result<Vec<PathBuf>, Fault> {
    let closed = |cause: std::io::Error| Fault::Closed { reason: cause.to_string() };
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(closed)? {
        let path = entry.map_err(closed)?.path();
        let hidden = path.file_name().is_none_or(|name| name.to_string_lossy().starts_with('.'));
        let other = std::fs::metadata(&path).is_ok_and(|known| !known.is_file());
        if Picture::is_named_as_one(&path) && !hidden && !other {
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

/// Only chosen frames are opened. Those that are broken are left out, and the choice is made again among the others, as
/// with a video that has fewer frames than it promised.
pub(super) fn decode(files: &[PathBuf], decoder: &Decoder<'_>, number: u64) -> Result<Footage, Fault> {
    let mut sound: Vec<&Path> = files.iter().map(PathBuf::as_path).collect();
    let mut finished: HashMap<&Path, Picture> = HashMap::new();
    let mut complaint = None;
    while !sound.is_empty() {
        let indices = decoder.sampler.indices(sound.len(), RATE, number);
        let mut broken = HashSet::new();
        for &file in indices.iter().filter_map(|&index| sound.get(index)) {
            if finished.contains_key(file) || broken.contains(file) {
                continue;
            }
            let name = || file.file_name().unwrap_or_default().to_string_lossy();
            match read(file) {
                Ok(picture) => {
                    finished.insert(file, decoder.finish.finish(picture));
                }
                // It may be there the next time: nothing that a store should remember.
                Err(Fault::Closed { reason }) => {
                    return Err(Fault::Closed { reason: format!("{}: {reason}", name()) });
                }
                Err(Fault::Unreadable { reason }) => {
                    complaint.get_or_insert_with(|| format!("{}: {reason}", name()));
                    broken.insert(file);
                }
                Err(other) => return Err(other),
            }
        }
        if broken.is_empty() {
            let mut pictures = Vec::with_capacity(indices.len());
            for (place, &index) in indices.iter().enumerate() {
                let again = indices.get(place + 1) == Some(&index);
                let file = sound[index];
                pictures.extend(if again { finished.get(file).cloned() } else { finished.remove(file) });
            }
            let verdict = complaint.map_or(Verdict::Whole, |reason| Verdict::Partial { reason });
            return Ok(Footage { pictures, indices, total: sound.len(), rate: RATE, verdict });
        }
        sound.retain(|file| !broken.contains(file));
    }
    Err(complaint.map_or(Fault::EmptyFolder, |reason| Fault::Unreadable { reason }))
}
