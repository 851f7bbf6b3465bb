//! DiDeMo: a clip's sentences, in the order of the file, are one paragraph.
//!
//! In the official JSON one clip may stand under two names that differ in the extension alone. Whoever counts names
//! has 1,037 test videos, whoever counts clips 1,004; here a clip is a name without its extension, and its paragraph
//! holds the sentences of all its names.

use std::collections::{HashMap, HashSet};

use serde::Deserialize;

use super::source::{File, Folder, paragraph};
use super::{Annotations, Benchmark, Listing};
use crate::error::DataError;

#[derive(Deserialize)]
struct Moment {
    video: String,
    description: String,
}

#[derive(Deserialize)]
struct Paragraph {
    video: String,
    paragraph: String,
}

/// Reads the folder.
///
/// # Errors
/// A file that is there and is not what its name says.
pub fn read(folder: &Folder) -> Result<Annotations, DataError> {
    let mut annotations = Annotations::new(Benchmark::Didemo);
    for (name, moments, list) in [
        ("train", "train_data.json", "train_list.txt"),
        ("val", "val_data.json", "val_list.txt"),
        ("test", "test_data.json", "test_list.txt"),
    ] {
        let official = folder.find(&[moments])?;
        let listed = folder.find(&[list])?.map(|file| clips(&file)).transpose()?;
        let texts = match &official {
            Some(file) => from_moments(name, file, &mut annotations)?,
            None => {
                annotations.lack(moments, name);
                match folder.find(&["train_paragraphs.jsonl"])?.filter(|_| name == "train") {
                    Some(file) => from_paragraphs(&file)?,
                    None => Texts::default(),
                }
            }
        };
        let (Some(videos), of) =
            (listed.or_else(|| (!texts.order.is_empty()).then(|| texts.order.clone())), |id: &str| {
                texts.of.get(id).map(Vec::as_slice)
            })
        else {
            annotations.lack(list, name);
            continue;
        };
        let without = videos.iter().filter(|id| !texts.of.contains_key(*id)).count();
        let listed: HashSet<&String> = videos.iter().collect();
        let unlisted = texts.order.iter().filter(|id| !listed.contains(id)).count();
        let listing = Listing::gather(name, videos, of);
        annotations.odd(Some(name), "listed clips without a paragraph", without);
        annotations.odd(Some(name), "clips with a paragraph that the list does not name", unlisted);
        annotations.listings.push(listing);
    }
    Ok(annotations)
}

/// Paragraphs by clip, and the clips in the order of the file.
#[derive(Default)]
struct Texts {
    order: Vec<String>,
    of: HashMap<String, Vec<String>>,
}

/// A name without its extension.
pub fn clip(name: &str) -> &str {
    name.rsplit_once('.').map_or(name, |(stem, _)| stem)
}

fn clips(list: &File) -> Result<Vec<String>, DataError> {
    let ids = list.ids()?;
    list.distinct(ids.iter().map(|name| clip(name).to_string()).collect())
}

fn from_moments(
    listing: &'static str,
    file: &File,
    annotations: &mut Annotations,
) -> Result<Texts, DataError> {
    let moments: Vec<Moment> = file.json()?;
    let names: HashSet<&str> = moments.iter().map(|moment| moment.video.as_str()).collect();
    let mut texts = Texts::default();
    let mut sentences: HashMap<&str, Vec<&str>> = HashMap::new();
    for moment in &moments {
        let id = clip(&moment.video);
        let of = sentences.entry(id).or_insert_with(|| {
            texts.order.push(id.to_string());
            Vec::new()
        });
        of.push(&moment.description);
    }
    annotations.odd(
        Some(listing),
        "names that differ from another in the extension alone: one clip, not two",
        names.len() - sentences.len(),
    );
    texts.of =
        sentences.into_iter().map(|(id, sentences)| (id.to_string(), vec![paragraph(sentences)])).collect();
    Ok(texts)
}

fn from_paragraphs(file: &File) -> Result<Texts, DataError> {
    let mut texts = Texts::default();
    for (index, line) in file.text()?.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
        let row: Paragraph = serde_json::from_str(line).map_err(|cause| {
            let cut = if cause.is_eof() { "; the file may be cut off" } else { "" };
            DataError::item(
                &file.path,
                &format!("line {}", index + 1),
                format!("is no such JSON: {cause}{cut}"),
            )
        })?;
        let id = clip(&row.video);
        match texts.of.get_mut(id).and_then(|of| of.first_mut()) {
            // Another name of the same clip.
            Some(known) => *known = paragraph([known.as_str(), &row.paragraph]),
            None => {
                texts.order.push(id.to_string());
                texts.of.insert(id.to_string(), vec![paragraph([row.paragraph.as_str()])]);
            }
        }
    }
    Ok(texts)
}
