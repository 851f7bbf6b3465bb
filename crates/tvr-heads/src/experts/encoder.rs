//! A layer of BERT's encoder: the norm comes after what is added.
//!
//! ```text
//! x ← norm(x + dropout(Output · Σ_k dropout(weight[q, k]) · Value x_k))     weights as in `tvr_nn::attention`
//! x ← norm(x + dropout(Contract · gelu(Expand · x)))
//! ```
//!
//! Source: Devlin et al. 2018 (BERT), arXiv 1810.04805, whose layer MMT takes; code: gabeur/mmt, `model/bert.py`.

use burn::nn::{Dropout, DropoutConfig, Linear, LinearConfig};
use burn::prelude::*;
use tvr_nn::{Activation, LayerNorm, attention_weights, linear};

/// Added to the variance by BERT's norms.
pub(super) const EPSILON: f64 = 1e-12;

/// One layer.
#[derive(Module, Debug)]
pub struct Layer {
    /// Query projection.
    pub query: Linear,
    /// Key projection.
    pub key: Linear,
    /// Value projection.
    pub value: Linear,
    /// Projection of the heads' results.
    pub output: Linear,
    /// First layer of the perceptron.
    pub expand: Linear,
    /// Second layer of the perceptron.
    pub contract: Linear,
    /// Norm after attention.
    pub attention_norm: LayerNorm,
    /// Norm after the perceptron.
    pub mlp_norm: LayerNorm,
    /// Dropout of attention's weights and of what is added.
    pub dropout: Dropout,
    /// Attention heads, a divisor of the width.
    #[module(skip)]
    pub heads: usize,
}

impl Layer {
    pub(super) fn new(width: usize, heads: usize, hidden: usize, dropout: f64, device: &Device) -> Self {
        let layer = |from: usize, to: usize| LinearConfig::new(from, to).init(device);
        Self {
            query: layer(width, width),
            key: layer(width, width),
            value: layer(width, width),
            output: layer(width, width),
            expand: layer(width, hidden),
            contract: layer(hidden, width),
            attention_norm: LayerNorm::new(width, EPSILON, device),
            mlp_norm: LayerNorm::new(width, EPSILON, device),
            dropout: DropoutConfig::new(dropout).init(),
            heads,
        }
    }

    /// The layer at every token.
    ///
    /// - `x`: `[items, tokens, width]`
    /// - `mask`: `[items, tokens]`, true = real
    /// - returns `[items, tokens, width]`; rows at padding are finite and mean nothing
    pub(super) fn forward(&self, x: Tensor<3>, mask: Tensor<2, Bool>) -> Tensor<3> {
        let [items, tokens, width] = x.dims();
        let size = width / self.heads;
        let [query, key, value] = [&self.query, &self.key, &self.value]
            .map(|layer| linear(layer, x.clone()).reshape([items, tokens, self.heads, size]).swap_dims(1, 2));
        let weights = attention_weights(query, key, (size as f32).powf(-0.5), false, Some(mask));
        let heard = self.dropout.forward(weights.cast(value.dtype())).matmul(value);
        let heard = linear(&self.output, heard.swap_dims(1, 2).reshape([items, tokens, width]));
        let x = self.attention_norm.forward(x + self.dropout.forward(heard));
        let hidden = Activation::Gelu.forward(linear(&self.expand, x.clone()));
        self.mlp_norm.forward(x + self.dropout.forward(linear(&self.contract, hidden)))
    }
}
