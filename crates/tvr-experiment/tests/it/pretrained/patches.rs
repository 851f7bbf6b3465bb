//! `encoder.frame_tokens = "patches"`: frozen towers, trained ones, and feature files.

use tvr_data::Sampler;
use tvr_experiment::encode::{self, Captions, Pictures, Request};
use tvr_experiment::recipe::FrameTokens;

use super::*;

const TOKEN_WISE: &str = "kind = \"token-wise\"\nweight_layers = 0\nmask = \"exclude\"";

/// Patches of the checkpoint's pictures.
const PATCHES: usize = 16;

/// The recipe at rates at which nothing moves: the matrix is that of the checkpoint.
fn still(folder: &Path, encoder: &str, head: &str) -> Recipe {
    let mut recipe = recipe(folder, encoder, head);
    recipe.set("train.optimizer.learning_rate", "1e-30").unwrap();
    recipe.set("train.optimizer.tower_learning_rate", "1e-30").unwrap();
    recipe.set("train.optimizer.weight_decay", "0.0").unwrap();
    recipe
}

/// Encodes the list with its captions into `NAME/features.safetensors`.
fn encoded(folder: &Path, name: &str, frame_tokens: FrameTokens) {
    let request = Request {
        weights: folder.join("weights").to_str().unwrap().to_owned(),
        processor: None,
        texts: Some(Captions::OfList),
        pictures: Some(Pictures::Videos {
            manifest: folder.join("clips.jsonl"),
            store: folder.join("store"),
            sampler: "segments:4,offset=centre".parse::<Sampler>().unwrap(),
        }),
        out: folder.join(name).join("features.safetensors"),
        batch: 5,
        device: "flex".into(),
        precision: Precision::F32,
        tokens: false,
        frame_tokens,
        skip_bad: false,
        shard: None,
        resume: false,
    };
    let report = encode::encode(&request, &AtomicBool::new(false), &mut |_| ()).unwrap();
    let patches = (frame_tokens == FrameTokens::Patches).then_some(PATCHES);
    assert_eq!((report.videos, report.frames, report.patches, report.texts), (16, 64, patches, 32));
}

/// A recipe over a feature folder in place of the list.
fn over_features(recipe: &Recipe, folder: &Path, name: &str) -> Recipe {
    let text = recipe.to_toml().unwrap();
    let mut table: toml::Table = text.parse().unwrap();
    let path = folder.join(name).to_str().unwrap().to_owned();
    let data = toml::Table::from_iter([("kind".into(), "features".into()), ("path".into(), path.into())]);
    table.insert("data".into(), data.into());
    Recipe::parse(&table.to_string()).unwrap()
}

#[test]
fn patches_of_the_store_of_a_tower_and_of_a_feature_file_give_one_matrix() {
    let _alone = generator();
    let root = root();
    let folder = root.path();
    let logits = |recipe: &Recipe| run(&planned(folder, recipe, "runs").unwrap()).0.test.logits;
    let cached = logits(&still(folder, "frame_tokens = \"patches\"", TOKEN_WISE));
    assert_eq!(cached.dim(), (4, 4));
    let trained = "frame_tokens = \"patches\"\nframes = \"trained\"";
    encoded(folder, "features", FrameTokens::Patches);
    let of_file = over_features(&still(folder, "frame_tokens = \"patches\"", TOKEN_WISE), folder, "features");
    for recipe in [
        still(folder, trained, TOKEN_WISE),
        still(folder, &format!("{trained}\npatches = \"3d\""), TOKEN_WISE),
        of_file,
    ] {
        let found = logits(&recipe);
        let largest = (&found - &cached).iter().fold(0f32, |most, value| most.max(value.abs()));
        assert!(largest < 1e-3, "{largest}"); // of logits, the scale is 14
    }
    let frames = logits(&still(folder, "", TOKEN_WISE));
    let apart = (&frames - &cached).iter().fold(0f32, |most, value| most.max(value.abs()));
    assert!(apart > 0.05, "patches score as frames do, and the test sees nothing: {apart}");
    // Patches and frames of one clip lie in one store, each under a key of its own.
    let store = tvr_data::Store::open(&folder.join("store")).unwrap().stat();
    assert_eq!((store.frames, store.features), (16, 32));
}

#[test]
fn a_tower_learns_through_its_patches() {
    let _alone = generator();
    let root = root();
    let checkpoint = ClipCheckpoint::open(&root.path().join("weights")).unwrap();
    let clip = checkpoint.load(&Device::flex()).unwrap();
    let before = weights(&clip.image, "video.tower.", root.path());
    let recipe = recipe(root.path(), "frames = \"trained\"\nframe_tokens = \"patches\"", TOKEN_WISE);
    let (_, after) = run(&planned(root.path(), &recipe, "runs").unwrap());
    assert_eq!(moved(&before, &after).len(), before.len());
}

#[test]
fn what_does_not_fit_patches_is_refused_by_its_key() {
    let root = root();
    let folder = root.path();
    let refused = |recipe: &Recipe| {
        let error = planned(folder, recipe, "runs").unwrap_err();
        assert_eq!(error.exit_code(), 2, "{error}");
        error.to_string()
    };
    let patches = recipe(folder, "frame_tokens = \"patches\"", TOKEN_WISE);
    assert_eq!(planned(folder, &patches, "runs").unwrap().offer.frames, 4 * PATCHES);
    let time = "[head] reads the order of frames as time, but a frame is given as its 16 patches, which have no order \
                in time; choose a head that takes a set, such as \"token-wise\", or one vector a frame";
    let ordered = recipe(folder, "frame_tokens = \"patches\"", "kind = \"seq-lstm\"");
    assert_eq!(refused(&ordered), format!("clip.toml: {time}"));

    encoded(folder, "patches", FrameTokens::Patches);
    encoded(folder, "frames", FrameTokens::Class);
    assert!(planned(folder, &over_features(&patches, folder, "patches"), "runs").is_ok());
    assert_eq!(refused(&over_features(&ordered, folder, "patches")), format!("clip.toml: {time}"));
    assert_eq!(
        refused(&over_features(&patches, folder, "frames")),
        format!(
            "clip.toml: {}: holds one vector a frame, but encoder.frame_tokens = \"patches\"; encode it with --patches",
            folder.join("frames").display()
        )
    );
    let class = recipe(folder, "", TOKEN_WISE);
    assert_eq!(
        refused(&over_features(&class, folder, "patches")),
        format!(
            "clip.toml: {}: holds 16 patches a frame; set encoder.frame_tokens = \"patches\"",
            folder.join("patches").display()
        )
    );
    // A feature file needs no image tower beside it.
    let checkpoint = ClipCheckpoint::open(&folder.join("weights")).unwrap();
    let clip = checkpoint.load(&Device::flex()).unwrap();
    let text_only = folder.join("text-only");
    saver::save(Towers::Text(&clip.text, checkpoint.text_config().unwrap()), &text_only).unwrap();
    std::fs::copy(folder.join("weights/tokenizer.json"), text_only.join("tokenizer.json")).unwrap();
    let mut bare = over_features(&patches, folder, "patches");
    bare.set("encoder.weights", text_only.to_str().unwrap()).unwrap();
    assert_eq!(planned(folder, &bare, "runs").unwrap().offer.patches, Some(PATCHES));
    // And an encoder without any tower takes what its file has.
    let mut table: toml::Table = over_features(&class, folder, "patches").to_toml().unwrap().parse().unwrap();
    let words = "kind = \"words\"\nwidth = 8".parse::<toml::Table>().unwrap();
    table.insert("encoder".into(), words.into());
    let words = Recipe::parse(&table.to_string()).unwrap();
    assert_eq!(planned(folder, &words, "runs").unwrap().offer.patches, Some(PATCHES));
    let ordered = table.to_string().replace("token-wise", "seq-lstm");
    let ordered = ordered.replace("weight_layers = 0\n", "").replace("mask = \"exclude\"\n", "");
    assert_eq!(refused(&Recipe::parse(&ordered).unwrap()), format!("clip.toml: {time}"));
}
