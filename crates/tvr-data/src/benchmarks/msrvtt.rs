//! MSR-VTT: 10,000 clips of 20 captions each, and the splits that are in use.
//!
//! | listing | files | videos, captions |
//! |---|---|---|
//! | `train-9k`, `train-7k` | `MSRVTT_train.9k.csv`, `MSRVTT_train.7k.csv` | 9,000 and 7,010; 20 each |
//! | `test-1k-a` | `MSRVTT_JSFUSION_test.csv` | 1,000; the one sentence of its row |
//! | `train-full`, `val-full`, `test-full` | `MSRVTT_train.full.csv` ... or `train_list_full.txt` ... | 6,513, 497, 2,990; 20 each |
//! | `train-1k-b`, `test-1k-b` | `train_list_miech.txt`, `test_list_miech.txt` | 6,656 and 1,000; 20 each |
//!
//! The captions are those of `MSRVTT_data.json`, or of the two official files, `train_val_videodatainfo.json` and
//! `test_videodatainfo.json`, taken together. Which of a clip's sentences 1k-B takes as its query is not in its list,
//! so that all are given.

use std::collections::{HashMap, HashSet};
use std::path::PathBuf;

use serde::Deserialize;

use super::source::{File, Folder};
use super::{Annotations, Benchmark, Caption, Listing};
use crate::error::DataError;

#[derive(Deserialize)]
struct Package {
    videos: Vec<Video>,
    sentences: Vec<Sentence>,
}

#[derive(Deserialize)]
struct Video {
    video_id: String,
    #[serde(default)]
    url: String,
    #[serde(default, rename = "start time")]
    start: f64,
    #[serde(default, rename = "end time")]
    end: f64,
}

#[derive(Deserialize)]
struct Sentence {
    video_id: String,
    caption: String,
    sen_id: u64,
}

/// Captions by video, in the order of their numbers, and what each clip was cut from.
struct Sentences {
    captions: HashMap<String, Vec<String>>,
    cuts: HashMap<String, Cut>,
}

/// A stretch of a film, in seconds.
struct Cut {
    address: String,
    seconds: [f64; 2],
}

/// Reads the folder.
///
/// # Errors
/// A file that is there and is not what its name says.
pub fn read(folder: &Folder) -> Result<Annotations, DataError> {
    let mut annotations = Annotations::new(Benchmark::Msrvtt);
    let sentences = sentences(folder, &mut annotations)?;
    let lists: [(&str, &[&str], &str); 7] = [
        ("train-9k", &["MSRVTT_train.9k.csv", "train_list_jsfusion.txt"], "MSRVTT_train.9k.csv"),
        ("train-7k", &["MSRVTT_train.7k.csv"], "MSRVTT_train.7k.csv"),
        ("train-full", &["MSRVTT_train.full.csv", "train_list_full.txt"], "MSRVTT_train.full.csv"),
        ("val-full", &["MSRVTT_val.full.csv", "val_list_full.txt"], "MSRVTT_val.full.csv"),
        ("test-full", &["MSRVTT_test.full.csv", "test_list_full.txt"], "MSRVTT_test.full.csv"),
        ("train-1k-b", &["train_list_miech.txt"], "train_list_miech.txt"),
        ("test-1k-b", &["test_list_miech.txt"], "test_list_miech.txt"),
    ];
    for (name, files, wanted) in lists {
        match folder.find(files)? {
            Some(file) => {
                let ids = if is_table(&file) { file.video_ids()? } else { file.ids()? };
                let captions = |id: &str| sentences.captions.get(id).map(Vec::as_slice);
                annotations.listings.push(Listing::gather(name, ids, captions));
            }
            None => annotations.lack(wanted, name),
        }
    }
    match folder.find(&["MSRVTT_JSFUSION_test.csv"])? {
        Some(file) => annotations.listings.push(one_sentence(&file)?),
        None => annotations.lack("MSRVTT_JSFUSION_test.csv", "test-1k-a"),
    }
    annotations.strangers(sentences.captions.iter().map(|(id, captions)| (id, captions.len())));
    if let Some(file) = folder.find(&["mdmmt_duplicates.lst"])? {
        annotations.copies = copies(&file)?;
    }
    annotations.copies.extend(overlapping(&sentences.cuts));
    oddities(&mut annotations, &sentences);
    Ok(annotations)
}

fn is_table(file: &File) -> bool {
    file.path.file_name().is_some_and(|name| name.to_string_lossy().contains(".csv"))
}

fn sentences(folder: &Folder, annotations: &mut Annotations) -> Result<Sentences, DataError> {
    let mut packages: Vec<(PathBuf, Package)> = Vec::new();
    let read = |file: File| file.json().map(|package| (file.path, package));
    match folder.find(&["MSRVTT_data.json"])? {
        Some(file) => packages.push(read(file)?),
        None => {
            for name in ["train_val_videodatainfo.json", "test_videodatainfo.json"] {
                match folder.find(&[name])? {
                    Some(file) => packages.push(read(file)?),
                    None => annotations.lack(name, "captions of every listing but test-1k-a"),
                }
            }
        }
    }
    let mut numbered: HashMap<String, Vec<(u64, String)>> = HashMap::new();
    let mut cuts = HashMap::new();
    for (path, package) in packages {
        if let Some(twice) = package.sentences.iter().find(|told| numbered.contains_key(&told.video_id)) {
            let problem = "has captions in train_val_videodatainfo.json too; is it one file under two names?";
            return Err(DataError::item(&path, &twice.video_id, problem));
        }
        for sentence in package.sentences {
            numbered.entry(sentence.video_id).or_default().push((sentence.sen_id, sentence.caption));
        }
        let cut =
            |video: Video| (video.video_id, Cut { address: video.url, seconds: [video.start, video.end] });
        cuts.extend(package.videos.into_iter().map(cut));
    }
    let captions = numbered
        .into_iter()
        .map(|(id, mut sentences)| {
            sentences.sort_by_key(|(number, _)| *number);
            (id, sentences.into_iter().map(|(_, text)| text).collect())
        })
        .collect();
    Ok(Sentences { captions, cuts })
}

/// 1k-A: a sentence a row.
fn one_sentence(file: &File) -> Result<Listing, DataError> {
    let rows = file.columns(["video_id", "sentence"])?;
    let (ids, texts): (Vec<String>, Vec<String>) = rows.into_iter().map(|[id, text]| (id, text)).unzip();
    let videos = file.distinct(ids)?;
    let captions = texts.into_iter().enumerate().map(|(video, text)| Caption { video, text }).collect();
    Ok(Listing { name: "test-1k-a", videos, captions })
}

/// Pairs of clips that show the same: `clip.mp4 <tab> from <tab> to <tab> other.mp4 ...`.
fn copies(file: &File) -> Result<Vec<[String; 2]>, DataError> {
    let stem = |name: &str| name.trim_end_matches(".mp4").to_string();
    let mut pairs = Vec::new();
    for (index, line) in file.text()?.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
        let cells: Vec<&str> = line.split('\t').collect();
        let (Some(first), Some(second)) = (cells.first(), cells.get(3)) else {
            return Err(DataError::item(
                &file.path,
                &format!("line {}", index + 1),
                "names no pair of clips",
            ));
        };
        pairs.push([stem(first), stem(second)]);
    }
    Ok(pairs)
}

/// Pairs of clips cut from one film so that they share some of it.
fn overlapping(cuts: &HashMap<String, Cut>) -> Vec<[String; 2]> {
    let mut films: HashMap<&str, Vec<(&String, [f64; 2])>> = HashMap::new();
    for (id, cut) in cuts.iter().filter(|(_, cut)| !cut.address.is_empty()) {
        films.entry(&cut.address).or_default().push((id, cut.seconds));
    }
    let mut pairs = Vec::new();
    for clips in films.values() {
        for (index, (first, [start, end])) in clips.iter().enumerate() {
            for (second, [other_start, other_end]) in &clips[index + 1..] {
                if start.max(*other_start) < end.min(*other_end) {
                    let (low, high) = if first < second { (first, second) } else { (second, first) };
                    pairs.push([(*low).clone(), (*high).clone()]);
                }
            }
        }
    }
    pairs.sort();
    pairs
}

fn oddities(annotations: &mut Annotations, sentences: &Sentences) {
    if let Some(listing) = annotations.listing("test-1k-a") {
        let repeated = listing.captions.len() - listing.distinct_captions();
        annotations.odd(
            Some("test-1k-a"),
            "sentences that another query repeats: no model can rank their videos apart",
            repeated,
        );
    }
    let ids = |name: &str| -> HashSet<String> {
        annotations.listing(name).map(|listing| listing.videos.iter().cloned().collect()).unwrap_or_default()
    };
    let shared = |first: &HashSet<String>, second: &HashSet<String>| first.intersection(second).count();
    let (test_a, train_b, test_b, test_full) =
        (ids("test-1k-a"), ids("train-1k-b"), ids("test-1k-b"), ids("test-full"));
    let (train_9k, crossed) = (ids("train-9k"), shared(&test_a, &train_b));
    let copied = |test: &HashSet<String>, train: &HashSet<String>| {
        test.iter()
            .filter(|id| {
                annotations.copies.iter().any(|[first, second]| {
                    (first == *id && train.contains(second)) || (second == *id && train.contains(first))
                })
            })
            .count()
    };
    let copied_a = copied(&test_a, &train_9k);
    let same_address = |test: &HashSet<String>, train: &HashSet<String>| {
        let address = |id: &String| sentences.cuts.get(id).map(|cut| cut.address.as_str());
        let known: HashSet<&str> = train.iter().filter_map(address).collect();
        test.iter().filter_map(address).filter(|address| known.contains(address)).count()
    };
    let same_source = same_address(&test_a, &train_9k);
    annotations.odd(
        Some("test-1k-a"),
        "clips that are in 1k-B's training list: never train on 1k-B and report 1k-A",
        crossed,
    );
    let in_full = shared(&test_full, &train_b);
    annotations.odd(Some("test-full"), "clips that are in 1k-B's training list", in_full);
    annotations.odd(Some("test-1k-b"), "clips that 1k-A tests too", shared(&test_a, &test_b));
    annotations.odd(Some("test-1k-a"), "clips that show what a clip of train-9k shows (list of MDMMT, or stretches of one film that overlap)", copied_a);
    annotations.odd(Some("test-1k-a"), "clips cut from a film that train-9k has clips of", same_source);
}
