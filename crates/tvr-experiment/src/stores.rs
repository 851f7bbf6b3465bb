//! Looking after a store of frames and features.

use std::collections::HashSet;
use std::path::{Path, PathBuf};

use tvr_data::prepare::{contents, video_of};
use tvr_data::store::{Collected, Seen, Stat};
use tvr_data::{Manifest, Store};

use crate::error::ExperimentError;
use crate::progress::{Event, Events};

fn open(path: &Path) -> Result<Store, ExperimentError> {
    // Looking at a store must not make one.
    if !path.join("store.json").is_file() {
        return Err(ExperimentError::request(format!(
            "{}: is no store; cargo xtask prepare makes one",
            path.display()
        )));
    }
    Store::open(path).map_err(ExperimentError::because)
}

/// Counts what is in a store.
///
/// # Errors
/// A folder that is no store, or cannot be read.
pub fn stat(path: &Path) -> Result<Stat, ExperimentError> {
    Ok(open(path)?.stat())
}

/// Reads everything in a store and compares checksums; how many records are whole.
///
/// # Errors
/// As [`stat`]; and damage, with the first record and the number of all.
pub fn verify(path: &Path, events: Events<'_>) -> Result<usize, ExperimentError> {
    let store = open(path)?;
    let stat = store.stat();
    let total = stat.records + stat.doubled;
    events(Event::Begin { label: "verify".into(), total, done: 0 });
    let damages = store.verify(&mut |done| events(Event::Item { done, word: String::new() }));
    events(Event::End);
    match damages.first() {
        None => Ok(total),
        Some(first) => {
            let number = damages.len();
            Err(ExperimentError::work(format!("{number} of {total} records are damaged; {}", first.problem)))
        }
    }
}

/// Writes a store anew without what is doubled, damaged or torn; with lists, without what no video of theirs has.
///
/// # Errors
/// As [`stat`]; a list that cannot be read, or names a video that is not there; another writer at work.
pub fn collect(path: &Path, lists: &[PathBuf]) -> Result<Collected, ExperimentError> {
    let store = open(path)?;
    if lists.is_empty() {
        return store.collect(&|_| true).map_err(ExperimentError::because);
    }
    let mut wanted = HashSet::new();
    let seen = Seen::open(path);
    for list in lists {
        let manifest = Manifest::read(list).map_err(ExperimentError::because)?;
        for (entry, content) in manifest.entries.iter().zip(contents(&manifest.entries, &seen)) {
            let missing = |fault: tvr_data::Fault| {
                let id = &entry.id;
                ExperimentError::work(format!(
                    "{}: {id:?} {fault}; take it from the list, or its frames and features would go",
                    list.display()
                ))
            };
            wanted.insert(content.map_err(missing)?);
        }
    }
    store
        .collect(&|record| video_of(record).is_none_or(|video| wanted.contains(&video)))
        .map_err(ExperimentError::because)
}
