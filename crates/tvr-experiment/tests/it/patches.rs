//! Patches as small frames: what an encoder gives of them, what padding does not do, and which recipes are refused.

use std::path::Path;

use burn::prelude::*;
use burn::tensor::Tolerance;
use tvr_experiment::recipe::ObjectiveRecipe;
use tvr_experiment::{Recipe, Surroundings, plan};
use tvr_heads::{Head, Needs, Tile, VideoFeatures, score_all};
use tvr_objectives::SymmetricConfig;

use crate::mixing::{Encoder, VIDEOS, heads, reason};
use crate::run::generator;

/// Patches of a picture of [`Encoder::Patches`].
const PATCHES: usize = 4;

#[test]
fn a_frame_is_the_tower_s_patches_and_a_padding_frame_s_are_not_real() {
    let _alone = generator();
    let device = Device::flex();
    device.seed(5);
    let (_, mut video) = Encoder::Patches.encoders(&device);
    let corpus = Encoder::Patches.corpus();
    let all: Vec<usize> = (0..VIDEOS).collect();
    let features = corpus.video_features(&all, None, &Needs::default(), &device).unwrap();
    let [videos, frames, _] = features.frames.dims();
    let tower = video.tower.clone().unwrap();
    let tokens = tower.encode_tokens(features.frames.clone().reshape([videos * frames, 3, 4, 4]));
    let [_, _, width] = tokens.dims();
    let expected = tokens.narrow(1, 1, PATCHES).reshape([videos, frames * PATCHES, width]);

    let found = video.encode(features.clone());
    let close = Tolerance::absolute(1e-5); // f32, one block
    found.frames.into_data().assert_approx_eq::<f32>(&expected.clone().into_data(), close);
    let repeated: Vec<bool> =
        corpus.mask.iter().flat_map(|&real| std::iter::repeat_n(real, PATCHES)).collect();
    assert_eq!(found.mask.into_data().iter::<bool>().collect::<Vec<_>>(), repeated);
    assert_eq!(repeated.iter().filter(|&&real| !real).count(), PATCHES, "one frame is padding");
    video.unit = true;
    let unit = tvr_nn::unit_rows(expected).into_data();
    video.encode(features).frames.into_data().assert_approx_eq::<f32>(&unit, close);
}

#[test]
fn padding_frames_contribute_nothing_to_any_head_over_patches() {
    let _alone = generator();
    let device = Device::flex();
    let (corpus, offer) = (Encoder::Patches.corpus(), Encoder::Patches.offer());
    let symmetric = ObjectiveRecipe::Symmetric(SymmetricConfig::ours());
    let videos: Vec<usize> = (0..VIDEOS).collect();
    let mut seen = 0;
    for recipe in heads().iter().filter(|recipe| recipe.emcl.is_none()) {
        if reason(Encoder::Patches, recipe, &symmetric).is_some() {
            continue;
        }
        seen += 1;
        device.seed(3);
        let head = recipe.init(&offer, &device).unwrap();
        let (text, video) = Encoder::Patches.encoders(&device);
        let needs = head.needs();
        let texts = head.code_texts(text.encode(&corpus, &corpus.queries, &needs, &device));
        let scores = |features: VideoFeatures| {
            let videos = head.code_videos(video.encode(features));
            score_all(&head, &texts, &videos, Tile::DEFAULT).unwrap()
        };
        let features = corpus.video_features(&videos, None, &needs, &device).unwrap();
        let [_, _, width] = features.frames.dims();
        let expected = scores(features.clone());
        // Other pictures where there is padding, and one more padding frame for every video.
        let hidden = features.mask.clone().bool_not().unsqueeze_dim::<3>(2).expand(features.frames.dims());
        let more = Tensor::<3>::full([VIDEOS, 1, width], 3.0, &device);
        let unreal = Tensor::<2, Int>::zeros([VIDEOS, 1], &device).bool();
        let padded = VideoFeatures::new(
            Tensor::cat(vec![features.frames.mask_fill(hidden, 0.7), more], 1),
            tvr_nn::cat_masks(vec![features.mask, unreal], 1),
        );
        let found = scores(padded);
        // f32 sums of a few dozen terms in another order.
        found.into_data().assert_approx_eq::<f32>(&expected.into_data(), Tolerance::absolute(1e-5));
    }
    assert_eq!(seen, 5, "mean pooling twice, conditioned, X-Pool, token-wise");
}

#[test]
fn a_recipe_without_patches_keeps_its_hash_and_one_with_them_says_so() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../recipes/world-patches.toml");
    let recipe = Recipe::read(&path).unwrap();
    assert!(recipe.to_toml().unwrap().contains("frame_tokens = \"patches\""));
    let mut usual = recipe.clone();
    usual.set("encoder.frame_tokens", "class").unwrap();
    assert!(!usual.to_toml().unwrap().contains("frame_tokens"), "recipes of before have no such line");
    assert_ne!(usual.hash().unwrap(), recipe.hash().unwrap());
}

#[test]
fn the_world_s_patches_want_a_trained_tower_and_a_head_over_a_set() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../recipes/world-patches.toml");
    let recipe = Recipe::read(&path).unwrap();
    let planned = |recipe: &Recipe| plan(recipe, Path::new("x.toml"), &Surroundings::default());
    let offer = planned(&recipe).unwrap().offer;
    assert_eq!((offer.frames, offer.patches), (8 * 16, Some(16)));
    let refused = |recipe: &Recipe| {
        let error = planned(recipe).unwrap_err();
        assert_eq!(error.exit_code(), 2, "{error}");
        error.to_string()
    };
    let mut cached = recipe.clone();
    cached.set("encoder.frames", "cached").unwrap();
    assert_eq!(
        refused(&cached),
        "x.toml: encoder.frame_tokens = \"patches\", but the world's cache holds one vector a frame; use \
         encoder.frames = \"trained\""
    );
    let ordered = std::fs::read_to_string(&path).unwrap();
    let head = ordered.split("[head]").nth(1).unwrap().split("[objective]").next().unwrap();
    for other in [
        "kind = \"seq-lstm\"",
        "kind = \"seq-transf\"\nlayers = 1\nheads = 2\nmax_frames = 128",
        "kind = \"tight-transf\"\nlayers = 1\nheads = 2\nmax_frames = 128\ndropout = 0.0",
    ] {
        let recipe = Recipe::parse(&ordered.replace(head, &format!("\n{other}\n\n"))).unwrap();
        assert_eq!(
            refused(&recipe),
            "x.toml: [head] reads the order of frames as time, but a frame is given as its 16 patches, which have no \
             order in time; choose a head that takes a set, such as \"token-wise\", or one vector a frame"
        );
    }
}
