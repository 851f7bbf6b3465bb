//! f64 scores as f32, in which scores are judged, as long as that leaves their order.

use ndarray::{ArrayView1, ArrayView2};
use rayon::prelude::*;

use crate::error::ExperimentError;

/// Scores of a row or a column that are looked at, at most: its largest, where ranks are decided. In a longer one
/// ordinary scores crowd so much that some fall together by chance.
const LARGEST: usize = 256;

/// Scores nearer than this share of the largest do not differ: a sum of n products rounds by up to n · 2⁻⁵³, so that items
/// which are there twice are apart by that much.
const NOISE: f64 = 1.0 / (1u64 << 42) as f64;

/// Neighbours in order of which more than one in this many are equal in f32 make the matrix useless. Of cosines between
/// 0.95 and 0.97, made in f64, 3 in 1,000 are; of scores that f32 does not tell apart, nearly all.
const FEWEST_TO_ONE: usize = 10;

/// f64 as f32.
///
/// # Errors
/// A number that f32 has no room for.
pub(super) fn narrow(name: &str, wide: &[f64]) -> Result<Vec<f32>, ExperimentError> {
    let values: Vec<f32> = wide.iter().map(|&value| value as f32).collect();
    match wide.iter().zip(&values).find(|(wide, narrow)| wide.is_finite() && narrow.is_infinite()) {
        None => Ok(values),
        Some((value, _)) => Err(ExperimentError::work(format!(
            "{name}: the value {value:e} is too large for f32, in which scores are judged; scale the scores down"
        ))),
    }
}

/// Refuses scores whose order f32 loses: those that become 0 or subnormal, and those that differ and become equal. Ties, and
/// scores of usual crowds (two of a million may fall together by chance), are as good in f32.
///
/// # Errors
/// What f32 does to the scores, and the mend.
pub(super) fn refuse_lost_order(name: &str, scores: ArrayView2<f64>) -> Result<(), ExperimentError> {
    if let Some(value) = scores.iter().find(|value| is_lost(**value)) {
        return Err(ExperimentError::work(format!(
            "{name}: the value {value:e} is too small for f32, in which scores are judged; scale the scores up, or take their \
             logarithm"
        )));
    }
    let (rows, columns) = scores.dim();
    let of_rows = sum((0..rows).into_par_iter().map(|row| neighbours(scores.row(row))));
    let of_columns = sum((0..columns).into_par_iter().map(|column| neighbours(scores.column(column))));
    for Neighbours { apart, equal } in [of_rows, of_columns] {
        if equal * FEWEST_TO_ONE > apart {
            return Err(ExperimentError::work(format!(
                "{name}: {equal} of {apart} scores that differ from the next one are equal to it in f32, in which scores are \
                 judged; shift or scale the scores so that seven digits tell them apart, or save them as f32 if ties are meant"
            )));
        }
    }
    Ok(())
}

/// Whether f32 has 0 or fewer digits in place of a value that it does not hold.
fn is_lost(value: f64) -> bool {
    let narrow = value as f32;
    narrow.abs() < f32::MIN_POSITIVE && f64::from(narrow) != value
}

/// Scores next to one another in order.
#[derive(Clone, Copy, Default)]
struct Neighbours {
    /// Pairs that differ.
    apart: usize,
    /// Of these, pairs that are equal in f32.
    equal: usize,
}

fn sum(counts: impl ParallelIterator<Item = Neighbours>) -> Neighbours {
    counts
        .reduce(Neighbours::default, |a, b| Neighbours { apart: a.apart + b.apart, equal: a.equal + b.equal })
}

/// The largest scores of a row or a column, each beside the next one.
fn neighbours(scores: ArrayView1<f64>) -> Neighbours {
    let mut largest: Vec<f64> = scores.iter().copied().filter(|score| score.is_finite()).collect();
    let descending = |a: &f64, b: &f64| b.total_cmp(a);
    if largest.len() > LARGEST {
        largest.select_nth_unstable_by(LARGEST, descending);
        largest.truncate(LARGEST);
    }
    largest.sort_unstable_by(descending);
    let noise = NOISE * largest.iter().fold(0.0, |most: f64, score| most.max(score.abs()));
    let mut counted = Neighbours::default();
    for pair in largest.windows(2) {
        if pair[0] - pair[1] > noise {
            counted.apart += 1;
            counted.equal += usize::from(pair[0] as f32 == pair[1] as f32);
        }
    }
    counted
}
