//! Checkpoints in and out, and those that are broken.

mod made;
mod mutated;
mod published_sizes;
mod refusals;

use std::path::Path;

use burn::prelude::*;
use burn::tensor::Distribution;
use proptest::prelude::*;
use tempfile::TempDir;
use tvr_clip::saver::{self, Towers};
use tvr_clip::{Clip, ClipCheckpoint, ClipConfig, ClipError, EosRule, Precision, Tokenizer};

use crate::properties::alone;

/// A small model with a text tower for the captions' tokenizer.
fn small() -> (Clip, ClipConfig, Tokenizer) {
    let captions = ["a red square moves left", "a blue circle grows"].map(String::from);
    let tokenizer = Tokenizer::train_world(captions, 40).unwrap();
    let mut config = ClipConfig::world(tokenizer.vocabulary(), 12);
    config.image.layers = 2;
    config.image.hidden = 100;
    config.text.heads = 2;
    config.text.eos = EosRule::First(tokenizer.end());
    let device = Device::flex();
    device.seed(11);
    (config.init(&device).unwrap(), config, tokenizer)
}

/// A folder with that model.
fn folder() -> TempDir {
    let (clip, config, tokenizer) = small();
    let folder = tempfile::tempdir().unwrap();
    saver::save(Towers::Both(&clip, &config), folder.path()).unwrap();
    tokenizer.save(&folder.path().join("tokenizer.json")).unwrap();
    folder
}

fn pixels() -> Tensor<4> {
    Tensor::random([2, 3, 32, 32], Distribution::Normal(0.0, 1.0), &Device::flex())
}

fn ids() -> Tensor<2, Int> {
    Tensor::from_data([[3, 5, 7, 2, 0], [4, 4, 1, 6, 9]], &Device::flex())
}

#[track_caller]
fn refusal(folder: &Path) -> String {
    let message = ClipCheckpoint::open(folder).unwrap_err().to_string();
    let shown = format!("{}/", folder.display());
    assert!(message.starts_with(&shown), "{message}");
    message[shown.len()..].to_owned()
}

/// Changes a folder's config by replacing text.
fn edit(folder: &Path, from: &str, to: &str) {
    let path = folder.join("config.json");
    let text = std::fs::read_to_string(&path).unwrap();
    assert!(text.contains(from), "{from} is not in {text}");
    std::fs::write(&path, text.replacen(from, to, 1)).unwrap();
}

#[test]
fn what_is_saved_comes_back_bit_by_bit() {
    let _alone = alone();
    let (clip, config, tokenizer) = small();
    let folder = folder();
    let checkpoint = ClipCheckpoint::open(folder.path()).unwrap();
    let mut expected = config.clone();
    expected.image.positions = tvr_clip::PatchPositions::Normal; // how positions start is not part of a checkpoint
    assert_eq!(checkpoint.config().unwrap(), expected);
    let loaded = checkpoint.load(&Device::flex()).unwrap();
    let pixels = pixels();
    loaded
        .encode_images(pixels.clone())
        .into_data()
        .assert_eq(&clip.encode_images(pixels.clone()).into_data(), true);
    loaded.encode_texts(ids()).into_data().assert_eq(&clip.encode_texts(ids()).into_data(), true);
    loaded.logit_scale().into_data().assert_eq(&clip.logit_scale().into_data(), true);
    let found = checkpoint.tokenizer().unwrap().encode("a red circle", 12).unwrap();
    assert_eq!(found, tokenizer.encode("a red circle", 12).unwrap());

    // Each tower alone is a folder too.
    let one = tempfile::tempdir().unwrap();
    saver::save(Towers::Image(&clip.image, &config.image), one.path()).unwrap();
    saver::copy_beside(folder.path(), one.path()).unwrap();
    assert!(one.path().join("tokenizer.json").exists());
    let image =
        ClipCheckpoint::open(one.path()).unwrap().load_image(&Device::flex(), Precision::F32).unwrap();
    image.encode(pixels.clone()).into_data().assert_eq(&clip.encode_images(pixels).into_data(), true);
    saver::save(Towers::Text(&clip.text, &config.text), one.path()).unwrap();
    let text = ClipCheckpoint::open(one.path()).unwrap().load_text(&Device::flex(), Precision::F32).unwrap();
    let lengths = text.lengths(ids());
    text.encode(ids(), lengths).into_data().assert_eq(&clip.encode_texts(ids()).into_data(), true);
}

/// A folder of OpenCLIP's says in its own config how pixels are made; what is saved from it says the same.
#[test]
fn pixels_of_open_clip_go_along() {
    let _alone = alone();
    let (began, saved) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    made::open_clip(began.path());
    let read = |folder: &Path| tvr_clip::PreprocessorConfig::read(folder).unwrap();
    let clip = ClipCheckpoint::open(began.path()).unwrap();
    let towers = clip.load(&Device::flex()).unwrap();
    saver::save(Towers::Both(&towers, &clip.config().unwrap()), saved.path()).unwrap();
    saver::copy_beside(began.path(), saved.path()).unwrap();
    assert_eq!(read(saved.path()), read(began.path()));
    assert_eq!(ClipCheckpoint::open(saved.path()).unwrap().config().unwrap(), clip.config().unwrap());
}

/// What `transformers` asks of a file.
#[test]
fn the_scale_is_a_scalar_and_the_format_is_named() {
    let _alone = alone();
    let folder = folder();
    let bytes = std::fs::read(folder.path().join("model.safetensors")).unwrap();
    let (_, header) = safetensors::SafeTensors::read_metadata(&bytes).unwrap();
    assert_eq!(header.metadata().as_ref().unwrap()["format"], "pt");
    assert!(header.info("logit_scale").unwrap().shape.is_empty());
    assert_eq!(header.info("vision_model.embeddings.patch_embedding.weight").unwrap().shape, [64, 3, 8, 8]);
}

#[test]
fn loaded_towers_learn() {
    let _alone = alone();
    let folder = folder();
    let device = Device::flex().autodiff();
    let clip = ClipCheckpoint::open(folder.path()).unwrap().load(&device).unwrap();
    let images = clip.encode_images(Tensor::from_inner(pixels()));
    let texts = clip.encode_texts(Tensor::from_data([[3, 5, 7, 2, 0], [4, 4, 1, 6, 9]], &device));
    let loss = (texts.matmul(images.transpose()) * clip.logit_scale().reshape([1, 1])).square().sum();
    let gradients = burn::optim::GradientsParams::from_grads(loss.backward(), &clip);
    assert_eq!(gradients.len(), burn::module::list_param_ids(&clip).len());
}

#[test]
fn three_d_patches_start_as_two_d_and_are_not_saved() {
    let _alone = alone();
    let (clip, config, _) = small();
    let videos = Tensor::<5>::random([2, 3, 3, 32, 32], Distribution::Normal(0.0, 1.0), &Device::flex());
    let flat = clip.image.encode_videos(videos.clone());
    let patches = clip.image.encode_patches(videos.clone());
    let clip = Clip { image: clip.image.into_3d(), ..clip };
    let temporal = clip.image.encode_videos(videos.clone());
    clip.image
        .encode_patches(videos.clone())
        .into_data()
        .assert_approx_eq::<f32>(&patches.into_data(), burn::tensor::Tolerance::absolute(1e-5));
    temporal
        .into_data()
        .assert_approx_eq::<f32>(&flat.clone().into_data(), burn::tensor::Tolerance::absolute(1e-5));
    let one = clip.image.encode_videos(videos.slice([0..1, 1..2]));
    one.into_data().assert_approx_eq::<f32>(
        &flat.slice([0..1, 1..2]).into_data(),
        burn::tensor::Tolerance::absolute(1e-5),
    );
    let folder = tempfile::tempdir().unwrap();
    let error = saver::save(Towers::Both(&clip, &config), folder.path()).unwrap_err();
    assert!(matches!(error, ClipError::TemporalPatches));
    assert!(!folder.path().join("model.safetensors").exists());
}

/// General weights: frame `f` depends on frames `f-1`, `f` and `f+1` alone.
#[test]
fn p_c4_2_a_3d_frame_sees_its_neighbours_and_nobody_else() {
    let _alone = alone();
    let mut config = ClipConfig::world(50, 16);
    config.image.patches = tvr_clip::PatchMode::Temporal;
    config.image.layers = 1;
    let clip = config.init(&Device::flex()).unwrap();
    let frames = 5;
    let videos = Tensor::<5>::random([1, frames, 3, 32, 32], Distribution::Normal(0.0, 1.0), &Device::flex());
    let before = clip.image.encode_videos(videos.clone());
    let patches = clip.image.encode_patches(videos.clone());
    for changed in 0..frames {
        let other = Tensor::<5>::ones([1, 1, 3, 32, 32], &Device::flex());
        let others = videos.clone().slice_assign([0..1, changed..changed + 1], other);
        let moved = (clip.image.encode_videos(others.clone()) - before.clone()).abs().max_dim(2);
        let moved: Vec<f32> = moved.into_data().iter::<f32>().collect();
        for (frame, moved) in moved.into_iter().enumerate() {
            assert_eq!(moved > 0.0, frame.abs_diff(changed) <= 1, "frame {frame}, changed {changed}");
        }
        // And so do its patches.
        let moved = (clip.image.encode_patches(others) - patches.clone()).abs().max_dim(3).max_dim(2);
        for (frame, moved) in moved.into_data().iter::<f32>().enumerate() {
            assert_eq!(moved > 0.0, frame.abs_diff(changed) <= 1, "patches of {frame}, changed {changed}");
        }
    }
}

#[test]
fn half_precision_keeps_norms_and_codes_in_f32() {
    let _alone = alone();
    let folder = folder();
    let checkpoint = ClipCheckpoint::open(folder.path()).unwrap();
    let device = Device::flex();
    let exact = checkpoint.load(&device).unwrap();
    let pixels = pixels();
    // Rounding of 2^-11 and 2^-8 through two blocks, on codes near 1.
    for (precision, tolerance) in [(Precision::F16, 1e-2), (Precision::Bf16, 8e-2)] {
        let clip = checkpoint.load_as(&device, precision).unwrap();
        assert_eq!(clip.image.projection.weight.val().dtype(), precision.dtype());
        assert_eq!(clip.text.blocks[0].query.weight.val().dtype(), precision.dtype());
        for norm in [&clip.image.pre_norm, &clip.text.blocks[1].mlp_norm] {
            assert_eq!(norm.gamma.val().dtype(), burn::tensor::DType::F32);
        }
        let images = clip.encode_images(pixels.clone());
        assert_eq!(images.dtype(), burn::tensor::DType::F32);
        let error = (images - exact.encode_images(pixels.clone())).abs().max().into_scalar::<f32>();
        assert!(error > 0.0 && error < tolerance, "{precision:?}: {error}");
        let error = (clip.encode_texts(ids()) - exact.encode_texts(ids())).abs().max().into_scalar::<f32>();
        assert!(error > 0.0 && error < tolerance, "{precision:?}: {error}");
    }
}

#[test]
fn a_half_precision_stream_teaches_f32_weights() {
    let _alone = alone();
    let folder = folder();
    let checkpoint = ClipCheckpoint::open(folder.path()).unwrap();
    let device = Device::flex().autodiff();
    let pixels = Tensor::<4>::from_inner(pixels());
    let ids = Tensor::<2, Int>::from_inner(ids());
    let learned = |precision: Precision| {
        let mut clip = checkpoint.load(&device).unwrap();
        clip.image = clip.image.with_stream(precision);
        clip.text = clip.text.with_stream(precision);
        let stream = clip.text.embed(ids.clone()).dtype();
        assert_eq!(stream, precision.dtype());
        assert_eq!(clip.image.embed(pixels.clone(), 1).dtype(), stream);
        let codes = Tensor::cat(vec![clip.encode_images(pixels.clone()), clip.encode_texts(ids.clone())], 0);
        assert_eq!(codes.dtype(), burn::tensor::DType::F32);
        let mut gradients = (codes.clone() * codes.clone().detach().sin()).sum().backward();
        let weights = [&clip.image.patch_embedding, &clip.image.blocks[0].expand, &clip.text.blocks[1].query];
        let gradients = weights.map(|layer| layer.weight.val().grad_remove(&mut gradients).unwrap());
        (codes.inner(), gradients)
    };
    let (exact, exact_gradients) = learned(Precision::F32);
    for (precision, tolerance) in [(Precision::F16, 1e-2), (Precision::Bf16, 8e-2)] {
        let (codes, gradients) = learned(precision);
        let error = (codes - exact.clone()).abs().max().into_scalar::<f32>();
        assert!(error > 0.0 && error < tolerance, "{precision:?}: {error}");
        for (found, exact) in gradients.into_iter().zip(&exact_gradients) {
            assert_eq!(found.dtype(), burn::tensor::DType::F32);
            let size = exact.clone().square().sum().sqrt().into_scalar::<f32>();
            let error = (found - exact.clone()).square().sum().sqrt().into_scalar::<f32>() / size;
            assert!(error > 0.0 && error < tolerance, "{precision:?}: a gradient is off by {error}");
        }
    }
}
