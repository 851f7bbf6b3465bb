//! Runs that were interrupted, and what a power cut or a bad disk leaves: the same weights, or a word before the first step.

use std::sync::atomic::{AtomicBool, Ordering};

use tvr_experiment::experiment::Opened;
use tvr_experiment::train::check_folder;
use tvr_experiment::{Event, ExperimentError, Own, Plan, Surroundings, experiment};

use super::{features, generator, lines, planned, weights};

/// Goes on until step `at` and no further.
fn interrupted(plan: &Plan, opened: &Opened, at: usize) -> ExperimentError {
    let stop = AtomicBool::new(false);
    let mut listen = |event: Event| {
        if let Event::Step { done, .. } = event {
            stop.store(done == at, Ordering::Relaxed);
        }
    };
    experiment::run(plan, opened, &Own::built_in(), 3, true, &stop, &mut listen).unwrap_err()
}

#[test]
fn an_interrupted_run_ends_with_the_same_weights_bit_for_bit() {
    let _alone = generator();
    let folder = tempfile::tempdir().unwrap();
    features(&folder.path().join("data"));
    let never = AtomicBool::new(false);

    let straight = planned(folder.path(), "straight");
    let opened = experiment::open(&straight, &never, &mut |_| ()).unwrap();
    experiment::run(&straight, &opened, &Own::built_in(), 3, false, &never, &mut |_| ()).unwrap();

    let broken = planned(folder.path(), "broken");
    for stop_at in [2, 5, 9] {
        let error = interrupted(&broken, &opened, stop_at);
        assert!(matches!(error, ExperimentError::Interrupted { .. }), "{error}");
        assert!(error.to_string().contains("--resume"));
    }
    experiment::run(&broken, &opened, &Own::built_in(), 3, true, &never, &mut |_| ()).unwrap();
    assert_eq!(weights(&straight), weights(&broken));
    let log = |plan: &Plan| std::fs::read_to_string(plan.run_folder(3).join("steps.jsonl")).unwrap();
    let losses = |log: String| -> Vec<String> {
        log.lines()
            .map(|line| {
                let line: serde_json::Value = serde_json::from_str(line).unwrap();
                format!("{} {} {}", line["step"], line["loss"], line["grad_norm"])
            })
            .collect()
    };
    assert_eq!(losses(log(&straight)), losses(log(&broken)));
    assert_eq!(losses(log(&straight)).len(), straight.steps);

    // The time of a step is that of all steps, whoever took them: here the run was finished before it was resumed.
    let record =
        experiment::run(&broken, &opened, &Own::built_in(), 3, true, &never, &mut |_| ()).unwrap().record;
    let seconds: Vec<f64> = lines(&broken).iter().map(|line| line["seconds"].as_f64().unwrap()).collect();
    let mean = seconds.iter().sum::<f64>() / broken.steps as f64;
    assert!((record.step_seconds / mean - 1.0).abs() < 1e-9, "{} {mean}", record.step_seconds);
}

#[test]
fn a_line_that_a_power_cut_tore_is_not_in_the_log_of_the_run_that_goes_on() {
    let _alone = generator();
    let folder = tempfile::tempdir().unwrap();
    features(&folder.path().join("data"));
    let plan = planned(folder.path(), "runs");
    let never = AtomicBool::new(false);
    let opened = experiment::open(&plan, &never, &mut |_| ()).unwrap();
    interrupted(&plan, &opened, 5);
    let path = plan.run_folder(3).join("steps.jsonl");
    let log = std::fs::read_to_string(&path).unwrap();
    let end = log.match_indices('\n').nth(2).unwrap().0;
    std::fs::write(&path, &log[..end + 20]).unwrap();
    // Killed two steps after a checkpoint: those are taken again, and stand there once, although lines are missing.
    interrupted(&plan, &opened, 9);
    let mut log = std::fs::read_to_string(&path).unwrap();
    log.push_str("{\"step\": 10, \"seconds\": 1e9}\n{\"step\": 11, \"seconds\": 1e9}\n");
    std::fs::write(&path, log).unwrap();
    experiment::run(&plan, &opened, &Own::built_in(), 3, true, &never, &mut |_| ()).unwrap();
    let steps: Vec<u64> = lines(&plan).iter().map(|line| line["step"].as_u64().unwrap()).collect();
    assert_eq!(steps, [1, 2, 3, 6, 7, 8, 9, 10, 11, 12]);

    // A log that cannot be read is no empty one.
    std::fs::remove_file(&path).unwrap();
    std::fs::create_dir(&path).unwrap();
    let error = experiment::run(&plan, &opened, &Own::built_in(), 3, true, &never, &mut |_| ()).unwrap_err();
    assert!(error.to_string().contains("steps.jsonl: cannot read"), "{error}");
}

#[test]
fn judging_again_leaves_what_somebody_writes_beside() {
    let _alone = generator();
    let folder = tempfile::tempdir().unwrap();
    features(&folder.path().join("data"));
    let plan = planned(folder.path(), "runs");
    let never = AtomicBool::new(false);
    let opened = experiment::open(&plan, &never, &mut |_| ()).unwrap();
    experiment::run(&plan, &opened, &Own::built_in(), 3, false, &never, &mut |_| ()).unwrap();
    let writing = plan.run_folder(3).join("checkpoints/step-000009.tmp");
    std::fs::create_dir(&writing).unwrap();
    experiment::judge_again(&plan, &opened, &Own::built_in(), 3, false).unwrap();
    assert!(writing.exists(), "its writer may be at work");
    experiment::run(&plan, &opened, &Own::built_in(), 3, true, &never, &mut |_| ()).unwrap();
    assert!(!writing.exists(), "whoever holds the run's lock knows that nobody is");
}

#[test]
fn a_damaged_checkpoint_is_passed_over_for_the_one_before_with_a_word() {
    let _alone = generator();
    let folder = tempfile::tempdir().unwrap();
    features(&folder.path().join("data"));
    let never = AtomicBool::new(false);
    let straight = planned(folder.path(), "straight");
    let opened = experiment::open(&straight, &never, &mut |_| ()).unwrap();
    experiment::run(&straight, &opened, &Own::built_in(), 3, false, &never, &mut |_| ()).unwrap();
    let expected = weights(&straight);

    let checkpoints = straight.run_folder(3).join("checkpoints");
    let newest = checkpoints.join(format!("step-{:06}", straight.steps));
    let model = newest.join("model.bpk");
    let mut bytes = std::fs::read(&model).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(&model, bytes).unwrap();
    let mut words = Vec::new();
    experiment::run(&straight, &opened, &Own::built_in(), 3, true, &never, &mut |event| {
        if let Event::Note(word) = event {
            words.push(word);
        }
    })
    .unwrap();
    assert!(
        words.iter().any(|word| word.contains("damaged") && word.contains("the one before")),
        "{words:?}"
    );
    assert_eq!(weights(&straight), expected);

    // Where every checkpoint is damaged it says so, keeps what is written from there on, and ends at the same weights.
    for entry in std::fs::read_dir(&checkpoints).unwrap() {
        let folder = entry.unwrap().path();
        if folder.is_dir() {
            std::fs::write(folder.join("state.json"), "{").unwrap();
        }
    }
    // Of a finished run it takes no step.
    let run = straight.run_folder(3);
    let finished = format!(
        "{}: holds a finished run without a whole checkpoint of its steps, so --resume would train it anew, over what is \
         there; to do so, remove the folder or give the recipe another name",
        run.display()
    );
    let mut words = Vec::new();
    let error =
        experiment::run(&straight, &opened, &Own::built_in(), 3, true, &never, &mut |event| match event {
            Event::Note(word) => words.push(word),
            event => panic!("{event:?}"),
        })
        .unwrap_err();
    assert_eq!((error.to_string(), error.exit_code()), (finished.clone(), 2));
    assert!(words.len() == 2 && words[1].ends_with("; none is left"), "{words:?}");
    assert_eq!(weights(&straight), expected);
    let whole = |entry: &std::fs::DirEntry| entry.path().is_file();
    let count = std::fs::read_dir(&checkpoints).unwrap().flatten().filter(whole).count();
    assert!(count > 0 && run.join("record.json").exists(), "something is gone");
    experiment::judge_again(&straight, &opened, &Own::built_in(), 3, false).unwrap();

    std::fs::remove_file(run.join("record.json")).unwrap();
    let (mut words, stop) = (Vec::new(), AtomicBool::new(false));
    let error =
        experiment::run(&straight, &opened, &Own::built_in(), 3, true, &stop, &mut |event| match event {
            Event::Note(word) => words.push(word),
            Event::Step { done, .. } => stop.store(done == 2, Ordering::Relaxed),
            _ => {}
        })
        .unwrap_err();
    assert!(matches!(error, ExperimentError::Interrupted { step: 2, .. }), "{error}");
    assert!(words.len() == 2 && words[0].contains("the one before"), "{words:?}");
    assert!(words[1].contains("none is left, so the run starts anew"), "{words:?}");
    let mut begun = None;
    experiment::run(&straight, &opened, &Own::built_in(), 3, true, &never, &mut |event| {
        if let Event::Begin { done, .. } = event {
            begun.get_or_insert(done);
        }
    })
    .unwrap();
    assert_eq!(begun, Some(2));
    assert_eq!(weights(&straight), expected);

    // Who removes them to save space has the run still, before data are opened and after.
    for entry in std::fs::read_dir(&checkpoints).unwrap().flatten().filter(|entry| !whole(entry)) {
        std::fs::remove_dir_all(entry.path()).unwrap();
    }
    assert_eq!(check_folder(&straight, 3, true).unwrap_err().to_string(), finished);
    let error =
        experiment::run(&straight, &opened, &Own::built_in(), 3, true, &never, &mut |_| ()).unwrap_err();
    assert_eq!(error.to_string(), finished);
    assert_eq!(weights(&straight), expected);
}

#[test]
fn a_record_names_the_devices_that_trained() {
    let _alone = generator();
    let folder = tempfile::tempdir().unwrap();
    features(&folder.path().join("data"));
    let never = AtomicBool::new(false);
    let plan = planned(folder.path(), "runs");
    let opened = experiment::open(&plan, &never, &mut |_| ()).unwrap();
    interrupted(&plan, &opened, 5);
    let on = |device: &str| {
        let surroundings = Surroundings { device: device.into(), ..plan.surroundings.clone() };
        let plan = tvr_experiment::plan(&plan.recipe, &plan.source, &surroundings).unwrap();
        experiment::run(&plan, &opened, &Own::built_in(), 3, true, &never, &mut |_| ()).unwrap().record.device
    };
    assert_eq!(on("flex:2"), "flex, then flex:2");
    // Nothing is left to do for these.
    assert_eq!(on("flex:3"), "flex, then flex:2");
}

#[test]
fn a_checkpoint_without_its_selected_weights_is_passed_over_for_one_that_has_them() {
    let _alone = generator();
    let folder = tempfile::tempdir().unwrap();
    features(&folder.path().join("data"));
    let never = AtomicBool::new(false);
    let mut plan = planned(folder.path(), "runs");
    // The last step is the only look at val.
    plan.recipe.train.evaluations = 1;
    let opened = experiment::open(&plan, &never, &mut |_| ()).unwrap();
    experiment::run(&plan, &opened, &Own::built_in(), 3, false, &never, &mut |_| ()).unwrap();
    let expected = weights(&plan);
    let best = plan.run_folder(3).join("checkpoints/best-000012.bpk");
    std::fs::remove_file(&best).unwrap();
    let mut words = Vec::new();
    experiment::run(&plan, &opened, &Own::built_in(), 3, true, &never, &mut |event| match event {
        Event::Note(word) => words.push(word),
        Event::Step { done, .. } => words.push(done.to_string()),
        _ => {}
    })
    .unwrap();
    let [word, steps @ ..] = &words[..] else { panic!("nothing was said") };
    assert!(word.starts_with("checkpoint at step 12 is damaged ("), "{word}");
    assert!(word.contains("best-000012.bpk") && word.ends_with("; trying the one before"), "{word}");
    assert_eq!(steps, ["10", "11", "12"]);
    assert_eq!(weights(&plan), expected);

    // Where none has them, the run says so before it takes a step.
    plan.recipe.train.evaluations = 2;
    std::fs::remove_dir_all(plan.run_folder(3)).unwrap();
    experiment::run(&plan, &opened, &Own::built_in(), 3, false, &never, &mut |_| ()).unwrap();
    let checkpoints = plan.run_folder(3).join("checkpoints");
    std::fs::remove_dir_all(checkpoints.join("step-000012")).unwrap();
    let best = checkpoints.join("best-000006.bpk");
    let mut bytes = std::fs::read(&best).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    std::fs::write(&best, bytes).unwrap();
    let (mut words, mut steps) = (Vec::new(), 0);
    let error =
        experiment::run(&plan, &opened, &Own::built_in(), 3, true, &never, &mut |event| match event {
            Event::Note(word) => words.push(word),
            Event::Step { .. } => steps += 1,
            _ => {}
        })
        .unwrap_err();
    let wrong = format!("{}: not the bytes that were written", best.display());
    let run = plan.run_folder(3);
    assert_eq!(error.to_string(), format!("{wrong}; remove {} and train the run again", run.display()));
    assert_eq!(words, [format!("checkpoint at step 9 is damaged ({wrong}); none is left")]);
    assert_eq!(steps, 0, "steps were taken in vain");
    assert!(checkpoints.join("step-000009").is_dir(), "what could be mended is kept");
}

#[test]
fn an_interruption_while_a_step_is_measured_promises_nothing() {
    let _alone = generator();
    let folder = tempfile::tempdir().unwrap();
    features(&folder.path().join("data"));
    let plan = planned(folder.path(), "runs");
    let opened = experiment::open(&plan, &AtomicBool::new(false), &mut |_| ()).unwrap();
    let error = experiment::measure_step(&plan, &opened, &AtomicBool::new(true)).unwrap_err();
    assert_eq!(error.to_string(), "stopped while a step was measured; nothing of it is kept");
    assert!(!folder.path().join("runs").exists());
}
