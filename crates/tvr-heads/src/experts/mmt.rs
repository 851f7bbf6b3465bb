//! A transformer over all steps of all experts (MMT).
//!
//! ```text
//! tokens   = [CLS], then for every expert [AGG] and its steps
//! CLS      = 0,  AGG_e = project_e(max over the real steps),  step = project_e(features)
//! input    = dropout(norm(token + position + type))      position 0 for CLS and AGG, the step's number for a step
//! ψ_e      = unit(encoder(input) at AGG_e)
//! ```
//!
//! | symbol | meaning | shape |
//! |---|---|---|
//! | features | one expert's features | `[videos, steps, inputs]` |
//! | `project_e` | linear map and unit length, see [`super::Experts`] | `[.., inputs]` to `[.., width]` |
//! | `ψ` | the experts' vectors | `[videos, experts, width]` |
//!
//! Steps that are not real, and every token of an expert that a video lacks, are hidden from attention.
//!
//! Source: Gabeur et al. 2020 (MMT), arXiv 2007.10639; code: gabeur/mmt, `model/model.py`. The encoder is
//! BERT's, see [`Layer`]. A step's position is its number, not its second: our feature files have no time stamps.

use burn::module::{Initializer, Param};
use burn::nn::{Dropout, DropoutConfig};
use burn::prelude::*;
use serde::{Deserialize, Serialize};
use tvr_nn::{LayerNorm, unit_rows};

use super::encoder::{EPSILON, Layer};
use crate::error::{DEEPEST, HeadError, LONGEST, WIDEST, at_least_one, at_most};

/// Settings of the transformer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TransformerConfig {
    /// Layers; above 0.
    pub layers: usize,
    /// Attention heads; a divisor of the width.
    pub heads: usize,
    /// Width inside the perceptron; above 0.
    pub hidden: usize,
    /// Share of values dropped in training, 0..1.
    #[serde(default)]
    pub dropout: f64,
    /// Positions of steps; later steps have the last one. Above 0.
    #[serde(default = "thirty_two")]
    pub positions: usize,
}

fn thirty_two() -> usize {
    32
}

impl TransformerConfig {
    /// What MMT's code does at width 512.
    pub fn reference() -> Self {
        Self { layers: 4, heads: 4, hidden: 3072, dropout: 0.1, positions: thirty_two() }
    }

    pub(super) fn init(
        &self,
        width: usize,
        experts: usize,
        device: &Device,
    ) -> Result<Transformer, HeadError> {
        let refuse = |setting, value, domain| HeadError::Setting { head: "experts", setting, value, domain };
        let layers = at_most("experts", "layers", self.layers, DEEPEST)?;
        let heads = at_least_one("experts", "heads", self.heads)?;
        let hidden = at_most("experts", "hidden", self.hidden, WIDEST)?;
        let positions = at_most("experts", "positions", self.positions, LONGEST)?;
        if !width.is_multiple_of(heads) {
            return Err(refuse("heads", heads as f64, "a divisor of the width"));
        }
        if !(0.0..1.0).contains(&self.dropout) {
            return Err(refuse("dropout", self.dropout, "at least 0 and below 1"));
        }
        let table = |rows: usize| -> Param<Tensor<2>> {
            Initializer::Normal { mean: 0.0, std: 0.02 }.init([rows, width], device)
        };
        Ok(Transformer {
            positions: table(positions),
            types: table(experts + 1),
            norm: LayerNorm::new(width, EPSILON, device),
            dropout: DropoutConfig::new(self.dropout).init(),
            encoder: (0..layers).map(|_| Layer::new(width, heads, hidden, self.dropout, device)).collect(),
        })
    }
}

/// The transformer.
#[derive(Module, Debug)]
pub struct Transformer {
    /// `[positions, width]`
    pub positions: Param<Tensor<2>>,
    /// The type of CLS, then those of the experts. `[1 + experts, width]`
    pub types: Param<Tensor<2>>,
    /// The norm of the input.
    pub norm: LayerNorm,
    /// Dropout of the input.
    pub dropout: Dropout,
    /// The encoder's layers.
    pub encoder: Vec<Layer>,
}

/// One expert's tokens, projected.
pub(super) struct Tokens {
    /// `[videos, width]`
    pub aggregate: Tensor<2>,
    /// `[videos, steps, width]`
    pub steps: Tensor<3>,
    /// `[videos, steps]`
    pub mask: Tensor<2, Bool>,
}

impl Transformer {
    /// The experts' vectors, unit rows. Returns `[videos, experts, width]`
    pub(super) fn forward(&self, experts: Vec<Tokens>, present: Tensor<2, Bool>) -> Tensor<3> {
        let [videos, _] = present.dims();
        let (positions, types) = (self.positions.val(), self.types.val());
        let [n_positions, width] = positions.dims();
        let row = |table: &Tensor<2>, row: usize| table.clone().slice_dim(0, row..row + 1);
        let first = row(&positions, 0);
        let cls = (first.clone() + row(&types, 0)).unsqueeze_dim::<3>(0).expand([videos, 1, width]);
        let mut tokens = vec![cls];
        let mut masks = vec![Tensor::<2, Int>::ones([videos, 1], &present.device()).bool()];
        let (mut places, mut next) = (Vec::new(), 1);
        for (number, Tokens { aggregate, steps, mask }) in experts.into_iter().enumerate() {
            let [_, n_steps, _] = steps.dims();
            let kind = row(&types, number + 1);
            tokens.push((aggregate + first.clone() + kind.clone()).unsqueeze_dim(1));
            let later = (0..n_steps).map(|step| row(&positions, step.min(n_positions - 1)));
            let later = Tensor::cat(later.collect(), 0) + kind;
            tokens.push(steps + later.unsqueeze_dim::<3>(0));
            masks.push(present.clone().slice_dim(1, number..number + 1));
            masks.push(mask);
            places.push(next);
            next += 1 + n_steps;
        }
        let input = self.dropout.forward(self.norm.forward(Tensor::cat(tokens, 1)));
        let mask = tvr_nn::cat_masks(masks, 1);
        let output = self.encoder.iter().fold(input, |x, layer| layer.forward(x, mask.clone()));
        let vectors = places.into_iter().map(|place| output.clone().slice_dim(1, place..place + 1));
        unit_rows(Tensor::cat(vectors.collect(), 1))
    }
}
