//! What published code puts out: `shared/data/clip_tiny`, `clip_tokenizer` and `golden/reference`.

use std::path::{Path, PathBuf};

use burn::module::Param;
use burn::nn::Linear;
use burn::prelude::*;
use safetensors::{Dtype, SafeTensors};
use tvr_clip::{ClipCheckpoint, EosRule, Precision, Tokenizer, patchify, with_neighbours};
use tvr_nn::Activation;

/// A folder of the shared data, or `None` with the reason on stderr.
pub fn shared(name: &str) -> Option<PathBuf> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data").join(name);
    if path.exists() {
        return Some(path);
    }
    eprintln!("skipped: {} is not there", path.display());
    None
}

/// Values of an f32 tensor with their shape.
pub fn floats(path: &Path, name: &str) -> TensorData {
    let bytes = std::fs::read(path).unwrap();
    let file = SafeTensors::deserialize(&bytes).unwrap();
    let view = file.tensor(name).unwrap_or_else(|error| panic!("{name}: {error}"));
    assert_eq!(view.dtype(), Dtype::F32, "{name}");
    let values: Vec<f32> =
        view.data().chunks_exact(4).map(|b| f32::from_le_bytes(b.try_into().unwrap())).collect();
    TensorData::new(values, view.shape().to_vec())
}

fn ids(path: &Path) -> Tensor<2, Int> {
    let bytes = std::fs::read(path).unwrap();
    let file = SafeTensors::deserialize(&bytes).unwrap();
    let view = file.tensor("input_ids").unwrap();
    let values: Vec<i64> =
        view.data().chunks_exact(8).map(|b| i64::from_le_bytes(b.try_into().unwrap())).collect();
    Tensor::from_data(TensorData::new(values, view.shape().to_vec()), &Device::flex())
}

fn tensor<const D: usize>(path: &Path, name: &str) -> Tensor<D> {
    Tensor::from_data(floats(path, name), &Device::flex())
}

#[track_caller]
fn assert_close<const D: usize>(found: Tensor<D>, expected: Tensor<D>, tolerance: f32, what: &str) {
    assert_eq!(found.dims(), expected.dims(), "{what}");
    let error = (found - expected).abs().max().into_scalar::<f32>();
    assert!(error <= tolerance, "{what}: {error} > {tolerance}");
}

/// Every layout and type of file gives the reference's codes.
#[test]
fn every_folder_gives_the_codes_of_the_reference() {
    let Some(root) = shared("clip_tiny") else { return };
    let device = Device::flex();
    for (folder, inputs, expected) in [
        ("quick_gelu", "quick_gelu", "quick_gelu"),
        ("gelu", "gelu", "gelu"),
        ("open_clip", "gelu", "gelu"),
        ("variants/sharded", "quick_gelu", "quick_gelu"),
        ("variants/float16", "quick_gelu", "variants/float16"),
        ("variants/bfloat16", "quick_gelu", "variants/bfloat16"),
        ("variants/text_only", "quick_gelu", "quick_gelu"),
        ("variants/vision_only", "quick_gelu", "quick_gelu"),
    ] {
        let inputs = root.join(inputs).join("expected.safetensors");
        let expected = root.join(expected).join("expected.safetensors");
        let checkpoint = ClipCheckpoint::open(&root.join(folder)).unwrap();
        if checkpoint.image_config().is_ok() {
            let tower = checkpoint.load_image(&device, Precision::F32).unwrap();
            let found = tower.encode(tensor(&inputs, "pixel_values"));
            assert_close(found, tensor(&expected, "image"), 1e-4, folder); // the bound
        }
        if checkpoint.text_config().is_ok() {
            let tower = checkpoint.load_text(&device, Precision::F32).unwrap();
            // OpenCLIP's text tower pools at the largest id, so its texts are padded with 0 and not with `<|pad|>`.
            let ids = match folder {
                "open_clip" => ids(&inputs).mask_fill(ids(&inputs).equal_elem(1538), 0),
                _ => ids(&inputs),
            };
            let lengths = tower.lengths(ids.clone());
            assert_close(tower.encode(ids, lengths), tensor(&expected, "text"), 1e-4, folder);
        }
    }
}

/// Three pictures as the frames of one video; the class token is not among its patches.
#[test]
fn patches_are_the_tokens_of_the_reference() {
    let Some(root) = shared("clip_tiny") else { return };
    for (folder, reference) in [
        ("quick_gelu", "quick_gelu"),
        ("gelu", "gelu"),
        ("open_clip", "gelu"),
        ("variants/vision_only", "quick_gelu"),
    ] {
        let reference = root.join(reference).join("expected.safetensors");
        let checkpoint = ClipCheckpoint::open(&root.join(folder)).unwrap();
        let tower = checkpoint.load_image(&Device::flex(), Precision::F32).unwrap();
        let found = tower.encode_patches(tensor::<4>(&reference, "pixel_values").unsqueeze_dim(0));
        let tokens = tensor::<3>(&reference, "image_tokens");
        let [images, count, joint] = tokens.dims();
        let patches = tokens.narrow(1, 1, count - 1).reshape([1, images, count - 1, joint]);
        assert_close(found, patches, 1e-4, folder); // the bound
    }
}

#[test]
fn settings_are_those_of_the_config() {
    let Some(root) = shared("clip_tiny") else { return };
    let open = |name: &str| ClipCheckpoint::open(&root.join(name)).unwrap();
    let config = open("gelu").config().unwrap();
    assert_eq!((config.joint, config.image.hidden, config.text.hidden), (20, 100, 72));
    assert_eq!((config.image.activation, config.text.eos), (Activation::Gelu, EosRule::First(1537)));
    let mut open_clip = open("open_clip").config().unwrap();
    assert_eq!(open_clip.text.eos, EosRule::LargestId);
    open_clip.text.eos = config.text.eos;
    assert_eq!(open_clip, config);
    let config = open("quick_gelu").config().unwrap();
    assert_eq!((config.image.activation, config.text.eos), (Activation::QuickGelu, EosRule::LargestId));
    assert_eq!(config.text.layer_norm_epsilon, 1e-5);
    let message = open("variants/text_only").config().unwrap_err().to_string();
    assert!(message.ends_with("text_only: the checkpoint has no image tower"), "{message}");
    let message = open("variants/vision_only").load(&Device::flex()).unwrap_err().to_string();
    assert!(message.ends_with("vision_only: the checkpoint has no text tower"), "{message}");
}

/// Too small to show in any code, so the loaded value itself is looked at.
#[test]
fn the_epsilon_of_every_norm_is_the_config_s() {
    let Some(root) = shared("clip_tiny") else { return };
    let folder = tempfile::tempdir().unwrap();
    for name in ["model.safetensors", "config.json"] {
        std::fs::copy(root.join("gelu").join(name), folder.path().join(name)).unwrap();
    }
    let path = folder.path().join("config.json");
    let text = std::fs::read_to_string(&path).unwrap();
    std::fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o644)).unwrap();
    std::fs::write(&path, text.replace("\"layer_norm_eps\": 1e-05", "\"layer_norm_eps\": 3e-6")).unwrap();
    let clip = ClipCheckpoint::open(folder.path()).unwrap().load(&Device::flex()).unwrap();
    let shown = format!("{:?}", (&clip.image.pre_norm, &clip.image.post_norm, &clip.text.final_norm));
    let blocks = format!("{:?}", (&clip.image.blocks[0].attention_norm, &clip.text.blocks[3].mlp_norm));
    assert_eq!(shown.matches("epsilon: 3e-6").count(), 3, "{shown}");
    assert_eq!(blocks.matches("epsilon: 3e-6").count(), 2, "{blocks}");
}

#[derive(serde::Deserialize)]
struct Row {
    text: String,
    hf: Vec<u32>,
    openai: Vec<u32>,
    group: String,
}

/// All 535 texts, from `tokenizer.json` and from `vocab.json` with `merges.txt`.
#[test]
fn ids_are_those_of_the_folder_s_own_tokenizer() {
    let Some(root) = shared("clip_tokenizer") else { return };
    let split = tempfile::tempdir().unwrap();
    for name in ["vocab.json", "merges.txt"] {
        std::fs::copy(root.join(name), split.path().join(name)).unwrap();
    }
    let rows: Vec<Row> = std::fs::read_to_string(root.join("expected.jsonl"))
        .unwrap()
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(rows.len(), 535);
    for folder in [root.as_path(), split.path()] {
        let tokenizer = Tokenizer::open(folder).unwrap();
        assert_eq!(tokenizer.vocabulary(), 49_408);
        let mut like_openai = 0;
        for row in &rows {
            let found = tokenizer.encode(&row.text, 77).unwrap();
            assert_eq!(found, row.hf, "{}: {:?}", row.group, row.text);
            like_openai += usize::from(found == row.openai);
            // What is spelled out again is the same text to the tokenizer.
            if ["plain", "caption"].contains(&row.group.as_str()) {
                let spelled = tokenizer.decode(&found).unwrap();
                assert_eq!(tokenizer.encode(&spelled, 77).unwrap(), found, "{:?}: {spelled:?}", row.text);
            }
        }
        assert_eq!(like_openai, 535 - 42); // the data's README: 42 differ between OpenAI's and the folder's
    }
}

#[test]
fn texts_of_a_small_folder_have_the_reference_s_ids() {
    let Some(root) = shared("clip_tiny") else { return };
    for folder in ["quick_gelu", "gelu"] {
        let folder = root.join(folder);
        let tokenizer = ClipCheckpoint::open(&folder).unwrap().tokenizer().unwrap();
        let texts = std::fs::read_to_string(folder.join("texts.txt")).unwrap();
        let expected: Vec<i64> = ids(&folder.join("expected.safetensors")).into_data().iter().collect();
        for (text, expected) in texts.lines().zip(expected.chunks(77)) {
            let found = tokenizer.encode(text, 77).unwrap();
            let padding = &expected[found.len()..];
            assert!(
                found.iter().map(|&id| i64::from(id)).eq(expected[..found.len()].iter().copied()),
                "{text}"
            );
            assert!(padding.iter().all(|&id| id == expected[76]) || padding.is_empty(), "{text}");
        }
    }
}

/// Golden `heads.patch3d.*`: the published 3d patch convolution.
#[test]
fn p_c4_2_patches_that_see_three_frames_are_the_published_convolution() {
    let Some(path) = shared("golden/reference/heads.safetensors") else { return };
    let pixels = tensor::<5>(&path, "heads.patch3d.pixels"); // [videos, frames, channels, height, width]
    let weight = tensor::<5>(&path, "heads.patch3d.weight"); // [width, channels, frames, patch, patch]
    let expected = tensor::<5>(&path, "heads.patch3d.patches"); // [videos, frames, width, rows, columns]
    let [videos, frames, channels, height, width] = pixels.dims();
    let [tokens, _, _, patch, _] = weight.dims();
    let linear = Linear {
        weight: Param::from_tensor(
            weight.permute([2, 1, 3, 4, 0]).reshape([3 * channels * patch * patch, tokens]),
        ),
        bias: None,
    };
    let patches = patchify(pixels.reshape([videos * frames, channels, height, width]), patch);
    let [_, count, values] = patches.dims();
    let found = linear.forward(with_neighbours(patches.reshape([videos, frames, count, values])));
    let [_, _, _, rows, columns] = expected.dims();
    let found = found.swap_dims(2, 3).reshape([videos, frames, tokens, rows, columns]);
    assert_close(found, expected, 1e-5, "patches"); // f32 sums of 576 terms
}
