//! The plan of `reproduce`: what fits, what is dropped, and whether every claim has its models.

use proptest::prelude::*;
use tvr_experiment::Recipe;
use tvr_experiment::claims::{Claim, Side, compare, compare_errors};
use tvr_experiment::hits::{QueryHits, RowHits};
use tvr_experiment::reproduce::Extent;
use tvr_experiment::reproduce::budget::{Allowance, Candidate, Fitted, Given, fit};
use tvr_experiment::reproduce::models::{Length, WORLD};
use tvr_experiment::reproduce::papers::{Data, Paper};

/// Seconds of a run beside its steps.
const BESIDE: f64 = 3.0;

fn allowance(seconds: f64, may_drop: bool) -> Allowance {
    Allowance { seconds, seeds: vec![0, 1, 2], steps: 400, head_steps: [800, 1200], beside: BESIDE, may_drop }
}

fn models(costs: &[f64]) -> Vec<Candidate> {
    let candidate = |(model, &step_seconds): (&_, &f64)| Candidate {
        model: *model,
        own_steps: 400,
        step_seconds,
        given: None,
    };
    WORLD.iter().zip(costs).map(candidate).collect()
}

fn seconds(fitted: &Fitted) -> f64 {
    let of_run = |steps: usize, milliseconds: f64| steps as f64 * milliseconds / 1000.0 + BESIDE;
    let planned = fitted.planned.iter();
    planned.map(|model| model.seeds.len() as f64 * of_run(model.steps, model.step_milliseconds)).sum()
}

proptest! {
    #[test]
    fn a_plan_keeps_its_budget_and_names_what_it_drops(
        costs in prop::collection::vec(0.001f64..0.3, WORLD.len()),
        budget in 0f64..3000.0,
        spent in 0f64..500.0,
    ) {
        let models = models(&costs);
        let fitted = fit(&allowance(budget, true), spent, &models);
        prop_assert_eq!(fitted.planned.len() + fitted.dropped.len(), models.len());
        prop_assert_eq!(&fitted.planned[0].model, models[0].model.name, "the baseline always runs");
        if fitted.planned.len() > 1 {
            prop_assert!(seconds(&fitted) <= budget - spent + 1e-6);
        }
        for planned in &fitted.planned {
            let model = models.iter().map(|candidate| candidate.model).find(|model| model.name == planned.model);
            let model = model.unwrap();
            match model.length {
                Length::Loss | Length::Recipe => prop_assert_eq!(planned.steps, 400),
                Length::Head | Length::Control => prop_assert!((800..=1200).contains(&planned.steps)),
            }
            prop_assert_eq!(planned.seeds.len(), if model.length == Length::Control { 1 } else { 3 });
            let told = planned.seconds;
            let counted = planned.seeds.len() as f64
                * (planned.steps as f64 * planned.step_milliseconds / 1000.0 + BESIDE);
            prop_assert!((told - counted).abs() < 1e-6 * counted, "{told} is printed, {counted} is meant");
        }
    }

    #[test]
    fn a_budget_that_holds_everything_drops_nothing(costs in prop::collection::vec(0.001f64..0.3, WORLD.len())) {
        let models = models(&costs);
        let shortest = Allowance { head_steps: [800, 800], ..allowance(0.0, false) };
        let all = seconds(&fit(&shortest, 0.0, &models));
        prop_assert!(fit(&allowance(all + 1.0, true), 0.0, &models).dropped.is_empty());
        prop_assert!(!fit(&allowance(all - 1.0, true), 0.0, &models).dropped.is_empty());
    }
}

proptest! {
    #[test]
    fn what_an_earlier_plan_gave_stays_and_costs_only_what_is_left(
        costs in prop::collection::vec(0.001f64..0.3, WORLD.len()),
        earlier in 0f64..3000.0,
        budget in 0f64..3000.0,
        done in 0usize..=3,
    ) {
        let mut models = models(&costs);
        let before = fit(&allowance(earlier, true), 0.0, &models);
        for candidate in &mut models {
            let planned = before.planned.iter().find(|planned| planned.model == candidate.model.name);
            candidate.given = planned.map(|planned| Given {
                steps: planned.steps,
                seeds: planned.seeds.clone(),
                left: planned.seeds.len().saturating_sub(done),
            });
        }
        let fitted = fit(&allowance(budget, true), 0.0, &models);
        let mut new = 0.0;
        for planned in &before.planned {
            let now = fitted.planned.iter().find(|now| now.model == planned.model);
            let now = now.expect("what was planned runs on");
            prop_assert_eq!((now.steps, &now.seeds), (planned.steps, &planned.seeds));
            if done == 3 {
                prop_assert_eq!(now.seconds, 0.0);
            }
        }
        let length = |name: &str| models.iter().find(|candidate| candidate.model.name == name).unwrap().model.length;
        let mut head_steps = Vec::new();
        for planned in &fitted.planned {
            if matches!(length(&planned.model), Length::Head | Length::Control) {
                head_steps.push(planned.steps);
            }
            if before.dropped.contains(&planned.model) {
                new += planned.seconds;
            }
        }
        head_steps.dedup();
        prop_assert!(head_steps.len() <= 1, "models compared by their head have the same steps: {head_steps:?}");
        if done == 3 {
            prop_assert!(new <= budget + 1e-6, "{new} s of models that were not planned before");
        }
    }
}

#[test]
fn a_plan_that_may_not_drop_runs_everything_at_its_longest() {
    let fitted = fit(&allowance(0.0, false), 1e9, &models(&[0.05; 64][..WORLD.len()]));
    assert!(fitted.dropped.is_empty());
    assert!(fitted.planned.iter().any(|planned| planned.steps == 1200));
}

#[test]
fn fifteen_minutes_at_thirty_milliseconds_a_step_hold_every_paper_s_whole_model() {
    // Two runs at a time, of which the second adds 0.6 of a worker; 22 s of opening and of judging again.
    let costs: Vec<f64> = WORLD.iter().map(|model| model.relative_cost * 0.030 / 1.6).collect();
    let fitted = fit(&allowance(860.0, true), 22.0, &models(&costs));
    for whole in [
        "world-ncl-queue",
        "world-emcl-net-baseline",
        "world-emcl-net",
        "world-camoe-dsl",
        "world-support-set",
    ] {
        assert!(fitted.planned.iter().any(|planned| planned.model == whole), "{whole}: {fitted:?}");
    }
}

#[test]
fn every_claim_has_its_models_and_every_model_its_recipe_and_a_claim() {
    for data in [Data::World, Data::Msrvtt476("features".into())] {
        let claims = || {
            Paper::ALL.into_iter().flat_map(|paper| paper.assertions(&data).iter().map(move |of| (paper, of)))
        };
        for (paper, assertion) in claims() {
            for cell in [assertion.baseline, assertion.treatment] {
                let trained = data
                    .again(Extent::Full, &[paper])
                    .iter()
                    .find(|again| again.name == cell.model)
                    .map_or(cell.model, |again| again.of);
                let model = data.models().iter().find(|model| model.name == trained);
                let model = model.unwrap_or_else(|| {
                    panic!("{:?} needs {}, which is not in models.rs", assertion.claim, cell.model)
                });
                assert!(model.papers.contains(&paper), "{} is not trained for {paper}", model.name);
                let recipe = Recipe::parse(model.recipe).unwrap();
                assert_eq!(recipe.name, model.name);
            }
        }
        for model in data.models() {
            let asked = claims().any(|(_, of)| {
                [of.baseline.model, of.treatment.model]
                    .iter()
                    .any(|of| of.split('+').next() == Some(model.name))
            });
            assert!(asked, "{} is trained and no claim speaks of it", model.name);
        }
    }
}

#[test]
fn an_unknown_paper_is_answered_with_those_that_are_known() {
    let error = "clip5clip".parse::<Paper>().unwrap_err();
    assert_eq!(
        error.to_string(),
        "unknown paper \"clip5clip\"; it is one of clip4clip, emcl, camoe, ncl, support-set"
    );
    for paper in Paper::ALL {
        assert_eq!(paper.name().parse::<Paper>().unwrap(), paper);
    }
}

#[test]
fn hits_of_another_form_are_refused() {
    use safetensors::Dtype;
    use tvr_experiment::files::{FileTensor, write_tensors};
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("hits.safetensors");
    let read = |dtype: Dtype, shape: &[usize], value: f64| {
        let bytes = match dtype {
            Dtype::F64 => value.to_le_bytes().repeat(6),
            _ => (value as f32).to_le_bytes().repeat(6),
        };
        let tensor = |direction: &str| FileTensor {
            name: format!("raw.{direction}"),
            dtype,
            shape: shape.to_vec(),
            bytes: bytes.clone(),
        };
        write_tensors(&path, &[tensor("text_to_video"), tensor("video_to_text")]).unwrap();
        tvr_experiment::hits::read(folder.path(), ["raw"]).map_err(|error| error.to_string())
    };
    let QueryHits { hits, ranks } = read(Dtype::F64, &[2, 3], 1.0).unwrap()[0].text_to_video.clone();
    assert_eq!((hits, ranks), (vec![1.0; 3], vec![1.0; 3]));
    let refused = |dtype, shape: &[usize], value, what: &str| {
        let expected = format!(
            "{}: \"raw.text_to_video\" {what}; remove the run's folder to make it again",
            path.display()
        );
        assert_eq!(read(dtype, shape, value).unwrap_err(), expected);
    };
    let but = "but it must be F64 [2, queries]";
    refused(Dtype::F32, &[2, 3], 1.0, &format!("is F32 [2, 3], {but}"));
    refused(Dtype::F64, &[3, 2], 1.0, &format!("is F64 [3, 2], {but}"));
    refused(Dtype::F64, &[6], 1.0, &format!("is F64 [6], {but}"));
    refused(Dtype::F64, &[2, 3], f64::NAN, "holds a value that is not finite");
}

/// A claim about hits in points, `[seed][query]`, of a baseline without a hit.
fn claim(hits: &[&[f64]]) -> Claim {
    let row = |hits: &[f64]| {
        let of = || QueryHits { hits: hits.to_vec(), ranks: vec![1.0; hits.len()] };
        RowHits { normalize: "raw".into(), text_to_video: of(), video_to_text: of() }
    };
    let before: Vec<RowHits> = hits.iter().map(|seed| row(&vec![0.0; seed.len()])).collect();
    let after: Vec<RowHits> = hits.iter().map(|seed| row(seed)).collect();
    let names = ["plain, raw".to_string(), "new, raw".to_string()];
    compare("EMCL", "EM helps", names, Side::TextToVideo, &before, &after, "").unwrap()
}

#[test]
fn a_claim_that_does_not_hold_or_is_undecided_says_so_in_one_sentence_with_its_figures() {
    let held = claim(&[&[40.0, 60.0], &[50.0, 50.0], &[60.0, 40.0]]);
    assert_eq!((held.verdict.as_str(), held.sentence), ("holds", None));
    let sentence = |hits: &[&[f64]], verdict: &str| {
        let claim = claim(hits);
        assert_eq!((claim.verdict.as_str(), claim.seeds), (verdict, hits.len()));
        let json = serde_json::to_value(&claim).unwrap();
        let sentence = claim.sentence.clone().unwrap();
        assert_eq!(json["sentence"], sentence);
        (claim, sentence)
    };
    let begin = "EMCL, T2V R@1: \"EM helps\"";
    // Alike in every query and seed, so that both intervals are the difference itself.
    assert_eq!(
        sentence(&[&[-7.5; 4], &[-7.5; 4], &[-7.5; 4]], "does not hold").1,
        format!(
            "{begin} does not hold here: new, raw, against plain, raw, measured -7.50 points over 3 seeds (95 % -7.50 to \
             -7.50 over seeds, -7.50 to -7.50 over seeds and queries), a loss by both"
        )
    );
    assert_eq!(
        sentence(&[&[0.0; 4], &[0.0; 4]], "does not hold").1,
        format!(
            "{begin} does not hold here: new, raw, against plain, raw, measured +0.00 points over 2 seeds (95 % +0.00 to \
             +0.00 over seeds, +0.00 to +0.00 over seeds and queries), no more than 0.5 points either way by both"
        )
    );
    assert_eq!(
        sentence(&[&[50.0; 4]], "undecided").1,
        format!(
            "{begin} is undecided here: new, raw, against plain, raw, measured +50.00 points with one seed (95 % +50.00 \
             to +50.00 over queries), and one seed says nothing of others"
        )
    );
    // Seeds that differ, and queries that do as well: Student's interval is wide, the bootstrap's above 0.
    let (claim, said) = sentence(&[&[1.0; 4], &[9.0; 4]], "undecided");
    let range = |of: Option<[f64; 2]>| of.map(|[low, high]| format!("{low:+.2} to {high:+.2}")).unwrap();
    assert_eq!(
        said,
        format!(
            "{begin} is undecided here: new, raw, against plain, raw, measured +5.00 points over 2 seeds (95 % {} over \
             seeds, {} over seeds and queries), and the one over seeds leaves room for 0 as well as for more than 0.5 \
             points",
            range(claim.interval_over_seeds),
            range(claim.interval_over_seeds_and_queries)
        )
    );
    let (_, said) = sentence(&[&[-30.0, 10.0], &[20.0, 30.0], &[-40.0, 20.0]], "undecided");
    assert!(said.ends_with(", and both leave room for 0 as well as for more than 0.5 points"), "{said}");
}

#[test]
fn a_gallery_is_fairer_where_the_error_is_smaller_in_every_seed() {
    let judged = |before: &[f64], after: &[f64]| compare_errors(before, after).unwrap();
    let (interval, verdict) = judged(&[0.50, 0.52, 0.51], &[0.20, 0.24, 0.22]);
    // Differences −0.30, −0.28, −0.29: mean −0.29, deviation 0.01, and t at 2 degrees of freedom is 4.3027.
    let half = 4.302_652_73 * 0.01 / 3f64.sqrt();
    let [low, high] = interval.unwrap();
    assert!((low + 0.29 + half).abs() < 1e-9 && (high + 0.29 - half).abs() < 1e-9, "{low} {high}");
    assert_eq!(verdict.name(), "holds");
    assert_eq!(judged(&[0.20, 0.24, 0.22], &[0.50, 0.52, 0.51]).1.name(), "does not hold");
    assert_eq!(judged(&[0.2, 0.4], &[0.4, 0.2]).1.name(), "undecided");
    let (interval, verdict) = judged(&[0.5], &[0.1]);
    assert_eq!((interval, verdict.name()), (None, "undecided"), "one seed says nothing of others");
    assert!(compare_errors(&[0.5, 0.4], &[0.1]).is_err());
}

#[test]
fn a_judgement_of_another_seed_draws_other_items_and_other_bases() {
    let recipe = |name: &str| {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../recipes/").to_string() + name;
        Recipe::parse(&std::fs::read_to_string(path).unwrap()).unwrap()
    };
    let banks = recipe("world-banks.toml").eval;
    assert_eq!(banks.bank.unwrap().seed, 0);
    let drawn = banks.clone().drawn(3);
    assert_eq!(drawn.bank.unwrap().seed, 3);
    let rows = |seed: u64, purpose: &str| tvr_experiment::banks::draw(seed, purpose, 2000, 30_000);
    assert_ne!(rows(0, "bank-texts"), rows(3, "bank-texts"));
    assert_eq!(drawn.drawn(0), banks, "nothing else is changed");
    let emcl = recipe("world-emcl-inference.toml").eval;
    assert_eq!(emcl.clone().drawn(3).emcl.unwrap().seed, 3);
    assert_eq!(emcl.clone().drawn(0), emcl);
}

#[cfg(unix)]
#[test]
fn every_job_runs_although_all_that_run_end_in_one_moment() {
    use std::process::{Command, Stdio};
    use std::sync::atomic::AtomicBool;
    use tvr_experiment::reproduce::jobs::{Job, Launcher, run_all};

    let folder = tempfile::tempdir().unwrap();
    let jobs: Vec<Job> = (0..5)
        .map(|index| Job {
            label: format!("job {index}"),
            recipe: folder.path().join(format!("{index}.toml")),
            folder: folder.path().join(format!("{index}")),
            log: folder.path().join(format!("{index}.log")),
            steps: 1,
        })
        .collect();
    let start = |job: &Job| {
        let script = format!("mkdir -p {0}; echo {{}} > {0}/steps.jsonl", job.folder.display());
        Command::new("sh").args(["-c", &script]).stdout(Stdio::null()).spawn()
    };
    let stop = AtomicBool::new(false);
    run_all(&jobs, &Launcher { workers: 2, start: &start }, &stop, &mut |_| ()).unwrap();
    assert!(jobs.iter().all(|job| job.folder.join("steps.jsonl").exists()));

    let failing = |job: &Job| {
        let script = format!("echo 'error: no such thing' > {}; exit 1", job.log.display());
        Command::new("sh").args(["-c", &script]).spawn()
    };
    let error =
        run_all(&jobs[..1], &Launcher { workers: 2, start: &failing }, &stop, &mut |_| ()).unwrap_err();
    assert_eq!(error.to_string(), "job 0: no such thing");

    // Progress is no reason, nor is what Rust adds to a panic.
    for (ended, last) in [("kill -9 $$", "1/400, 0:05"), ("exit 101", "thread 'main' panicked at x.rs")] {
        let dying = |job: &Job| {
            let log = job.log.display();
            let note = "note: run with `RUST_BACKTRACE=1` environment variable to display a backtrace";
            let script = format!("printf '%s\\n' \"{last}\" '{note}' > {log}; {ended}");
            Command::new("sh").args(["-c", &script]).spawn()
        };
        let error = run_all(&jobs[..1], &Launcher { workers: 1, start: &dying }, &stop, &mut |_| ())
            .unwrap_err()
            .to_string();
        let number = if ended == "exit 101" { "101" } else { "9" };
        assert!(error.starts_with("job 0: its process ended with ") && error.contains(number), "{error}");
        assert!(error.ends_with(&format!("{} ends with: {last}", jobs[0].log.display())), "{error}");
    }
}
