//! A host of feature experts: several networks have seen each video, and the text says whom to trust.
//!
//! ```text
//! ψ_e = unit(P_e · mean of the expert's real steps), mixed with the others, see [`ce`] and [`mmt`]
//! t_e = gated_e(t)                                   see [`gated`]
//! w   = softmax(W t + b)                             one weight per expert, from the text alone
//! s   = Σ_e w_e a_e (t_e · ψ_e) / Σ_e w_e a_e
//! ```
//!
//! | symbol | meaning | shape |
//! |---|---|---|
//! | expert's steps | features of one network, with their mask | `[videos, steps, inputs]` |
//! | `t` | text features | `[texts, width of the text]` |
//! | `ψ`, `t_e` | one unit vector per expert on either side | `[videos, experts, width]`, `[texts, experts, width]` |
//! | `a` | 1 where a video has the expert, else 0 | `[videos, experts]` |
//!
//! An expert that a video lacks contributes exactly nothing to it: neither its features nor the text's vector for it
//! count, it is hidden from the mixing, and its weight goes to the others. The two reference codes differ, see
//! [`MissingExpert`].
//!
//! Source: Gabeur et al. 2020 (MMT), arXiv 2007.10639; code: gabeur/mmt, `model/model.py`; Liu et al. 2019 (CE),
//! arXiv 1907.13487; code: albanie/collaborative-experts, `model/model.py`. No batch norm (theirs has one in every
//! gate): with it an item's vector would depend on the items it is encoded with, and a step that encodes a batch by
//! parts would have another gradient for each number of parts.

pub mod ce;
mod encoder;
pub mod gated;
pub mod mmt;

use burn::nn::{Linear, LinearConfig};
use burn::prelude::*;
use serde::{Deserialize, Serialize};
use tvr_nn::{linear, masked_mean, unit_rows};

use crate::camoe::gate::{faint_softmax, weighed};
use crate::camoe::stream_vectors;
use crate::codes::{TextCodes, VideoCodes};
use crate::error::{HeadError, WIDEST, at_least_one, at_most};
use crate::features::{Expert, TextFeatures, VideoFeatures};
use crate::head::{Head, Needs, Similarity};
use crate::mean_pooling::quiet_padding;
use crate::vectors::Vectors;
use ce::Gating;
use gated::GatedUnit;
use mmt::{Tokens, Transformer, TransformerConfig};

const NAME: &str = "experts";

/// The rows of codes that hold a text's weights.
const WEIGHTS: &str = "weights";

/// Settings of [`Experts`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ExpertsConfig {
    /// Width of every expert's vector; above 0.
    pub width: usize,
    /// The experts of the data, in any order.
    pub experts: Vec<ExpertInput>,
    /// Whether the frame features are one more expert, after these.
    #[serde(default)]
    pub frames: bool,
    /// How experts of a video see one another.
    #[serde(default)]
    pub mixing: Mixing,
    /// Whether the gates have a layer norm.
    #[serde(default)]
    pub norm: bool,
    /// What an expert counts for a video that lacks it.
    #[serde(default)]
    pub missing: MissingExpert,
}

/// One expert of the data.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ExpertInput {
    /// Its name in the feature file.
    pub name: String,
    /// Width of its features; above 0.
    pub width: usize,
}

/// How experts of a video see one another. With braces, because serde passes over the keys of a variant without them.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Mixing {
    /// Not at all.
    None {},
    /// CE's collaborative gating.
    Gating {},
    /// MMT's transformer.
    Transformer(TransformerConfig),
}

impl Default for Mixing {
    fn default() -> Self {
        Self::None {}
    }
}

/// What an expert counts for a video that lacks it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum MissingExpert {
    /// Nothing: its weight goes to the others.
    #[default]
    Drop,
    /// Its weight is kept, and what the network makes of no features is compared: MMT's released settings.
    Keep,
    /// As `keep`, and all weights are equal whatever the text says: CE's `keep_missing_modalities`, whose sum over
    /// experts is a mean here.
    Equal,
}

impl ExpertsConfig {
    /// MMT's host at width 512, as its code builds it but for the batch norms.
    pub fn mmt(experts: Vec<ExpertInput>) -> Self {
        let mixing = Mixing::Transformer(TransformerConfig::reference());
        Self { width: 512, mixing, missing: MissingExpert::Keep, ..Self::ours(experts) }
    }

    /// CE's host at width 768, as its code builds it but for the batch norms.
    pub fn ce(experts: Vec<ExpertInput>) -> Self {
        Self { width: 768, mixing: Mixing::Gating {}, ..Self::ours(experts) }
    }

    /// Experts that do not see one another, at width 256 (ours).
    pub fn ours(experts: Vec<ExpertInput>) -> Self {
        Self {
            width: 256,
            experts,
            frames: false,
            mixing: Mixing::None {},
            norm: false,
            missing: MissingExpert::Drop,
        }
    }

    /// Checks every setting and makes the head.
    ///
    /// - `width`: of the text features, and of the frame features where they are an expert
    ///
    /// # Errors
    /// [`HeadError`] names the first setting outside its domain.
    pub fn init(&self, width: usize, device: &Device) -> Result<Experts, HeadError> {
        let inputs = at_least_one(NAME, "width of the text", width)?;
        let width = at_most(NAME, "width", self.width, WIDEST)?;
        let count = self.experts.len() + usize::from(self.frames);
        at_least_one(NAME, "number of experts", count)?;
        let mut project = Vec::new();
        for (place, expert) in self.experts.iter().enumerate() {
            if self.experts[..place].iter().any(|earlier| earlier.name == expert.name) {
                return Err(HeadError::Twice { head: NAME, name: expert.name.clone() });
            }
            let inputs = at_most(NAME, "experts.width", expert.width, WIDEST)?;
            project.push(LinearConfig::new(inputs, width).init(device));
        }
        if self.frames {
            project.push(LinearConfig::new(inputs, width).init(device));
        }
        let (mut gating, mut transformer) = (None, None);
        match &self.mixing {
            Mixing::None {} => {}
            Mixing::Gating {} => gating = Some(Gating::new(width, self.norm, device)),
            Mixing::Transformer(config) => transformer = Some(config.init(width, count, device)?),
        }
        Ok(Experts {
            project,
            gating,
            transformer,
            text: (0..count).map(|_| GatedUnit::new(inputs, width, self.norm, device)).collect(),
            weights: LinearConfig::new(inputs, count).init(device),
            inputs: self.experts.clone(),
            frames: self.frames,
            missing: self.missing,
        })
    }
}

/// The host. Only [`ExpertsConfig::init`] makes one.
#[derive(Module, Debug)]
pub struct Experts {
    /// `P`, one per expert; that of the frames is the last.
    pub project: Vec<Linear>,
    /// Collaborative gating, if that is how experts see one another.
    pub gating: Option<Gating>,
    /// The transformer, if that is how.
    pub transformer: Option<Transformer>,
    /// The text's gated unit for each expert.
    pub text: Vec<GatedUnit>,
    /// `W` and `b`.
    pub weights: Linear,
    #[module(skip)]
    inputs: Vec<ExpertInput>,
    #[module(skip)]
    frames: bool,
    #[module(skip)]
    missing: MissingExpert,
}

impl Experts {
    /// The features of every expert, quiet where masked, in the order of the projections.
    fn inputs(&self, videos: VideoFeatures) -> Vec<(Tensor<3>, Tensor<2, Bool>)> {
        let VideoFeatures { frames, mask, experts } = videos;
        let of = |name: &str| match experts.iter().find(|expert| expert.name == name) {
            Some(Expert { features, mask, .. }) => (features.clone(), mask.clone()),
            None => unreachable!("Needs::check_videos lets no video without the expert {name:?} through"),
        };
        let mut inputs: Vec<_> = self.inputs.iter().map(|input| of(&input.name)).collect();
        if self.frames {
            inputs.push((frames, mask));
        }
        inputs.into_iter().map(|(features, mask)| (quiet_padding(features, &mask), mask)).collect()
    }

    /// One vector per expert. `[videos, experts, width]`
    fn vectors_of(&self, inputs: Vec<(Tensor<3>, Tensor<2, Bool>)>, present: &Tensor<2, Bool>) -> Tensor<3> {
        if let Some(transformer) = &self.transformer {
            let tokens = inputs.into_iter().zip(&self.project).map(|((features, mask), project)| Tokens {
                aggregate: unit_rows(linear(project, largest(features.clone(), &mask))),
                steps: unit_rows(linear(project, features)),
                mask,
            });
            return transformer.forward(tokens.collect(), present.clone());
        }
        let projected = inputs
            .into_iter()
            .zip(&self.project)
            .map(|((features, mask), project)| unit_rows(linear(project, masked_mean(features, mask))));
        let vectors = Tensor::stack(projected.collect(), 1);
        match &self.gating {
            Some(gating) => gating.forward(vectors, present.clone()),
            None => vectors,
        }
    }
}

impl Head for Experts {
    fn needs(&self) -> Needs {
        Needs {
            frames: self.frames,
            experts: self.inputs.clone(),
            judges_pairs: true,
            // The transformer has a position for every step of an expert.
            in_time: self.frames && self.transformer.is_some(),
            ..Needs::default()
        }
    }

    fn code_videos(&self, videos: VideoFeatures) -> VideoCodes {
        let inputs = self.inputs(videos);
        let present = tvr_nn::cat_masks(inputs.iter().map(|(_, mask)| mask.clone().any_dim(1)).collect(), 1);
        let vectors = self.vectors_of(inputs, &present);
        let vectors = match self.missing {
            MissingExpert::Drop => {
                let absent = present.clone().bool_not().unsqueeze_dim::<3>(2).expand(vectors.dims());
                vectors.mask_fill(absent, 0.0)
            }
            MissingExpert::Keep | MissingExpert::Equal => vectors,
        };
        let [n_videos, _, width] = vectors.dims();
        let whole = unit_rows(vectors.clone().sum_dim(1).reshape([n_videos, width]));
        VideoCodes::new(whole).with_sequence(vectors, present)
    }

    fn code_texts(&self, texts: TextFeatures) -> TextCodes {
        let vectors = self.text.iter().map(|unit| unit.forward(texts.pooled.clone()));
        let vectors: Tensor<3> = Tensor::stack(vectors.collect(), 1);
        let weights = faint_softmax(linear(&self.weights, texts.pooled));
        let weights = match self.missing {
            MissingExpert::Equal => weights.ones_like(),
            MissingExpert::Drop | MissingExpert::Keep => weights,
        };
        let [n_texts, experts, width] = vectors.dims();
        let whole = unit_rows(vectors.clone().sum_dim(1).reshape([n_texts, width]));
        let real = Tensor::<2, Int>::ones([n_texts, experts], &vectors.device()).bool();
        TextCodes::new(whole).with_sequence(vectors, real).with_extra(WEIGHTS, weights)
    }

    fn n_cosines(&self) -> usize {
        self.project.len()
    }

    fn vectors(&self, texts: &TextCodes, videos: &VideoCodes) -> Vec<Vectors> {
        stream_vectors(texts, videos)
    }

    fn fuse(&self, texts: &TextCodes, videos: &VideoCodes, cosines: Vec<Tensor<2>>) -> Similarity {
        let weights = match texts.extra(WEIGHTS) {
            Some(weights) => weights,
            None => unreachable!("codes of another head: they have no weights"),
        };
        let present = videos.steps().mask.clone().float().cast(weights.dtype());
        let counts = match self.missing {
            MissingExpert::Drop => present,
            MissingExpert::Keep | MissingExpert::Equal => present.ones_like(),
        };
        Similarity::of(weighed(weights, &counts, cosines))
    }

    fn similarity(&self, texts: &TextCodes, videos: &VideoCodes) -> Similarity {
        let cosines = stream_vectors(texts, videos).into_iter().map(Vectors::product);
        self.fuse(texts, videos, cosines.collect())
    }
}

/// The largest value of every channel over the real steps; zeros where there is none.
///
/// - `features`: `[videos, steps, inputs]`, 0 where masked
/// - returns `[videos, inputs]`
fn largest(features: Tensor<3>, mask: &Tensor<2, Bool>) -> Tensor<2> {
    let [videos, _, inputs] = features.dims();
    let hidden = mask.clone().bool_not().unsqueeze_dim::<3>(2).expand(features.dims());
    let most = features.mask_fill(hidden, -1e30).max_dim(1).reshape([videos, inputs]);
    let silent = mask.clone().any_dim(1).bool_not().expand([videos, inputs]);
    most.mask_fill(silent, 0.0)
}
