//! Published checkpoints by their sizes alone: a config of each, and a file of weights that has a header and no bytes.
//!
//! Names and shapes are written down here as `transformers` has them, apart from the loader's key table. The file is
//! as long as it must be and holds nothing (a hole on the disk); opening it compares every name, shape and type and
//! reads no weight. Sizes: `config.json` of each checkpoint on the hub, written by hand; one leaves out what
//! has transformers' default. Parameters: as published.

use std::io::Write;

use serde_json::{Value, json};
use tvr_nn::Activation;

use super::*;

const CHECKPOINTS: [&str; 4] = [
    "openai-clip-vit-base-patch16",
    "openai-clip-vit-large-patch14-336",
    "laion-clip-vit-h-14",
    "facebook-metaclip-b32-400m",
];

fn config(name: &str) -> Value {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/fixtures/configs/{name}.json"));
    serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
}

fn size(config: &Value, name: &str) -> usize {
    config[name].as_u64().unwrap() as usize
}

/// Tensors of a tower's encoder, as `CLIPEncoderLayer` names them.
fn encoder(tower: &str, config: &Value) -> Vec<(String, Vec<usize>)> {
    let (width, hidden) = (size(config, "hidden_size"), size(config, "intermediate_size"));
    let mut tensors = Vec::new();
    for layer in 0..size(config, "num_hidden_layers") {
        let mut add = |name: String, shape: Vec<usize>| {
            tensors.push((format!("{tower}.encoder.layers.{layer}.{name}"), shape));
        };
        for projection in ["q_proj", "k_proj", "v_proj", "out_proj"] {
            add(format!("self_attn.{projection}.weight"), vec![width, width]);
            add(format!("self_attn.{projection}.bias"), vec![width]);
        }
        for norm in ["layer_norm1", "layer_norm2"] {
            add(format!("{norm}.weight"), vec![width]);
            add(format!("{norm}.bias"), vec![width]);
        }
        add("mlp.fc1.weight".into(), vec![hidden, width]);
        add("mlp.fc1.bias".into(), vec![hidden]);
        add("mlp.fc2.weight".into(), vec![width, hidden]);
        add("mlp.fc2.bias".into(), vec![width]);
    }
    tensors
}

/// Tensors of a `CLIPModel`.
fn tensors(config: &Value) -> Vec<(String, Vec<usize>)> {
    let (text, image, joint) =
        (&config["text_config"], &config["vision_config"], size(config, "projection_dim"));
    let (words, pixels, patch) =
        (size(text, "hidden_size"), size(image, "hidden_size"), size(image, "patch_size"));
    let places = (size(image, "image_size") / patch).pow(2) + 1;
    let mut tensors = encoder("text_model", text);
    tensors.extend(encoder("vision_model", image));
    for (name, shape) in [
        ("logit_scale", vec![]),
        ("text_model.embeddings.token_embedding.weight", vec![size(text, "vocab_size"), words]),
        (
            "text_model.embeddings.position_embedding.weight",
            vec![size(text, "max_position_embeddings"), words],
        ),
        ("text_model.final_layer_norm.weight", vec![words]),
        ("text_model.final_layer_norm.bias", vec![words]),
        ("text_projection.weight", vec![joint, words]),
        ("vision_model.embeddings.class_embedding", vec![pixels]),
        ("vision_model.embeddings.patch_embedding.weight", vec![pixels, 3, patch, patch]),
        ("vision_model.embeddings.position_embedding.weight", vec![places, pixels]),
        ("vision_model.pre_layrnorm.weight", vec![pixels]),
        ("vision_model.pre_layrnorm.bias", vec![pixels]),
        ("vision_model.post_layernorm.weight", vec![pixels]),
        ("vision_model.post_layernorm.bias", vec![pixels]),
        ("visual_projection.weight", vec![joint, pixels]),
    ] {
        tensors.push((name.to_owned(), shape));
    }
    tensors
}

/// A folder with a config and a file of that header; the number of parameters.
fn hollow(name: &str) -> (TempDir, usize) {
    let (folder, config) = (tempfile::tempdir().unwrap(), config(name));
    std::fs::write(folder.path().join("config.json"), config.to_string()).unwrap();
    let (mut header, mut end) = (serde_json::Map::new(), 0);
    for (name, shape) in tensors(&config) {
        let bytes = 2 * shape.iter().product::<usize>();
        header.insert(name, json!({ "dtype": "F16", "shape": shape, "data_offsets": [end, end + bytes] }));
        end += bytes;
    }
    let header = serde_json::to_vec(&header).unwrap();
    let mut file = std::fs::File::create(folder.path().join("model.safetensors")).unwrap();
    file.write_all(&(header.len() as u64).to_le_bytes()).unwrap();
    file.write_all(&header).unwrap();
    file.set_len((8 + header.len() + end) as u64).unwrap();
    (folder, end / 2)
}

#[test]
fn published_checkpoints_have_the_names_and_shapes_of_the_key_table() {
    let found = CHECKPOINTS.map(|name| {
        let (folder, parameters) = hollow(name);
        let config = ClipCheckpoint::open(folder.path()).unwrap().config().unwrap();
        let ClipConfig { image, text, joint } = config;
        (
            parameters,
            (image.size, image.patch, image.width, image.heads, image.layers, image.hidden),
            (text.width, text.heads, text.layers, text.hidden),
            (joint, image.activation, text.eos),
        )
    });
    let (quick, gelu) = (Activation::QuickGelu, Activation::Gelu);
    let oldest = EosRule::LargestId;
    let expected = [
        (149_620_737, (224, 16, 768, 12, 12, 3072), (512, 8, 12, 2048), (512, quick, oldest)),
        (427_944_193, (336, 14, 1024, 16, 24, 4096), (768, 12, 12, 3072), (768, quick, oldest)),
        (986_109_441, (224, 14, 1280, 16, 32, 5120), (1024, 16, 24, 4096), (1024, gelu, oldest)),
        (151_277_313, (224, 32, 768, 12, 12, 3072), (512, 8, 12, 2048), (512, quick, EosRule::First(49_407))),
    ];
    assert_eq!(found, expected);
}

#[test]
fn presets_are_the_configs_of_the_published_checkpoints() {
    for (name, preset) in [
        ("openai-clip-vit-base-patch16", ClipConfig::vit_b_16()),
        ("openai-clip-vit-large-patch14-336", ClipConfig::vit_l_14_336()),
    ] {
        let (folder, _) = hollow(name);
        assert_eq!(ClipCheckpoint::open(folder.path()).unwrap().config().unwrap(), preset, "{name}");
    }
    // The smaller one was trained first, and sees fewer pixels.
    let mut preset = ClipConfig::vit_l_14_336();
    preset.image.size = 224;
    assert_eq!(preset, ClipConfig::vit_l_14());
}

/// The header must be able to be wrong.
#[test]
fn another_patch_size_of_a_published_checkpoint_is_refused_by_both_shapes() {
    let (folder, _) = hollow("openai-clip-vit-large-patch14-336");
    edit(folder.path(), "\"patch_size\":14", "\"patch_size\":16");
    assert_eq!(
        refusal(folder.path()),
        "model.safetensors: wrong: vision_model.embeddings.patch_embedding.weight is [1024, 3, 14, 14], but the config \
         asks for [1024, 3, 16, 16], vision_model.embeddings.position_embedding.weight is [577, 1024], but the config \
         asks for [442, 1024]"
    );
}
