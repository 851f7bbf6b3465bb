//! The pictures of a folder, as items or as the frames of videos.

use std::cmp::Ordering;
use std::path::Path;

use tvr_clip::Picture;
use walkdir::{DirEntry, WalkDir};

use super::pictures::{Frame, Video};
use super::share;
use crate::error::ExperimentError;
use crate::files;
use crate::shard::Shard;

/// Pictures of a folder: each an item, or the frames of videos.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Grouped {
    /// Every picture is an item.
    Alone,
    /// Every folder is a video.
    ByFolder,
}

/// The videos of a folder, or a shard of them, in natural order of their names; and the SHA-256 of the names of all pictures
/// below it.
pub(super) fn list(
    folder: &Path,
    grouped: Grouped,
    shard: Option<Shard>,
) -> Result<(Vec<Video>, String), ExperimentError> {
    if folder.is_file() {
        let words = "is a file; give the folder in which pictures lie";
        return Err(ExperimentError::request(format!("{}: {words}", folder.display())));
    }
    let mut found: Vec<(String, String, Frame)> = Vec::new(); // folder and name below it, what is there
    let mut keep = |path: &Path, frame| {
        let below = path.strip_prefix(folder).unwrap_or(path);
        let parent = below.parent().unwrap_or(below);
        let names_an_item = if grouped == Grouped::Alone { below } else { parent };
        let frame = match names_an_item.to_str() {
            Some(_) => frame,
            None => Frame::Lost(format!("{}: its name is not UTF-8; rename it", path.display())),
        };
        found.push((slashed(parent), slashed(below), frame));
    };
    // What a system or an editor puts beside pictures, folders as well; the folder that is asked for may be one.
    let shown = |it: &DirEntry| it.depth() == 0 || !it.file_name().to_string_lossy().starts_with('.');
    for entry in WalkDir::new(folder).follow_links(true).into_iter().filter_entry(shown) {
        let entry = match entry {
            Ok(entry) => entry,
            Err(cause) => match cause.path().filter(|_| cause.depth() > 0) {
                // A bad one among the pictures: whoever encodes says so, or leaves it out.
                Some(path) => {
                    keep(path, Frame::Lost(lost(path, &cause)));
                    continue;
                }
                None => return Err(ExperimentError::work(lost(folder, &cause))),
            },
        };
        let path = entry.path();
        if !entry.file_type().is_file() || !Picture::is_named_as_one(path) {
            continue;
        }
        keep(path, Frame::File(path.to_path_buf()));
    }
    if found.is_empty() {
        return Err(ExperimentError::work(format!(
            "{}: there is no picture in it (png, jpg, gif, webp)",
            folder.display()
        )));
    }
    found.sort_by(|a, b| natural(&a.0, &b.0).then_with(|| natural(&a.1, &b.1)));
    let names: Vec<&str> = found.iter().map(|(_, below, _)| below.as_str()).collect();
    let names = files::sha256(names.join("\0").as_bytes());
    let mut videos: Vec<Video> = Vec::new();
    let video = |id, frame| Video { id, frames: vec![frame], goes_on: false };
    match grouped {
        Grouped::Alone => videos.extend(found.into_iter().map(|(_, id, frame)| video(id, frame))),
        Grouped::ByFolder => {
            let own = folder.canonicalize().unwrap_or_else(|_| folder.to_path_buf());
            let own = own.file_name().unwrap_or_default().to_string_lossy().into_owned();
            let mut of = None; // the folder of the last video
            for (parent, _, frame) in found {
                match videos.last_mut().filter(|_| of.as_ref() == Some(&parent)) {
                    Some(video) => video.frames.push(frame),
                    // Pictures of the folder itself are a video of the folder's name.
                    None if parent.is_empty() => videos.push(video(own.clone(), frame)),
                    None => videos.push(video(parent.clone(), frame)),
                }
                of = Some(parent);
            }
            let named = videos.iter().filter(|video| video.id == own).count();
            if named > 1 {
                return Err(ExperimentError::work(format!(
                    "{}: its own pictures, and those of {own} in it, would both be the video {own}; rename one folder",
                    folder.display()
                )));
            }
        }
    }
    let share = share(videos.len(), shard);
    if let (true, Some(shard)) = (share.is_empty(), shard) {
        return Err(ExperimentError::request(format!(
            "--shard {shard}: of {} items none is left for it; take fewer shards",
            videos.len()
        )));
    }
    Ok((videos.drain(share).collect(), names))
}

/// Why nothing can be opened there, with its name.
fn lost(path: &Path, cause: &walkdir::Error) -> String {
    match (cause.loop_ancestor(), cause.io_error()) {
        (Some(above), _) => format!(
            "{}: is a link to {}, in which it lies, so it has no end; remove the link",
            path.display(),
            above.display()
        ),
        (None, Some(cause)) => format!("{}: cannot be read: {cause}", path.display()),
        (None, None) => cause.to_string(),
    }
}

fn slashed(path: &Path) -> String {
    let parts: Vec<_> = path.components().map(|part| part.as_os_str().to_string_lossy()).collect();
    parts.join("/")
}

/// Natural order (`frame2` before `frame10`); equal under it, by letters.
fn natural(a: &str, b: &str) -> Ordering {
    natord::compare(a, b).then_with(|| a.cmp(b))
}
