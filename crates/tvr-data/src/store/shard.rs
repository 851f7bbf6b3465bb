//! A file of records, one after another, each at a multiple of 64 bytes.
//!
//! ```text
//! shard    "tvr-shard/1" and zeros [64] · record · record · …
//! record   "TVRR" · kind u32 · key [32] · bytes of the shape u32, of the note u32, of the values u64 · crc32 of the
//!          rest u32 · crc32 of the 60 bytes before it u32 · shape u64 [axes] · note · zeros to 64 · values · zeros to 64
//! ```
//!
//! All numbers are little-endian. The values lie at a multiple of 64, so that a memory map hands them out as they are.

use std::fs::File;
use std::io::ErrorKind::NotFound;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use memmap2::Mmap;

use super::index::{self, Entry};
use super::key::Key;
use crate::error::DataError;

/// Everything begins at a multiple of this.
pub(super) const ALIGN: u64 = 64;

/// Bytes of a record before its shape, and of a shard before its records.
pub(super) const HEAD: usize = 64;

/// Most bytes of a shape and of a note: what says more is no record of ours.
pub(super) const WORDS: u64 = 1 << 24;

/// How often shards are listed anew because one of them went.
const TRIES: usize = 100;

pub(super) const SHARD_MAGIC: &[u8] = b"tvr-shard/1";
pub(super) const RECORD_MAGIC: &[u8] = b"TVRR";

/// What a record holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Bytes, such as pixels.
    U8,
    /// Half precision numbers.
    F16,
    /// Single precision numbers.
    F32,
    /// Nothing; the note says why.
    Fault,
}

impl Kind {
    const ALL: [Self; 4] = [Self::U8, Self::F16, Self::F32, Self::Fault];

    pub(super) fn number(self) -> u32 {
        match self {
            Self::U8 => 1,
            Self::F16 => 2,
            Self::F32 => 3,
            Self::Fault => 4,
        }
    }

    pub(super) fn from_number(number: u32) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.number() == number)
    }

    /// Bytes of one value.
    pub fn size(self) -> usize {
        match self {
            Self::U8 => 1,
            Self::F16 => 2,
            Self::F32 => 4,
            Self::Fault => 0,
        }
    }
}

/// Values to be kept: their shape, and their bytes in little-endian order.
#[derive(Clone, Debug)]
pub struct Value<'a> {
    /// The axes.
    pub shape: &'a [usize],
    /// Their bytes.
    pub bytes: &'a [u8],
}

/// A record as it lies in the store.
#[derive(Clone, Debug, PartialEq)]
pub struct Record<'a> {
    /// Its type.
    pub kind: Kind,
    /// The axes of its values.
    pub shape: Vec<usize>,
    /// What its writer noted, JSON by custom.
    pub note: &'a str,
    /// Its values' bytes, at a multiple of 64.
    pub bytes: &'a [u8],
}

/// What a record says of itself, without its values.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Label<'a> {
    /// Its type.
    pub kind: Kind,
    /// The axes of its values.
    pub shape: Vec<usize>,
    /// What its writer noted.
    pub note: &'a str,
}

/// A shard opened for reading.
#[derive(Debug)]
pub(super) struct Shard {
    path: PathBuf,
    map: Option<Mmap>,
    entries: Vec<Entry>,
    verified: Vec<AtomicBool>,
}

impl Shard {
    /// Opens a shard, whatever its writer left.
    pub fn open(path: &Path) -> Result<Self, DataError> {
        let file = File::open(path).map_err(DataError::file(path, "open"))?;
        let length = file.metadata().map_err(DataError::file(path, "read"))?.len();
        let mut shard =
            Self { path: path.to_path_buf(), map: None, entries: Vec::new(), verified: Vec::new() };
        if length < HEAD as u64 {
            return Ok(shard); // its writer died before the first record
        }
        // SAFETY: a whole record stays where it is and as it is. A writer appends, and cuts off what is torn behind the
        // last whole record, which is looked at while a shard is opened and never again: who opens it in the very moment
        // of the cut may read a page that is gone (SIGBUS), and reads nothing wrong. Whoever changes a shard by other
        // means changes what is read, which the checksums find.
        #[allow(unsafe_code, reason = "a memory map is what keeps a data set out of memory")]
        let map = unsafe { Mmap::map(&file) }.map_err(DataError::file(path, "map"))?;
        if !map.starts_with(SHARD_MAGIC) {
            return Err(DataError::format(path, "is no shard of a tvr-store/1; move it away"));
        }
        let listed = std::fs::read(path.with_extension("index")).unwrap_or_default();
        shard.entries = index::decode(&listed, HEAD as u64, map.len() as u64);
        scan(&map, &mut shard.entries);
        shard.verified = shard.entries.iter().map(|_| AtomicBool::new(false)).collect();
        shard.map = Some(map);
        Ok(shard)
    }

    /// Its file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Its records, in order.
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// Bytes of the file.
    pub fn bytes(&self) -> u64 {
        self.map.as_ref().map_or(0, |map| map.len() as u64)
    }

    /// Bytes that are the shard's head or a record.
    pub fn whole_bytes(&self) -> u64 {
        self.bytes().min(HEAD as u64) + self.entries.iter().map(|entry| entry.bytes).sum::<u64>()
    }

    /// A record, verified when it is read for the first time.
    pub fn record(&self, entry: usize) -> Result<Record<'_>, DataError> {
        let record = self.parsed(entry, !self.verified[entry].load(Ordering::Relaxed))?;
        self.verified[entry].store(true, Ordering::Relaxed);
        Ok(record)
    }

    /// What a record says of itself. One without values is all label, and cheap to verify.
    pub fn label(&self, entry: usize) -> Result<Label<'_>, DataError> {
        let Record { kind, shape, note, .. } = self.parsed(entry, self.entries[entry].kind == Kind::Fault)?;
        Ok(Label { kind, shape, note })
    }

    fn parsed(&self, entry: usize, verify: bool) -> Result<Record<'_>, DataError> {
        let indexed = &self.entries[entry];
        let bytes = self.map.as_ref().and_then(|map| {
            map.get(usize::try_from(indexed.offset).ok()?..)?.get(..usize::try_from(indexed.bytes).ok()?)
        });
        let record = bytes.and_then(|bytes| parse(bytes, verify)).filter(|(key, _)| *key == indexed.key);
        record.map(|(_, record)| record).ok_or_else(|| {
            let problem =
                "does not have its checksum: the disk or a program changed it; cargo xtask store gc drops it";
            DataError::item(&self.path, &format!("record {}", indexed.key), problem)
        })
    }
}

/// The shards of a store, by name.
pub(super) fn open_all(folder: &Path) -> Result<Vec<Shard>, DataError> {
    let mut tries = 0;
    loop {
        let opened = names(folder)?.into_iter().map(|path| Shard::open(&path));
        match opened.collect::<Result<Vec<_>, _>>() {
            // One that went between the two lines was collected. What it held lies in a newer one, which may not have been
            // there yet, or was opened before it was whole: all of them are looked at anew.
            Err(DataError::File { cause, .. }) if cause.kind() == NotFound && tries < TRIES => tries += 1,
            opened => return opened,
        }
    }
}

/// Paths of the shards of a store, by name.
pub(super) fn names(folder: &Path) -> Result<Vec<PathBuf>, DataError> {
    let mut paths = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(DataError::file(folder, "read"))? {
        let path = entry.map_err(DataError::file(folder, "read"))?.path();
        if path.extension().is_some_and(|ending| ending == "shard") {
            paths.push(path);
        }
    }
    paths.sort();
    Ok(paths)
}

/// Adds the whole records that follow the known ones. Nothing is trusted that has not its checksum; behind what is
/// damaged the next whole record is looked for.
fn scan(map: &[u8], entries: &mut Vec<Entry>) {
    let mut offset = entries.last().map_or(HEAD as u64, |last| last.offset + last.bytes);
    while let Some(rest) = usize::try_from(offset).ok().and_then(|offset| map.get(offset..)) {
        if rest.is_empty() {
            break;
        }
        let whole = extent(rest).and_then(|bytes| rest.get(..usize::try_from(bytes).ok()?));
        match whole.and_then(|whole| Some((parse(whole, true)?, whole.len() as u64))) {
            Some(((key, record), bytes)) => {
                entries.push(Entry { key, offset, bytes, kind: record.kind });
                offset += bytes;
            }
            None => offset += ALIGN,
        }
    }
}

/// The parts of a record's head.
struct Head {
    kind: Kind,
    key: Key,
    shape: u64,
    note: u64,
    values: u64,
    sum: u32,
}

fn head(bytes: &[u8]) -> Option<Head> {
    let head = bytes.get(..HEAD)?;
    let word = |at: usize| head[at..at + 4].try_into().ok().map(u32::from_le_bytes);
    if !head.starts_with(RECORD_MAGIC) || crc32fast::hash(&head[..HEAD - 4]) != word(HEAD - 4)? {
        return None;
    }
    let kind = Kind::from_number(word(4)?)?;
    let key = Key::from_bytes(head[8..40].try_into().ok()?);
    let values = u64::from_le_bytes(head[48..56].try_into().ok()?);
    let (shape, note) = (u64::from(word(40)?), u64::from(word(44)?));
    (shape + note <= WORDS).then_some(Head { kind, key, shape, note, values, sum: word(56)? })
}

/// Bytes of the record that begins here, if one does.
fn extent(bytes: &[u8]) -> Option<u64> {
    let head = head(bytes)?;
    let words = align(HEAD as u64 + head.shape + head.note)?;
    words.checked_add(align(head.values)?)
}

fn align(length: u64) -> Option<u64> {
    length.checked_next_multiple_of(ALIGN)
}

/// Takes a whole record apart; `verify` reads all of it to compare its checksum.
fn parse(bytes: &[u8], verify: bool) -> Option<(Key, Record<'_>)> {
    let head = head(bytes)?;
    if verify && crc32fast::hash(&bytes[HEAD..]) != head.sum {
        return None;
    }
    let shape = bytes.get(HEAD..)?.get(..usize::try_from(head.shape).ok()?)?;
    let axes: Option<Vec<usize>> = shape
        .chunks_exact(8)
        .map(|axis| usize::try_from(u64::from_le_bytes(axis.try_into().ok()?)).ok())
        .collect();
    let axes = axes?;
    let note = bytes.get(HEAD + shape.len()..)?.get(..usize::try_from(head.note).ok()?)?;
    let start = usize::try_from(align((HEAD + shape.len() + note.len()) as u64)?).ok()?;
    let values = bytes.get(start..)?.get(..usize::try_from(head.values).ok()?)?;
    let count = axes.iter().try_fold(1usize, |count, &axis| count.checked_mul(axis))?;
    if count.checked_mul(head.kind.size())? != values.len() {
        return None;
    }
    let note = std::str::from_utf8(note).ok()?;
    Some((head.key, Record { kind: head.kind, shape: axes, note, bytes: values }))
}
