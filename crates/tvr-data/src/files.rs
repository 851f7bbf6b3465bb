//! Files: read as they are or unpacked; written whole or not at all.

use std::fs::File;
use std::io::{Read, Write};
use std::path::Path;

use flate2::read::MultiGzDecoder;

use crate::error::DataError;

/// Writes `bytes` beside `path`, syncs, and renames: a reader sees the old file or the new one, never half.
pub(crate) fn write_whole(path: &Path, bytes: &[u8]) -> Result<(), DataError> {
    let mut name = path.file_name().unwrap_or_default().to_os_string();
    name.push(format!(".{}.tmp", std::process::id()));
    let beside = path.with_file_name(name);
    let written = File::create(&beside)
        .and_then(|mut file| file.write_all(bytes).and_then(|()| file.sync_all()))
        .and_then(|()| std::fs::rename(&beside, path));
    if written.is_err() {
        // The first error is the one to report; a file that was never made cannot be removed.
        let _ = std::fs::remove_file(&beside);
    }
    written.map_err(DataError::file(path, "write"))
}

/// The bytes of a file, unpacked if it is `packed` by gzip.
pub(crate) fn read(path: &Path, packed: bool) -> Result<Vec<u8>, DataError> {
    let mut file = File::open(path).map_err(DataError::file(path, "open"))?;
    let mut bytes = Vec::new();
    let read = match packed {
        true => MultiGzDecoder::new(file).read_to_end(&mut bytes),
        false => file.read_to_end(&mut bytes),
    };
    read.map_err(DataError::file(path, "read"))?;
    Ok(bytes)
}
