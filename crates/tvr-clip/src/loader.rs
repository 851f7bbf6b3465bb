//! Checkpoints: a folder as the Hugging Face hub has them becomes a [`Clip`].
//!
//! | file | what |
//! |---|---|
//! | `config.json`, or `open_clip_config.json` | sizes and rules of the towers ([`layout`]) |
//! | `model.safetensors`, or its shards with `model.safetensors.index.json`, or `open_clip_model.safetensors`, `open_clip_pytorch_model.safetensors` | weights in f32, f16 or bf16, memory-mapped ([`weights`]) |
//! | `tokenizer.json`, or `vocab.json` and `merges.txt` | the tokenizer |
//! | `preprocessor_config.json`, or `processor_config.json` | how pixels are made |
//!
//! The key table below is the one list of tensors: reading ([`ClipCheckpoint::load`]) and writing
//! ([`save`](crate::saver::save)) both follow it. Names and shapes are compared with the config before any weight is
//! read, and everything that is missing, left over or of another shape is told in one error. Layouts: `CLIPModel`,
//! `CLIPTextModelWithProjection`, `CLIPVisionModelWithProjection`, and OpenCLIP's own names, whose query, key and
//! value are the thirds of one matrix.
//!
//! Source: huggingface/transformers, `models/clip/modeling_clip.py`; mlfoundations/open_clip, `src/open_clip/model.py`.

pub mod layout;
pub(crate) mod transfer;
pub mod weights;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use burn::module::Module;
use burn::prelude::*;

use crate::image_tower::CHANNELS;
use crate::loader::layout::Layout;
use crate::loader::transfer::Fill;
use crate::loader::weights::{Problem, Weights};
use crate::{
    Clip, ClipConfig, ClipError, ImageConfig, ImageTower, Precision, TextConfig, TextTower, Tokenizer,
};

/// How a tensor of the file becomes a parameter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    /// As it is.
    Same,
    /// As it is; stays f32 whatever the other weights are.
    Norm,
    /// A linear map: `[out, in]` in the file, `[in, out]` here.
    Linear,
    /// A projection: a linear map for Hugging Face, as it is for OpenCLIP.
    Projection,
    /// The patch convolution: `[width, 3, patch, patch]` in the file, `[3 · patch · patch, width]` here.
    Patches,
    /// One number: `[]` or `[1]` in the file, `[1]` here, f32.
    Scalar,
}

/// A size that the config gives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Size {
    /// Width of the tower.
    W,
    /// Width inside its perceptrons.
    H,
    /// Width of the joint space.
    J,
    /// Positions: 1 + patches, or the context.
    P,
    /// Values of a patch.
    X,
    /// Tokens of the vocabulary.
    V,
    /// One.
    I,
}
use Size::{H, I, J, P, V, W, X};

/// A row of the key table: parameter, Hugging Face's name, OpenCLIP's name, form, the parameter's shape.
type Key = (&'static str, &'static str, &'static str, Form, &'static [Size]);

/// Tensors of the image tower, blocks aside.
#[rustfmt::skip]
const IMAGE: &[Key] = &[
    ("image.patch_embedding.weight", "vision_model.embeddings.patch_embedding.weight",    "visual.conv1.weight",         Form::Patches,    &[X, W]),
    ("image.class",                  "vision_model.embeddings.class_embedding",           "visual.class_embedding",      Form::Same,       &[W]),
    ("image.positions",              "vision_model.embeddings.position_embedding.weight", "visual.positional_embedding", Form::Same,       &[P, W]),
    ("image.pre_norm.gamma",         "vision_model.pre_layrnorm.weight",                  "visual.ln_pre.weight",        Form::Norm,       &[W]),
    ("image.pre_norm.beta",          "vision_model.pre_layrnorm.bias",                    "visual.ln_pre.bias",          Form::Norm,       &[W]),
    ("image.post_norm.gamma",        "vision_model.post_layernorm.weight",                "visual.ln_post.weight",       Form::Norm,       &[W]),
    ("image.post_norm.beta",         "vision_model.post_layernorm.bias",                  "visual.ln_post.bias",         Form::Norm,       &[W]),
    ("image.projection.weight",      "visual_projection.weight",                          "visual.proj",                 Form::Projection, &[W, J]),
];

/// Tensors of the text tower, blocks aside.
#[rustfmt::skip]
const TEXT: &[Key] = &[
    ("text.token_embedding.weight", "text_model.embeddings.token_embedding.weight",    "token_embedding.weight", Form::Same,       &[V, W]),
    ("text.positions",              "text_model.embeddings.position_embedding.weight", "positional_embedding",   Form::Same,       &[P, W]),
    ("text.final_norm.gamma",       "text_model.final_layer_norm.weight",              "ln_final.weight",        Form::Norm,       &[W]),
    ("text.final_norm.beta",        "text_model.final_layer_norm.bias",                "ln_final.bias",          Form::Norm,       &[W]),
    ("text.projection.weight",      "text_projection.weight",                          "text_projection",        Form::Projection, &[W, J]),
];

/// The tensor between the towers.
#[rustfmt::skip]
const SCALE: &[Key] = &[
    ("logit_scale", "logit_scale", "logit_scale", Form::Scalar, &[I]),
];

/// Tensors of a block, after its tower's prefix of [`BLOCKS`]. `in_proj_weight[1]` is the second third.
#[rustfmt::skip]
const BLOCK: &[Key] = &[
    ("attention_norm.gamma", "layer_norm1.weight",        "ln_1.weight",            Form::Norm,   &[W]),
    ("attention_norm.beta",  "layer_norm1.bias",          "ln_1.bias",              Form::Norm,   &[W]),
    ("query.weight",         "self_attn.q_proj.weight",   "attn.in_proj_weight[0]", Form::Linear, &[W, W]),
    ("query.bias",           "self_attn.q_proj.bias",     "attn.in_proj_bias[0]",   Form::Same,   &[W]),
    ("key.weight",           "self_attn.k_proj.weight",   "attn.in_proj_weight[1]", Form::Linear, &[W, W]),
    ("key.bias",             "self_attn.k_proj.bias",     "attn.in_proj_bias[1]",   Form::Same,   &[W]),
    ("value.weight",         "self_attn.v_proj.weight",   "attn.in_proj_weight[2]", Form::Linear, &[W, W]),
    ("value.bias",           "self_attn.v_proj.bias",     "attn.in_proj_bias[2]",   Form::Same,   &[W]),
    ("output.weight",        "self_attn.out_proj.weight", "attn.out_proj.weight",   Form::Linear, &[W, W]),
    ("output.bias",          "self_attn.out_proj.bias",   "attn.out_proj.bias",     Form::Same,   &[W]),
    ("mlp_norm.gamma",       "layer_norm2.weight",        "ln_2.weight",            Form::Norm,   &[W]),
    ("mlp_norm.beta",        "layer_norm2.bias",          "ln_2.bias",              Form::Norm,   &[W]),
    ("expand.weight",        "mlp.fc1.weight",            "mlp.c_fc.weight",        Form::Linear, &[W, H]),
    ("expand.bias",          "mlp.fc1.bias",              "mlp.c_fc.bias",          Form::Same,   &[H]),
    ("contract.weight",      "mlp.fc2.weight",            "mlp.c_proj.weight",      Form::Linear, &[H, W]),
    ("contract.bias",        "mlp.fc2.bias",              "mlp.c_proj.bias",        Form::Same,   &[W]),
];

/// What stands before the number of a block: of the image tower, of the text tower.
const BLOCKS: [(&str, &str, &str); 2] = [
    ("image.blocks", "vision_model.encoder.layers", "visual.transformer.resblocks"),
    ("text.blocks", "text_model.encoder.layers", "transformer.resblocks"),
];

/// Buffers that older exports carry and no model reads.
const BUFFERS: &[&str] = &["position_ids", "attn_mask", "input_resolution", "context_length", "vocab_size"];

/// Whose names a file has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Names {
    /// transformers'.
    HuggingFace,
    /// OpenCLIP's, which are OpenAI's.
    OpenClip,
}

/// Where a parameter comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Origin {
    /// The tensor in the file.
    pub(crate) name: String,
    /// Which third of it, for a joined query, key and value.
    pub(crate) third: Option<usize>,
    /// How it becomes the parameter.
    pub(crate) form: Form,
    /// The parameter's shape.
    pub(crate) shape: Vec<usize>,
}

/// The origin of every parameter of a layout, by the parameter's path in a [`Clip`].
pub(crate) fn origins(layout: &Layout) -> BTreeMap<String, Origin> {
    let mut table = BTreeMap::new();
    let pick = |hugging_face: &'static str, open_clip: &'static str| match layout.names {
        Names::HuggingFace => hugging_face,
        Names::OpenClip => open_clip,
    };
    let joint = layout.joint;
    let mut add = |ours: &str, theirs: &str, key: &Key, sizes: &dyn Fn(Size) -> usize| {
        let form = match (layout.names, key.3) {
            (Names::HuggingFace, Form::Projection) => Form::Linear,
            (Names::OpenClip, Form::Projection) => Form::Same,
            (_, form) => form,
        };
        let name = pick(key.1, key.2);
        let (name, third) = match name.split_once('[') {
            Some((name, third)) => (name, third.trim_end_matches(']').parse().ok()),
            None => (name, None),
        };
        let shape = key.4.iter().map(|&size| sizes(size)).collect();
        table.insert(
            format!("{ours}{}", key.0),
            Origin { name: format!("{theirs}{name}"), third, form, shape },
        );
    };
    let mut tower =
        |keys: &[Key], blocks: (&str, &'static str, &'static str), layers, sizes: &dyn Fn(Size) -> usize| {
            keys.iter().for_each(|key| add("", "", key, sizes));
            for layer in 0..layers {
                let (ours, theirs) = (blocks.0, pick(blocks.1, blocks.2));
                for key in BLOCK {
                    add(&format!("{ours}.{layer}."), &format!("{theirs}.{layer}."), key, sizes);
                }
            }
        };
    if let Some(image) = &layout.image {
        let values = CHANNELS * image.patch * image.patch;
        let sizes = [image.width, image.hidden, joint, 1 + image.patch_count(), values, 0, 1];
        tower(IMAGE, BLOCKS[0], image.layers, &|size| sizes[size as usize]);
    }
    if let Some(text) = &layout.text {
        let sizes = [text.width, text.hidden, joint, text.context, 0, text.vocabulary, 1];
        tower(TEXT, BLOCKS[1], text.layers, &|size| sizes[size as usize]);
    }
    if layout.image.is_some() && layout.text.is_some() {
        tower(SCALE, BLOCKS[0], 0, &|_| 1);
    }
    table
}

/// An opened checkpoint: its config is read, its weights are mapped and known to fit; nothing is built yet.
#[derive(Debug)]
pub struct ClipCheckpoint {
    folder: PathBuf,
    processor: PathBuf,
    layout: Layout,
    weights: Weights,
}

impl ClipCheckpoint {
    /// Opens a folder and compares every name, shape and type with its config.
    ///
    /// # Errors
    /// [`ClipError`] names the file, and all that is missing, left over, of another shape or not supported.
    pub fn open(folder: &Path) -> Result<Self, ClipError> {
        let weights = Weights::open(folder)?;
        let (layout, left_out) = Layout::read(folder, &weights)?;
        let checkpoint = Self { folder: folder.to_owned(), processor: folder.to_owned(), layout, weights };
        checkpoint.compare(left_out)?;
        Ok(checkpoint)
    }

    /// The folder.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// The same weights with tokenizer and pixels of another folder, for weights that come without.
    pub fn with_processor(self, folder: &Path) -> Self {
        Self { processor: folder.to_owned(), ..self }
    }

    /// The folder of tokenizer and pixels.
    pub fn processor(&self) -> &Path {
        &self.processor
    }

    /// Both towers' settings.
    ///
    /// # Errors
    /// [`ClipError::NoTower`] for a checkpoint of one tower.
    pub fn config(&self) -> Result<ClipConfig, ClipError> {
        Ok(ClipConfig {
            image: self.image_config()?.clone(),
            text: self.text_config()?.clone(),
            joint: self.layout.joint,
        })
    }

    /// The image tower's settings.
    ///
    /// # Errors
    /// [`ClipError::NoTower`] for a checkpoint of a text tower.
    pub fn image_config(&self) -> Result<&ImageConfig, ClipError> {
        self.layout.image.as_ref().ok_or_else(|| self.no_tower("image"))
    }

    /// The text tower's settings.
    ///
    /// # Errors
    /// [`ClipError::NoTower`] for a checkpoint of an image tower.
    pub fn text_config(&self) -> Result<&TextConfig, ClipError> {
        self.layout.text.as_ref().ok_or_else(|| self.no_tower("text"))
    }

    /// Width of the joint space.
    pub fn joint(&self) -> usize {
        self.layout.joint
    }

    /// Logarithm of the scale between cosines and logits; `None` for a checkpoint of one tower.
    ///
    /// # Errors
    /// A value that is not finite.
    pub fn logit_scale(&self) -> Result<Option<f32>, ClipError> {
        let values = origins(&self.layout).get("logit_scale").map(|origin| self.weights.read(origin));
        Ok(values.transpose()?.and_then(|values| values.first().copied()))
    }

    /// SHA-256 of the weights' files, in the order of their names.
    pub fn sha256(&self) -> String {
        self.weights.sha256()
    }

    /// Both towers in f32.
    ///
    /// # Errors
    /// [`ClipError::NoTower`], or a weight that is not finite.
    pub fn load(&self, device: &Device) -> Result<Clip, ClipError> {
        self.load_as(device, Precision::F32)
    }

    /// Both towers.
    ///
    /// # Errors
    /// As [`load`](Self::load); [`ClipError::Precision`] if the device cannot compute in that type.
    pub fn load_as(&self, device: &Device, precision: Precision) -> Result<Clip, ClipError> {
        self.fill(self.config()?.init_lazy(device)?, "", device, precision)
    }

    /// The image tower.
    ///
    /// # Errors
    /// As [`load_as`](Self::load_as).
    pub fn load_image(&self, device: &Device, precision: Precision) -> Result<ImageTower, ClipError> {
        let tower = ImageTower::new(self.image_config()?, self.layout.joint, device)?;
        self.fill(tower, "image", device, precision)
    }

    /// The text tower.
    ///
    /// # Errors
    /// As [`load_as`](Self::load_as).
    pub fn load_text(&self, device: &Device, precision: Precision) -> Result<TextTower, ClipError> {
        let tower = TextTower::new(self.text_config()?, self.layout.joint, device)?;
        self.fill(tower, "text", device, precision)
    }

    /// The tokenizer of the [`processor`](Self::processor)'s folder.
    ///
    /// # Errors
    /// [`ClipError::OtherTokenizer`] if it was made for another vocabulary or ends its texts with another token, or
    /// as [`Tokenizer::open`].
    pub fn tokenizer(&self) -> Result<Tokenizer, ClipError> {
        let (text, folder) = (self.text_config()?, &self.processor);
        let tokenizer = Tokenizer::open(folder)?;
        let other =
            |what, found, expected| ClipError::OtherTokenizer { path: folder.into(), what, found, expected };
        if tokenizer.vocabulary() != text.vocabulary {
            return Err(other("the tokenizer's vocabulary", tokenizer.vocabulary(), text.vocabulary));
        }
        match text.eos {
            crate::EosRule::First(id) if id != tokenizer.end() => {
                Err(other("the tokenizer's end of text", tokenizer.end() as usize, id as usize))
            }
            _ => Ok(tokenizer),
        }
    }

    fn no_tower(&self, tower: &'static str) -> ClipError {
        ClipError::NoTower { path: self.folder.clone(), tower }
    }

    /// Every name, shape and type against the config, which leaves some sizes out.
    fn compare(&self, left_out: Vec<String>) -> Result<(), ClipError> {
        let (mut missing, mut wrong, mut used) = (BTreeSet::new(), BTreeSet::new(), BTreeSet::new());
        let origins = origins(&self.layout);
        for origin in origins.values() {
            used.insert(origin.name.as_str());
            match self.weights.problem(origin) {
                None => {}
                Some(Problem::Missing) => _ = missing.insert(origin.name.clone()),
                Some(Problem::Wrong(how)) => _ = wrong.insert(how),
            }
        }
        let buffer = |name: &str| BUFFERS.contains(&name.rsplit('.').next().unwrap_or(name));
        let unused: Vec<String> = self
            .weights
            .names()
            .filter(|name| !used.contains(name) && !buffer(name))
            .map(str::to_owned)
            .collect();
        if missing.is_empty() && wrong.is_empty() && unused.is_empty() {
            return Ok(());
        }
        Err(ClipError::Tensors {
            path: self.weights.path().to_owned(),
            missing: missing.into_iter().collect(),
            unused,
            wrong: wrong.into_iter().collect(),
            left_out,
        })
    }

    fn fill<M: Module>(
        &self,
        module: M,
        prefix: &str,
        device: &Device,
        precision: Precision,
    ) -> Result<M, ClipError> {
        if precision != Precision::F32 && !device.supports_dtype(precision.dtype()) {
            return Err(ClipError::Precision { dtype: precision.name() });
        }
        Fill::new(&self.weights, origins(&self.layout), prefix, device, precision).fill(module)
    }
}
