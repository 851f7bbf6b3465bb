//! The seam of the step: the gradient of the whole batch, from whatever parts it is encoded in.
//!
//! ```text
//! encode         each part → codes            without a graph when there is more than one part
//! gather         all codes → leaves
//! judge          leaves → similarity → loss → gradients of the leaves, of the head's pairwise part, of the scale
//! backpropagate  each part again, with a graph, pulled by its leaves' gradients
//! reduce         the sum of all parts' gradients
//! ```
//!
//! With one part the first and the fourth are one pass. Dropout draws from a seed of (step, side, part), so that a
//! part's second pass repeats its first. Source of the scheme: Gao et al. 2021, arXiv 2101.06983 (GradCache).

use burn::optim::GradientsParams;
use burn::prelude::*;
use tvr_heads::{Head, Needs, Similarity, TextCodes, VideoCodes};
use tvr_objectives::{Loss, Objective, Pairs, Stream};

use crate::collective::{Collective, Single};
use crate::corpus::Corpus;
use crate::error::ExperimentError;
use crate::model::Model;

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
}

/// What a step saw, outside any graph: what heads and objectives may remember.
#[derive(Clone, Debug)]
pub struct Seen {
    texts: TextCodes,
    videos: VideoCodes,
    similarity: Similarity,
    same: Tensor<1, Int>,
    video_ids: Tensor<1, Int>,
}

/// A random order of a clip's real frames; padding stays at the end.
#[derive(Clone, Copy)]
pub struct FrameOrder<'a> {
    /// The split.
    pub corpus: &'a Corpus,
    /// The seed.
    pub seed: u64,
}

impl FrameOrder<'_> {
    /// The frame that each place of a video shows.
    pub fn of(&self, video: usize) -> Vec<usize> {
        let mut order: Vec<usize> = (0..self.corpus.frames_per_video).collect();
        let mut random = tvr_data::stream(self.seed, "frame-order", video as u64);
        for place in (1..self.corpus.length(video)).rev() {
            order.swap(place, random.below(place as u64 + 1) as usize);
        }
        order
    }
}

/// One step's view of a model, its data and its randomness.
struct Step<'a, H: Head, O: Objective> {
    model: &'a Model<H, O>,
    corpus: &'a Corpus,
    batch: &'a Batch,
    needs: Needs,
    device: Device,
    random: u64,
}

/// Gradients of the loss of a batch, and what the loss is.
///
/// - `chunk`: pairs encoded at a time; 0 for the whole batch
/// - `random`: this step's seed
///
/// # Errors
/// A batch that the objective refuses.
pub fn gradients<H: Head, O: Objective>(
    model: &Model<H, O>,
    corpus: &Corpus,
    batch: &Batch,
    chunk: usize,
    device: &Device,
    random: u64,
) -> Result<(GradientsParams, Judged, Seen), ExperimentError> {
    let needs = model.head.needs();
    let step = Step { model, corpus, batch, needs, device: device.clone().autodiff(), random };
    let texts = parts(&batch.texts, chunk);
    let videos = parts(&batch.videos, chunk);
    if texts.len() == 1 && videos.len() == 1 {
        let (texts, videos) = (step.code_texts(0, texts[0]), step.code_videos(0, videos[0])?);
        let (loss, similarity) = step.judge(&texts, &videos)?;
        let judged = read(&loss);
        let (texts, videos) = (texts.inner(), videos.inner());
        let seen = Seen { texts, videos, similarity, same: step.same(), video_ids: step.video_ids() };
        return Ok((GradientsParams::from_grads(loss.total.backward(), model), judged, seen));
    }
    let wrong = |error: tvr_heads::HeadError| ExperimentError::work(error.to_string());
    let text_codes = texts.iter().enumerate().map(|(part, texts)| step.code_texts(part, texts).inner());
    let text_leaves = Single.gather(text_codes.collect()).map_err(wrong)?.leaves();
    let video_codes =
        videos.iter().enumerate().map(|(part, videos)| Ok(step.code_videos(part, videos)?.inner()));
    let video_codes = video_codes.collect::<Result<_, ExperimentError>>()?;
    let video_leaves = Single.gather(video_codes).map_err(wrong)?.leaves();

    let (loss, similarity) = step.judge(&text_leaves, &video_leaves)?;
    let judged = read(&loss);
    let mut gradients = loss.total.backward();
    let text_gradients = text_leaves.gradients(&mut gradients);
    let video_gradients = video_leaves.gradients(&mut gradients);
    let mut pulled = vec![GradientsParams::from_grads(gradients, model)];

    let mut start = 0;
    for (part, texts) in texts.iter().enumerate() {
        let rows = start..start + texts.len();
        start = rows.end;
        let pull = step.code_texts(part, texts).pull(&text_gradients.rows(rows));
        // A side without a parameter of its own (cached frames, averaged) has nothing to pull.
        if let Some(pull) = pull.filter(Tensor::is_tracked) {
            pulled.push(GradientsParams::from_grads(pull.backward(), model));
        }
    }
    let mut start = 0;
    for (part, videos) in videos.iter().enumerate() {
        let rows = start..start + videos.len();
        start = rows.end;
        let pull = step.code_videos(part, videos)?.pull(&video_gradients.rows(rows));
        if let Some(pull) = pull.filter(Tensor::is_tracked) {
            pulled.push(GradientsParams::from_grads(pull.backward(), model));
        }
    }
    let (texts, videos) = (text_leaves.inner(), video_leaves.inner());
    let seen = Seen { texts, videos, similarity, same: step.same(), video_ids: step.video_ids() };
    Ok((Single.reduce(model, pulled), judged, seen))
}

/// Lets the head and the objective remember a batch, after the optimiser has stepped.
pub fn after_step<H: Head, O: Objective>(model: &mut Model<H, O>, seen: &Seen) {
    let scale = model.to_logits().without_autodiff();
    model.head.after_step(&seen.texts, &seen.videos);
    let streams = streams(&seen.similarity);
    let pairs = Pairs {
        streams: &streams,
        texts: Some(&seen.texts.pooled),
        videos: Some(&seen.videos.pooled),
        video_ids: Some(&seen.video_ids),
        ..Pairs::new(&seen.similarity.fused, scale, &seen.same)
    };
    model.objective.after_step(&pairs);
}

impl<H: Head, O: Objective> Step<'_, H, O> {
    fn code_texts(&self, part: usize, texts: &[usize]) -> TextCodes {
        self.device.seed(tvr_data::stream(self.random, "texts", part as u64).next());
        let features = self.model.text.encode(self.corpus, texts, &self.needs, &self.device);
        self.model.head.code_texts(features)
    }

    fn code_videos(&self, part: usize, videos: &[usize]) -> Result<VideoCodes, ExperimentError> {
        self.device.seed(tvr_data::stream(self.random, "videos", part as u64).next());
        let order = self.batch.shuffle.map(|seed| FrameOrder { corpus: self.corpus, seed });
        let order = order.map(|order| move |video| order.of(video));
        let order = order.as_ref().map(|order| order as &dyn Fn(usize) -> Vec<usize>);
        let videos = self.corpus.video_features(videos, order, &self.needs, &self.device)?;
        Ok(self.model.head.code_videos(self.model.video.encode(videos)))
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
        let similarity = self.model.head.similarity(texts, videos);
        let (same, video_ids) = (self.same(), self.video_ids());
        let streams = streams(&similarity);
        let wants = self.model.objective.needs();
        let captions =
            if wants.captions { self.corpus.caption_tokens(&self.batch.texts, &self.device) } else { None };
        let pairs = Pairs {
            streams: &streams,
            texts: Some(&texts.pooled),
            videos: Some(&videos.pooled),
            video_ids: Some(&video_ids),
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

/// The whole, or pieces of `chunk`; the last may be shorter.
fn parts(items: &[usize], chunk: usize) -> Vec<&[usize]> {
    if chunk == 0 { vec![items] } else { items.chunks(chunk).collect() }
}

fn read(loss: &Loss) -> Judged {
    let value = |tensor: &Tensor<1>| f64::from(tensor.clone().into_scalar::<f32>());
    Judged {
        loss: value(&loss.total),
        parts: loss.parts.iter().map(|(name, part)| (name.to_string(), value(part))).collect(),
    }
}
