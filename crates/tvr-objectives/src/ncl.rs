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
//! The queue asks on behalf of strangers: entries of the batch's own videos are left out (ours), so that no item of
//! the batch asks twice, in two versions, and no earlier caption of a video bids for it. Other items may be there twice
//! around an epoch's end. With entries of earlier steps the
//! biases lag behind the weights; the part `queue_age` says by how many steps on average.
//!
//! Source: Park et al. 2022, arXiv 2212.11790. No code of the authors is public: the form of the loss is ours,
//! the least that makes the sums 1 (b acts in T2V alone, a in V2T alone); 4 sweeps, the column first, gradients
//! through the sweeps are those of Ziyang412/UCoFiA, `sinkhorn_knopp`, whose authors thank NCL's. The queue's
//! size is ours.

pub mod sinkhorn;

use burn::prelude::*;
use serde::{Deserialize, Serialize};

use crate::error::{ObjectiveError, at_most};
use crate::objective::{Loss, Needs, Objective, Pairs};
use crate::positives::{Positives, Targets};
use crate::queue::{Entries, Queue};
use crate::rows::Rows;
use crate::symmetric::averaged;

use sinkhorn::{Start, sweep};

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
    /// Sinkhorn sweeps; from 1 to 10,000.
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
        at_most(NAME, "sweeps", self.sweeps, (10_000, "at most 10,000"))?;
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
    /// One bias per item that is asked for: what the askers' sweeps leave there. Of size 1 along `askers`.
    ///
    /// - `logits`: `[texts, videos]`
    /// - `askers`: the axis of those who ask, 0 for texts
    /// - `queued`: logits of earlier askers, beside `logits` along that axis
    fn bias(
        &self,
        logits: Tensor<2>,
        targets: &Targets,
        askers: usize,
        queued: Option<Tensor<2>>,
    ) -> Tensor<2> {
        let wanted = (self.marginals == Shares::Targets).then(|| targets.marginals(askers, &logits));
        let asking = match (self.askers, queued) {
            (Askers::BatchAndQueue, Some(queued)) => Tensor::cat(vec![logits, queued], askers),
            (Askers::Queue, Some(queued)) => queued,
            _ => logits,
        };
        let asking = if self.detach { asking.detach() } else { asking };
        sweep(asking, askers, self.start, self.sweeps, None, wanted).1
    }
}

/// The queued vectors as constants beside `items`. `[queued, width]`
fn beside(queued: &Entries, items: &Tensor<2>) -> Tensor<2> {
    let vectors = queued.vectors.clone();
    if items.is_autodiff() { Tensor::from_inner(vectors) } else { vectors }
}

impl Objective for Ncl {
    fn needs(&self) -> Needs {
        let queue = self.texts.is_some();
        Needs { codes: queue, video_ids: queue, square: self.positives.square(), ..Needs::default() }
    }

    fn loss(&self, pairs: &Pairs) -> Loss {
        let (logits, targets) = (pairs.logits(), self.positives.targets(&Rows::all(pairs)));
        let strangers = |queue: &Option<Queue>| queue.as_ref().and_then(|queue| queue.strangers(pairs));
        let (texts, videos) = (strangers(&self.texts), strangers(&self.videos));
        let scale = pairs.scale.clone().unsqueeze::<2>();
        let queued_texts = texts.as_ref().zip(pairs.videos).map(|(queued, videos)| {
            beside(queued, videos).matmul(videos.clone().transpose()) * scale.clone()
        });
        let queued_videos = videos
            .as_ref()
            .zip(pairs.texts)
            .map(|(queued, texts)| texts.clone().matmul(beside(queued, texts).transpose()) * scale.clone());
        // Along either axis of the same matrix: a transposed copy of it costs more than a sweep.
        let of_videos = self.bias(logits.clone(), &targets, 0, queued_texts);
        let of_texts = self.bias(logits.clone(), &targets, 1, queued_videos);
        let [n_texts, n_videos] = logits.dims();
        let text_to_video = targets.text_to_video(logits.clone(), Some(of_videos), 0..n_texts);
        let video_to_text = targets.video_to_text(logits, Some(of_texts), 0..n_videos);
        let mut loss = averaged(&targets, text_to_video, video_to_text);
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
