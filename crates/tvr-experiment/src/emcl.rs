//! EMCL at inference on vectors, from a recipe's or a command's settings: similarities, and what they have seen.

use burn::prelude::*;
use tvr_heads::emcl::{Inference, Moments, Scope};
use tvr_heads::{HeadError, Tile};

use crate::recipe::{EmclRecipe, EmclScope, EmclSimilarity};
use crate::score::Regime;

/// The layer, and whose second moments its bases come from.
pub(crate) struct Emcl {
    layer: Inference,
    similarity: EmclSimilarity,
    tile: Option<Tile>,
    bank: Option<Moments>,
}

impl Emcl {
    /// - `width`: of the vectors
    /// - `bank`: vectors of training items, for `scope = "bank"`, which whoever asks for it must bring
    ///
    /// # Errors
    /// A setting outside its domain, or a bank whose values are not finite.
    pub(crate) fn new(
        recipe: &EmclRecipe,
        width: usize,
        bank: Option<[Tensor<2>; 2]>,
        device: &Device,
    ) -> Result<Self, HeadError> {
        let layer = recipe.layer.at_inference(width, recipe.seed, device)?;
        let bank = bank.filter(|_| recipe.scope == EmclScope::Bank);
        let bank = bank.map(|blocks| layer.bank(blocks)).transpose()?;
        let side = recipe.layer.tile;
        let tile = (recipe.scope == EmclScope::Tiles).then_some(Tile { texts: side, videos: side });
        Ok(Self { layer, similarity: recipe.similarity, tile, bank })
    }

    fn scope(&self) -> Scope<'_> {
        match (&self.bank, self.tile) {
            (Some(moments), _) => Scope::Bank(moments),
            (None, Some(tile)) => Scope::Tiles(tile),
            (None, None) => Scope::Everything,
        }
    }

    /// Cosines or products of all pairs after the layer, `[texts, videos]`.
    ///
    /// # Errors
    /// As [`Inference::cosines`].
    pub(crate) fn similarity(&self, texts: &Tensor<2>, videos: &Tensor<2>) -> Result<Tensor<2>, HeadError> {
        match self.similarity {
            EmclSimilarity::Cosine => self.layer.cosines(texts, videos, self.scope()),
            EmclSimilarity::Product => self.layer.products(texts, videos, self.scope()),
        }
    }

    /// How many directions the vectors spread over, before and after.
    ///
    /// # Errors
    /// As [`Inference::effective_ranks`].
    pub(crate) fn effective_ranks(
        &self,
        texts: &Tensor<2>,
        videos: &Tensor<2>,
    ) -> Result<[f64; 2], HeadError> {
        self.layer.effective_ranks(texts, videos, self.scope())
    }

    /// What a similarity has seen beside its pair.
    pub(crate) fn regime(&self) -> Regime {
        if self.bank.is_some() { Regime::Bank } else { Regime::Transductive }
    }

    /// The same in words.
    pub(crate) fn mixing(&self) -> String {
        format!("EMCL at inference, {}", self.scope())
    }
}
