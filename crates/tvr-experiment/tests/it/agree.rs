//! What ranks compare before anything is written, and a folder that another run holds.

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use burn::prelude::*;
use tvr_experiment::collective::{Facts, threads};
use tvr_experiment::corpus::{Corpus, FrameRows, Texts};
use tvr_experiment::pretrained::Pretrained;
use tvr_experiment::{ExperimentError, Own, Plan, Recipe, Surroundings, experiment, lock, plan};
use tvr_heads::MeanPoolingConfig;
use tvr_objectives::SymmetricConfig;

use crate::mixing::Encoder;

fn planned(folder: &Path, batch: usize, devices: &str) -> Plan {
    let text = crate::run::RECIPE.replace("DATA", folder.join("data").to_str().unwrap());
    let recipe = Recipe::parse(&text.replace("batch = 8", &format!("batch = {batch}"))).unwrap();
    let surroundings =
        Surroundings { runs: folder.join("runs"), cache: folder.join("cache"), device: devices.into() };
    plan(&recipe, Path::new("small.toml"), &surroundings).unwrap()
}

/// One rank for each plan, on threads, as processes run them.
fn among(plans: Vec<Plan>) -> Result<(), ExperimentError> {
    threads::run(plans, None, Duration::from_secs(60), &mut |_| (), |ranks, plan, events| {
        let never = AtomicBool::new(false);
        let opened = experiment::open(&plan, &never, events)?;
        experiment::run_among(ranks, &plan, &opened, &Own::built_in(), 3, false, &never, events).map(|_| ())
    })
}

#[test]
fn facts_tell_of_every_part_of_the_data_of_the_recipe_and_of_the_seed() {
    let folder = tempfile::tempdir().unwrap();
    crate::run::features(&folder.path().join("data"));
    let plan = planned(folder.path(), 8, "flex");
    // The names of what differs from the facts of the same request.
    let differ = |plan: &Plan, seed: u64, before: &Corpus, after: &Corpus| -> Vec<String> {
        let [before, after] = [
            Facts::of(&planned(folder.path(), 8, "flex"), 3, before, None),
            Facts::of(plan, seed, after, None),
        ];
        let pairs = before.unwrap().0.into_iter().zip(after.unwrap().0);
        pairs.filter(|(before, after)| before != after).map(|(before, _)| before.0).collect()
    };
    let [vectors, words] = [Encoder::Projection, Encoder::Words].map(Encoder::corpus);
    assert!(differ(&plan, 3, &vectors, &vectors.clone()).is_empty());
    assert_eq!(differ(&plan, 4, &vectors, &vectors), ["seed"]);
    assert_eq!(
        differ(&planned(folder.path(), 6, "flex"), 3, &vectors, &vectors),
        ["train.batch", "recipe hash"]
    );

    let changes: [(&str, &Corpus, fn(&mut Corpus)); 10] = [
        ("a video's name", &vectors, |data| data.video_ids[7].push('x')),
        ("a caption's name", &vectors, |data| data.text_ids[15].push('x')),
        ("whose caption it is", &vectors, |data| data.text_video[1] = 1),
        ("a padded frame", &vectors, |data| data.mask[2] = true),
        ("a frame", &vectors, |data| match &mut data.frames {
            FrameRows::Values(values) => values[119] += 1e-6,
            _ => panic!("frames are numbers here"),
        }),
        ("a caption's vector", &vectors, |data| match &mut data.texts {
            Texts::Features { values, .. } => values[95] += 1e-6,
            Texts::Tokens(_) => panic!("captions are vectors here"),
        }),
        ("a word", &words, |data| match &mut data.texts {
            Texts::Tokens(rows) => rows[15][1] += 1,
            Texts::Features { .. } => panic!("captions are words here"),
        }),
        ("an expert's name", &words, |data| data.experts[1].name.push('x')),
        ("an expert's numbers", &words, |data| data.experts[1].values[3] += 1e-6),
        ("an expert's silence", &words, |data| data.experts[1].mask[3] ^= true),
    ];
    for (name, before, change) in changes {
        let mut after = before.clone();
        change(&mut after);
        assert_eq!(differ(&plan, 3, before, &after), ["data hash"], "{name}");
    }
}

/// Another epsilon leaves weights, captions and pixels as they are.
#[test]
fn facts_tell_of_a_checkpoints_config() {
    let folder = tempfile::tempdir().unwrap();
    crate::run::features(&folder.path().join("data"));
    let plan = planned(folder.path(), 8, "flex");
    let fixture = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tvr-clip/tests/fixtures/clip");
    let weights = folder.path().join("weights");
    std::fs::create_dir(&weights).unwrap();
    for file in std::fs::read_dir(fixture).unwrap().flatten().filter(|file| file.path().is_file()) {
        std::fs::copy(file.path(), weights.join(file.file_name())).unwrap();
    }
    let corpus = Encoder::Projection.corpus();
    let facts = || {
        let encoder = format!("kind = \"clip\"\nweights = {:?}\ncontext = 20", weights.to_str().unwrap());
        let encoder = toml::from_str(&encoder).unwrap();
        let pretrained = Pretrained::open(&encoder, &mut |_| ()).unwrap();
        Facts::of(&plan, 3, &corpus, pretrained.as_ref()).unwrap().0
    };
    let before = facts();
    assert_eq!(before, facts());
    let config = std::fs::read_to_string(weights.join("config.json")).unwrap();
    std::fs::write(weights.join("config.json"), config.replace("1e-05", "1e-06")).unwrap();
    let differ: Vec<_> = before.iter().zip(facts()).filter(|(before, after)| *before != after).collect();
    assert_eq!(differ.len(), 1, "{differ:?}");
    assert_eq!(differ[0].0.0, "hash of the checkpoint's config and tokenizer");
}

#[test]
fn facts_tell_of_one_weight() {
    let _alone = crate::run::generator();
    let device = Device::flex().autodiff();
    let head = MeanPoolingConfig::reference().init(crate::step::WIDTH, &device).unwrap();
    let model = crate::step::model(head, SymmetricConfig::ours().init().unwrap(), 0.0, &device);
    let mut other = model.clone();
    assert_eq!(Facts::of_weights(&other), Facts::of_weights(&model));
    other.logit_scale = other.logit_scale.map(|scale| scale + 1e-6);
    assert_ne!(Facts::of_weights(&other), Facts::of_weights(&model));
}

#[test]
fn ranks_that_differ_write_nothing() {
    let _alone = crate::run::generator();
    let folder = tempfile::tempdir().unwrap();
    crate::run::features(&folder.path().join("data"));
    let error = among([8, 6].map(|batch| planned(folder.path(), batch, "flex")).to_vec()).unwrap_err();
    assert_eq!(
        error.to_string(),
        "rank 1 differs from rank 0: its train.batch is 6, not 8; start every rank from the same build, recipe and data"
    );
    assert!(!folder.path().join("runs").exists(), "something was written");
}

#[test]
fn ranks_whose_folder_another_run_holds_end_together_and_soon() {
    let _alone = crate::run::generator();
    let folder = tempfile::tempdir().unwrap();
    crate::run::features(&folder.path().join("data"));
    let run = planned(folder.path(), 8, "flex").run_folder(3);
    let held = lock::hold(&run).unwrap();
    let on_devices = || {
        let (plan, never) = (planned(folder.path(), 8, "flex:2"), AtomicBool::new(false));
        let opened = experiment::open(&plan, &never, &mut |_| ())?;
        experiment::run(&plan, &opened, &Own::built_in(), 3, false, &never, &mut |_| ()).map(|_| ())
    };
    let began = Instant::now();
    for outcome in [among(vec![planned(folder.path(), 8, "flex"); 2]), on_devices()] {
        let error = outcome.unwrap_err();
        let sentence = format!(
            "{}: another process works in this folder; wait for its end, or give --runs another folder",
            run.display()
        );
        assert_eq!((error.to_string(), error.exit_code()), (sentence, 2));
    }
    assert!(began.elapsed() < Duration::from_secs(20), "as long as patience: {:?}", began.elapsed());
    assert_eq!(std::fs::read_dir(&run).unwrap().count(), 1, "more than the lock");
    drop(held);
    on_devices().unwrap();
}

/// A child has every open file of the process that starts it until it is another program, its locks with them.
#[test]
fn a_folder_that_was_let_go_can_be_held_again_while_programs_are_started() {
    let folder = tempfile::tempdir().unwrap();
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                while !done.load(Ordering::Relaxed) {
                    std::process::Command::new("true").status().unwrap();
                }
            });
        }
        let refused = (0..5000).find_map(|_| lock::hold(folder.path()).err());
        done.store(true, Ordering::Relaxed);
        assert!(refused.is_none(), "{refused:?}");
    });
}
