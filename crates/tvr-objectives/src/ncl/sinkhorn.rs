//! Sinkhorn's sweeps in the log domain, with gradients.
//!
//! ```text
//! f[i] ← ln r[i] − lse_j (s[i, j] + g[j])          one sweep: rows,
//! g[j] ← ln c[j] − lse_i (s[i, j] + f[i])          then columns
//! ```
//!
//! Afterwards `exp(s + f + g)` has column sums `c` exactly and row sums `r` as far as the sweeps got. Uniform
//! `r = 1/n`, `c = 1/m` unless given. `g` means something up to one constant only. In the log domain nothing
//! overflows, whatever the scores; the published scaling form is NaN as soon as a whole row lies far below the
//! largest score.

use burn::prelude::*;
use burn::tensor::assert_shape;
use serde::{Deserialize, Serialize};
use tvr_nn::biased_log_sum_exp;

/// Which side is balanced first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Start {
    /// Rows: `g` starts as 0.
    Row,
    /// Columns: half a sweep more before the first, as the published function does.
    #[default]
    Column,
}

/// One bias per row and per column.
#[derive(Clone, Debug)]
pub struct Potentials {
    /// `f`. `[rows, 1]`
    pub rows: Tensor<2>,
    /// `g`. `[1, columns]`
    pub columns: Tensor<2>,
}

/// How much every row and every column should carry; each sums to 1.
#[derive(Clone, Debug)]
pub struct Marginals {
    /// `r`, above 0. `[rows, 1]`
    pub rows: Tensor<2>,
    /// `c`, above 0. `[1, columns]`
    pub columns: Tensor<2>,
}

/// Some sweeps over `scores`, `[rows, columns]`. Gradients run through every sweep.
pub fn potentials(
    scores: Tensor<2>,
    start: Start,
    sweeps: usize,
    marginals: Option<&Marginals>,
) -> Potentials {
    let (rows, columns) = match marginals {
        Some(marginals) => {
            let [n_rows, n_columns] = scores.dims();
            assert_shape!(marginals.rows, [n_rows, 1]);
            assert_shape!(marginals.columns, [1, n_columns]);
            (Some(marginals.rows.clone()), Some(marginals.columns.clone()))
        }
        None => (None, None),
    };
    let (rows, columns) = sweep(scores, 0, start, sweeps, rows, columns);
    Potentials { rows, columns }
}

/// The same where those who ask lie along axis `askers` of `scores`: 0 for rows, and 1 for columns, which spares a
/// transposed copy. Returns the askers' potentials and those of what is asked for.
///
/// `of_askers`, `of_asked`: their marginals, each of size 1 along the other side's axis; uniform where absent.
pub(super) fn sweep(
    scores: Tensor<2>,
    askers: usize,
    start: Start,
    sweeps: usize,
    of_askers: Option<Tensor<2>>,
    of_asked: Option<Tensor<2>>,
) -> (Tensor<2>, Tensor<2>) {
    let asked = 1 - askers;
    let zeros = |axis: usize| scores.clone().detach().slice_dim(1 - axis, 0..1).zeros_like();
    let log = |given: Option<Tensor<2>>, axis: usize| match given {
        Some(shares) => shares.log(),
        None => zeros(axis) - (scores.dims()[axis] as f64).ln(),
    };
    let (log_r, log_c) = (log(of_askers, askers), log(of_asked, asked));
    let mut f = zeros(askers);
    let mut g = match start {
        Start::Row => zeros(asked),
        Start::Column => log_c.clone() - biased_log_sum_exp(scores.clone(), zeros(askers), askers),
    };
    for _ in 0..sweeps {
        f = log_r.clone() - biased_log_sum_exp(scores.clone(), g, asked);
        g = log_c.clone() - biased_log_sum_exp(scores.clone(), f.clone(), askers);
    }
    (f, g)
}
