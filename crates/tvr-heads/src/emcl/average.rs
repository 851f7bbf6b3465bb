//! Where the iteration starts: EMCL's maintained values, part of the record.
//!
//! ```text
//! M ← momentum M + (1 − momentum) · mean over items of the bases         after a step, nowhere else
//! ```
//!
//! The published code draws `M ~ N(0, 2 / bases)` and divides it by `1e-6 + |M|` over an axis of length 1, which
//! leaves signs (`init = "signs"`); then equal-sign bases stay equal and the reconstruction has rank 2 at most, but for
//! rounding. In its host of experts that axis is the experts (`init = "unit"`). It does not save `M` either: a loaded
//! model starts with fresh ones. Here `M` is in the record.
//! `init = "channels"` (ours) draws the responsibilities of the first step instead and keeps them.

use burn::module::{Initializer, Param};
use burn::prelude::*;
use burn::tensor::activation::softmax;
use serde::{Deserialize, Serialize};

use super::em::Start;

/// The guard of the published division.
const SIGN_EPSILON: f64 = 1e-6;

/// How the start is drawn.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Init {
    /// Normal, divided by its modulus: nearly ±1, as the published code has it.
    Signs,
    /// Normal, each base divided by its length over the cosines: as the published layer in a host of experts has it. With
    /// one cosine these are the signs.
    Unit,
    /// Normal with variance 2 / bases.
    #[default]
    Normal,
    /// Responsibilities of the first step, softmax of normal numbers (ours).
    Channels,
}

/// The start of each cosine's iteration.
#[derive(Module, Debug)]
pub struct Average {
    /// `M`, a row per cosine, `[cosines, bases]`; for `Init::Channels` the logits of the first responsibilities,
    /// `[width, bases]`. Without gradient.
    pub values: Param<Tensor<2>>,
    #[module(skip)]
    init: Init,
    #[module(skip)]
    momentum: f64,
}

impl Average {
    pub(crate) fn new(
        init: Init,
        momentum: f64,
        cosines: usize,
        width: usize,
        bases: usize,
        device: &Device,
    ) -> Self {
        let normal = |std: f64, rows: usize| -> Param<Tensor<2>> {
            Initializer::Normal { mean: 0.0, std }.init([rows, bases], device)
        };
        let deviation = (2.0 / bases as f64).sqrt();
        let values = match init {
            Init::Signs => normal(deviation, cosines).init_mapper(|values| {
                let moduli = values.clone().abs() + SIGN_EPSILON;
                values / moduli
            }),
            Init::Unit => normal(deviation, cosines).init_mapper(|values| {
                let lengths = values.clone().square().sum_dim(0).sqrt() + SIGN_EPSILON; // [1, bases]
                values / lengths
            }),
            Init::Normal => normal(deviation, cosines),
            Init::Channels => normal(1.0, width),
        };
        Self { values: values.set_require_grad(false), init, momentum }
    }

    /// Where the iteration of one cosine starts, outside any graph.
    pub fn start(&self, cosine: usize) -> Start {
        let values = self.values.val().without_autodiff();
        match self.init {
            Init::Channels => Start::Responsibilities(softmax(values, 1)),
            Init::Signs | Init::Unit | Init::Normal => {
                Start::Average(values.slice_dim(0, cosine..cosine + 1))
            }
        }
    }

    /// Moves `M` towards the mean bases of a batch, one row per cosine, each `[1, bases]`. Drawn responsibilities stay.
    pub fn update(&mut self, means: Vec<Tensor<2>>) {
        if self.init == Init::Channels || means.is_empty() {
            return;
        }
        let means = Tensor::cat(means, 0);
        let moved = self.values.val().without_autodiff() * self.momentum + means * (1.0 - self.momentum);
        self.values = replaced(self.values.clone(), moved);
    }
}

/// The parameter with another value, on the side of the graph where it was.
pub(crate) fn replaced<const D: usize>(param: Param<Tensor<D>>, value: Tensor<D>) -> Param<Tensor<D>> {
    param.map(|old| if old.is_autodiff() { Tensor::from_inner(value) } else { value })
}
