//! Which listings are trained on and tested together, and a table of what is there of them.
//!
//! | benchmark | protocol | train | val | test |
//! |---|---|---|---|---|
//! | MSR-VTT | `1k-a`, `1k-a-7k`, `full`, `1k-b` | `train-9k`, `train-7k`, `train-full`, `train-1k-b` | `full` alone has one | `test-1k-a` twice, `test-full`, `test-1k-b` |
//! | MSVD, LSMDC, DiDeMo | `standard` | `train` | `val` | `test` |
//! | ActivityNet Captions | `val-1` | `train` | none | `val-1` |
//! | VATEX | `hgr`, `1k5` | `train` | `val`, none | `test`, `test-1k5` |
//!
//! Where a protocol has no val, published code chooses its epoch on test. Here some training clips are held out instead
//! (ours): one in 18, which is 500 of 1k-A's 9,000, and two at least; those whose ids have the least SHA-256.

use std::path::Path;

use sha2::{Digest, Sha256};

use super::manifest::Entry;
use super::{Annotations, Benchmark, Listing};

/// Listings that belong together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Protocol {
    /// Its benchmark.
    pub benchmark: Benchmark,
    /// Its name within the benchmark.
    pub name: &'static str,
    /// The listing that is trained on.
    pub train: &'static str,
    /// The listing that is looked at while training.
    pub val: Option<&'static str>,
    /// The listing that is reported.
    pub test: &'static str,
}

const fn protocol(
    benchmark: Benchmark,
    name: &'static str,
    train: &'static str,
    val: Option<&'static str>,
    test: &'static str,
) -> Protocol {
    Protocol { benchmark, name, train, val, test }
}

use Benchmark::{Activitynet, Didemo, Lsmdc, Msrvtt, Msvd, Vatex};

/// All of them; the first of a benchmark is the one that most papers report.
const PROTOCOLS: &[Protocol] = &[
    protocol(Msrvtt, "1k-a", "train-9k", None, "test-1k-a"),
    protocol(Msrvtt, "1k-a-7k", "train-7k", None, "test-1k-a"),
    protocol(Msrvtt, "full", "train-full", Some("val-full"), "test-full"),
    protocol(Msrvtt, "1k-b", "train-1k-b", None, "test-1k-b"),
    protocol(Msvd, "standard", "train", Some("val"), "test"),
    protocol(Lsmdc, "standard", "train", Some("val"), "test"),
    protocol(Didemo, "standard", "train", Some("val"), "test"),
    protocol(Activitynet, "val-1", "train", None, "val-1"),
    protocol(Vatex, "hgr", "train", Some("val"), "test"),
    protocol(Vatex, "1k5", "train", None, "test-1k5"),
];

impl Protocol {
    /// Those of a benchmark.
    pub fn of(benchmark: Benchmark) -> impl Iterator<Item = &'static Self> {
        PROTOCOLS.iter().filter(move |protocol| protocol.benchmark == benchmark)
    }

    /// A table of the videos for which `file` gives a file, in the order of the listings, train first; `None` without
    /// the list of test. Clips without a caption are left out: nothing is learnt from them, and nothing looks for them.
    pub fn entries<'a>(
        &self,
        annotations: &Annotations,
        file: impl Fn(&str) -> Option<&'a Path>,
    ) -> Option<Vec<Entry>> {
        let test = annotations.listing(self.test)?;
        let mut entries = Vec::new();
        let held_out = match (annotations.listing(self.train), self.val) {
            (Some(train), None) => held_out(&present(train, "train", &file)),
            _ => Vec::new(),
        };
        for (split, listing) in [
            ("train", annotations.listing(self.train)),
            ("val", self.val.and_then(|val| annotations.listing(val))),
            ("test", Some(test)),
        ] {
            for mut entry in listing.map(|listing| present(listing, split, &file)).unwrap_or_default() {
                if split == "train" && held_out.contains(&entry.id) {
                    entry.split = Some("val".into());
                }
                entries.push(entry);
            }
        }
        Some(entries)
    }
}

fn present<'a>(listing: &Listing, split: &str, file: &impl Fn(&str) -> Option<&'a Path>) -> Vec<Entry> {
    let mut captions = vec![Vec::new(); listing.videos.len()];
    for caption in listing.captions.iter().filter(|caption| !caption.text.trim().is_empty()) {
        captions[caption.video].push(caption.text.clone());
    }
    let entry = |(id, captions): (&String, Vec<String>)| {
        let path = file(id)?.to_path_buf();
        let told = !captions.is_empty();
        told.then(|| Entry { id: id.clone(), path, captions, split: Some(split.to_owned()) })
    };
    listing.videos.iter().zip(captions).filter_map(entry).collect()
}

/// The training clips that stand in for a val that a protocol does not have.
fn held_out(train: &[Entry]) -> Vec<String> {
    let mut ids: Vec<&str> = train.iter().map(|entry| entry.id.as_str()).collect();
    ids.sort_by_cached_key(|id| Sha256::digest(id.as_bytes()));
    let count = (ids.len() / 18).max(2).min(ids.len() / 2);
    ids[..count].iter().map(|id| (*id).to_owned()).collect()
}
