//! A clip on its way: its files, and the hash of what is in them.

use std::path::{Path, PathBuf};

use crate::benchmarks::manifest::Entry;
use crate::frames::{Fault, FrameSource};
use crate::store::{Hashed, Key, Seen};

/// A clip that is to be decoded.
pub(super) struct Task {
    /// Its place in the list.
    pub place: usize,
    /// Where its pictures are.
    pub source: FrameSource,
    /// What is in its files, in their order; known if they were seen before.
    pub hashed: Option<Vec<Hashed>>,
}

impl Task {
    /// Of an entry of a list.
    pub fn of(place: usize, entry: &Entry, seen: &Seen) -> Result<Self, Fault> {
        let source = FrameSource::at(&entry.path)?;
        let known = |file: &PathBuf| seen.known(file).map_err(|cause| closed(&source, file, &cause));
        let hashed = source.files().iter().map(known).collect::<Result<Option<Vec<_>>, Fault>>()?;
        Ok(Self { place, source, hashed })
    }

    /// The hash of its files, if it is known: of a file its own, of a folder that of its frames' hashes, even of one frame
    /// alone, since an animation is many frames by itself and one in a folder.
    pub fn content(&self) -> Option<String> {
        let hashed = self.hashed.as_deref()?;
        match &self.source {
            FrameSource::Folder(_) => {
                let frames: Vec<_> = hashed.iter().map(|frame| ("frame", frame.sha256())).collect();
                Some(Key::of(&frames).to_string())
            }
            _ => hashed.first().map(|file| file.sha256().to_owned()),
        }
    }

    /// The hash of its files, which are read where it is not known.
    pub fn read(&mut self) -> Result<String, Fault> {
        if self.hashed.is_none() {
            let hash = |file: &PathBuf| Hashed::of(file).map_err(|cause| closed(&self.source, file, &cause));
            self.hashed = Some(self.source.files().iter().map(hash).collect::<Result<_, Fault>>()?);
        }
        Ok(self.content().unwrap_or_default())
    }

    /// Whether its files are still as they were when they were hashed.
    pub fn holds(&self) -> bool {
        self.source.files().iter().zip(self.hashed.iter().flatten()).all(|(file, hashed)| hashed.holds(file))
    }
}

/// SHA-256 of each clip's bytes, in their order: remembered where the files are as they were, else read.
pub fn contents(entries: &[Entry], seen: &Seen) -> Vec<Result<String, Fault>> {
    entries.iter().map(|entry| Task::of(0, entry, seen)?.read()).collect()
}

/// A file that cannot be read; of a folder, which one.
fn closed(source: &FrameSource, file: &Path, cause: &std::io::Error) -> Fault {
    let name = file.file_name().unwrap_or_default().to_string_lossy();
    let reason = match source {
        FrameSource::Folder(_) => format!("{name}: {cause}"),
        _ => cause.to_string(),
    };
    Fault::Closed { reason }
}
