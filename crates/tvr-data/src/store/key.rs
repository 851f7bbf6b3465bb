//! What a record is found by.

use std::fmt;

use sha2::{Digest, Sha256};

/// SHA-256 of everything that a record's bytes depend on, each with its name.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Key([u8; 32]);

impl Key {
    /// The key of some named facts, such as `[("video", hash of its bytes), ("sampler", "all")]`.
    pub fn of(facts: &[(&str, &str)]) -> Self {
        let mut hash = Sha256::new();
        for (name, fact) in facts {
            // The lengths keep ("a", "bc") and ("ab", "c") apart.
            hash.update((name.len() as u64).to_le_bytes());
            hash.update(name);
            hash.update((fact.len() as u64).to_le_bytes());
            hash.update(fact);
        }
        Self(hash.finalize().into())
    }

    pub(super) fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    pub(super) fn bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Display for Key {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(out, "{byte:02x}"))
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "Key({self})")
    }
}
