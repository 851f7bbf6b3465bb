//! The seam of the step: the gradient of the whole batch, from whatever parts it is encoded in.
//!
//! ```text
//! encode         each part → codes            the last part with a graph, the others without
//! gather         all codes → leaves
//! judge          leaves → similarity → loss → gradients of the leaves, of the head's pairwise part, of the scale
//! backpropagate  each part, pulled by its leaves' gradients; all but the last are encoded again
//! reduce         the sum of all parts' gradients
//! ```
//!
//! So `n` parts cost `1 − 1/n` of a second forward pass, and none where a share is one part. Dropout draws from a seed of
//! (step, side, part), so that a part's second pass repeats its first. Source of the scheme: Gao et al. 2021, arXiv
//! 2101.06983 (GradCache), which encodes every part twice; that the last is kept is our own.
//!
//! Over several ranks ([`Collective`]) each encodes its share of the texts and of the videos, in parts. A loss that is a
//! sum over rows is split ([`Judging::Rows`]): a rank judges its texts against all videos and its videos against all
//! texts. Any other is judged whole by every rank ([`Judging::Whole`]), which then counts once.

mod encoded;
mod random;
mod share;
mod sum;

use std::ops::Range;

use burn::optim::GradientsParams;
use burn::prelude::*;
use tvr_heads::{CodeGradients, Codes, Head, Needs, Similarity, TextCodes, VideoCodes};
use tvr_objectives::{ByRows, Loss, Objective, Pairs, Rows, Stream};

use crate::collective::{Collective, bytes_of, gather_codes, numbers_of, sum_gradients};
use crate::corpus::{Corpus, FrameOrder};
use crate::error::ExperimentError;
use crate::model::Model;
use encoded::Encoded;
pub use random::draws;
use share::{Part, Share};
use sum::add_gradients;

/// The items of a step.
#[derive(Clone, Debug)]
pub struct Batch {
    /// Captions.
    pub texts: Vec<usize>,
    /// Videos, each once.
    pub videos: Vec<usize>,
    /// For each caption the place of its video in `videos`.
    pub text_video: Vec<usize>,
    /// Seed of a random order of every clip's frames; `None` keeps the order.
    pub shuffle: Option<u64>,
}

/// What a step says of its loss.
#[derive(Clone, Debug)]
pub struct Judged {
    /// The loss, nats.
    pub loss: f64,
    /// Its named parts.
    pub parts: Vec<(String, f64)>,
    /// The first rank whose codes, share of the loss, or gradients are not finite.
    pub broken: Option<usize>,
}

/// Who judges a batch that several ranks hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Judging {
    /// Every rank its own rows of both directions.
    Rows,
    /// Every rank the whole batch, for this reason.
    Whole(&'static str),
}

impl Judging {
    /// Of a head and an objective.
    pub fn of<H: Head, O: Objective>(head: &H, objective: &O) -> Self {
        if head.needs().mixes_items {
            Self::Whole("the head's similarities depend on the whole batch")
        } else if objective.by_rows().is_none() {
            Self::Whole("the objective needs the whole batch at once")
        } else {
            Self::Rows
        }
    }
}

/// How a step is taken.
#[derive(Clone, Copy)]
pub struct Way<'a> {
    /// The ranks that hold the batch; [`Single`](crate::collective::Single) for one.
    pub ranks: &'a dyn Collective,
    /// Pairs that a rank encodes at a time; 0 for its whole share.
    pub chunk: usize,
    /// This rank's device.
    pub device: &'a Device,
    /// This step's seed.
    pub random: u64,
    /// Whether the model draws random numbers, as [`draws`] finds out; ranks that share a generator then take turns.
    pub draws: bool,
}

/// What a step saw, outside any graph: what heads and objectives may remember.
#[derive(Clone, Debug)]
pub struct Seen {
    texts: TextCodes,
    videos: VideoCodes,
    /// `None` where no rank holds all of it.
    similarity: Option<Similarity>,
    same: Tensor<1, Int>,
    video_ids: Tensor<1, Int>,
}

/// One step's view of a model, its data and its randomness.
struct Step<'a, H: Head, O: Objective> {
    model: &'a Model<H, O>,
    corpus: &'a Corpus,
    batch: &'a Batch,
    needs: Needs,
    device: Device,
    way: &'a Way<'a>,
}

/// Gradients of the loss of a batch, and what the loss is; the same at every rank.
///
/// # Errors
/// A batch that the objective refuses, or that has fewer captions than there are ranks; a rank that failed.
pub fn gradients<H: Head, O: Objective>(
    model: &Model<H, O>,
    corpus: &Corpus,
    batch: &Batch,
    way: &Way,
) -> Result<(GradientsParams, Judged, Seen), ExperimentError> {
    let needs = model.head.needs();
    let step = Step { model, corpus, batch, needs, device: way.device.clone().autodiff(), way };
    let ranks = way.ranks;
    let texts = Share::of_texts(batch.texts.len(), way)?;
    let videos = Share::of(batch.videos.len(), way);
    if let ([text_part], [video_part], 1) = (&texts.parts[..], &videos.parts[..], ranks.size()) {
        let (texts, videos) = (step.code_texts(model, text_part)?, step.code_videos(model, video_part)?);
        let (loss, similarity) = step.judge(&texts, &videos)?;
        let judged = read(&loss);
        let seen = step.seen(texts.inner(), videos.inner(), Some(similarity));
        return Ok((GradientsParams::from_grads(loss.total.backward(), model), judged, seen));
    }
    let code_texts = |model: &Model<H, O>, part: &Part| step.code_texts(model, part);
    let code_videos = |model: &Model<H, O>, part: &Part| step.code_videos(model, part);
    let own_texts = Encoded::of(model, &texts, way, code_texts)?;
    let own_videos = Encoded::of(model, &videos, way, code_videos)?;
    let (text_codes, broken_texts) = gather_codes(ranks, "codes of texts", own_texts.codes.clone(), true)?;
    let (video_codes, broken_videos) =
        gather_codes(ranks, "codes of videos", own_videos.codes.clone(), !videos.rows.is_empty())?;
    let (text_leaves, video_leaves) = (text_codes.leaves(), video_codes.leaves());

    let by_rows = match (ranks.size(), Judging::of(&model.head, &model.objective)) {
        // Several captions of a video may leave a batch with fewer videos than ranks: too little to be split.
        (2.., Judging::Rows) if batch.videos.len() >= ranks.size() => model.objective.by_rows(),
        _ => None,
    };
    let (loss, similarity) = match by_rows {
        Some(objective) => {
            (step.judge_rows(objective, &text_leaves, &video_leaves, [&texts.rows, &videos.rows])?, None)
        }
        None => {
            let (loss, similarity) = step.judge(&text_leaves, &video_leaves)?;
            (loss, Some(similarity))
        }
    };
    let mut judged = together(ranks, read(&loss), by_rows.is_some())?;
    let mut gradients = loss.total.backward();
    let mut text_gradients = text_leaves.gradients(&mut gradients);
    let mut video_gradients = video_leaves.gradients(&mut gradients);
    if by_rows.is_some() {
        text_gradients = sum_codes(ranks, "gradients of texts", &text_leaves, &text_gradients)?;
        video_gradients = sum_codes(ranks, "gradients of videos", &video_leaves, &video_gradients)?;
    }
    let mut sum = GradientsParams::new();
    // What every rank judged whole counts once.
    if by_rows.is_some() || ranks.rank() == 0 {
        add_gradients(model, &mut sum, GradientsParams::from_grads(gradients, model));
    }
    own_videos.pull(model, &videos, &video_gradients, code_videos, &mut sum)?;
    own_texts.pull(model, &texts, &text_gradients, code_texts, &mut sum)?;
    let (sum, broken) = sum_gradients(ranks, model, sum)?;
    // One rank's codes spoil every loss, and any loss every gradient: the first to break is named.
    judged.broken = broken_texts.or(broken_videos).or(judged.broken).or(broken);
    Ok((sum, judged, step.seen(text_leaves.inner(), video_leaves.inner(), similarity)))
}

fn sum_codes<Side>(
    ranks: &dyn Collective,
    what: &'static str,
    leaves: &Codes<Side>,
    own: &CodeGradients<Side>,
) -> Result<CodeGradients<Side>, ExperimentError> {
    let sum = ranks.sum(what, own.to_flat(leaves))?;
    CodeGradients::of_flat(leaves, &sum).map_err(ExperimentError::because)
}

/// The loss of all ranks out of their own: added up where each judged its rows.
fn together(ranks: &dyn Collective, own: Judged, add: bool) -> Result<Judged, ExperimentError> {
    if ranks.size() == 1 {
        return Ok(own);
    }
    let values = std::iter::once(own.loss).chain(own.parts.iter().map(|(_, value)| *value));
    let values: Vec<f32> = values.map(|value| value as f32).collect();
    let all = ranks.gather("losses", bytes_of(&values))?;
    let all: Vec<Vec<f32>> = all.iter().map(|bytes| numbers_of(bytes)).collect();
    let broken = all.iter().position(|of_rank| !of_rank.first().is_some_and(|loss| loss.is_finite()));
    let at = |place: usize| {
        let mut values = all.iter().filter_map(|of_rank| of_rank.get(place)).map(|&value| f64::from(value));
        if add { values.sum() } else { values.next().unwrap_or(f64::NAN) }
    };
    let parts = own.parts.into_iter().enumerate().map(|(place, (name, _))| (name, at(place + 1)));
    Ok(Judged { loss: at(0), parts: parts.collect(), broken })
}

/// Lets the head and the objective remember a batch, after the optimiser has stepped. An objective that judges by rows
/// keeps nothing, on one device as on several.
pub fn after_step<H: Head, O: Objective>(model: &mut Model<H, O>, seen: &Seen) {
    let scale = model.to_logits().without_autodiff();
    model.head.after_step(&seen.texts, &seen.videos);
    let (Some(similarity), None) = (&seen.similarity, model.objective.by_rows()) else { return };
    let (streams, wants) = (streams(similarity), model.objective.needs());
    let pairs = Pairs {
        streams: &streams,
        texts: wants.codes.then_some(&seen.texts.pooled),
        videos: wants.codes.then_some(&seen.videos.pooled),
        video_ids: wants.video_ids.then_some(&seen.video_ids),
        ..Pairs::new(&similarity.fused, scale, &seen.same)
    };
    model.objective.after_step(&pairs);
}

impl<H: Head, O: Objective> Step<'_, H, O> {
    fn code_texts(&self, model: &Model<H, O>, part: &Part) -> Result<TextCodes, ExperimentError> {
        let _drawing = self.seeded("texts", part.number as u64)?;
        let texts = &self.batch.texts[part.rows.clone()];
        Ok(model.head.code_texts(model.text.encode(self.corpus, texts, &self.needs, &self.device)))
    }

    fn code_videos(&self, model: &Model<H, O>, part: &Part) -> Result<VideoCodes, ExperimentError> {
        let _drawing = self.seeded("videos", part.number as u64)?;
        let order = self.batch.shuffle.map(FrameOrder::Shuffled);
        let videos = &self.batch.videos[part.rows.clone()];
        let videos = self.corpus.video_features(videos, order, &self.needs, &self.device)?;
        Ok(model.head.code_videos(model.video.encode(videos)))
    }

    /// The similarities of a batch, or of one rank's rows of it. Of several ranks each draws from its own numbers, in its
    /// own time; those that judge the whole batch draw the same.
    fn similarity(
        &self,
        texts: &TextCodes,
        videos: &VideoCodes,
        rank: u64,
    ) -> Result<Similarity, ExperimentError> {
        // One rank goes on drawing where its videos ended.
        let _drawing = if self.way.ranks.size() > 1 { self.seeded("pairs", rank)? } else { None };
        Ok(self.model.head.similarity(texts, videos))
    }

    /// What one rank's rows add to the loss.
    fn judge_rows(
        &self,
        objective: &dyn ByRows,
        texts: &TextCodes,
        videos: &VideoCodes,
        [own_texts, own_videos]: [&Range<usize>; 2],
    ) -> Result<Loss, ExperimentError> {
        let draws = 2 * self.way.ranks.rank() as u64;
        let of_texts = self.similarity(&texts.rows(own_texts.clone()), videos, draws)?.fused;
        let of_videos = self.similarity(texts, &videos.rows(own_videos.clone()), draws + 1)?.fused;
        let same = self.same();
        let rows = Rows {
            of_texts: &of_texts,
            of_videos: Some(&of_videos),
            scale: self.model.to_logits(),
            same: &same,
            texts: own_texts.clone(),
            videos: own_videos.clone(),
        };
        rows.check(&self.model.objective.needs())
            .map_err(|error| ExperimentError::work(format!("the objective refuses the batch: {error}")))?;
        Ok(objective.loss_of(&rows))
    }

    fn seen(&self, texts: TextCodes, videos: VideoCodes, similarity: Option<Similarity>) -> Seen {
        Seen { texts, videos, similarity, same: self.same(), video_ids: self.video_ids() }
    }

    fn same(&self) -> Tensor<1, Int> {
        self.numbers(&self.batch.text_video)
    }

    /// A video's row in its split names it in every batch.
    fn video_ids(&self) -> Tensor<1, Int> {
        self.numbers(&self.batch.videos)
    }

    fn numbers(&self, values: &[usize]) -> Tensor<1, Int> {
        let numbers: Vec<i32> = values.iter().map(|&value| value as i32).collect();
        Tensor::from_data(TensorData::new(numbers, [values.len()]), &self.device)
    }

    /// The loss, and the similarities outside its graph.
    fn judge(&self, texts: &TextCodes, videos: &VideoCodes) -> Result<(Loss, Similarity), ExperimentError> {
        let similarity = self.similarity(texts, videos, 0)?;
        let (same, video_ids) = (self.same(), self.video_ids());
        let streams = streams(&similarity);
        let wants = self.model.objective.needs();
        let captions =
            if wants.captions { self.corpus.caption_tokens(&self.batch.texts, &self.device) } else { None };
        let pairs = Pairs {
            streams: &streams,
            texts: wants.codes.then_some(&texts.pooled),
            videos: wants.codes.then_some(&videos.pooled),
            video_ids: wants.video_ids.then_some(&video_ids),
            captions: captions.as_ref(),
            ..Pairs::new(&similarity.fused, self.model.to_logits(), &same)
        };
        pairs
            .check(&wants)
            .map_err(|error| ExperimentError::work(format!("the objective refuses the batch: {error}")))?;
        let loss = self.model.objective.loss(&pairs);
        Ok((loss, similarity.without_autodiff()))
    }
}

/// A head's streams as objectives take them: the two crates share no type.
fn streams(similarity: &Similarity) -> Vec<Stream> {
    let streams = similarity.streams.iter().map(|stream| Stream {
        name: stream.name,
        similarity: stream.similarity.clone(),
        available: stream.available.clone(),
    });
    streams.collect()
}

fn read(loss: &Loss) -> Judged {
    let value = |tensor: &Tensor<1>| f64::from(tensor.clone().into_scalar::<f32>());
    Judged {
        loss: value(&loss.total),
        parts: loss.parts.iter().map(|(name, part)| (name.to_string(), value(part))).collect(),
        broken: None,
    }
}
