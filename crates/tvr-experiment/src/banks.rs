//! Banks for normalisers: training items drawn by a seed, scored against the test gallery and one another.

use burn::prelude::*;
use ndarray::Array2;
use tvr_heads::{Head, TextCodes, VideoCodes};
use tvr_normalize::{Grid, NormalizeError, Normalizer, Scores};
use tvr_objectives::Objective;

use crate::corpus::Corpus;
use crate::error::ExperimentError;
use crate::evaluate::{code_texts, code_videos};
use crate::model::Model;
use crate::offer::Offer;
use crate::recipe::{BankRecipe, EmclScope, EvalRecipe};
use crate::score::{Banks, to_matrix};

/// Scores of training items, in the unit of the test scores.
#[derive(Clone, Debug, PartialEq)]
pub struct TrainingBank {
    /// Training captions against test videos, `[bank texts, videos]`: the queries of T2V.
    pub text_queries: Array2<f32>,
    /// Training videos against test captions, `[bank videos, texts]`: the queries of V2T.
    pub video_queries: Array2<f32>,
    /// Training captions against training videos, `[bank texts, bank videos]`.
    pub among: Array2<f32>,
    /// Training videos against test videos and training captions against test captions, `[bank videos, videos]` and
    /// `[bank texts, texts]`; `None` where the head's similarity is no product of one vector each, and after EMCL.
    pub galleries: Option<[Array2<f32>; 2]>,
}

impl TrainingBank {
    /// What T2V and V2T may look at.
    pub fn of_directions(&self) -> [Banks<'_>; 2] {
        let gallery = |side: usize| self.galleries.as_ref().map(|galleries| galleries[side].view());
        [
            Banks {
                queries: Some(self.text_queries.view()),
                items: gallery(0),
                own: Some(self.among.view()),
            },
            Banks { queries: Some(self.video_queries.view()), items: gallery(1), own: Some(self.among.t()) },
        ]
    }
}

/// Whether every normaliser of a recipe finds the banks that it asks for.
///
/// - `by_vectors`: whether the head compares one vector of each side, so that training and test items of one side can
///   be compared
///
/// # Errors
/// A spec that does not parse or stands twice, a bank that is missing, empty, or larger than the training split; fewer
/// items in a bank or a gallery than a normaliser selects among.
pub fn check(recipe: &EvalRecipe, offer: &Offer, by_vectors: bool) -> Result<(), ExperimentError> {
    if let Some(bank) = &recipe.bank {
        for (key, count, most) in
            [("texts", bank.texts, offer.train_texts), ("videos", bank.videos, offer.train_videos)]
        {
            if count == 0 || count > most {
                return Err(ExperimentError::request(format!(
                    "eval.bank.{key} = {count}, but it must be from 1 to {most}, what the training split has"
                )));
            }
        }
    }
    let (test, row) = (Array2::eye(2), Array2::zeros((1, 2)));
    let bank = recipe.bank.is_some();
    let own = Array2::zeros((1, 1));
    let mut scores = Scores::new(test.view());
    scores.query_bank = bank.then(|| row.view());
    scores.gallery_bank = (bank && by_vectors && recipe.emcl.is_none()).then(|| row.view());
    scores.bank_gallery = bank.then(|| own.view());
    let mut names: Vec<String> = Vec::new();
    for spec in &recipe.normalize {
        let wrong = |error: NormalizeError| format!("eval.normalize: {error}");
        let grid: Grid = spec.parse().map_err(|error| ExperimentError::request(wrong(error)))?;
        // A row bears the name of its normaliser, in files too; of alternatives any may be chosen.
        let own: Vec<String> = match grid.candidates() {
            [_] => vec![spec.clone()],
            open => open.iter().map(ToString::to_string).collect(),
        };
        if let Some(name) = own.iter().find(|name| names.contains(name)) {
            return Err(ExperimentError::request(format!(
                "eval.normalize: {name:?} would be the name of two rows; leave one out"
            )));
        }
        names.extend(own);
        // Two queries and banks of one row say whether a bank is missing; each step alone, because one that wants more
        // queries than two would stop a chain before the next is asked.
        let mut steps = grid.candidates().iter().flat_map(|chain| chain.steps());
        let missing = steps.find_map(|step| match step.apply(&scores) {
            Err(error @ NormalizeError::BankMissing { .. }) => Some(error),
            _ => None,
        });
        if let Some(error) = missing {
            let mend = if bank && by_vectors {
                ", and eval.emcl rebuilds texts and videos against one another, so that training and test items of one \
                 side cannot be compared; leave one of the two out"
            } else if bank {
                ", and this [head] judges every pair by itself, so that training and test items of one side \
                 cannot be compared; choose another normaliser"
            } else {
                "; add eval.bank = { texts = ..., videos = ... }"
            };
            return Err(ExperimentError::request(format!("{}{mend}", wrong(error))));
        }
        let Some(gallery) = offer.gallery else { continue };
        let sides = recipe.bank.as_ref().map_or([gallery; 2], |bank| [bank.texts, bank.videos]);
        for queries in sides {
            let counted = grid.candidates().iter().try_for_each(|chain| chain.check_counts(queries, gallery));
            counted.map_err(|error| ExperimentError::request(wrong(error)))?;
        }
    }
    match &recipe.emcl {
        Some(_) if !by_vectors => Err(ExperimentError::request(
            "eval.emcl works on one vector of each text and of each video, but this [head] judges every pair by itself; \
             leave [eval.emcl] out, or train with [head.emcl]",
        )),
        Some(emcl) if emcl.scope == EmclScope::Bank && !bank => Err(ExperimentError::request(
            "eval.emcl.scope = \"bank\" needs training items; add eval.bank = { texts = ..., videos = ... }",
        )),
        Some(emcl) => emcl.check().map_err(|why| ExperimentError::request(format!("[eval.emcl] {why}"))),
        None => Ok(()),
    }
}

/// Codes of a recipe's bank.
///
/// # Errors
/// A head that refuses its input.
pub fn codes<H: Head, O: Objective>(
    recipe: &BankRecipe,
    model: &Model<H, O>,
    train: &Corpus,
    device: &Device,
) -> Result<(TextCodes, VideoCodes), ExperimentError> {
    let texts = draw(recipe.seed, "bank-texts", recipe.texts, train.text_ids.len());
    let videos = draw(recipe.seed, "bank-videos", recipe.videos, train.video_ids.len());
    Ok((code_texts(model, train, &texts, device)?, code_videos(model, train, &videos, None, device)?))
}

/// Scores a bank against a split and against itself.
///
/// - `scale`: what makes logits of the products of vectors of one side; `None` where the similarity is no such product
/// - `score`: the logits of texts and videos
///
/// # Errors
/// What `score` says.
pub fn score(
    (bank_texts, bank_videos): &(TextCodes, VideoCodes),
    (texts, videos): &(TextCodes, VideoCodes),
    scale: Option<f32>,
    score: impl Fn(&TextCodes, &VideoCodes) -> Result<Array2<f32>, ExperimentError>,
) -> Result<TrainingBank, ExperimentError> {
    let galleries = match scale {
        Some(scale) => Some([
            products(&bank_videos.pooled, &videos.pooled, scale)?,
            products(&bank_texts.pooled, &texts.pooled, scale)?,
        ]),
        None => None,
    };
    Ok(TrainingBank {
        text_queries: score(bank_texts, videos)?,
        video_queries: score(texts, bank_videos)?.t().as_standard_layout().into_owned(),
        among: score(bank_texts, bank_videos)?,
        galleries,
    })
}

/// Products of a bank's vectors and of test vectors of the same side, times `scale`: `[bank items, items]`.
pub(crate) fn products(
    bank: &Tensor<2>,
    test: &Tensor<2>,
    scale: f32,
) -> Result<Array2<f32>, ExperimentError> {
    to_matrix(bank.clone().matmul(test.clone().transpose()), scale)
}

/// `count` of `items` different rows, in rising order: a function of seed and purpose.
pub fn draw(seed: u64, purpose: &str, count: usize, items: usize) -> Vec<usize> {
    let mut random = tvr_data::stream(seed, purpose, 0);
    let mut rows: Vec<usize> = (0..items).collect();
    let count = count.min(items);
    for place in 0..count {
        let other = place + random.below((items - place) as u64) as usize;
        rows.swap(place, other);
    }
    rows.truncate(count);
    rows.sort_unstable();
    rows
}
