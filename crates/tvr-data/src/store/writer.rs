//! Appending to a shard: by one process at a time, which owns it while it holds its lock.

use std::collections::HashSet;
use std::fs::{File, OpenOptions};
use std::io::{IoSlice, Write};
use std::path::{Path, PathBuf};

use super::index::Entry;
use super::key::Key;
use super::lock::{Lock, ask};
use super::shard::{ALIGN, HEAD, Kind, RECORD_MAGIC, SHARD_MAGIC, Shard, Value, WORDS, names};
use crate::error::DataError;
use crate::lock::Asked;

/// A shard that has grown so far is full.
const FULL: u64 = 1 << 30;

/// The one writer of a shard.
#[derive(Debug)]
pub(super) struct Writer {
    path: PathBuf,
    shard: File,
    index: File,
    end: u64,
    added: HashSet<Key>,
    _store: Option<Lock>,
}

impl Writer {
    /// Takes the first shard that has room and no other writer, or a new one.
    pub fn take(folder: &Path) -> Result<Self, DataError> {
        let store = Lock::shared(&folder.join("lock"))?;
        for path in names(&folder.join("shards"))? {
            let file = OpenOptions::new().read(true).append(true).open(&path);
            let file = file.map_err(DataError::file(&path, "open"))?;
            let length = file.metadata().map_err(DataError::file(&path, "read"))?.len();
            if length < FULL && ask(&path, &file)? == Asked::Held {
                return Self::resume(path, file, Some(store));
            }
        }
        Self::fresh(folder, Some(store))
    }

    /// The writer of a place while it has room, else the next one. The full one is durable by then, and unlocked.
    pub fn with_room(
        place: &mut Option<Self>,
        next: impl FnOnce() -> Result<Self, DataError>,
    ) -> Result<&mut Self, DataError> {
        let writer = match place.take() {
            Some(writer) if !writer.is_full() => writer,
            full => {
                if let Some(mut full) = full {
                    full.sync()?;
                }
                next()?
            }
        };
        Ok(place.insert(writer))
    }

    /// Makes a new shard; `store` is the writer's share of the lock, where the caller does not hold all of it.
    ///
    /// Its number is above all others: a reader that listed a shard which was collected since must not open another one
    /// in its place.
    pub fn fresh(folder: &Path, store: Option<Lock>) -> Result<Self, DataError> {
        let number = |path: &PathBuf| path.file_stem()?.to_str()?.parse::<u32>().ok().map(u64::from);
        let numbers = names(&folder.join("shards"))?;
        let mut number = numbers.iter().filter_map(number).max().map_or(0, |last| last + 1);
        loop {
            let path = folder.join(format!("shards/{number:05}.shard"));
            match OpenOptions::new().read(true).append(true).create_new(true).open(&path) {
                // Somebody may take it between the two; then the next one is ours.
                Ok(file) if ask(&path, &file)? != Asked::Elsewhere => return Self::resume(path, file, store),
                Ok(_) => {}
                Err(cause) if cause.kind() == std::io::ErrorKind::AlreadyExists => {}
                Err(cause) => return Err(DataError::file(&path, "create")(cause)),
            }
            number += 1;
        }
    }

    /// Cuts off what a killed writer left behind the last whole record, and goes on there.
    fn resume(path: PathBuf, mut shard: File, store: Option<Lock>) -> Result<Self, DataError> {
        let list = path.with_extension("index");
        let length = shard.metadata().map_err(DataError::file(&path, "read"))?.len();
        let entries = Shard::open(&path)?.entries().to_vec();
        let end = entries.last().map_or(HEAD as u64, |last: &Entry| last.offset + last.bytes);
        if length < HEAD as u64 {
            let mut head = [0; HEAD];
            head[..SHARD_MAGIC.len()].copy_from_slice(SHARD_MAGIC);
            shard.set_len(0).map_err(DataError::file(&path, "write"))?;
            shard.write_all(&head).map_err(DataError::file(&path, "write"))?;
        } else if length > end {
            shard.set_len(end).map_err(DataError::file(&path, "write"))?;
        }
        let known = std::fs::read(&list).unwrap_or_default();
        let whole: Vec<u8> = entries.iter().flat_map(Entry::encode).collect();
        if known != whole {
            crate::files::write_whole(&list, &whole)?;
        }
        let index = OpenOptions::new().append(true).create(true).open(&list);
        let index = index.map_err(DataError::file(&list, "open"))?;
        let added = entries.iter().map(|entry| entry.key).collect();
        Ok(Self { path, shard, index, end, added, _store: store })
    }

    /// Whether its shard has a record.
    pub fn has(&self, key: &Key) -> bool {
        self.added.contains(key)
    }

    /// Whether the next record belongs into another shard.
    fn is_full(&self) -> bool {
        self.end >= FULL
    }

    /// Writes a record, then its entry.
    pub fn append(&mut self, key: Key, kind: Kind, note: &str, value: &Value<'_>) -> Result<(), DataError> {
        let count = value.shape.iter().try_fold(1usize, |count, &axis| count.checked_mul(axis));
        let words = value.shape.len() * 8 + note.len();
        if count.and_then(|count| count.checked_mul(kind.size())) != Some(value.bytes.len())
            || words as u64 > WORDS
        {
            let problem = format!("has {} bytes for the shape {:?}", value.bytes.len(), value.shape);
            return Err(DataError::item(&self.path, &format!("record {key}"), problem));
        }
        let padding = |length: usize| length.next_multiple_of(ALIGN as usize) - length;
        let zeros = [0; ALIGN as usize];
        let mut rest = Vec::with_capacity(words + HEAD);
        rest.extend(value.shape.iter().flat_map(|&axis| (axis as u64).to_le_bytes()));
        rest.extend_from_slice(note.as_bytes());
        rest.extend_from_slice(&zeros[..padding(HEAD + words)]);
        let tail = &zeros[..padding(value.bytes.len())];
        let mut sum = crc32fast::Hasher::new();
        [&rest, value.bytes, tail].into_iter().for_each(|part| sum.update(part));
        let mut head = Vec::with_capacity(HEAD);
        head.extend_from_slice(RECORD_MAGIC);
        head.extend_from_slice(&kind.number().to_le_bytes());
        head.extend_from_slice(key.bytes());
        head.extend_from_slice(&((value.shape.len() * 8) as u32).to_le_bytes());
        head.extend_from_slice(&(note.len() as u32).to_le_bytes());
        head.extend_from_slice(&(value.bytes.len() as u64).to_le_bytes());
        head.extend_from_slice(&sum.finalize().to_le_bytes());
        let own = crc32fast::hash(&head);
        head.extend_from_slice(&own.to_le_bytes());
        let bytes = (head.len() + rest.len() + value.bytes.len() + tail.len()) as u64;
        let mut parts = [&head[..], &rest, value.bytes, tail].map(IoSlice::new);
        let written = write_all_vectored(&mut self.shard, &mut parts);
        if let Err(cause) = written {
            // A full disk: the half record goes, so that the next one can follow.
            let _ = self.shard.set_len(self.end);
            return Err(DataError::file(&self.path, "write")(cause));
        }
        let entry = Entry { key, offset: self.end, bytes, kind };
        self.end += bytes;
        self.added.insert(key);
        self.index.write_all(&entry.encode()).map_err(DataError::file(&self.path, "index"))
    }

    /// Makes what was written durable.
    pub fn sync(&mut self) -> Result<(), DataError> {
        let synced = self.shard.sync_data().and_then(|()| self.index.sync_data());
        synced.map_err(DataError::file(&self.path, "sync"))
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        // Whoever wants to know calls `sync`; this is for the end of a program.
        let _ = self.sync();
    }
}

fn write_all_vectored(file: &mut File, mut parts: &mut [IoSlice<'_>]) -> std::io::Result<()> {
    IoSlice::advance_slices(&mut parts, 0);
    while !parts.is_empty() {
        match file.write_vectored(parts) {
            Ok(0) => return Err(std::io::ErrorKind::WriteZero.into()),
            Ok(written) => IoSlice::advance_slices(&mut parts, written),
            Err(cause) if cause.kind() == std::io::ErrorKind::Interrupted => {}
            Err(cause) => return Err(cause),
        }
    }
    Ok(())
}
