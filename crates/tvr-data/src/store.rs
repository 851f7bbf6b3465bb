//! A store on disk in which every clip is decoded once and encoded once, and from which batches are read without a copy.
//!
//! ```text
//! STORE/store.json            {"schema": "tvr-store/1"}
//! STORE/shards/00000.shard    records, one after another; whole ones stay as they are   (`shard`)
//! STORE/shards/00000.index    where they lie; made again from the shard where it lags   (`index`)
//! STORE/files.jsonl           path, size and date of a file → SHA-256 of its bytes      (`seen`)
//! STORE/lock                  shared by writers, exclusive for `collect`                (`lock`)
//! ```
//!
//! A record's [`Key`] is a hash of everything that its bytes depend on: the bytes of the video, the sampler, what is
//! done to a picture, the version of the decoder; of features also the encoder. Nothing is ever changed in place, no file
//! is named after what a user calls a video, and a fault that the same bytes would show again is a record as well: a
//! second run has nothing to do.
//!
//! A writer owns a shard while it holds its lock, so two writers never write one file. A process that dies leaves at
//! most one half record, which readers pass over and the next writer of that shard cuts off.

mod collect;
mod index;
mod key;
mod lock;
mod seen;
mod shard;
mod writer;

use std::collections::HashMap;
use std::path::{Path, PathBuf};

pub use collect::{Collected, Damage};
pub use key::Key;
pub use seen::{Hashed, Seen};
pub use shard::{Kind, Label, Record, Value};

use crate::error::DataError;
use shard::Shard;
use writer::Writer;

const SCHEMA: &str = "{\"schema\": \"tvr-store/1\"}\n";

/// An opened store.
#[derive(Debug)]
pub struct Store {
    folder: PathBuf,
    shards: Vec<Shard>,
    places: HashMap<Key, Place>,
    writer: Option<Writer>,
}

/// Where a record lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Place {
    shard: usize,
    entry: usize,
}

/// What a store holds.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct Stat {
    /// Shards.
    pub shards: usize,
    /// Records, doubled ones counted once.
    pub records: usize,
    /// Records of pictures: bytes.
    pub frames: usize,
    /// Records of features: numbers.
    pub features: usize,
    /// Records that say why there are none.
    pub faults: usize,
    /// Records that stand there twice: two writers had the same idea.
    pub doubled: usize,
    /// Bytes of all shards.
    pub bytes: u64,
    /// Bytes that no record claims: what a killed writer left.
    pub torn_bytes: u64,
}

impl Store {
    /// Opens a store for reading and writing, and makes it where there is none.
    ///
    /// # Errors
    /// A folder that is no store, or cannot be read.
    pub fn open(folder: &Path) -> Result<Self, DataError> {
        let shards = folder.join("shards");
        let schema = folder.join("store.json");
        if !schema.exists() {
            // Somebody else may be making it, or have died at it.
            let begun = |name: &str| name == "shards" || name.starts_with("store.json.");
            let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
            if entries.into_iter().any(|entry| !begun(&entry.file_name().to_string_lossy())) {
                let reason = "is no store and not empty; name another folder";
                return Err(DataError::format(folder, reason));
            }
            std::fs::create_dir_all(&shards).map_err(DataError::file(&shards, "create the folder"))?;
            crate::files::write_whole(&schema, SCHEMA.as_bytes())?; // the last step: with it, it is a store
        }
        let found = std::fs::read_to_string(&schema).map_err(DataError::file(&schema, "read"))?;
        if found != SCHEMA {
            return Err(DataError::format(&schema, format!("is not {}", SCHEMA.trim())));
        }
        let mut store =
            Self { folder: folder.to_path_buf(), shards: Vec::new(), places: HashMap::new(), writer: None };
        store.refresh()?;
        Ok(store)
    }

    /// Takes in what other writers have added since.
    ///
    /// # Errors
    /// A shard that cannot be read.
    pub fn refresh(&mut self) -> Result<(), DataError> {
        self.shards = shard::open_all(&self.folder.join("shards"))?;
        self.places.clear();
        for (number, shard) in self.shards.iter().enumerate() {
            for (entry, indexed) in shard.entries().iter().enumerate() {
                self.places.entry(indexed.key).or_insert(Place { shard: number, entry });
            }
        }
        Ok(())
    }

    /// Whether a record is there.
    pub fn has(&self, key: &Key) -> bool {
        self.places.contains_key(key) || self.writer.as_ref().is_some_and(|writer| writer.has(key))
    }

    /// A record, if it was there when the store was opened or refreshed. Its checksum is verified the first time.
    ///
    /// # Errors
    /// A record whose bytes changed on disk.
    pub fn get(&self, key: &Key) -> Result<Option<Record<'_>>, DataError> {
        match self.places.get(key) {
            None => Ok(None),
            Some(place) => self.shards[place.shard].record(place.entry).map(Some),
        }
    }

    /// What a record says of itself, at the cost of a page or two: its values are not read, and verified only by
    /// [`get`](Self::get). A record without values is verified here.
    ///
    /// # Errors
    /// A record whose head changed on disk.
    pub fn look(&self, key: &Key) -> Result<Option<Label<'_>>, DataError> {
        match self.places.get(key) {
            None => Ok(None),
            Some(place) => self.shards[place.shard].label(place.entry).map(Some),
        }
    }

    /// Adds a record, unless it is there.
    ///
    /// # Errors
    /// A full disk, a disk that cannot be synced, or a store that is being collected.
    pub fn put(&mut self, key: Key, kind: Kind, note: &str, value: &Value<'_>) -> Result<(), DataError> {
        if self.has(&key) {
            return Ok(());
        }
        let writer = Writer::with_room(&mut self.writer, || Writer::take(&self.folder))?;
        writer.append(key, kind, note, value)
    }

    /// Makes what was added durable.
    ///
    /// # Errors
    /// A disk that cannot be synced.
    pub fn sync(&mut self) -> Result<(), DataError> {
        self.writer.as_mut().map_or(Ok(()), Writer::sync)
    }

    /// Makes what was added durable and readable through this store, and lets go of its shard.
    ///
    /// # Errors
    /// As [`sync`](Self::sync) and [`refresh`](Self::refresh).
    pub fn flush(&mut self) -> Result<(), DataError> {
        self.sync()?;
        match self.writer.take() {
            Some(_) => self.refresh(),
            None => Ok(()),
        }
    }

    /// What is in it.
    pub fn stat(&self) -> Stat {
        let mut stat = Stat { shards: self.shards.len(), records: self.places.len(), ..Stat::default() };
        for shard in &self.shards {
            stat.bytes += shard.bytes();
            stat.torn_bytes += shard.bytes() - shard.whole_bytes();
            stat.doubled += shard.entries().len();
        }
        stat.doubled -= stat.records;
        for place in self.places.values() {
            match self.shards[place.shard].entries()[place.entry].kind {
                Kind::U8 => stat.frames += 1,
                Kind::F16 | Kind::F32 => stat.features += 1,
                Kind::Fault => stat.faults += 1,
            }
        }
        stat
    }

    /// Its folder.
    pub fn folder(&self) -> &Path {
        &self.folder
    }
}
