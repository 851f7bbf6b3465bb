//! Several devices: the gradient, the loss curve and the checkpoints of one.

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use burn::module::{Module, Param};
use burn::prelude::*;
use tvr_experiment::collective::{Collective, Single, threads};
use tvr_experiment::model::Model;
use tvr_experiment::recipe::{EncoderRecipe, HeadKind, HeadRecipe, ObjectiveRecipe, StreamMode};
use tvr_experiment::step::{Batch, Judging, Way, after_step, draws, gradients};
use tvr_experiment::{Event, ExperimentError, Own, Plan, Recipe, Surroundings, experiment, plan};
use tvr_heads::{Head, MeanPoolingConfig, TightTransfConfig};
use tvr_objectives::{NclConfig, Objective};

use crate::mixing::{Encoder, heads, objectives, reason};
use crate::run::{RECIPE, features, generator};
use crate::step::flat;

/// Seven captions of five videos, or as many of both for an objective of the diagonal.
fn batches(square: bool) -> [Batch; 2] {
    if square {
        return [0, 3].map(|first| Batch {
            texts: [0, 3, 4, 7, 8].map(|text| 2 * first + text).to_vec(),
            videos: (first..first + 5).collect(),
            text_video: vec![0, 1, 2, 3, 4],
            shuffle: None,
        });
    }
    [0, 3].map(|first| Batch {
        texts: [0, 2, 3, 4, 6, 7, 8].map(|text| 2 * first + text).to_vec(),
        videos: (first..first + 5).collect(),
        text_video: vec![0, 1, 1, 2, 3, 3, 4],
        shuffle: None,
    })
}

fn patient() -> Duration {
    Duration::from_secs(60)
}

/// Loss and gradient of the second of two steps: queues and averages have seen the first.
fn second_step<H: Head, O: Objective>(
    ranks: &dyn Collective,
    mut model: Model<H, O>,
    encoder: Encoder,
    chunk: usize,
) -> Result<(f64, Vec<f32>), ExperimentError> {
    let (device, corpus) = (Device::flex(), encoder.corpus());
    let [first, second] = batches(model.objective.needs().square);
    // Nothing here draws: ranks encode side by side.
    let way = |random| Way { ranks, chunk, device: &device, random, draws: false };
    let (_, _, seen) = gradients(&model, &corpus, &first, &way(5))?;
    after_step(&mut model, &seen);
    let (found, judged, _) = gradients(&model, &corpus, &second, &way(6))?;
    Ok((judged.loss, flat(&model, &found)))
}

fn check(encoder: Encoder, head: &HeadRecipe, objective: &ObjectiveRecipe) -> Judging {
    let name = format!("{encoder:?}, {head:?}, {objective:?}");
    let training = Device::flex().autodiff();
    training.seed(3);
    let offer = encoder.offer();
    let head = head.init(&offer, &training).unwrap();
    let objective = objective.init(&offer, &training).unwrap();
    let judging = Judging::of(&head, &objective);
    let (text, video) = encoder.encoders(&training);
    let model = Model { text, video, head, objective, logit_scale: Param::from_data([2.0f32], &training) };
    tvr_nn::touch(&model);
    let (loss, expected) = second_step(&Single, model.clone().fork(&training), encoder, 0).unwrap();
    let largest = expected.iter().fold(0f32, |most, value| most.max(value.abs()));
    assert!(largest > 1e-4, "{name}: the gradient is nothing");
    for (count, chunk) in [(2, 0), (2, 2), (4, 0)] {
        let forks = (0..count).map(|_| model.clone().fork(&training)).collect();
        let (of_ranks, found) = threads::run(forks, None, patient(), &mut |_| (), |ranks, model, _| {
            second_step(ranks, model, encoder, chunk)
        })
        .unwrap();
        assert!((loss - of_ranks).abs() <= 1e-5 * loss.abs().max(1.0), "{name}, {count}: {loss} {of_ranks}");
        for (found, expected) in found.iter().zip(&expected) {
            let difference = (found - expected).abs();
            assert!(difference <= 1e-5 * largest, "{name}, {count} ranks: {found} {expected} of {largest}");
        }
    }
    judging
}

fn of_kind(wanted: fn(&HeadKind) -> bool) -> HeadRecipe {
    heads().into_iter().find(|head| head.emcl.is_none() && wanted(&head.kind)).unwrap()
}

/// Every kind of objective, and every setting that a recipe trains with; memories are cut to the size of the data here.
fn all_objectives() -> Vec<ObjectiveRecipe> {
    let mut all = objectives();
    let recipes = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../recipes");
    let mut files: Vec<_> = std::fs::read_dir(recipes).unwrap().map(|file| file.unwrap().path()).collect();
    files.sort();
    for file in files.iter().filter(|file| file.extension().is_some_and(|kind| kind == "toml")) {
        let mut objective = Recipe::read(file).unwrap().objective;
        match &mut objective {
            ObjectiveRecipe::Ncl(config) => config.queue = config.queue.min(6),
            ObjectiveRecipe::SupportSet(config) => config.bank = config.bank.min(3),
            _ => {}
        }
        if !all.contains(&objective) {
            all.push(objective);
        }
    }
    assert!(all.len() >= objectives().len() + 5, "the recipes add {:?}", &all[objectives().len()..]);
    all
}

/// A head that an objective takes.
fn fitting(objective: &ObjectiveRecipe) -> HeadRecipe {
    match objective {
        ObjectiveRecipe::Streams(_) => of_kind(|kind| matches!(kind, HeadKind::Camoe(_))),
        _ => of_kind(|kind| matches!(kind, HeadKind::MeanPooling(_))),
    }
}

#[test]
fn every_objective_has_the_gradient_of_one_device_on_two_and_four() {
    let _alone = generator();
    let mut split = Vec::new();
    let all = all_objectives();
    for objective in &all {
        let head = fitting(objective);
        assert_eq!(reason(Encoder::Words, &head, objective), None);
        split.push(check(Encoder::Words, &head, objective) == Judging::Rows);
    }
    // InfoNCE, both hinges and a sum of the two are sums over rows; the others need the whole batch.
    let expected: Vec<bool> = all
        .iter()
        .map(|objective| {
            use ObjectiveRecipe::{Hinge, Symmetric, Weighted};
            matches!(objective, Symmetric(_) | Hinge(_) | Weighted { .. })
        })
        .collect();
    assert_eq!(split, expected);
}

#[test]
fn every_head_has_the_gradient_of_one_device_on_two_and_four() {
    let _alone = generator();
    let symmetric = objectives().remove(0);
    for mut head in heads() {
        // Dropout draws other numbers in other parts.
        match &mut head.kind {
            HeadKind::TightTransf(config) => config.dropout = 0.0,
            HeadKind::XPool(config) => config.dropout = 0.0,
            _ => {}
        }
        if reason(Encoder::Words, &head, &symmetric).is_none() {
            let of_call = head.emcl.as_ref().is_some_and(|emcl| emcl.items == tvr_heads::emcl::Items::Call);
            assert_eq!(check(Encoder::Words, &head, &symmetric) == Judging::Rows, !of_call);
        }
    }
}

#[test]
fn a_step_over_ranks_repeats_itself_bit_for_bit_with_dropout() {
    let _alone = generator();
    let training = Device::flex().autodiff();
    let head = MeanPoolingConfig::reference().init(8, &training).unwrap();
    let objective = NclConfig::reference().init(8, &training).unwrap();
    let model = crate::step::model(head, objective, 0.3, &training);
    let step = |random| {
        let forks = (0..2).map(|_| model.clone().fork(&training)).collect();
        threads::run(forks, None, patient(), &mut |_| (), |ranks, model, _| {
            let way = Way { ranks, chunk: 2, device: &Device::flex(), random, draws: true };
            let (found, ..) = gradients(&model, &crate::step::corpus(8), &batches(false)[0], &way)?;
            Ok(flat(&model, &found))
        })
        .unwrap()
    };
    assert_eq!(step(9), step(9));
    assert_ne!(step(9), step(10));
}

#[test]
fn a_model_with_dropout_draws_and_one_without_does_not() {
    let _alone = generator();
    let training = Device::flex().autodiff();
    let draws = |dropout, pairs: f64| {
        let config = TightTransfConfig { layers: 1, heads: 2, max_frames: 3, epsilon: 1e-5, dropout: pairs };
        let head = config.init(8, &training).unwrap();
        let objective = tvr_objectives::SymmetricConfig::ours().init().unwrap();
        let model = crate::step::model(head, objective, dropout, &training);
        draws(&model, &crate::step::corpus(8), &Single, &Device::flex()).unwrap()
    };
    assert!(!draws(0.0, 0.0));
    assert!(draws(0.3, 0.0), "an encoder that draws");
    assert!(draws(0.0, 0.3), "a head that draws");
}

#[test]
fn more_devices_than_captions_are_refused() {
    let _alone = generator();
    let training = Device::flex().autodiff();
    let head = MeanPoolingConfig::reference().init(8, &training).unwrap();
    let objective = tvr_objectives::SymmetricConfig::ours().init().unwrap();
    let model = crate::step::model(head, objective, 0.0, &training);
    let forks = (0..8).map(|_| model.clone().fork(&training)).collect();
    let error = threads::run(forks, None, patient(), &mut |_| (), |ranks, model, _| {
        let way = Way { ranks, chunk: 0, device: &Device::flex(), random: 1, draws: true };
        gradients(&model, &crate::step::corpus(8), &batches(false)[0], &way).map(|_| ())
    })
    .unwrap_err();
    let sentence = "8 devices, but a batch has 7 captions; take fewer devices, or raise train.batch";
    assert_eq!((error.to_string().as_str(), error.exit_code()), (sentence, 2));
}

#[test]
fn captions_of_fewer_videos_than_devices_have_the_gradient_of_one_device() {
    let _alone = generator();
    let training = Device::flex().autodiff();
    let batch =
        Batch { texts: vec![0, 1, 6, 7], videos: vec![0, 3], text_video: vec![0, 0, 1, 1], shuffle: None };
    let ncl = NclConfig { queue: 0, ..NclConfig::reference() };
    for (objective, name) in
        [(ObjectiveRecipe::Ncl(ncl), "whole"), (objectives().remove(0), "rows, were there videos enough")]
    {
        let head = MeanPoolingConfig::reference().init(8, &training).unwrap();
        let objective = objective.init(&Encoder::Projection.offer(), &training).unwrap();
        let model = crate::step::model(head, objective, 0.0, &training);
        let step = |ranks: &dyn Collective, model: &Model<_, _>, chunk| {
            let way = Way { ranks, chunk, device: &Device::flex(), random: 1, draws: false };
            let (found, judged, _) = gradients(model, &crate::step::corpus(8), &batch, &way)?;
            Ok((judged.loss, flat(model, &found)))
        };
        let (loss, expected) = step(&Single, &model.clone().fork(&training), 0).unwrap();
        let largest = expected.iter().fold(0f32, |most, value| most.max(value.abs()));
        assert!(largest > 1e-4, "{name}: the gradient is nothing");
        for (count, chunk) in [(3, 0), (4, 0), (4, 1)] {
            let forks = (0..count).map(|_| model.clone().fork(&training)).collect();
            let (of_ranks, found) = threads::run(forks, None, patient(), &mut |_| (), |ranks, model, _| {
                step(ranks, &model, chunk)
            })
            .unwrap();
            assert!(
                (loss - of_ranks).abs() <= 1e-5 * loss.abs().max(1.0),
                "{name}, {count}: {loss} {of_ranks}"
            );
            for (found, expected) in found.iter().zip(&expected) {
                let difference = (found - expected).abs();
                assert!(
                    difference <= 1e-5 * largest,
                    "{name}, {count} ranks: {found} {expected} of {largest}"
                );
            }
        }
    }
}

fn planned(folder: &Path, runs: &str, devices: &str) -> Plan {
    let recipe = RECIPE.replace("DATA", folder.join("data").to_str().unwrap());
    // Dropout draws other numbers in other parts.
    let mut recipe = Recipe::parse(&recipe.replace("dropout = 0.2", "dropout = 0.0")).unwrap();
    recipe.seeds = vec![3];
    let surroundings =
        Surroundings { runs: folder.join(runs), cache: folder.join("cache"), device: devices.into() };
    plan(&recipe, Path::new("small.toml"), &surroundings).unwrap()
}

fn losses(plan: &Plan) -> Vec<f64> {
    let log = std::fs::read_to_string(plan.run_folder(3).join("steps.jsonl")).unwrap();
    let line = |line: &str| serde_json::from_str::<serde_json::Value>(line).unwrap();
    log.lines().map(|text| line(text)["loss"].as_f64().unwrap()).collect()
}

fn weights(plan: &Plan) -> Vec<u8> {
    std::fs::read(plan.run_folder(3).join("model.safetensors")).unwrap()
}

fn assert_same_curve(found: &[f64], expected: &[f64], name: &str) {
    assert_eq!(found.len(), expected.len());
    for (step, (found, expected)) in found.iter().zip(expected).enumerate() {
        // Sums of f32 in another order, carried through a dozen steps of AdamW.
        assert!((found - expected).abs() < 2e-4, "{name}, step {step}: {found} {expected}");
    }
}

#[test]
fn the_loss_curve_of_every_objective_on_two_and_four_devices_lies_on_that_of_one() {
    let _alone = generator();
    let folder = tempfile::tempdir().unwrap();
    features(&folder.path().join("data"));
    let never = AtomicBool::new(false);
    for (number, objective) in objectives().into_iter().enumerate() {
        let curve = |devices: &str| {
            let mut recipe = planned(folder.path(), "none", "flex").recipe;
            recipe.head = fitting(&objective);
            recipe.encoder = EncoderRecipe::Words {
                width: 8,
                embedding: 6,
                least: 1,
                dropout: 0.0,
                streams: StreamMode::default(),
            };
            recipe.objective = objective.clone();
            let surroundings = Surroundings {
                runs: folder.path().join(format!("{number}-{devices}")),
                cache: folder.path().join("cache"),
                device: devices.into(),
            };
            let plan = plan(&recipe, Path::new("small.toml"), &surroundings).unwrap();
            let opened = experiment::open(&plan, &never, &mut |_| ()).unwrap();
            let outcome =
                experiment::run(&plan, &opened, &Own::built_in(), 3, false, &never, &mut |_| ()).unwrap();
            (losses(&plan), outcome.record.metric("raw.text_to_video.MnR").unwrap())
        };
        let (one, rank_of_one) = curve("flex");
        assert!((one[0] - one[one.len() - 1]).abs() > 1e-3, "{objective:?}: nothing was learnt: {one:?}");
        for devices in ["flex:2", "flex:4"] {
            let (several, rank) = curve(devices);
            assert_same_curve(&several, &one, &format!("{objective:?}, {devices}"));
            assert!((rank - rank_of_one).abs() < 0.3, "{objective:?}, {devices}: {rank} {rank_of_one}");
        }
    }
}

#[test]
fn a_run_saved_on_two_devices_resumes_on_any_number() {
    let _alone = generator();
    let folder = tempfile::tempdir().unwrap();
    features(&folder.path().join("data"));
    let never = AtomicBool::new(false);
    let straight = planned(folder.path(), "straight", "flex:2");
    let opened = experiment::open(&straight, &never, &mut |_| ()).unwrap();
    experiment::run(&straight, &opened, &Own::built_in(), 3, false, &never, &mut |_| ()).unwrap();

    for (devices, name) in [("flex:2", "two"), ("flex", "one"), ("flex:4", "four")] {
        let begun = planned(folder.path(), name, "flex:2");
        let stop = AtomicBool::new(false);
        let mut listen = |event: Event| {
            if matches!(event, Event::Step { done: 5, .. }) {
                stop.store(true, Ordering::Relaxed);
            }
        };
        let error =
            experiment::run(&begun, &opened, &Own::built_in(), 3, false, &stop, &mut listen).unwrap_err();
        assert!(matches!(error, ExperimentError::Interrupted { .. }), "{error}");
        let resumed = planned(folder.path(), name, devices);
        experiment::run(&resumed, &opened, &Own::built_in(), 3, true, &never, &mut |_| ()).unwrap();
        assert_same_curve(&losses(&resumed), &losses(&straight), devices);
        if devices == "flex:2" {
            assert_eq!(losses(&resumed), losses(&straight), "as many devices, other bits");
            assert!(weights(&resumed) == weights(&straight), "as many devices, other bits");
        }
    }
}
