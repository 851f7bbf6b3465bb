//! The figures of a row as tables and JSON show them: metrics, intervals, and the difference from the first row.

use serde::ser::{Serialize, Serializer};
use tvr_metrics::{
    Interval, MetricError, Policy, Representation, Resampling, Rule, Summary, Truth, bootstrap,
    clustered_bootstrap, paired_bootstrap,
};
use tvr_normalize::Regime;

use super::Row;

/// A row of the report.
#[derive(Clone, Debug, serde::Serialize)]
pub struct RowFigures {
    /// The normaliser, as it was named.
    pub normalize: String,
    /// Of both directions, the one that has seen more.
    pub regime: Regime,
    /// T2V.
    pub text_to_video: Figures,
    /// V2T, by the rule of published tables.
    pub video_to_text: Figures,
    /// V2T by the other rule, where a video has several captions.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub video_to_text_best: Option<Figures>,
}

/// One direction of a row.
#[derive(Clone, Debug, serde::Serialize)]
pub struct Figures {
    /// Rule, queries, R@K, MdR, MnR.
    #[serde(flatten)]
    pub summary: Summary,
    /// What this direction has seen.
    pub regime: Regime,
    /// How unevenly its gallery is represented; nothing where scores are not finite, or no logits (`dual-softmax`, `mutual`).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub normalisation_error: Option<NormalisationError>,
    /// 95 % intervals by metric.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub interval: Option<NamedInterval>,
    /// 95 % intervals of the paired difference from the first row.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub difference: Option<NamedInterval>,
}

/// The normalisation error and what stands behind it.
#[derive(Clone, Copy, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct NormalisationError {
    /// Mean |ρ − 1| over the gallery, ρ the sum of an item's retrieval probabilities.
    pub error: f64,
    /// Share of items with ρ above 2, 0 to 1.
    pub share_above_two: f64,
    /// Share of items with ρ below ½, 0 to 1.
    pub share_below_half: f64,
    /// The largest ρ.
    pub largest: f64,
}

impl From<&Representation> for NormalisationError {
    fn from(of: &Representation) -> Self {
        Self {
            error: of.error,
            share_above_two: of.share_above_two,
            share_below_half: of.share_below_half,
            largest: of.largest,
        }
    }
}

/// Intervals by the name of their metric, in the order of the table: every R@K, then MnR.
#[derive(Clone, Debug, PartialEq)]
pub struct NamedInterval(pub Vec<(String, [f64; 2])>);

impl NamedInterval {
    /// The interval of a metric.
    pub fn get(&self, metric: &str) -> Option<[f64; 2]> {
        self.0.iter().find(|(name, _)| name == metric).map(|(_, ends)| *ends)
    }
}

impl Serialize for NamedInterval {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().map(|(name, ends)| (name, ends)))
    }
}

/// How figures are made of judged rows.
#[derive(Clone, Copy)]
pub(super) struct Figured<'a> {
    pub(super) truth: &'a Truth,
    pub(super) policy: &'a Policy,
    /// Intervals, where they are asked for.
    pub(super) resampling: Option<&'a Resampling>,
}

impl Figured<'_> {
    /// The figures of judged rows, each with its paired difference from its baseline.
    pub(super) fn rows<'r>(
        self,
        judged: &[Row],
        baseline: impl Fn(usize) -> Option<&'r Row>,
    ) -> Result<Vec<RowFigures>, MetricError> {
        let row = |(index, row): (usize, &Row)| {
            let before = baseline(index).map(|row| &row.judgement);
            let of = |summary: &Summary, before: Option<&Summary>, regime, side: usize| {
                let difference =
                    before.map(|before| self.intervals(summary, Some(before))).transpose()?.flatten();
                Ok::<_, MetricError>(Figures {
                    summary: summary.clone(),
                    regime,
                    normalisation_error: row.representation.as_ref().map(|both| (&both[side]).into()),
                    interval: self.intervals(summary, None)?,
                    difference,
                })
            };
            let judgement = &row.judgement;
            let [text, video] = [row.text_to_video_regime, row.video_to_text_regime];
            let best = judgement
                .video_to_text_best
                .as_ref()
                .map(|best| of(best, before.and_then(|before| before.video_to_text_best.as_ref()), video, 1));
            Ok(RowFigures {
                normalize: row.normalize.clone(),
                regime: row.regime,
                text_to_video: of(
                    &judgement.text_to_video,
                    before.map(|before| &before.text_to_video),
                    text,
                    0,
                )?,
                video_to_text: of(
                    &judgement.video_to_text,
                    before.map(|before| &before.video_to_text),
                    video,
                    1,
                )?,
                video_to_text_best: best.transpose()?,
            })
        };
        judged.iter().enumerate().map(row).collect()
    }

    /// Intervals of a direction's metrics, or of their paired difference from a baseline; not under ties = reference, whose
    /// figures are no means over queries. Captions of one video are drawn together.
    fn intervals(
        self,
        summary: &Summary,
        baseline: Option<&Summary>,
    ) -> Result<Option<NamedInterval>, MetricError> {
        let Some(resampling) = self.resampling else { return Ok(None) };
        let together = (summary.rule() == Rule::PerCaption && !self.truth.is_one_to_one())
            .then(|| self.truth.video_of());
        let of = |own: Vec<f64>, before: Option<Vec<f64>>| -> Result<[f64; 2], MetricError> {
            let Interval { low, high, .. } = match (before, together) {
                (None, None) => bootstrap(&own, resampling)?,
                (Some(before), None) => paired_bootstrap(&before, &own, resampling)?,
                (before, Some(video_of)) => {
                    let before = before.unwrap_or(vec![0.0; own.len()]);
                    let differences: Vec<f64> =
                        own.iter().zip(before).map(|(own, before)| own - before).collect();
                    clustered_bootstrap(&differences, video_of, resampling)?
                }
            };
            Ok([low, high])
        };
        let mut named = Vec::new();
        for &cutoff in &self.policy.cutoffs {
            let before = baseline.map(|baseline| baseline.ranks.hits_percent(cutoff));
            named.push((format!("R@{cutoff}"), of(summary.ranks.hits_percent(cutoff), before)?));
        }
        let before = baseline.map(|baseline| baseline.ranks.per_query());
        named.push(("MnR".into(), of(summary.ranks.per_query(), before)?));
        Ok(Some(NamedInterval(named)))
    }
}
