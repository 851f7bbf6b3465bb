//! EMCL: features become combinations of a few bases that EM finds anew, between a head and its cosine.
//!
//! ```text
//! X  = [videos; texts]                       the vectors of the head, all that are scored together
//! X̂ = X P                                   EM over the channels of X: see emcl/em.rs
//! X ← X + weight · X̂,  then the cosine       Algorithm 1 itself puts X̂ in place of X (residual = false)
//! ```
//!
//! | symbol | meaning | shape |
//! |---|---|---|
//! | `X` | vectors of videos (of pairs, for a head that pools frames anew for each text), then of texts | `[rows, width]` |
//! | `P` | a projection of rank `bases` at most, found from `Xᵀ X` and `Xᵀ 1` | `[width, width]` |
//! | `M` | what the iteration starts from, a moving average; part of the record | `[cosines, bases]` |
//!
//! It wraps any head whose similarity is made of cosines ([`Head::n_cosines`]): one EM for each cosine, as the authors
//! do per expert. Without training it is [`Inference`], a plain function of features.
//!
//! With `items = "call"` (paper and code) the bases are found on whatever is scored in one call, so a similarity depends
//! on batch and tile: the head says so ([`Needs::mixes_items`]) and names its tile. With `items = "global"` (ours) they
//! are found on moving means of second moments, which training keeps in the record: every pair is then judged by
//! itself, and no other test item is looked at. There `M` stays as drawn, and before the first step the
//! layer changes nothing.
//!
//! Source: Jin et al. 2022 (EMCL), arXiv 2211.11427; code: jpthu17/EMCL, `tvr/models/until_module.py: Emcl`. What they
//! leave open or do otherwise stands in docs/deviations.md.

mod average;
mod em;
mod inference;
mod layer;
mod moments;

use burn::module::ModuleDisplay;
use burn::prelude::*;
use serde::{Deserialize, Serialize};

pub use average::{Average, Init};
pub use em::{Clusters, Em, Gram, Mode, Scale, Start};
pub use inference::{Inference, Scope, effective_rank};
pub use layer::{Detach, Layer};
pub use moments::{Moments, Running};

use crate::codes::{TextCodes, VideoCodes};
use crate::error::{HeadError, OFTENEST, WIDEST, at_least_one, at_most, divisor};
use crate::features::{TextFeatures, VideoFeatures};
use crate::head::{Head, Needs, Similarity, Unit};
use crate::tiles::Tile;
use crate::vectors::Vectors;

const NAME: &str = "emcl";

/// Whose second moments the bases are found from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Items {
    /// Of the items that are scored in one call, as paper and code have it.
    #[default]
    Call,
    /// Of the items of earlier training steps (ours).
    Global,
}

/// Settings of [`Emcl`] and [`Inference`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EmclConfig {
    /// Whose division it is.
    pub mode: Mode,
    /// Number of bases; above 0.
    pub bases: usize,
    /// Steps of the iteration; above 0.
    pub iterations: usize,
    /// Divides the products of channels and bases; above 0.
    pub sigma: f64,
    /// Factor of the reconstruction.
    pub weight: f64,
    /// Whether the reconstruction is added to the features; else it takes their place.
    #[serde(default = "yes")]
    pub residual: bool,
    /// How the start is drawn.
    #[serde(default)]
    pub init: Init,
    /// What is a constant to the gradient.
    #[serde(default)]
    pub detach: Detach,
    /// Whose second moments the bases are found from.
    #[serde(default)]
    pub items: Items,
    /// What second moments are divided by.
    #[serde(default)]
    pub scale: Scale,
    /// Share of the old in a moving average; from 0 to 1.
    #[serde(default = "published_momentum")]
    pub momentum: f64,
    /// Whether rows are made unit before the layer. Heads that compare pooled vectors (mean pooling, the temporal ones, camoe,
    /// experts) hand over unit rows anyway. What `sigma` and `weight` do to unit rows, `l · sigma` and `l · weight` do to rows of length `l`
    /// (`mode = "reference"`).
    #[serde(default)]
    pub unit_input: bool,
    /// Guard of the divisions; at least 0.
    #[serde(default = "published_epsilon")]
    pub epsilon: f64,
    /// Texts and videos of a tile, where items are those of one call; above 0.
    #[serde(default = "published_tile")]
    pub tile: usize,
}

fn yes() -> bool {
    true
}

fn published_momentum() -> f64 {
    0.9
}

fn published_epsilon() -> f64 {
    1e-6
}

fn published_tile() -> usize {
    32
}

impl EmclConfig {
    /// Algorithm 1: the reconstruction alone, with a gradient through every iteration. Bases, iterations and momentum
    /// are the code's; that `M` is drawn normal is ours.
    pub fn paper() -> Self {
        Self {
            mode: Mode::Paper,
            weight: 1.0,
            residual: false,
            init: Init::Normal,
            detach: Detach::None,
            ..Self::reference()
        }
    }

    /// EMCL-Net's code: 32 bases, 9 iterations, sigma 1, three times the reconstruction on top, no gradient of its own.
    pub fn reference() -> Self {
        Self {
            mode: Mode::Reference,
            bases: 32,
            iterations: 9,
            sigma: 1.0,
            weight: 3.0,
            residual: true,
            init: Init::Signs,
            detach: Detach::All,
            items: Items::Call,
            scale: Scale::Sum,
            momentum: published_momentum(),
            unit_input: false,
            epsilon: published_epsilon(),
            tile: published_tile(),
        }
    }

    /// The code's training layer in a host with feature experts (MMT): 64 bases, 5 iterations, `M` divided by its length
    /// over the experts.
    pub fn experts() -> Self {
        Self { bases: 64, iterations: 5, init: Init::Unit, ..Self::reference() }
    }

    /// The code's module at inference: 7 bases, 10 iterations, sigma 0.1, four times the reconstruction on top of unit
    /// rows, in tiles of 64.
    pub fn inference() -> Self {
        Self {
            bases: 7,
            iterations: 10,
            sigma: 0.1,
            weight: 4.0,
            unit_input: true,
            tile: 64,
            ..Self::reference()
        }
    }

    /// Bases from moving means over training, the same for every pair (ours).
    pub fn global() -> Self {
        Self {
            sigma: 0.01,
            init: Init::Normal,
            detach: Detach::Projection,
            items: Items::Global,
            scale: Scale::Mean,
            ..Self::reference()
        }
    }

    /// Checks every setting and wraps a head whose vectors have this width.
    ///
    /// # Errors
    /// [`HeadError::Setting`] names the first setting outside its domain, [`HeadError::Together`] those that do not
    /// fit one another or the head.
    pub fn init<H: Head>(&self, head: H, width: usize, device: &Device) -> Result<Emcl<H>, HeadError> {
        let layer = self.layer()?;
        let together = |settings, mend| Err(HeadError::Together { head: NAME, settings, mend });
        let cosines = head.n_cosines();
        if cosines == 0 {
            return together(
                "the wrapped head judges pairs by no cosine of two vectors (its n_cosines is 0)",
                "leave [head.emcl] out or choose another head",
            );
        }
        if !self.residual && self.detach == Detach::All {
            return together(
                "detach = \"all\" with residual = false: what is left of the features has no gradient, and nothing would be learnt",
                "set detach = \"projection\" or \"none\"",
            );
        }
        if self.items == Items::Global && self.detach == Detach::None {
            return together(
                "detach = \"none\" with items = \"global\": bases of earlier steps have no gradient",
                "set detach = \"projection\"",
            );
        }
        if self.items == Items::Global && self.scale == Scale::Sum {
            return together(
                "scale = \"sum\" with items = \"global\": moving means have no number of items",
                "set scale = \"mean\"",
            );
        }
        if self.items == Items::Global && self.momentum == 1.0 {
            return together(
                "momentum = 1 with items = \"global\": moving means that never move stay empty",
                "set momentum below 1",
            );
        }
        let running =
            (self.items == Items::Global).then(|| Running::new(self.momentum, cosines, width, device));
        Ok(Emcl {
            head,
            average: self.average(cosines, width, device),
            running,
            layer,
            tile: Tile { texts: self.tile, videos: self.tile },
        })
    }

    /// Checks every setting and makes the layer alone.
    ///
    /// # Errors
    /// [`HeadError::Setting`] names the first setting outside its domain.
    pub fn layer(&self) -> Result<Layer, HeadError> {
        at_most(NAME, "bases", self.bases, WIDEST)?;
        at_least_one(NAME, "tile", self.tile)?;
        let refuse = |setting, value, domain| Err(HeadError::Setting { head: NAME, setting, value, domain });
        if !self.weight.is_finite() {
            return refuse("weight", self.weight, "a finite number");
        }
        if !(0.0..=1.0).contains(&self.momentum) {
            return refuse("momentum", self.momentum, "from 0 to 1");
        }
        if !(self.epsilon.is_finite() && self.epsilon >= 0.0) {
            return refuse("epsilon", self.epsilon, "a number of at least 0");
        }
        let em = Em {
            mode: self.mode,
            iterations: at_most(NAME, "iterations", self.iterations, OFTENEST)?,
            sigma: divisor(NAME, "sigma", self.sigma)?,
            scale: self.scale,
            epsilon: self.epsilon,
        };
        Ok(Layer {
            em,
            weight: self.weight,
            residual: self.residual,
            detach: self.detach,
            unit_input: self.unit_input,
        })
    }

    fn average(&self, cosines: usize, width: usize, device: &Device) -> Average {
        Average::new(self.init, self.momentum, cosines, width, self.bases, device)
    }
}

/// A head with EM between its vectors and their cosine. Only [`EmclConfig::init`] makes one.
#[derive(Module, Debug)]
pub struct Emcl<H: Module + ModuleDisplay> {
    /// The head.
    pub head: H,
    /// Where the iteration starts.
    pub average: Average,
    /// Moving means of second moments, where bases are not those of a call.
    pub running: Option<Running>,
    #[module(skip)]
    layer: Layer,
    #[module(skip)]
    tile: Tile,
}

impl<H: Head> Emcl<H> {
    /// What is done to rows.
    pub fn layer(&self) -> &Layer {
        &self.layer
    }

    /// Rows of one cosine after the layer.
    fn corrected(&self, cosine: usize, rows: Tensor<2>) -> Tensor<2> {
        let start = self.average.start(cosine);
        let Some(running) = &self.running else { return self.layer.of_call(rows, &start) };
        match running.gram(cosine) {
            Some(moments) => self.layer.of_clusters(rows, self.layer.clusters(&moments, &start)),
            None => rows,
        }
    }
}

impl<H: Head> Head for Emcl<H> {
    fn needs(&self) -> Needs {
        let (of_call, inner) = (self.running.is_none(), self.head.needs());
        Needs {
            mixes_items: of_call || inner.mixes_items,
            tile: of_call.then_some(self.tile).or(inner.tile),
            judges_pairs: true,
            ..inner
        }
    }

    fn unit(&self) -> Unit {
        self.head.unit()
    }

    fn streams(&self) -> Vec<&'static str> {
        self.head.streams()
    }

    fn code_videos(&self, videos: VideoFeatures) -> VideoCodes {
        self.head.code_videos(videos)
    }

    fn code_texts(&self, texts: TextFeatures) -> TextCodes {
        self.head.code_texts(texts)
    }

    fn n_cosines(&self) -> usize {
        self.head.n_cosines()
    }

    fn vectors(&self, texts: &TextCodes, videos: &VideoCodes) -> Vec<Vectors> {
        let vectors = self.head.vectors(texts, videos).into_iter().enumerate();
        vectors.map(|(cosine, vectors)| vectors.with_rows(self.corrected(cosine, vectors.rows()))).collect()
    }

    fn fuse(&self, texts: &TextCodes, videos: &VideoCodes, cosines: Vec<Tensor<2>>) -> Similarity {
        self.head.fuse(texts, videos, cosines)
    }

    fn similarity(&self, texts: &TextCodes, videos: &VideoCodes) -> Similarity {
        let cosines = self.vectors(texts, videos).into_iter().map(Vectors::cosine).collect();
        self.fuse(texts, videos, cosines)
    }

    fn effective_ranks(&self, texts: &TextCodes, videos: &VideoCodes) -> Option<[f64; 2]> {
        let of_cosine = |(cosine, vectors): (usize, Vectors)| {
            let rows = vectors.rows();
            [effective_rank(&self.layer.input(rows.clone())), effective_rank(&self.corrected(cosine, rows))]
        };
        let ranks: Vec<[f64; 2]> =
            self.head.vectors(texts, videos).into_iter().enumerate().map(of_cosine).collect();
        Some([0, 1].map(|side| ranks.iter().map(|of| of[side]).sum::<f64>() / ranks.len() as f64))
    }

    /// Moves `M`, or the moving means, towards those of the batch: the only place where they change.
    fn after_step(&mut self, texts: &TextCodes, videos: &VideoCodes) {
        self.head.after_step(texts, videos);
        // As at evaluation: without dropout, which every rank would draw for itself, and without a graph.
        let vectors = self.head.valid().vectors(texts, videos);
        let rows: Vec<Tensor<2>> = vectors.iter().map(|vectors| vectors.rows().without_autodiff()).collect();
        match &mut self.running {
            Some(running) => {
                let rows: Vec<Tensor<2>> = rows.into_iter().map(|rows| self.layer.input(rows)).collect();
                running.update(&rows);
            }
            None => {
                let means = rows.into_iter().enumerate();
                let means = means.map(|(at, rows)| self.layer.mean_base(rows, &self.average.start(at)));
                self.average.update(means.collect());
            }
        }
    }
}
