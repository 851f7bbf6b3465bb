//! Captions that a trained objective's decoder tells of a split's videos, and what they are worth.
//!
//! ```text
//! told[v]  the likeliest word at a time, from the video's own vector
//! own      BLEU-4 and CIDEr-D of told[v] against all captions of v
//! other    the same against the captions of another video, half the split away: what a decoder earns that knows how
//!          captions sound and sees the wrong video
//! ```
//!
//! `v` is a video of the split. Nothing of it reaches a similarity. Source: ours; Patrick et al. 2021 (support-set), arXiv
//! 2010.02824, report captions of their decoder too.

use burn::prelude::*;
use serde::Serialize;
use tvr_data::FeatureFile;
use tvr_heads::Head;
use tvr_metrics::{bleu, cider};
use tvr_objectives::Objective;
use tvr_objectives::support_set::generate::greedy;

use crate::corpus::{self, Corpus};
use crate::error::ExperimentError;
use crate::model::Model;
use crate::plan::Plan;
use crate::recipe::{DataRecipe, EncoderRecipe};
use crate::sources::Sources;
use crate::towers;

/// Videos told of at a time: in a checkpoint's vocabulary the words of one place are 25 MB of scores then.
const CHUNK: usize = 64;

/// What a decoder told of a split.
#[derive(Clone, Debug, PartialEq)]
pub struct Told {
    /// A caption for every video.
    pub captions: Vec<ToldCaption>,
    /// BLEU-4 and CIDEr-D against the captions of the video itself, times 100.
    pub own: [f64; 2],
    /// The same against the captions of another video.
    pub other: [f64; 2],
}

/// What a decoder told of one video.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ToldCaption {
    /// The video's name.
    pub video: String,
    /// The caption.
    pub told: String,
}

impl Told {
    /// The figures by the names that tables use.
    pub fn figures(&self) -> impl Iterator<Item = (String, f64)> {
        let of = |videos: &str, [bleu, cider]: [f64; 2]| {
            [
                (format!("BLEU-4 of captions told{videos}"), bleu),
                (format!("CIDEr of captions told{videos}"), cider),
            ]
        };
        of("", self.own).into_iter().chain(of(", videos shuffled", self.other))
    }
}

/// Captions of a split's videos; `None` where the objective has no decoder, or where there is one video alone.
///
/// - `videos`: the head's vectors of the split's videos, `[videos, width]`
///
/// # Errors
/// A vocabulary that cannot be read again.
pub(super) fn told<H: Head, O: Objective>(
    model: &Model<H, O>,
    videos: &Tensor<2>,
    corpus: &Corpus,
    plan: &Plan,
    sources: &Sources,
) -> Result<Option<Told>, ExperimentError> {
    let count = corpus.video_ids.len();
    // Every caption ends with its mark.
    let end = corpus.tokens().and_then(|captions| captions.first()?.last().copied());
    let (Some(decoder), Some(end), 2..) = (model.objective.decoder(), end, count) else { return Ok(None) };
    let mut ids = Vec::with_capacity(count);
    for start in (0..count).step_by(CHUNK) {
        let part = videos.clone().slice_dim(0, start..count.min(start + CHUNK));
        ids.extend(greedy(decoder, &part, end).map_err(ExperimentError::because)?);
    }
    let told = spelled(&ids, plan, sources)?;
    let sentences =
        |texts: Vec<usize>| texts.into_iter().map(|text| corpus.sentences[text].as_str()).collect();
    let mut references: Vec<Vec<&str>> = corpus.captions().into_iter().map(sentences).collect();
    let candidates: Vec<&str> = told.iter().map(String::as_str).collect();
    let own = figures(&candidates, &references)?;
    references.rotate_left(count / 2);
    let other = figures(&candidates, &references)?;
    let named = corpus.video_ids.iter().cloned().zip(told);
    Ok(Some(Told { captions: named.map(|(video, told)| ToldCaption { video, told }).collect(), own, other }))
}

fn figures(candidates: &[&str], references: &[Vec<&str>]) -> Result<[f64; 2], ExperimentError> {
    let bleu = bleu(candidates, references).map_err(ExperimentError::because)?.bleu_4();
    let cider = cider(candidates, references).map_err(ExperimentError::because)?.mean;
    Ok([100.0 * bleu, 100.0 * cider])
}

/// Token numbers as sentences, in the vocabulary that the plan's encoder reads captions with.
fn spelled(ids: &[Vec<u32>], plan: &Plan, sources: &Sources) -> Result<Vec<String>, ExperimentError> {
    let tokenizer = match (&plan.recipe.encoder, &plan.recipe.data, &sources.pretrained) {
        (EncoderRecipe::Words { least, .. }, DataRecipe::Features { path }, _) => {
            let set = FeatureFile::open(path).map_err(ExperimentError::because)?;
            let words = corpus::vocabulary(&set, &set.captions().map_err(ExperimentError::because)?, *least);
            return Ok(ids.iter().map(|ids| words.decode(ids)).collect());
        }
        (EncoderRecipe::Clip { .. }, _, Some(pretrained)) => pretrained.tokenizer().clone(),
        (EncoderRecipe::World { .. }, ..) => towers::tokenizer()?,
        _ => return Err(ExperimentError::work("captions were told in words that the encoder does not read")),
    };
    let spell = |ids: &Vec<u32>| tokenizer.decode(ids).map_err(ExperimentError::because);
    ids.iter().map(spell).collect()
}
