//! Normalised contrastive learning (NCL): one bias per item, so that no item is wanted by too many.
//!
//! ```text
//! b   = column potential of Sinkhorn's sweeps over z, texts as rows
//! a   = column potential of Sinkhorn's sweeps over zᵀ, videos as rows
//! T2V = cross-entropy of the rows of z[t, v] + b[v]
//! V2T = cross-entropy of the rows of zᵀ[v, t] + a[t]
//! L   = ½ (T2V + V2T)
//! ```
//!
//! | symbol | meaning | shape, unit |
//! |---|---|---|
//! | `z` | similarity times scale; with a queue, more rows of earlier texts (videos, for V2T) | `[texts, videos]`, logits |
//! | `b`, `a` | biases of videos and of texts, see [`sinkhorn`] | `[videos]`, `[texts]`, logits |
//!
//! With one video per text the retrieval probabilities of a video, summed over the texts, should be 1. The rows
//! say who asks: texts of the batch, earlier texts, or both; the columns are what is ranked, always the batch's.
//!
//! Source: Park et al. 2022, arXiv 2212.11790. No code of the authors is public: the form of the loss is ours,
//! the least that makes the sums 1 (b acts in T2V alone, a in V2T alone); 4 sweeps, the column first, gradients through the sweeps are those of Ziyang412/UCoFiA,
//! `sinkhorn_knopp`, whose authors thank NCL's. The queue's size is ours.

pub mod queue;
pub mod sinkhorn;

use burn::prelude::*;
use serde::{Deserialize, Serialize};

use crate::error::ObjectiveError;
use crate::objective::{Loss, Needs, Objective, Pairs};
use crate::positives::Positives;
use crate::symmetric::both_directions;

use queue::Queue;
use sinkhorn::{Start, potentials};

const NAME: &str = "ncl";

/// Whose wishes the biases balance.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Askers {
    /// The other side of the batch.
    #[default]
    Batch,
    /// The other side of the batch and the queue.
    BatchAndQueue,
    /// The queue alone; the batch as long as the queue is empty.
    Queue,
}

/// Settings of [`Ncl`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NclConfig {
    /// Sinkhorn sweeps; above 0.
    pub sweeps: usize,
    /// Which side the sweeps start with.
    #[serde(default)]
    pub start: Start,
    /// Whether the biases are constants to the gradient.
    #[serde(default)]
    pub detach: bool,
    /// Whose wishes the biases balance.
    #[serde(default)]
    pub askers: Askers,
    /// How many earlier items of each side are kept; 0 unless `askers` names the queue.
    #[serde(default)]
    pub queue: usize,
    /// Which pairs count as right.
    #[serde(default)]
    pub positives: Positives,
}

impl NclConfig {
    /// What the closest public code does: 4 sweeps, the column first, gradients through them.
    pub fn reference() -> Self {
        Self {
            sweeps: 4,
            start: Start::Column,
            detach: false,
            askers: Askers::Batch,
            queue: 0,
            positives: Positives::Same,
        }
    }

    /// The same with a queue of earlier texts and videos beside the batch, as summaries of the paper tell; its
    /// size is ours.
    pub fn with_queue(queue: usize) -> Self {
        Self { askers: Askers::BatchAndQueue, queue, ..Self::reference() }
    }

    /// Checks every setting and makes the objective. `width` is that of the heads' vectors, which the queue holds.
    ///
    /// # Errors
    /// [`ObjectiveError::Setting`] names the first setting outside its domain.
    pub fn init(&self, width: usize, device: &Device) -> Result<Ncl, ObjectiveError> {
        let refuse = |setting, value: usize, domain| {
            Err(ObjectiveError::Setting { objective: NAME, setting, value: value as f64, domain })
        };
        if self.sweeps == 0 {
            return refuse("sweeps", self.sweeps, "a number above 0");
        }
        match (self.askers, self.queue) {
            (Askers::Batch, 0) => {}
            (Askers::Batch, queue) => return refuse("queue", queue, "0 where askers = \"batch\""),
            (_, 0) => return refuse("queue", 0, "a number above 0 where askers names the queue"),
            (_, _) if width == 0 => return refuse("width", 0, "a number above 0"),
            (_, _) => {}
        }
        let queue = |capacity| (capacity > 0).then(|| Queue::new(capacity, width, device));
        Ok(Ncl {
            texts: queue(self.queue),
            videos: queue(self.queue),
            sweeps: self.sweeps,
            start: self.start,
            detach: self.detach,
            askers: self.askers,
            positives: self.positives,
        })
    }
}

/// The normalised contrastive loss. Only [`NclConfig::init`] makes one, so its settings are valid.
#[derive(Module, Debug)]
pub struct Ncl {
    /// Earlier texts.
    pub texts: Option<Queue>,
    /// Earlier videos.
    pub videos: Option<Queue>,
    #[module(skip)]
    sweeps: usize,
    #[module(skip)]
    start: Start,
    #[module(skip)]
    detach: bool,
    #[module(skip)]
    askers: Askers,
    #[module(skip)]
    positives: Positives,
}

impl Ncl {
    /// One bias per column, `[1, columns]`: what the askers' sweeps leave on the columns.
    fn bias(&self, batch: Tensor<2>, queued: Option<Tensor<2>>) -> Tensor<2> {
        let askers = match (self.askers, queued) {
            (Askers::BatchAndQueue, Some(queued)) => Tensor::cat(vec![batch, queued], 0),
            (Askers::Queue, Some(queued)) => queued,
            _ => batch,
        };
        let askers = if self.detach { askers.detach() } else { askers };
        potentials(askers, self.start, self.sweeps, None).columns
    }
}

/// Logits of the queued items with some vectors, `[queued, items]`; `None` while nothing is queued.
fn queued_logits(queue: Option<&Queue>, items: Option<&Tensor<2>>, scale: &Tensor<1>) -> Option<Tensor<2>> {
    let (queue, items) = (queue?, items?);
    let queued = queue.items()?;
    let queued = if items.is_autodiff() { Tensor::from_inner(queued) } else { queued };
    Some(queued.matmul(items.clone().transpose()) * scale.clone().unsqueeze::<2>())
}

impl Objective for Ncl {
    fn needs(&self) -> Needs {
        Needs { codes: self.texts.is_some(), square: self.positives.square(), ..Needs::default() }
    }

    fn loss(&self, pairs: &Pairs) -> Loss {
        let logits = pairs.logits();
        let queued_texts = queued_logits(self.texts.as_ref(), pairs.videos, &pairs.scale);
        let queued_videos = queued_logits(self.videos.as_ref(), pairs.texts, &pairs.scale);
        let text_to_video = logits.clone() + self.bias(logits.clone(), queued_texts);
        let logits = logits.transpose();
        let video_to_text = logits.clone() + self.bias(logits, queued_videos);
        both_directions(text_to_video, video_to_text, self.positives.targets(pairs))
    }

    fn after_step(&mut self, pairs: &Pairs) {
        if let (Some(queue), Some(texts)) = (&mut self.texts, pairs.texts) {
            queue.push(texts.clone());
        }
        if let (Some(queue), Some(videos)) = (&mut self.videos, pairs.videos) {
            queue.push(videos.clone());
        }
    }
}
