//! Files that appear whole or not at all.

use std::collections::HashMap;
use std::fs::File;
use std::io::{ErrorKind, Write};
use std::path::Path;

use memmap2::Mmap;
use safetensors::SafeTensorError;
use safetensors::tensor::{Dtype, TensorView};
use sha2::{Digest, Sha256};

use crate::error::ExperimentError;

/// Writes `bytes` beside `path`, syncs, and renames: a reader sees the old file or the new one, never half. What a link
/// leads to is replaced, and the link stays. A pipe or a device is written to, and so is what is open already (`/dev/stdout`).
///
/// # Errors
/// The path and the system's word; nothing is left behind.
pub fn write_whole(path: &Path, bytes: &[u8]) -> Result<(), ExperimentError> {
    write_with(path, &mut |file| file.write_all(bytes))
}

/// As [`write_whole`], for what is written piece by piece.
///
/// # Errors
/// As [`write_whole`].
pub fn write_with(
    path: &Path,
    write: &mut dyn FnMut(&mut dyn Write) -> std::io::Result<()>,
) -> Result<(), ExperimentError> {
    if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
        std::fs::create_dir_all(folder).map_err(ExperimentError::file(folder, "create the folder"))?;
    }
    tvr_data::files::write_with(path, write).map_err(ExperimentError::file(path, "write"))
}

/// Makes a folder out of files that `fill` writes into one beside it: all are synced, and it is renamed. A reader sees
/// the folder whole or not at all, and never files of two writings. One that was there is moved aside, to `NAME.old.tmp`, for
/// the moment in which the new one takes its place; a kill in that moment leaves it there.
///
/// # Errors
/// What `fill` says, or the path and the system's word; nothing is left behind, and a folder that was there stays.
pub(crate) fn write_folder(
    folder: &Path,
    fill: impl FnOnce(&Path) -> Result<(), ExperimentError>,
) -> Result<(), ExperimentError> {
    let named = |ending: &str| {
        let mut name = folder.file_name().unwrap_or_default().to_os_string();
        name.push(ending);
        folder.with_file_name(name)
    };
    let (beside, aside) = (named(".tmp"), named(".old.tmp"));
    let failed = |cause| ExperimentError::file(folder, "write")(cause);
    let remove = |folder: &Path| if folder.exists() { std::fs::remove_dir_all(folder) } else { Ok(()) };
    let written = (|| {
        remove(&beside).map_err(ExperimentError::file(&beside, "replace"))?; // of a writer that was killed
        std::fs::create_dir_all(&beside).map_err(ExperimentError::file(&beside, "create the folder"))?;
        fill(&beside)?;
        for entry in std::fs::read_dir(&beside).map_err(failed)? {
            File::open(entry.map_err(failed)?.path()).and_then(|file| file.sync_all()).map_err(failed)?;
        }
        let replaced = folder.exists();
        if replaced {
            // A file is somebody's own.
            let is_ours = if folder.is_dir() { Ok(()) } else { Err(ErrorKind::NotADirectory.into()) };
            is_ours
                .and_then(|()| remove(&aside))
                .and_then(|()| std::fs::rename(folder, &aside))
                .map_err(ExperimentError::file(folder, "replace"))?;
        }
        std::fs::rename(&beside, folder).map_err(|cause| {
            // Back it goes; the first error is the one to report.
            let _ = if replaced { std::fs::rename(&aside, folder) } else { Ok(()) };
            failed(cause)
        })
    })();
    if written.is_err() {
        // The first error is the one to report.
        let _ = remove(&beside);
        return written;
    }
    // What cannot be removed now is at the next writing.
    let _ = remove(&aside);
    // A folder that cannot be synced (some network file systems) still holds the rename.
    if let Some(Ok(above)) = folder.parent().map(File::open) {
        let _ = above.sync_all();
    }
    Ok(())
}

/// Writes a value as indented JSON, whole or not at all.
///
/// # Errors
/// As [`write_whole`].
pub fn write_json(path: &Path, value: &impl serde::Serialize) -> Result<(), ExperimentError> {
    let mut text = serde_json::to_vec_pretty(value)
        .map_err(|cause| ExperimentError::work(format!("{}: cannot be JSON: {cause}", path.display())))?;
    text.push(b'\n');
    write_whole(path, &text)
}

/// A tensor on its way into a file.
#[derive(Clone, Debug)]
pub struct FileTensor {
    /// Its name.
    pub name: String,
    /// The type of its values.
    pub dtype: Dtype,
    /// Its shape.
    pub shape: Vec<usize>,
    /// Its values, little-endian, row by row.
    pub bytes: Vec<u8>,
}

impl FileTensor {
    /// The video of each text, `[texts]` i64: what `score --groups` takes.
    pub(crate) fn groups(name: &str, video_of: &[usize]) -> Self {
        let bytes = video_of.iter().flat_map(|&video| (video as i64).to_le_bytes()).collect();
        Self { name: name.to_owned(), dtype: Dtype::I64, shape: vec![video_of.len()], bytes }
    }
}

/// Refuses to write safetensors under a name by which readers take it for something else.
pub(crate) fn refuse_npy(out: &Path) -> Result<(), ExperimentError> {
    if out.extension().is_some_and(|ending| ending == "npy") {
        return Err(ExperimentError::request(format!(
            "--out {}: a safetensors file is written, which nobody looks for in a .npy; let it end in .safetensors",
            out.display()
        )));
    }
    Ok(())
}

/// Writes tensors as one safetensors file, whole or not at all.
///
/// # Errors
/// As [`write_whole`]; bytes that do not fill the shape.
pub fn write_tensors(path: &Path, tensors: &[FileTensor]) -> Result<(), ExperimentError> {
    write_tensors_with(path, tensors, None)
}

/// As [`write_tensors`], with words in the file's head.
///
/// # Errors
/// As [`write_tensors`].
pub(crate) fn write_tensors_with(
    path: &Path,
    tensors: &[FileTensor],
    metadata: Option<HashMap<String, String>>,
) -> Result<(), ExperimentError> {
    let wrong = |cause: SafeTensorError| ExperimentError::work(format!("{}: {cause}", path.display()));
    let views = tensors
        .iter()
        .map(|tensor| {
            TensorView::new(tensor.dtype, tensor.shape.clone(), &tensor.bytes)
                .map(|view| (tensor.name.clone(), view))
        })
        .collect::<Result<Vec<_>, _>>()
        .map_err(wrong)?;
    write_whole(path, &safetensors::serialize(views, metadata).map_err(wrong)?)
}

/// Reads a file.
///
/// # Errors
/// The path and the system's word.
pub fn read(path: &Path) -> Result<Vec<u8>, ExperimentError> {
    std::fs::read(path).map_err(ExperimentError::file(path, "read"))
}

/// A file as bytes of which only those are read that are looked at.
///
/// # Errors
/// The path and the system's word.
pub(crate) fn map(path: &Path) -> Result<Mmap, ExperimentError> {
    let failed = |cause| ExperimentError::file(path, "read")(cause);
    let file = File::open(path).map_err(failed)?;
    if file.metadata().map_err(failed)?.is_dir() {
        return Err(failed(ErrorKind::IsADirectory.into()));
    }
    #[allow(unsafe_code, reason = "a memory map is what keeps a large file out of memory")]
    let map = unsafe { Mmap::map(&file) };
    map.map_err(failed)
}

/// SHA-256 of bytes, in hexadecimal.
pub fn sha256(bytes: &[u8]) -> String {
    tvr_data::files::hex(&Sha256::digest(bytes))
}

/// SHA-256 of a file, read piece by piece, in hexadecimal.
///
/// # Errors
/// The path and the system's word.
pub fn sha256_of_file(path: &Path) -> Result<String, ExperimentError> {
    tvr_data::files::sha256_of_file(path).map_err(ExperimentError::file(path, "read"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_is_replaced_whole_or_stays() {
        let above = tempfile::tempdir().unwrap();
        let folder = above.path().join("clip");
        let holding = |word: &'static str| move |fresh: &Path| write_whole(&fresh.join(word), b"x");
        write_folder(&folder, holding("old")).unwrap();
        let failing = |fresh: &Path| holding("half")(fresh).and(Err(ExperimentError::work("no")));
        assert_eq!(write_folder(&folder, failing).unwrap_err().to_string(), "no");
        assert!(folder.join("old").exists());
        write_folder(&folder, holding("new")).unwrap();
        assert!(folder.join("new").exists() && !folder.join("old").exists());
        assert_eq!(std::fs::read_dir(above.path()).unwrap().count(), 1, "nothing is left beside");
    }
}
