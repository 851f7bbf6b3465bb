//! What can go wrong in an experiment, in the two kinds that a command's exit code tells apart.

use std::path::{Path, PathBuf};

/// An experiment's error. Its message is one sentence that names the thing and the mend.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ExperimentError {
    /// The request was wrong: an argument, a recipe, a missing feature. Exit code 2.
    #[error("{message}")]
    Request {
        /// The sentence.
        message: String,
    },
    /// The work failed: data, a file, numbers. Exit code 1.
    #[error("{message}")]
    Work {
        /// The sentence.
        message: String,
    },
    /// A file could not be read or written. Exit code 1.
    #[error("{}: cannot {action}: {cause}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What was tried: "read", "write", ...
        action: &'static str,
        /// The system's word.
        cause: std::io::Error,
    },
    /// The user stopped the run; it can be resumed. Exit code 1.
    #[error("stopped at step {step}; to go on: {command}")]
    Interrupted {
        /// Steps done.
        step: usize,
        /// The command that goes on, as a shell takes it.
        command: String,
    },
}

impl ExperimentError {
    /// A wrong request.
    pub fn request(message: impl Into<String>) -> Self {
        Self::Request { message: message.into() }
    }

    /// Failed work.
    pub fn work(message: impl Into<String>) -> Self {
        Self::Work { message: message.into() }
    }

    /// Failed work, in the words of whoever did it, for `map_err`.
    pub fn because(error: impl std::fmt::Display) -> Self {
        Self::work(error.to_string())
    }

    /// A failed file operation, for `map_err`.
    pub fn file(path: &Path, action: &'static str) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.to_path_buf();
        move |cause| Self::File { path, action, cause }
    }

    /// Refuses a size of a request beyond what any machine has memory for.
    ///
    /// - `key`: as the user wrote it, `encoder.width` or `--bootstrap`
    pub(crate) fn beyond(key: &str, value: usize, most: usize) -> Result<(), Self> {
        if value <= most {
            return Ok(());
        }
        Err(Self::request(format!("{key} = {value}, but it must be at most {most}")))
    }

    /// The process's exit code: 2 for a wrong request, 1 for failed work.
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Request { .. } => 2,
            _ => 1,
        }
    }
}
