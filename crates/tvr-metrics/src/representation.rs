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

/// Measures how evenly the gallery is represented.
///
/// - `logits`: `[texts, videos]`; in T2V the videos are the gallery, in V2T the texts
/// - cost: one pass, O(texts · videos) exponentials in f64
///
/// # Errors
/// [`MetricError::Empty`] or [`MetricError::NonFinite`].
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
