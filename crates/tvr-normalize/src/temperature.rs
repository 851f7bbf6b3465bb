//! Choosing a setting on val: a temperature, or any other.
//!
//! ```text
//! choice = argmax over candidates of figure(candidate applied to val)     of equal ones the first
//! ```
//!
//! A temperature moves the figures of every method (`T` = 1 and `T` = 4 lie four points of R@1 apart on one published
//! matrix), so it must be chosen, and where it is chosen on test the row means little. This crate knows no truth:
//! the caller brings a figure of val, such as R@1 in percent.
//! Source: ours; published scripts sweep on test (code: knightyxp/DGL `search_for_best_r1_with_qb_norm.py`).

use crate::chain::Chain;
use crate::error::NormalizeError;
use std::str::FromStr;

/// Candidates, read from a spec whose values may be alternatives: `dual-softmax:temperature=0.5|1|2`.
#[derive(Clone, Debug, PartialEq)]
pub struct Grid {
    candidates: Vec<Chain>,
}

impl Grid {
    /// The candidates, the last setting turning fastest; at least one.
    pub fn candidates(&self) -> &[Chain] {
        &self.candidates
    }
}

impl FromStr for Grid {
    type Err = NormalizeError;

    fn from_str(spec: &str) -> Result<Self, NormalizeError> {
        // Between separators stand values; those with alternatives multiply what was read so far.
        let mut specs = vec![String::new()];
        for part in spec.split_inclusive(['=', ',', '+', ':']) {
            let (values, separator) = match part.char_indices().next_back() {
                Some((at, last)) if "=,+:".contains(last) => part.split_at(at),
                _ => (part, ""),
            };
            specs = specs
                .iter()
                .flat_map(|before| values.split('|').map(move |value| format!("{before}{value}{separator}")))
                .collect();
        }
        let candidates = specs.iter().map(|spec| spec.parse()).collect::<Result<_, _>>()?;
        Ok(Self { candidates })
    }
}

/// What [`choose`] found.
#[derive(Clone, Debug, PartialEq)]
pub struct Choice {
    /// The best candidate.
    pub best: Chain,
    /// Its figure on val.
    pub figure: f64,
    /// Every candidate with its figure, in their order.
    pub tried: Vec<(Chain, f64)>,
}

/// Asks for the figure of every candidate on val and keeps the one with the largest; of equal ones the first.
///
/// - `figure`: larger is better; applies a candidate to val scores and judges the result, in one direction or in both;
///   never on test scores
///
/// # Errors
/// [`NormalizeError::NothingToChoose`] without candidates, [`NormalizeError::BadFigure`] for a figure that is no
/// number, and whatever `figure` says.
///
/// # Example
/// ```
/// # use {ndarray::array, tvr_normalize::*};
/// let val = array![[9.0, 8.0], [9.5, 9.4]]; // pairs on the diagonal
/// let right = |candidate: &Chain| {
///     let scores = candidate.apply(&Scores::new(val.view()))?;
///     let wins = |i: usize| scores.row(i).iter().all(|&score| score <= scores[[i, i]]);
///     Ok((0..2).filter(|&i| wins(i)).count() as f64)
/// };
/// let grid: Grid = "inverted-softmax:temperature=100|1".parse()?;
/// let choice = choose::<NormalizeError>(grid.candidates(), right)?;
/// assert_eq!(choice.best.to_string(), "inverted-softmax:temperature=100");
/// # Ok::<(), NormalizeError>(())
/// ```
pub fn choose<E: From<NormalizeError>>(
    candidates: &[Chain],
    mut figure: impl FnMut(&Chain) -> Result<f64, E>,
) -> Result<Choice, E> {
    let mut tried: Vec<(Chain, f64)> = Vec::new();
    let mut best: Option<(&Chain, f64)> = None;
    for candidate in candidates {
        let value = figure(candidate)?;
        if value.is_nan() {
            let (spec, value) = (candidate.to_string(), value.to_string());
            return Err(NormalizeError::BadFigure { spec, value }.into());
        }
        tried.push((candidate.clone(), value));
        if best.is_none_or(|(_, most)| value > most) {
            best = Some((candidate, value));
        }
    }
    let (best, figure) = best.ok_or(NormalizeError::NothingToChoose)?;
    Ok(Choice { best: best.clone(), figure, tried })
}
