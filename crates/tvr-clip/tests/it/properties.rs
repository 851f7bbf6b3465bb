//! Towers: counts, batches, padding, seeds.

use std::sync::{Mutex, MutexGuard, PoisonError};

use burn::prelude::*;
use burn::tensor::{Distribution, Tolerance};
use tvr_clip::{Clip, ClipConfig, EosRule};

/// flex has one generator per process: a test that draws weights holds this from its first line to its last.
pub fn alone() -> MutexGuard<'static, ()> {
    static GENERATOR: Mutex<()> = Mutex::new(());
    GENERATOR.lock().unwrap_or_else(PoisonError::into_inner)
}

fn world(seed: u64) -> Clip {
    let device = Device::flex();
    device.seed(seed);
    ClipConfig::world(50, 16).init(&device).unwrap()
}

fn pixels(images: usize) -> Tensor<4> {
    Tensor::random([images, 3, 32, 32], Distribution::Normal(0.0, 1.0), &Device::flex())
}

#[track_caller]
fn assert_close<const D: usize>(found: Tensor<D>, expected: Tensor<D>) {
    found.into_data().assert_approx_eq::<f32>(&expected.into_data(), Tolerance::rel_abs(1e-5, 2e-5)); // three blocks
}

/// ViT-B/32 and ViT-B/16 as OpenAI's checkpoints have them, logit scale included.
#[test]
fn presets_have_the_published_number_of_parameters() {
    let _alone = alone();
    let clip = ClipConfig::vit_b_32().init(&Device::flex()).unwrap();
    assert_eq!(clip.num_params(), 151_277_313);
    assert_eq!(clip.image.positions.dims(), [50, 768]);
    drop(clip);
    let clip = ClipConfig::vit_b_16().init(&Device::flex()).unwrap();
    assert_eq!(clip.num_params(), 149_620_737);
}

#[test]
fn a_batch_is_its_items_and_pooling_is_a_row_of_the_tokens() {
    let _alone = alone();
    let (clip, pixels) = (world(1), pixels(3));
    let all = clip.encode_images(pixels.clone());
    assert_eq!(all.dims(), [3, 96]);
    assert_close(clip.encode_images(pixels.clone().narrow(0, 1, 1)), all.clone().narrow(0, 1, 1));
    let tokens = clip.image.encode_tokens(pixels.clone());
    assert_close(tokens.clone().narrow(1, 0, 1).reshape([3, 96]), all);
    let patches = clip.image.encode_patches(pixels.unsqueeze_dim(0));
    assert_close(patches, tokens.narrow(1, 1, 16).reshape([1, 3, 16, 96]));

    let device = Device::flex();
    let ids = Tensor::<2, Int>::from_data([[48, 3, 5, 49, 0, 0], [48, 7, 49, 0, 0, 0]], &device);
    let codes = clip.encode_texts(ids.clone());
    let short = Tensor::<2, Int>::from_data([[48, 7, 49]], &device);
    assert_close(clip.encode_texts(short), codes.clone().narrow(0, 1, 1));
    let padded = Tensor::<2, Int>::from_data([[48, 3, 5, 49, 9, 8], [48, 7, 49, 1, 1, 1]], &device);
    assert_close(clip.encode_texts(padded), codes);
}

#[test]
fn token_states_hold_the_code_at_the_end_of_text_and_nothing_after_it() {
    let _alone = alone();
    let (clip, device) = (world(1), Device::flex());
    let ids = Tensor::<2, Int>::from_data([[48, 3, 5, 49, 9, 8], [48, 7, 49, 1, 1, 1]], &device);
    let lengths = clip.text.lengths(ids.clone());
    let found = clip.text.encode_tokens(ids.clone(), lengths.clone());
    assert_close(found.pooled, clip.text.encode(ids, lengths));
    let mask: Vec<bool> = found.mask.into_data().iter::<bool>().collect();
    let (t, f) = (true, false);
    assert_eq!(mask, [t, t, t, t, f, f, t, t, t, f, f, f]);
    let after = found.states.clone().slice([1..2, 3..6]).abs().max().into_scalar::<f32>();
    assert_eq!(after, 0.0);
    // A token's state depends on the tokens before it alone, and on none of the other texts.
    let prefix = Tensor::<2, Int>::from_data([[48, 3, 49]], &device);
    let prefix = clip.text.encode_tokens(prefix, Tensor::from_data([3], &device));
    assert_close(prefix.states.narrow(1, 0, 2), found.states.slice([0..1, 0..2]));
}

#[test]
fn the_end_of_text_is_found_by_either_rule() {
    let _alone = alone();
    let mut config = ClipConfig::world(50, 16);
    let ids = || Tensor::<2, Int>::from_data([[48, 3, 49, 2, 49], [48, 2, 49, 49, 2]], &Device::flex());
    for (rule, expected) in
        [(EosRule::LargestId, [3i64, 3]), (EosRule::First(2), [4, 2]), (EosRule::First(40), [5, 5])]
    {
        config.text.eos = rule;
        let clip = config.init(&Device::flex()).unwrap();
        let found: Vec<i64> = clip.text.lengths(ids()).into_data().iter::<i64>().collect();
        assert_eq!(found, expected, "{rule:?}");
    }
}

#[test]
fn one_seed_gives_one_model() {
    let _alone = alone();
    let pixels = pixels(2);
    let [first, again, other] = [5, 5, 6].map(|seed| world(seed).encode_images(pixels.clone()).into_data());
    first.assert_eq(&again, true);
    assert_ne!(first, other);
}

#[test]
fn every_parameter_gets_a_gradient_and_the_scale_is_clamped() {
    let _alone = alone();
    let device = Device::flex().autodiff();
    let clip = ClipConfig::world(50, 16).init(&device).unwrap();
    let ids = Tensor::<2, Int>::from_data([[48, 3, 49], [48, 7, 49]], &device);
    let images = clip.encode_images(Tensor::from_inner(pixels(2)));
    let logits = clip.encode_texts(ids).matmul(images.transpose()) * clip.logit_scale().reshape([1, 1]);
    let gradients = logits.square().sum().backward();
    let gradients = burn::optim::GradientsParams::from_grads(gradients, &clip);
    assert_eq!(gradients.len(), burn::module::list_param_ids(&clip).len());

    assert!((clip.logit_scale().into_scalar::<f32>() - 1.0 / 0.07).abs() < 1e-4);
    let mut clip = clip;
    clip.logit_scale = clip.logit_scale.map(|scale| Tensor::from_inner(scale.inner() * 10.0).require_grad());
    let clip = clip.clamp_logit_scale();
    assert!((clip.logit_scale().into_scalar::<f32>() - 100.0).abs() < 1e-3);
    assert!(clip.logit_scale.val().is_require_grad());
}

#[test]
fn settings_that_do_not_fit_are_refused_by_name() {
    let _alone = alone();
    let refusal = |change: fn(&mut ClipConfig)| {
        let mut config = ClipConfig::world(50, 16);
        change(&mut config);
        config.init(&Device::flex()).unwrap_err().to_string()
    };
    assert_eq!(refusal(|c| c.image.patch = 7), "clip: image.size = 32 is not a multiple of image.patch = 7");
    assert_eq!(refusal(|c| c.text.heads = 5), "text tower: block: width = 64 is not a multiple of heads = 5");
    assert_eq!(refusal(|c| c.joint = 0), "clip: joint = 0, but it must be above 0");
}
