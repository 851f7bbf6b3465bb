//! Looking a store over, and tidying it up.

use std::collections::HashSet;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use super::Store;
use super::key::Key;
use super::lock::Lock;
use super::shard::{Record, Value, names};
use super::writer::Writer;
use crate::error::DataError;

/// A record that is not what was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Damage {
    /// The record.
    pub key: Key,
    /// What is wrong with it.
    pub problem: String,
}

/// What was tidied up.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct Collected {
    /// Records that stay.
    pub kept: usize,
    /// Records that nobody wanted, that stood there twice, or that were damaged.
    pub dropped: usize,
    /// Bytes of the shards before and after.
    pub bytes: [u64; 2],
}

impl Store {
    /// Reads everything and compares checksums; `told` hears how many records were read.
    pub fn verify(&self, told: &mut dyn FnMut(usize)) -> Vec<Damage> {
        let mut damages = Vec::new();
        let mut read = 0;
        for shard in &self.shards {
            for (number, entry) in shard.entries().iter().enumerate() {
                if let Err(cause) = shard.record(number) {
                    damages.push(Damage { key: entry.key, problem: cause.to_string() });
                }
                read += 1;
                told(read);
            }
        }
        damages
    }

    /// Writes the store anew without what is doubled, damaged or torn, and without what `keep` refuses.
    ///
    /// The new shards are complete and synced before the old ones go, so a process that dies on the way leaves
    /// doubled records and loses none. One that fails takes its copy back.
    ///
    /// # Errors
    /// Another writer at work, or a disk without room for a copy of what stays, or one that cannot be synced.
    pub fn collect(mut self, keep: &dyn Fn(&Record<'_>) -> bool) -> Result<Collected, DataError> {
        self.writer = None;
        let path = self.folder.join("lock");
        let Some(lock) = Lock::exclusive(&path)? else {
            return Err(DataError::format(
                &self.folder,
                "is being written to; wait for the other program to end",
            ));
        };
        self.refresh()?;
        let before: u64 = self.shards.iter().map(|shard| shard.bytes()).sum();
        let mut collected = Collected { bytes: [before, before], ..Collected::default() };
        let total: usize = self.shards.iter().map(|shard| shard.entries().len()).sum();
        let kept = match self.copy(keep) {
            Ok(kept) => kept,
            Err(cause) => {
                // The first error is the one to report.
                let _ = self.take_back();
                return Err(cause);
            }
        };
        self.shards.iter().try_for_each(|shard| remove(shard.path()))?;
        self.refresh()?;
        drop(lock);
        collected.kept = kept;
        collected.dropped = total - kept;
        collected.bytes[1] = self.shards.iter().map(|shard| shard.bytes()).sum();
        Ok(collected)
    }

    /// Copies what stays into new shards, durably; how many records.
    fn copy(&self, keep: &dyn Fn(&Record<'_>) -> bool) -> Result<usize, DataError> {
        let mut writer: Option<Writer> = None;
        let mut kept = HashSet::new();
        for shard in &self.shards {
            for (number, entry) in shard.entries().iter().enumerate() {
                let record = shard.record(number).ok().filter(|record| keep(record));
                let Some(record) = record.filter(|_| !kept.contains(&entry.key)) else { continue };
                let into = Writer::with_room(&mut writer, || Writer::fresh(&self.folder, None))?;
                let value = Value { shape: &record.shape, bytes: record.bytes };
                into.append(entry.key, record.kind, record.note, &value)?;
                kept.insert(entry.key);
            }
        }
        if let Some(mut writer) = writer {
            writer.sync()?;
        }
        Ok(kept.len())
    }

    /// Removes the shards that are not among the opened ones: while the lock is held, nobody else makes any.
    fn take_back(&self) -> Result<(), DataError> {
        let opened = |path: &PathBuf| self.shards.iter().any(|shard| shard.path() == path);
        names(&self.folder.join("shards"))?
            .iter()
            .filter(|path| !opened(path))
            .try_for_each(|path| remove(path))
    }
}

/// Removes a shard and its index.
fn remove(shard: &Path) -> Result<(), DataError> {
    for file in [shard.to_path_buf(), shard.with_extension("index")] {
        match std::fs::remove_file(&file) {
            Err(cause) if cause.kind() != ErrorKind::NotFound => {
                return Err(DataError::file(&file, "remove")(cause));
            }
            _ => {}
        }
    }
    Ok(())
}
