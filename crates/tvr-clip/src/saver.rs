//! Towers back out as a Hugging Face folder, which `transformers` loads as it is.
//!
//! Weights are written in f32, whatever they are in memory, under the names of the key table in
//! [`loader`](crate::loader); `logit_scale` has the shape `[]`, and the metadata says `format = "pt"`, without which
//! `transformers` refuses the file. `config.json` is written from the settings, so a checkpoint that came in OpenCLIP's
//! names goes out in Hugging Face's. [`copy_beside`] brings the files of tokenizer and pixels along. All of them are
//! written in place: a folder that shall appear whole is written under another name, synced and renamed by the caller.

use std::borrow::Cow;
use std::collections::HashMap;
use std::path::Path;

use safetensors::{Dtype, View};
use serde_json::{Value, json};

use crate::config::PatchMode;
use crate::loader::layout::Layout;
use crate::loader::transfer::Take;
use crate::loader::{Names, origins};
use crate::{Clip, ClipConfig, ClipError, EosRule, ImageConfig, ImageTower, TextConfig, TextTower};

/// Files that a folder keeps beside its weights and its config.
const BESIDE: &[&str] = &[
    "tokenizer.json",
    "vocab.json",
    "merges.txt",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "preprocessor_config.json",
    "processor_config.json",
    // The only one that says how pixels are made where OpenCLIP made the folder.
    "open_clip_config.json",
];

/// What is written.
#[derive(Clone, Copy, Debug)]
pub enum Towers<'a> {
    /// Both, as a `CLIPModel`.
    Both(&'a Clip, &'a ClipConfig),
    /// The image tower, as a `CLIPVisionModelWithProjection`.
    Image(&'a ImageTower, &'a ImageConfig),
    /// The text tower, as a `CLIPTextModelWithProjection`.
    Text(&'a TextTower, &'a TextConfig),
}

/// Writes config and weights.
///
/// # Errors
/// [`ClipError::TemporalPatches`], or a file that cannot be written.
pub fn save(towers: Towers<'_>, folder: &Path) -> Result<(), ClipError> {
    let names = Names::HuggingFace;
    let layout = match towers {
        Towers::Both(_, config) => Layout {
            names,
            joint: config.joint,
            image: Some(config.image.clone()),
            text: Some(config.text.clone()),
        },
        Towers::Image(tower, config) => {
            let [_, joint] = tower.projection.weight.val().dims();
            Layout { names, joint, image: Some(config.clone()), text: None }
        }
        Towers::Text(tower, config) => {
            let [_, joint] = tower.projection.weight.val().dims();
            Layout { names, joint, image: None, text: Some(config.clone()) }
        }
    };
    let mode = match towers {
        Towers::Both(clip, _) => clip.image.mode(),
        Towers::Image(tower, _) => tower.mode(),
        Towers::Text(..) => PatchMode::Flat,
    };
    if mode == PatchMode::Temporal {
        return Err(ClipError::TemporalPatches);
    }
    let failed = |path: &Path| {
        let path = path.to_owned();
        move |source| ClipError::File { path, action: "write", source }
    };
    std::fs::create_dir_all(folder).map_err(failed(folder))?;
    let origins = origins(&layout);
    let taken = match towers {
        Towers::Both(clip, _) => Take::new(&origins).take(clip, ""),
        Towers::Image(tower, _) => Take::new(&origins).take(tower, "image"),
        Towers::Text(tower, _) => Take::new(&origins).take(tower, "text"),
    };
    let tensors = taken.into_iter().map(|(name, (shape, values))| (name, Values { shape, values }));
    let metadata = HashMap::from([("format".to_owned(), "pt".to_owned())]);
    let weights = folder.join("model.safetensors");
    safetensors::serialize_to_file(tensors, Some(metadata), &weights)
        .map_err(|cause| failed(&weights)(std::io::Error::other(cause)))?;
    let path = folder.join("config.json");
    let text = serde_json::to_string_pretty(&config(&layout)).map_err(|cause| failed(&path)(cause.into()))?;
    std::fs::write(&path, text + "\n").map_err(failed(&path))
}

/// Copies the files of tokenizer and pixels from the folder where the towers began.
///
/// # Errors
/// A file that cannot be copied.
pub fn copy_beside(began: &Path, folder: &Path) -> Result<(), ClipError> {
    for name in BESIDE {
        let (from, to) = (began.join(name), folder.join(name));
        if from.exists() && from != to {
            std::fs::copy(&from, &to).map_err(|source| ClipError::File {
                path: to,
                action: "write",
                source,
            })?;
        }
    }
    Ok(())
}

/// transformers' config of a layout.
fn config(layout: &Layout) -> Value {
    // MetaCLIP 2 alone pools at a token whose id is 2; everyone else's 2 stands for the largest id.
    let meta = matches!(&layout.text, Some(TextConfig { eos: EosRule::First(2), .. }));
    let kind = if meta { "metaclip_2" } else { "clip" };
    let class = if meta { "MetaClip2" } else { "CLIP" };
    let image = layout.image.as_ref().map(|image| {
        json!({
            "model_type": format!("{kind}_vision_model"),
            "image_size": image.size,
            "patch_size": image.patch,
            "num_channels": crate::image_tower::CHANNELS,
            "hidden_size": image.width,
            "intermediate_size": image.hidden,
            "num_hidden_layers": image.layers,
            "num_attention_heads": image.heads,
            "hidden_act": image.activation,
            "layer_norm_eps": image.layer_norm_epsilon,
            "attention_dropout": 0.0,
            "projection_dim": layout.joint,
        })
    });
    let text = layout.text.as_ref().map(|text| {
        json!({
            "model_type": format!("{kind}_text_model"),
            "vocab_size": text.vocabulary,
            "max_position_embeddings": text.context,
            "hidden_size": text.width,
            "intermediate_size": text.hidden,
            "num_hidden_layers": text.layers,
            "num_attention_heads": text.heads,
            "hidden_act": text.activation,
            "layer_norm_eps": text.layer_norm_epsilon,
            "attention_dropout": 0.0,
            "projection_dim": layout.joint,
            // Nobody reads it, but the default is outside a small vocabulary.
            "bos_token_id": null,
            "eos_token_id": match text.eos { EosRule::LargestId => 2, EosRule::First(id) => id },
        })
    });
    let (mut config, name) = match (image, text) {
        (Some(image), Some(text)) => {
            let both = json!({
                "model_type": kind,
                "projection_dim": layout.joint,
                "vision_config": image,
                "text_config": text,
            });
            (both, format!("{class}Model"))
        }
        (Some(image), None) => (image, format!("{class}VisionModelWithProjection")),
        (None, text) => (text.unwrap_or_default(), format!("{class}TextModelWithProjection")),
    };
    config["architectures"] = json!([name]);
    config["dtype"] = json!("float32");
    config["torch_dtype"] = json!("float32");
    config
}

/// A tensor to write.
struct Values {
    shape: Vec<usize>,
    values: Vec<f32>,
}

impl View for Values {
    fn dtype(&self) -> Dtype {
        Dtype::F32
    }

    fn shape(&self) -> &[usize] {
        &self.shape
    }

    fn data(&self) -> Cow<'_, [u8]> {
        Cow::Owned(self.values.iter().flat_map(|value| value.to_le_bytes()).collect())
    }

    fn data_len(&self) -> usize {
        self.values.len() * size_of::<f32>()
    }
}
