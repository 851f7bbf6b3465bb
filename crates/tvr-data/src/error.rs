//! What can be wrong with data.

use std::path::{Path, PathBuf};

/// A data error: the file, the thing in it, and the mend.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DataError {
    /// A file cannot be read or written.
    #[error("{}: cannot {action}: {cause}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// "read", "write", ...
        action: &'static str,
        /// The system's word.
        cause: std::io::Error,
    },
    /// A file is not what its name says.
    #[error("{}: {reason}", path.display())]
    Format {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// A tensor is absent, or has another type or shape.
    #[error("{}: tensor {tensor:?} {problem}", path.display())]
    Tensor {
        /// The file.
        path: PathBuf,
        /// The tensor's name.
        tensor: String,
        /// What is wrong with it, and what it must be.
        problem: String,
    },
    /// An item breaks a rule.
    #[error("{}: {item:?} {problem}", path.display())]
    Item {
        /// The file.
        path: PathBuf,
        /// The id of the video or caption.
        item: String,
        /// What is wrong with it.
        problem: String,
    },
    /// A frame sampler's text.
    #[error(
        "{text:?} is no sampler; samplers are rate:1,frames=12,cut=head|tail|uniform[,until=31], \
         segments:12,offset=centre, segments:12,offset=random,seed=0, and all, with a rate and counts above 0"
    )]
    Sampler {
        /// What was given.
        text: String,
    },
    /// FFmpeg's program cannot be run.
    #[error(
        "cannot run {program:?}, which decodes video files: {cause}; install FFmpeg (Debian, Ubuntu: apt-get install ffmpeg; macOS: brew install ffmpeg), or name it in TVR_FFMPEG"
    )]
    Ffmpeg {
        /// The program.
        program: PathBuf,
        /// The system's word.
        cause: String,
    },
    /// A setting of a loader or a sampler.
    #[error("{setting} = {value}, but {domain}")]
    Setting {
        /// The setting.
        setting: &'static str,
        /// Its value.
        value: usize,
        /// What it must be.
        domain: String,
    },
}

impl DataError {
    pub(crate) fn file(path: &Path, action: &'static str) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.to_path_buf();
        move |cause| Self::File { path, action, cause }
    }

    pub(crate) fn format(path: &Path, reason: impl Into<String>) -> Self {
        Self::Format { path: path.to_path_buf(), reason: reason.into() }
    }

    pub(crate) fn tensor(path: &Path, tensor: &str, problem: impl Into<String>) -> Self {
        Self::Tensor { path: path.to_path_buf(), tensor: tensor.into(), problem: problem.into() }
    }

    pub(crate) fn item(path: &Path, item: &str, problem: impl Into<String>) -> Self {
        Self::Item { path: path.to_path_buf(), item: item.into(), problem: problem.into() }
    }
}
