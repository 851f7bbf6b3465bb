//! CLIP's text transformer: causal, pooled at the end of text.
//!
//! ```text
//! x = embedding[ids] + positions;  x = causal blocks(x);  states = norm(x) · projection;  code = states[end of text]
//! ```
//!
//! Source: openai/CLIP, `clip/model.py`, `CLIP.encode_text`. What stands after the end of text never reaches the
//! code, so padding may hold any id.

use burn::module::{Initializer, Param};
use burn::nn::{Embedding, EmbeddingConfig, Linear, LinearConfig};
use burn::prelude::*;
use tvr_nn::{Block, LayerNorm, linear, widened};

use crate::ClipError;
use crate::config::{EosRule, Precision, TextConfig};

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
    #[module(skip)]
    stream: Precision,
}

/// Texts in the joint space, token by token.
#[derive(Clone, Debug)]
pub struct TokenStates {
    /// The state at the end of text: the code of [`TextTower::encode`]. `[texts, joint]`
    pub pooled: Tensor<2>,
    /// The state at every token, start and end of text included; zero after the end. `[texts, tokens, joint]`
    pub states: Tensor<3>,
    /// True up to the end of text. `[texts, tokens]`
    pub mask: Tensor<2, Bool>,
}

impl TextTower {
    pub(crate) fn new(text: &TextConfig, joint: usize, device: &Device) -> Result<Self, ClipError> {
        text.check()?;
        let normal = |std| Initializer::Normal { mean: 0.0, std };
        let block = text.block();
        let blocks = (0..text.layers).map(|_| block.init(text.layers, device)).collect::<Result<_, _>>();
        Ok(Self {
            token_embedding: EmbeddingConfig::new(text.vocabulary, text.width)
                .with_initializer(normal(0.02))
                .init(device),
            positions: normal(0.01).init([text.context, text.width], device),
            blocks: blocks.map_err(|source| ClipError::Tower { tower: "text", source })?,
            final_norm: LayerNorm::new(text.width, text.layer_norm_epsilon, device),
            projection: LinearConfig::new(text.width, joint)
                .with_bias(false)
                .with_initializer(normal((text.width as f64).powf(-0.5)))
                .init(device),
            eos: text.eos,
            stream: Precision::F32,
        })
    }

    /// Codes of texts, not normalised.
    ///
    /// - `ids`: `[texts, tokens]`, tokens at most the context
    /// - `lengths`: `[texts]`, real tokens of each text, end of text included, above 0
    /// - returns `[texts, joint]`
    pub fn encode(&self, ids: Tensor<2, Int>, lengths: Tensor<1, Int>) -> Tensor<2> {
        let ends = lengths - 1;
        let mut x = self.embed(ids);
        let Some((last, before)) = self.blocks.split_last() else {
            return self.project(tvr_nn::block::rows_at(x, ends));
        };
        for block in before {
            x = block.forward(x, None, true);
        }
        self.project(last.forward_at(x, ends, None, true))
    }

    /// Every token in the joint space beside the pooled code, not normalised. The last block is computed at every
    /// token, so [`encode`](Self::encode) is the cheaper way to the code alone.
    ///
    /// - `ids`: `[texts, tokens]`, tokens at most the context
    /// - `lengths`: `[texts]`, real tokens of each text, end of text included, above 0
    pub fn encode_tokens(&self, ids: Tensor<2, Int>, lengths: Tensor<1, Int>) -> TokenStates {
        let [texts, tokens] = ids.dims();
        let x = self.blocks.iter().fold(self.embed(ids), |x, block| block.forward(x, None, true));
        let states = self.project(x);
        let places = Tensor::<1, Int>::arange(0..tokens as i64, &lengths.device());
        let places = places.reshape([1, tokens]).expand([texts, tokens]);
        let mask = places.lower(lengths.clone().reshape([texts, 1]).expand([texts, tokens]));
        let pooled = tvr_nn::block::rows_at(states.clone(), lengths - 1);
        let hidden = mask.clone().bool_not().unsqueeze_dim::<3>(2).expand(states.dims());
        TokenStates { pooled, states: states.mask_fill(hidden, 0.0), mask }
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

    /// What the first block takes: embedded ids with their positions, `[texts, tokens, width]`.
    pub fn embed(&self, ids: Tensor<2, Int>) -> Tensor<3> {
        let [_, tokens] = ids.dims();
        let [_, width] = self.positions.dims();
        let positions = self.positions.val().narrow(0, 0, tokens).reshape([1, tokens, width]);
        let x = self.token_embedding.forward(ids) + positions;
        let stream = self.stream.stream(x.dtype());
        x.cast(stream)
    }

    /// The same tower with a stream of half precision; see [`ImageTower::with_stream`](crate::ImageTower::with_stream).
    pub fn with_stream(mut self, precision: Precision) -> Self {
        self.stream = precision;
        self
    }

    fn project<const D: usize>(&self, x: Tensor<D>) -> Tensor<D> {
        widened(linear(&self.projection, self.final_norm.forward(x)))
    }
}
