//! Support-set: a caption must be told from videos that are like its own.
//!
//! ```text
//! w[t, j]    weights of text t over its support, see [`support`]
//! code[t]    = Σ_j w[t, j] · e[j]
//! L_caption  = −mean_t 1/L[t] Σ_l ln p(y[t, l] | y[t, <l], code[t])
//! L          = L_contrastive + λ · L_caption
//! ```
//!
//! | symbol | meaning | shape, unit |
//! |---|---|---|
//! | `e` | the videos' vectors: of the batch, then of the bank | `[columns, width]` |
//! | `y` | the captions' tokens, `L[t]` of them, see [`decoder`] | `[texts, tokens]` |
//! | `λ` | weight of the caption loss | 0 or above |
//!
//! Under `cross` a caption never sees its own video, so two videos that can tell each other's captions are drawn
//! together: that is the paper's point. Gradients flow through the weights into texts and videos. No similarity
//! depends on the decoder; what it has learned to tell of a video is worth a look ([`generate`]).
//!
//! The *bank* is a queue of earlier videos, without gradients, as further columns; under `cross` its entries of a
//! text's own video are left out. A text whose support is empty has no caption loss.
//!
//! Parts: `contrastive`, `caption`, and `largest_weight`, the mean of each text's largest weight. Near 1 the
//! support has shrunk to one video, and `cross` teaches what `identity` would.
//!
//! Source: Patrick et al. 2021, arXiv 2010.02824, whose abstract fixes the idea; there is no public code. Ours are:
//! `T` = 0.1, λ = 1, the half and half of `hybrid`, the mean over tokens, `e` as the head's own vector, which is of
//! length 1, one decoder for all (see [`decoder`]), and the exclusion of *all* of a video's columns under `cross`.

pub mod decoder;
pub mod generate;
pub mod support;

use burn::prelude::*;
use burn::tensor::TensorData;
use serde::{Deserialize, Serialize};
use tvr_nn::sum;

use crate::error::{ObjectiveError, divisor};
use crate::hinge::{Hinge, HingeConfig};
use crate::objective::{Loss, Needs, Objective, Pairs};
use crate::queue::{Queue, numbers};
use crate::symmetric::{Symmetric, SymmetricConfig};

pub use decoder::{Decoder, DecoderConfig};
pub use support::{Columns, Support};

const NAME: &str = "support-set";

/// How a caption's tokens make one number.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Captions {
    /// Their mean: a long caption counts as much as a short one.
    #[default]
    Mean,
    /// Their sum.
    Sum,
}

/// The contrastive part.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum ContrastiveConfig {
    /// Hinge loss.
    Hinge(HingeConfig),
    /// Symmetric cross-entropy, InfoNCE.
    Symmetric(SymmetricConfig),
}

/// Settings of [`SupportSet`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SupportSetConfig {
    /// Whose videos tell a caption.
    #[serde(default)]
    pub support: Support,
    /// Temperature of the weights, in cosine; above 0.
    #[serde(default = "temperature")]
    pub temperature: f32,
    /// Earlier videos beside the batch; 0 for none.
    #[serde(default)]
    pub bank: usize,
    /// Weight of the caption loss, λ; 0 or above.
    #[serde(default = "caption_weight")]
    pub caption_weight: f32,
    /// How a caption's tokens make one number.
    #[serde(default)]
    pub captions: Captions,
    /// The contrastive part.
    #[serde(default = "contrastive")]
    pub contrastive: ContrastiveConfig,
    /// The decoder.
    #[serde(default = "DecoderConfig::ours")]
    pub decoder: DecoderConfig,
}

fn temperature() -> f32 {
    0.1
}
fn caption_weight() -> f32 {
    1.0
}
fn contrastive() -> ContrastiveConfig {
    ContrastiveConfig::Hinge(HingeConfig::paper())
}

impl SupportSetConfig {
    /// The paper's cross-captioning, where the abstract and memory carry; what they leave open is ours.
    pub fn paper() -> Self {
        Self {
            support: Support::Cross,
            temperature: temperature(),
            bank: 0,
            caption_weight: caption_weight(),
            captions: Captions::Mean,
            contrastive: contrastive(),
            decoder: DecoderConfig::ours(),
        }
    }

    /// Checks every setting and makes the objective.
    ///
    /// - `width`: of the heads' vectors
    /// - `vocabulary`: number of tokens that captions are made of
    ///
    /// # Errors
    /// [`ObjectiveError::Setting`] names the first setting outside its domain.
    pub fn init(
        &self,
        width: usize,
        vocabulary: usize,
        device: &Device,
    ) -> Result<SupportSet, ObjectiveError> {
        let refuse = |setting, value: f64, domain| {
            Err(ObjectiveError::Setting { objective: NAME, setting, value, domain })
        };
        if !(self.caption_weight >= 0.0 && self.caption_weight.is_finite()) {
            return refuse("caption_weight", self.caption_weight.into(), "a number of 0 or above");
        }
        if self.support == Support::Identity && self.bank > 0 {
            return refuse("bank", self.bank as f64, "0 where support = \"identity\"");
        }
        Ok(SupportSet {
            temperature: divisor(NAME, "temperature", self.temperature)?,
            contrastive: match &self.contrastive {
                ContrastiveConfig::Hinge(config) => Contrastive::Hinge(config.init()?),
                ContrastiveConfig::Symmetric(config) => Contrastive::Symmetric(config.init()?),
            },
            decoder: self.decoder.init(width, vocabulary, device)?,
            bank: (self.bank > 0).then(|| Queue::new(self.bank, width, device)),
            support: self.support,
            caption_weight: self.caption_weight,
            captions: self.captions,
        })
    }
}

/// The contrastive part, made.
#[derive(Module, Debug)]
enum Contrastive {
    /// Hinge loss.
    Hinge(Hinge),
    /// Symmetric cross-entropy, InfoNCE.
    Symmetric(Symmetric),
}

/// Cross-captioning beside a contrastive loss. Only [`SupportSetConfig::init`] makes one, so its settings are valid.
#[derive(Module, Debug)]
pub struct SupportSet {
    /// Tells captions.
    pub decoder: Decoder,
    /// Earlier videos.
    pub bank: Option<Queue>,
    contrastive: Contrastive,
    #[module(skip)]
    support: Support,
    #[module(skip)]
    temperature: f32,
    #[module(skip)]
    caption_weight: f32,
    #[module(skip)]
    captions: Captions,
}

/// What a batch's captions are told from.
#[derive(Clone, Debug)]
pub struct Told {
    /// `w`. `[texts, columns]`
    pub weights: Tensor<2>,
    /// `code`. `[texts, width]`
    pub codes: Tensor<2>,
    /// For every text whether its support holds anything.
    pub supported: Vec<bool>,
}

impl SupportSet {
    /// Weights and codes of a batch; `None` where it carries no vectors, which [`Pairs::check`] refuses.
    pub fn told(&self, pairs: &Pairs) -> Option<Told> {
        let (texts, videos) = (pairs.texts?, pairs.videos?);
        let [n_texts, _] = texts.dims();
        let entries = self.bank.as_ref().and_then(Queue::entries);
        let mut ids = numbers(pairs.named_videos().clone());
        let mut vectors = videos.clone();
        if let Some(entries) = entries {
            ids.extend(entries.video_ids);
            let earlier = entries.vectors;
            let earlier = if videos.is_autodiff() { Tensor::from_inner(earlier) } else { earlier };
            vectors = Tensor::cat(vec![vectors, earlier], 0);
        }
        let related: Vec<bool> = numbers(pairs.same.clone())
            .into_iter()
            .flat_map(|own| ids.iter().map(move |id| (own, *id)))
            .map(|(own, id)| ids[own as usize] == id)
            .collect();
        let supported = related
            .chunks(ids.len())
            .map(|row| self.support != Support::Cross || row.iter().any(|related| !related))
            .collect();
        let related = TensorData::new(related, [n_texts, ids.len()]);
        let related = Tensor::<2, Bool>::from_data(related, &texts.device());
        let columns = Columns { vectors, own: pairs.same.clone(), related };
        let weights = self.support.weights(texts.clone(), &columns, self.temperature);
        let codes = weights.clone().matmul(columns.vectors);
        Some(Told { weights, codes, supported })
    }
}

impl Objective for SupportSet {
    fn needs(&self) -> Needs {
        let lonely = self.bank.as_ref().is_none_or(|bank| bank.n_items() == 0);
        let least_videos = if self.support == Support::Cross && lonely { 2 } else { 1 };
        let contrastive = match &self.contrastive {
            Contrastive::Hinge(hinge) => hinge.needs(),
            Contrastive::Symmetric(symmetric) => symmetric.needs(),
        };
        Needs { codes: true, captions: true, video_ids: true, least_videos, ..contrastive }
    }

    fn loss(&self, pairs: &Pairs) -> Loss {
        let contrastive = match &self.contrastive {
            Contrastive::Hinge(hinge) => hinge.loss(pairs).total,
            Contrastive::Symmetric(symmetric) => symmetric.loss(pairs).total,
        };
        let (Some(told), Some(captions)) = (self.told(pairs), pairs.captions) else {
            unreachable!("the batch carries no vectors or no captions");
        };
        let counted = told.supported.iter().filter(|&&supported| supported).count().max(1);
        let largest_weight = sum(told.weights.detach().max_dim(1)) / counted as f64;
        let caption = self.decoder.loss(told.codes, captions, &told.supported, self.captions);
        let total = if self.caption_weight == 0.0 {
            contrastive.clone()
        } else {
            contrastive.clone() + caption.clone() * f64::from(self.caption_weight)
        };
        let parts = [("contrastive", contrastive), ("caption", caption), ("largest_weight", largest_weight)];
        Loss { total, parts: parts.map(|(name, part)| (name.into(), part)).into() }
    }

    fn after_step(&mut self, pairs: &Pairs) {
        if let (Some(bank), Some(videos)) = (&mut self.bank, pairs.videos) {
            bank.push(videos.clone(), pairs.named_videos().clone());
        }
    }

    fn decoder(&self) -> Option<&Decoder> {
        Some(&self.decoder)
    }
}
