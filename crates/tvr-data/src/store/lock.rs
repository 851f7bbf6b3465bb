//! The lock of a store, which its writers share and its collector has alone, and those of its shards.
//!
//! Where a file system knows no locks, a writer goes on in no shard that is there, for it might be another's, and makes one of
//! its own; a store cannot be collected there.

use std::fs::{File, OpenOptions};
use std::path::Path;

use crate::error::DataError;
use crate::lock::{Asked, is_unknown};

/// A held lock; dropping it lets go.
#[derive(Debug)]
pub(super) struct Lock {
    file: File,
}

impl Drop for Lock {
    fn drop(&mut self) {
        // Closing the file is not enough: a child that another thread is just starting has it too, until it is another program.
        let _ = self.file.unlock();
    }
}

impl Lock {
    /// Waits for a share of a lock, which others may share.
    pub fn shared(path: &Path) -> Result<Self, DataError> {
        let file = open(path)?;
        match file.lock_shared() {
            Err(cause) if !is_unknown(&cause) => Err(DataError::file(path, "lock")(cause)),
            _ => Ok(Self { file }),
        }
    }

    /// Takes a lock for itself alone; `None` where somebody else holds it.
    pub fn exclusive(path: &Path) -> Result<Option<Self>, DataError> {
        let file = open(path)?;
        match ask(path, &file)? {
            Asked::Held => Ok(Some(Self { file })),
            Asked::Elsewhere => Ok(None),
            Asked::Unknown => Err(DataError::format(
                path,
                "cannot be locked on this file system, so another program may be writing; copy the store to a local disk",
            )),
        }
    }
}

/// Asks for the lock of a file that is open.
pub(super) fn ask(path: &Path, file: &File) -> Result<Asked, DataError> {
    Asked::of(file).map_err(DataError::file(path, "lock"))
}

fn open(path: &Path) -> Result<File, DataError> {
    OpenOptions::new().create(true).append(true).open(path).map_err(DataError::file(path, "open"))
}
