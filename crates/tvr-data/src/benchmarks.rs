//! The benchmarks of the field, read from their official files and the common derivatives.
//!
//! A reader takes a folder of annotation files, under the names that they circulate with, each as it is or with `.gz`
//! behind. It gives every published [`Listing`] (a split under one protocol) whose files are there, names the files
//! that are not, and counts what is known to be odd. Nothing is downloaded and nothing is executed.
//!
//! | benchmark | listings |
//! |---|---|
//! | MSR-VTT | `train-9k`, `train-7k`, `test-1k-a`, `train-full`, `val-full`, `test-full`, `train-1k-b`, `test-1k-b` |
//! | MSVD | `train`, `val`, `test`: several captions a video |
//! | LSMDC | `train`, `val`, `test` |
//! | DiDeMo | `train`, `val`, `test`: a clip's sentences joined into one paragraph |
//! | ActivityNet Captions | `train`, `val-1`, `val-2`: likewise |
//! | VATEX | `train`, `val`, `test` of the HGR split, `test-1k5` |
//!
//! [`protocols`] says which listings are trained on and tested together. One's own videos have a reader of their own,
//! [`manifest`].

pub mod source;
pub mod activitynet;
pub mod didemo;
pub mod lsmdc;
pub mod msrvtt;
pub mod msvd;
pub mod pickle;
pub mod vatex;
pub mod manifest;
pub mod protocols;

use std::collections::HashSet;
use std::path::Path;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::error::DataError;
use crate::galleries::of_another;
use protocols::Protocol;
use source::Folder;

/// A benchmark.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Benchmark {
    /// MSR-VTT (Xu et al. 2016).
    Msrvtt,
    /// MSVD (Chen and Dolan 2011).
    Msvd,
    /// LSMDC (Rohrbach et al. 2017).
    Lsmdc,
    /// DiDeMo (Hendricks et al. 2017).
    Didemo,
    /// ActivityNet Captions (Krishna et al. 2017).
    Activitynet,
    /// VATEX (Wang et al. 2019).
    Vatex,
}

/// A caption of a listing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Caption {
    /// Its video, an index into [`Listing::videos`].
    pub video: usize,
    /// The sentence or paragraph.
    pub text: String,
}

/// One split under one protocol.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Listing {
    /// Its name within the benchmark.
    pub name: &'static str,
    /// The videos, in the order of the official file.
    pub videos: Vec<String>,
    /// The captions, in the order of the official file; none where the files hold ids alone.
    pub captions: Vec<Caption>,
}

/// Something odd about a benchmark's files, and how often.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Oddity {
    /// The listing, or the benchmark as a whole.
    pub listing: Option<&'static str>,
    /// What it is.
    pub what: String,
    /// How often.
    pub count: usize,
}

/// What a benchmark's annotation files say.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Annotations {
    /// The benchmark.
    pub benchmark: Benchmark,
    /// Every listing whose files are there.
    pub listings: Vec<Listing>,
    /// Files that are not there, each with the listings that need it.
    pub absent: Vec<Absent>,
    /// What is odd.
    pub oddities: Vec<Oddity>,
    /// Pairs of videos that show the same content, where a list of them is there.
    pub copies: Vec<[String; 2]>,
}

/// A file that is not there.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Absent {
    /// Names under which it circulates.
    pub file: &'static str,
    /// What needs it.
    pub needed_for: &'static str,
}

impl Benchmark {
    /// All of them.
    pub const ALL: [Self; 6] =
        [Self::Msrvtt, Self::Msvd, Self::Lsmdc, Self::Didemo, Self::Activitynet, Self::Vatex];

    /// As the command line takes it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Msrvtt => "msrvtt",
            Self::Msvd => "msvd",
            Self::Lsmdc => "lsmdc",
            Self::Didemo => "didemo",
            Self::Activitynet => "activitynet",
            Self::Vatex => "vatex",
        }
    }

    /// Where its files come from, and under which licence, in words. Nothing is fetched.
    pub fn origin(self) -> &'static str {
        match self {
            Self::Msrvtt => {
                "ms-multimedia-challenge.com/2017/dataset; the package names no licence, research use is customary; the clips are cut from YouTube"
            }
            Self::Msvd => {
                "cs.utexas.edu/users/ml/clamp/videoDescription; Microsoft Research licence, research use"
            }
            Self::Lsmdc => {
                "sites.google.com/site/describingmovies/download; download and use need the permission of MPII"
            }
            Self::Didemo => {
                "github.com/LisaAnne/LocalizingMoments; annotations BSD 2-clause, videos under their own Creative Commons licences"
            }
            Self::Activitynet => {
                "cs.stanford.edu/people/ranjaykrishna/densevid, videos activity-net.org/download.html; no licence found, clips from YouTube"
            }
            Self::Vatex => "eric-xw.github.io/vatex-website; annotations CC BY 4.0, clips from YouTube",
        }
    }

    /// Reads a folder of its annotation files.
    ///
    /// # Errors
    /// A file that is there and cannot be read as what it is; a folder without any of the files.
    pub fn read(self, folder: &Path) -> Result<Annotations, DataError> {
        let annotations = self.look(folder)?;
        if annotations.listings.is_empty() {
            let wanted: Vec<&str> = annotations.absent.iter().map(|absent| absent.file).collect();
            return Err(DataError::format(
                folder,
                format!(
                    "holds no annotation file of {}; wanted are {}; they come from {}",
                    self.name(),
                    wanted.join(", "),
                    self.origin()
                ),
            ));
        }
        Ok(annotations)
    }

    /// As [`Benchmark::read`]; a folder without any of the files has no listing.
    ///
    /// # Errors
    /// A path that is no folder; a file that is there and cannot be read as what it is.
    pub fn look(self, folder: &Path) -> Result<Annotations, DataError> {
        let folder = Folder::open(folder)?;
        let mut annotations = match self {
            Self::Msrvtt => msrvtt::read(&folder),
            Self::Msvd => msvd::read(&folder),
            Self::Lsmdc => lsmdc::read(&folder),
            Self::Didemo => didemo::read(&folder),
            Self::Activitynet => activitynet::read(&folder),
            Self::Vatex => vatex::read(&folder),
        }?;
        annotations.name_mistaken();
        Ok(annotations)
    }
}

impl std::fmt::Display for Benchmark {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(self.name())
    }
}

impl FromStr for Benchmark {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Self::ALL.into_iter().find(|benchmark| benchmark.name() == text).ok_or_else(|| {
            let names: Vec<&str> = Self::ALL.iter().map(|benchmark| benchmark.name()).collect();
            format!("unknown benchmark {text:?}; it is one of {}", names.join(", "))
        })
    }
}

impl Annotations {
    fn new(benchmark: Benchmark) -> Self {
        Self { benchmark, listings: Vec::new(), absent: Vec::new(), oddities: Vec::new(), copies: Vec::new() }
    }

    /// The listing of that name.
    pub fn listing(&self, name: &str) -> Option<&Listing> {
        self.listings.iter().find(|listing| listing.name == name)
    }

    /// Counts captions of videos that no listing names; of listings that are there.
    fn strangers<'a>(&mut self, told: impl Iterator<Item = (&'a String, usize)>) {
        let listed: HashSet<&str> =
            self.listings.iter().flat_map(|listing| &listing.videos).map(String::as_str).collect();
        let strangers =
            told.filter(|(id, _)| !listed.contains(id.as_str())).map(|(_, captions)| captions).sum();
        if !self.listings.is_empty() {
            self.odd(None, "captions of videos that no listing names", strangers);
        }
    }

    /// Names lists that lie in the place of others: those of MSVD, DiDeMo and VATEX have the same names.
    fn name_mistaken(&mut self) {
        let mut found = Vec::new();
        for listing in &self.listings {
            if let Some(gallery) = of_another(self.benchmark, &listing.videos) {
                let what =
                    format!("videos of another benchmark: this is {}'s {}", gallery.benchmark, gallery.name);
                found.push((listing.name, what, listing.videos.len()));
            }
        }
        for Protocol { train, val, test, .. } in Protocol::of(self.benchmark) {
            for (held_out, from) in [(Some(*test), Some(*train)), (Some(*test), *val), (*val, Some(*train))] {
                let of = |name: Option<&'static str>| name.and_then(|name| self.listing(name));
                let (Some(held_out), Some(from)) = (of(held_out), of(from)) else { continue };
                let known: HashSet<&String> = from.videos.iter().collect();
                let shared = held_out.videos.iter().filter(|id| known.contains(id)).count();
                found.push((held_out.name, format!("videos that {} lists too", from.name), shared));
            }
        }
        for (listing, what, count) in found {
            self.odd(Some(listing), what, count);
        }
    }

    fn lack(&mut self, file: &'static str, needed_for: &'static str) {
        self.absent.push(Absent { file, needed_for });
    }

    fn odd(&mut self, listing: Option<&'static str>, what: impl Into<String>, count: usize) {
        if count > 0 {
            self.oddities.push(Oddity { listing, what: what.into(), count });
        }
    }
}

impl Listing {
    /// A listing of videos with their captions: `captions` gives those of an id, in order.
    pub(crate) fn gather<'a>(
        name: &'static str,
        videos: Vec<String>,
        captions: impl Fn(&str) -> Option<&'a [String]>,
    ) -> Self {
        let captions = videos
            .iter()
            .enumerate()
            .flat_map(|(video, id)| {
                let texts = captions(id).unwrap_or_default();
                texts.iter().map(move |text| Caption { video, text: text.clone() })
            })
            .collect();
        Self { name, videos, captions }
    }

    /// Distinct captions, after trimming and lower-casing.
    pub fn distinct_captions(&self) -> usize {
        let texts = self.captions.iter().map(|caption| caption.text.trim().to_lowercase());
        texts.collect::<HashSet<_>>().len()
    }
}
