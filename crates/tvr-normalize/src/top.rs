//! The k largest of a row or column; of equal ones the lowest index first.

use crate::error::NormalizeError;
use ndarray::{Array1, ArrayView1, ArrayView2, Axis};
use rayon::prelude::*;

/// Indices of the `k` largest values, in descending order.
pub(crate) fn largest(values: ArrayView1<f32>, k: usize) -> Vec<usize> {
    let order = |&a: &usize, &b: &usize| values[b].total_cmp(&values[a]).then(a.cmp(&b));
    let mut indices: Vec<usize> = (0..values.len()).collect();
    if k < indices.len() {
        indices.select_nth_unstable_by(k, order);
        indices.truncate(k);
    }
    indices.sort_unstable_by(order);
    indices
}

/// The mean of the `k` largest values of every lane of `scores` along `axis`.
pub(crate) fn mean_of_largest(scores: ArrayView2<f32>, axis: Axis, k: usize) -> Array1<f32> {
    let lanes: Vec<ArrayView1<f32>> = scores.lanes(axis).into_iter().collect();
    let means: Vec<f32> = lanes
        .into_par_iter()
        .map(|lane| {
            let mut values = lane.to_vec();
            let descending = |a: &f32, b: &f32| b.total_cmp(a);
            if k < values.len() {
                values.select_nth_unstable_by(k, descending);
                values.truncate(k);
            }
            values.sort_unstable_by(descending); // one order of summing, whatever the order of the bank
            (values.iter().map(|&value| f64::from(value)).sum::<f64>() / k as f64) as f32
        })
        .collect();
    Array1::from(means)
}

/// Refuses a `k` above what there is.
pub(crate) fn enough(
    method: &'static str,
    k: usize,
    available: usize,
    items: &'static str,
) -> Result<(), NormalizeError> {
    if k <= available {
        return Ok(());
    }
    Err(NormalizeError::TooFew { method, k, available, items })
}
