//! What can go wrong in this crate.

use std::path::PathBuf;

use tvr_nn::NnError;

/// A model or tokenizer that cannot be made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ClipError {
    /// A setting outside its domain.
    #[error("clip: {setting} = {value}, but it must be {domain}")]
    Setting {
        /// Name of the setting.
        setting: &'static str,
        /// Its value.
        value: usize,
        /// What it may be.
        domain: &'static str,
    },
    /// Patches that do not tile the image.
    #[error("clip: image.size = {size} is not a multiple of image.patch = {patch}")]
    Patch {
        /// Side of the image, pixels.
        size: usize,
        /// Side of a patch, pixels.
        patch: usize,
    },
    /// A tower whose blocks cannot be built.
    #[error("{tower} tower: {source}")]
    Tower {
        /// `image` or `text`.
        tower: &'static str,
        /// What is wrong with the block.
        source: NnError,
    },
    /// The tokenizer library refused.
    #[error("tokenizer: {reason}")]
    Tokenizer {
        /// The library's words.
        reason: String,
    },
    /// A tokenizer file that cannot be read or written.
    #[error("{path}: {reason}", path = path.display())]
    TokenizerFile {
        /// The file.
        path: PathBuf,
        /// The library's words.
        reason: String,
    },
    /// A tokenizer without one of the two marks.
    #[error("tokenizer: no token {token}; CLIP's texts begin and end with marks")]
    Mark {
        /// The mark.
        token: &'static str,
    },
    /// A picture's file that cannot be read or decoded.
    #[error("{path}: {reason}", path = path.display())]
    Picture {
        /// The file.
        path: PathBuf,
        /// What is wrong in it.
        reason: String,
    },
    /// A picture without a file, or settings of its preprocessing.
    #[error("pixels: {reason}")]
    Pixels {
        /// What is wrong.
        reason: String,
    },
    /// Settings of a checkpoint's preprocessing.
    #[error("{path}: {reason}", path = path.display())]
    Preprocessor {
        /// The file.
        path: PathBuf,
        /// Everything that is not understood.
        reason: String,
    },
}
