//! CLIP's residual attention block, normalised first.
//!
//! ```text
//! x ← x + Output · attention(Query n, Key n, Value n)       n = norm(x), scale = (width / heads)^-0.5
//! x ← x + Contract · activation(Expand · norm(x))
//! ```
//!
//! Source: openai/CLIP, `clip/model.py`, `ResidualAttentionBlock` and `initialize_parameters`.
//! No dropout: CLIP has none.

use burn::module::Initializer;
use burn::nn::{Linear, LinearConfig};
use burn::prelude::*;
use serde::{Deserialize, Serialize};

use crate::{Activation, LayerNorm, NnError, added, attention, linear};

/// Settings of a [`Block`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BlockConfig {
    /// Width of a token; a multiple of `heads`.
    pub width: usize,
    /// Number of heads.
    pub heads: usize,
    /// Width inside the perceptron; CLIP: four times `width`.
    pub hidden: usize,
    /// Added to the variance by both norms; CLIP: 1e-5.
    pub layer_norm_epsilon: f64,
    /// The perceptron's activation.
    pub activation: Activation,
}

impl BlockConfig {
    /// A block with CLIP's random weights for a tower of `depth` blocks; the weights are lazy (see
    /// [`touch`](crate::touch)).
    ///
    /// Standard deviations: `width^-0.5` for query, key and value, `(2 · width)^-0.5` for the perceptron's first
    /// layer, and `(2 · depth · width)^-0.5` for the two layers that write into the residual stream.
    /// Biases start at zero.
    ///
    /// # Errors
    /// [`NnError`] names the first setting outside its domain.
    pub fn init(&self, depth: usize, device: &Device) -> Result<Block, NnError> {
        for (setting, value) in
            [("width", self.width), ("heads", self.heads), ("hidden", self.hidden), ("depth", depth)]
        {
            if value == 0 {
                return Err(NnError::Setting { setting, value: 0.0, domain: "above 0" });
            }
        }
        let epsilon = self.layer_norm_epsilon;
        if !(epsilon >= 0.0 && epsilon.is_finite()) {
            return Err(NnError::Setting {
                setting: "layer_norm_epsilon",
                value: epsilon,
                domain: "finite and not below 0",
            });
        }
        if !self.width.is_multiple_of(self.heads) {
            return Err(NnError::Heads { width: self.width, heads: self.heads });
        }
        let width = self.width as f64;
        let deep = (2.0 * depth as f64 * width).powf(-0.5);
        let norm = || LayerNorm::new(self.width, epsilon, device);
        Ok(Block {
            attention_norm: norm(),
            query: layer(self.width, self.width, width.powf(-0.5), device),
            key: layer(self.width, self.width, width.powf(-0.5), device),
            value: layer(self.width, self.width, width.powf(-0.5), device),
            output: layer(self.width, self.width, deep, device),
            mlp_norm: norm(),
            expand: layer(self.width, self.hidden, (2.0 * width).powf(-0.5), device),
            contract: layer(self.hidden, self.width, deep, device),
            heads: self.heads,
            activation: self.activation,
        })
    }
}

/// A linear layer with normal weights and a bias of zero.
fn layer(from: usize, to: usize, std: f64, device: &Device) -> Linear {
    let weights = LinearConfig::new(from, to)
        .with_bias(false)
        .with_initializer(Initializer::Normal { mean: 0.0, std })
        .init(device);
    Linear { weight: weights.weight, bias: Some(Initializer::Zeros.init([to], device)) }
}

/// CLIP's residual attention block. Only [`BlockConfig::init`] makes one, so its settings are valid.
#[derive(Module, Debug)]
pub struct Block {
    /// Norm before attention.
    pub attention_norm: LayerNorm,
    /// Query projection.
    pub query: Linear,
    /// Key projection.
    pub key: Linear,
    /// Value projection.
    pub value: Linear,
    /// Projection of the heads' results.
    pub output: Linear,
    /// Norm before the perceptron.
    pub mlp_norm: LayerNorm,
    /// First layer of the perceptron.
    pub expand: Linear,
    /// Second layer of the perceptron.
    pub contract: Linear,
    #[module(skip)]
    heads: usize,
    #[module(skip)]
    activation: Activation,
}

impl Block {
    /// The perceptron's activation.
    pub fn activation(&self) -> Activation {
        self.activation
    }

    /// The same weights under another activation.
    pub fn set_activation(&mut self, activation: Activation) {
        self.activation = activation;
    }

    /// The block at every token.
    ///
    /// - `x`: `[items, tokens, width]`
    /// - `mask`: `[items, tokens]`, true = real
    /// - returns `[items, tokens, width]`; rows at padding are finite and mean nothing
    pub fn forward(&self, x: Tensor<3>, mask: Option<Tensor<2, Bool>>, causal: bool) -> Tensor<3> {
        let normed = self.attention_norm.forward(x.clone());
        let context = self.attend(normed.clone(), normed, mask, causal);
        let x = added(x, linear(&self.output, context));
        self.mlp(x)
    }

    /// Row `positions[i]` of [`forward`](Self::forward) for every item, at a fraction of its cost: the keys and
    /// values are those of all tokens, everything else is computed at one token. Exact, and meant for the last
    /// block of a pooled tower.
    ///
    /// - `x`: `[items, tokens, width]`
    /// - `positions`: `[items]`, below `tokens`
    /// - `mask`: `[items, tokens]`, true = real
    /// - returns `[items, width]`
    pub fn forward_at(
        &self,
        x: Tensor<3>,
        positions: Tensor<1, Int>,
        mask: Option<Tensor<2, Bool>>,
        causal: bool,
    ) -> Tensor<2> {
        let [items, tokens, width] = x.dims();
        let device = x.device();
        let normed = self.attention_norm.forward(x.clone());
        let query = rows_at(normed.clone(), positions.clone()).reshape([items, 1, width]);
        let mask = if causal {
            let key = Tensor::<1, Int>::arange(0..tokens as i64, &device).reshape([1, tokens]);
            let seen = key
                .expand([items, tokens])
                .lower_equal(positions.clone().reshape([items, 1]).expand([items, tokens]));
            Some(match mask {
                Some(mask) => mask.bool_and(seen),
                None => seen,
            })
        } else {
            mask
        };
        let context = self.attend(query, normed, mask, false);
        let x = rows_at(x, positions).reshape([items, 1, width]);
        let x = added(x, linear(&self.output, context));
        self.mlp(x).reshape([items, width])
    }

    /// Attention of `query` over `tokens`, both normed, heads joined.
    fn attend(
        &self,
        query: Tensor<3>,
        tokens: Tensor<3>,
        mask: Option<Tensor<2, Bool>>,
        causal: bool,
    ) -> Tensor<3> {
        let [items, queries, width] = query.dims();
        let scale = ((width / self.heads) as f32).powf(-0.5);
        let query = self.split(linear(&self.query, query));
        let key = self.split(linear(&self.key, tokens.clone()));
        let value = self.split(linear(&self.value, tokens));
        attention(query, key, value, scale, causal, mask).swap_dims(1, 2).reshape([items, queries, width])
    }

    /// `[items, tokens, width]` to `[items, heads, tokens, width / heads]`, a view.
    fn split(&self, x: Tensor<3>) -> Tensor<4> {
        let [items, tokens, width] = x.dims();
        x.reshape([items, tokens, self.heads, width / self.heads]).swap_dims(1, 2)
    }

    fn mlp(&self, x: Tensor<3>) -> Tensor<3> {
        let hidden = linear(&self.expand, self.mlp_norm.forward(x.clone()));
        added(x, linear(&self.contract, self.activation.forward(hidden)))
    }
}

/// One row of every item: `[items, tokens, width]` and `[items]` to `[items, width]`.
pub fn rows_at(x: Tensor<3>, positions: Tensor<1, Int>) -> Tensor<2> {
    let [items, tokens, width] = x.dims();
    let device = positions.device();
    let first = Tensor::<1, Int>::arange_step(0..(items * tokens) as i64, tokens, &device);
    x.reshape([items * tokens, width]).select(0, positions + first)
}
