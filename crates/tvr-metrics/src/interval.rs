//! How sure a figure or a difference is: bootstrap intervals, paired Student t, and the verdict on a claim.
//!
//! ```text
//! bootstrap     resample the queries with replacement; quantiles of the resampled means
//! clustered     resample whole groups of queries, as the captions of a video are: they are hits together
//! hierarchical  resample the seeds, and the queries once for all seeds of a draw; the same quantiles
//! Student t     mean ± t(n − 1) · deviation / √n        over one difference per seed
//! ```
//!
//! All seeds are judged on the same queries, so a draw of the hierarchical bootstrap shares its queries among its seeds;
//! drawing them anew for each seed would average away what other queries could change.
//! Values keep their unit; [`crate::Ranks::hits_percent`] gives points, the unit of [`MARGIN_POINTS`].

mod random;
mod student;

use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use crate::MetricError;
use random::Random;

/// A difference within this many points of zero is no difference worth a claim.
pub const MARGIN_POINTS: f64 = 0.5;

/// How intervals are made.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Resampling {
    /// Resampled means; at least 1.
    pub draws: usize,
    /// The same seed gives the same interval, on any number of threads.
    pub seed: u64,
    /// Coverage, inside (0, 1).
    pub level: f64,
}

impl Default for Resampling {
    fn default() -> Self {
        Self { draws: 4000, seed: 0, level: 0.95 }
    }
}

/// A mean and where it may lie.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Interval {
    /// The mean of the sample itself.
    pub mean: f64,
    /// Lower end.
    pub low: f64,
    /// Upper end.
    pub high: f64,
}

/// Interval of the mean of `values`, one per query.
///
/// # Errors
/// [`MetricError`] names an empty sample, a value that is not finite, or a setting outside its domain.
pub fn bootstrap(values: &[f64], resampling: &Resampling) -> Result<Interval, MetricError> {
    check_values("values", values, 1)?;
    resampled(&[values], resampling)
}

/// Interval of the mean of `values`, one per query, where queries come in clusters: several captions of one video find it
/// together or miss it together, and as independent queries would make intervals too narrow. Clusters are drawn whole; a
/// draw's mean is over its queries. With one query in each cluster this is [`bootstrap`].
///
/// - `cluster_of`: the cluster of each value; every number from 0 to the largest has one
///
/// # Errors
/// As [`bootstrap`], and [`MetricError::Unpaired`] for different lengths.
pub fn clustered_bootstrap(
    values: &[f64],
    cluster_of: &[usize],
    resampling: &Resampling,
) -> Result<Interval, MetricError> {
    check_values("values", values, 1)?;
    if values.len() != cluster_of.len() {
        let (left, right) = (values.len(), cluster_of.len());
        return Err(MetricError::Unpaired { what: "values and clusters", left, right });
    }
    let clusters = cluster_of.iter().max().map_or(0, |largest| largest + 1);
    let mut sums = vec![(0.0f64, 0usize); clusters];
    for (value, &cluster) in values.iter().zip(cluster_of) {
        let (sum, count) = &mut sums[cluster];
        *sum += value;
        *count += 1;
    }
    if let Some(empty) = sums.iter().position(|(_, count)| *count == 0) {
        return Err(MetricError::GroupHole { video: empty, videos: clusters });
    }
    let mean_of_draw = |mut random: Random| {
        let drawn = (0..clusters).map(|_| sums[random.below(clusters)]);
        let (sum, count) = drawn.fold((0.0, 0), |(sum, count), (of, queries)| (sum + of, count + queries));
        sum / count as f64
    };
    let means = draws_of(resampling, || (), |_, random| mean_of_draw(random))?;
    Ok(percentiles(means, values.iter().sum::<f64>() / values.len() as f64, resampling.level))
}

/// Interval of the mean difference `treatment − baseline` over the same queries.
///
/// # Errors
/// As [`bootstrap`], and [`MetricError::Unpaired`] for different lengths.
pub fn paired_bootstrap(
    baseline: &[f64],
    treatment: &[f64],
    resampling: &Resampling,
) -> Result<Interval, MetricError> {
    check_values("baseline", baseline, 1)?;
    check_values("treatment", treatment, 1)?;
    let differences = paired(baseline, treatment)?;
    resampled(&[&differences], resampling)
}

/// Interval of the mean of `differences[seed][query]` over seeds and queries.
///
/// # Errors
/// As [`bootstrap`], and [`MetricError::Unpaired`] where two seeds have different numbers of queries.
pub fn hierarchical_bootstrap(
    differences: &[Vec<f64>],
    resampling: &Resampling,
) -> Result<Interval, MetricError> {
    let Some(first) = differences.first() else {
        return Err(MetricError::TooFew { what: "seeds", found: 0, needed: 1 });
    };
    for seed in differences {
        check_values("differences", seed, 1)?;
        if seed.len() != first.len() {
            return Err(MetricError::Unpaired {
                what: "queries of two seeds",
                left: first.len(),
                right: seed.len(),
            });
        }
    }
    let seeds: Vec<&[f64]> = differences.iter().map(Vec::as_slice).collect();
    resampled(&seeds, resampling)
}

/// Paired Student t interval of the mean difference `treatment − baseline`, one value per seed.
///
/// # Errors
/// [`MetricError::TooFew`] below two seeds, [`MetricError::Unpaired`], [`MetricError::NonFiniteValue`], or
/// [`MetricError::Setting`] for a level outside (0, 1).
pub fn paired_student(baseline: &[f64], treatment: &[f64], level: f64) -> Result<Interval, MetricError> {
    check_values("baseline", baseline, 2)?;
    check_values("treatment", treatment, 2)?;
    check_level(level)?;
    let differences = paired(baseline, treatment)?;
    let seeds = differences.len() as f64;
    let mean = differences.iter().sum::<f64>() / seeds;
    let variance = differences.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / (seeds - 1.0);
    let half = student::two_sided_quantile(seeds - 1.0, level) * (variance / seeds).sqrt();
    Ok(Interval { mean, low: mean - half, high: mean + half })
}

/// Student's t that leaves `level` of the mass between −t and t: 4.30 at 2 degrees of freedom and 0.95.
///
/// # Errors
/// [`MetricError::Setting`] for no degree of freedom or a level outside (0, 1).
pub fn student_quantile(freedom: usize, level: f64) -> Result<f64, MetricError> {
    check_level(level)?;
    if freedom == 0 {
        return Err(MetricError::Setting { name: "degrees of freedom", value: 0.0, domain: "at least 1" });
    }
    Ok(student::two_sided_quantile(freedom as f64, level))
}

/// Whether an interval from low to high, in points, leaves no room for a difference worth a claim: it lies within ±
/// [`MARGIN_POINTS`].
pub fn is_within_margin([low, high]: [f64; 2]) -> bool {
    low >= -MARGIN_POINTS && high <= MARGIN_POINTS
}

/// What two intervals of one paired difference say about a claim "treatment is better than baseline".
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Verdict {
    /// Both intervals are above 0.
    #[serde(rename = "holds")]
    Holds,
    /// Each interval is below 0 or within ± [`MARGIN_POINTS`].
    #[serde(rename = "does not hold")]
    DoesNotHold,
    /// Anything else: more seeds or queries are needed.
    #[serde(rename = "undecided")]
    Undecided,
}

impl Verdict {
    /// Judges the interval over seeds together with the bootstrap; both in points.
    pub fn of(student: &Interval, bootstrap: &Interval) -> Self {
        let both = [student, bootstrap];
        let within = |interval: &Interval| is_within_margin([interval.low, interval.high]);
        if both.iter().all(|interval| interval.low > 0.0) {
            Self::Holds
        } else if both.iter().all(|interval| interval.high < 0.0 || within(interval)) {
            Self::DoesNotHold
        } else {
            Self::Undecided
        }
    }

    /// The words in reports.
    pub fn name(self) -> &'static str {
        match self {
            Self::Holds => "holds",
            Self::DoesNotHold => "does not hold",
            Self::Undecided => "undecided",
        }
    }
}

/// Interval of the mean of `values[seed][query]`.
fn resampled(seeds: &[&[f64]], resampling: &Resampling) -> Result<Interval, MetricError> {
    let queries = seeds.first().map_or(0, |values| values.len());
    let cells = (seeds.len() * queries) as f64;
    let mean_of_draw = |sums: &mut Vec<f64>, mut random: Random| {
        if let [values] = seeds {
            return (0..queries).map(|_| values[random.below(queries)]).sum::<f64>() / cells;
        }
        sums.fill(0.0);
        for _ in seeds {
            let chosen = seeds[random.below(seeds.len())];
            sums.iter_mut().zip(chosen).for_each(|(sum, value)| *sum += value);
        }
        (0..queries).map(|_| sums[random.below(queries)]).sum::<f64>() / cells
    };
    let means = draws_of(resampling, || vec![0.0f64; queries], mean_of_draw)?;
    let mean = seeds.iter().flat_map(|values| values.iter()).sum::<f64>() / cells;
    Ok(percentiles(means, mean, resampling.level))
}

/// The mean of each draw; each has its own stream, so threads do not matter.
fn draws_of<S: Send>(
    &Resampling { draws, seed, level }: &Resampling,
    scratch: impl Fn() -> S + Sync + Send,
    mean: impl Fn(&mut S, Random) -> f64 + Sync + Send,
) -> Result<Vec<f64>, MetricError> {
    check_level(level)?;
    if draws == 0 {
        return Err(MetricError::Setting { name: "draws", value: 0.0, domain: "at least 1" });
    }
    let draws = (0..draws).into_par_iter();
    Ok(draws.map_init(scratch, |scratch, draw| mean(scratch, Random::new(seed, draw as u64))).collect())
}

/// Percentile interval of draws.
fn percentiles(mut means: Vec<f64>, mean: f64, level: f64) -> Interval {
    means.sort_unstable_by(f64::total_cmp);
    let tail = (1.0 - level) / 2.0;
    Interval { mean, low: quantile(&means, tail), high: quantile(&means, 1.0 - tail) }
}

/// Linear between order statistics, as numpy's default.
fn quantile(sorted: &[f64], share: f64) -> f64 {
    let place = share * (sorted.len() - 1) as f64;
    let below = sorted[place.floor() as usize];
    let above = sorted[(place.ceil() as usize).min(sorted.len() - 1)];
    below + (above - below) * place.fract()
}

fn paired(baseline: &[f64], treatment: &[f64]) -> Result<Vec<f64>, MetricError> {
    if baseline.len() != treatment.len() {
        let (left, right) = (baseline.len(), treatment.len());
        return Err(MetricError::Unpaired { what: "baseline and treatment", left, right });
    }
    Ok(baseline.iter().zip(treatment).map(|(before, after)| after - before).collect())
}

fn check_values(what: &'static str, values: &[f64], needed: usize) -> Result<(), MetricError> {
    if values.len() < needed {
        return Err(MetricError::TooFew { what, found: values.len(), needed });
    }
    match values.iter().enumerate().find(|(_, value)| !value.is_finite()) {
        Some((index, &value)) => Err(MetricError::NonFiniteValue { what, index, value }),
        None => Ok(()),
    }
}

fn check_level(level: f64) -> Result<(), MetricError> {
    if level > 0.0 && level < 1.0 {
        return Ok(());
    }
    Err(MetricError::Setting { name: "level", value: level, domain: "between 0 and 1" })
}
