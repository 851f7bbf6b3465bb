//! Locks of the system, which end with the process that holds them, however it ends.

use std::fs::{File, TryLockError};
use std::io::{Error, ErrorKind};

/// What comes of asking for a lock for oneself alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Asked {
    /// It is held as long as the file is open.
    Held,
    /// Somebody else holds it.
    Elsewhere,
    /// This file system knows no locks (some network file systems): nobody holds one here.
    Unknown,
}

impl Asked {
    /// Asks for the lock of an open file, and does not wait for it.
    ///
    /// # Errors
    /// The system's word.
    pub fn of(file: &File) -> std::io::Result<Self> {
        match file.try_lock() {
            Ok(()) => Ok(Self::Held),
            Err(TryLockError::WouldBlock) => Ok(Self::Elsewhere),
            Err(TryLockError::Error(cause)) if is_unknown(&cause) => Ok(Self::Unknown),
            Err(TryLockError::Error(cause)) => Err(cause),
        }
    }
}

/// Whether an error says that the file system knows no locks: NFS without its lock service says ENOLCK, Lustre without the
/// option `flock` ENOSYS.
pub fn is_unknown(cause: &Error) -> bool {
    cause.kind() == ErrorKind::Unsupported || cause.raw_os_error() == Some(libc::ENOLCK)
}
