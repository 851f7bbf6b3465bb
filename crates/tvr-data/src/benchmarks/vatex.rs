//! VATEX, English captions, in the split of HGR: 25,991 / 1,500 / 1,500, and a second draw of 1,500 test clips.
//!
//! Captions come from `vatex_data.json` (a map from id to `enCap`), or from the official lists of `videoID` and
//! `enCap`; without them the listings hold ids alone.

use std::collections::HashMap;

use serde::Deserialize;

use super::source::Folder;
use super::{Annotations, Benchmark, Listing};
use crate::error::DataError;

#[derive(Deserialize)]
struct Told {
    #[serde(rename = "enCap", default)]
    english: Vec<String>,
}

#[derive(Deserialize)]
struct Official {
    #[serde(rename = "videoID")]
    id: String,
    #[serde(rename = "enCap", default)]
    english: Vec<String>,
}

/// The official files.
const OFFICIAL: [&str; 3] =
    ["vatex_training_v1.0.json", "vatex_validation_v1.0.json", "vatex_public_test_english_v1.1.json"];

/// Reads the folder.
///
/// # Errors
/// A file that is there and is not what its name says.
pub fn read(folder: &Folder) -> Result<Annotations, DataError> {
    let mut annotations = Annotations::new(Benchmark::Vatex);
    let captions = captions(folder)?;
    if captions.is_empty() {
        annotations.lack("vatex_data.json", "captions");
    }
    for (name, file) in [
        ("train", "train_list.txt"),
        ("val", "val_list.txt"),
        ("test", "test_list.txt"),
        ("test-1k5", "test1k5_sec_list.txt"),
    ] {
        match folder.find(&[file])? {
            Some(file) => {
                let of = |id: &str| captions.get(id).map(Vec::as_slice);
                annotations.listings.push(Listing::gather(name, file.ids()?, of));
            }
            None => annotations.lack(file, name),
        }
    }
    annotations.strangers(captions.iter().map(|(id, captions)| (id, captions.len())));
    let of =
        |name: &str| annotations.listing(name).map(|listing| listing.videos.as_slice()).unwrap_or_default();
    let from_val = of("test-1k5").iter().filter(|id| of("val").contains(id)).count();
    annotations.odd(Some("test-1k5"), "clips that the HGR split has in val", from_val);
    Ok(annotations)
}

fn captions(folder: &Folder) -> Result<HashMap<String, Vec<String>>, DataError> {
    if let Some(file) = folder.find(&["vatex_data.json"])? {
        let told: HashMap<String, Told> = file.json()?;
        return Ok(told.into_iter().map(|(id, told)| (id, told.english)).collect());
    }
    let mut captions = HashMap::new();
    for name in OFFICIAL {
        if let Some(file) = folder.find(&[name])? {
            let rows: Vec<Official> = file.json()?;
            captions.extend(rows.into_iter().map(|row| (row.id, row.english)));
        }
    }
    Ok(captions)
}
