//! Ranks that fail, differ, or were started by some launcher; names of devices.

mod launch;

use std::path::Path;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use burn::module::{Module, Param};
use burn::prelude::*;
use tvr_experiment::collective::launch::Place;
use tvr_experiment::collective::{Collective, Facts, Threads, agree, open_in_turn, threads};
use tvr_experiment::step::{Batch, Way, gradients};
use tvr_experiment::{Event, ExperimentError, Recipe, Surroundings, device, plan};
use tvr_heads::MeanPoolingConfig;
use tvr_objectives::SymmetricConfig;

/// Three ranks that meet ten times, of which the second does something else at the fourth meeting.
fn broken(
    patience: Duration,
    what: impl Fn() -> Result<(), ExperimentError> + Sync,
) -> (ExperimentError, Duration) {
    let began = Instant::now();
    let error = threads::run(vec![(); 3], None, patience, &mut |_| (), |ranks: &Threads, (), _| {
        for turn in 0..10 {
            if turn == 4 && ranks.rank() == 1 {
                what()?;
            }
            ranks.sum("numbers", vec![1.0; 5])?;
        }
        Ok(())
    })
    .unwrap_err();
    (error, began.elapsed())
}

#[test]
fn ranks_gather_add_up_and_broadcast_in_their_order() {
    let parts = vec![1.0f32, 20.0, 300.0];
    let found = threads::run(parts, None, Duration::from_secs(20), &mut |_| (), |ranks, own, _| {
        let mut seen = Vec::new();
        for turn in 0..50u8 {
            let own_bytes = vec![turn; 1 + ranks.rank()];
            let all = ranks.gather("bytes", own_bytes)?;
            assert_eq!(all.iter().map(|bytes| bytes.len()).collect::<Vec<_>>(), [1, 2, 3]);
            assert!(all.iter().all(|bytes| bytes.iter().all(|&byte| byte == turn)));
            seen = ranks.sum("numbers", (0..7).map(|place| own * place as f32).collect())?;
            let first = ranks.broadcast("a word", vec![turn, ranks.rank() as u8])?;
            assert_eq!(**first, [turn, 0]);
            ranks.barrier("a barrier")?;
        }
        Ok(seen)
    });
    assert_eq!(found.unwrap(), [0.0, 321.0, 642.0, 963.0, 1284.0, 1605.0, 1926.0]);
}

/// On machines without a common file system the second fills a cache of its own when the first has filled its.
#[test]
fn whoever_opens_for_longer_than_the_others_patience_is_waited_for_while_something_happens_there() {
    let patience = Duration::from_secs(2);
    let opened = |pause: Duration, pauses: u32| {
        let order = Mutex::new(Vec::new());
        let open = |rank: usize, events: &mut dyn FnMut(Event)| {
            // The third finds everything there.
            for _ in 0..(if rank == 2 { 0 } else { pauses }) {
                std::thread::sleep(pause);
                events(Event::Note("still there".into()));
            }
            order.lock().unwrap().push(rank);
            Ok(rank)
        };
        threads::run(vec![(); 3], None, patience, &mut |_| (), |ranks: &Threads, (), events| {
            open_in_turn(ranks, patience, events, |events| open(ranks.rank(), events))?;
            ranks.barrier("the beginning")
        })
        .map(|()| order.into_inner().unwrap())
    };
    assert_eq!(opened(Duration::from_millis(200), 15).unwrap(), [0, 2, 1]);
    let hangs = opened(patience * 2, 1).unwrap_err().to_string();
    assert!(hangs.contains("did not come to exchange whether the cache is filled within 2 s"), "{hangs}");
}

#[test]
fn a_rank_that_fails_stops_all_with_its_own_sentence() {
    let fails = || Err(ExperimentError::work("the disk is gone"));
    let (error, took) = broken(Duration::from_secs(20), fails);
    assert_eq!(error.to_string(), "rank 1 of 3: the disk is gone");
    assert!(took < Duration::from_secs(5), "{took:?}");
}

#[test]
fn a_rank_that_breaks_off_stops_all() {
    let (error, took) = broken(Duration::from_secs(20), || panic!("out of memory"));
    assert_eq!(error.to_string(), "rank 1 of 3: it broke off: out of memory");
    assert!(took < Duration::from_secs(5), "{took:?}");
}

#[test]
fn a_rank_that_hangs_stops_all_when_patience_is_over() {
    let sleeps = || {
        std::thread::sleep(Duration::from_millis(1500));
        Ok(())
    };
    let (error, took) = broken(Duration::from_millis(300), sleeps);
    assert_eq!(
        error.to_string(),
        "rank 1 of 3: did not come to exchange numbers within 0.3 s; it hangs, or --patience is too short"
    );
    assert!(took < Duration::from_secs(5), "{took:?}");
}

#[test]
fn a_rank_that_never_comes_back_is_told_of_while_the_others_wait() {
    let mut stuck = Vec::new();
    let patience = Duration::from_millis(200);
    let mut listen = |event| {
        if let tvr_experiment::Event::Stuck(reason) = event {
            stuck.push(reason);
        }
    };
    let error = threads::run(vec![(); 2], None, patience, &mut listen, |ranks: &Threads, (), _| {
        if ranks.rank() == 1 {
            std::thread::sleep(Duration::from_millis(1500));
        }
        ranks.barrier("a barrier")
    })
    .unwrap_err();
    assert_eq!(stuck, [error.to_string()]);
}

#[test]
fn a_rank_that_hangs_in_its_turn_with_the_random_numbers_stops_all_when_patience_is_over() {
    let patience = Duration::from_millis(300);
    let (send, receive) = std::sync::mpsc::sync_channel(1);
    let receive = Mutex::new(receive);
    let error = threads::run(vec![(); 2], None, patience, &mut |_| (), |ranks: &Threads, (), _| {
        if ranks.rank() == 0 {
            receive.lock().unwrap().recv().unwrap();
        }
        let _turn = ranks.generator()?;
        if ranks.rank() == 1 {
            send.send(()).unwrap();
            std::thread::sleep(Duration::from_millis(1500));
        }
        Ok(())
    })
    .unwrap_err();
    assert_eq!(
        error.to_string(),
        "rank 1 of 2: did not end its turn with the random numbers within 0.3 s; it hangs, or --patience is too short"
    );
}

#[test]
fn a_rank_that_waits_while_others_take_their_turns_does_not_lose_patience() {
    let patience = Duration::from_millis(600);
    threads::run(vec![(); 4], None, patience, &mut |_| (), |ranks: &Threads, (), _| {
        for _ in 0..2 {
            let _turn = ranks.generator()?;
            std::thread::sleep(Duration::from_millis(200));
        }
        // The first comes here more than a second before the last.
        ranks.barrier("the end")
    })
    .unwrap();
}

#[test]
fn ranks_that_bring_rows_of_different_kinds_are_told_so() {
    let error =
        threads::run(vec![(); 2], None, Duration::from_secs(20), &mut |_| (), |ranks: &Threads, (), _| {
            match ranks.rank() {
                0 => ranks.gather("codes", vec![0; 4]).map(|_| ()),
                _ => ranks.sum("codes", vec![0.0]).map(|_| ()),
            }
        })
        .unwrap_err();
    assert_eq!(error.to_string(), "codes: the ranks give rows of different kinds");
}

#[test]
fn a_rank_that_breaks_off_in_its_turn_with_the_random_numbers_lets_go_of_them() {
    let patience = Duration::from_secs(20);
    let error = threads::run(vec![(); 3], None, patience, &mut |_| (), |ranks: &Threads, (), _| {
        for turn in 0..20 {
            let _turn = ranks.generator()?;
            if (turn, ranks.rank()) == (10, 1) {
                panic!("out of memory");
            }
        }
        ranks.barrier("the end")
    })
    .unwrap_err();
    assert_eq!(error.to_string(), "rank 1 of 3: it broke off: out of memory");
}

#[test]
fn whoever_listens_and_breaks_off_leaves_no_rank_waiting() {
    let (send, ended) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        let run = || {
            let listen: &mut dyn FnMut(_) = &mut |_| panic!("nobody can be told");
            threads::run(vec![(); 2], None, Duration::from_secs(60), listen, |ranks, (), events| {
                for _ in 0..3 {
                    events(tvr_experiment::Event::End);
                    ranks.barrier("a barrier")?;
                }
                Ok(())
            })
        };
        let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(run));
        let _ = send.send(outcome.is_err());
    });
    assert_eq!(ended.recv_timeout(Duration::from_secs(20)), Ok(true), "the run goes on without end");
}

#[test]
fn ranks_that_exchange_different_things_are_told_so() {
    let error =
        threads::run(vec![(); 2], None, Duration::from_secs(20), &mut |_| (), |ranks: &Threads, (), _| {
            if ranks.rank() == 1 {
                std::thread::sleep(Duration::from_millis(200));
                return ranks.barrier("gradients");
            }
            ranks.barrier("codes")
        })
        .unwrap_err();
    assert_eq!(error.to_string(), "rank 1 came to exchange gradients, but others exchange codes");
}

#[test]
fn a_rank_whose_loss_is_not_finite_is_named() {
    let _alone = crate::run::generator();
    let training = Device::flex().autodiff();
    let head = MeanPoolingConfig::reference().init(8, &training).unwrap();
    let model = crate::step::model(head, SymmetricConfig::ours().init().unwrap(), 0.0, &training);
    let mut forks: Vec<_> = (0..3).map(|_| model.clone().fork(&training)).collect();
    forks[1].logit_scale = Param::from_data([f32::NAN], &training);
    let batch = Batch {
        texts: vec![0, 2, 4, 6, 8],
        videos: vec![0, 1, 2, 3, 4],
        text_video: vec![0, 1, 2, 3, 4],
        shuffle: None,
    };
    let judged = threads::run(forks, None, Duration::from_secs(20), &mut |_| (), |ranks, model, _| {
        let way = Way { ranks, chunk: 0, device: &Device::flex(), random: 1, draws: true };
        Ok(gradients(&model, &crate::step::corpus(8), &batch, &way)?.1)
    })
    .unwrap();
    assert!(judged.loss.is_nan());
    assert_eq!(judged.broken, Some(1));
}

#[test]
fn a_rank_with_another_recipe_or_other_data_is_named_with_what_differs() {
    let facts = |recipe: &str, data: &str| {
        Facts([("recipe hash", recipe), ("data hash", data)].map(|(a, b)| (a.into(), b.into())).to_vec())
    };
    let meet = |all: [Facts; 3]| {
        threads::run(all.to_vec(), None, Duration::from_secs(20), &mut |_| (), |ranks, own, _| {
            agree(ranks, &own)
        })
    };
    meet([facts("a", "b"), facts("a", "b"), facts("a", "b")]).unwrap();
    let error = meet([facts("a", "b"), facts("a", "b"), facts("a", "c")]).unwrap_err().to_string();
    let sentence = "rank 2 differs from rank 0: its data hash is c, not b; start every rank from the same build, recipe and data";
    assert!(error.ends_with(sentence), "{error}");
    let error = meet([facts("a", "b"), Facts(Vec::new()), facts("a", "b")]).unwrap_err().to_string();
    assert!(error.contains("rank 1 differs from rank 0: its recipe hash is absent, not a;"), "{error}");
}

#[test]
fn devices_are_named_one_by_one_by_range_or_by_count() {
    for (names, count) in [("flex", 1), ("flex:1", 1), ("flex:4", 4)] {
        assert_eq!(device::open_all(names).unwrap().len(), count, "{names}");
    }
    let refused = |names: &str| {
        let error = device::open_all(names).unwrap_err();
        (error.to_string(), error.exit_code())
    };
    let twice = "device flex is named twice in \"flex,flex\"; name each once, or write flex:2 for two parts of the processor";
    assert_eq!(refused("flex,flex"), (twice.into(), 2));
    let twice = "device cuda:0 is named twice in \"cuda:0-1,cuda\"; name each once, or write flex:2 for two parts of the processor";
    assert_eq!(refused("cuda:0-1,cuda"), (twice.into(), 2));
    let form = "write flex:COUNT, cuda:FIRST-LAST, or names with commas between";
    assert_eq!(refused("flex:0").0, format!("device \"flex:0\": the count is 0; {form}"));
    assert_eq!(
        refused("flex:18446744073709551615").0,
        format!("device \"flex:18446744073709551615\": that is more than 1024 devices; {form}")
    );
    assert_eq!(
        refused("cuda:0-99999999999").0,
        format!("device \"cuda:0-99999999999\": that is more than 1024 devices; {form}")
    );
    assert!(
        refused("cuda:0-3,cuda:01").0.starts_with("device cuda:1 is named twice"),
        "one number, two spellings"
    );
    assert_eq!(refused("flex:x").0, format!("device \"flex:x\": the count is not a number; {form}"));
    assert_eq!(refused("cuda:3-1").0, format!("device \"cuda:3-1\": the range runs backwards; {form}"));
    assert_eq!(refused("cuda:a-b").0, format!("device \"cuda:a-b\": the range is not of numbers; {form}"));
    if !device::features().contains(&"cuda") {
        assert_eq!(
            refused("cuda:0-3").0,
            "device cuda: this binary was built without it; build again with `cargo run -p xtask --features cuda -- ...`"
        );
    }
}

#[test]
fn more_devices_than_pairs_of_a_batch_are_refused_by_the_plan() {
    let folder = tempfile::tempdir().unwrap();
    crate::run::features(&folder.path().join("data"));
    let text = crate::run::RECIPE.replace("DATA", folder.path().join("data").to_str().unwrap());
    let surroundings = Surroundings { device: "flex:9".into(), ..Surroundings::default() };
    let error = plan(&Recipe::parse(&text).unwrap(), Path::new("a.toml"), &surroundings).unwrap_err();
    assert_eq!(
        error.to_string(),
        "a.toml: train.batch = 8, but there are 9 devices; a device must have at least one pair: raise it, or take fewer devices"
    );
    assert_eq!(error.exit_code(), 2);
}

#[test]
fn a_process_takes_the_device_of_its_place_and_its_share_of_the_batch() {
    let place = |local_rank| Place { rank: 6, size: 8, local_rank };
    // Names alone: without the feature cuda none of these could be opened.
    let named = |names: &str, local_rank| device::of_place(names, place(local_rank));
    assert_eq!(named("cuda:0-3", 2).unwrap(), "cuda:2");
    assert_eq!(named("cuda,tch:cuda:1", 0).unwrap(), "cuda:0");
    assert_eq!(named("flex", 3).unwrap(), "flex", "processes share the processor");
    for (names, local_rank, word) in [("cuda:0-3", 6, "4 devices"), ("cuda:0", 1, "one device")] {
        let error = named(names, local_rank).unwrap_err();
        assert_eq!(
            error.to_string(),
            format!(
                "--devices {names} names {word}, but rank 6 is number {} on its machine; start fewer there, or name one for each: \
                 flex:COUNT, cuda:FIRST-LAST, or names with commas between",
                local_rank + 1
            )
        );
        assert_eq!(error.exit_code(), 2);
    }
    assert!(named("cuda:0-3,cuda:1", 0).unwrap_err().to_string().contains("named twice"));

    let folder = tempfile::tempdir().unwrap();
    crate::run::features(&folder.path().join("data"));
    let text = crate::run::RECIPE.replace("DATA", folder.path().join("data").to_str().unwrap());
    let plan = plan(&Recipe::parse(&text).unwrap(), Path::new("a.toml"), &Surroundings::default()).unwrap();
    let own = plan.of_process(8, "flex").unwrap();
    assert_eq!((own.devices.len(), own.surroundings.device.as_str()), (1, "flex, 8 processes"));
    let error = plan.of_process(9, "flex").unwrap_err();
    assert_eq!(
        error.to_string(),
        "a.toml: train.batch = 8, but there are 9 ranks; a rank must have at least one pair: raise it, or start fewer"
    );
}
