//! The galleries that results are known on, by the hash of their video ids: two recalls can be compared if they were
//! measured on one gallery. DiDeMo alone circulates with seven test sets.

use serde::Serialize;
use sha2::{Digest, Sha256};

use crate::benchmarks::{Benchmark, didemo};
use crate::files::hex;

/// A gallery that circulates.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Gallery {
    /// Its benchmark.
    pub benchmark: Benchmark,
    /// What people call it.
    pub name: &'static str,
    /// Videos.
    pub videos: usize,
    /// [`ids_hash`] of its videos; `None` where its list is not public, so that it is known by number alone.
    pub hash: Option<&'static str>,
    /// Who uses it, or where it is described.
    pub source: &'static str,
}

const fn listed(
    benchmark: Benchmark,
    name: &'static str,
    videos: usize,
    hash: &'static str,
    source: &'static str,
) -> Gallery {
    Gallery { benchmark, name, videos, hash: Some(hash), source }
}

const fn counted(benchmark: Benchmark, name: &'static str, videos: usize, source: &'static str) -> Gallery {
    Gallery { benchmark, name, videos, hash: None, source }
}

use Benchmark::{Activitynet, Didemo, Lsmdc, Msrvtt, Msvd, Vatex};

/// Every known gallery. MTEB's 879 clips of MSR-VTT are no 1k-A, whatever a table calls them.
pub const GALLERIES: &[Gallery] = &[
    listed(
        Msrvtt,
        "1k-A test (JSFUSION)",
        1000,
        "49a09fb68f7ec52b3b9bbb7e856ffbd3f00233976ed435fded658309c3cd491a",
        "MSRVTT_JSFUSION_test.csv",
    ),
    listed(
        Msrvtt,
        "full test",
        2990,
        "916e9b2dd9a4518131b76a1e9b4f47fd12847f50356ebd8413bcd555abe2bca8",
        "test_videodatainfo.json",
    ),
    listed(
        Msrvtt,
        "full val",
        497,
        "be5b1994f643740b80796c392d7b472deed45ddce69ce13fee87609ce303ab3f",
        "train_val_videodatainfo.json",
    ),
    listed(
        Msrvtt,
        "1k-B test (Miech)",
        1000,
        "a0ad82bd7f2c45e38a460e40920fa9403a3411c053ea52a27f189d11b7ca1825",
        "test_list_miech.txt",
    ),
    counted(Msrvtt, "MTEB's MSR-VTT task, which is not 1k-A", 879, "embeddings-benchmark/mteb"),
    listed(
        Msvd,
        "test",
        670,
        "8d2c6c42af984fd02de95caffc7c6e4fafadeed81b5d99c8aa1584b12367a85c",
        "test_list.txt",
    ),
    listed(
        Msvd,
        "val",
        100,
        "0e6b31c93757d25115f04e1974bcdc7962b3fce17832b397f6e83e9ff096881b",
        "val_list.txt",
    ),
    listed(
        Lsmdc,
        "public test",
        1000,
        "e07644d41a841af08428c689a5b6f5aaa4c05411fe38a5a166bd57776216e166",
        "LSMDC16_challenge_1000_publictect.csv",
    ),
    listed(
        Didemo,
        "test by clips",
        1004,
        "57c0b06b28455cd36f6953f0ee56ed5ef73ad44134f250cf5666c0f67dc75b6a",
        "collaborative-experts' list; T-MASS's labels",
    ),
    listed(
        Didemo,
        "val by clips",
        1065,
        "c1939b35c9e675a6cd66c19433a4378015523ee4ca681a3e7869b988833182a0",
        "collaborative-experts' list",
    ),
    listed(
        Didemo,
        "test by names: 33 clips stand twice",
        1037,
        "42d3325dd1462680ace8a6765172881d40f13c3311c749016a114ca93218a57b",
        "distinct names of test_data.json",
    ),
    counted(Didemo, "Unmasked Teacher's", 1036, "OpenGVLab/unmasked_teacher, issue 23"),
    counted(Didemo, "CLIP4Clip's and VINDLU's", 1003, "tsujuifu/pytorch_empirical-mvm, issue 2"),
    counted(Didemo, "MTEB's", 995, "embeddings-benchmark/mteb"),
    counted(Didemo, "Empirical-MVM's release", 979, "tsujuifu/pytorch_empirical-mvm, issue 2"),
    counted(Didemo, "Empirical-MVM's release as first measured", 913, "the same issue"),
    listed(
        Activitynet,
        "val-1, test by custom",
        4917,
        "6da5bed74d0b4940843c7adce3689003d1dfbefec8181c4aa269a48cddc882b3",
        "val_1.json",
    ),
    listed(
        Activitynet,
        "val-2",
        4885,
        "d60c24296d3c8903f1ab36b10bd0e3fddc3106ef293c05b3e4f737f9f6c2c821",
        "val_2.json",
    ),
    counted(Activitynet, "MTEB's", 4884, "embeddings-benchmark/mteb"),
    listed(
        Vatex,
        "HGR test",
        1500,
        "5c359709225c0551cc14ad58773c878f04cdaa993f1750c9ffc95ac051944993",
        "test_list.txt",
    ),
    listed(
        Vatex,
        "HGR val",
        1500,
        "561ef7c7f03a2e6e4ac631696c996860b4ca450aa658fcf54f2cce61695b58ff",
        "val_list.txt",
    ),
    listed(
        Vatex,
        "CLIP2Video's random 1k5",
        1500,
        "df88dab1df5fc178cc36780bd41d5b6c2a91da86c32bac3b2576ec993dfaab2e",
        "test1k5_sec_list.txt",
    ),
];

/// How well a gallery is recognised.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Match {
    /// The ids are the same.
    Same(&'static Gallery),
    /// The number is the same, and its ids are not public.
    NumberAlone(&'static Gallery),
    /// No known gallery.
    Unknown,
}

/// SHA-256, in hexadecimal, of the sorted ids, one a line without a newline at the end: what anyone can compute from a
/// list, in whatever order it stands. [`gallery_hash`] names the queries too, and their order.
pub fn ids_hash(ids: &[String]) -> String {
    let mut sorted: Vec<&str> = ids.iter().map(String::as_str).collect();
    sorted.sort_unstable();
    hex(&Sha256::digest(sorted.join("\n")))
}

/// SHA-256, in hexadecimal, of the ids of videos and captions, in order.
pub fn gallery_hash(videos: &[String], captions: &[String]) -> String {
    let mut hash = Sha256::new();
    for (kind, ids) in [("videos", videos), ("captions", captions)] {
        hash.update(format!("{kind} {}\n", ids.len()));
        for id in ids {
            // The length keeps ["ab", "c"] and ["a", "bc"] apart.
            hash.update(format!("{} {id}\n", id.len()));
        }
    }
    hex(&hash.finalize())
}

/// Which known gallery these videos are.
pub fn recognise(benchmark: Benchmark, videos: &[String]) -> Match {
    let hash = ids_hash(videos);
    let of_benchmark = || GALLERIES.iter().filter(|gallery| gallery.benchmark == benchmark);
    if let Some(gallery) = of_benchmark().find(|gallery| gallery.hash == Some(&hash)) {
        return Match::Same(gallery);
    }
    let by_number = of_benchmark().find(|gallery| gallery.hash.is_none() && gallery.videos == videos.len());
    by_number.map_or(Match::Unknown, Match::NumberAlone)
}

/// The gallery of another benchmark that these videos are. Of DiDeMo's, names may have their endings, which its reader
/// takes off.
pub(crate) fn of_another(benchmark: Benchmark, videos: &[String]) -> Option<&'static Gallery> {
    let others = || GALLERIES.iter().filter(|gallery| gallery.benchmark != benchmark);
    if others().all(|gallery| gallery.videos != videos.len()) {
        return None;
    }
    let clips: Vec<String> = videos.iter().map(|name| didemo::clip(name).to_owned()).collect();
    let hashes = [ids_hash(videos), ids_hash(&clips)];
    others().find(|gallery| gallery.hash.is_some_and(|hash| hashes.iter().any(|known| known == hash)))
}

impl std::fmt::Display for Match {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Same(gallery) => write!(formatter, "{} ({} videos)", gallery.name, gallery.videos),
            Self::NumberAlone(gallery) => write!(
                formatter,
                "as many videos as {} ({}), whose list is not public",
                gallery.name, gallery.videos
            ),
            Self::Unknown => formatter.write_str("no known gallery: compare its figures with nobody's"),
        }
    }
}
