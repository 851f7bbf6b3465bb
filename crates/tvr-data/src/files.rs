//! Files: read as they are or unpacked; written whole or not at all.

use std::fs::File;
use std::io::{BufWriter, ErrorKind, IntoInnerError, Read, Write};
use std::path::{Path, PathBuf};

use flate2::read::MultiGzDecoder;

use crate::error::DataError;

/// As [`write_with`], for bytes that are all there.
pub(crate) fn write_whole(path: &Path, bytes: &[u8]) -> Result<(), DataError> {
    write_with(path, &mut |file| file.write_all(bytes)).map_err(DataError::file(path, "write"))
}

/// Lets `write` write beside `path`, syncs, and renames: a reader sees the old file or the new one, never half. What a
/// link leads to is replaced, and the link stays. A pipe or a device (`/dev/stdout`) is written to, and stays what it is.
///
/// # Errors
/// The system's word, or that of `write`; nothing is left behind.
pub fn write_with(
    path: &Path,
    write: &mut dyn FnMut(&mut dyn Write) -> std::io::Result<()>,
) -> std::io::Result<()> {
    let mut fill = |file: File| {
        let mut file = BufWriter::new(file);
        write(&mut file)?;
        file.into_inner().map_err(IntoInnerError::into_error)
    };
    if std::fs::metadata(path).is_ok_and(|there| !there.is_file() && !there.is_dir()) {
        return fill(File::options().write(true).open(path)?).map(drop);
    }
    let linked = if path.is_symlink() { std::fs::canonicalize(path).ok() } else { None };
    let place = linked.as_deref().unwrap_or(path);
    let (beside, file) = new_beside(place)?;
    let written = fill(file).and_then(|file| file.sync_all()).and_then(|()| std::fs::rename(&beside, place));
    if written.is_err() {
        // The first error is the one to report.
        let _ = std::fs::remove_file(&beside);
    }
    written
}

/// A file that nobody else writes. The number of a process is not enough: every container has a process 1.
fn new_beside(place: &Path) -> std::io::Result<(PathBuf, File)> {
    let mut attempt = 0;
    loop {
        let mut name = place.file_name().unwrap_or_default().to_os_string();
        name.push(format!(".{}.{attempt}.tmp", std::process::id()));
        let beside = place.with_file_name(name);
        match File::create_new(&beside) {
            Err(cause) if cause.kind() == ErrorKind::AlreadyExists => attempt += 1,
            made => return made.map(|file| (beside, file)),
        }
    }
}

/// Text without the mark that editors and spreadsheets put in front of UTF-8, which would belong to its first word.
pub fn unmarked(text: &[u8]) -> &[u8] {
    text.strip_prefix(b"\xef\xbb\xbf").unwrap_or(text)
}

/// A file of text, without that mark.
pub(crate) fn read_text(path: &Path) -> Result<String, DataError> {
    let bytes = std::fs::read(path).map_err(DataError::file(path, "read"))?;
    match std::str::from_utf8(unmarked(&bytes)) {
        Ok(text) => Ok(text.to_owned()),
        Err(_) => Err(DataError::format(path, "is not UTF-8; save it as UTF-8")),
    }
}

/// The bytes of a file of text, without that mark; unpacked if it is `packed` by gzip.
pub(crate) fn read(path: &Path, packed: bool) -> Result<Vec<u8>, DataError> {
    let mut file = File::open(path).map_err(DataError::file(path, "open"))?;
    let mut bytes = Vec::new();
    let read =
        if packed { MultiGzDecoder::new(file).read_to_end(&mut bytes) } else { file.read_to_end(&mut bytes) };
    read.map_err(DataError::file(path, "read"))?;
    let mark = bytes.len() - unmarked(&bytes).len();
    bytes.drain(..mark);
    Ok(bytes)
}
