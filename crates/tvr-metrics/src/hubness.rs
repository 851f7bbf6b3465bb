//! Hubness: some items are among the nearest of many queries, others of none.
//!
//! ```text
//! N_k(j)   = number of queries that have item j among their k best
//! skewness = mean over j of ((N_k(j) − mean) / deviation)³       0 for a constant N_k
//! ```
//!
//! | symbol | meaning | shape, unit |
//! |---|---|---|
//! | `N_k` | k-occurrence; its mean is `k · queries / gallery` | `[gallery]`, count |
//! | deviation | population standard deviation of `N_k` | count |
//!
//! Source: Radovanović et al. 2010, JMLR 11. Equal scores go to the smaller index (ours).

use ndarray::{ArrayView2, Axis};
use rayon::prelude::*;
use serde::Serialize;

use crate::ranks::refuse_non_finite;
use crate::{Direction, MetricError};

/// How unevenly the gallery is retrieved.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Hubness {
    /// How many best items of a query count.
    pub k: usize,
    /// For each gallery item, the number of queries that have it among their k best.
    pub occurrences: Vec<u32>,
    /// Skewness of the occurrences; 0 when all are equal.
    pub skewness: f64,
    /// The largest occurrence.
    pub largest: u32,
    /// Share of items that no query has among its k best, 0 to 1.
    pub share_never: f64,
}

/// Counts k-occurrences.
///
/// - `scores`: `[texts, videos]`; in T2V the videos are the gallery, in V2T the texts
/// - cost: one selection per query, O(texts · videos)
///
/// # Errors
/// [`MetricError::Empty`], [`MetricError::NonFinite`], or [`MetricError::Setting`] for a `k` outside 1..=gallery.
pub fn hubness(scores: ArrayView2<f32>, direction: Direction, k: usize) -> Result<Hubness, MetricError> {
    let (texts, videos) = scores.dim();
    if texts == 0 || videos == 0 {
        return Err(MetricError::Empty { texts, videos });
    }
    refuse_non_finite(scores, "mend the model that made it")?;
    let by_query = if direction == Direction::TextToVideo { scores } else { scores.reversed_axes() };
    let gallery = by_query.ncols();
    if k == 0 || k > gallery {
        let domain = "at least 1 and at most the size of the gallery";
        return Err(MetricError::Setting { name: "k", value: k as f64, domain });
    }
    let nearest = |query: usize| {
        let row = by_query.index_axis(Axis(0), query);
        let mut items: Vec<usize> = (0..gallery).collect();
        if k < gallery {
            // +0 and −0 are equal scores, which `total_cmp` alone would tell apart.
            items.select_nth_unstable_by(k, |&a, &b| {
                (row[b] + 0.0).total_cmp(&(row[a] + 0.0)).then(a.cmp(&b))
            });
        }
        items.truncate(k);
        items
    };
    let zeros = || vec![0u32; gallery];
    let occurrences = (0..by_query.nrows())
        .into_par_iter()
        .fold(zeros, |mut counts, query| {
            nearest(query).into_iter().for_each(|item| counts[item] += 1);
            counts
        })
        .reduce(zeros, |mut left, right| {
            left.iter_mut().zip(right).for_each(|(left, right)| *left += right);
            left
        });
    let largest = occurrences.iter().copied().max().unwrap_or(0);
    let share_never = occurrences.iter().filter(|&&count| count == 0).count() as f64 / gallery as f64;
    Ok(Hubness { k, skewness: skewness(&occurrences), largest, share_never, occurrences })
}

fn skewness(counts: &[u32]) -> f64 {
    let items = counts.len() as f64;
    let mean = counts.iter().map(|&count| f64::from(count)).sum::<f64>() / items;
    let moment =
        |power: i32| counts.iter().map(|&count| (f64::from(count) - mean).powi(power)).sum::<f64>() / items;
    let deviation = moment(2).sqrt();
    if deviation > 0.0 { moment(3) / deviation.powi(3) } else { 0.0 }
}
