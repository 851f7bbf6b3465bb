//! Vectors of texts and videos in files, scored here: the cosine of every pair, or EMCL at inference between vectors and
//! cosines.
//!
//! Texts are `[texts, width]`. Videos are `[videos, width]`, or frames `[videos, frames, width]`, which become one vector
//! as in the head `mean-pooling`: the mean of a video's real unit frames. Which frames are real says the tensor `mask`
//! beside `frames`, or `NAME.mask` beside `NAME`, `[videos, frames]`; without one all are.

use std::ops::RangeInclusive;

use burn::prelude::*;
use tvr_heads::{
    MeanPooling, MeanPoolingConfig, TextCodes, TextFeatures, VideoCodes, VideoFeatures, code_all_texts,
    code_all_videos,
};

use super::matrix::Frames;
use super::shards::{self, Block};
use super::{Input, Scored, Scorer, matrix};
use crate::device::{self, DEFAULT_DEVICE};
use crate::error::ExperimentError;
use crate::recipe::{EmclRecipe, EmclScope};
use crate::shard::Shard;

/// Items pooled at a time.
const CHUNK: usize = 1024;

/// Largest values of a row whose length f32 computes: 2⁻¹⁶ to 2⁵⁰.
const USUAL: RangeInclusive<f64> = 1.0 / 65_536.0..=(1u64 << 50) as f64;

/// Which files hold the vectors: `FILE.npy` or `FILE.safetensors:KEY`.
#[derive(Clone, Debug)]
pub struct Vectors {
    /// `[texts, width]`
    pub texts: String,
    /// `[videos, width]` or `[videos, frames, width]`
    pub videos: String,
    /// Texts and videos of training, in the same forms: banks of every kind.
    pub bank: Option<[String; 2]>,
    /// EMCL between vectors and cosines.
    pub emcl: Option<EmclRecipe>,
}

impl Vectors {
    pub(super) fn score(&self, inputs: &mut Vec<Input>) -> Result<Scored, ExperimentError> {
        if self.bank.is_none() && self.emcl.as_ref().is_some_and(|emcl| emcl.scope == EmclScope::Bank) {
            return Err(ExperimentError::request(
                "--emcl bank finds its bases on training items; give --bank-texts and --bank-videos",
            ));
        }
        let device = device::open(DEFAULT_DEVICE)?;
        let (test, bank, head) = self.open(&device, inputs)?;
        let [_, width] = test.0.pooled.dims();
        let scorer = Scorer::new(&head, 1.0, self.emcl.as_ref(), width, bank.as_ref(), &device)?;
        scorer.scored(&test, bank.as_ref()).map_err(of(&self.texts))
    }

    /// One share of the cosines, and of the bank's.
    pub(super) fn share(&self, shard: Shard, inputs: &mut Vec<Input>) -> Result<Vec<Block>, ExperimentError> {
        if self.emcl.is_some() {
            return Err(ExperimentError::request(
                "--shard: EMCL finds its bases on items of all shares together; leave --emcl out, or score without --shard",
            ));
        }
        let device = device::open(DEFAULT_DEVICE)?;
        let ((texts, videos), bank, head) = self.open(&device, inputs)?;
        let scorer = Scorer::plain(&head, 1.0);
        let score =
            |texts: &TextCodes, videos: &VideoCodes| scorer.scores(texts, videos).map_err(of(&self.texts));
        let n_videos = videos.n_items();
        let own = videos.rows(shard.of_items(n_videos, "videos")?);
        shards::blocks(shard, (&texts, &own), n_videos, bank.as_ref(), Some(1.0), score)
    }

    fn open(&self, device: &Device, inputs: &mut Vec<Input>) -> Result<Opened, ExperimentError> {
        let test = codes([("texts", &self.texts), ("videos", &self.videos)], device, inputs)?;
        let bank = match &self.bank {
            Some([texts, videos]) => {
                Some(codes([("bank-texts", texts), ("bank-videos", videos)], device, inputs)?)
            }
            None => None,
        };
        let [_, width] = test.0.pooled.dims();
        if let (Some((texts, _)), Some([name, _])) = (&bank, &self.bank)
            && texts.pooled.dims()[1] != width
        {
            return Err(ExperimentError::work(format!(
                "{name}: vectors of width {}, but {} has width {width}; a bank must come from the same encoder",
                texts.pooled.dims()[1],
                self.texts
            )));
        }
        let head = MeanPoolingConfig::reference().init(width, device).map_err(of(&self.texts))?;
        Ok((test, bank, head))
    }
}

/// Codes that are judged, those of training items, and the head that compares them.
type Opened = ((TextCodes, VideoCodes), Option<(TextCodes, VideoCodes)>, MeanPooling);

/// One unit vector for each text and each video.
fn codes(
    [(text_role, texts), (video_role, videos)]: [(&'static str, &String); 2],
    device: &Device,
    inputs: &mut Vec<Input>,
) -> Result<(TextCodes, VideoCodes), ExperimentError> {
    let text = matrix::read_vectors(text_role, "[texts, width]", texts, inputs)?;
    let Frames { values, mask } = matrix::read_frames(video_role, videos, inputs)?;
    let (n_texts, width) = text.dim();
    let (n_videos, n_frames, video_width) = values.dim();
    if width != video_width {
        return Err(ExperimentError::work(format!(
            "{texts} has vectors of width {width}, {videos} of width {video_width}; both must come from one space"
        )));
    }
    let head = MeanPoolingConfig::reference().init(width, device).map_err(of(texts))?;
    let data = TensorData::new(of_usual_length(text.into_raw_vec_and_offset().0, width), [n_texts, width]);
    let text = Tensor::from_data(data, device);
    let values = of_usual_length(values.into_raw_vec_and_offset().0, width);
    let data = TensorData::new(values, [n_videos, n_frames, width]);
    let frames = Tensor::from_data(data, device);
    let mask = Tensor::from_data(TensorData::new(mask, [n_videos, n_frames]), device);
    Ok((
        code_all_texts(&head, &TextFeatures::pooled(text), CHUNK).map_err(of(texts))?,
        code_all_videos(&head, &VideoFeatures::new(frames, mask), CHUNK).map_err(of(videos))?,
    ))
}

/// Rows whose squares f32 does not hold, or that are shorter than what counts as zero, times a power of two: their
/// direction, which is all that a cosine asks for, stays as it is. Other rows are not touched.
fn of_usual_length(mut values: Vec<f32>, width: usize) -> Vec<f32> {
    for row in values.chunks_exact_mut(width.max(1)) {
        let largest = f64::from(row.iter().fold(0.0, |largest: f32, value| largest.max(value.abs())));
        if largest > 0.0 && largest.is_finite() && !USUAL.contains(&largest) {
            let factor = (-largest.log2().floor()).exp2();
            row.iter_mut().for_each(|value| *value = (f64::from(*value) * factor) as f32);
        }
    }
    values
}

fn of<E: std::fmt::Display>(name: &str) -> impl FnOnce(E) -> ExperimentError {
    move |error| ExperimentError::work(format!("{name}: {error}"))
}
