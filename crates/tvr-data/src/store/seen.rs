//! Which bytes a file holds, without reading them again: `files.jsonl`, a line for each file that was hashed.
//!
//! A file with the path, size and date of a line is taken to hold what it held, as build tools and git take it. The
//! list is a memory only: lines that are torn or lost cost one more reading.

use std::collections::HashMap;
use std::fs::OpenOptions;
use std::io::Write;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::error::DataError;
use crate::files::sha256_of_file;

#[derive(Clone, Debug, Serialize, Deserialize)]
struct Line {
    path: String,
    state: State,
    sha256: String,
}

/// What changes when a file changes: bytes, and the date in nanoseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct State {
    bytes: u64,
    date: i128,
}

/// The hash of a file's bytes, and how the file was before they were read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hashed {
    sha256: String,
    state: State,
}

impl Hashed {
    /// Reads a file.
    ///
    /// # Errors
    /// A file that cannot be read.
    pub fn of(path: &Path) -> std::io::Result<Self> {
        let state = state(path)?;
        Ok(Self { sha256: sha256_of_file(path)?, state })
    }

    /// SHA-256, hexadecimal.
    pub fn sha256(&self) -> &str {
        &self.sha256
    }

    /// Whether the file is still as it was: what was read of it since is of these bytes.
    pub fn holds(&self, path: &Path) -> bool {
        state(path).is_ok_and(|state| state == self.state)
    }
}

/// The hashes of files that were seen.
#[derive(Debug)]
pub struct Seen {
    list: PathBuf,
    known: HashMap<String, (State, String)>,
    fresh: Vec<Line>,
}

impl Seen {
    /// The memory of a store.
    pub fn open(store: &Path) -> Self {
        let list = store.join("files.jsonl");
        let text = std::fs::read(&list).unwrap_or_default();
        let lines =
            text.split(|&byte| byte == b'\n').filter_map(|line| serde_json::from_slice::<Line>(line).ok());
        let known = lines.map(|line| (line.path, (line.state, line.sha256))).collect();
        Self { list, known, fresh: Vec::new() }
    }

    /// What a file was hashed to if it is as it was then.
    ///
    /// # Errors
    /// A file that cannot be asked for its size.
    pub fn known(&self, path: &Path) -> std::io::Result<Option<Hashed>> {
        let state = state(path)?;
        let known = self.known.get(&*path.to_string_lossy()).filter(|(then, _)| *then == state);
        Ok(known.map(|(_, sha256)| Hashed { sha256: sha256.clone(), state }))
    }

    /// Remembers a file as it was when it was hashed.
    pub fn remember(&mut self, path: &Path, hashed: &Hashed) {
        // A name that is no text cannot stand in JSON; such a file is hashed each time.
        let Some(name) = path.to_str() else { return };
        let Hashed { sha256, state } = hashed.clone();
        self.fresh.push(Line { path: name.to_owned(), state, sha256: sha256.clone() });
        self.known.insert(name.to_owned(), (state, sha256));
    }

    /// Writes what is new, in one piece behind what others wrote.
    ///
    /// # Errors
    /// A list that cannot be written.
    pub fn save(&mut self) -> Result<(), DataError> {
        let mut text = String::new();
        for line in &self.fresh {
            // A torn line of somebody else's must not swallow ours: each begins on a line of its own.
            text.push('\n');
            text.push_str(&serde_json::to_string(line).unwrap_or_default());
        }
        if text.is_empty() {
            return Ok(());
        }
        text.push('\n');
        let file = OpenOptions::new().create(true).append(true).open(&self.list);
        file.and_then(|mut file| file.write_all(text.as_bytes()))
            .map_err(DataError::file(&self.list, "write"))?;
        self.fresh.clear();
        Ok(())
    }
}

/// What of a file says that it is the same. Of a folder it would say little: whoever asks, asks of files.
fn state(path: &Path) -> std::io::Result<State> {
    let facts = std::fs::metadata(path)?;
    Ok(State {
        bytes: facts.len(),
        date: i128::from(facts.mtime()) * 1_000_000_000 + i128::from(facts.mtime_nsec()),
    })
}
