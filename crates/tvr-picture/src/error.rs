//! What can be wrong with a picture.

use std::path::PathBuf;

/// Bytes or a file that are no picture.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PictureError {
    /// A file that cannot be read or decoded.
    #[error("{path}: {reason}", path = path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What is wrong in it.
        reason: String,
    },
    /// A file's bytes that cannot be decoded.
    #[error("the picture {reason}")]
    Bytes {
        /// What is wrong in them.
        reason: String,
    },
    /// Pixels of another number than the sides ask for, or none.
    #[error("{found} bytes are no picture of {width} x {height} with {bands} bands")]
    Size {
        /// Bytes that were handed in.
        found: usize,
        /// Pixels in a row.
        width: usize,
        /// Rows.
        height: usize,
        /// 3 or 4.
        bands: usize,
    },
}
