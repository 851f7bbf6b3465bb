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
use tvr_nn::log_sum_exp;

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
    let [n_rows, n_columns] = scores.dims();
    let uniform = |items: usize, shape| {
        Tensor::<2>::full(shape, -(items as f64).ln(), (&scores.device(), scores.dtype()))
    };
    let (log_r, log_c) = match marginals {
        Some(marginals) => (marginals.rows.clone().log(), marginals.columns.clone().log()),
        None => (uniform(n_rows, [n_rows, 1]), uniform(n_columns, [1, n_columns])),
    };
    assert_shape!(log_r, [n_rows, 1]);
    assert_shape!(log_c, [1, n_columns]);
    let mut columns = match start {
        Start::Row => scores.clone().slice_dim(0, 0..1).zeros_like(),
        Start::Column => log_c.clone() - log_sum_exp(scores.clone(), 0),
    };
    let mut rows = scores.clone().slice_dim(1, 0..1).zeros_like();
    for _ in 0..sweeps {
        rows = log_r.clone() - log_sum_exp(scores.clone() + columns, 1);
        columns = log_c.clone() - log_sum_exp(scores.clone() + rows.clone(), 0);
    }
    Potentials { rows, columns }
}
