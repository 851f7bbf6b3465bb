//! Normalisation error: how far the retrieval probabilities of an item, summed over the queries, are from fair.
//!
//! ```text
//! ρ[j]  = (M / N) · Σ_i softmax_j(s[i, :])[j]        1 is fair
//! error = mean over j of |ρ[j] − 1|                  0 … 2 (M − 1) / M
//! ```
//!
//! | symbol | meaning | shape, unit |
//! |---|---|---|
//! | `s` | logits, any bias already added; their scale is part of the figure | `[queries, gallery]` |
//! | `N`, `M` | queries, gallery items | count |
//! | `ρ` | representation: above 1 over-, below 1 under-represented | `[gallery]` |
//!
//! Source: Park et al. 2022 (NCL), arXiv 2212.11790, for the name and the meaning; the mean of absolute values and the
//! factor for N ≠ M are ours, because only the meaning of the paper's figure was at hand.

use ndarray::{ArrayView2, Axis};
use rayon::prelude::*;
use serde::Serialize;

use crate::ranks::refuse_non_finite;
use crate::{Direction, MetricError};

/// Queries that one worker sums before merging; fixed, so that the sum does not depend on the threads.
const QUERIES_PER_CHUNK: usize = 128;

/// How evenly the gallery is represented.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Representation {
    /// Mean of |ρ − 1|.
    pub error: f64,
    /// Share of items with ρ above 1, 0 to 1.
    pub share_above_one: f64,
    /// Share of items with ρ above 2, 0 to 1.
    pub share_above_two: f64,
    /// Share of items with ρ below ½, 0 to 1.
    pub share_below_half: f64,
    /// The largest ρ.
    pub largest: f64,
    /// The smallest ρ.
    pub smallest: f64,
    /// ρ of each item, in the order of the gallery.
    pub by_item: Vec<f64>,
    /// ρ from the largest to the smallest: the curve to plot.
    pub sorted: Vec<f64>,
}

/// The items of one gallery before and after a normalisation, as columns of a plot: the first item is the one that
/// was most over-represented before.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct RepresentationChange {
    /// The normalisation error before.
    pub error_before: f64,
    /// The normalisation error after.
    pub error_after: f64,
    /// Index of each item in the gallery.
    pub item: Vec<usize>,
    /// Its ρ before, falling.
    pub before: Vec<f64>,
    /// Its ρ after.
    pub after: Vec<f64>,
}

impl Representation {
    /// This as *before*, and what a normalisation made of it.
    ///
    /// # Errors
    /// [`MetricError::GalleryChanged`] if the two are not of one gallery.
    pub fn change(&self, after: &Self) -> Result<RepresentationChange, MetricError> {
        let (before, now) = (self.by_item.len(), after.by_item.len());
        if before != now {
            return Err(MetricError::GalleryChanged { before, after: now });
        }
        let mut item: Vec<usize> = (0..before).collect();
        item.sort_by(|&a, &b| self.by_item[b].total_cmp(&self.by_item[a])); // stable: of equal ones the first
        Ok(RepresentationChange {
            error_before: self.error,
            error_after: after.error,
            before: item.iter().map(|&item| self.by_item[item]).collect(),
            after: item.iter().map(|&item| after.by_item[item]).collect(),
            item,
        })
    }
}

/// Measures how evenly the gallery is represented.
///
/// - `logits`: `[texts, videos]`; in T2V the videos are the gallery, in V2T the texts
/// - cost: one pass, O(texts · videos) exponentials in f64
///
/// # Errors
/// [`MetricError::Empty`] or [`MetricError::NonFinite`].
///
/// # Example
/// ```
/// # use {ndarray::array, tvr_metrics::{Direction, representation}};
/// let logits = array![[9.0, 2.0], [5.0, 4.5]]; // video 0 takes most of the probability of both texts
/// let raw = representation(logits.view(), Direction::TextToVideo)?;
/// let fair = representation((&logits + &array![[0.0, 3.75]]).view(), Direction::TextToVideo)?;
/// assert!(raw.largest > 1.6 && fair.error < 0.01);
/// # Ok::<(), tvr_metrics::MetricError>(())
/// ```
pub fn representation(logits: ArrayView2<f32>, direction: Direction) -> Result<Representation, MetricError> {
    let (texts, videos) = logits.dim();
    if texts == 0 || videos == 0 {
        return Err(MetricError::Empty { texts, videos });
    }
    refuse_non_finite(logits, "mend the model that made it")?;
    let by_query = if direction == Direction::TextToVideo { logits } else { logits.reversed_axes() };
    let (queries, gallery) = by_query.dim();
    let sums: Vec<Vec<f64>> = (0..queries.div_ceil(QUERIES_PER_CHUNK))
        .into_par_iter()
        .map(|chunk| {
            let start = chunk * QUERIES_PER_CHUNK;
            let mut sum = vec![0.0f64; gallery];
            for query in start..(start + QUERIES_PER_CHUNK).min(queries) {
                let row = by_query.index_axis(Axis(0), query);
                let most = row.iter().copied().fold(f32::NEG_INFINITY, f32::max);
                let shares: Vec<f64> = row.iter().map(|&s| (f64::from(s) - f64::from(most)).exp()).collect();
                let total: f64 = shares.iter().sum();
                sum.iter_mut().zip(shares).for_each(|(sum, share)| *sum += share / total);
            }
            sum
        })
        .collect();
    let fair = gallery as f64 / queries as f64;
    let by_item: Vec<f64> =
        (0..gallery).map(|item| fair * sums.iter().map(|sum| sum[item]).sum::<f64>()).collect();

    let items = gallery as f64;
    let share = |of: fn(f64) -> bool| by_item.iter().filter(|&&rho| of(rho)).count() as f64 / items;
    let mut sorted = by_item.clone();
    sorted.sort_unstable_by(|a, b| b.total_cmp(a));
    Ok(Representation {
        error: by_item.iter().map(|rho| (rho - 1.0).abs()).sum::<f64>() / items,
        share_above_one: share(|rho| rho > 1.0),
        share_above_two: share(|rho| rho > 2.0),
        share_below_half: share(|rho| rho < 0.5),
        largest: sorted.first().copied().unwrap_or(f64::NAN),
        smallest: sorted.last().copied().unwrap_or(f64::NAN),
        by_item,
        sorted,
    })
}
