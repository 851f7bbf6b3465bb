//! Shares of a work that needs no exchange (`--shard I/N`), and the order in which their files are joined.
//!
//! A share is a run of neighbours, so that shares in their order are the whole; of `n` items share `i` of `N` takes those
//! from `⌊i · n / N⌋` to `⌊(i + 1) · n / N⌋`.

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::error::ExperimentError;

/// Share `index` of `of`, counted from 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Shard {
    /// Which share.
    pub index: usize,
    /// How many there are.
    pub of: usize,
}

impl std::str::FromStr for Shard {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let parsed = text.split_once('/').and_then(|(index, of)| {
            let shard = Self { index: index.parse().ok()?, of: of.parse().ok()? };
            (shard.index < shard.of).then_some(shard)
        });
        parsed.ok_or_else(|| format!("{text:?} must be I/N with I below N, such as 0/4"))
    }
}

impl std::fmt::Display for Shard {
    fn fmt(&self, to: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(to, "{}/{}", self.index, self.of)
    }
}

impl Shard {
    /// The items of a list that belong to it.
    pub fn range(self, count: usize) -> Range<usize> {
        let bound = |index: usize| (index as u128 * count as u128 / self.of as u128) as usize;
        bound(self.index)..bound(self.index + 1)
    }

    /// The same of items that every shard must have one of.
    ///
    /// # Errors
    /// Fewer items than shards.
    pub(crate) fn of_items(self, count: usize, items: &str) -> Result<Range<usize>, ExperimentError> {
        if count < self.of {
            return Err(ExperimentError::request(format!(
                "--shard {self}: there are {count} {items}, and every shard must have one; take fewer shards"
            )));
        }
        Ok(self.range(count))
    }
}

/// The file of a shard, and what it has in common with the others.
pub(crate) struct ShardFile<'a, Common> {
    pub(crate) path: &'a Path,
    pub(crate) shard: Shard,
    pub(crate) common: Common,
}

/// The files of all shards in their order, whichever they were named in.
///
/// - `difference`: in words, in what two shards are not of one work; `None` where they are
///
/// # Errors
/// A shard that is missing, there twice, none, or of another work; each by its file.
pub(crate) fn in_order<'a, Common>(
    files: Vec<ShardFile<'a, Common>>,
    difference: impl Fn(&Common, &Common) -> Option<String>,
) -> Result<Vec<ShardFile<'a, Common>>, ExperimentError> {
    let refuse = |sentence: String| Err(ExperimentError::request(sentence));
    let Some(count) = files.first().map(|file| file.shard.of) else {
        return refuse("nothing to join; name the shards".to_owned());
    };
    let mut order: BTreeMap<usize, ShardFile<'a, Common>> = BTreeMap::new();
    for file in files {
        let path = file.path.display();
        if file.shard.index >= file.shard.of {
            return refuse(format!(
                "{path}: says that it is shard {}, which there is not; make it again",
                file.shard
            ));
        }
        if file.shard.of != count {
            return refuse(format!(
                "{path} is one of {} shards, and another file one of {count}; join those of one run",
                file.shard.of
            ));
        }
        if let Some(other) = order.values().next()
            && let Some(words) = difference(&other.common, &file.common)
        {
            return refuse(format!("{} and {path} {words}", other.path.display()));
        }
        if let Some(earlier) = order.get(&file.shard.index) {
            return refuse(format!(
                "{} and {path} are both shard {}; name each once",
                earlier.path.display(),
                file.shard
            ));
        }
        order.insert(file.shard.index, file);
    }
    match (0..count).find(|index| !order.contains_key(index)) {
        Some(missing) => refuse(format!("shard {missing}/{count} is missing; make it, or name its file")),
        None => Ok(order.into_values().collect()),
    }
}
