//! What can be wrong with a setting of this crate.

/// A block that cannot be built.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum NnError {
    /// A setting outside its domain.
    #[error("block: {setting} = {value}, but it must be {domain}")]
    Setting {
        /// Name of the setting.
        setting: &'static str,
        /// Its value.
        value: f64,
        /// What it may be.
        domain: &'static str,
    },
    /// A width that the heads do not divide.
    #[error("block: width = {width} is not a multiple of heads = {heads}")]
    Heads {
        /// Width of the block.
        width: usize,
        /// Number of heads.
        heads: usize,
    },
}
