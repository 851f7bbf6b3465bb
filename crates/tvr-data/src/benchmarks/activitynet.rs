//! ActivityNet Captions: a video's sentences, in the order of the file, are one paragraph. Test is `val-1` by custom;
//! `val-2` holds other sentences on some of the same videos.

use serde::Deserialize;

use super::source::{File, Folder, paragraph};
use super::{Annotations, Benchmark, Caption, Listing};
use crate::error::DataError;

#[derive(Deserialize)]
struct Video {
    duration: f64,
    timestamps: Vec<[f64; 2]>,
    sentences: Vec<String>,
}

/// Reads the folder.
///
/// # Errors
/// A file that is there and is not what its name says.
pub fn read(folder: &Folder) -> Result<Annotations, DataError> {
    let mut annotations = Annotations::new(Benchmark::Activitynet);
    for (name, json, ids) in [
        ("train", "train.json", Some("train_ids.json")),
        ("val-1", "val_1.json", Some("val_ids.json")),
        ("val-2", "val_2.json", None),
    ] {
        let Some(file) = folder.find(&[json])? else {
            annotations.lack(json, name);
            continue;
        };
        let videos = videos(&file)?;
        // Durations such as 68.28999999999999 are 68.29 that went through arithmetic: a millisecond is no lateness.
        let late =
            |video: &Video| video.timestamps.iter().filter(|[_, end]| *end > video.duration + 1e-3).count();
        let turned = |video: &Video| video.timestamps.iter().filter(|[start, end]| end < start).count();
        let sentences: usize = videos.iter().map(|(_, video)| video.sentences.len()).sum();
        let (late, turned): (usize, usize) =
            (videos.iter().map(|(_, v)| late(v)).sum(), videos.iter().map(|(_, v)| turned(v)).sum());
        annotations.odd(Some(name), "segments that end after the video does", late);
        annotations.odd(Some(name), "segments that end before they start", turned);
        annotations.odd(Some(name), "sentences, joined into paragraphs", sentences);
        if let Some(ids) = ids
            && let Some(ids) = folder.find(&[ids])?
        {
            let listed: Vec<String> = ids.json()?;
            let known: std::collections::HashSet<&str> = videos.iter().map(|(id, _)| id.as_str()).collect();
            let without = listed.iter().filter(|id| !known.contains(id.as_str())).count();
            annotations.odd(Some(name), "listed ids without a sentence", without);
        }
        let captions = videos
            .iter()
            .enumerate()
            .map(|(video, (_, told))| Caption {
                video,
                text: paragraph(told.sentences.iter().map(String::as_str)),
            })
            .collect();
        let videos = videos.into_iter().map(|(id, _)| id).collect();
        annotations.listings.push(Listing { name, videos, captions });
    }
    Ok(annotations)
}

/// The videos of a file, in its order, which a plain map would lose.
fn videos(file: &File) -> Result<Vec<(String, Video)>, DataError> {
    struct InOrder(Vec<(String, Video)>);
    impl<'de> Deserialize<'de> for InOrder {
        fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
            struct Visitor;
            impl<'de> serde::de::Visitor<'de> for Visitor {
                type Value = InOrder;
                fn expecting(&self, out: &mut std::fmt::Formatter) -> std::fmt::Result {
                    out.write_str("a map from video to duration, timestamps and sentences")
                }
                fn visit_map<A: serde::de::MapAccess<'de>>(self, mut map: A) -> Result<InOrder, A::Error> {
                    let mut videos = Vec::new();
                    while let Some(entry) = map.next_entry()? {
                        videos.push(entry);
                    }
                    Ok(InOrder(videos))
                }
            }
            deserializer.deserialize_map(Visitor)
        }
    }
    let InOrder(videos) = file.json()?;
    file.distinct(videos.iter().map(|(id, _)| id.clone()).collect())?;
    Ok(videos)
}
