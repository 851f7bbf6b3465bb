//! `encoder.kind = "clip"`: a checkpoint's towers over videos and over a feature file, frozen and trained, and heads
//! that start from its text tower.

mod patches;
mod store;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use burn::module::Module;
use burn::prelude::*;
use tvr_clip::saver::{self, Towers};
use tvr_clip::{ClipCheckpoint, ClipConfig, EosRule, Precision, Tokenizer};
use tvr_experiment::offer::Offer;
use tvr_experiment::pretrained::Pretrained;
use tvr_experiment::recipe::{BuiltHead, PlainHead};
use tvr_experiment::{Event, ExperimentError, Own, Plan, Recipe, Surroundings, checkpoint, experiment, plan};

use crate::run::generator;

const RECIPE: &str = r#"
name = "clip"
seeds = [3]
[data]
kind = "videos"
manifest = "ROOT/clips.jsonl"
store = "ROOT/store"
sampler = "segments:4,offset=centre"
[encoder]
kind = "clip"
weights = "ROOT/weights"
context = 24
[head]
kind = "mean-pooling"
[objective]
kind = "symmetric"
[train]
batch = 4
epochs = 2
evaluations = 1
[train.optimizer]
kind = "adamw"
learning_rate = 1e-2
tower_learning_rate = 1e-3
"#;

const TIGHT_TRANSF: &str = "kind = \"tight-transf\"\nlayers = 2\nheads = 2\nmax_frames = 4\ndropout = 0.1";

const SEQ_TRANSF: &str = "kind = \"seq-transf\"\nlayers = 2\nheads = 2\nmax_frames = 4";

/// Width of the joint space, and of the text tower.
const WIDTH: usize = 8;

const COLOURS: [(&str, [u8; 3]); 5] = [
    ("red", [220, 30, 20]),
    ("green", [20, 200, 40]),
    ("blue", [10, 40, 230]),
    ("white", [240, 240, 240]),
    ("black", [9, 9, 9]),
];

/// Eight videos to train on, four for each of the other splits, as folders of frames; and a checkpoint of random
/// weights whose joint space is as wide as its text tower.
fn root() -> tempfile::TempDir {
    let root = tempfile::tempdir().unwrap();
    let folder = root.path();
    let (mut list, mut captions) = (String::new(), Vec::new());
    for video in 0..16u32 {
        let (name, colour) = COLOURS[video as usize % 5];
        let frames = folder.join(format!("clips/{video}"));
        std::fs::create_dir_all(&frames).unwrap();
        for frame in 0..3 + video % 2 {
            let square = |x: u32, y: u32| {
                let inside = x / 8 == (frame + video) % 5 && y / 8 == video / 4;
                image::Rgb(if inside { colour } else { [90, (9 * video) as u8, (20 * frame) as u8] })
            };
            image::RgbImage::from_fn(40, 36, square).save(frames.join(format!("{frame}.png"))).unwrap();
        }
        let split = ["train", "train", "val", "test"][video as usize / 4];
        let said = [format!("a {name} square in row {}", video / 4), format!("{name} on number {video}")];
        let row = serde_json::json!({
            "id": format!("v{video}"), "path": format!("clips/{video}"), "captions": said, "split": split,
        });
        list.push_str(&format!("{row}\n"));
        captions.extend(said);
    }
    std::fs::write(folder.join("clips.jsonl"), list).unwrap();

    let weights = folder.join("weights");
    let tokenizer = Tokenizer::train_world(captions, 40).unwrap();
    let mut config = ClipConfig::world(tokenizer.vocabulary(), 24);
    (config.joint, config.text.width, config.text.heads, config.text.hidden) = (WIDTH, WIDTH, 2, 4 * WIDTH);
    config.text.eos = EosRule::First(tokenizer.end());
    let device = Device::flex();
    device.seed(1);
    saver::save(Towers::Both(&config.init(&device).unwrap(), &config), &weights).unwrap();
    tokenizer.save(&weights.join("tokenizer.json")).unwrap();
    let pixels = r#"{"size": 32, "crop_size": 32, "resample": 3, "do_resize": true, "do_center_crop": true,
        "do_normalize": true, "image_mean": [0.5, 0.5, 0.4], "image_std": [0.3, 0.3, 0.3]}"#;
    std::fs::write(weights.join("preprocessor_config.json"), pixels).unwrap();
    root
}

/// The recipe with lines of `[encoder]` added, and another head.
fn recipe(folder: &Path, encoder: &str, head: &str) -> Recipe {
    let text = RECIPE
        .replace("ROOT", folder.to_str().unwrap())
        .replace("context = 24", &format!("context = 24\n{encoder}"))
        .replace("kind = \"mean-pooling\"", head);
    Recipe::parse(&text).unwrap()
}

fn planned(folder: &Path, recipe: &Recipe, runs: &str) -> Result<Plan, ExperimentError> {
    let (runs, cache) = (folder.join(runs), folder.join("cache"));
    plan(recipe, Path::new("clip.toml"), &Surroundings { runs, cache, device: "flex".into() })
}

/// Trains anew; the record, and all weights at the end by their paths.
fn run(plan: &Plan) -> (experiment::Outcome, BTreeMap<String, Vec<f32>>) {
    let never = AtomicBool::new(false);
    let _ = std::fs::remove_dir_all(plan.run_folder(3));
    let opened = experiment::open(plan, &never, &mut |_| ()).unwrap();
    let outcome = experiment::run(plan, &opened, &Own::built_in(), 3, false, &never, &mut |_| ()).unwrap();
    (outcome, tensors(&plan.run_folder(3).join("model.safetensors")))
}

fn tensors(path: &Path) -> BTreeMap<String, Vec<f32>> {
    let bytes = std::fs::read(path).unwrap();
    let file = safetensors::SafeTensors::deserialize(&bytes).unwrap();
    let values =
        |data: &[u8]| data.chunks_exact(4).map(|b| f32::from_le_bytes(b.try_into().unwrap())).collect();
    file.tensors().into_iter().map(|(name, view)| (name, values(view.data()))).collect()
}

/// A module's weights by their paths.
fn weights(module: &impl Module, prefix: &str, folder: &Path) -> BTreeMap<String, Vec<f32>> {
    let path = folder.join("module.safetensors");
    checkpoint::export(module, &path).unwrap();
    tensors(&path).into_iter().map(|(name, values)| (format!("{prefix}{name}"), values)).collect()
}

/// Paths whose values are another than before.
fn moved<'a>(before: &'a BTreeMap<String, Vec<f32>>, after: &BTreeMap<String, Vec<f32>>) -> Vec<&'a str> {
    before.iter().filter(|(path, values)| after[*path] != **values).map(|(path, _)| path.as_str()).collect()
}

#[test]
fn what_is_frozen_stays_and_everything_else_moves() {
    let _alone = generator();
    let root = root();
    let checkpoint = ClipCheckpoint::open(&root.path().join("weights")).unwrap();
    let clip = checkpoint.load(&Device::flex()).unwrap();
    let text = weights(&clip.text, "text.tower.", root.path());
    let image = weights(&clip.image, "video.tower.", root.path());
    let before: BTreeMap<String, Vec<f32>> = text.clone().into_iter().chain(image).collect();
    let after = |encoder: &str| {
        run(&planned(root.path(), &recipe(root.path(), encoder, "kind = \"mean-pooling\""), "runs").unwrap())
    };

    let (outcome, cached) = after("");
    assert_eq!(moved(&text, &cached).len(), text.len());
    assert!(!cached.keys().any(|path| path.starts_with("video.")), "{:?}", cached.keys());
    assert_eq!(outcome.record.weights, Some(checkpoint.sha256()));
    let scale = outcome.record.metric("raw.text_to_video.MnR");
    assert!(scale.is_some_and(|rank| (1.0..=4.0).contains(&rank)));

    let (_, frozen) = after("text = \"frozen\"");
    assert_eq!(moved(&text, &frozen), Vec::<&str>::new());
    assert!(!root.path().join("runs/clip-3/clip").exists(), "nothing was trained");

    let (_, trained) = after("frames = \"trained\"");
    assert_eq!(moved(&before, &trained).len(), before.len());
    // What was trained lies beside the run as a checkpoint, from which the next run may start.
    let out = root.path().join("runs/clip-3/clip");
    let saved = ClipCheckpoint::open(&out).unwrap();
    let clip = saved.load(&Device::flex()).unwrap();
    assert_eq!(moved(&weights(&clip.text, "text.tower.", root.path()), &trained), Vec::<&str>::new());
    assert_eq!(moved(&weights(&clip.image, "video.tower.", root.path()), &trained), Vec::<&str>::new());
    assert_eq!(saved.logit_scale().unwrap(), Some(trained["logit_scale"][0]));
    assert!(saved.tokenizer().is_ok() && out.join("preprocessor_config.json").exists());

    // P-C4-5: CLIP4Clip's 0 freezes exactly seven parameters.
    let stem = ["patch_embedding.", "class", "positions", "pre_norm.", "token_embedding."];
    for (frozen_blocks, first) in [("0", &[][..]), ("1", &["blocks.0."])] {
        let (_, partly) = after(&format!("frames = \"trained\"\nfrozen_blocks = {frozen_blocks}"));
        let stayed: Vec<&String> = before.keys().filter(|path| partly[*path] == before[*path]).collect();
        let is_first = |path: &str| {
            let path = path.split_once(".tower.").unwrap().1;
            stem.iter().chain(first).any(|start| path.starts_with(start))
        };
        let expected: Vec<&String> = before.keys().filter(|path| is_first(path)).collect();
        assert_eq!(stayed, expected);
        assert!(frozen_blocks != "0" || stayed.len() == 7, "{stayed:?}");
    }
}

/// A folder that were half there would be taken for a checkpoint.
#[test]
fn trained_towers_of_which_a_file_cannot_be_written_leave_no_folder() {
    let _alone = generator();
    let root = root();
    // What goes along last, and is no file that could be copied.
    std::fs::create_dir(root.path().join("weights/special_tokens_map.json")).unwrap();
    let plan = planned(root.path(), &recipe(root.path(), "", "kind = \"mean-pooling\""), "runs").unwrap();
    let never = AtomicBool::new(false);
    let opened = experiment::open(&plan, &never, &mut |_| ()).unwrap();
    let ran = experiment::run(&plan, &opened, &Own::built_in(), 3, false, &never, &mut |_| ());
    let error = ran.unwrap_err().to_string();
    assert!(error.contains("special_tokens_map.json: cannot write it"), "{error}");
    let left = std::fs::read_dir(plan.run_folder(3)).unwrap().map(|entry| entry.unwrap().file_name());
    let left: Vec<_> = left.filter(|name| name.to_string_lossy().starts_with("clip")).collect();
    assert!(left.is_empty(), "{left:?}");
}

#[test]
fn two_devices_share_batches_of_cached_frames_and_of_a_store_s() {
    let _alone = generator();
    let root = root();
    for encoder in ["", "frames = \"trained\"\nfrozen_blocks = 2"] {
        let recipe = recipe(root.path(), encoder, "kind = \"mean-pooling\"");
        // Two devices come first: they fill the store.
        let [several, one] = ["flex:2", "flex"].map(|devices| {
            let (runs, cache) = (root.path().join(devices), root.path().join("cache"));
            let surroundings = Surroundings { runs, cache, device: devices.into() };
            let plan = plan(&recipe, Path::new("clip.toml"), &surroundings).unwrap();
            run(&plan);
            let log = std::fs::read_to_string(plan.run_folder(3).join("steps.jsonl")).unwrap();
            let line = |line: &str| serde_json::from_str::<serde_json::Value>(line).unwrap();
            log.lines().map(|text| line(text)["loss"].as_f64().unwrap()).collect::<Vec<f64>>()
        });
        assert_eq!((several.len(), one.len()), (4, 4));
        for (found, expected) in several.iter().zip(&one) {
            // Sums of f32 in another order, carried through steps of AdamW.
            assert!((found - expected).abs() < 1e-3, "{encoder}: {several:?} {one:?}");
        }
    }
}

#[test]
fn an_interrupted_run_of_partly_frozen_towers_ends_with_the_same_weights() {
    let _alone = generator();
    let root = root();
    let recipe =
        recipe(root.path(), "frames = \"trained\"\nfrozen_blocks = 2\nstart_from_tower = true", SEQ_TRANSF);
    let straight = planned(root.path(), &recipe, "straight").unwrap();
    let (_, expected) = run(&straight);
    let broken = planned(root.path(), &recipe, "broken").unwrap();
    let (stop, never) = (AtomicBool::new(false), AtomicBool::new(false));
    let opened = experiment::open(&broken, &never, &mut |_| ()).unwrap();
    let mut listen = |event: Event| {
        if let Event::Step { done: 2, .. } = event {
            stop.store(true, Ordering::Relaxed);
        }
    };
    let error = experiment::run(&broken, &opened, &Own::built_in(), 3, true, &stop, &mut listen).unwrap_err();
    assert!(matches!(error, ExperimentError::Interrupted { .. }), "{error}");
    experiment::run(&broken, &opened, &Own::built_in(), 3, true, &never, &mut |_| ()).unwrap();
    assert_eq!(tensors(&broken.run_folder(3).join("model.safetensors")), expected);
}

#[test]
fn a_temporal_head_starts_as_a_copy_of_the_text_tower_and_the_scale_as_the_checkpoint_s() {
    let root = root();
    let recipe = recipe(root.path(), "", SEQ_TRANSF);
    let pretrained = Pretrained::open(&recipe.encoder, &mut |_| ()).unwrap().unwrap();
    let device = Device::flex();
    let tower = pretrained.checkpoint().load_text(&device, Precision::F32).unwrap();
    let offer = Offer::of(&recipe, Some(&pretrained)).unwrap();
    assert_eq!((offer.width, offer.frames, offer.train_videos, offer.train_texts), (WIDTH, 4, 8, 16));
    let built = recipe.head.init_from_tower(&offer, &tower, &device).unwrap();
    let BuiltHead::Plain(PlainHead::SeqTransf(head)) = built else { panic!("another head") };
    for (ours, theirs) in head.blocks.iter().zip(&tower.blocks) {
        ours.query.weight.val().into_data().assert_eq(&theirs.query.weight.val().into_data(), true);
        ours.contract.weight.val().into_data().assert_eq(&theirs.contract.weight.val().into_data(), true);
    }
    head.positions.val().into_data().assert_eq(&tower.positions.val().narrow(0, 0, 4).into_data(), true);

    // The tight head's sequence is the text's place and the frames'.
    let tight = self::recipe(root.path(), "", TIGHT_TRANSF);
    let built = tight.head.init_from_tower(&offer, &tower, &device).unwrap();
    let BuiltHead::Plain(PlainHead::TightTransf(head)) = built else { panic!("another head") };
    for (ours, theirs) in head.blocks.iter().zip(&tower.blocks) {
        ours.query.weight.val().into_data().assert_eq(&theirs.query.weight.val().into_data(), true);
        ours.contract.weight.val().into_data().assert_eq(&theirs.contract.weight.val().into_data(), true);
    }
    let [places, _] = head.positions.dims();
    let theirs = tower.positions.val().narrow(0, 0, places).into_data();
    head.positions.val().into_data().assert_eq(&theirs, true);
    let plan = planned(root.path(), &recipe, "runs").unwrap();
    let scale = plan.recipe.train.initial_scale.unwrap();
    assert!(
        (scale - pretrained.scale().unwrap().unwrap()).abs() < 1e-12 && (scale - 1.0 / 0.07).abs() < 1e-5
    );
}

/// What the README shows is a recipe.
#[test]
fn the_recipe_of_the_readme_can_be_read() {
    let readme = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../README.md");
    let readme = std::fs::read_to_string(readme).unwrap();
    let block = readme.split("```toml\n").find(|block| block.contains("kind = \"clip\"")).unwrap();
    let recipe = Recipe::parse(block.split("```").next().unwrap()).unwrap();
    assert_eq!(recipe.encoder.kind(), "clip");
}

#[test]
fn towers_of_bf16_learn_nearly_the_same_in_f32_weights() {
    let root = root();
    let folder = root.path();
    let plain = recipe(folder, "frames = \"trained\"", "kind = \"mean-pooling\"");
    let trained = |precision: &str| {
        let mut recipe = plain.clone();
        recipe.set("train.precision", precision).unwrap();
        run(&planned(folder, &recipe, precision).unwrap()).1
    };
    let (exact, narrow) = (trained("f32"), trained("bf16"));
    let (mut moved, mut apart) = (0.0, 0.0);
    let start = weights(
        &ClipCheckpoint::open(&folder.join("weights")).unwrap().load(&Device::flex()).unwrap(),
        "",
        folder,
    );
    for (path, values) in start.iter().filter(|(path, _)| path.contains("expand.weight")) {
        let (tower, rest) = path.split_once('.').unwrap();
        let tower = if tower == "image" { "video" } else { tower };
        let path = format!("{tower}.tower.{rest}");
        for ((exact, narrow), start) in exact[&path].iter().zip(&narrow[&path]).zip(values) {
            moved += f64::from(exact - start).powi(2);
            apart += f64::from(exact - narrow).powi(2);
        }
    }
    assert!(apart > 0.0 && apart.sqrt() < 0.5 * moved.sqrt(), "{} of {}", apart.sqrt(), moved.sqrt());
}

#[test]
fn what_does_not_fit_is_refused_by_its_key() {
    let root = root();
    let folder = root.path();
    let refusal = |recipe: &Recipe| planned(folder, recipe, "runs").unwrap_err().to_string();
    let plain = |encoder: &str| recipe(folder, encoder, "kind = \"mean-pooling\"");
    let set = |key: &str, value: &str| {
        let mut recipe = plain("");
        recipe.set(key, value).unwrap();
        refusal(&recipe)
    };
    assert_eq!(
        set("encoder.context", "25"),
        "clip.toml: encoder.context = 25, but the checkpoint's text tower takes from 2 to 24 tokens"
    );
    assert_eq!(
        set("encoder.weights", "nowhere"),
        "clip.toml: nowhere: no such folder, and no name of the form OWNER/NAME on the Hugging Face hub"
    );
    assert_eq!(
        set("encoder.frozen_blocks", "3"),
        "clip.toml: encoder.frozen_blocks = 3, but the deepest trained tower has 2 blocks"
    );
    assert_eq!(
        set("encoder.patches", "3d"),
        "clip.toml: encoder.patches = \"3d\" starts equal to 2d and learns from there; use frames = \"trained\""
    );
    assert_eq!(
        set("data.sampler", "all"),
        "clip.toml: data.sampler = \"all\" takes as many frames as a clip has; a run wants a fixed number, as \
         \"rate:1,frames=12,cut=uniform\""
    );
    assert_eq!(
        set("train.precision", "f16"),
        "clip.toml: train.precision = \"f16\", in which small gradients vanish; take \"bf16\" or \"f32\""
    );
    assert_eq!(
        refusal(&recipe(folder, "", &SEQ_TRANSF.replace("heads = 2", "heads = 4"))),
        "clip.toml: [head] its temporal transformer has heads = 4, but the text tower that its blocks start as has 2; encoder.start_from_tower = \
         false starts them at random"
    );
    let deep = SEQ_TRANSF.replace("layers = 2", "layers = 3");
    let found = refusal(&recipe(folder, "", &deep));
    assert!(found.ends_with("; encoder.start_from_tower = false starts it at random"), "{found}");
    assert!(planned(folder, &recipe(folder, "start_from_tower = false", &deep), "runs").is_ok());

    let list = std::fs::read_to_string(folder.join("clips.jsonl")).unwrap();
    std::fs::write(folder.join("other.jsonl"), list.replace("\"val\"", "\"validation\"")).unwrap();
    let other = folder.join("other.jsonl");
    let found = set("data.manifest", other.to_str().unwrap());
    assert_eq!(
        found,
        format!(
            "clip.toml: {}: has no video whose split is \"val\"; a run trains on train, chooses on val and is \
             judged on test",
            other.display()
        )
    );
    std::fs::write(&other, list.replace("clips/12", "clips/gone")).unwrap();
    let mut gone = plain("");
    gone.set("data.manifest", other.to_str().unwrap()).unwrap();
    let plan = planned(folder, &gone, "runs").unwrap();
    let error = experiment::open(&plan, &AtomicBool::new(false), &mut |_| ()).err().unwrap().to_string();
    assert!(error.contains("\"v12\"") && error.contains("take it out of its split"), "{error}");
}
