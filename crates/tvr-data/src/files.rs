//! Files: read as they are or unpacked; written whole or not at all.

use std::fs::File;
use std::io::{BufWriter, IntoInnerError, Read, Write};
use std::path::Path;

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
    let mut name = place.file_name().unwrap_or_default().to_os_string();
    name.push(format!(".{}.tmp", std::process::id()));
    let beside = place.with_file_name(name);
    let written = File::create(&beside)
        .and_then(|file| fill(file)?.sync_all())
        .and_then(|()| std::fs::rename(&beside, place));
    if written.is_err() {
        // The first error is the one to report; a file that was never made cannot be removed.
        let _ = std::fs::remove_file(&beside);
    }
    written
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
