//! What can go wrong in this crate.

use std::path::PathBuf;

use tvr_nn::NnError;
use tvr_picture::PictureError;

/// A model, tokenizer or checkpoint that cannot be made.
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
    /// A file that cannot be read or written.
    #[error("{path}: cannot {action} it: {source}", path = path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What was tried.
        action: &'static str,
        /// The system's words.
        source: std::io::Error,
    },
    /// A file that is not what its name says.
    #[error("{path}: {reason}", path = path.display())]
    Format {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// A folder that holds no checkpoint.
    #[error("{path}: no checkpoint; a folder needs {need}", path = path.display())]
    NoCheckpoint {
        /// The folder.
        path: PathBuf,
        /// The files that are missing.
        need: &'static str,
    },
    /// A config that asks for what this crate does not build.
    #[error("{path}: {options}; tvr builds CLIP's two transformers alone", path = path.display(), options = options.join(", "))]
    Unsupported {
        /// The config.
        path: PathBuf,
        /// Every option that is not supported, with its value.
        options: Vec<String>,
    },
    /// Weights that are not those of the config.
    #[error("{path}: {listed}", path = path.display(), listed = listed(missing, unused, wrong, left_out))]
    Tensors {
        /// The weights' file or index.
        path: PathBuf,
        /// Tensors that the model needs.
        missing: Vec<String>,
        /// Tensors that the model has no place for.
        unused: Vec<String>,
        /// Tensors of another shape or type, with both.
        wrong: Vec<String>,
        /// Sizes that the config leaves out, with the defaults that were taken.
        left_out: Vec<String>,
    },
    /// A checkpoint of one tower where both, or the other, are needed.
    #[error("{path}: the checkpoint has no {tower} tower", path = path.display())]
    NoTower {
        /// The folder.
        path: PathBuf,
        /// `image` or `text`.
        tower: &'static str,
    },
    /// A tokenizer that was not made for the text tower.
    #[error("{path}: {what} is {found}, but the text tower has {expected}", path = path.display())]
    OtherTokenizer {
        /// The folder.
        path: PathBuf,
        /// What differs.
        what: &'static str,
        /// The tokenizer's.
        found: usize,
        /// The tower's.
        expected: usize,
    },
    /// A type that the device cannot compute in.
    #[error("the device cannot compute in {dtype}; choose f32")]
    Precision {
        /// The type.
        dtype: &'static str,
    },
    /// A model that no Hugging Face folder can hold.
    #[error("3d patches have no name in a Hugging Face folder; save the towers as a run's checkpoint")]
    TemporalPatches,
    /// A name that is no folder, where nothing can be downloaded.
    #[error("{name}: {reason}")]
    Hub {
        /// What was asked for.
        name: String,
        /// Why there is none.
        reason: String,
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
    /// A picture that cannot be read or decoded.
    #[error(transparent)]
    Picture(#[from] PictureError),
    /// Settings of a picture's preprocessing.
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

/// What does not fit, at most eight names of each kind.
fn listed(missing: &[String], unused: &[String], wrong: &[String], left_out: &[String]) -> String {
    const SHOWN: usize = 8;
    let kind = |what: &str, names: &[String]| {
        let shown = names.iter().take(SHOWN).map(String::as_str).collect::<Vec<_>>().join(", ");
        let more = names.len().saturating_sub(SHOWN);
        match (names.len(), more) {
            (0, _) => None,
            (_, 0) => Some(format!("{what}: {shown}")),
            _ => Some(format!("{what}: {shown} and {more} more")),
        }
    };
    [
        kind("missing", missing),
        kind("not part of the model", unused),
        kind("wrong", wrong),
        kind("left out of the config", left_out),
    ]
    .into_iter()
    .flatten()
    .collect::<Vec<_>>()
    .join("; ")
}
