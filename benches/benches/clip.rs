//! CLIP at work: pictures to pixels, ViT-B/32 and its text tower, encoding and with gradients, and the built-in
//! world's model. Peers under the same ids: `peers/tower.py`, `peers/pixels.py`.

mod support;

use burn::prelude::*;
use burn::tensor::Distribution;
use tvr_clip::{ClipConfig, Picture, PreprocessorConfig, Reference};

use support::median_of_five;

/// What `peers/tower.py` has too.
const CAPTIONS: usize = 32;
const TOKENS: usize = 32;

fn main() {
    tvr_nn::keep_freed_memory();
    pixels();
    towers("clip/vit-b-32", ClipConfig::vit_b_32(), &[12, 96], 12, CAPTIONS, TOKENS);
    towers("world", ClipConfig::world(400, 48), &[128], 128, 128, 24);
}

/// 32 pictures of 640 x 427, as decoded, to bytes of 224 x 224.
fn pixels() {
    let pictures: Vec<Picture> =
        (0..32u64).filter_map(|seed| Picture::from_rgb(640, 427, noise(seed)).ok()).collect();
    let Ok(preprocessor) = PreprocessorConfig::clip(224, Reference::HuggingFace).init() else { return };
    median_of_five("clip/resize-crop-32-of-640x427", || {
        use rayon::prelude::*;
        pictures.par_iter().map(|picture| preprocessor.crop(picture)).collect::<Vec<_>>()
    });
    median_of_five("clip/resize-crop-normalise-32-of-640x427", || {
        preprocessor.batch(&pictures, &Device::flex()).into_data()
    });
}

/// Bytes that no compression or prediction could make easy.
fn noise(seed: u64) -> Vec<u8> {
    let mut state = seed;
    let bytes = (0..640 * 427 * 3).map(|_| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 56) as u8
    });
    bytes.collect()
}

fn towers(name: &str, config: ClipConfig, encoded: &[usize], trained: usize, captions: usize, tokens: usize) {
    let device = Device::flex();
    let training = device.clone().autodiff();
    training.seed(1);
    let (side, vocabulary) = (config.image.size, config.text.vocabulary as i64);
    let Ok(model) = config.init(&training) else { return };
    let plain = model.valid();
    let pixels =
        |frames: usize| Tensor::<4>::random([frames, 3, side, side], Distribution::Normal(0.0, 1.0), &device);
    // The last token is the end of text, the largest id.
    let ids: Vec<i64> = (0..captions * tokens)
        .map(|place| {
            if place % tokens == tokens - 1 { vocabulary - 1 } else { place as i64 * 7919 % (vocabulary - 2) }
        })
        .collect();
    let ids = Tensor::<2, Int>::from_data(TensorData::new(ids, [captions, tokens]), &device);
    for &frames in encoded {
        let pixels = pixels(frames);
        median_of_five(&format!("{name}/encode-{frames}-frames"), || {
            plain.encode_images(pixels.clone()).into_data()
        });
    }
    median_of_five(&format!("{name}/encode-{captions}-captions"), || {
        plain.encode_texts(ids.clone()).into_data()
    });
    let tracked = Tensor::<4>::from_inner(pixels(trained));
    median_of_five(&format!("{name}/forward-backward-{trained}-frames"), || {
        tvr_nn::sum(model.encode_images(tracked.clone()).square()).backward()
    });
    let tracked = Tensor::<2, Int>::from_inner(ids);
    median_of_five(&format!("{name}/forward-backward-{captions}-captions"), || {
        tvr_nn::sum(model.encode_texts(tracked.clone()).square()).backward()
    });
}
