//! The download itself.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use hf_hub::progress::{DownloadEvent, ProgressEvent, ProgressHandler};
use hf_hub::repository::{RepoTreeEntry, RepoTypeModel};
use hf_hub::{HFClientBuilder, HFError, HFRepositorySync};
use sha2::{Digest, Sha256};

use super::{Fetched, Hub, Progress};
use crate::ClipError;

/// Bytes of a request for the rest of a file.
const PIECE: u64 = 8 << 20;

/// One of these must be there.
const CONFIGS: [&str; 2] = ["config.json", "open_clip_config.json"];

/// These are taken where they are.
const BESIDE: [&str; 7] = [
    "preprocessor_config.json",
    "processor_config.json",
    "tokenizer.json",
    "vocab.json",
    "merges.txt",
    "tokenizer_config.json",
    "special_tokens_map.json",
];

/// The first of these that is there.
const WEIGHTS: [&str; 4] = [
    "model.safetensors",
    "model.safetensors.index.json",
    "open_clip_model.safetensors",
    "open_clip_pytorch_model.safetensors",
];

pub(super) struct Download {
    repository: HFRepositorySync<RepoTypeModel>,
    name: String,
    offline: bool,
    progress: Arc<Progress>,
}

impl Download {
    pub(super) fn new(
        hub: &Hub,
        owner: &str,
        name: &str,
        progress: Arc<Progress>,
    ) -> Result<Self, ClipError> {
        let full = format!("{owner}/{name}");
        let mut builder = HFClientBuilder::new();
        if let Some(endpoint) = &hub.endpoint {
            builder = builder.endpoint(endpoint);
        }
        if let Some(cache) = &hub.cache {
            builder = builder.cache_dir(cache);
        }
        let client = builder
            .build_sync()
            .map_err(|error| ClipError::Hub { name: full.clone(), reason: error.to_string() })?;
        Ok(Self { repository: client.model(owner, name), name: full, offline: hub.offline, progress })
    }

    /// Fetches all files of a checkpoint; returns their folder.
    pub(super) fn run(&self) -> Result<PathBuf, ClipError> {
        let mut config = None;
        for file in CONFIGS {
            let snapshot = config.as_deref().and_then(Path::parent);
            config = self.file(file, snapshot)?.or(config);
        }
        let config =
            config.ok_or_else(|| self.refused(format!("it has neither {}", CONFIGS.join(" nor "))))?;
        let snapshot = config.parent();
        for file in BESIDE {
            self.file(file, snapshot)?;
        }
        for file in WEIGHTS {
            let Some(path) = self.file(file, snapshot)? else { continue };
            if file.ends_with(".index.json") {
                let index: BTreeMap<String, serde_json::Value> = crate::loader::layout::json(&path)?;
                let shards = index.get("weight_map").and_then(|map| map.as_object());
                let shards: BTreeSet<&str> = shards
                    .into_iter()
                    .flat_map(|map| map.values())
                    .filter_map(|shard| shard.as_str())
                    .collect();
                for shard in shards {
                    let found = self.file(shard, snapshot)?;
                    found.ok_or_else(|| self.refused(format!("{shard} of its index is missing")))?;
                }
            }
            return Ok(snapshot.map(Path::to_owned).unwrap_or_default());
        }
        Err(self.refused(format!(
            "it has no safetensors ({}); convert its weights, or choose another revision",
            WEIGHTS.join(", ")
        )))
    }

    /// A file of the repository, or `None` if it has none of that name. `snapshot` is the folder of the commit in
    /// the cache, as soon as it is known.
    fn file(&self, file: &str, snapshot: Option<&Path>) -> Result<Option<PathBuf>, ClipError> {
        if let (Some(snapshot), false) = (snapshot, self.offline) {
            self.go_on(file, snapshot)?;
        }
        let announced = Arc::new(AtomicU64::new(0));
        let bar =
            Bar { file: file.to_owned(), announced: announced.clone(), progress: self.progress.clone() };
        let found = self
            .repository
            .download_file()
            .filename(file)
            .maybe_revision(snapshot.and_then(commit))
            .local_files_only(self.offline)
            .progress(bar)
            .send();
        match found {
            Ok(path) => self.whole(file, path, announced.load(Ordering::Relaxed)).map(Some),
            Err(HFError::EntryNotFound { .. } | HFError::LocalEntryNotFound { .. }) => Ok(None),
            Err(error) => Err(self.refused(format!("{file}: {error}"))),
        }
    }

    /// Completes a file that was cut off. `hf-hub` 1.0 leaves what came in its cache, as `blobs/SHA256.incomplete`, and
    /// begins anew; so it does where nothing can be gone on with.
    fn go_on(&self, file: &str, snapshot: &Path) -> Result<(), ClipError> {
        let (Some(commit), Some(repository)) = (commit(snapshot), snapshot.ancestors().nth(2)) else {
            return Ok(());
        };
        // Nobody is asked where nothing was cut off.
        if snapshot.join(file).exists() || !any_is_cut_off(&repository.join("blobs")) {
            return Ok(());
        }
        let Some((sha256, total)) = self.announced(file, commit) else { return Ok(()) };
        let whole = repository.join("blobs").join(&sha256);
        let part = whole.with_extension("incomplete");
        let Ok(mut kept) = File::options().append(true).open(&part) else { return Ok(()) };
        // The library's lock of that file. Whoever has it is about to bring the file; the library waits for them.
        let locks = repository.file_name().map(|name| repository.with_file_name(".locks").join(name));
        let lock = locks.and_then(|locks| File::create(locks.join(format!("{sha256}.lock"))).ok());
        if lock.as_ref().is_none_or(|lock| lock.try_lock().is_err()) {
            return Ok(());
        }
        let broken = |error: &dyn std::fmt::Display| self.refused(format!("{file}: {error}"));
        let mut done = kept.metadata().map_err(|error| broken(&error))?.len();
        while done < total {
            (self.progress)(&Fetched { file, done, total });
            let wanted = done..total.min(done + PIECE);
            let request = self.repository.download_file_to_bytes().filename(file).revision(commit);
            let piece = match request.range(wanted.clone()).send() {
                Ok(piece) if piece.len() as u64 == wanted.end - wanted.start => piece,
                // A server that knows no ranges sends the whole, or refuses.
                Ok(_) | Err(HFError::Forbidden { .. }) => break,
                Err(HFError::Http { context }) if context.status.is_client_error() => break,
                Err(error) => return Err(broken(&error)),
            };
            kept.write_all(&piece).map_err(|error| broken(&error))?;
            done = wanted.end;
        }
        (self.progress)(&Fetched { file, done, total });
        drop(kept);
        let found = sha256_of(&part).map_err(|error| broken(&error))?;
        let settled =
            if found == sha256 { std::fs::rename(&part, &whole) } else { std::fs::remove_file(&part) };
        settled.map_err(|error| broken(&error))
    }

    /// SHA-256 and bytes of a file, where the hub tells both: of weights, and nothing else that is large.
    fn announced(&self, file: &str, commit: &str) -> Option<(String, u64)> {
        let request = self.repository.get_paths_info().paths(vec![file.to_owned()]).revision(commit);
        let lfs = request.send().ok()?.into_iter().find_map(|entry| match entry {
            RepoTreeEntry::File { path, lfs, .. } if path == file => lfs,
            _ => None,
        })?;
        let sha256 =
            lfs.sha256.filter(|sha| sha.len() == 64 && sha.chars().all(|c| c.is_ascii_hexdigit()))?;
        Some((sha256, lfs.size?))
    }

    /// `path`, if it has as many bytes as the hub announced: the library puts whatever a refused request answers
    /// into its cache. Such a file is taken out again.
    fn whole(&self, file: &str, path: PathBuf, announced: u64) -> Result<PathBuf, ClipError> {
        let broken = |error: std::io::Error| self.refused(format!("{file}: {error}"));
        let found = std::fs::metadata(&path).map_err(broken)?.len();
        if announced == 0 || found == announced {
            return Ok(path);
        }
        let kept = std::fs::canonicalize(&path).map_err(broken)?;
        for path in [kept, path] {
            // On a system without links both are one.
            if path.symlink_metadata().is_ok() {
                std::fs::remove_file(&path).map_err(broken)?;
            }
        }
        Err(self.refused(format!("{file}: {found} bytes came in place of {announced}; ask again")))
    }

    fn refused(&self, reason: String) -> ClipError {
        let offline = if self.offline { " (HF_HUB_OFFLINE is set: the cache alone was asked)" } else { "" };
        ClipError::Hub { name: self.name.clone(), reason: format!("{reason}{offline}") }
    }
}

/// The commit of a snapshot: its folder's name.
fn commit(snapshot: &Path) -> Option<&str> {
    snapshot.file_name()?.to_str()
}

/// Whether a folder of the cache holds a file that did not come whole.
fn any_is_cut_off(blobs: &Path) -> bool {
    let cut_off = |entry: std::io::Result<std::fs::DirEntry>| {
        entry.is_ok_and(|entry| entry.path().extension().is_some_and(|ending| ending == "incomplete"))
    };
    std::fs::read_dir(blobs).is_ok_and(|mut entries| entries.any(cut_off))
}

/// SHA-256 of a file, in hexadecimal digits.
fn sha256_of(path: &Path) -> std::io::Result<String> {
    let (mut file, mut hash, mut bytes) = (File::open(path)?, Sha256::new(), vec![0; 1 << 20]);
    loop {
        match file.read(&mut bytes)? {
            0 => break,
            count => hash.update(&bytes[..count]),
        }
    }
    Ok(hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect())
}

/// Passes on what the library tells of one file.
struct Bar {
    file: String,
    /// Bytes of the whole file, as soon as they are known.
    announced: Arc<AtomicU64>,
    progress: Arc<Progress>,
}

impl ProgressHandler for Bar {
    fn on_progress(&self, event: &ProgressEvent) {
        let tell = |done, total| (self.progress)(&Fetched { file: &self.file, done, total });
        match event {
            ProgressEvent::Download(DownloadEvent::Start { total_bytes, .. }) => {
                self.announced.store(*total_bytes, Ordering::Relaxed);
                tell(0, *total_bytes);
            }
            ProgressEvent::Download(DownloadEvent::AggregateProgress {
                bytes_completed,
                total_bytes,
                ..
            }) => {
                tell(*bytes_completed, *total_bytes);
            }
            ProgressEvent::Download(DownloadEvent::Progress { files }) => {
                files.iter().for_each(|file| tell(file.bytes_completed, file.total_bytes));
            }
            _ => {}
        }
    }
}
