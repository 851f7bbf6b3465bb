//! What a normaliser or a metric refused, told apart: a wrong request has another exit code than wrong data.

use tvr_metrics::MetricError;
use tvr_normalize::{NormalizeError, Side};

use crate::error::ExperimentError;

/// What refused.
#[derive(Debug)]
pub(super) enum Wrong {
    Normalize(NormalizeError),
    Bank { method: &'static str, direction: &'static str, bank: &'static str, option: &'static str },
    Metric(MetricError),
}

impl From<NormalizeError> for Wrong {
    fn from(error: NormalizeError) -> Self {
        Self::Normalize(error)
    }
}

impl From<MetricError> for Wrong {
    fn from(error: MetricError) -> Self {
        Self::Metric(error)
    }
}

impl Wrong {
    /// Adds where the scores came from.
    pub(super) fn of(self, source: &str) -> ExperimentError {
        use NormalizeError as N;
        match self {
            Self::Bank { method, direction, bank, option } => ExperimentError::request(format!(
                "--normalize: {method} has no {bank} for {direction}, and needs one; give --{option}"
            )),
            Self::Normalize(
                error @ (N::BankMissing { .. }
                | N::LonelyQuery { .. }
                | N::TooFew { .. }
                | N::MixedRows { .. }
                | N::NotFirst { .. }),
            ) => ExperimentError::request(format!("{source}: {error}")),
            Self::Normalize(error @ N::Setting { .. }) => {
                ExperimentError::request(format!("--normalize: {error}"))
            }
            Self::Normalize(error @ N::NotFinite { .. }) => ExperimentError::work(format!(
                "{source}: {error}; mend the model that made it, or judge raw rows alone with --non-finite miss"
            )),
            Self::Normalize(error) => ExperimentError::work(format!("{source}: {error}")),
            Self::Metric(error @ (MetricError::Setting { .. } | MetricError::Choice { .. })) => {
                ExperimentError::request(error.to_string())
            }
            Self::Metric(MetricError::NonFinite { row, column, value, .. }) => {
                ExperimentError::work(format!(
                    "{source}: scores[{row}, {column}] is {value}; mend the model that made it, or count such queries as \
                     missed with --non-finite miss"
                ))
            }
            Self::Metric(error) => ExperimentError::work(format!("{source}: {error}")),
        }
    }

    /// As [`of`](Self::of), for scores of a run's own model or of val, where no option counts a score as missed.
    pub(super) fn of_model(self, source: &str) -> ExperimentError {
        match self {
            Self::Metric(MetricError::NonFinite { row, column, value, .. }) => {
                ExperimentError::work(format!(
                    "{source}: scores[{row}, {column}] is {value}; mend the model that made it, as with a smaller learning rate"
                ))
            }
            Self::Normalize(error @ NormalizeError::NotFinite { .. }) => ExperimentError::work(format!(
                "{source}: {error}; mend the model that made it, as with a smaller learning rate"
            )),
            other => other.of(source),
        }
    }

    /// A missing bank belongs to a direction, and to the option that would bring it.
    pub(super) fn in_direction(error: NormalizeError, queries: Side) -> Self {
        let NormalizeError::BankMissing { method, bank } = error else { return Self::Normalize(error) };
        let (direction, options) = match queries {
            Side::Texts => ("T2V", ["text-bank", "gallery-bank"]),
            Side::Videos => ("V2T", ["video-bank", "gallery-bank-texts"]),
        };
        let option = match bank {
            "query bank" => options[0],
            "gallery bank" => options[1],
            _ => "bank-similarity",
        };
        Self::Bank { method, direction, bank, option }
    }
}
