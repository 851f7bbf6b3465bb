//! The loader's order and the payloads made ahead of time.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tvr_data::{Batch, Loader, Prefetch};

fn loader(all_captions: bool) -> Loader {
    let captions = (0..23).map(|video| (3 * video..3 * video + 1 + video % 3).collect()).collect();
    Loader::new(captions, 5, 11, all_captions).unwrap()
}

#[test]
fn an_epoch_is_a_function_of_the_seed_and_the_epoch() {
    for all in [false, true] {
        let first: Vec<Batch> = loader(all).epoch(3).collect();
        let other = loader(all);
        let _ = other.batch(0);
        assert_eq!(first, other.epoch(3).collect::<Vec<_>>());
        assert_ne!(first[0].texts, other.batch(0).texts);
        assert_eq!(first.len(), other.steps_per_epoch());
    }
}

#[test]
fn every_step_can_be_resumed_at() {
    for all in [false, true] {
        let whole: Vec<Batch> = loader(all).batches_from(0).take(40).collect();
        for start in 0..40 {
            let mut rest = loader(all).batches_from(0);
            rest.seek(start);
            let at = rest.position();
            assert_eq!((at.epoch, at.step), (whole[start].epoch, whole[start].step));
            assert_eq!(rest.take(40 - start).collect::<Vec<_>>(), whole[start..]);
        }
    }
}

#[test]
fn payloads_do_not_depend_on_the_number_of_workers() {
    let expected: Vec<usize> = loader(false).batches_from(0).take(50).map(|batch| batch.texts.iter().sum()).collect();
    for workers in [1, 2, 4] {
        for ahead in [1, 3, 16] {
            let jobs = loader(false).batches_from(0).take(50);
            let made = Prefetch::new(jobs, workers, ahead, |batch: Batch| {
                std::thread::sleep(std::time::Duration::from_micros(batch.texts[0] as u64 * 7));
                batch.texts.iter().sum::<usize>()
            });
            assert_eq!(made.unwrap().collect::<Result<Vec<_>, _>>().unwrap(), expected);
        }
    }
}

#[test]
fn the_queue_is_bounded_and_dropping_it_ends_the_threads() {
    let made = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&made);
    let mut prefetch = Prefetch::new(0.., 4, 6, move |index: usize| {
        counter.fetch_add(1, Ordering::SeqCst);
        index
    })
    .unwrap();
    assert_eq!(prefetch.next().unwrap().unwrap(), 0);
    std::thread::sleep(std::time::Duration::from_millis(50));
    drop(prefetch);
    assert!(made.load(Ordering::SeqCst) <= 7, "{made:?}");
    assert_eq!(Arc::strong_count(&made), 1, "the threads hold nothing any more");
}

#[test]
fn a_panic_in_a_payload_is_an_error_and_the_rest_goes_on() {
    let made = Prefetch::new(0..4, 2, 2, |index: usize| if index == 1 { panic!("as the test asks") } else { index });
    let made: Vec<_> = made.unwrap().map(|made| made.map_err(|error| error.to_string())).collect();
    let message = "the making of item 1 ahead of time panicked; this is a bug in what makes it";
    assert_eq!(made, [Ok(0), Err(message.to_owned()), Ok(2), Ok(3)]);
}

#[test]
fn a_batch_larger_than_an_epoch_is_refused() {
    for batch in [0, 4] {
        let error = Loader::new(vec![vec![0], vec![1, 2], vec![], vec![3]], batch, 0, false).unwrap_err();
        let expected = format!("batch = {batch}, but it must be from 1 to 3, the pairs of an epoch");
        assert_eq!(error.to_string(), expected);
    }
}
