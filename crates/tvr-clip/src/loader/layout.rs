//! Configs of checkpoints: Hugging Face's `config.json` and OpenCLIP's `open_clip_config.json`.
//!
//! A field that a config leaves out has the default of the library that wrote it; whatever follows from a wrong
//! size shows itself in the shapes of the weights. The number of heads does not, so only a tower of the default
//! width may leave it out. An option that would change the wiring is an error with its name and value.
//!
//! Source: huggingface/transformers, `models/clip/configuration_clip.py`, `models/metaclip_2`;
//! mlfoundations/open_clip, `src/open_clip/model.py`, `CLIPVisionCfg` and `CLIPTextCfg`.

use std::cell::RefCell;
use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;
use serde_json::{Map, Value};
use tvr_nn::Activation;

use crate::config::{PatchMode, PatchPositions};
use crate::loader::Names;
use crate::loader::weights::Weights;
use crate::{ClipError, EosRule, ImageConfig, TextConfig};

/// No size of a real model is near this.
const LARGEST_SIZE: usize = 1 << 20;

/// The `eos_token_id` of older exports, which never was one: they pool at the largest id.
const OLD_EOS: usize = 2;

/// Settings of the towers that a folder holds.
#[derive(Clone, Debug, PartialEq)]
pub struct Layout {
    /// Whose names the tensors have.
    pub names: Names,
    /// Width of the joint space.
    pub joint: usize,
    /// The image tower, if there is one.
    pub image: Option<ImageConfig>,
    /// The text tower, if there is one.
    pub text: Option<TextConfig>,
}

impl Layout {
    /// Reads the config that belongs to a folder's weights; also the sizes that it leaves out, with their defaults.
    ///
    /// # Errors
    /// [`ClipError`] names the file, and the field or the options.
    pub fn read(folder: &Path, weights: &Weights) -> Result<(Self, Vec<String>), ClipError> {
        let open_clip = weights.shape("visual.class_embedding").is_some();
        let name = if open_clip { "open_clip_config.json" } else { "config.json" };
        let path = folder.join(name);
        if !path.exists() {
            return Err(ClipError::NoCheckpoint { path: folder.into(), need: name });
        }
        let root: Map<String, Value> = json(&path)?;
        let left_out = RefCell::default();
        let root = Fields { path: &path, prefix: String::new(), map: root, left_out: &left_out };
        let layout = if open_clip { self::open_clip(root) } else { hugging_face(root) }?;
        let left_out: Vec<String> = left_out.into_inner();
        layout.check(weights.names().count()).map_err(|reason| {
            let left_out = left_out.join(", ");
            let said =
                if left_out.is_empty() { String::new() } else { format!("; left out of it: {left_out}") };
            ClipError::Format { path, reason: reason + &said }
        })?;
        Ok((layout, left_out))
    }

    /// What would make building a tower fail, or fill the memory.
    fn check(&self, tensors: usize) -> Result<(), String> {
        let towers = [
            self.image
                .as_ref()
                .map(|image| ("image", image.width, image.heads, image.layers, image.layer_norm_epsilon)),
            self.text
                .as_ref()
                .map(|text| ("text", text.width, text.heads, text.layers, text.layer_norm_epsilon)),
        ];
        for (tower, width, heads, layers, epsilon) in towers.into_iter().flatten() {
            if heads == 0 || !width.is_multiple_of(heads) {
                return Err(format!(
                    "the {tower} tower's width {width} is not a multiple of its {heads} heads"
                ));
            }
            if layers > tensors {
                return Err(format!(
                    "{layers} layers of the {tower} tower, but the weights are {tensors} tensors"
                ));
            }
            if !(epsilon >= 0.0 && epsilon.is_finite()) {
                return Err(format!(
                    "the {tower} tower's layer_norm_eps = {epsilon}, but it must not be below 0"
                ));
            }
        }
        let said = |error: ClipError| error.to_string();
        self.image.as_ref().map_or(Ok(()), ImageConfig::check).map_err(said)?;
        self.text.as_ref().map_or(Ok(()), TextConfig::check).map_err(said)
    }
}

/// Reads a JSON file.
///
/// # Errors
/// [`ClipError::File`] or [`ClipError::Format`] with the path.
pub(crate) fn json<T: DeserializeOwned>(path: &Path) -> Result<T, ClipError> {
    let bytes = std::fs::read(path).map_err(|source| ClipError::File {
        path: path.into(),
        action: "read",
        source,
    })?;
    serde_json::from_slice(&bytes).map_err(|cause| ClipError::Format {
        path: path.into(),
        reason: format!("not the JSON it should be: {cause}"),
    })
}

/// transformers' config.
fn hugging_face(root: Fields<'_>) -> Result<Layout, ClipError> {
    let kind = root.word("model_type", None)?;
    let path = root.path();
    let quantized = root.present("quantization_config");
    let mut refused: Vec<String> =
        quantized.into_iter().map(|value| format!("quantization_config = {value}")).collect();
    // MetaCLIP 2 pools at the first `eos_token_id` even if that is 2.
    let meta = kind.starts_with("metaclip_2");
    let joint = root.size("projection_dim", 512);
    let (image, text) = match kind.as_str() {
        "clip" | "metaclip_2" => (Some(root.part("vision_config")?), Some(root.part("text_config")?)),
        "clip_text_model" | "metaclip_2_text_model" => (None, Some(root)),
        "clip_vision_model" | "metaclip_2_vision_model" => (Some(root), None),
        _ => return Err(root.unsupported(vec![format!("model_type = {kind:?}")])),
    };
    let joint = joint?;
    let image = image.map(|fields| hugging_face_image(&fields, &mut refused)).transpose()?;
    let text = text.map(|fields| hugging_face_text(&fields, meta, &mut refused)).transpose()?;
    if refused.is_empty() {
        Ok(Layout { names: Names::HuggingFace, joint, image, text })
    } else {
        Err(ClipError::Unsupported { path, options: refused })
    }
}

fn hugging_face_image(fields: &Fields<'_>, refused: &mut Vec<String>) -> Result<ImageConfig, ClipError> {
    refused.extend(fields.dropout());
    let channels = fields.whole("num_channels")?.unwrap_or(crate::image_tower::CHANNELS);
    if channels != crate::image_tower::CHANNELS {
        refused.push(format!("{}num_channels = {channels}", fields.prefix));
    }
    Ok(ImageConfig {
        size: fields.size("image_size", 224)?,
        patch: fields.size("patch_size", 32)?,
        width: fields.size("hidden_size", 768)?,
        layers: fields.size("num_hidden_layers", 12)?,
        heads: fields.heads(768, 12)?,
        hidden: fields.size("intermediate_size", 3072)?,
        activation: fields.activation(refused)?,
        layer_norm_epsilon: fields.number("layer_norm_eps", 1e-5)?,
        patches: PatchMode::Flat,
        positions: PatchPositions::Normal,
    })
}

fn hugging_face_text(
    fields: &Fields<'_>,
    meta: bool,
    refused: &mut Vec<String>,
) -> Result<TextConfig, ClipError> {
    refused.extend(fields.dropout());
    let eos = fields.whole("eos_token_id")?.unwrap_or(49_407);
    Ok(TextConfig {
        vocabulary: fields.size("vocab_size", 49_408)?,
        context: fields.size("max_position_embeddings", 77)?,
        width: fields.size("hidden_size", 512)?,
        layers: fields.size("num_hidden_layers", 12)?,
        heads: fields.heads(512, 8)?,
        hidden: fields.size("intermediate_size", 2048)?,
        activation: fields.activation(refused)?,
        layer_norm_epsilon: fields.number("layer_norm_eps", 1e-5)?,
        eos: if eos == OLD_EOS && !meta { EosRule::LargestId } else { EosRule::First(eos as u32) },
    })
}

/// OpenCLIP's config.
fn open_clip(root: Fields<'_>) -> Result<Layout, ClipError> {
    let model = root.part("model_cfg")?;
    let (image, text) = (model.part("vision_cfg")?, model.part("text_cfg")?);
    let known: [(&Fields<'_>, &[&str]); 3] = [
        (&model, &["embed_dim", "quick_gelu", "vision_cfg", "text_cfg"]),
        (&image, &["image_size", "layers", "width", "head_width", "mlp_ratio", "patch_size"]),
        (
            &text,
            &["context_length", "vocab_size", "width", "heads", "layers", "mlp_ratio", "hf_tokenizer_name"],
        ),
    ];
    let refused: Vec<String> = known.into_iter().flat_map(|(fields, known)| fields.beyond(known)).collect();
    if !refused.is_empty() {
        return Err(root.unsupported(refused));
    }
    let quick = model.map.get("quick_gelu").and_then(Value::as_bool).unwrap_or(false);
    let activation = if quick { Activation::QuickGelu } else { Activation::Gelu };
    let (image_width, text_width) = (image.size("width", 768)?, text.size("width", 512)?);
    // OpenCLIP cuts the product to a whole number.
    let hidden = |fields: &Fields<'_>, width: usize| -> Result<usize, ClipError> {
        Ok((width as f64 * fields.number("mlp_ratio", 4.0)?) as usize)
    };
    let head_width = image.size("head_width", 64)?.max(1);
    Ok(Layout {
        names: Names::OpenClip,
        joint: model.required("embed_dim")?,
        image: Some(ImageConfig {
            size: image.size("image_size", 224)?,
            patch: image.size("patch_size", 16)?,
            width: image_width,
            layers: image.size("layers", 12)?,
            heads: image_width / head_width,
            hidden: hidden(&image, image_width)?,
            activation,
            layer_norm_epsilon: 1e-5,
            patches: PatchMode::Flat,
            positions: PatchPositions::Normal,
        }),
        text: Some(TextConfig {
            vocabulary: text.size("vocab_size", 49_408)?,
            context: text.size("context_length", 77)?,
            width: text_width,
            layers: text.size("layers", 12)?,
            heads: text.size("heads", 8)?,
            hidden: hidden(&text, text_width)?,
            activation,
            layer_norm_epsilon: 1e-5,
            eos: EosRule::LargestId,
        }),
    })
}

/// A table of a config, with the way to it for messages.
struct Fields<'a> {
    path: &'a Path,
    prefix: String,
    map: Map<String, Value>,
    /// Sizes that were asked for and are not there, with the default of each.
    left_out: &'a RefCell<Vec<String>>,
}

impl<'a> Fields<'a> {
    fn path(&self) -> PathBuf {
        self.path.to_owned()
    }

    fn wrong(&self, name: &str, how: &str) -> ClipError {
        ClipError::Format { path: self.path(), reason: format!("{}{name} {how}", self.prefix) }
    }

    fn unsupported(&self, options: Vec<String>) -> ClipError {
        ClipError::Unsupported { path: self.path(), options }
    }

    /// A table inside this one. Older exports have `NAME_dict` beside it; then that holds and what it leaves out has its
    /// default, whatever the table says, as in transformers.
    fn part(&self, name: &str) -> Result<Fields<'a>, ClipError> {
        let over = format!("{name}_dict");
        let name = if self.present(&over).is_some() { over.as_str() } else { name };
        let map = match self.map.get(name) {
            Some(Value::Object(map)) => map.clone(),
            None | Some(Value::Null) => return Err(self.wrong(name, "is missing")),
            Some(_) => return Err(self.wrong(name, "is no table")),
        };
        Ok(Fields { prefix: format!("{}{name}.", self.prefix), map, ..*self })
    }

    fn present(&self, name: &str) -> Option<&Value> {
        self.map.get(name).filter(|value| !value.is_null())
    }

    fn required(&self, name: &str) -> Result<usize, ClipError> {
        self.whole(name)?.ok_or_else(|| self.wrong(name, "is missing"))
    }

    fn size(&self, name: &str, default: usize) -> Result<usize, ClipError> {
        let size = self.whole(name)?;
        if size.is_none() {
            self.left_out.borrow_mut().push(format!("{}{name} ({default} is taken)", self.prefix));
        }
        Ok(size.unwrap_or(default))
    }

    fn whole(&self, name: &str) -> Result<Option<usize>, ClipError> {
        let Some(value) = self.present(name) else { return Ok(None) };
        let size = value.as_u64().and_then(|size| usize::try_from(size).ok());
        size.filter(|&size| size <= LARGEST_SIZE).map(Some).ok_or_else(|| {
            self.wrong(name, &format!("= {value}, but it must be a whole number up to {LARGEST_SIZE}"))
        })
    }

    fn number(&self, name: &str, default: f64) -> Result<f64, ClipError> {
        let Some(value) = self.present(name) else { return Ok(default) };
        value.as_f64().ok_or_else(|| self.wrong(name, &format!("= {value}, but it must be a number")))
    }

    fn word(&self, name: &str, default: Option<&str>) -> Result<String, ClipError> {
        match (self.present(name), default) {
            (Some(Value::String(word)), _) => Ok(word.clone()),
            (Some(value), _) => Err(self.wrong(name, &format!("= {value}, but it must be a word"))),
            (None, Some(default)) => Ok(default.to_owned()),
            (None, None) => Err(self.wrong(name, "is missing")),
        }
    }

    /// No tensor shows the number of heads, so it must be said unless everything is at its default.
    fn heads(&self, default_width: usize, default: usize) -> Result<usize, ClipError> {
        match (self.present("num_attention_heads"), self.whole("hidden_size")?.unwrap_or(default_width)) {
            (None, width) if width != default_width => {
                let how = format!("is missing; only a tower of width {default_width} may leave it out");
                Err(self.wrong("num_attention_heads", &how))
            }
            _ => self.size("num_attention_heads", default),
        }
    }

    fn activation(&self, refused: &mut Vec<String>) -> Result<Activation, ClipError> {
        Ok(match self.word("hidden_act", Some("quick_gelu"))?.as_str() {
            "quick_gelu" => Activation::QuickGelu,
            "gelu" => Activation::Gelu,
            other => {
                refused.push(format!("{}hidden_act = {other:?}", self.prefix));
                Activation::Gelu
            }
        })
    }

    /// CLIP has no dropout, and no published checkpoint asks for any.
    fn dropout(&self) -> Vec<String> {
        ["attention_dropout", "dropout"]
            .into_iter()
            .filter_map(|name| self.present(name).map(|value| (name, value)))
            .filter(|(_, value)| value.as_f64() != Some(0.0))
            .map(|(name, value)| format!("{}{name} = {value}", self.prefix))
            .collect()
    }

    /// Options beyond those that are known, with a value that switches something on.
    fn beyond(&self, known: &[&str]) -> Vec<String> {
        let off =
            |value: &Value| matches!(value, Value::Null | Value::Bool(false)) || value.as_f64() == Some(0.0);
        self.map
            .iter()
            .filter(|(name, value)| !known.contains(&name.as_str()) && !off(value))
            .map(|(name, value)| format!("{}{name} = {value}", self.prefix))
            .collect()
    }
}
