//! The doctor: what of a benchmark is there, what is missing or broken, and what the rest may be called.
//!
//! It looks at annotation files and at the names and sizes of video files; decoding is `prepare`'s work, which tells
//! the doctor what it could not read. Everything is counted, nothing is mended in silence.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use walkdir::WalkDir;

use crate::benchmarks::Benchmark;
use crate::benchmarks::{Annotations, Listing, didemo};
use crate::error::DataError;
use crate::files;
use crate::galleries::{Match, ids_hash, recognise};

/// Endings of video files, in lower case. A clip of none of them is not looked for. The second row is what else DiDeMo's
/// official names end in, the last of them in a dot with nothing behind it.
const ENDINGS: [&str; 23] = [
    "mp4", "avi", "mkv", "mov", "webm", "m4v", "mpg", "mpeg", "wmv", "flv", "3gp", "gif", "webp",
    "ts", //
    "3g2", "3gpp", "mts", "m2ts", "qt", "divx", "asf", "null", "",
];

/// Video files below a folder, by the id they would have.
#[derive(Clone, Debug, Default)]
pub struct Clips {
    /// Files of each id; more than one is ambiguous.
    pub files: HashMap<String, Vec<PathBuf>>,
    /// Entries that could not be looked at, with the reason.
    pub unreadable: Vec<String>,
}

/// What is known of the files of one listing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Diagnosis {
    /// The listing.
    pub listing: &'static str,
    /// Videos that it names.
    pub videos: usize,
    /// Captions that it has.
    pub captions: usize,
    /// Videos with a file that is not empty and not excluded.
    pub present: Vec<String>,
    /// Videos without a file.
    pub missing: Vec<String>,
    /// Videos whose file has no bytes.
    pub zero_length: Vec<String>,
    /// Videos that `prepare` could not decode, each with the reason.
    pub corrupt: BTreeMap<String, String>,
    /// Videos of which a part alone could be decoded.
    pub partial: BTreeMap<String, String>,
    /// Videos that a list excludes.
    pub quarantined: Vec<String>,
    /// Videos with more than one file.
    pub ambiguous: Vec<String>,
    /// Ids that name a path rather than a file: never looked for.
    pub unsafe_ids: Vec<String>,
    /// Videos without a caption.
    pub silent: usize,
    /// Captions that are blank.
    pub blank: usize,
    /// Captions that repeat another of the same video.
    pub repeated_within: usize,
    /// Captions that another video has too, after trimming and lower-casing.
    pub repeated_across: usize,
    /// The known gallery that the whole listing is.
    pub listed_gallery: Match,
    /// The known gallery that what is present is.
    pub present_gallery: Match,
    /// [`ids_hash`] of what is present.
    pub present_hash: String,
    /// Present videos that show the same film as a present training video of this listing's protocol.
    pub copies: Vec<[String; 2]>,
}

/// What `prepare` found when it decoded.
#[derive(Clone, Debug, Default)]
pub struct Decoded {
    /// Files that gave no picture, with the reason.
    pub corrupt: HashMap<PathBuf, String>,
    /// Files of which a part could be decoded, with the reason.
    pub partial: HashMap<PathBuf, String>,
}

/// `gallery.json`: what an evaluation card quotes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GalleryFile {
    /// `tvr-gallery/1`.
    pub schema: String,
    /// The benchmark.
    pub benchmark: Benchmark,
    /// What is there of each listing.
    pub galleries: Vec<PresentGallery>,
}

/// What is there of a listing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PresentGallery {
    /// The listing.
    pub listing: String,
    /// Videos that it names.
    pub listed: usize,
    /// What the videos are, in words.
    pub known_as: String,
    /// [`ids_hash`] of the ids.
    pub sha256: String,
    /// Ids that were excluded by a list.
    pub quarantined: Vec<String>,
    /// The ids of the videos that are there, in the order of the listing.
    pub videos: Vec<String>,
}

impl GalleryFile {
    /// Of what was found.
    pub fn of(benchmark: Benchmark, found: &[Diagnosis]) -> Self {
        let gallery = |found: &Diagnosis| PresentGallery {
            listing: found.listing.to_owned(),
            listed: found.videos,
            known_as: found.present_gallery.to_string(),
            sha256: found.present_hash.clone(),
            quarantined: found.quarantined.clone(),
            videos: found.present.clone(),
        };
        Self { schema: GALLERY.to_owned(), benchmark, galleries: found.iter().map(gallery).collect() }
    }

    /// Reads one.
    ///
    /// # Errors
    /// The file, and what is wrong with it.
    pub fn read(path: &Path) -> Result<Self, DataError> {
        let bytes = std::fs::read(path).map_err(DataError::file(path, "read"))?;
        let file: Self = serde_json::from_slice(&bytes)
            .map_err(|cause| DataError::format(path, format!("is no {GALLERY}: {cause}")))?;
        if file.schema == GALLERY {
            Ok(file)
        } else {
            Err(DataError::format(path, format!("is {:?}, not {GALLERY}", file.schema)))
        }
    }

    /// The gallery of these videos, in whatever order.
    pub fn find(&self, videos: &[String]) -> Option<&PresentGallery> {
        let hash = ids_hash(videos);
        self.galleries.iter().find(|gallery| gallery.sha256 == hash)
    }
}

/// The schema of `gallery.json`.
const GALLERY: &str = "tvr-gallery/1";

impl Clips {
    /// Finds the video files below a folder. Links are not followed into circles.
    ///
    /// # Errors
    /// A path that is no folder.
    pub fn find(folder: &Path) -> Result<Self, DataError> {
        if !folder.is_dir() {
            return Err(DataError::format(folder, "is no folder; name the folder that holds the videos"));
        }
        let mut clips = Self::default();
        for entry in WalkDir::new(folder).follow_links(true).sort_by_file_name() {
            match entry {
                Ok(entry) if entry.file_type().is_file() => {
                    let path = entry.path();
                    let ending = path.extension().map(|ending| ending.to_string_lossy().to_lowercase());
                    let known = ending.as_deref().is_some_and(|ending| ENDINGS.contains(&ending));
                    if let Some(stem) = path.file_stem().filter(|_| known) {
                        let id = stem.to_string_lossy().into_owned();
                        clips.files.entry(id).or_default().push(path.to_path_buf());
                    }
                }
                Ok(_) => {}
                Err(cause) => clips.unreadable.push(cause.to_string()),
            }
        }
        Ok(clips)
    }

    /// The file of a video, if there is one alone; of several, the first by name.
    pub fn file(&self, benchmark: Benchmark, id: &str) -> Option<&Path> {
        self.of(benchmark, id).and_then(|files| files.first()).map(PathBuf::as_path)
    }

    /// Files that no listing names, in order.
    pub fn strays(&self, annotations: &Annotations) -> Vec<&Path> {
        let listed: HashSet<&Vec<PathBuf>> = annotations
            .listings
            .iter()
            .flat_map(|listing| &listing.videos)
            .filter_map(|id| self.of(annotations.benchmark, id))
            .collect();
        let mut strays: Vec<&Path> = self
            .files
            .values()
            .filter(|files| !listed.contains(files))
            .flatten()
            .map(PathBuf::as_path)
            .collect();
        strays.sort_unstable();
        strays
    }

    fn of(&self, benchmark: Benchmark, id: &str) -> Option<&Vec<PathBuf>> {
        let other = match benchmark {
            // DiDeMo's ids have no ending, and contain dots.
            Benchmark::Didemo => didemo::clip(id),
            // Files bear YouTube's name as well, without what the annotations put in front: CLIP4Clip's, for one.
            Benchmark::Activitynet => id.strip_prefix("v_").unwrap_or(id),
            _ => id,
        };
        self.files.get(id).or_else(|| self.files.get(other))
    }
}

/// Looks at every listing of a benchmark.
pub fn diagnose(
    annotations: &Annotations,
    clips: &Clips,
    decoded: &Decoded,
    quarantine: &BTreeSet<String>,
) -> Vec<Diagnosis> {
    let one = |listing| one(annotations, listing, clips, decoded, quarantine);
    let mut found: Vec<Diagnosis> = annotations.listings.iter().map(one).collect();
    let copies: Vec<_> = found.iter().map(|listing| copies(annotations, listing, &found)).collect();
    for (listing, copies) in found.iter_mut().zip(copies) {
        listing.copies = copies;
    }
    found
}

fn one(
    annotations: &Annotations,
    listing: &Listing,
    clips: &Clips,
    decoded: &Decoded,
    quarantine: &BTreeSet<String>,
) -> Diagnosis {
    let benchmark = annotations.benchmark;
    let mut found = Diagnosis {
        listing: listing.name,
        videos: listing.videos.len(),
        captions: listing.captions.len(),
        present: Vec::new(),
        missing: Vec::new(),
        zero_length: Vec::new(),
        corrupt: BTreeMap::new(),
        partial: BTreeMap::new(),
        quarantined: Vec::new(),
        ambiguous: Vec::new(),
        unsafe_ids: Vec::new(),
        silent: 0,
        blank: 0,
        repeated_within: 0,
        repeated_across: 0,
        listed_gallery: recognise(benchmark, &listing.videos),
        present_gallery: Match::Unknown,
        present_hash: String::new(),
        copies: Vec::new(),
    };
    for id in &listing.videos {
        if id.contains(['/', '\\']) || id.contains("..") {
            found.unsafe_ids.push(id.clone());
            continue;
        }
        if quarantine.contains(id) {
            found.quarantined.push(id.clone());
            continue;
        }
        let Some(files) = clips.of(benchmark, id) else {
            found.missing.push(id.clone());
            continue;
        };
        if files.len() > 1 {
            found.ambiguous.push(id.clone());
        }
        let file = &files[0];
        if std::fs::metadata(file).is_ok_and(|file| file.len() == 0) {
            found.zero_length.push(id.clone());
        } else if let Some(reason) = decoded.corrupt.get(file) {
            found.corrupt.insert(id.clone(), reason.clone());
        } else {
            if let Some(reason) = decoded.partial.get(file) {
                found.partial.insert(id.clone(), reason.clone());
            }
            found.present.push(id.clone());
        }
    }
    captions(listing, &mut found);
    found.present_gallery = recognise(benchmark, &found.present);
    found.present_hash = ids_hash(&found.present);
    found
}

fn captions(listing: &Listing, found: &mut Diagnosis) {
    let mut told = vec![false; listing.videos.len()];
    let mut within: HashSet<(usize, &str)> = HashSet::new();
    let mut speakers: HashMap<String, BTreeSet<usize>> = HashMap::new();
    for caption in &listing.captions {
        told[caption.video] = true;
        if caption.text.trim().is_empty() {
            found.blank += 1;
        }
        if !within.insert((caption.video, &caption.text)) {
            found.repeated_within += 1;
        }
        speakers.entry(caption.text.trim().to_lowercase()).or_default().insert(caption.video);
    }
    found.silent = if listing.captions.is_empty() { 0 } else { told.iter().filter(|told| !**told).count() };
    found.repeated_across = listing
        .captions
        .iter()
        .filter(|caption| {
            speakers.get(&caption.text.trim().to_lowercase()).is_some_and(|videos| videos.len() > 1)
        })
        .count();
}

/// Present test clips that show what a present training clip shows.
fn copies(annotations: &Annotations, test: &Diagnosis, found: &[Diagnosis]) -> Vec<[String; 2]> {
    let train = match test.listing {
        "test-1k-a" => "train-9k",
        "test-1k-b" => "train-1k-b",
        "test-full" => "train-full",
        "test" | "val-1" | "val-2" => "train",
        _ => return Vec::new(),
    };
    let Some(train) = found.iter().find(|found| found.listing == train) else { return Vec::new() };
    let (test, train): (HashSet<&String>, HashSet<&String>) =
        (test.present.iter().collect(), train.present.iter().collect());
    let mut pairs: Vec<[String; 2]> = annotations
        .copies
        .iter()
        .flat_map(|[first, second]| [[first, second], [second, first]])
        .filter(|[of_test, of_train]| test.contains(of_test) && train.contains(of_train))
        .map(|[of_test, of_train]| [of_test.clone(), of_train.clone()])
        .collect();
    pairs.sort();
    pairs.dedup();
    pairs
}

/// Reads a list of ids to exclude: one a line; what follows a `#` is a remark.
///
/// # Errors
/// The file, and the system's word.
pub fn quarantine(path: &Path) -> Result<BTreeSet<String>, DataError> {
    let text = files::read_text(path)?;
    let ids = text.lines().map(|line| line.split('#').next().unwrap_or_default().trim());
    Ok(ids.filter(|id| !id.is_empty()).map(str::to_string).collect())
}
