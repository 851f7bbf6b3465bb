//! MSVD: 1,970 clips with 18 to 81 captions each; the test split has several captions a video.
//!
//! Captions come from `captions_msvd.json` (X-Pool), or from `raw-captions.pkl` (CLIP4Clip), or from
//! `raw-captions_mapped.pkl` with `youtube_mapping.txt`. Pickles are read as plain data ([`super::pickle`]).

use std::collections::HashMap;

use super::source::Folder;
use super::{Annotations, Benchmark, Listing, pickle};
use crate::error::DataError;

/// Reads the folder.
///
/// # Errors
/// A file that is there and is not what its name says.
pub fn read(folder: &Folder) -> Result<Annotations, DataError> {
    let mut annotations = Annotations::new(Benchmark::Msvd);
    let captions = match captions(folder)? {
        Some(captions) => captions,
        None => {
            annotations.lack("captions_msvd.json or raw-captions.pkl", "captions");
            HashMap::new()
        }
    };
    for (name, file) in [("train", "train_list.txt"), ("val", "val_list.txt"), ("test", "test_list.txt")] {
        match folder.find(&[file])? {
            Some(file) => {
                let of = |id: &str| captions.get(id).map(Vec::as_slice);
                annotations.listings.push(Listing::gather(name, file.ids()?, of));
            }
            None => annotations.lack(file, name),
        }
    }
    annotations.strangers(captions.iter().map(|(id, captions)| (id, captions.len())));
    let repeated: usize = annotations.listings.iter().map(repeated).sum();
    annotations.odd(None, "captions that repeat another of the same video", repeated);
    Ok(annotations)
}

type Captions = HashMap<String, Vec<String>>;

fn captions(folder: &Folder) -> Result<Option<Captions>, DataError> {
    if let Some(file) = folder.find(&["captions_msvd.json"])? {
        return Ok(Some(file.json()?));
    }
    if let Some(file) = folder.find(&["raw-captions.pkl"])? {
        return pickle::word_lists(&file).map(Some);
    }
    let (Some(file), Some(names)) =
        (folder.find(&["raw-captions_mapped.pkl"])?, folder.find(&["youtube_mapping.txt"])?)
    else {
        return Ok(None);
    };
    let mut mapped = pickle::word_lists(&file)?;
    let mut captions = HashMap::new();
    for (index, line) in names.text()?.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
        let wrong = |problem: &str| DataError::item(&names.path, &format!("line {}", index + 1), problem);
        let (name, number) = line.trim().rsplit_once(' ').ok_or_else(|| wrong("names no pair"))?;
        let texts = mapped.remove(number).ok_or_else(|| wrong("names a video without captions"))?;
        captions.insert(name.to_string(), texts);
    }
    Ok(Some(captions))
}

fn repeated(listing: &Listing) -> usize {
    let mut seen = std::collections::HashSet::new();
    listing.captions.iter().filter(|caption| !seen.insert((caption.video, caption.text.as_str()))).count()
}
