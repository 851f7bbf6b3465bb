//! What others published of OpenAI's ViT-B/32 (`shared/data/golden/clip_vit_b32`), for whoever has its weights:
//!
//! ```sh
//! TVR_CLIP_VIT_B32=clip-vit-base-patch32 cargo test -p tvr-clip published -- --nocapture
//! ```

use std::path::{Path, PathBuf};

use burn::prelude::*;
use serde_json::Value;
use tvr_clip::{Clip, ClipCheckpoint, ClipConfig, Picture, PreprocessorConfig, Reference, Tokenizer};

use crate::golden::shared;

/// Of codes whose largest value is about 10: f32 sums through twelve blocks, in another order than the publisher's.
const CODE: f64 = 1e-3;

/// Of logits, 100 times a cosine.
const LOGIT: f64 = 2e-3;

/// Of hidden states that were published with four decimals.
const STATE: f64 = 5e-4;

/// Of the sum over a code of a picture that was published as a JPEG: decoders differ by a few levels.
const JPEG: f64 = 0.03;

fn items(folder: &Path) -> Vec<Value> {
    let text = std::fs::read_to_string(folder.join("published_values.json")).unwrap();
    let values: Value = serde_json::from_str(&text).unwrap();
    values["items"].as_array().unwrap().clone()
}

/// Numbers of any nesting, in their order.
fn numbers(value: &Value) -> Vec<f64> {
    match value {
        Value::Array(values) => values.iter().flat_map(numbers).collect(),
        value => vec![value.as_f64().unwrap()],
    }
}

/// An f32 array of numpy's, version 1.
fn npy(path: &Path) -> Vec<f64> {
    let bytes = std::fs::read(path).unwrap();
    assert!(bytes.starts_with(b"\x93NUMPY\x01\x00"));
    let head = 10 + usize::from(u16::from_le_bytes([bytes[8], bytes[9]]));
    assert!(String::from_utf8_lossy(&bytes[..head]).contains("'<f4'"));
    bytes[head..].chunks_exact(4).map(|b| f64::from(f32::from_le_bytes(b.try_into().unwrap()))).collect()
}

fn values<const D: usize>(x: Tensor<D>) -> Vec<f64> {
    x.into_data().iter::<f32>().map(f64::from).collect()
}

#[track_caller]
fn close(what: &str, found: &[f64], expected: &[f64], tolerance: f64) {
    assert_eq!(found.len(), expected.len(), "{what}");
    let gaps = found.iter().zip(expected).map(|(a, b)| (a - b).abs());
    let largest = gaps.fold(0.0, |most: f64, gap| if gap <= most { most } else { gap }); // NaN is the largest
    eprintln!("{what}: largest error {largest:.1e} of {tolerance:.0e}");
    assert!(largest <= tolerance, "{what}: {largest} is more than {tolerance}");
}

/// 100 times the cosine of every text with a picture.
fn logits(texts: &[f64], image: &[f64]) -> Vec<f64> {
    let length = |row: &[f64]| row.iter().map(|value| value * value).sum::<f64>().sqrt();
    let dot = |row: &[f64]| row.iter().zip(image).map(|(a, b)| a * b).sum::<f64>();
    texts.chunks(image.len()).map(|row| 100.0 * dot(row) / (length(row) * length(image))).collect()
}

fn softmax(logits: &[f64]) -> Vec<f64> {
    let largest = logits.iter().fold(f64::NEG_INFINITY, |most, value| most.max(*value));
    let sum: f64 = logits.iter().map(|logit| (logit - largest).exp()).sum();
    logits.iter().map(|logit| (logit - largest).exp() / sum).collect()
}

/// The published arrays give the published probabilities: true without any weights.
#[test]
fn published_codes_give_the_published_probabilities() {
    let Some(folder) = shared("golden/clip_vit_b32") else { return };
    let found = logits(&npy(&folder.join("text_features.npy")), &npy(&folder.join("image_features.npy")));
    close("logits", &found, &[25.5528, 20.0899, 19.7495], 1e-3);
    close("probabilities", &softmax(&found), &numbers(&items(&folder)[2]["probabilities"]), 1e-5);
}

/// What the published values are compared with.
struct Model {
    clip: Clip,
    tokenizer: Tokenizer,
    device: Device,
}

impl Model {
    /// The weights that `TVR_CLIP_VIT_B32` names, or `None` with the reason on stderr.
    fn open() -> Option<Self> {
        let Some(folder) = std::env::var_os("TVR_CLIP_VIT_B32").map(PathBuf::from) else {
            eprintln!(
                "skipped: TVR_CLIP_VIT_B32 names no folder with the weights of openai/clip-vit-base-patch32"
            );
            return None;
        };
        let checkpoint = ClipCheckpoint::open(&folder).unwrap();
        let (config, expected) = (checkpoint.config().unwrap(), ClipConfig::vit_b_32());
        assert_eq!((config.joint, config.image.patch, config.image.layers), (512, 32, 12));
        assert_eq!(config.text.vocabulary, expected.text.vocabulary);
        let device = Device::flex();
        let (clip, tokenizer) = (checkpoint.load(&device).unwrap(), checkpoint.tokenizer().unwrap());
        Some(Self { clip, tokenizer, device })
    }

    fn texts(&self, item: &Value) -> Vec<f64> {
        let texts: Vec<String> =
            item["texts"].as_array().unwrap().iter().map(|text| text.as_str().unwrap().to_owned()).collect();
        let batch = self.tokenizer.encode_batch(&texts, 77).unwrap();
        let lengths = batch.lengths_tensor(&self.device);
        values(self.clip.text.encode(batch.tensor(&self.device), lengths))
    }

    /// A picture by OpenAI's own transform, with which all of these values were made.
    fn image(&self, path: &Path) -> Vec<f64> {
        let preprocessor = PreprocessorConfig::clip(224, Reference::OpenAi).init().unwrap();
        values(self.clip.image.encode(preprocessor.batch(&[Picture::read(path).unwrap()], &self.device)))
    }
}

#[test]
fn published_codes_and_logits_of_the_real_weights_come_out() {
    let Some(folder) = shared("golden/clip_vit_b32") else { return };
    let Some(model) = Model::open() else { return };
    let items = items(&folder);

    let kafka = &items[0];
    let (image, texts) =
        (model.image(&folder.join(kafka["image_file"].as_str().unwrap())), model.texts(kafka));
    close("franz-kafka.jpg, sum", &[image.iter().sum()], &numbers(&kafka["image_sum"]), JPEG);
    close("franz-kafka.jpg, first five", &image[..5], &numbers(&kafka["image_first5"]), JPEG);
    let sums: Vec<f64> = texts.chunks(512).map(|row| row.iter().sum()).collect();
    close("texts, sums", &sums, &numbers(&kafka["text_sums"]), CODE);
    close("text 0, first five", &texts[..5], &numbers(&kafka["text0_first5"]), CODE);
    close("logits", &logits(&texts, &image), &numbers(&kafka["logits_per_image"]), 100.0 * JPEG / 10.0);

    let readme = &items[1];
    let (image, texts) = (model.image(&folder.join("CLIP.png")), model.texts(readme));
    close("CLIP.png", &image, &npy(&folder.join("image_features.npy")), CODE);
    close("texts", &texts, &npy(&folder.join("text_features.npy")), CODE);
    let found = logits(&texts, &image);
    close("logits", &found, &[25.5528, 20.0899, 19.7495], LOGIT);
    close("probabilities", &softmax(&found), &numbers(&readme["probabilities"]), 1e-4);
}

#[test]
fn published_hidden_states_of_the_real_weights_come_out() {
    let Some(folder) = shared("golden/clip_vit_b32") else { return };
    let Some(model) = Model::open() else { return };
    let items = items(&folder);
    let (texts, pixels) = (&items[4], &items[5]);
    // Rows 1..4 and columns 1..4 of each item, as they were published.
    let corner = |x: Tensor<3>| {
        let [items, ..] = x.dims();
        values(x.slice([0..items, 1..4, 1..4]))
    };

    let tower = &model.clip.text;
    let ids: Vec<i32> = numbers(&texts["input_ids"]).into_iter().map(|id| id as i32).collect();
    let ids = Tensor::<2, Int>::from_data(TensorData::new(ids, [2, 7]), &model.device);
    let x = tower.blocks.iter().fold(tower.embed(ids.clone()), |x, block| block.forward(x, None, true));
    let x = tower.final_norm.forward(x);
    // The second text's padding was masked by the publisher, and a causal tower does not look ahead: its first row
    // alone is comparable, and the first text's all are.
    let found = corner(x.clone());
    close("text states", &found[..9], &numbers(&texts["last_hidden_state[:, 1:4, 1:4]"])[..9], STATE);
    let pooled = tvr_nn::block::rows_at(x, tower.lengths(ids) - 1);
    let expected = numbers(&texts["pooler_output[:, 1:4]"]);
    close("text code before its projection", &values(pooled.slice([0..1, 1..4])), &expected[..3], STATE);

    let tower = &model.clip.image;
    let pixels_of = Tensor::<4>::full([1, 3, 224, 224], 0.5, &model.device);
    let x = tower.pre_norm(tower.embed(pixels_of, 1));
    let x = tower.blocks.iter().fold(x, |x, block| block.forward(x, None, false));
    close("image states", &corner(x.clone()), &numbers(&pixels["last_hidden_state[:, 1:4, 1:4]"]), STATE);
    let class = tower.post_norm.forward(x).slice([0..1, 0..1, 1..4]);
    close("class token", &values(class), &numbers(&pixels["pooler_output[:, 1:4]"]), STATE);
}
