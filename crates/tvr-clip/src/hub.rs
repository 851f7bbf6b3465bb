//! `--weights`: a folder, or the name of a repository on the Hugging Face hub.
//!
//! Downloads need the feature `hub`, which is off by default: nothing in tvr asks the network unless it was built to.
//! The files of a checkpoint go into the hub's own cache (`HF_HOME`), where Python's libraries find them too. A file
//! that is there whole is not fetched again, and weights that were cut off go on at the byte where they were: the whole
//! must then have the SHA-256 that the hub names, or it is fetched anew. `HF_TOKEN` opens private repositories,
//! `HF_ENDPOINT` names a mirror, and with `HF_HUB_OFFLINE=1` the cache alone is asked.
//! All files are of one commit, the one that `main` names when the first of them is fetched.

#[cfg(feature = "hub")]
mod download;

use std::path::{Path, PathBuf};

use crate::ClipError;

/// What a download tells while it runs.
pub type Progress = dyn Fn(&Fetched<'_>) + Send + Sync;

/// How far a file is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fetched<'a> {
    /// Its name in the repository.
    pub file: &'a str,
    /// Bytes that have come.
    pub done: u64,
    /// Bytes in all; 0 where the hub does not say.
    pub total: u64,
}

/// Where the hub is and how it is asked.
#[derive(Clone, Debug, Default)]
pub struct Hub {
    /// Address, in place of `HF_ENDPOINT` and the public one.
    pub endpoint: Option<String>,
    /// Cache, in place of `HF_HOME`'s.
    pub cache: Option<PathBuf>,
    /// Never ask the network.
    pub offline: bool,
}

impl Hub {
    /// As the environment says; `HF_HOME`, `HF_TOKEN` and `HF_ENDPOINT` are read when a download begins.
    pub fn from_environment() -> Self {
        // What Python's library takes for yes.
        let yes = |word: String| ["1", "ON", "YES", "TRUE"].contains(&word.to_uppercase().as_str());
        Self { endpoint: None, cache: None, offline: std::env::var("HF_HUB_OFFLINE").is_ok_and(yes) }
    }

    /// The folder of a checkpoint: `weights` itself if it is one, else a download of the repository of that name.
    ///
    /// # Errors
    /// [`ClipError::Hub`] for a name that is neither, for a repository without a checkpoint, where the network
    /// fails, and where this program was built without the feature `hub`.
    pub fn folder(&self, weights: &str, progress: std::sync::Arc<Progress>) -> Result<PathBuf, ClipError> {
        let refused = |reason: &str| ClipError::Hub { name: weights.to_owned(), reason: reason.to_owned() };
        let path = Path::new(weights);
        if path.exists() {
            return Ok(path.to_owned());
        }
        let plain = |part: &str| {
            !part.is_empty()
                && !part.starts_with('.')
                && part.chars().all(|letter| letter.is_ascii_alphanumeric() || "-_.".contains(letter))
        };
        match weights.split_once('/') {
            Some((owner, name)) if plain(owner) && plain(name) => self.fetch(owner, name, progress),
            _ => Err(refused("no such folder, and no name of the form OWNER/NAME on the Hugging Face hub")),
        }
    }

    #[cfg(not(feature = "hub"))]
    fn fetch(&self, owner: &str, name: &str, _: std::sync::Arc<Progress>) -> Result<PathBuf, ClipError> {
        Err(ClipError::Hub {
            name: format!("{owner}/{name}"),
            reason: "no such folder; to download it from the Hugging Face hub, build with `--features hub`"
                .to_owned(),
        })
    }

    #[cfg(feature = "hub")]
    fn fetch(
        &self,
        owner: &str,
        name: &str,
        progress: std::sync::Arc<Progress>,
    ) -> Result<PathBuf, ClipError> {
        download::Download::new(self, owner, name, progress)?.run()
    }
}
