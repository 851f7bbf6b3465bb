//! A run with a caption decoder says what it tells of videos, and what that is worth.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::atomic::AtomicBool;

use tvr_experiment::evaluate::Told;
use tvr_experiment::{Own, Plan, Recipe, Surroundings, experiment, plan};
use tvr_metrics::{bleu, cider};

const OBJECTIVE: &str = "kind = \"support-set\"\nsupport = \"identity\"\ncaption_weight = 5.0\n\
                         decoder = { layers = 1, width = 32, heads = 2, prefix = 1, max_tokens = 12 }";

/// The small recipe on words, with an objective.
fn planned(folder: &Path, objective: &str) -> Plan {
    let text = crate::run::RECIPE
        .replace("DATA", folder.join("data").to_str().unwrap())
        .replace("kind = \"projection\"", "kind = \"words\"")
        .replace("kind = \"symmetric\"", objective)
        .replace("epochs = 4", "epochs = 80")
        .replace("checkpoint_every = 3\n", "");
    let surroundings =
        Surroundings { runs: folder.join("runs"), cache: folder.join("cache"), device: "flex".into() };
    plan(&Recipe::parse(&text).unwrap(), Path::new("x.toml"), &surroundings).unwrap()
}

/// The sentences of every video, by its name.
fn sentences(folder: &Path) -> BTreeMap<String, Vec<String>> {
    let mut of_video: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for line in std::fs::read_to_string(folder.join("data/captions.jsonl")).unwrap().lines() {
        let row: serde_json::Value = serde_json::from_str(line).unwrap();
        let word = |key: &str| row[key].as_str().unwrap().to_string();
        of_video.entry(word("video")).or_default().push(word("text"));
    }
    of_video
}

/// BLEU-4 and CIDEr of what was told, against the captions of the video `apart` places on.
fn figures(told: &Told, of_video: &BTreeMap<String, Vec<String>>, apart: usize) -> [f64; 2] {
    let count = told.captions.len();
    let said: Vec<String> = told.captions.iter().map(|caption| caption.told.clone()).collect();
    let references: Vec<Vec<String>> =
        (0..count).map(|video| of_video[&told.captions[(video + apart) % count].video].clone()).collect();
    [bleu(&said, &references).unwrap().bleu_4(), cider(&said, &references).unwrap().mean].map(|x| 100.0 * x)
}

#[test]
fn a_run_says_what_its_decoder_tells_and_what_that_is_worth_beside_shuffled_videos() {
    let _alone = crate::run::generator();
    let folder = tempfile::tempdir().unwrap();
    crate::made_up::write(&folder.path().join("data"), 24, 8, 8);
    let of_video = sentences(folder.path());
    let never = AtomicBool::new(false);
    let alone = planned(folder.path(), OBJECTIVE);
    let opened = experiment::open(&alone, &never, &mut |_| ()).unwrap();
    let outcome = experiment::run(&alone, &opened, &Own::built_in(), 0, false, &never, &mut |_| ()).unwrap();
    let told = outcome.test.told.unwrap();
    let names: Vec<&str> = told.captions.iter().map(|caption| caption.video.as_str()).collect();
    assert_eq!(names, ["v32", "v33", "v34", "v35", "v36", "v37", "v38", "v39"]);
    assert_eq!((told.own, told.other), (figures(&told, &of_video, 0), figures(&told, &of_video, 4)));
    assert!(told.own[1] > 1.2 * told.other[1] && told.own[0] > told.other[0], "{told:?}");
    // In the record, on the card, and the captions themselves in a file.
    let beside = [
        ("BLEU-4 of captions told", told.own[0]),
        ("BLEU-4 of captions told, videos shuffled", told.other[0]),
        ("CIDEr of captions told", told.own[1]),
        ("CIDEr of captions told, videos shuffled", told.other[1]),
    ];
    assert_eq!(outcome.record.beside, beside.map(|(name, value)| (name.to_string(), value)).into());
    let run = alone.run_folder(0);
    let card = std::fs::read_to_string(run.join("card.md")).unwrap();
    assert!(card.contains(&format!("\nCIDEr of captions told: {:.1}\n", told.own[1])), "{card}");
    let file: serde_json::Value =
        serde_json::from_slice(&std::fs::read(run.join("told.json")).unwrap()).unwrap();
    assert_eq!(file[7], serde_json::json!({"video": "v39", "told": told.captions[7].told}));
    // A finished run judged again tells the same, and of val something of val.
    let again =
        |on_val| experiment::judge_again(&alone, &opened, &Own::built_in(), 0, on_val).unwrap().told.unwrap();
    assert_eq!(again(false), told);
    let of_val = again(true);
    assert_eq!(of_val.captions.len(), opened.val.video_ids.len());
    assert_eq!(of_val.captions[0].video, opened.val.video_ids[0]);
}

#[test]
fn a_decoder_inside_a_sum_tells_too_and_where_there_is_none_nothing_is_told() {
    let _alone = crate::run::generator();
    let folder = tempfile::tempdir().unwrap();
    crate::made_up::write(&folder.path().join("data"), 24, 8, 8);
    let never = AtomicBool::new(false);
    let inline = OBJECTIVE.replace('\n', ", ");
    let sum = format!(
        "kind = \"weighted\"\nterms = [{{ weight = 1.0, objective = {{ kind = \"symmetric\" }} }}, \
         {{ weight = 1.0, objective = {{ {inline} }} }}]"
    );
    for (objective, tells) in [(sum.as_str(), true), ("kind = \"symmetric\"", false)] {
        let mut plan = planned(folder.path(), objective);
        plan.steps = 2;
        let opened = experiment::open(&plan, &never, &mut |_| ()).unwrap();
        let outcome =
            experiment::run(&plan, &opened, &Own::built_in(), 0, false, &never, &mut |_| ()).unwrap();
        assert_eq!(outcome.test.told.is_some(), tells);
        assert_eq!(outcome.record.beside.is_empty(), !tells);
        assert_eq!(plan.run_folder(0).join("told.json").exists(), tells);
        std::fs::remove_dir_all(plan.run_folder(0)).unwrap();
    }
}
