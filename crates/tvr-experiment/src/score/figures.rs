//! The figures of a row as tables and JSON show them: metrics, intervals, and the difference from the first row.

use serde::ser::{Serialize, Serializer};
use tvr_metrics::{
    Interval, MetricError, Policy, Representation, Resampling, Summary, bootstrap, paired_bootstrap,
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

/// The figures of judged rows; differences are paired with the first.
pub(super) fn rows(
    judged: &[Row],
    policy: &Policy,
    resampling: Option<&Resampling>,
) -> Result<Vec<RowFigures>, MetricError> {
    let Some(first) = judged.first().map(|row| &row.judgement) else { return Ok(Vec::new()) };
    let mut rows = Vec::new();
    for (index, row) in judged.iter().enumerate() {
        let of =
            |summary: &Summary, baseline: &Summary, regime, side: usize| -> Result<Figures, MetricError> {
                let intervals = |baseline: Option<&Summary>| {
                    resampling.map(|resampling| intervals(summary, baseline, policy, resampling)).transpose()
                };
                Ok(Figures {
                    summary: summary.clone(),
                    regime,
                    normalisation_error: row.representation.as_ref().map(|both| (&both[side]).into()),
                    interval: intervals(None)?,
                    difference: if index == 0 { None } else { intervals(Some(baseline))? },
                })
            };
        let judgement = &row.judgement;
        let best = judgement.video_to_text_best.as_ref().zip(first.video_to_text_best.as_ref());
        rows.push(RowFigures {
            normalize: row.normalize.clone(),
            regime: row.regime,
            text_to_video: of(&judgement.text_to_video, &first.text_to_video, row.text_to_video_regime, 0)?,
            video_to_text: of(&judgement.video_to_text, &first.video_to_text, row.video_to_text_regime, 1)?,
            video_to_text_best: best
                .map(|(best, baseline)| of(best, baseline, row.video_to_text_regime, 1))
                .transpose()?,
        });
    }
    Ok(rows)
}

/// Intervals of a direction's metrics, or of their paired difference from a baseline; not under ties = reference, whose figures
/// are no means over queries.
fn intervals(
    summary: &Summary,
    baseline: Option<&Summary>,
    policy: &Policy,
    resampling: &Resampling,
) -> Result<NamedInterval, MetricError> {
    let of = |own: Vec<f64>, before: Option<Vec<f64>>| -> Result<[f64; 2], MetricError> {
        let Interval { low, high, .. } = match before {
            None => bootstrap(&own, resampling)?,
            Some(before) => paired_bootstrap(&before, &own, resampling)?,
        };
        Ok([low, high])
    };
    let mut named = Vec::new();
    for &cutoff in &policy.cutoffs {
        let before = baseline.map(|baseline| baseline.ranks.hits_percent(cutoff));
        named.push((format!("R@{cutoff}"), of(summary.ranks.hits_percent(cutoff), before)?));
    }
    let ranks = summary.ranks.per_query();
    let before = baseline.map(|baseline| baseline.ranks.per_query());
    named.push(("MnR".into(), of(ranks, before)?));
    Ok(NamedInterval(named))
}
