//! What holds for every loader, every prefetch and every gallery.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use proptest::prelude::*;
use tvr_data::{Batch, Draw, Loader, Prefetch, gallery_hash};

/// Numbered captions of videos with so many captions each.
fn captions(counts: &[usize]) -> Vec<Vec<usize>> {
    let mut next = 0;
    counts
        .iter()
        .map(|&count| {
            next += count;
            (next - count..next).collect()
        })
        .collect()
}

fn draws() -> impl Strategy<Value = Draw> {
    prop_oneof![Just(Draw::OnePerVideo), Just(Draw::All)]
}

fn items(counts: &[usize], draw: Draw) -> usize {
    if draw == Draw::All { counts.iter().sum() } else { counts.len() }
}

/// A batch out of its epoch, which is drawn and shuffled for it alone; places are looked for one after another.
fn drawn_anew(captions: &[Vec<usize>], size: usize, seed: u64, draw: Draw, step: usize) -> Batch {
    let mut pairs = Vec::new();
    let batches =
        captions.iter().map(|texts| if draw == Draw::All { texts.len() } else { 1 }).sum::<usize>() / size;
    let epoch = (step / batches) as u64;
    let mut random = tvr_data::stream(seed, "captions", epoch);
    for (video, texts) in captions.iter().enumerate() {
        match draw {
            Draw::OnePerVideo => pairs.push((texts[random.below(texts.len() as u64) as usize], video)),
            Draw::All => pairs.extend(texts.iter().map(|&text| (text, video))),
        }
    }
    let mut random = tvr_data::stream(seed, "order", epoch);
    for last in (1..pairs.len()).rev() {
        pairs.swap(last, random.below(last as u64 + 1) as usize);
    }
    let mut batch = Batch { epoch, texts: Vec::new(), videos: Vec::new(), text_video: Vec::new() };
    for &(text, video) in &pairs[step % batches * size..][..size] {
        if !batch.videos.contains(&video) {
            batch.videos.push(video);
        }
        batch.texts.push(text);
        batch.text_video.push(batch.videos.iter().position(|&known| known == video).unwrap());
    }
    batch
}

fn names() -> impl Strategy<Value = Vec<String>> {
    prop::collection::vec("[ab1 \n]{0,3}", 0..4)
}

proptest! {
    #[test]
    fn an_epoch_has_every_item_at_most_once(
        counts in prop::collection::vec(1usize..5, 1..30),
        place: prop::sample::Index,
        seed: u64,
        epoch in 0usize..4,
        draw in draws(),
    ) {
        let items = items(&counts, draw);
        let size = 1 + place.index(items);
        let captions = captions(&counts);
        let loader = Loader::new(captions.clone(), size, seed, draw).unwrap();
        prop_assert_eq!(loader.batches(), items / size);
        let (mut texts, mut videos) = (HashSet::new(), HashSet::new());
        for step in epoch * loader.batches()..(epoch + 1) * loader.batches() {
            let batch = loader.batch(step);
            prop_assert_eq!(batch.epoch, epoch as u64);
            prop_assert_eq!((batch.texts.len(), batch.text_video.len()), (size, size));
            let distinct: HashSet<usize> = batch.videos.iter().copied().collect();
            prop_assert_eq!(distinct.len(), batch.videos.len(), "a video stands in a batch once");
            let used: HashSet<usize> = batch.text_video.iter().copied().collect();
            prop_assert_eq!(used.len(), batch.videos.len(), "every video of a batch has a caption there");
            for (text, &video) in batch.texts.iter().zip(&batch.text_video) {
                prop_assert!(captions[batch.videos[video]].contains(text));
                prop_assert!(texts.insert(*text), "caption {} came twice", text);
            }
            if draw == Draw::OnePerVideo {
                for video in batch.videos {
                    prop_assert!(videos.insert(video), "video {} came twice", video);
                }
            }
        }
        prop_assert_eq!(texts.len(), loader.batches() * size);
    }

    #[test]
    fn a_batch_is_a_function_of_seed_and_step(
        counts in prop::collection::vec(1usize..5, 1..20),
        place: prop::sample::Index,
        seed: u64,
        steps in prop::collection::vec(0usize..200, 1..8),
        draw in draws(),
    ) {
        let size = 1 + place.index(items(&counts, draw));
        let make = || Loader::new(captions(&counts), size, seed, draw).unwrap();
        let (first, second) = (make(), make());
        let there: Vec<_> = steps.iter().map(|&step| first.batch(step)).collect();
        let mut back: Vec<_> = steps.iter().rev().map(|&step| second.batch(step)).collect();
        back.reverse();
        prop_assert_eq!(there, back);
    }

    /// Whatever was asked for before, and in which order.
    #[test]
    fn a_batch_is_what_drawing_its_whole_epoch_anew_gives(
        counts in prop::collection::vec(1usize..5, 1..20),
        place: prop::sample::Index,
        seed: u64,
        steps in prop::collection::vec(0usize..60, 1..8),
        draw in draws(),
    ) {
        let size = 1 + place.index(items(&counts, draw));
        let captions = captions(&counts);
        let loader = Loader::new(captions.clone(), size, seed, draw).unwrap();
        for step in steps {
            prop_assert_eq!(loader.batch(step), drawn_anew(&captions, size, seed, draw, step));
        }
    }

    #[test]
    fn a_batch_larger_than_an_epoch_is_refused(
        counts in prop::collection::vec(1usize..5, 1..20), more in 1usize..5, draw in draws(),
    ) {
        let items = items(&counts, draw);
        for size in [0, items + more] {
            let error = Loader::new(captions(&counts), size, 0, draw).unwrap_err().to_string();
            let expected = format!("batch = {size}, but it must be from 1 to {items}, the items of an epoch");
            prop_assert_eq!(error, expected);
        }
    }

    #[test]
    fn galleries_that_differ_have_hashes_that_differ(
        videos in names(), captions in names(), other_videos in names(), other_captions in names(),
    ) {
        let same = videos == other_videos && captions == other_captions;
        let (one, other) = (gallery_hash(&videos, &captions), gallery_hash(&other_videos, &other_captions));
        prop_assert_eq!(one == other, same);
    }

    #[test]
    fn galleries_keep_the_boundaries_of_ids(name in "[a-z0-9]{2,8}", place: prop::sample::Index) {
        let (head, tail) = name.split_at(1 + place.index(name.len() - 1));
        let (whole, parts) = (vec![name.clone()], vec![head.to_string(), tail.to_string()]);
        let moved = vec![head.to_string() + &tail[..1], tail[1..].to_string()];
        let hashes: HashSet<String> = [
            gallery_hash(&whole, &[]),
            gallery_hash(&parts, &[]),
            gallery_hash(&moved, &[]),
            gallery_hash(&parts[..1], &parts[1..]),
            gallery_hash(&[], &whole),
        ]
        .into();
        prop_assert_eq!(hashes.len(), 5);
        prop_assert!(hashes.iter().all(|hash| hash.len() == 64));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn prefetch_keeps_the_order(
        start in 0usize..50,
        delays in prop::collection::vec(0u64..300, 0..30),
        threads in 1usize..=4,
        ahead in 0usize..6,
    ) {
        let range = start..start + delays.len();
        let expected: Vec<usize> = range.clone().map(|index| index * index).collect();
        let made = Prefetch::new(range, threads, ahead, move |index| {
            std::thread::sleep(Duration::from_micros(delays[index - start]));
            index * index
        });
        prop_assert_eq!(made.collect::<Vec<_>>(), expected);
    }

    #[test]
    fn prefetch_can_be_dropped_early(threads in 1usize..=4, ahead in 0usize..6, taken in 0usize..20) {
        let made = Arc::new(AtomicUsize::new(0));
        let counter = Arc::clone(&made);
        let mut prefetch = Prefetch::new(0..usize::MAX, threads, ahead, move |index| {
            counter.fetch_add(1, Ordering::SeqCst);
            index
        });
        let seen: Vec<usize> = prefetch.by_ref().take(taken).collect();
        prop_assert_eq!(seen, (0..taken).collect::<Vec<_>>());
        drop(prefetch);
        prop_assert_eq!(Arc::strong_count(&made), 1, "the threads have ended");
        prop_assert!(made.load(Ordering::SeqCst) >= taken);
    }
}

/// The first result is the slowest; the others must not pile up behind it.
#[test]
fn prefetch_holds_no_more_than_it_was_told() {
    for (threads, ahead) in [(1, 3), (4, 1), (4, 6)] {
        let begun = Arc::new(AtomicUsize::new(0));
        let counter = Arc::clone(&begun);
        let mut prefetch = Prefetch::new(0..40, threads, ahead, move |index| {
            counter.fetch_add(1, Ordering::SeqCst);
            if index == 0 {
                std::thread::sleep(Duration::from_millis(30));
            }
            index
        });
        for taken in 0..40 {
            assert_eq!(prefetch.next(), Some(taken));
            // What is begun is handed out, waits, or is in the making.
            let existing = begun.load(Ordering::SeqCst) - taken;
            assert!(existing <= ahead + 1, "{existing} results with ahead = {ahead}");
        }
        assert_eq!(prefetch.next(), None);
    }
}

#[test]
fn prefetch_ends_where_a_thread_dies() {
    let prefetch = Prefetch::new(0..40, 3, 4, |index| {
        assert_ne!(index, 5, "this thread dies on purpose");
        index
    });
    let seen: Vec<usize> = prefetch.collect();
    assert!(seen.len() <= 5 && seen.iter().enumerate().all(|(place, &index)| place == index), "{seen:?}");
}

#[test]
fn seeds_and_epochs_differ() {
    for draw in [Draw::OnePerVideo, Draw::All] {
        let make = |seed| Loader::new(captions(&[3; 40]), 40, seed, draw).unwrap();
        let loader = make(1);
        assert_ne!(loader.batch(0).texts, make(2).batch(0).texts);
        assert_ne!(loader.batch(0).texts, loader.batch(loader.batches()).texts);
    }
}

#[test]
fn a_video_without_captions_is_refused() {
    let error = Loader::new(vec![vec![0], vec![]], 1, 0, Draw::All).unwrap_err().to_string();
    assert_eq!(error, "captions of video = 1, but every video must have a caption; leave this one out");
}
