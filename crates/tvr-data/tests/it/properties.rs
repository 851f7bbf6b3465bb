//! What holds for every loader and every file.

use proptest::prelude::*;
use tvr_data::{FeatureFile, Loader, Precision, stream};

use crate::features::small;

proptest! {
    #[test]
    fn batches_are_whole_and_true(
        counts in prop::collection::vec(0usize..4, 1..30), seed: u64, batch in 1usize..6, epoch in 0u64..5, all: bool,
    ) {
        let mut next = 0;
        let captions: Vec<Vec<usize>> = counts.iter().map(|&n| { next += n; (next - n..next).collect() }).collect();
        let Ok(loader) = Loader::new(captions.clone(), batch, seed, all) else { return Ok(()) };
        let mut texts = Vec::new();
        let mut n_videos = 0;
        for drawn in loader.epoch(epoch) {
            prop_assert_eq!((drawn.texts.len(), drawn.text_video.len(), drawn.epoch), (batch, batch, epoch));
            for (text, &place) in drawn.texts.iter().zip(&drawn.text_video) {
                prop_assert!(captions[drawn.videos[place]].contains(text));
            }
            let mut distinct = drawn.videos.clone();
            distinct.sort_unstable();
            distinct.dedup();
            prop_assert_eq!(distinct.len(), drawn.videos.len());
            prop_assert!(all || drawn.videos.len() == batch);
            n_videos += drawn.videos.len();
            texts.extend(drawn.texts);
        }
        let n_texts = texts.len();
        texts.sort_unstable();
        texts.dedup();
        prop_assert_eq!(texts.len(), n_texts); // no caption twice in an epoch
        prop_assert_eq!(n_texts, loader.steps_per_epoch() * batch);
        prop_assert!(n_videos <= n_texts);
    }

    #[test]
    fn broken_bytes_are_an_error_or_a_file_and_never_a_panic(
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..12), keep in 0.0f64..1.2,
    ) {
        let mut bytes = small().to_bytes(Precision::F16).unwrap();
        for (place, value) in changes {
            let place = place.index(bytes.len());
            bytes[place] = value;
        }
        bytes.truncate((keep * bytes.len() as f64) as usize);
        if let Ok(file) = FeatureFile::from_bytes(bytes) {
            for video in 0..file.video_ids().len() {
                prop_assert!(file.frames(video).iter().all(|value| value.is_finite()));
                prop_assert!(file.mask(video).contains(&true));
            }
            let _ = (file.tokens(), file.expert("sound"));
        }
    }

    #[test]
    fn below_stays_below(seed: u64, n in 1u64..1 << 32) {
        prop_assert!(stream(seed, "below", 0).below(n) < n);
    }
}
