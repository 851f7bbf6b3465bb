//! A finished run judged in shares: the same figures for any number of them.

use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;

use tvr_experiment::files::{FileTensor, write_tensors};
use tvr_experiment::score::{Given, Policy, Report, Request, Written, merge, score, share};
use tvr_experiment::shard::Shard;
use tvr_experiment::{Plan, Recipe, Surroundings, experiment, plan};

const NORMALIZE: [&str; 5] = [
    "raw",
    "dual-softmax:temperature=1",
    "sinkhorn:tau=1,iterations=20",
    "inverted-softmax:temperature=1",
    "dual-bank:temperature=1,gallery_temperature=1",
];

fn planned(folder: &Path, eval: &str) -> Plan {
    let text = crate::run::RECIPE.replace("DATA", folder.join("data").to_str().unwrap());
    let mut recipe = Recipe::parse(&format!("{text}\n[eval]\n{eval}")).unwrap();
    recipe.eval.normalize = NORMALIZE.map(String::from).to_vec();
    let surroundings =
        Surroundings { runs: folder.join("runs"), cache: folder.join("cache"), device: "flex".into() };
    plan(&recipe, Path::new("x.toml"), &surroundings).unwrap()
}

/// Joined scores as `score` judges them.
fn judged(file: &Path, written: &Written) -> Report {
    let of = |name: &str| {
        let there = written.matrices.iter().any(|(known, _)| *known == name);
        there.then(|| format!("{}:{name}", file.display()))
    };
    score(&Request {
        given: Given::Similarity(of("similarity").unwrap()),
        groups: None,
        normalize: written.normalize.clone(),
        val: None,
        val_groups: None,
        text_bank: of("text_bank"),
        video_bank: of("video_bank"),
        gallery_bank: of("gallery_bank"),
        gallery_bank_texts: of("gallery_bank_texts"),
        bank_similarity: of("bank_similarity"),
        logit_scale: 1.0,
        policy: Policy::default(),
        bootstrap: None,
        save: None,
    })
    .unwrap()
}

#[test]
fn shares_of_a_run_are_joined_to_the_figures_of_the_whole() {
    let _alone = crate::run::generator();
    let folder = tempfile::tempdir().unwrap();
    crate::made_up::write(&folder.path().join("data"), 24, 8, 9);
    let never = AtomicBool::new(false);
    let plan = planned(folder.path(), "bank = { texts = 20, videos = 10 }");
    let opened = experiment::open(&plan, &never, &mut |_| ()).unwrap();
    let record = experiment::run(&plan, &opened, 0, false, &never, &mut |_| ()).unwrap().record;

    let share = |index: usize, of: usize| -> PathBuf {
        let out = folder.path().join(format!("{index}-{of}.safetensors"));
        experiment::score_share(&plan, &opened, 0, false, Shard { index, of }, &out).unwrap();
        out
    };
    let mut whole: Option<(Vec<u8>, String)> = None;
    for count in 1..=4 {
        let mut files: Vec<PathBuf> = (0..count).map(|index| share(index, count)).collect();
        files.reverse();
        let out = folder.path().join(format!("of-{count}.safetensors"));
        let written = merge(&files, &out).unwrap();
        assert_eq!(written.normalize, NORMALIZE);
        assert_eq!(written.matrices[0], ("similarity", [9, 9]));
        assert_eq!(written.matrices.len(), 6);
        let report = judged(&out, &written);
        let found = (std::fs::read(&out).unwrap(), serde_json::to_string(&report.rows).unwrap());
        let (bytes, rows) = whole.get_or_insert_with(|| found.clone());
        assert!(found.0 == *bytes, "{count} shares have other bits");
        assert_eq!(found.1, *rows, "{count} shares");
        // And those that the run has recorded.
        for (row, recorded) in report.rows.iter().zip(&record.test) {
            assert_eq!(
                (&row.normalize, row.regime.to_string()),
                (&recorded.normalize, recorded.regime.clone())
            );
            for (side, recorded) in
                [(&row.text_to_video, &recorded.text_to_video), (&row.video_to_text, &recorded.video_to_text)]
            {
                assert_eq!(side.summary.mean_rank, recorded["MnR"], "{}", row.normalize);
                assert_eq!(side.summary.recalls[0].percent, recorded["R@1"], "{}", row.normalize);
            }
        }
    }
}

#[test]
fn a_shard_that_says_a_number_which_there_is_not_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    let bytes = (0..9).flat_map(|value| (value as f32).to_le_bytes()).collect();
    let scores =
        FileTensor { name: "similarity".into(), dtype: safetensors::Dtype::F32, shape: vec![3, 3], bytes };
    write_tensors(&path("s.safetensors"), &[scores]).unwrap();
    let given = Given::Similarity(format!("{}:similarity", path("s.safetensors").display()));
    for index in 0..2 {
        share(&given, Shard { index, of: 2 }, &path(&index.to_string())).unwrap();
    }
    // As a file may be that another program has written.
    let mut bytes = std::fs::read(path("1")).unwrap();
    let number = br#"index\":1"#;
    let place = bytes.windows(number.len()).position(|window| window == number).unwrap();
    bytes[place + number.len() - 1] = b'7';
    std::fs::write(path("1"), bytes).unwrap();
    let error = merge(&[path("0"), path("1")], &path("all.safetensors")).unwrap_err();
    let sentence =
        format!("{}: says that it is shard 7/2, which there is not; make it again", path("1").display());
    assert_eq!((error.exit_code(), error.to_string()), (2, sentence));
    assert!(!path("all.safetensors").exists());
}

#[test]
fn what_cannot_be_shared_out_is_refused_with_the_reason() {
    let _alone = crate::run::generator();
    let folder = tempfile::tempdir().unwrap();
    crate::made_up::write(&folder.path().join("data"), 24, 8, 8);
    let never = AtomicBool::new(false);
    let mut plan = planned(folder.path(), "bank = { texts = 20, videos = 3 }");
    let opened = experiment::open(&plan, &never, &mut |_| ()).unwrap();
    experiment::run(&plan, &opened, 0, false, &never, &mut |_| ()).unwrap();
    let out = folder.path().join("out.safetensors");
    let refused = |plan: &Plan, of: usize| {
        let error =
            experiment::score_share(plan, &opened, 0, true, Shard { index: 0, of }, &out).unwrap_err();
        assert!(!out.exists());
        (error.exit_code(), error.to_string())
    };
    let few = |count: usize, items: &str, of: usize| {
        (
            2,
            format!(
                "--shard 0/{of}: there are {count} {items}, and every shard must have one; take fewer shards"
            ),
        )
    };
    assert_eq!(refused(&plan, 9), few(8, "videos", 9));
    assert_eq!(refused(&plan, 4), few(3, "bank videos", 4));
    plan.recipe.set("eval.emcl", "{ scope = \"everything\" }").unwrap();
    let sentence =
        "--shard: EMCL finds its bases on items of all shares together; judge this run without --shard";
    assert_eq!(refused(&plan, 2), (2, sentence.to_string()));
}
