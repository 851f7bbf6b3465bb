//! Where the records of a shard lie: 64 bytes for each, in the shard's order, with a checksum.
//!
//! ```text
//! key [32] · offset of the record u64 · bytes of the record u64 · kind u32 · zero [8] · crc32 of the 60 before it u32
//! ```
//!
//! An index may lag behind its shard, if a writer died between the two; what it lacks is read from the shard. An
//! entry that is not whole ends it.

use super::key::Key;
use super::shard::Kind;

/// Bytes of an entry.
pub(super) const ENTRY: usize = 64;

/// One record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Entry {
    pub key: Key,
    pub offset: u64,
    pub bytes: u64,
    pub kind: Kind,
}

impl Entry {
    /// Its bytes, with their checksum.
    pub fn encode(&self) -> [u8; ENTRY] {
        let mut out = [0; ENTRY];
        out[..32].copy_from_slice(self.key.bytes());
        out[32..40].copy_from_slice(&self.offset.to_le_bytes());
        out[40..48].copy_from_slice(&self.bytes.to_le_bytes());
        out[48..52].copy_from_slice(&self.kind.number().to_le_bytes());
        let sum = crc32fast::hash(&out[..ENTRY - 4]);
        out[ENTRY - 4..].copy_from_slice(&sum.to_le_bytes());
        out
    }

    /// An entry, if these bytes are a whole one.
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let bytes: &[u8; ENTRY] = bytes.try_into().ok()?;
        let (head, sum) = bytes.split_at(ENTRY - 4);
        if crc32fast::hash(head).to_le_bytes() != *sum {
            return None;
        }
        let number = |at: usize| bytes[at..at + 8].try_into().ok().map(u64::from_le_bytes);
        let kind = Kind::from_number(u32::from_le_bytes(bytes[48..52].try_into().ok()?))?;
        let key = Key::from_bytes(bytes[..32].try_into().ok()?);
        Some(Self { key, offset: number(32)?, bytes: number(40)?, kind })
    }
}

/// The entries of an index that lie one behind another in a shard of `length` bytes.
pub(super) fn decode(bytes: &[u8], start: u64, length: u64) -> Vec<Entry> {
    let mut end = start;
    let mut entries = Vec::with_capacity(bytes.len() / ENTRY);
    for chunk in bytes.chunks_exact(ENTRY) {
        let follows = |entry: &Entry| {
            let inside = entry.offset.checked_add(entry.bytes).is_some_and(|end| end <= length);
            entry.offset >= end && entry.bytes > 0 && inside
        };
        let Some(entry) = Entry::decode(chunk).filter(follows) else { break };
        end = entry.offset + entry.bytes;
        entries.push(entry);
    }
    entries
}
