//! LSMDC: clips of films with one sentence each. The sentences need permission and come with no repository, so that
//! the ids alone may be all there is.
//!
//! The official files have no titles and are separated by tabs, whatever their ending says: clip id, start and end
//! aligned, start and end extracted, sentence. In training an id may stand in several rows.

use std::collections::HashMap;

use super::source::{File, Folder};
use super::{Annotations, Benchmark, Caption, Listing};
use crate::error::DataError;

/// Reads the folder.
///
/// # Errors
/// A file that is there and is not what its name says.
pub fn read(folder: &Folder) -> Result<Annotations, DataError> {
    let mut annotations = Annotations::new(Benchmark::Lsmdc);
    let tables = [
        ("train", "LSMDC16_annos_training.csv"),
        ("val", "LSMDC16_annos_val.csv"),
        ("test", "LSMDC16_challenge_1000_publictect.csv"),
    ];
    for (name, table) in tables {
        if let Some(file) = folder.find(&[table])? {
            annotations.listings.push(listing(name, &file)?);
            continue;
        }
        annotations.lack(table, name);
        if name == "test"
            && let Some(file) = folder.find(&["LSMDC16_challenge_1000_ids.txt"])?
        {
            annotations.listings.push(Listing { name, videos: file.ids()?, captions: Vec::new() });
        }
    }
    if let Some(test) = annotations.listing("test") {
        let repeated = test.captions.len() - test.distinct_captions();
        annotations.odd(Some("test"), "sentences that another query repeats", repeated);
    }
    Ok(annotations)
}

fn listing(name: &'static str, file: &File) -> Result<Listing, DataError> {
    let mut listing = Listing { name, videos: Vec::new(), captions: Vec::new() };
    let mut places: HashMap<String, usize> = HashMap::new();
    for (index, line) in file.text()?.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
        let cells: Vec<&str> = line.split('\t').collect();
        let [id, _, _, _, _, sentence] = cells.as_slice() else {
            let problem = format!("has {} cells between tabs, but must have 6", cells.len());
            return Err(DataError::item(&file.path, &format!("line {}", index + 1), problem));
        };
        let video = *places.entry((*id).to_string()).or_insert_with(|| {
            listing.videos.push((*id).to_string());
            listing.videos.len() - 1
        });
        listing.captions.push(Caption { video, text: sentence.trim().to_string() });
    }
    Ok(listing)
}
