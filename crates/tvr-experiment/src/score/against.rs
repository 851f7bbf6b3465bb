//! Another system's scores of the same texts and videos, which every row is compared with.

use ndarray::Array2;
use tvr_metrics::Truth;
use tvr_normalize::Chain;

use super::normalised::{Both, Normalised};
use super::wrong::Wrong;
use super::{Banks, Input, Request, Row, matrix, say_once};
use crate::error::ExperimentError;

/// The other system.
pub(super) struct Other<'a> {
    /// As it was named.
    name: &'a str,
    /// `[texts, videos]`
    scores: Array2<f32>,
}

impl<'a> Other<'a> {
    /// The scores of a request's other system; `None` where it names none.
    ///
    /// # Errors
    /// A file that is not what its role asks for; scores of other texts or videos; banks, which are of one system.
    pub(super) fn read(
        request: &'a Request,
        scores: &Array2<f32>,
        inputs: &mut Vec<Input>,
    ) -> Result<Option<Self>, ExperimentError> {
        let Some(name) = request.against.as_deref() else { return Ok(None) };
        if request.has_bank() {
            return Err(ExperimentError::request(format!(
                "--against {name}: banks are of one system; judge the two apart, or leave the banks out"
            )));
        }
        let other = matrix::read("against", "[texts, videos]", name, inputs)?;
        if other.dim() != scores.dim() {
            let ((texts, videos), (own_texts, own_videos)) = (other.dim(), scores.dim());
            return Err(ExperimentError::request(format!(
                "--against {name}: it is [{texts}, {videos}], but {} is [{own_texts}, {own_videos}]; give scores of the \
                 same texts and videos in the same order",
                request.given.name()
            )));
        }
        Ok(Some(Self { name, scores: other }))
    }

    /// The rows of a request for this system.
    ///
    /// # Errors
    /// Scores that a normaliser or the metrics refuse.
    pub(super) fn judged(
        &self,
        specs: &[String],
        chains: &[Chain],
        truth: &Truth,
        request: &Request,
        warnings: &mut Vec<String>,
    ) -> Result<Vec<Row>, ExperimentError> {
        let input = Both::new(&self.scores, truth, request.logit_scale);
        let row = |(spec, chain): (&String, &Chain)| {
            let normalised = Normalised::new(chain, &input, [Banks::default(); 2])?;
            let warned = normalised.warnings.iter().map(|warning| format!("{}: {warning}", self.name));
            say_once(warnings, warned.collect());
            Ok(normalised.judge(spec, &input, &request.policy)?)
        };
        specs.iter().zip(chains).map(row).collect::<Result<_, Wrong>>().map_err(|error| error.of(self.name))
    }
}
