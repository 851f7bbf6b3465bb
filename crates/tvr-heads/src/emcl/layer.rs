//! What EMCL does to rows: their reconstruction from few bases, added to them or in their place.
//!
//! ```text
//! X ← unit rows of X           where asked for
//! X ← X + weight · X̂          without the residual: weight · X̂
//! ```

use burn::prelude::*;
use serde::{Deserialize, Serialize};
use tvr_nn::unit_rows;

use super::em::{Clusters, Em, Gram, Start};

/// What is a constant to the gradient.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Detach {
    /// The whole reconstruction, as the published code has it: the gradient passes straight through.
    All,
    /// The clusters: the gradient passes through `X P` with P held fixed.
    #[default]
    Projection,
    /// Nothing: through every iteration.
    None,
}

/// The layer on rows, without its state.
#[derive(Clone, Debug, PartialEq)]
pub struct Layer {
    pub(crate) em: Em,
    pub(crate) weight: f64,
    pub(crate) residual: bool,
    pub(crate) detach: Detach,
    pub(crate) unit_input: bool,
}

impl Layer {
    /// The iteration.
    pub fn em(&self) -> &Em {
        &self.em
    }

    /// The rows that bases are found on. `[rows, width]` to the same
    pub fn input(&self, rows: Tensor<2>) -> Tensor<2> {
        if self.unit_input { unit_rows(rows) } else { rows }
    }

    /// Rows after the layer, with bases of these rows. `[rows, width]` to the same
    pub fn of_call(&self, rows: Tensor<2>, start: &Start) -> Tensor<2> {
        let rows = self.input(rows);
        if self.detach == Detach::None {
            let start = if rows.is_autodiff() { start.lifted() } else { start.clone() };
            let (clusters, bases) = self.em.of_items(&rows, &start);
            return self.joined(rows, clusters.rebuild(bases));
        }
        let (clusters, bases) = self.em.of_items(&rows.clone().without_autodiff(), start);
        if rows.is_autodiff() && self.detach == Detach::Projection {
            let rebuilt = clusters.lifted().reconstruct(rows.clone());
            return self.joined(rows, rebuilt);
        }
        let rebuilt = clusters.rebuild(bases);
        let rebuilt = if rows.is_autodiff() { Tensor::from_inner(rebuilt) } else { rebuilt };
        self.joined(rows, rebuilt)
    }

    /// Rows after the layer, each by itself, with clusters found elsewhere. `[rows, width]` to the same
    pub fn of_clusters(&self, rows: Tensor<2>, clusters: Clusters) -> Tensor<2> {
        let rows = self.input(rows);
        let rebuilt = if !rows.is_autodiff() {
            clusters.reconstruct(rows.clone())
        } else if self.detach == Detach::All {
            Tensor::from_inner(clusters.reconstruct(rows.clone().without_autodiff()))
        } else {
            clusters.lifted().reconstruct(rows.clone())
        };
        self.joined(rows, rebuilt)
    }

    /// Clusters of the items that these moments are of.
    pub fn clusters(&self, moments: &Gram, start: &Start) -> Clusters {
        self.em.gram(moments, start)
    }

    /// Mean over the rows of each base, `[1, bases]`: what the moving average moves towards. `rows`: `[rows, width]`,
    /// outside any graph
    pub fn mean_base(&self, rows: Tensor<2>, start: &Start) -> Tensor<2> {
        let rows = self.input(rows);
        let (clusters, _) = self.em.of_items(&rows, start);
        let [count, _] = rows.dims();
        clusters.mean_base(rows.sum_dim(0), count as f64)
    }

    fn joined(&self, rows: Tensor<2>, rebuilt: Tensor<2>) -> Tensor<2> {
        if self.residual { rows + rebuilt * self.weight } else { rebuilt * self.weight }
    }
}
