//! A head and an objective from outside: made anew for each run, known by their name, refused where they would not train.

use std::cell::RefCell;
use std::path::Path;
use std::sync::atomic::AtomicBool;

use burn::module::{Module, Param};
use burn::prelude::*;
use burn::tensor::Distribution;
use tvr_experiment::own::Parts;
use tvr_experiment::shard::Shard;
use tvr_experiment::{ExperimentError, Own, Plan, Recipe, Surroundings, experiment, plan};
use tvr_heads::{Head, Needs, Similarity, TextCodes, TextFeatures, VideoCodes, VideoFeatures, cosine};
use tvr_objectives::{Symmetric, SymmetricConfig};

/// The mean of the frames, times a weight for each channel.
#[derive(Module, Debug)]
struct Weighed {
    channels: Param<Tensor<1>>,
    /// Streams that it asks for without looking at them.
    #[module(skip)]
    streams: Vec<&'static str>,
    /// Whether it forgets to bring its vectors to unit length.
    #[module(skip)]
    long: bool,
}

impl Head for Weighed {
    fn needs(&self) -> Needs {
        Needs { frames: true, streams: self.streams.clone(), ..Needs::default() }
    }

    fn code_videos(&self, videos: VideoFeatures) -> VideoCodes {
        let pooled = tvr_nn::masked_mean(videos.frames, videos.mask) * self.channels.val().unsqueeze();
        VideoCodes::new(if self.long { pooled } else { tvr_nn::unit_rows(pooled) })
    }

    fn code_texts(&self, texts: TextFeatures) -> TextCodes {
        TextCodes::new(tvr_nn::unit_rows(texts.pooled))
    }

    fn similarity(&self, texts: &TextCodes, videos: &VideoCodes) -> Similarity {
        if !self.long {
            return Similarity::of(cosine(texts, videos));
        }
        let videos = VideoCodes::new(tvr_nn::unit_rows(videos.pooled.clone()));
        Similarity::of(cosine(texts, &videos))
    }
}

fn weighed(device: &Device, width: usize) -> Weighed {
    // Drawn here and now, and not when the model is touched.
    let channels = Tensor::random([width], Distribution::Uniform(0.5, 1.5), device);
    Weighed { channels: Param::from_tensor(channels), streams: Vec::new(), long: false }
}

fn made(head: Weighed) -> Result<(Weighed, Symmetric), ExperimentError> {
    Ok((head, SymmetricConfig::ours().init().unwrap()))
}

fn planned(folder: &Path) -> Plan {
    crate::run::features(&folder.join("data"));
    let recipe = crate::run::RECIPE.replace("DATA", folder.join("data").to_str().unwrap());
    let surroundings =
        Surroundings { runs: folder.join("runs"), cache: folder.join("cache"), device: "flex".into() };
    let mut plan = plan(&Recipe::parse(&recipe).unwrap(), Path::new("small.toml"), &surroundings).unwrap();
    plan.steps = 2;
    plan
}

fn refused<F>(plan: &Plan, own: &Own<F>, resume: bool) -> String
where
    F: Fn(&Parts<'_>) -> Result<(Weighed, Symmetric), ExperimentError>,
{
    let never = AtomicBool::new(false);
    let opened = experiment::open(plan, &never, &mut |_| ()).unwrap();
    experiment::run(plan, &opened, own, 0, resume, &never, &mut |_| ()).unwrap_err().to_string()
}

#[test]
fn each_seed_draws_its_own_and_a_run_is_judged_by_what_made_it_alone() {
    let _alone = crate::run::generator();
    let folder = tempfile::tempdir().unwrap();
    let drawn = RefCell::new(Vec::new());
    let own = Own::new("weighed", |parts| {
        let head = weighed(parts.device, parts.plan.offer.width);
        drawn.borrow_mut().push(head.channels.val().into_data().try_to_vec::<f32>().unwrap());
        made(head)
    });
    let plan = planned(folder.path());
    let asked = plan.with(&own).unwrap();
    let never = AtomicBool::new(false);
    let opened = experiment::open(&asked, &never, &mut |_| ()).unwrap();
    let run = |seed| experiment::run(&plan, &opened, &own, seed, true, &never, &mut |_| ()).unwrap();
    let outcomes = [run(0), run(1), run(0)];
    // The plan makes one of its own before each run.
    let starts: Vec<Vec<f32>> = drawn.borrow().iter().skip(2).step_by(2).cloned().collect();
    assert_ne!(starts[0], starts[1], "two seeds, one start");
    assert_eq!(starts[0], starts[2], "one seed, two starts");
    assert_eq!(outcomes[0].test.logits, outcomes[2].test.logits);

    let again = experiment::judge_again(&plan, &opened, &own, 1, false).unwrap();
    assert_eq!(again.logits, outcomes[1].test.logits);
    let model = experiment::trained(&plan, &opened, &own, 1).unwrap();
    assert_ne!(
        model.head.channels.val().into_data().try_to_vec::<f32>().unwrap(),
        starts[1],
        "it was trained"
    );

    // The commands have no such head, and say so in place of judging another.
    let kept = Recipe::read(&plan.run_folder(1).join("recipe.toml")).unwrap();
    assert_eq!(kept.own.as_deref(), Some("weighed"));
    let error =
        tvr_experiment::plan(&kept, Path::new("recipe.toml"), &plan.surroundings).unwrap_err().to_string();
    assert!(
        error.starts_with("recipe.toml: own = \"weighed\": head or objective of this run came from outside"),
        "{error}"
    );
    // Nor does a run go on as another.
    let other = Own::new("weighed otherwise", |parts| made(weighed(parts.device, parts.plan.offer.width)));
    let error = refused(&plan, &other, true);
    assert!(error.contains("a checkpoint of another recipe or seed lies there"), "{error}");
    let (folder, built_in) = (plan.run_folder(1), Own::built_in());
    assert_eq!(
        experiment::judge_again(&plan, &opened, &built_in, 1, false).map(|_| ()).unwrap_err().to_string(),
        format!(
            "{}: was trained with weighed, not with its recipe's own head and objective; judge it with what it was trained with",
            folder.display()
        )
    );
    // The plan of the own parts, with the recipe's.
    let sentence = "the plan is of \"weighed\", whose head and objective come from outside; hand them over in place of \
                    Own::built_in()";
    let (out, shard) = (plan.surroundings.runs.join("share.safetensors"), Shard { index: 0, of: 1 });
    for error in [
        experiment::run(&asked, &opened, &built_in, 1, true, &never, &mut |_| ()).map(|_| ()).unwrap_err(),
        experiment::judge_again(&asked, &opened, &built_in, 1, false).map(|_| ()).unwrap_err(),
        experiment::trained(&asked, &opened, &built_in, 1).map(|_| ()).unwrap_err(),
        experiment::score_share(&asked, &opened, &built_in, 1, false, shard, &out).map(|_| ()).unwrap_err(),
        experiment::measure_step(&asked, &opened, &never).map(|_| ()).unwrap_err(),
    ] {
        assert_eq!((error.to_string(), error.exit_code()), (sentence.into(), 2));
    }
    experiment::score_share(&plan, &opened, &own, 1, false, shard, &out).unwrap();
    let bytes = std::fs::read(&out).unwrap();
    let share = safetensors::SafeTensors::deserialize(&bytes).unwrap();
    let whole: Vec<u8> = again.logits.iter().flat_map(|logit| logit.to_le_bytes()).collect();
    assert_eq!(share.tensor("similarity").unwrap().data(), whole);
}

#[test]
fn what_would_not_train_or_would_be_judged_wrongly_is_refused() {
    let _alone = crate::run::generator();
    let folder = tempfile::tempdir().unwrap();
    let plan = planned(folder.path());
    let plain = Own::new("plain", |parts| made(weighed(&parts.plan.device, parts.plan.offer.width)));
    assert_eq!(
        refused(&plan, &plain, false),
        "the parameter head.channels is on a device that does not train; make head and objective on Parts::device"
    );
    let long = Own::new("long", |parts| {
        made(Weighed { long: true, ..weighed(parts.device, parts.plan.offer.width) })
    });
    let error = refused(&plan, &long, false);
    assert!(
        error.starts_with("[head] says that it compares one vector of each side, but gives a pair "),
        "{error}"
    );
    assert!(!plan.run_folder(0).join("record.json").exists());
}
