//! Locks of the system, which end with the process that holds them, however it ends.

use std::fs::{File, OpenOptions, TryLockError};
use std::path::Path;

use crate::error::DataError;

/// A held lock; dropping it lets go.
#[derive(Debug)]
pub(super) struct Lock {
    _file: File,
}

impl Lock {
    /// Waits for a share of a lock, which others may share.
    pub fn shared(path: &Path) -> Result<Self, DataError> {
        let file = open(path)?;
        file.lock_shared().map_err(DataError::file(path, "lock"))?;
        Ok(Self { _file: file })
    }

    /// Takes a lock for itself alone; `None` where somebody else holds it.
    pub fn exclusive(path: &Path) -> Result<Option<Self>, DataError> {
        let file = open(path)?;
        Ok(try_lock(path, &file)?.then_some(Self { _file: file }))
    }
}

/// Locks a file that is open; false where somebody else holds it.
pub(super) fn try_lock(path: &Path, file: &File) -> Result<bool, DataError> {
    match file.try_lock() {
        Ok(()) => Ok(true),
        Err(TryLockError::WouldBlock) => Ok(false),
        Err(TryLockError::Error(cause)) => Err(DataError::file(path, "lock")(cause)),
    }
}

fn open(path: &Path) -> Result<File, DataError> {
    OpenOptions::new().create(true).append(true).open(path).map_err(DataError::file(path, "open"))
}
