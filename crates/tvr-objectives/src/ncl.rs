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
//! Where a video has several captions its sum should be their number, and a caption of three should be wanted a
//! third as often: the columns' marginals are what the targets themselves sum to (ours; `marginals = "uniform"`
//! is the published function's).
//!
//! The queue asks on behalf of strangers: entries of the batch's own videos are left out (ours), so that no item
//! asks twice, in two versions, and no earlier caption of a video bids for it. With entries of earlier steps the
//! biases lag behind the weights; the part `queue_age` says by how many steps on average.
//!
//! Source: Park et al. 2022, arXiv 2212.11790. No code of the authors is public: the form of the loss is ours,
//! the least that makes the sums 1 (b acts in T2V alone, a in V2T alone); 4 sweeps, the column first, gradients
//! through the sweeps are those of Ziyang412/UCoFiA, `sinkhorn_knopp`, whose authors thank NCL's. The queue's
//! size is ours.

pub mod sinkhorn;

use burn::prelude::*;
use serde::{Deserialize, Serialize};

use crate::error::ObjectiveError;
use crate::objective::{Loss, Needs, Objective, Pairs};
use crate::positives::Positives;
use crate::queue::{Entries, Queue};
use crate::symmetric::both_directions;

use sinkhorn::{Marginals, Start, potentials};

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

/// How often every item of the batch should be wanted, of all that is asked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Shares {
    /// As often as the batch's own targets want it: a video by its captions, a caption by its part of the video.
    #[default]
    Targets,
    /// All alike.
    Uniform,
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
    /// How often every item of the batch should be wanted.
    #[serde(default)]
    pub marginals: Shares,
    /// Which pairs count as right.
    #[serde(default)]
    pub positives: Positives,
}

impl NclConfig {
    /// What the closest public code does: 4 sweeps, the column first, gradients through them, uniform marginals.
    pub fn reference() -> Self {
        Self {
            sweeps: 4,
            start: Start::Column,
            detach: false,
            askers: Askers::Batch,
            queue: 0,
            marginals: Shares::Uniform,
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
            marginals: self.marginals,
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
    marginals: Shares,
    #[module(skip)]
    positives: Positives,
}

impl Ncl {
    /// Logits with one bias per column: what the askers' sweeps leave on the columns.
    ///
    /// - `logits`, `targets`: `[rows, columns]`
    /// - `queued`: `[queued, columns]`, logits of earlier rows
    fn biased(&self, logits: Tensor<2>, targets: &Tensor<2>, queued: Option<Tensor<2>>) -> Tensor<2> {
        let askers = match (self.askers, queued) {
            (Askers::BatchAndQueue, Some(queued)) => Tensor::cat(vec![logits.clone(), queued], 0),
            (Askers::Queue, Some(queued)) => queued,
            _ => logits.clone(),
        };
        let askers = if self.detach { askers.detach() } else { askers };
        let marginals = (self.marginals == Shares::Targets).then(|| {
            let [rows, _] = askers.dims();
            let rows = Tensor::full([rows, 1], 1.0 / rows as f64, (&askers.device(), askers.dtype()));
            let wanted = targets.clone().sum_dim(0);
            // A bias of −∞ for a video that nobody describes would make its whole row's loss 0 · ∞.
            let wanted = wanted.clone().mask_fill(wanted.equal_scalar(0.0), 1.0);
            Marginals { rows, columns: wanted.clone() / wanted.sum_dim(1) }
        });
        logits + potentials(askers, self.start, self.sweeps, marginals.as_ref()).columns
    }
}

/// Logits of the queued items with some vectors, `[queued, items]`.
fn queued_logits(queued: &Entries, items: &Tensor<2>, scale: &Tensor<1>) -> Tensor<2> {
    let vectors = queued.vectors.clone();
    let vectors = if items.is_autodiff() { Tensor::from_inner(vectors) } else { vectors };
    vectors.matmul(items.clone().transpose()) * scale.clone().unsqueeze::<2>()
}

impl Objective for Ncl {
    fn needs(&self) -> Needs {
        let queue = self.texts.is_some();
        Needs { codes: queue, video_ids: queue, square: self.positives.square(), ..Needs::default() }
    }

    fn loss(&self, pairs: &Pairs) -> Loss {
        let (logits, targets) = (pairs.logits(), self.positives.targets(pairs));
        let strangers = |queue: &Option<Queue>| queue.as_ref().and_then(|queue| queue.strangers(pairs));
        let (texts, videos) = (strangers(&self.texts), strangers(&self.videos));
        let queued = |entries: &Option<Entries>, items: Option<&Tensor<2>>| {
            entries.as_ref().zip(items).map(|(entries, items)| queued_logits(entries, items, &pairs.scale))
        };
        let text_to_video = self.biased(logits.clone(), &targets.text_to_video, queued(&texts, pairs.videos));
        let video_to_text =
            self.biased(logits.transpose(), &targets.video_to_text, queued(&videos, pairs.texts));
        let mut loss = both_directions(text_to_video, video_to_text, targets);
        if self.texts.is_some() {
            let age = texts.map_or(0.0, |texts| texts.mean_age());
            loss.parts.push(("queue_age".into(), loss.total.zeros_like().detach() + age));
        }
        loss
    }

    fn after_step(&mut self, pairs: &Pairs) {
        if let (Some(queue), Some(texts)) = (&mut self.texts, pairs.texts) {
            queue.push(texts.clone(), pairs.videos_of_texts());
        }
        if let (Some(queue), Some(videos)) = (&mut self.videos, pairs.videos) {
            queue.push(videos.clone(), pairs.named_videos().clone());
        }
    }
}
