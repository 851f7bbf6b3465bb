//! Hashes of galleries: two results are comparable if they were made on one gallery.

use sha2::{Digest, Sha256};

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
    hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
}
