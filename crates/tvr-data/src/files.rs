//! Files: read as they are or unpacked; written whole or not at all; known by the hash of their bytes.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{BufWriter, ErrorKind, IntoInnerError, Read, Write};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};

use flate2::read::MultiGzDecoder;
use sha2::{Digest, Sha256};

use crate::error::DataError;

/// Most links that are followed, one to another: as many as Linux follows.
const LINKS: usize = 40;

/// As [`write_with`], for bytes that are all there.
pub(crate) fn write_whole(path: &Path, bytes: &[u8]) -> Result<(), DataError> {
    write_with(path, &mut |file| file.write_all(bytes)).map_err(DataError::file(path, "write"))
}

/// Lets `write` write beside `path`, syncs, and renames: a reader sees the old file or the new one, never half. What a
/// link leads to is replaced or made, and the link stays. A pipe or a device is written to, and stays what it is, and so is
/// a file that is open already (`/dev/stdout`, `/dev/fd/3`): what a log held before stays in it.
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
    if let Some(file) = opened(path) {
        return fill(file?).map(drop);
    }
    if std::fs::metadata(path).is_ok_and(|there| !there.is_file() && !there.is_dir()) {
        return fill(File::options().write(true).open(path)?).map(drop);
    }
    let place = led_to(path)?;
    let (beside, file) = new_beside(&place)?;
    let written = fill(file).and_then(|file| file.sync_all()).and_then(|()| std::fs::rename(&beside, &place));
    if written.is_err() {
        // The first error is the one to report.
        let _ = std::fs::remove_file(&beside);
    }
    written
}

/// What a path leads to by way of /proc, where the system lists what programs have open. Of our own output it is the very
/// stream: opened anew, the same file would be written at two places at once.
fn opened(path: &Path) -> Option<std::io::Result<File>> {
    let mut place = path.to_path_buf();
    for _ in 0..LINKS {
        let folder = place.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let folder = std::fs::canonicalize(folder).ok()?;
        if folder.starts_with("/proc") {
            let own = std::fs::canonicalize("/proc/self/fd").is_ok_and(|own| own == folder);
            let stream = match place.file_name().and_then(OsStr::to_str).filter(|_| own) {
                Some("1") => std::io::stdout().as_fd().try_clone_to_owned().map(File::from),
                Some("2") => std::io::stderr().as_fd().try_clone_to_owned().map(File::from),
                _ => File::options().append(true).open(path),
            };
            return Some(stream);
        }
        place = folder.join(std::fs::read_link(&place).ok()?);
    }
    None
}

/// What a path leads to by links, whether or not anything is there yet.
fn led_to(path: &Path) -> std::io::Result<PathBuf> {
    let mut place = path.to_path_buf();
    for _ in 0..LINKS {
        let Ok(target) = std::fs::read_link(&place) else { return Ok(place) };
        place = place.parent().unwrap_or(Path::new("")).join(target);
    }
    // In a circle: the system's word for that.
    std::fs::canonicalize(path)
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

/// SHA-256 of a file, read piece by piece, in hexadecimal.
///
/// # Errors
/// The system's word.
pub fn sha256_of_file(path: &Path) -> std::io::Result<String> {
    let (mut hash, mut piece) = (Sha256::new(), vec![0; 1 << 20]);
    let mut file = File::open(path)?;
    loop {
        match file.read(&mut piece)? {
            0 => return Ok(hex(&hash.finalize())),
            count => hash.update(&piece[..count]),
        }
    }
}

/// Bytes in hexadecimal.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
