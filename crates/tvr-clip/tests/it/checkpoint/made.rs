//! Other layouts of a small checkpoint, written by hand: shards, a split tokenizer, OpenCLIP's names.

use std::path::Path;

use safetensors::tensor::TensorView;
use safetensors::{Dtype, SafeTensors};
use serde_json::{Value, json};

pub const INDEX: &str = "model.safetensors.index.json";
pub const SHARDS: [&str; 2] = ["model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"];

/// Cuts `model.safetensors` of a folder into two shards with an index; the names in each.
pub fn shards(folder: &Path) -> [Vec<String>; 2] {
    let whole = folder.join("model.safetensors");
    let bytes = std::fs::read(&whole).unwrap();
    let file = SafeTensors::deserialize(&bytes).unwrap();
    let mut names: Vec<String> = file.names().into_iter().map(str::to_owned).collect();
    names.sort();
    let second = names.split_off(names.len() / 2);
    let halves = [names, second];
    let mut map = serde_json::Map::new();
    for (shard, names) in SHARDS.into_iter().zip(&halves) {
        let views = names.iter().map(|name| (name, file.tensor(name).unwrap()));
        std::fs::write(folder.join(shard), safetensors::serialize(views, None).unwrap()).unwrap();
        map.extend(names.iter().map(|name| (name.clone(), shard.into())));
    }
    std::fs::write(folder.join(INDEX), json!({ "metadata": {}, "weight_map": map }).to_string()).unwrap();
    std::fs::remove_file(whole).unwrap();
    halves
}

/// Copies a safetensors file without one of its tensors.
pub fn without(from: &Path, lost: &str, to: &Path) {
    let bytes = std::fs::read(from).unwrap();
    let file = SafeTensors::deserialize(&bytes).unwrap();
    let views = file.tensors().into_iter().filter(|(name, _)| name != lost);
    std::fs::write(to, safetensors::serialize(views, None).unwrap()).unwrap();
}

/// Turns `tokenizer.json` of a folder into `vocab.json` and `merges.txt`.
pub fn split_tokenizer(folder: &Path) {
    let whole = folder.join("tokenizer.json");
    let json: Value = serde_json::from_slice(&std::fs::read(&whole).unwrap()).unwrap();
    let mut vocabulary = json["model"]["vocab"].clone();
    for mark in json["added_tokens"].as_array().unwrap() {
        vocabulary[mark["content"].as_str().unwrap()] = mark["id"].clone();
    }
    let pair = |pair: &Value| match pair {
        Value::String(pair) => pair.clone(),
        pair => format!("{} {}", pair[0].as_str().unwrap(), pair[1].as_str().unwrap()),
    };
    let merges: Vec<String> = json["model"]["merges"].as_array().unwrap().iter().map(pair).collect();
    std::fs::write(folder.join("vocab.json"), vocabulary.to_string()).unwrap();
    std::fs::write(folder.join("merges.txt"), format!("#version: 0.2\n{}\n", merges.join("\n"))).unwrap();
    std::fs::remove_file(whole).unwrap();
}

/// A checkpoint under OpenCLIP's names: towers of one block, random numbers that mean nothing.
pub fn open_clip(folder: &Path) {
    let (joint, vocabulary, context) = (12, 40, 9);
    let config = json!({
        "model_cfg": {
            "embed_dim": joint,
            "vision_cfg": { "image_size": 16, "layers": 1, "width": 16, "head_width": 8, "patch_size": 8 },
            "text_cfg": { "context_length": context, "vocab_size": vocabulary, "width": 8, "heads": 2, "layers": 1 },
        },
        "preprocess_cfg": { "mean": [0.5, 0.5, 0.5], "std": [0.3, 0.3, 0.3], "size": 16 },
    });
    let config = serde_json::to_string_pretty(&config).unwrap();
    std::fs::write(folder.join("open_clip_config.json"), config).unwrap();

    let mut shapes: Vec<(String, Vec<usize>)> = Vec::new();
    for (tower, width) in [("visual.", 16), ("", 8)] {
        let block = format!("{tower}transformer.resblocks.0.");
        for (name, shape) in [
            ("ln_1.weight", vec![width]),
            ("ln_1.bias", vec![width]),
            ("attn.in_proj_weight", vec![3 * width, width]), // query, key and value in one
            ("attn.in_proj_bias", vec![3 * width]),
            ("attn.out_proj.weight", vec![width, width]),
            ("attn.out_proj.bias", vec![width]),
            ("ln_2.weight", vec![width]),
            ("ln_2.bias", vec![width]),
            ("mlp.c_fc.weight", vec![4 * width, width]),
            ("mlp.c_fc.bias", vec![4 * width]),
            ("mlp.c_proj.weight", vec![width, 4 * width]),
            ("mlp.c_proj.bias", vec![width]),
        ] {
            shapes.push((format!("{block}{name}"), shape));
        }
    }
    for (name, shape) in [
        ("visual.class_embedding", vec![16]),
        ("visual.conv1.weight", vec![16, 3, 8, 8]),
        ("visual.positional_embedding", vec![5, 16]),
        ("visual.ln_pre.weight", vec![16]),
        ("visual.ln_pre.bias", vec![16]),
        ("visual.ln_post.weight", vec![16]),
        ("visual.ln_post.bias", vec![16]),
        ("visual.proj", vec![16, joint]),
        ("token_embedding.weight", vec![vocabulary, 8]),
        ("positional_embedding", vec![context, 8]),
        ("ln_final.weight", vec![8]),
        ("ln_final.bias", vec![8]),
        ("text_projection", vec![8, joint]),
        ("logit_scale", vec![]),
    ] {
        shapes.push((name.to_owned(), shape));
    }
    let values = |count: usize| -> Vec<u8> {
        (0..count).flat_map(|place| ((place as f32 * 0.7).sin() * 0.3).to_le_bytes()).collect()
    };
    let tensors: Vec<(String, Vec<usize>, Vec<u8>)> = shapes
        .into_iter()
        .map(|(name, shape)| {
            let count = shape.iter().product();
            (name, shape, values(count))
        })
        .collect();
    let views = tensors
        .iter()
        .map(|(name, shape, bytes)| (name, TensorView::new(Dtype::F32, shape.clone(), bytes).unwrap()));
    let bytes = safetensors::serialize(views, None).unwrap();
    std::fs::write(folder.join("open_clip_pytorch_model.safetensors"), bytes).unwrap();
}
