//! How a published figure is known, as tables print it.

use serde::Serialize;

/// How a figure is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Known {
    /// Read in the authors' repository.
    Repository,
    /// Read in another paper's table, named beside it.
    SecondHand,
    /// From memory: to be checked, never to be judged by.
    Unverified,
}

impl Known {
    /// As tables print it.
    pub fn tag(self) -> &'static str {
        match self {
            Self::Repository => "[C]",
            Self::SecondHand => "[S]",
            Self::Unverified => "[M]",
        }
    }
}
