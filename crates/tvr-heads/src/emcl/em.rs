//! The iteration: channels are clustered softly, items enter through their second moments alone.
//!
//! ```text
//! A = s Mᵀ                                       the start: every item's bases are M
//! T times:  Y = softmax over the bases of (A / sigma)
//!           Z = Y / (epsilon + Σ_channels Y)
//!           n = 1 (paper), epsilon + |X z_k| (reference)
//!           bases = X Z diag(1/n)
//!           A = Xᵀ bases = G Z diag(1/n)
//! X̂ = bases Yᵀ (paper), bases Zᵀ (reference)    = X P,   P = Z diag(1/n) (Y or Z)ᵀ
//! ```
//!
//! | symbol | meaning | shape |
//! |---|---|---|
//! | `X` | items as rows | `[items, width]` |
//! | `G`, `s` | `Xᵀ X`, `Xᵀ 1` | `[width, width]`, `[width]` |
//! | `Y`, `Z` | responsibilities of a channel, of a base | `[width, bases]` |
//! | `P` | symmetric, nonnegative, positive semidefinite; rows sum to 1 in `paper` | `[width, width]` |
//!
//! With `scale = "mean"`, `G / items` and `s / items` stand for `G` and `s` (ours): the result then does not depend
//! on how many items there are.
//!
//! Source: Jin et al. 2022 (EMCL), arXiv 2211.11427, Algorithm 1; code: jpthu17/EMCL, class `Emcl`. That the items
//! enter through `G` and `s` alone is derived here, and so is the guard of the division in `paper`.

use burn::prelude::*;
use burn::tensor::{activation::softmax, assert_shape};
use serde::{Deserialize, Serialize};

use super::moments::gram;

/// Squared lengths below this count as this: the root's gradient at zero is infinite. Its root is far below any
/// epsilon.
const SHORTEST_SQUARED: f64 = 1e-30;

/// A base without channels counts as one of so few, where no epsilon guards the division: it is zeros then, not NaN. Its
/// square is still a number of f32, which the gradient divides by.
const FEWEST_CHANNELS: f64 = 1e-18;

/// Responsibilities below this count as none, which no sum of f32 can tell. A softmax of large products is full of
/// subnormal numbers, and a processor takes some hundred times as long to multiply those.
const FAINTEST: f64 = 1e-30;

/// Whose division it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Mode {
    /// Algorithm 1: bases are weighted means, and channels get them back by their responsibilities.
    Paper,
    /// The authors' code: bases of unit length over the items, given back by column-normalised responsibilities.
    Reference,
}

/// What second moments are divided by.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Scale {
    /// Nothing, as paper and code have it: more items, larger logits.
    #[default]
    Sum,
    /// The number of items (ours).
    Mean,
}

/// The iteration with its settings.
#[derive(Clone, Debug, PartialEq)]
pub struct Em {
    pub(crate) mode: Mode,
    pub(crate) iterations: usize,
    pub(crate) sigma: f64,
    pub(crate) scale: Scale,
    pub(crate) epsilon: f64,
}

/// What the first step begins with.
#[derive(Clone, Debug)]
pub enum Start {
    /// `M`: one number per base, the same for every item. `[1, bases]`
    Average(Tensor<2>),
    /// The first `Y`, which then needs no column sums. `[width, bases]`
    Responsibilities(Tensor<2>),
}

/// Second moments of some items.
#[derive(Clone, Debug)]
pub struct Gram {
    /// `Xᵀ X`. `[width, width]`
    pub gram: Tensor<2>,
    /// `Xᵀ 1`. `[1, width]`
    pub sum: Tensor<2>,
    /// Number of items.
    pub items: f64,
}

/// What the iteration ends with: soft clusters of channels, and hence a projection of any item.
#[derive(Clone, Debug)]
pub struct Clusters {
    /// `Y`: each row sums to 1. `[width, bases]`
    pub softmax: Tensor<2>,
    /// `Z`: each column sums to nearly 1. `[width, bases]`
    pub responsibilities: Tensor<2>,
    /// `n`; `None` where it is 1. `[1, bases]`
    pub lengths: Option<Tensor<2>>,
    mode: Mode,
}

impl Gram {
    /// Of items, `[items, width]`.
    pub fn of(items: &Tensor<2>) -> Self {
        Self { gram: gram(items), sum: items.clone().sum_dim(0), items: items.dims()[0] as f64 }
    }
}

impl Start {
    /// The same as a constant of a graph.
    pub(crate) fn lifted(&self) -> Self {
        match self.clone() {
            Self::Average(average) => Self::Average(Tensor::from_inner(average)),
            Self::Responsibilities(first) => Self::Responsibilities(Tensor::from_inner(first)),
        }
    }
}

impl Em {
    /// Clusters, and the bases of the items, `[items, bases]`: by [`Em::direct`] or by [`Em::gram`], whichever costs
    /// less. `items`: `[items, width]`
    pub fn of_items(&self, items: &Tensor<2>, start: &Start) -> (Clusters, Tensor<2>) {
        let [count, width] = items.dims();
        let bases = match start {
            Start::Average(average) => average.dims()[1],
            Start::Responsibilities(first) => first.dims()[1],
        };
        // Multiplications an item: two thin products a step, or one wide product once.
        let (direct, once) = (2 * self.iterations.saturating_sub(1) * bases, width);
        if count < width || direct < once {
            return self.direct(items, start);
        }
        let clusters = self.gram(&Gram::of(items), start);
        let bases = clusters.bases(items.clone());
        (clusters, bases)
    }

    /// Clusters, and the bases of the items, `[items, bases]`, by products with the items at every step.
    /// `items`: `[items, width]`
    pub fn direct(&self, items: &Tensor<2>, start: &Start) -> (Clusters, Tensor<2>) {
        let [count, _] = items.dims();
        let factor = self.factor(count as f64);
        let project = |responsibilities: Tensor<2>| {
            let products = items.clone().matmul(responsibilities);
            let lengths = self.lengths(|| products.clone().square().sum_dim(0) * factor);
            (divided(products, lengths.as_ref()), lengths)
        };
        let softmax = self.iterate(start, items.clone().sum_dim(0), factor, |responsibilities| {
            items.clone().transpose().matmul(project(responsibilities).0)
        });
        let responsibilities = self.per_base(softmax.clone());
        let (bases, lengths) = project(responsibilities.clone());
        (Clusters { softmax, responsibilities, lengths, mode: self.mode }, bases)
    }

    /// The same clusters from second moments alone.
    pub fn gram(&self, moments: &Gram, start: &Start) -> Clusters {
        let [width, _] = moments.gram.dims();
        assert_shape!(moments.sum, [1, width]);
        let factor = self.factor(moments.items);
        let project = |responsibilities: Tensor<2>| {
            let products = moments.gram.clone().matmul(responsibilities.clone());
            let lengths = self.lengths(|| (responsibilities * products.clone()).sum_dim(0) * factor);
            (products, lengths)
        };
        let softmax = self.iterate(start, moments.sum.clone(), factor, |responsibilities| {
            let (products, lengths) = project(responsibilities);
            divided(products, lengths.as_ref())
        });
        let responsibilities = self.per_base(softmax.clone());
        let (_, lengths) = project(responsibilities.clone());
        Clusters { softmax, responsibilities, lengths, mode: self.mode }
    }

    /// The last `Y`.
    fn iterate(
        &self,
        start: &Start,
        sum: Tensor<2>,
        factor: f64,
        products_of: impl Fn(Tensor<2>) -> Tensor<2>,
    ) -> Tensor<2> {
        let of = |products: Tensor<2>| {
            let softmax = softmax(products * (factor / self.sigma), 1);
            let faint = softmax.clone().lower_elem(FAINTEST);
            softmax.mask_fill(faint, 0.0)
        };
        let mut responsibilities = match start {
            Start::Average(average) => of(sum.transpose().matmul(average.clone())),
            Start::Responsibilities(first) => first.clone(),
        };
        for _ in 1..self.iterations {
            responsibilities = of(products_of(self.per_base(responsibilities)));
        }
        responsibilities
    }

    /// `Z` of `Y`.
    fn per_base(&self, softmax: Tensor<2>) -> Tensor<2> {
        let sums = softmax.clone().sum_dim(0) + self.epsilon;
        softmax / sums.clamp_min(FEWEST_CHANNELS)
    }

    /// `n` from squared lengths, where the mode has one.
    fn lengths(&self, squared: impl FnOnce() -> Tensor<2>) -> Option<Tensor<2>> {
        match self.mode {
            Mode::Paper => None,
            Mode::Reference => Some(squared().clamp_min(SHORTEST_SQUARED).sqrt() + self.epsilon),
        }
    }

    fn factor(&self, items: f64) -> f64 {
        match self.scale {
            Scale::Sum => 1.0,
            Scale::Mean => 1.0 / items,
        }
    }
}

impl Clusters {
    /// Bases of some items, which need not be those that the clusters were found on.
    /// `[items, width]` to `[items, bases]`
    pub fn bases(&self, items: Tensor<2>) -> Tensor<2> {
        divided(items.matmul(self.responsibilities.clone()), self.lengths.as_ref())
    }

    /// `X̂` from bases. `[items, bases]` to `[items, width]`
    pub fn rebuild(&self, bases: Tensor<2>) -> Tensor<2> {
        let back = match self.mode {
            Mode::Paper => &self.softmax,
            Mode::Reference => &self.responsibilities,
        };
        bases.matmul(back.clone().transpose())
    }

    /// `X̂` of some items: [`Clusters::bases`], then [`Clusters::rebuild`]. `[items, width]` to the same
    pub fn reconstruct(&self, items: Tensor<2>) -> Tensor<2> {
        self.rebuild(self.bases(items))
    }

    /// `P`, so that `X̂ = X P` for any items. `[width, width]`
    pub fn projection(&self) -> Tensor<2> {
        self.rebuild(divided(self.responsibilities.clone(), self.lengths.as_ref()))
    }

    /// Mean over the items of each base, `[1, bases]`, from the items' sum `[1, width]`.
    pub fn mean_base(&self, sum: Tensor<2>, items: f64) -> Tensor<2> {
        self.bases(sum) / items
    }

    /// The same as constants of a graph.
    pub(crate) fn lifted(self) -> Self {
        Self {
            softmax: Tensor::from_inner(self.softmax),
            responsibilities: Tensor::from_inner(self.responsibilities),
            lengths: self.lengths.map(Tensor::from_inner),
            mode: self.mode,
        }
    }
}

fn divided(products: Tensor<2>, lengths: Option<&Tensor<2>>) -> Tensor<2> {
    match lengths {
        Some(lengths) => products / lengths.clone(),
        None => products,
    }
}
