//! A folder that one process works in at a time.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::ErrorKind;
use std::path::Path;

use crate::error::ExperimentError;

/// The lock's file in a folder. It stays there: what holds is the system's lock on it, which ends with its process.
const NAME: &str = "lock";

/// A held folder; dropping it lets go.
#[derive(Debug)]
pub struct Held {
    _file: File,
}

/// Holds `folder`, which is made where it is not there yet.
///
/// # Errors
/// Another process holds it; a folder that cannot be made.
pub fn hold(folder: &Path) -> Result<Held, ExperimentError> {
    std::fs::create_dir_all(folder).map_err(ExperimentError::file(folder, "create the folder"))?;
    let path = folder.join(NAME);
    let file = OpenOptions::new().create(true).append(true).open(&path);
    let file = file.map_err(ExperimentError::file(&path, "open"))?;
    match file.try_lock() {
        Ok(()) => Ok(Held { _file: file }),
        Err(TryLockError::WouldBlock) => Err(ExperimentError::request(format!(
            "{}: another process works in this folder; wait for its end, or give --runs another folder",
            folder.display()
        ))),
        // Some network file systems know no locks; the work is the same without.
        Err(TryLockError::Error(cause)) if no_locks_here(&cause) => Ok(Held { _file: file }),
        Err(TryLockError::Error(cause)) => Err(ExperimentError::file(&path, "lock")(cause)),
    }
}

/// NFS without its lock service says ENOLCK, Lustre without the option `flock` ENOSYS.
fn no_locks_here(cause: &std::io::Error) -> bool {
    cause.kind() == ErrorKind::Unsupported || cause.raw_os_error() == Some(libc::ENOLCK)
}

/// Removes all that is in `folder` but its lock.
///
/// # Errors
/// What cannot be listed or removed.
pub(crate) fn clear(folder: &Path) -> Result<(), ExperimentError> {
    for entry in std::fs::read_dir(folder).map_err(ExperimentError::file(folder, "list"))?.flatten() {
        let path = entry.path();
        let removed = match path.is_dir() && !path.is_symlink() {
            _ if entry.file_name() == NAME => Ok(()),
            true => std::fs::remove_dir_all(&path),
            false => std::fs::remove_file(&path),
        };
        removed.map_err(ExperimentError::file(&path, "replace"))?;
    }
    Ok(())
}
