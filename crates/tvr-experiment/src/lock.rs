//! A folder that one process works in at a time.

use std::fs::{File, OpenOptions};
use std::path::Path;

use tvr_data::lock::Asked;

use crate::error::ExperimentError;

/// The lock's file in a folder. It stays there: what holds is the system's lock on it, which ends with its process.
const NAME: &str = "lock";

/// A held folder; dropping it lets go.
#[derive(Debug)]
pub struct Held {
    file: File,
}

impl Drop for Held {
    fn drop(&mut self) {
        // Closing the file is not enough: a child that another thread is just starting has it too, until it is another program.
        let _ = self.file.unlock();
    }
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
    match Asked::of(&file).map_err(ExperimentError::file(&path, "lock"))? {
        // Where no locks are known, the work is the same without.
        Asked::Held | Asked::Unknown => Ok(Held { file }),
        Asked::Elsewhere => Err(ExperimentError::request(format!(
            "{}: another process works in this folder; wait for its end, or give --runs another folder",
            folder.display()
        ))),
    }
}
