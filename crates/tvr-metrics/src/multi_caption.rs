//! Several captions per video: against what a video is ranked.
//!
//! | rule | rank of a video | who |
//! |---|---|---|
//! | `grouped` | of its captions' maximum among the maxima of all videos' captions | CLIP4Clip, EMCL-Net, DRL, X-Pool |
//! | `best` | of its best caption among the captions of all other videos | many retrieval papers |
//!
//! `grouped` is never worse than `best`: every group ahead has at least one caption ahead. With one caption per video
//! they are one. In T2V every caption is a query of its own.

use std::fmt;

use ndarray::ArrayView2;
use serde::{Deserialize, Serialize};

use crate::count::{Tally, Want};
use crate::ranks::Counted;
use crate::{MetricError, Policy, Ranks, Truth};

/// Against what a query is ranked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Rule {
    /// T2V: each caption is a query, against all videos.
    PerCaption,
    /// V2T: the best caption of each video is what competes. Comparable with published tables.
    Grouped,
    /// V2T: the best own caption against every caption of other videos.
    Best,
}

impl Rule {
    /// The name in reports.
    pub fn name(self) -> &'static str {
        match self {
            Self::PerCaption => "per-caption",
            Self::Grouped => "grouped",
            Self::Best => "best",
        }
    }
}

impl fmt::Display for Rule {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(self.name())
    }
}

/// V2T ranks under [`Rule::Best`]. [`crate::ranks()`] gives [`Rule::Grouped`].
///
/// # Errors
/// As [`crate::ranks()`].
pub fn video_to_text_best(
    scores: ArrayView2<f32>,
    truth: &Truth,
    policy: &Policy,
) -> Result<Ranks, MetricError> {
    let want = Want { rows: false, columns: true, maxima: false };
    Ok(Counted::new(scores, truth, want, policy)?.video_to_text_best())
}

/// CLIP4Clip's T2V places with several captions per video: a stable double argsort. NaN stands before every number,
/// equal scores stand in the order of the videos, a query with a NaN or infinite own score is dropped.
pub(crate) fn reference_text_to_video(scores: ArrayView2<f32>, truth: &Truth) -> Tally {
    let mut tally = Tally::default();
    for (row, &video) in scores.rows().into_iter().zip(truth.video_of()) {
        let own = row[video];
        let ahead =
            |(other, &score): (usize, &f32)| score > own || score.is_nan() || (score == own && other < video);
        let place = row.iter().enumerate().filter(|cell| ahead(*cell)).count();
        tally.greater.push(if own.is_finite() { u32::try_from(place).unwrap_or(u32::MAX) } else { 0 });
        tally.equal.push(u32::from(own.is_finite()));
    }
    tally
}
