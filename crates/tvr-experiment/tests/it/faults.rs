//! A device that breaks off, hangs, or computes NaN in the middle of a run: one error that names it, soon; and the run
//! resumes to the weights of one without a fault.

use std::path::Path;
use std::sync::atomic::AtomicBool;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use burn::module::Module;
use tvr_experiment::{ExperimentError, Own, Plan, Recipe, Surroundings, experiment, plan};
use tvr_heads::{
    Head, MeanPooling, MeanPoolingConfig, Needs, Similarity, TextCodes, TextFeatures, VideoCodes,
    VideoFeatures,
};
use tvr_objectives::SymmetricConfig;

#[derive(Clone, Copy)]
enum Fault {
    BreaksOff,
    Hangs,
    Nan,
}

/// The fault that is to happen, and after how many calls.
static NEXT: Mutex<Option<(usize, Fault)>> = Mutex::new(None);

/// Counts a call; the fault where it is due, once.
fn due() -> Option<Fault> {
    let mut next = NEXT.lock().unwrap_or_else(PoisonError::into_inner);
    match &mut *next {
        Some((0, _)) => next.take().map(|(_, fault)| fault),
        Some((left, _)) => {
            *left -= 1;
            None
        }
        None => None,
    }
}

/// Mean pooling on a device that fails.
#[derive(Module, Debug)]
struct Failing {
    head: MeanPooling,
}

impl Head for Failing {
    fn needs(&self) -> Needs {
        self.head.needs()
    }

    fn code_videos(&self, videos: VideoFeatures) -> VideoCodes {
        let mut codes = self.head.code_videos(videos);
        match due() {
            Some(Fault::BreaksOff) => panic!("out of memory"),
            Some(Fault::Hangs) => std::thread::sleep(Duration::from_secs(8)),
            Some(Fault::Nan) => codes.pooled = codes.pooled * f32::NAN,
            None => {}
        }
        codes
    }

    fn code_texts(&self, texts: TextFeatures) -> TextCodes {
        self.head.code_texts(texts)
    }

    fn similarity(&self, texts: &TextCodes, videos: &VideoCodes) -> Similarity {
        self.head.similarity(texts, videos)
    }
}

fn planned(folder: &Path, runs: &str) -> Plan {
    let recipe = crate::run::RECIPE.replace("DATA", folder.join("data").to_str().unwrap());
    let recipe = Recipe::parse(&recipe.replace("dropout = 0.2", "dropout = 0.0")).unwrap();
    let surroundings =
        Surroundings { runs: folder.join(runs), cache: folder.join("cache"), device: "flex:2".into() };
    let plan = plan(&recipe, Path::new("small.toml"), &surroundings).unwrap();
    Plan { patience: Duration::from_secs(4), ..plan }
}

fn run(plan: &Plan, resume: bool) -> Result<(), ExperimentError> {
    run_until(plan, resume, &AtomicBool::new(false))
}

/// A run that was asked to stop before it began: it takes one step.
fn stopped(plan: &Plan) -> Result<(), ExperimentError> {
    run_until(plan, true, &AtomicBool::new(true))
}

fn run_until(plan: &Plan, resume: bool, stop: &AtomicBool) -> Result<(), ExperimentError> {
    let opened = experiment::open(plan, &AtomicBool::new(false), &mut |_| ())?;
    let own = Own::new("failing", |parts| {
        let head = Failing { head: MeanPoolingConfig::reference().init(16, parts.device).unwrap() };
        Ok((head, SymmetricConfig::ours().init().unwrap()))
    });
    experiment::run(plan, &opened, &own, 0, resume, stop, &mut |_| ()).map(|_| ())
}

fn weights(plan: &Plan) -> Vec<u8> {
    std::fs::read(plan.run_folder(0).join("model.safetensors")).unwrap()
}

#[test]
fn a_checkpoint_that_cannot_be_written_is_said_of_a_run_that_is_stopped() {
    let _alone = crate::run::generator();
    let folder = tempfile::tempdir().unwrap();
    crate::run::features(&folder.path().join("data"));
    let plan = planned(folder.path(), "full");
    let place = plan.run_folder(0).join("checkpoints/step-000001");
    std::fs::create_dir_all(place.parent().unwrap()).unwrap();
    // No folder can take a file's place.
    std::fs::write(&place, "in the way").unwrap();
    let error = stopped(&plan).unwrap_err().to_string();
    let start = format!("rank 0 of 2: {}: cannot replace: ", place.display());
    assert!(error.starts_with(&start), "{error}");
    std::fs::remove_file(place).unwrap();
    let error = stopped(&plan).unwrap_err();
    assert!(matches!(error, ExperimentError::Interrupted { step: 1, .. }), "{error}");
}

#[test]
fn a_device_that_fails_ends_the_run_with_one_error_and_the_run_resumes() {
    let _alone = crate::run::generator();
    let folder = tempfile::tempdir().unwrap();
    crate::run::features(&folder.path().join("data"));
    let straight = planned(folder.path(), "straight");
    run(&straight, false).unwrap();

    for (name, fault) in [("breaks", Fault::BreaksOff), ("hangs", Fault::Hangs), ("nan", Fault::Nan)] {
        let plan = planned(folder.path(), name);
        // Two calls of a step, and one of each device before the first: in the fifth step, after a checkpoint.
        *NEXT.lock().unwrap_or_else(PoisonError::into_inner) = Some((10, fault));
        let began = Instant::now();
        let error = run(&plan, false).unwrap_err().to_string();
        let took = began.elapsed();
        assert!(took < Duration::from_secs(20), "{name}: {took:?}");
        let whose = |rank: usize| match fault {
            Fault::BreaksOff => error == format!("rank {rank} of 2: it broke off: out of memory"),
            Fault::Hangs => {
                let start = format!("rank {rank} of 2: did not come to exchange codes of texts within 4 s; ");
                error.starts_with(&start)
            }
            Fault::Nan => {
                error
                    == format!(
                        "small: the loss is NaN (first on rank {rank}) and the gradient's norm NaN at step 5; lower \
                     train.optimizer.learning_rate in a recipe of another name, or look at the data"
                    )
            }
        };
        assert!(whose(0) || whose(1), "{name}: {error}");
        let left = plan.run_folder(0);
        assert!(left.join("checkpoints/step-000003").is_dir(), "{name}: what was saved stays");
        assert!(!left.join("model.safetensors").exists(), "{name}: nothing half-written");
        run(&plan, true).unwrap();
        assert!(weights(&plan) == weights(&straight), "{name}: resumed to other bits");
    }
}
