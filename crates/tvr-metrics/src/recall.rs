//! From ranks to the figures of a table.
//!
//! ```text
//! R@K = 100 · mean over queries of hit(K)     MdR = median rank     MnR = mean rank     ranks count from 1
//! ```
//!
//! The median of an even count is the mean of the two middle ranks, except where CLIP4Clip's code takes the lower one.

use serde::ser::{Serialize, SerializeMap, Serializer};

use crate::multi_caption::Rule;
use crate::{MetricError, Ranks, Ties};

/// The figures of one direction, with the ranks they come from.
///
/// As JSON: `{"rule": "grouped", "queries": 1000, "R@1": 46.7, …, "MdR": 2.0, "MnR": 9.785}`; T2V has no rule.
#[derive(Clone, Debug, PartialEq)]
pub struct Summary {
    /// Number of queries, dropped ones included.
    pub queries: usize,
    /// One entry a cut-off, in the policy's order.
    pub recalls: Vec<Recall>,
    /// MdR.
    pub median_rank: f64,
    /// MnR.
    pub mean_rank: f64,
    /// Where each query found its true item; [`Ranks::hits_percent`] is what a bootstrap resamples.
    pub ranks: Ranks,
}

/// R@K.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Recall {
    /// K.
    pub cutoff: usize,
    /// The share of queries that found their item among the first K, 0 to 100.
    pub percent: f64,
}

impl Summary {
    /// The figures of some ranks.
    ///
    /// # Errors
    /// [`MetricError::AllDropped`] when [`Ties::Reference`] left no query, [`MetricError::Setting`] for a cut-off of 0.
    pub fn new(ranks: Ranks, cutoffs: &[usize]) -> Result<Self, MetricError> {
        if cutoffs.contains(&0) {
            return Err(MetricError::Setting { name: "cutoff", value: 0.0, domain: "at least 1" });
        }
        if ranks.ties() == Ties::Reference {
            return Self::over_entries(ranks, cutoffs);
        }
        let mut places = ranks.per_query();
        if places.is_empty() {
            return Err(MetricError::AllDropped { queries: ranks.queries() });
        }
        let count = places.len() as f64;
        let percent = |cutoff: usize| ranks.hits_percent(cutoff).iter().sum::<f64>() / count;
        let recalls = cutoffs.iter().map(|&cutoff| Recall { cutoff, percent: percent(cutoff) }).collect();
        let mean_rank = places.iter().sum::<f64>() / count;
        let median_rank = median(&mut places);
        Ok(Self { queries: ranks.queries(), recalls, median_rank, mean_rank, ranks })
    }

    /// The same over the list of [`Ranks::reference_entries`], which is not made: on a matrix of equal scores it is as long
    /// as the matrix.
    fn over_entries(ranks: Ranks, cutoffs: &[usize]) -> Result<Self, MetricError> {
        let tied = || ranks.greater().iter().zip(ranks.equal()).map(|(&g, &e)| (u64::from(g), u64::from(e)));
        let entries: u64 = tied().map(|(_, equal)| equal).sum();
        if entries == 0 {
            return Err(MetricError::AllDropped { queries: ranks.queries() });
        }
        let count = entries as f64;
        // Grouped T2V is torch in the published code, which divides two whole numbers in f32.
        let in_f32 = ranks.lower_median();
        let percent = |cutoff: usize| {
            let found = |(greater, equal): (u64, u64)| (cutoff as u64).saturating_sub(greater).min(equal);
            let hits = 100.0 * tied().map(found).sum::<u64>() as f64;
            if in_f32 { f64::from(hits as f32 / count as f32) } else { hits / count }
        };
        let recalls = cutoffs.iter().map(|&cutoff| Recall { cutoff, percent: percent(cutoff) }).collect();
        let places = |(greater, equal): (u64, u64)| equal * greater + equal * (equal + 1) / 2;
        let mean_rank = tied().map(places).sum::<u64>() as f64 / count;
        // Entries of a place: those of the place before, and what begins less what has ended there.
        let last = tied().map(|(greater, equal)| greater + equal).max().unwrap_or(0);
        let mut change = vec![0i64; last as usize + 1];
        for (greater, equal) in tied() {
            change[greater as usize] += 1;
            change[(greater + equal) as usize] -= 1;
        }
        let place_of = |entry: u64| {
            let (mut here, mut seen) = (0, 0);
            let reached = |change: &i64| {
                here += change;
                seen += here as u64;
                seen > entry
            };
            change.iter().position(reached).map_or(f64::NAN, |place| place as f64 + 1.0)
        };
        let upper = place_of(entries / 2);
        let median_rank = match entries.is_multiple_of(2) {
            false => upper,
            true if ranks.lower_median() => place_of(entries / 2 - 1),
            true => f64::midpoint(place_of(entries / 2 - 1), upper),
        };
        Ok(Self { queries: ranks.queries(), recalls, median_rank, mean_rank, ranks })
    }

    /// R@K in percent; nothing for a cut-off that the policy does not name.
    pub fn recall_percent(&self, cutoff: usize) -> Option<f64> {
        self.recalls.iter().find(|recall| recall.cutoff == cutoff).map(|recall| recall.percent)
    }

    /// Against what each query was ranked.
    pub fn rule(&self) -> Rule {
        self.ranks.rule()
    }
}

impl Serialize for Summary {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        if self.rule() != Rule::PerCaption {
            map.serialize_entry("rule", self.rule().name())?;
        }
        map.serialize_entry("queries", &self.queries)?;
        for Recall { cutoff, percent } in &self.recalls {
            map.serialize_entry(&format!("R@{cutoff}"), percent)?;
        }
        map.serialize_entry("MdR", &self.median_rank)?;
        map.serialize_entry("MnR", &self.mean_rank)?;
        map.end()
    }
}

/// Of at least one value, none of them NaN.
fn median(values: &mut [f64]) -> f64 {
    let half = values.len() / 2;
    let even = values.len().is_multiple_of(2);
    let (below, &mut upper, _) = values.select_nth_unstable_by(half, f64::total_cmp);
    if !even {
        return upper;
    }
    (below.iter().copied().fold(f64::NEG_INFINITY, f64::max) + upper) / 2.0
}
