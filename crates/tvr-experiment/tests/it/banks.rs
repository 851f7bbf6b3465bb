//! Banks of training items, and EMCL at inference: what rows have seen, and what is refused.

use std::path::Path;
use std::sync::atomic::AtomicBool;

use tvr_experiment::banks::draw;
use tvr_experiment::record::Record;
use tvr_experiment::{Own, Recipe, Surroundings, experiment, plan};

#[test]
fn a_bank_is_drawn_by_its_seed_alone() {
    let rows = draw(3, "bank-texts", 20, 100);
    assert_eq!(rows, draw(3, "bank-texts", 20, 100));
    assert_eq!(rows.len(), 20);
    assert!(rows.windows(2).all(|pair| pair[0] < pair[1]) && rows[19] < 100, "{rows:?}");
    assert_ne!(rows, draw(4, "bank-texts", 20, 100));
    assert_ne!(rows, draw(3, "bank-videos", 20, 100));
    assert_eq!(draw(3, "bank-texts", 100, 100), (0..100).collect::<Vec<_>>());
}

/// The small recipe with another `[eval]`.
fn recipe(folder: &Path, eval: &str) -> Recipe {
    let text = crate::run::RECIPE.replace("DATA", folder.join("data").to_str().unwrap());
    Recipe::parse(&format!("{text}\n{eval}")).unwrap()
}

fn surroundings(folder: &Path, runs: &str) -> Surroundings {
    Surroundings { runs: folder.join(runs), cache: folder.join("cache"), device: "flex".into() }
}

fn record(folder: &Path, runs: &str, eval: &str) -> Record {
    let plan = plan(&recipe(folder, eval), Path::new("x.toml"), &surroundings(folder, runs)).unwrap();
    let never = AtomicBool::new(false);
    let opened = experiment::open(&plan, &never, &mut |_| ()).unwrap();
    experiment::run(&plan, &opened, &Own::built_in(), 0, false, &never, &mut |_| ()).unwrap().record
}

fn made_up() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    crate::made_up::write(&folder.path().join("data"), 24, 8, 8);
    folder
}

const METHODS: [&str; 9] = [
    "raw",
    "inverted-softmax:temperature=1",
    "sinkhorn:tau=1,iterations=50",
    "single-query:tau=1,iterations=5",
    "csls:k=3",
    "nnn:k=3,alpha=0.75",
    "qb-norm:temperature=1",
    "dual-bank:temperature=1,gallery_temperature=1",
    "dbsn:tau=1,iterations=50",
];

#[test]
fn with_a_bank_every_row_says_bank_and_raw_stays_as_it_is() {
    let _alone = crate::run::generator();
    let folder = made_up();
    let alone = record(folder.path(), "alone", "[eval]\nnormalize = [\"raw\", \"sinkhorn\"]");
    let eval = format!("[eval]\nnormalize = {METHODS:?}\nbank = {{ texts = 30, videos = 20, seed = 5 }}");
    let banked = record(folder.path(), "banked", &eval);
    assert_eq!(alone.test[0].text_to_video, banked.test[0].text_to_video);
    assert_eq!(alone.test[0].video_to_text, banked.test[0].video_to_text);
    assert_eq!((alone.test[0].regime.as_str(), alone.test[1].regime.as_str()), ("raw", "transductive"));
    assert_eq!(banked.test[0].regime, "raw");
    for row in &banked.test[1..] {
        assert_eq!(row.regime, "bank", "{}", row.normalize);
    }
    let [before, _] = banked.test[0].normalisation_error.unwrap();
    let [after, _] = alone.test[1].normalisation_error.unwrap();
    assert!(after.error < before.error, "Sinkhorn on the test queries makes every item wanted alike");
    let run = folder.path().join("banked/small-0");
    let card = std::fs::read_to_string(run.join("card.md")).unwrap();
    let line = "| bank | 30 training captions and 20 training videos, drawn with seed 5 |";
    assert!(card.contains(line), "{card}");
    let curves = std::fs::read(run.join("represented.json")).unwrap();
    let curves: serde_json::Value = serde_json::from_slice(&curves).unwrap();
    assert_eq!(curves.as_array().unwrap().len(), METHODS.len() - 1);
    assert_eq!(curves[0]["schema"], "tvr-represented/1");
}

#[test]
fn negative_scores_under_dual_softmax_are_said_once_in_record_and_card() {
    let _alone = crate::run::generator();
    let folder = made_up();
    let quiet = record(folder.path(), "quiet", "[eval]\nnormalize = [\"raw\", \"sinkhorn\"]");
    assert!(quiet.warnings.is_empty(), "{:?}", quiet.warnings);
    let rows = ["raw", "dual-softmax:temperature=1", "dual-softmax:temperature=2"];
    let warned = record(folder.path(), "warned", &format!("[eval]\nnormalize = {rows:?}"));
    let [warning] = warned.warnings.as_slice() else { panic!("{:?}", warned.warnings) };
    assert!(
        warning.starts_with("dual-softmax: ") && warning.contains("of the scores are negative"),
        "{warning}"
    );
    let card =
        |runs: &str| std::fs::read_to_string(folder.path().join(runs).join("small-0/card.md")).unwrap();
    assert_eq!(card("warned").matches(&format!("Warning: {warning}.")).count(), 1, "{}", card("warned"));
    assert!(!card("quiet").contains("Warning"));
}

#[test]
fn emcl_at_inference_names_its_items_and_with_weight_zero_changes_nothing() {
    let _alone = crate::run::generator();
    let folder = made_up();
    let plain = record(folder.path(), "plain", "[eval]\nnormalize = [\"raw\"]");
    assert_eq!((&plain.mixing, plain.effective_ranks), (&None, None));
    let layer = |weight: f64| {
        format!(
            "[eval.emcl.layer]\nmode = \"reference\"\nbases = 3\niterations = 4\nsigma = 1.0\nweight = {weight}\ntile = 5"
        )
    };
    for (scope, regime, mixing) in [
        ("tiles", "transductive", "EMCL at inference, tiles of 5 texts x 5 videos"),
        ("everything", "transductive", "EMCL at inference, all texts and videos at once"),
        ("bank", "bank", "EMCL at inference, a bank of 50 items"),
    ] {
        for weight in [0.0, 3.0] {
            let eval = format!(
                "[eval]\nnormalize = [\"raw\"]\nbank = {{ texts = 30, videos = 20 }}\n[eval.emcl]\nscope = \"{scope}\"\n{}",
                layer(weight)
            );
            let found = record(folder.path(), &format!("{scope}-{weight}"), &eval);
            assert_eq!(found.test[0].regime, regime);
            assert_eq!(found.mixing.as_deref(), Some(mixing));
            let [before, after] = found.effective_ranks.unwrap();
            // Three bases on top of the vectors move them; with a weight of 0 nothing does.
            assert!(before > 1.0 && before <= 16.0, "{scope}: {before}");
            let apart = (before - after).abs();
            assert!(if weight == 0.0 { apart < 1e-9 } else { apart > 1e-6 }, "{scope}: {before} {after}");
            let card = folder.path().join(format!("{scope}-{weight}/small-0/card.md"));
            let line = format!(
                "| items that influence one another | {mixing} |\n\
                 | effective rank of the vectors | {before:.1}, after EMCL {after:.1} |"
            );
            let card = std::fs::read_to_string(card).unwrap();
            assert!(card.contains(&line), "{card}");
            if weight == 0.0 {
                assert_eq!(found.test[0].text_to_video, plain.test[0].text_to_video, "{scope}");
            }
        }
    }
}

/// As a layer of the head, with bases of a tile and of moving means.
#[test]
fn emcl_in_a_trained_head_names_the_rank_that_it_leaves() {
    let _alone = crate::run::generator();
    let folder = made_up();
    for (items, mixing) in [
        ("items = \"call\"\ntile = 5", Some("the head, tiles of 5 texts x 5 videos")),
        ("items = \"global\"\nscale = \"mean\"", None),
    ] {
        let layer =
            "mode = \"paper\"\nbases = 2\niterations = 3\nsigma = 1.0\nweight = 1.0\nresidual = false";
        let name = if mixing.is_some() { "call" } else { "global" };
        let recipe = format!("[eval]\nnormalize = [\"raw\"]\n[head.emcl]\n{layer}\n{items}");
        let found = record(folder.path(), name, &recipe);
        assert_eq!(found.mixing.as_deref(), mixing);
        // The reconstruction alone lies in the span of two bases.
        let [before, after] = found.effective_ranks.unwrap();
        assert!(before > 2.1 && after > 0.0 && after <= 2.0 + 1e-3, "{name}: {before} {after}");
        let card = std::fs::read_to_string(folder.path().join(name).join("small-0/card.md")).unwrap();
        let line = format!("| effective rank of the vectors | {before:.1}, after EMCL {after:.1} |");
        assert!(card.contains(&line), "{card}");
    }
}

#[test]
fn what_a_normaliser_or_emcl_misses_is_refused_when_planned() {
    let folder = made_up();
    let refused = |change: fn(String) -> String, eval: &str, expected: &str| {
        let text = crate::run::RECIPE.replace("DATA", folder.path().join("data").to_str().unwrap());
        let recipe = Recipe::parse(&change(format!("{text}\n{eval}"))).unwrap();
        let surroundings = surroundings(folder.path(), "runs");
        let error = plan(&recipe, Path::new("x.toml"), &surroundings).unwrap_err();
        assert_eq!(error.exit_code(), 2);
        assert!(error.to_string().contains(expected), "{error}");
    };
    let same = |text: String| text;
    let pairwise =
        |text: String| text.replace("kind = \"mean-pooling\"", "kind = \"conditioned\"\ntemperature = 1.0");
    for method in ["nnn", "qb-norm", "dual-bank", "dbsn", "single-query", "raw+nnn", "csls+nnn"] {
        let eval = format!("[eval]\nnormalize = [\"raw\", \"{method}\"]");
        refused(same, &eval, "; add eval.bank = { texts = ..., videos = ... }");
    }
    let bank = "[eval]\nnormalize = [\"dual-bank\"]\nbank = { texts = 30, videos = 20 }";
    refused(
        pairwise,
        bank,
        "training and test items of one side cannot be compared; choose another normaliser",
    );
    // Of 30 captions and 20 videos, or without a bank of val's 8 videos, nobody can select more.
    let few = |method: &str, bank: &str| format!("[eval]\nnormalize = [\"raw\", \"{method}\"]\n{bank}");
    let bank = "bank = { texts = 30, videos = 20 }";
    let only = "but there are only";
    for (method, bank, expected) in [
        ("nnn", bank, format!("nnn: k = 128, {only} 30 bank queries to select from; lower k or give more")),
        ("raw+nnn:k=25", bank, format!("nnn: k = 25, {only} 20 bank queries")),
        ("nnn:k=5|31", bank, format!("nnn: k = 31, {only} 30 bank queries")),
        ("csls", bank, format!("csls: k = 10, {only} 8 gallery items")),
        ("csls", "", format!("csls: k = 10, {only} 8 queries")),
        ("qb-norm:k=9", bank, format!("qb-norm: k = 9, {only} 8 gallery items")),
        ("dual-bank:rows=active,k=9", bank, format!("dual-bank: k = 9, {only} 8 gallery items")),
    ] {
        refused(same, &few(method, bank), &format!("x.toml: eval.normalize: {expected}"));
    }
    for (rows, twice) in [
        (["raw", "raw"], "raw"),
        (["dual-softmax:temperature=1", "dual-softmax:temperature=0.5|1"], "dual-softmax:temperature=1"),
        (["dual-softmax:temperature=0.5|1", "dual-softmax:temperature=2|1"], "dual-softmax:temperature=1"),
    ] {
        let expected = format!("eval.normalize: {twice:?} would be the name of two rows; leave one out");
        refused(same, &format!("[eval]\nnormalize = {rows:?}"), &expected);
    }
    let size = |bank: &str| format!("[eval]\nbank = {{ {bank} }}");
    refused(
        same,
        &size("texts = 0, videos = 1"),
        "eval.bank.texts = 0, but it must be from 1 to 48, what the training split has",
    );
    refused(same, &size("texts = 1, videos = 25"), "eval.bank.videos = 25, but it must be from 1 to 24");
    refused(
        same,
        "[eval.emcl]\nscope = \"bank\"",
        "eval.emcl.scope = \"bank\" needs training items; add eval.bank = { texts = ..., videos = ... }",
    );
    refused(pairwise, "[eval.emcl]\nscope = \"tiles\"", "eval.emcl works on one vector of each text");
    let layer = "mode = \"reference\"\nbases = 0\niterations = 4\nsigma = 1.0\nweight = 1.0";
    let layer = format!("[eval.emcl]\nscope = \"tiles\"\n[eval.emcl.layer]\n{layer}");
    refused(same, &layer, "[eval.emcl] emcl: bases = 0, but it must be a number above 0");
    let moving = layer.replace("bases = 0", "bases = 3\nitems = \"global\"");
    refused(same, &moving, "[eval.emcl] items = \"global\" is for training");
}
