//! A finished run judged in shares: the same figures for any number of them.

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;

use safetensors::Dtype;
use tvr_experiment::encode;
use tvr_experiment::files::{FileTensor, write_tensors};
use tvr_experiment::score::{Given, Policy, Report, Request, Written, merge, score, share};
use tvr_experiment::shard::Shard;
use tvr_experiment::{Own, Plan, Recipe, Surroundings, experiment, plan};

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
        against: None,
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
    let record =
        experiment::run(&plan, &opened, &Own::built_in(), 0, false, &never, &mut |_| ()).unwrap().record;

    let share = |index: usize, of: usize| -> PathBuf {
        let out = folder.path().join(format!("{index}-{of}.safetensors"));
        experiment::score_share(&plan, &opened, &Own::built_in(), 0, false, Shard { index, of }, &out)
            .unwrap();
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
    experiment::run(&plan, &opened, &Own::built_in(), 0, false, &never, &mut |_| ()).unwrap();
    let out = folder.path().join("out.safetensors");
    let refused = |plan: &Plan, of: usize| {
        let error =
            experiment::score_share(plan, &opened, &Own::built_in(), 0, true, Shard { index: 0, of }, &out)
                .unwrap_err();
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

/// A shard of `encode`, to break: metadata, and tensors by name.
#[derive(Clone)]
struct Encoded {
    metadata: HashMap<String, String>,
    tensors: BTreeMap<&'static str, (Dtype, Vec<usize>, Vec<u8>)>,
}

impl Encoded {
    /// Two videos of at most two frames of width 3, and two texts of width 3 with at most two tokens each.
    fn shard(index: usize) -> Self {
        let list = |name: &str| format!("[\"{name}{index}\", \"{name}{index}b\"]");
        let entries = [
            ("format", "tvr-features/1".to_owned()),
            ("encoder", "made up".to_owned()),
            ("shard", format!("{index}/2")),
            ("video_ids", list("v")),
            ("text_ids", list("t")),
            ("text_videos", list("v")),
        ];
        let f32s = |shape: &[usize]| {
            let values = 0..shape.iter().product::<usize>();
            (Dtype::F32, shape.to_vec(), values.flat_map(|value| (value as f32).to_le_bytes()).collect())
        };
        let mask = (Dtype::U8, vec![2, 2], vec![1, 0, 1, 1]);
        Self {
            metadata: entries.map(|(key, value)| (key.to_owned(), value)).into(),
            tensors: BTreeMap::from([
                ("frames", f32s(&[2, 2, 3])),
                ("mask", mask.clone()),
                ("text", f32s(&[2, 3])),
                ("text_tokens", f32s(&[2, 2, 3])),
                ("text_mask", mask),
            ]),
        }
    }

    fn write(&self, path: &Path) {
        let views = self.tensors.iter().map(|(name, (dtype, shape, bytes))| {
            (*name, safetensors::tensor::TensorView::new(*dtype, shape.clone(), bytes).unwrap())
        });
        std::fs::write(path, safetensors::serialize(views, Some(self.metadata.clone())).unwrap()).unwrap();
    }
}

#[test]
fn a_shard_of_encode_that_readers_would_refuse_is_refused_when_joined() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    let joined = |second: &Encoded| {
        Encoded::shard(0).write(&path("0"));
        second.write(&path("1"));
        encode::merge(&[path("0"), path("1")], &path("all"), &mut |_| ())
    };
    let report = joined(&Encoded::shard(1)).unwrap();
    assert_eq!((report.videos, report.frames, report.texts), (4, 6, 4));
    let whole = std::fs::read(path("all")).unwrap();
    let whole = safetensors::SafeTensors::deserialize(&whole).unwrap();
    assert_eq!(whole.tensor("frames").unwrap().shape(), [4, 2, 3]);
    std::fs::remove_file(path("all")).unwrap();

    let refused = |change: &dyn Fn(&mut Encoded), problem: &str| {
        let mut shard = Encoded::shard(1);
        change(&mut shard);
        let error = joined(&shard).unwrap_err();
        let sentence = format!(
            "{}: is no feature file of encode: {problem}; encode the shard again",
            path("1").display()
        );
        assert_eq!((error.exit_code(), error.to_string()), (1, sentence));
        assert!(!path("all").exists() && !path("all.parts").exists(), "nothing is half-written");
    };
    let say = |key: &'static str, value: &'static str| {
        move |shard: &mut Encoded| drop(shard.metadata.insert(key.into(), value.into()))
    };
    let put = |name: &'static str, dtype: Dtype, shape: &'static [usize], bytes: Vec<u8>| {
        move |shard: &mut Encoded| drop(shard.tensors.insert(name, (dtype, shape.to_vec(), bytes.clone())))
    };
    refused(&say("format", "x"), "its metadata does not say tvr-features/1");
    for key in ["video_ids", "text_ids"] {
        let gone = |shard: &mut Encoded| drop(shard.metadata.remove(key));
        refused(&gone, &format!("its metadata has no {key}"));
    }
    for key in ["video_ids", "text_ids", "text_videos"] {
        refused(&say(key, "[]"), &format!("{key} has 0 names for 2 rows"));
    }
    refused(
        &say("video_ids", "{}"),
        "video_ids is no list of names: invalid type: map, expected a sequence at line 1 column 0",
    );
    let patches = "tokens_per_frame is \"3\", which must divide its 2 vectors";
    refused(&say("tokens_per_frame", "3"), patches);
    let float = "but it must be F32 with 3 axes, none empty";
    refused(
        &put("frames", Dtype::I32, &[2, 2, 3], vec![0; 48]),
        &format!("frames is I32 [2, 2, 3], {float}"),
    );
    refused(&put("frames", Dtype::F32, &[4, 3], vec![0; 48]), &format!("frames is F32 [4, 3], {float}"));
    refused(&put("frames", Dtype::F32, &[2, 0, 3], vec![]), &format!("frames is F32 [2, 0, 3], {float}"));
    let none = "mask is U8 [2, 2], but it must be U8 [0, 2]";
    refused(&put("frames", Dtype::F32, &[0, 2, 3], vec![]), none);
    let mask = "mask is U8 [4], but it must be U8 [2, 2]";
    refused(&put("mask", Dtype::U8, &[4], vec![1; 4]), mask);
    for (row, bytes) in [(0, [0, 1, 1, 1]), (0, [0, 0, 1, 1]), (1, [1, 1, 2, 1])] {
        let mask = put("mask", Dtype::U8, &[2, 2], bytes.to_vec());
        refused(&mask, &format!("row {row} of mask is not ones, at least one, and then zeros"));
    }
    refused(
        &put("text_tokens", Dtype::F32, &[2, 2, 2], vec![0; 32]),
        "text_tokens is [2, 2, 2], but text is [2, 3]",
    );
    let first = path("0").display().to_string();
    refused(
        &put("frames", Dtype::F32, &[2, 2, 1], vec![0; 16]),
        &format!("frames is 1 wide, but 3 in {first}"),
    );
    refused(&|shard: &mut Encoded| shard.tensors.clear(), "it has neither frames nor text");
}
