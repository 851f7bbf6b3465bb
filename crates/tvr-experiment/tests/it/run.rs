//! Whole runs on a small made-up feature folder: the same weights however they were interrupted.

mod interrupted;

use std::path::Path;
use std::sync::atomic::AtomicBool;
use std::sync::{Mutex, MutexGuard, PoisonError};

use burn::module::Param;
use burn::prelude::*;
use tvr_experiment::{Event, Own, Plan, Recipe, Surroundings, experiment, plan};
use tvr_heads::MeanPoolingConfig;
use tvr_objectives::SymmetricConfig;

/// flex has one generator for the whole process; a test that depends on its stream holds this.
pub fn generator() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

pub const RECIPE: &str = r#"
name = "small"
[data]
kind = "features"
path = "DATA"
[encoder]
kind = "projection"
width = 16
dropout = 0.2
[head]
kind = "mean-pooling"
[objective]
kind = "symmetric"
[train]
batch = 8
epochs = 4
evaluations = 2
checkpoint_every = 3
[train.optimizer]
kind = "adamw"
learning_rate = 1e-2
"#;

/// A folder with features of 40 made-up videos.
pub fn features(folder: &Path) {
    crate::made_up::write(folder, 24, 8, 8);
}

fn planned(folder: &Path, runs: &str) -> Plan {
    let mut recipe = Recipe::parse(&RECIPE.replace("DATA", folder.join("data").to_str().unwrap())).unwrap();
    recipe.seeds = vec![3];
    let surroundings =
        Surroundings { runs: folder.join(runs), cache: folder.join("cache"), device: "flex".into() };
    plan(&recipe, Path::new("small.toml"), &surroundings).unwrap()
}

fn weights(plan: &Plan) -> Vec<u8> {
    let text = std::fs::read(plan.run_folder(3).join("model.safetensors")).unwrap();
    assert!(!text.is_empty());
    text
}

/// The advice is one that a recipe can follow.
#[test]
fn scores_of_val_that_are_no_numbers_are_named_with_the_mend() {
    let _alone = generator();
    let folder = tempfile::tempdir().unwrap();
    features(&folder.path().join("data"));
    let mut plan = planned(folder.path(), "far");
    plan.recipe.set("train.optimizer.learning_rate", "1e38").unwrap();
    plan.recipe.set("train.evaluations", "1").unwrap();
    plan.steps = 1;
    let never = AtomicBool::new(false);
    let opened = experiment::open(&plan, &never, &mut |_| ()).unwrap();
    let ran = experiment::run(&plan, &opened, &Own::built_in(), 3, false, &never, &mut |_| ());
    let error = ran.unwrap_err().to_string();
    assert!(error.starts_with("the scores of val: scores["), "{error}");
    let sentence = ", 0] is NaN; mend the model that made it, as with a smaller learning rate";
    assert!(error.ends_with(sentence), "{error}");
}

/// The lines of a run's log.
fn lines(plan: &Plan) -> Vec<serde_json::Value> {
    let log = std::fs::read_to_string(plan.run_folder(3).join("steps.jsonl")).unwrap();
    log.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn the_log_has_the_rate_that_each_step_took() {
    let _alone = generator();
    let folder = tempfile::tempdir().unwrap();
    features(&folder.path().join("data"));
    let never = AtomicBool::new(false);
    // Twelve steps, of which a fourth warms up; CLIP4Clip's begins at 0, and drops where the warm-up ends.
    let cosine = |share: f64| 0.5 * (1.0 + (std::f64::consts::PI * share).cos());
    let ours = |step: usize| if step < 3 { (step + 1) as f64 / 3.0 } else { cosine((step - 3) as f64 / 9.0) };
    let clip4clip = |step: usize| if step < 3 { step as f64 / 3.0 } else { cosine(step as f64 / 12.0) };
    let factors: [(&str, &dyn Fn(usize) -> f64); 2] = [("adamw", &ours), ("bert-adam", &clip4clip)];
    for (kind, factor) in factors {
        let mut plan = planned(folder.path(), kind);
        let optimizer = format!("{{ kind = \"{kind}\", learning_rate = 2e-3, warmup_share = 0.25 }}");
        plan.recipe.set("train.optimizer", &optimizer).unwrap();
        let opened = experiment::open(&plan, &never, &mut |_| ()).unwrap();
        experiment::run(&plan, &opened, &Own::built_in(), 3, false, &never, &mut |_| ()).unwrap();
        let rates: Vec<f64> = lines(&plan).iter().map(|line| line["lr"].as_f64().unwrap()).collect();
        assert_eq!(rates.len(), 12);
        for (step, rate) in rates.iter().enumerate() {
            let expected = 2e-3 * factor(step);
            assert!((rate - expected).abs() < 1e-12, "{kind}, step {step}: {rate} {expected}");
        }
    }
}

#[test]
fn every_epoch_ends_with_a_checkpoint() {
    let _alone = generator();
    let folder = tempfile::tempdir().unwrap();
    features(&folder.path().join("data"));
    let never = AtomicBool::new(false);
    let mut plan = planned(folder.path(), "runs");
    (plan.recipe.train.evaluations, plan.recipe.train.checkpoint_every) = (1, 0);
    let opened = experiment::open(&plan, &never, &mut |_| ()).unwrap();
    // Three batches are an epoch; what is there is looked at in the middle of the next.
    let checkpoints = plan.run_folder(3).join("checkpoints");
    let mut seen = Vec::new();
    experiment::run(&plan, &opened, &Own::built_in(), 3, false, &never, &mut |event| {
        if let Event::Step { done, .. } = event
            && done % 3 == 2
        {
            let newest = checkpoints.join(format!("step-{:06}", done - 2));
            seen.push((done, newest.is_dir()));
        }
    })
    .unwrap();
    assert_eq!(seen, [(2, false), (5, true), (8, true), (11, true)]);
}

#[test]
fn selected_weights_that_have_changed_judge_nothing() {
    let _alone = generator();
    let folder = tempfile::tempdir().unwrap();
    features(&folder.path().join("data"));
    let never = AtomicBool::new(false);
    let plan = planned(folder.path(), "runs");
    let opened = experiment::open(&plan, &never, &mut |_| ()).unwrap();
    let record =
        experiment::run(&plan, &opened, &Own::built_in(), 3, false, &never, &mut |_| ()).unwrap().record;
    let whole = experiment::judge_again(&plan, &opened, &Own::built_in(), 3, false).unwrap();
    let again = folder.path().join("again.safetensors");
    let model = experiment::trained(&plan, &opened, &Own::built_in(), 3).unwrap();
    tvr_experiment::checkpoint::export(&model, &again).unwrap();
    assert_eq!(std::fs::read(again).unwrap(), weights(&plan));
    let best = plan.run_folder(3).join(format!("checkpoints/best-{:06}.bpk", record.selected));
    assert_eq!(record.selected_sha256, Some(tvr_experiment::files::sha256_of_file(&best).unwrap()));

    // The last bytes are values of a weight, which any bits may be.
    let bytes = std::fs::read(&best).unwrap();
    let mut other = bytes.clone();
    *other.last_mut().unwrap() ^= 1;
    std::fs::write(&best, &other).unwrap();
    let mend = format!("; remove {} and train the run again", plan.run_folder(3).display());
    let expected = format!("{}: not the bytes that were written{mend}", best.display());
    let judged = experiment::judge_again(&plan, &opened, &Own::built_in(), 3, false).unwrap_err();
    assert_eq!(judged.to_string(), expected);
    std::fs::write(&best, &bytes[..bytes.len() / 2]).unwrap();
    assert_eq!(
        experiment::judge_again(&plan, &opened, &Own::built_in(), 3, false).unwrap_err().to_string(),
        expected
    );

    // A run of a version that kept no checksum is judged as it was; what cannot be read has its mend.
    let path = plan.run_folder(3).join("record.json");
    let mut older: serde_json::Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
    older.as_object_mut().unwrap().remove("selected_sha256").unwrap();
    std::fs::write(&path, older.to_string()).unwrap();
    let cut = experiment::judge_again(&plan, &opened, &Own::built_in(), 3, false).unwrap_err().to_string();
    assert!(cut.starts_with(&best.display().to_string()), "{cut}");
    assert!(cut.ends_with(&mend), "{cut}");
    std::fs::write(&best, &bytes).unwrap();
    let again = experiment::judge_again(&plan, &opened, &Own::built_in(), 3, false).unwrap();
    assert_eq!(again.logits, whole.logits);
}

#[test]
fn features_that_have_changed_neither_resume_a_run_nor_judge_it() {
    let _alone = generator();
    let folder = tempfile::tempdir().unwrap();
    features(&folder.path().join("data"));
    let never = AtomicBool::new(false);
    let plan = planned(folder.path(), "runs");
    let mut opened = experiment::open(&plan, &never, &mut |_| ()).unwrap();
    experiment::run(&plan, &opened, &Own::built_in(), 3, false, &never, &mut |_| ()).unwrap();
    let kept = weights(&plan);
    opened.val.text_ids[0].push('x');
    let error = experiment::run(&plan, &opened, &Own::built_in(), 3, true, &never, &mut |_| ()).unwrap_err();
    assert_eq!(error.exit_code(), 2);
    assert!(
        error.to_string().contains("a checkpoint of other data lies there: features, captions or"),
        "{error}"
    );
    let error = experiment::judge_again(&plan, &opened, &Own::built_in(), 3, false).unwrap_err();
    let sentence = "the run was trained on other data: features, captions or the frozen towers have changed since; put them back, or train it again";
    assert_eq!(error.to_string(), format!("{}: {sentence}", plan.run_folder(3).display()));
    assert_eq!(weights(&plan), kept);
    opened.val.text_ids[0].pop();
    experiment::run(&plan, &opened, &Own::built_in(), 3, true, &never, &mut |_| ()).unwrap();
    experiment::judge_again(&plan, &opened, &Own::built_in(), 3, false).unwrap();
}

#[test]
fn a_checkpoint_of_another_recipe_is_refused_and_kept() {
    let _alone = generator();
    let folder = tempfile::tempdir().unwrap();
    features(&folder.path().join("data"));
    let never = AtomicBool::new(false);
    let mut plan = planned(folder.path(), "runs");
    let plan_folder = plan.run_folder(3);
    let opened = experiment::open(&plan, &never, &mut |_| ()).unwrap();
    experiment::run(&plan, &opened, &Own::built_in(), 3, false, &never, &mut |_| ()).unwrap();
    let expected = weights(&plan);
    let written = || std::fs::read_to_string(plan_folder.join("recipe.toml")).unwrap();
    let recipe = written();
    plan.recipe.set("train.initial_scale", "20.0").unwrap();
    let error = experiment::run(&plan, &opened, &Own::built_in(), 3, true, &never, &mut |_| ()).unwrap_err();
    assert_eq!(error.exit_code(), 2);
    assert!(error.to_string().contains("another recipe"), "{error}");
    assert_eq!(weights(&plan), expected);
    assert_eq!(written(), recipe, "the run keeps the recipe that it was trained with");
}

#[test]
fn training_finds_the_pairs_of_an_easy_data_set() {
    let _alone = generator();
    let folder = tempfile::tempdir().unwrap();
    features(&folder.path().join("data"));
    let never = AtomicBool::new(false);
    let mut plan = planned(folder.path(), "runs");
    plan.recipe.train.epochs = 30;
    plan.steps = 90;
    let opened = experiment::open(&plan, &never, &mut |_| ()).unwrap();
    let outcome = experiment::run(&plan, &opened, &Own::built_in(), 3, false, &never, &mut |_| ()).unwrap();
    let recall = outcome.record.metric("raw.text_to_video.R@1").unwrap();
    assert!(recall >= 75.0, "chance is 12.5, found {recall}");
}

#[test]
fn p_c4_3_after_any_step_the_scale_is_at_most_a_hundred() {
    let _alone = generator();
    let folder = tempfile::tempdir().unwrap();
    features(&folder.path().join("data"));
    let never = AtomicBool::new(false);
    let mut plan = planned(folder.path(), "runs");
    plan.recipe.train.initial_scale = Some(100.0);
    let opened = experiment::open(&plan, &never, &mut |_| ()).unwrap();
    experiment::run(&plan, &opened, &Own::built_in(), 3, false, &never, &mut |_| ()).unwrap();
    let log = std::fs::read_to_string(plan.run_folder(3).join("steps.jsonl")).unwrap();
    let scales: Vec<f64> = log
        .lines()
        .map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap()["logit_scale"].as_f64().unwrap())
        .collect();
    assert_eq!(scales.len(), plan.steps);
    assert!(scales.iter().all(|&scale| scale <= 100.0 * (1.0 + 1e-6)), "{scales:?}");
    // Wherever a step has led to, and still a leaf that learns.
    let device = Device::flex().autodiff();
    let head = MeanPoolingConfig::reference().init(crate::step::WIDTH, &device).unwrap();
    let model = crate::step::model(head, SymmetricConfig::ours().init().unwrap(), 0.0, &device);
    for (log_scale, expected) in [(9.0f32, 100.0), (2.0, 2f64.exp())] {
        let mut model = model.clone();
        model.logit_scale = Param::from_data([log_scale], &device);
        let model = model.clamp_logit_scale();
        let scale: f64 = model.scale().into_scalar();
        assert!((scale / expected - 1.0).abs() <= 1e-6, "{scale}");
        assert!(model.logit_scale.is_require_grad());
    }
}
