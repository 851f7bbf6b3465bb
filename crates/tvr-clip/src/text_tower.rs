//! CLIP's text transformer: causal, pooled at the end of text.
//!
//! ```text
//! x = embedding[ids] + positions;  x = causal blocks(x);  code = norm(x[end of text]) · projection
//! ```
//!
//! Source: openai/CLIP, `clip/model.py`, `CLIP.encode_text`. What stands after the end of text never reaches the
//! code, so padding may hold any id.

use burn::module::{Initializer, Param};
use burn::nn::{Embedding, EmbeddingConfig, LayerNorm, LayerNormConfig, Linear, LinearConfig};
use burn::prelude::*;
use tvr_nn::Block;

use crate::ClipError;
use crate::config::{ClipConfig, EosRule};

/// The text tower with its projection into the joint space.
#[derive(Module, Debug)]
pub struct TextTower {
    /// Ids to tokens.
    pub token_embedding: Embedding,
    /// Positions.
    pub positions: Param<Tensor<2>>, // [context, width]
    /// The blocks.
    pub blocks: Vec<Block>,
    /// Norm before the projection.
    pub final_norm: LayerNorm,
    /// Into the joint space.
    pub projection: Linear,
    #[module(skip)]
    eos: EosRule,
}

impl TextTower {
    pub(crate) fn new(config: &ClipConfig, device: &Device) -> Result<Self, ClipError> {
        let text = &config.text;
        let normal = |std| Initializer::Normal { mean: 0.0, std };
        let block = config.block(text.width, text.heads);
        let blocks = (0..text.layers).map(|_| block.init(text.layers, device)).collect::<Result<_, _>>();
        Ok(Self {
            token_embedding: EmbeddingConfig::new(text.vocabulary, text.width)
                .with_initializer(normal(0.02))
                .init(device),
            positions: normal(0.01).init([text.context, text.width], device),
            blocks: blocks.map_err(|source| ClipError::Tower { tower: "text", source })?,
            final_norm: LayerNormConfig::new(text.width).with_epsilon(config.layer_norm_epsilon).init(device),
            projection: LinearConfig::new(text.width, config.joint)
                .with_bias(false)
                .with_initializer(normal((text.width as f64).powf(-0.5)))
                .init(device),
            eos: text.eos,
        })
    }

    /// Codes of texts, not normalised.
    ///
    /// - `ids`: `[texts, tokens]`, tokens at most the context
    /// - `lengths`: `[texts]`, real tokens of each text, end of text included, above 0
    /// - returns `[texts, joint]`
    pub fn encode(&self, ids: Tensor<2, Int>, lengths: Tensor<1, Int>) -> Tensor<2> {
        let ends = lengths - 1;
        let mut x = self.tokens(ids);
        let Some((last, before)) = self.blocks.split_last() else {
            return self.project(tvr_nn::block::rows_at(x, ends));
        };
        for block in before {
            x = block.forward(x, None, true);
        }
        self.project(last.forward_at(x, ends, None, true))
    }

    /// Every token in the joint space: `[texts, tokens, joint]`. Rows after the end of text mean nothing.
    pub fn encode_tokens(&self, ids: Tensor<2, Int>) -> Tensor<3> {
        let x = self.blocks.iter().fold(self.tokens(ids), |x, block| block.forward(x, None, true));
        self.project(x)
    }

    /// Real tokens of each text by the tower's rule for the end of text: `[texts]`.
    pub fn lengths(&self, ids: Tensor<2, Int>) -> Tensor<1, Int> {
        let [texts, tokens] = ids.dims();
        let ends = match self.eos {
            EosRule::LargestId => ids.clone().equal(ids.max_dim(1).expand([texts, tokens])),
            EosRule::First(id) => ids.equal_elem(id),
        };
        let places = Tensor::<1, Int>::arange(1..tokens as i64 + 1, &ends.device());
        let places = places.reshape([1, tokens]).expand([texts, tokens]);
        places.mask_fill(ends.bool_not(), tokens as i64).min_dim(1).reshape([texts])
    }

    /// The blocks' input.
    fn tokens(&self, ids: Tensor<2, Int>) -> Tensor<3> {
        let [_, tokens] = ids.dims();
        let [_, width] = self.positions.dims();
        let positions = self.positions.val().narrow(0, 0, tokens).reshape([1, tokens, width]);
        self.token_embedding.forward(ids) + positions
    }

    fn project<const D: usize>(&self, x: Tensor<D>) -> Tensor<D> {
        self.projection.forward(self.final_norm.forward(x))
    }
}
