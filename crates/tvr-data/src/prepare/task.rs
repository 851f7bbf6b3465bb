//! A clip on its way: its files, and the hash of what is in them.

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
        let hashed = source.files().iter().map(|file| seen.known(file));
        let hashed = hashed.collect::<std::io::Result<Option<Vec<_>>>>();
        let hashed = hashed.map_err(|cause| Fault::Closed { reason: cause.to_string() })?;
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
    pub fn read(&mut self) -> std::io::Result<String> {
        if self.hashed.is_none() {
            let hashed = self.source.files().iter().map(|file| Hashed::of(file));
            self.hashed = Some(hashed.collect::<std::io::Result<_>>()?);
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
    let closed = |cause: std::io::Error| Fault::Closed { reason: cause.to_string() };
    let one = |entry: &Entry| Task::of(0, entry, seen)?.read().map_err(closed);
    entries.iter().map(one).collect()
}
