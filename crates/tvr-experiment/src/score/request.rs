//! What is asked for, and what is wrong with that before a file is read.

use std::path::PathBuf;

use tvr_metrics::{NonFinite, Policy, Resampling, Ties};
use tvr_normalize::{Chain, Family};

use super::Vectors;
use super::normalised::is_raw;
use crate::error::ExperimentError;

/// Draws below which the ends of a 95 % interval, each with one in forty of them outside, say nothing.
const FEWEST_DRAWS: usize = 100;

/// What is judged, and how.
#[derive(Clone, Debug)]
pub struct Request {
    /// The scores.
    pub given: Given,
    /// The video of each text; without it the diagonal is true.
    pub groups: Option<String>,
    /// Scores of another system on the same texts and videos, `[texts, videos]`, which every row is compared with.
    pub against: Option<String>,
    /// Normalisers, a row each; empty is `raw`.
    pub normalize: Vec<String>,
    /// Scores of val, `[texts, videos]`, on which settings are chosen that a normaliser leaves open.
    pub val: Option<String>,
    /// The video of each text of val.
    pub val_groups: Option<String>,
    /// `[bank texts, videos]`.
    pub text_bank: Option<String>,
    /// `[texts, bank videos]`.
    pub video_bank: Option<String>,
    /// `[bank videos, videos]`: the gallery bank of T2V.
    pub gallery_bank: Option<String>,
    /// `[bank texts, texts]`: the gallery bank of V2T.
    pub gallery_bank_texts: Option<String>,
    /// `[bank texts, bank videos]`: the bank's own gallery, for both directions.
    pub bank_similarity: Option<String>,
    /// What a score is multiplied with to be a logit; the normalisation error alone asks.
    pub logit_scale: f32,
    /// Ties, scores that are no numbers, cut-offs.
    pub policy: Policy,
    /// 95 % intervals over queries.
    pub bootstrap: Option<Resampling>,
    /// Where the normalised matrices go.
    pub save: Option<PathBuf>,
}

impl Request {
    pub(super) fn has_bank(&self) -> bool {
        let files = [&self.text_bank, &self.video_bank, &self.gallery_bank, &self.gallery_bank_texts];
        let vectors = matches!(&self.given, Given::Vectors(Vectors { bank: Some(_), .. }));
        vectors || files.into_iter().any(Option::is_some)
    }

    /// Refuses what no file can mend.
    ///
    /// # Errors
    /// The first option that does not go with another, or that says nothing.
    pub(super) fn check(&self) -> Result<(), ExperimentError> {
        let Some(Resampling { draws, .. }) = self.bootstrap else { return Ok(()) };
        if self.policy.ties == Ties::Reference {
            return Err(ExperimentError::request(
                "--ties reference has no --bootstrap: its figures are no means over queries, since a tied query counts several \
                 times and a dropped one never; leave one of them out",
            ));
        }
        if draws < FEWEST_DRAWS {
            return Err(ExperimentError::request(format!(
                "--bootstrap {draws}: a 95 % interval takes at least {FEWEST_DRAWS} draws; 2000 are usual"
            )));
        }
        Ok(())
    }

    /// Refuses normalisers that do not go with the rest of the request.
    ///
    /// # Errors
    /// The first that does not.
    pub(super) fn check_rows(&self, specs: &[String], chains: &[Chain]) -> Result<(), ExperimentError> {
        let mixed = specs.iter().zip(chains).find(|(_, chain)| !is_raw(chain));
        if let (NonFinite::Miss, Some((spec, _))) = (self.policy.non_finite, mixed) {
            return Err(ExperimentError::request(format!(
                "--non-finite miss serves raw rows alone, and --normalize {spec} needs scores that are all finite; leave one \
                 of the two out"
            )));
        }
        let wants_gallery =
            |chain: &Chain| chain.steps().iter().any(|step| matches!(step, Family::DualBank(_)));
        if matches!(&self.given, Given::Vectors(Vectors { emcl: Some(_), .. }))
            && chains.iter().any(wants_gallery)
        {
            return Err(ExperimentError::request(
                "--emcl rebuilds texts and videos against one another, so that dual-bank cannot compare training and test \
                 items of one side; leave one of the two out",
            ));
        }
        Ok(())
    }
}

/// Where the scores come from.
#[derive(Clone, Debug)]
pub enum Given {
    /// A matrix `[texts, videos]`: `S.npy`, or `FILE.safetensors:KEY`.
    Similarity(String),
    /// Vectors, whose cosines are the scores.
    Vectors(Vectors),
}

impl Given {
    /// What errors call the scores.
    pub(super) fn name(&self) -> &str {
        match self {
            Self::Similarity(name) => name,
            Self::Vectors(vectors) => &vectors.texts,
        }
    }
}
