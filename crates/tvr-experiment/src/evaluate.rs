//! Evaluation: codes of a whole split, similarity by tiles, normalisers, metrics.
//!
//! This is the only place that opens the test split.

use burn::module::Module;
use burn::prelude::*;
use ndarray::Array2;
use tvr_data::Split;
use tvr_heads::{Head, TextCodes, Tile, VideoCodes, score_all};
use tvr_metrics::{Judgement, Policy, Truth, judge};
use tvr_objectives::Objective;

use crate::corpus::Corpus;
use crate::error::ExperimentError;
use crate::model::Model;
use crate::plan::Plan;
use crate::recipe::DataRecipe;
use crate::score::{Row, judge_rows};
use crate::towers::Towers;

/// Items encoded at a time.
const CHUNK: usize = 256;

/// A split's similarities and what is true of them.
#[derive(Clone, Debug)]
pub struct Judged {
    /// Logits `[texts, videos]`: one caption of each video.
    pub logits: Array2<f32>,
    /// A row for each normaliser.
    pub rows: Vec<Row>,
    /// Hash of the gallery's ids and captions.
    pub gallery: String,
}

/// Opens test and judges a model on it with the recipe's normalisers.
///
/// # Errors
/// Broken data, scores that are not finite, or a normaliser that refuses.
pub fn test<H: Head, O: Objective>(
    model: &Model<H, O>,
    plan: &Plan,
    towers: Option<&Towers>,
) -> Result<Judged, ExperimentError> {
    let corpus = Corpus::open(plan, Split::Test, towers)?;
    judged(model, &corpus, plan)
}

/// Judges a model on an opened split with the recipe's normalisers.
///
/// # Errors
/// As [`test`].
pub fn judged<H: Head, O: Objective>(
    model: &Model<H, O>,
    corpus: &Corpus,
    plan: &Plan,
) -> Result<Judged, ExperimentError> {
    let logits = logits(model, corpus, plan)?;
    let rows = judge_rows(&logits, &Truth::diagonal(corpus.queries.len()), &plan.recipe.eval.normalize)?;
    let captions: Vec<String> = corpus.queries.iter().map(|&text| corpus.text_ids[text].clone()).collect();
    Ok(Judged { logits, rows, gallery: tvr_data::gallery_hash(&corpus.video_ids, &captions) })
}

/// Raw metrics of a model on an opened split: what selection looks at.
///
/// # Errors
/// Scores that are not finite.
pub fn judge_raw<H: Head, O: Objective>(
    model: &Model<H, O>,
    corpus: &Corpus,
    plan: &Plan,
) -> Result<Judgement, ExperimentError> {
    let logits = logits(model, corpus, plan)?;
    judge(logits.view(), &Truth::diagonal(corpus.queries.len()), &Policy::default())
        .map_err(|error| ExperimentError::work(error.to_string()))
}

/// Logits `[texts, videos]` of the standard protocol: one caption of each video against all videos.
///
/// # Errors
/// A head that refuses its input.
pub fn logits<H: Head, O: Objective>(
    model: &Model<H, O>,
    corpus: &Corpus,
    plan: &Plan,
) -> Result<Array2<f32>, ExperimentError> {
    let model = model.valid();
    let videos: Vec<usize> = (0..corpus.video_ids.len()).collect();
    let order = matches!(plan.recipe.data, DataRecipe::World { shuffle_frames: true, .. })
        .then_some(crate::step::FrameOrder { corpus, seed: TEST_ORDER });
    let wrong = |error: tvr_heads::HeadError| ExperimentError::work(error.to_string());
    let video_codes = VideoCodes::cat(
        videos.chunks(CHUNK).map(|chunk| code_videos(&model, corpus, chunk, order, &plan.device)).collect(),
    )
    .map_err(wrong)?;
    let text_codes = TextCodes::cat(
        corpus
            .queries
            .chunks(CHUNK)
            .map(|chunk| model.head.code_texts(model.text.encode(corpus, chunk, &plan.device)))
            .collect(),
    )
    .map_err(wrong)?;
    matrix(&model, &text_codes, &video_codes)
}

/// The seed of the order in which a control's clips are shown at test: one fixed order per clip.
const TEST_ORDER: u64 = 1;

fn code_videos<H: Head, O: Objective>(
    model: &Model<H, O>,
    corpus: &Corpus,
    videos: &[usize],
    order: Option<crate::step::FrameOrder<'_>>,
    device: &Device,
) -> VideoCodes {
    let (frames, mask) = match order {
        Some(order) => corpus.video_tensors(videos, Some(&|video| order.of(video)), device),
        None => corpus.video_tensors(videos, None, device),
    };
    model.head.code_videos(model.video.encode(frames, mask))
}

fn matrix<H: Head, O: Objective>(
    model: &Model<H, O>,
    texts: &TextCodes,
    videos: &VideoCodes,
) -> Result<Array2<f32>, ExperimentError> {
    let similarity = score_all(&model.head, texts, videos, Tile::of(&model.head))
        .map_err(|error| ExperimentError::work(error.to_string()))?;
    let scale = model.to_logits().into_scalar::<f32>();
    let shape = similarity.dims();
    let values: Vec<f32> =
        similarity.into_data().convert::<f32>().iter::<f32>().map(|value| value * scale).collect();
    Array2::from_shape_vec((shape[0], shape[1]), values)
        .map_err(|error| ExperimentError::work(format!("similarities: {error}")))
}

/// Share of captions with an order-bearing verb that score their clip above the same clip reversed in time, in
/// per cent; a head that cannot see order has 50 (a tie counts one half).
///
/// # Errors
/// As [`test`].
pub fn order_accuracy<H: Head, O: Objective>(
    model: &Model<H, O>,
    plan: &Plan,
    towers: &Towers,
) -> Result<f64, ExperimentError> {
    let corpus = Corpus::open(plan, Split::Test, Some(towers))?;
    let model = model.valid();
    let world = tvr_data::World::default();
    let bearing: Vec<usize> =
        (0..corpus.video_ids.len()).filter(|&video| world.order_bearing(Split::Test, video, 0)).collect();
    let mut right = 0.0;
    for chunk in bearing.chunks(CHUNK) {
        let texts: Vec<usize> = chunk.iter().map(|&video| corpus.queries[video]).collect();
        let texts = model.head.code_texts(model.text.encode(&corpus, &texts, &plan.device));
        let mut scores = Vec::new();
        for reversed in [false, true] {
            let order = |video: usize| {
                let length = corpus.length(video);
                (0..corpus.frames_per_video)
                    .map(|frame| if reversed && frame < length { length - 1 - frame } else { frame })
                    .collect()
            };
            let (frames, mask) = corpus.video_tensors(chunk, Some(&order), &plan.device);
            let videos = model.head.code_videos(model.video.encode(frames, mask));
            scores.push(matrix(&model, &texts, &videos)?);
        }
        for index in 0..chunk.len() {
            let (forward, backward) = (scores[0][[index, index]], scores[1][[index, index]]);
            // A head without order differs by rounding alone.
            right +=
                if (forward - backward).abs() < 1e-4 { 0.5 } else { f64::from(u8::from(forward > backward)) };
        }
    }
    Ok(100.0 * right / bearing.len().max(1) as f64)
}
