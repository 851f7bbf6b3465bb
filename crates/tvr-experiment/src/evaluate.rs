//! Evaluation: codes of a whole split, similarity by tiles, normalisers, metrics.
//!
//! This is the only place that opens the test split.

mod captions;

use std::collections::BTreeMap;
use std::ops::Range;

use burn::module::Module;
use burn::prelude::*;
use ndarray::Array2;
use tvr_data::Split;
use tvr_heads::{Head, TextCodes, VideoCodes};
use tvr_metrics::{Judgement, Truth};
use tvr_objectives::Objective;

use crate::banks::{self, TrainingBank};
use crate::corpus::{Corpus, FrameOrder};
use crate::error::ExperimentError;
use crate::known_gallery;
use crate::model::Model;
use crate::plan::Plan;
use crate::recipe::Captions;
use crate::score::shards::{Block, blocks};
use crate::score::{self, Banks, Row, Rows, Scored, Scorer, Settled, judge_rows};
use crate::shard::Shard;
use crate::sources::Sources;
pub use captions::{Told, ToldCaption};

/// Items encoded at a time.
const CHUNK: usize = 256;

/// Values of frames encoded at a time, at most, where one video has no more: 256 MiB.
const VALUES: usize = 1 << 26;

/// A split's similarities and what is true of them.
#[derive(Clone, Debug)]
pub struct Judged {
    /// Logits `[texts, videos]` of the captions that the recipe's `eval.captions` names.
    pub logits: Array2<f32>,
    /// Whose each caption is.
    pub truth: Truth,
    /// A row for each normaliser.
    pub rows: Vec<Row>,
    /// Hash of the gallery's ids and captions.
    pub gallery: String,
    /// What the doctor calls the gallery, in words; `None` where no doctor has looked at the data.
    pub known_as: Option<String>,
    /// Which items a similarity depends on beside its own pair; `None` where on none.
    pub mixing: Option<String>,
    /// How many directions texts and videos spread over before and after EMCL, in the head or at inference:
    /// `(Σ σ²)² / Σ σ⁴` of their singular values; `None` without it.
    pub effective_ranks: Option<[f64; 2]>,
    /// By the row whose setting was chosen on val, the spec with its alternatives.
    pub chosen: BTreeMap<String, String>,
    /// What the objective's decoder tells of the videos; `None` where it has none.
    pub told: Option<Told>,
    /// What makes rows doubtful, each said once.
    pub warnings: Vec<String>,
}

/// The data that an evaluation looks at.
#[derive(Clone, Copy)]
pub struct Splits<'a> {
    /// What is judged.
    pub judged: &'a Corpus,
    /// Where banks for normalisers are drawn from.
    pub train: &'a Corpus,
}

/// Opens test and judges a model on it.
///
/// # Errors
/// Broken data, scores that are not finite, or a normaliser that refuses.
pub fn test<H: Head, O: Objective>(
    model: &Model<H, O>,
    plan: &Plan,
    train: &Corpus,
    sources: &Sources,
    settled: &Settled,
) -> Result<Judged, ExperimentError> {
    let corpus = Corpus::open(plan, Split::Test, sources)?;
    judged(model, Splits { judged: &corpus, train }, plan, sources, settled)
}

/// The recipe's normalisers, with the settings that they leave open chosen on val.
///
/// # Errors
/// As [`test`].
pub fn settled<H: Head, O: Objective>(
    model: &Model<H, O>,
    val: Splits<'_>,
    plan: &Plan,
) -> Result<Settled, ExperimentError> {
    let specs = &plan.recipe.eval.normalize;
    if score::open(specs).is_none() {
        return Ok(Settled::as_given(specs));
    }
    let asked = asked(model, val, plan)?;
    score::settle(specs, &asked.scored.scores, &asked.truth, asked.banks())
}

/// Judges a model on an opened split.
///
/// # Errors
/// As [`test`].
pub fn judged<H: Head, O: Objective>(
    model: &Model<H, O>,
    splits: Splits<'_>,
    plan: &Plan,
    sources: &Sources,
    settled: &Settled,
) -> Result<Judged, ExperimentError> {
    let asked = asked(model, splits, plan)?;
    let (scored, banks) = (&asked.scored, asked.banks());
    let Rows { rows, warnings } =
        judge_rows(&scored.scores, &asked.truth, &settled.specs, banks, scored.regime)?;
    let corpus = splits.judged;
    let gallery = gallery(corpus, &asked.texts);
    let known_as = known_gallery::sentence(&plan.recipe.data, &corpus.video_ids);
    let chosen = settled.chosen.clone();
    let Asked { scored, truth, videos, .. } = asked;
    let Scored { scores: logits, mixing, effective_ranks, .. } = scored;
    let told = captions::told(&model.valid(), &videos, corpus, plan, sources)?;
    Ok(Judged { logits, truth, rows, gallery, known_as, mixing, effective_ranks, chosen, told, warnings })
}

/// A split's logits before any normaliser, and of which captions and videos they are.
struct Asked {
    /// The logits, and what normalisers may look at.
    scored: Scored,
    /// The captions that were asked for, as rows of the split.
    texts: Vec<usize>,
    truth: Truth,
    /// The head's vectors of the videos. `[videos, width]`
    videos: Tensor<2>,
}

impl Asked {
    fn banks(&self) -> [Banks<'_>; 2] {
        self.scored.bank.as_ref().map(TrainingBank::of_directions).unwrap_or_default()
    }
}

fn asked<H: Head, O: Objective>(
    model: &Model<H, O>,
    splits: Splits<'_>,
    plan: &Plan,
) -> Result<Asked, ExperimentError> {
    let recipe = &plan.recipe.eval;
    let model = &model.valid();
    let (texts, truth) = splits.judged.asked(recipe.captions)?;
    let codes = codes(model, splits.judged, plan, &texts, 0..splits.judged.video_ids.len())?;
    let bank = recipe.bank.as_ref().map(|bank| banks::codes(bank, model, splits.train, &plan.device));
    let bank = bank.transpose()?;
    let [_, width] = codes.0.pooled.dims();
    let (head, scale) = (&model.head, model.to_logits().into_scalar());
    let scorer = Scorer::new(head, scale, recipe.emcl.as_ref(), width, bank.as_ref(), &plan.device)?;
    let scored = scorer.scored(&codes, bank.as_ref())?;
    Ok(Asked { scored, texts, truth, videos: codes.1.pooled })
}

/// Opens test and scores one share of it, for [`score::merge`] to join.
///
/// # Errors
/// As [`share`].
pub fn test_share<H: Head, O: Objective>(
    model: &Model<H, O>,
    plan: &Plan,
    train: &Corpus,
    sources: &Sources,
    shard: Shard,
) -> Result<Share, ExperimentError> {
    let corpus = Corpus::open(plan, Split::Test, sources)?;
    share(model, Splits { judged: &corpus, train }, plan, shard)
}

/// One share of a split's logits, and of a bank's: all texts, and the videos of the share, which alone are encoded.
///
/// # Errors
/// Similarities that depend on the items of other shares; more shards than videos; as [`test`].
pub fn share<H: Head, O: Objective>(
    model: &Model<H, O>,
    Splits { judged, train }: Splits<'_>,
    plan: &Plan,
    shard: Shard,
) -> Result<Share, ExperimentError> {
    let recipe = &plan.recipe.eval;
    if model.head.needs().mixes_items || recipe.emcl.is_some() {
        return Err(ExperimentError::request(
            "--shard: EMCL finds its bases on items of all shares together; judge this run without --shard",
        ));
    }
    let model = &model.valid();
    let n_videos = judged.video_ids.len();
    let (asked, truth) = judged.asked(recipe.captions)?;
    let (texts, videos) = codes(model, judged, plan, &asked, shard.of_items(n_videos, "videos")?)?;
    let bank = recipe.bank.as_ref().map(|bank| banks::codes(bank, model, train, &plan.device));
    let bank = bank.transpose()?;
    let scale = (!model.head.needs().judges_pairs).then(|| model.to_logits().into_scalar());
    let score = |texts: &TextCodes, videos: &VideoCodes| matrix(model, texts, videos);
    let blocks = blocks(shard, (&texts, &videos), n_videos, bank.as_ref(), scale, score)?;
    let video_of = (recipe.captions == Captions::All).then(|| truth.video_of().to_vec());
    Ok(Share { blocks, video_of, gallery: gallery(judged, &asked) })
}

/// One share of a split's similarities.
#[derive(Clone, Debug)]
pub struct Share {
    pub(crate) blocks: Vec<Block>,
    /// The video of each text; `None` where it is the diagonal.
    pub(crate) video_of: Option<Vec<usize>>,
    /// Hash of the gallery's ids and captions.
    pub gallery: String,
}

fn gallery(corpus: &Corpus, texts: &[usize]) -> String {
    let captions: Vec<String> = texts.iter().map(|&text| corpus.text_ids[text].clone()).collect();
    tvr_data::gallery_hash(&corpus.video_ids, &captions)
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
    let model = &model.valid();
    let (asked, truth) = corpus.asked(plan.recipe.eval.captions)?;
    let (texts, videos) = codes(model, corpus, plan, &asked, 0..corpus.video_ids.len())?;
    let logits = matrix(model, &texts, &videos)?;
    score::judge_val(&logits, &truth)
}

/// Codes of the captions that are asked for, and of the videos, or some of them.
fn codes<H: Head, O: Objective>(
    model: &Model<H, O>,
    corpus: &Corpus,
    plan: &Plan,
    texts: &[usize],
    videos: Range<usize>,
) -> Result<(TextCodes, VideoCodes), ExperimentError> {
    let videos: Vec<usize> = videos.collect();
    let order = plan.recipe.data.shuffles().then_some(FrameOrder::Shuffled(TEST_ORDER));
    Ok((
        code_texts(model, corpus, texts, &plan.device)?,
        code_videos(model, corpus, &videos, order, &plan.device)?,
    ))
}

/// The seed of the order in which a control's clips are shown at test: one fixed order per clip.
const TEST_ORDER: u64 = 1;

/// Codes of some videos of a split, a chunk at a time.
pub(crate) fn code_videos<H: Head, O: Objective>(
    model: &Model<H, O>,
    corpus: &Corpus,
    videos: &[usize],
    order: Option<FrameOrder>,
    device: &Device,
) -> Result<VideoCodes, ExperimentError> {
    let needs = model.head.needs();
    let code = |chunk: &[usize]| -> Result<VideoCodes, ExperimentError> {
        let features = corpus.video_features(chunk, order, &needs, device)?;
        Ok(model.head.code_videos(model.video.encode(features)))
    };
    let chunk = (VALUES / (corpus.frames_per_video * corpus.width).max(1)).clamp(1, CHUNK);
    VideoCodes::cat(videos.chunks(chunk).map(code).collect::<Result<_, _>>()?)
        .map_err(ExperimentError::because)
}

/// Codes of some captions of a split, a chunk at a time.
pub(crate) fn code_texts<H: Head, O: Objective>(
    model: &Model<H, O>,
    corpus: &Corpus,
    texts: &[usize],
    device: &Device,
) -> Result<TextCodes, ExperimentError> {
    let needs = model.head.needs();
    let code = |chunk: &[usize]| model.head.code_texts(model.text.encode(corpus, chunk, &needs, device));
    TextCodes::cat(texts.chunks(CHUNK).map(code).collect()).map_err(ExperimentError::because)
}

/// Logits `[texts, videos]`, by tiles.
fn matrix<H: Head, O: Objective>(
    model: &Model<H, O>,
    texts: &TextCodes,
    videos: &VideoCodes,
) -> Result<Array2<f32>, ExperimentError> {
    Scorer::plain(&model.head, model.to_logits().into_scalar()).scores(texts, videos)
}

/// Share of captions with an order-bearing verb that score their clip above the same clip reversed in time, in
/// per cent; a head that cannot see order has 50 (a tie counts one half).
///
/// # Errors
/// As [`test`].
pub fn order_accuracy<H: Head, O: Objective>(
    model: &Model<H, O>,
    plan: &Plan,
    sources: &Sources,
) -> Result<f64, ExperimentError> {
    let corpus = Corpus::open(plan, Split::Test, sources)?;
    let model = model.valid();
    let world = tvr_data::World::default();
    let bearing: Vec<usize> =
        (0..corpus.video_ids.len()).filter(|&video| world.order_bearing(Split::Test, video, 0)).collect();
    let mut right = 0.0;
    for chunk in bearing.chunks(CHUNK) {
        let texts: Vec<usize> = chunk.iter().map(|&video| corpus.queries[video]).collect();
        let texts = code_texts(&model, &corpus, &texts, &plan.device)?;
        let mut scores = Vec::new();
        for order in [None, Some(FrameOrder::Reversed)] {
            let features = corpus.video_features(chunk, order, &model.head.needs(), &plan.device)?;
            let videos = model.head.code_videos(model.video.encode(features));
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
