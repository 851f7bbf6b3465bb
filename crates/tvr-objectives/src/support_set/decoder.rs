//! A small transformer that tells a caption from one vector.
//!
//! ```text
//! x₀       = [prefix · code ; E[y₀], …, E[y_{L−2}]] + positions
//! x        = causal blocks(x₀)
//! logits_l = norm(x[P − 1 + l]) · Eᵀ        sees the prefix and the tokens before l
//! ```
//!
//! | symbol | meaning | shape, unit |
//! |---|---|---|
//! | `code` | what the caption is told from | `[texts, code width]` |
//! | `E` | embedding of tokens, into the decoder and out of it: one parameter | `[vocabulary, width]` |
//! | `P` | prefix tokens, made of the code | count |
//! | `y` | the caption's tokens, its end last | `[texts, L]` |
//!
//! The last prefix token speaks the first word, so no start token is needed. Pre-norm blocks without dropout.
//! Ours throughout: the paper takes T5-base, whose weights and vocabulary a small set of captions cannot fill.

use burn::module::{Initializer, Param};
use burn::nn::{Linear, LinearConfig};
use burn::prelude::*;
use burn::tensor::{TensorData, assert_shape};
use serde::{Deserialize, Serialize};
use tvr_nn::{Activation, Block, BlockConfig, LayerNorm, log_sum_exp, sum};

use super::{Captions, NAME};
use crate::error::{ObjectiveError, at_most};
use crate::objective::CaptionTokens;

/// Added to the variance by every norm.
const EPSILON: f64 = 1e-5;

/// Settings of a [`Decoder`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DecoderConfig {
    /// Blocks.
    pub layers: usize,
    /// Width of a token; a multiple of `heads`.
    pub width: usize,
    /// Attention heads.
    pub heads: usize,
    /// Tokens made of the code, before the caption.
    pub prefix: usize,
    /// Tokens of a caption that count; a longer one is cut.
    pub max_tokens: usize,
}

impl DecoderConfig {
    /// Two layers of width 256 with four heads, one prefix token, 32 tokens.
    pub fn ours() -> Self {
        Self { layers: 2, width: 256, heads: 4, prefix: 1, max_tokens: 32 }
    }

    /// A decoder with random weights, which are lazy.
    ///
    /// - `code_width`: of what the captions are told from
    /// - `vocabulary`: number of tokens
    ///
    /// # Errors
    /// The first setting outside its domain.
    pub fn init(
        &self,
        code_width: usize,
        vocabulary: usize,
        device: &Device,
    ) -> Result<Decoder, ObjectiveError> {
        let (some, many) = ((1_024, "at most 1,024"), (65_536, "at most 65,536"));
        for (setting, value, most) in [
            ("decoder.layers", self.layers, some),
            ("decoder.width", self.width, many),
            ("decoder.prefix", self.prefix, some),
            ("decoder.max_tokens", self.max_tokens, many),
            ("width", code_width, many),
            ("vocabulary", vocabulary, (usize::MAX, "")),
        ] {
            at_most(NAME, setting, value, most)?;
        }
        let block = BlockConfig {
            width: self.width,
            heads: self.heads,
            hidden: 4 * self.width,
            layer_norm_epsilon: EPSILON,
            activation: Activation::Gelu,
        };
        let blocks = (0..self.layers).map(|_| block.init(self.layers, device)).collect::<Result<_, _>>();
        let normal = |std| Initializer::Normal { mean: 0.0, std };
        Ok(Decoder {
            blocks: blocks.map_err(|source| ObjectiveError::Decoder { source })?,
            prefix: LinearConfig::new(code_width, self.prefix * self.width).init(device),
            embedding: normal(0.02).init([vocabulary, self.width], device),
            positions: normal(0.01).init([self.prefix + self.max_tokens - 1, self.width], device),
            final_norm: LayerNorm::new(self.width, EPSILON, device),
        })
    }
}

/// The caption decoder. Only [`DecoderConfig::init`] makes one, so its settings are valid.
#[derive(Module, Debug)]
pub struct Decoder {
    /// From a code to the prefix tokens.
    pub prefix: Linear,
    /// Of the tokens, in and out.
    pub embedding: Param<Tensor<2>>, // [vocabulary, width]
    /// Of the places.
    pub positions: Param<Tensor<2>>, // [prefix + max_tokens - 1, width]
    /// The blocks.
    pub blocks: Vec<Block>,
    /// Norm before the vocabulary.
    pub final_norm: LayerNorm,
}

impl Decoder {
    /// Number of tokens it knows.
    pub fn vocabulary(&self) -> usize {
        self.embedding.val().dims()[0]
    }

    /// The longest caption that it tells, in tokens.
    pub fn max_tokens(&self) -> usize {
        self.positions.val().dims()[0] + 1 - self.n_prefix()
    }

    fn n_prefix(&self) -> usize {
        let [_, width] = self.embedding.val().dims();
        self.prefix.weight.val().dims()[1] / width
    }

    /// Scores of every token at every place; those at place `l` see the tokens before `l` alone.
    ///
    /// - `codes`: `[texts, code width]`
    /// - `ids`: `[texts, tokens]`, at most [`max_tokens`](Self::max_tokens); the last column is never read
    /// - returns `[texts, tokens, vocabulary]`, logits
    pub fn logits(&self, codes: Tensor<2>, ids: Tensor<2, Int>) -> Tensor<3> {
        let [texts, tokens] = ids.dims();
        let x = self.states(codes, ids).reshape([(texts * tokens) as i32, -1]);
        self.speak(x).reshape([texts as i32, tokens as i32, -1])
    }

    /// Scores of the last token of `ids`, which is never read. `[texts, vocabulary]`
    pub(super) fn last(&self, codes: Tensor<2>, ids: Tensor<2, Int>) -> Tensor<2> {
        let [_, tokens] = ids.dims();
        self.speak(self.states(codes, ids).slice_dim(1, tokens - 1..tokens).squeeze_dim::<2>(1))
    }

    /// Mean loss of the captions, `[1]`, nats.
    ///
    /// - `codes`: `[texts, code width]`
    /// - `supported`: for every text whether it counts; one without a real token does not either
    pub fn loss(
        &self,
        codes: Tensor<2>,
        captions: &CaptionTokens,
        supported: &[bool],
        of: Captions,
    ) -> Tensor<1> {
        let [texts, tokens] = captions.ids.dims();
        assert_shape!(captions.mask, [texts, tokens]);
        assert_shape!(codes, [texts, _]);
        let taken = tokens.min(self.max_tokens());
        let real: Vec<bool> = captions.mask.clone().into_data().iter::<bool>().collect();
        let (mut places, mut shares, mut counted) = (Vec::new(), Vec::new(), 0usize);
        for (text, real) in real.chunks(tokens.max(1)).enumerate() {
            let length = real[..taken].iter().filter(|&&real| real).count();
            if length == 0 || !supported[text] {
                continue;
            }
            counted += 1;
            let share = if of == Captions::Mean { 1.0 / length as f64 } else { 1.0 };
            for place in (0..taken).filter(|&place| real[place]) {
                places.push((text * taken + place) as i32);
                shares.push(share);
            }
        }
        if counted == 0 {
            return codes.slice([0..1, 0..1]).zeros_like().detach().reshape([1]);
        }
        let count = places.len();
        let device = codes.device();
        let places = Tensor::<1, Int>::from_data(TensorData::new(places, [count]), &device);
        let shares = TensorData::new(shares, [count, 1]);
        let shares = Tensor::<2>::from_data(shares, (&device, codes.dtype())) / counted as f64;
        // Whatever number stands at padding, it must be one that the embedding has.
        let ids = captions.ids.clone().mask_fill(captions.mask.clone().bool_not(), 0);
        let ids = ids.slice_dim(1, 0..taken);
        let x = self.states(codes, ids.clone()).reshape([(texts * taken) as i32, -1]);
        let logits = self.speak(x.select(0, places.clone()));
        let targets = ids.reshape([texts * taken]).select(0, places).reshape([count, 1]);
        let told = logits.clone().gather(1, targets);
        sum((log_sum_exp(logits, 1) - told) * shares)
    }

    /// What stands behind every place, before the vocabulary. `[texts, tokens, width]`
    fn states(&self, codes: Tensor<2>, ids: Tensor<2, Int>) -> Tensor<3> {
        let [texts, tokens] = ids.dims();
        let (embedding, prefix) = (self.embedding.val(), self.n_prefix());
        let [_, width] = embedding.dims();
        let mut x = self.prefix.forward(codes).reshape([texts, prefix, width]);
        if tokens > 1 {
            let before = burn::tensor::module::embedding(embedding, ids.slice_dim(1, 0..tokens - 1));
            x = Tensor::cat(vec![x, before], 1);
        }
        let length = prefix + tokens - 1;
        let positions = self.positions.val().slice_dim(0, 0..length).unsqueeze::<3>();
        let x = self.blocks.iter().fold(x + positions, |x, block| block.forward(x, None, true));
        x.slice_dim(1, prefix - 1..length)
    }

    /// `[places, width]` to `[places, vocabulary]`.
    fn speak(&self, x: Tensor<2>) -> Tensor<2> {
        self.final_norm.forward(x).matmul(self.embedding.val().transpose())
    }
}
