//! Codes to logits: by the head's own tiles, or by EMCL on the vectors of a trained head.

use burn::prelude::*;
use ndarray::Array2;
use tvr_heads::emcl::{Inference, Moments, Scope};
use tvr_heads::{Head, TextCodes, Tile, VideoCodes};
use tvr_objectives::Objective;

use super::{matrix, refused, to_matrix};
use crate::error::ExperimentError;
use crate::model::Model;
use crate::recipe::{EmclRecipe, EmclScope};
use crate::score::Regime;

/// How an evaluation turns codes into logits.
pub(super) struct Scorer<'a, H: Head, O: Objective> {
    model: &'a Model<H, O>,
    emcl: Option<Emcl>,
}

/// EMCL at inference, and whose second moments its bases come from.
struct Emcl {
    layer: Inference,
    tile: Option<Tile>,
    bank: Option<Moments>,
}

impl Emcl {
    fn scope(&self) -> Scope<'_> {
        match (&self.bank, self.tile) {
            (Some(moments), _) => Scope::Bank(moments),
            (None, Some(tile)) => Scope::Tiles(tile),
            (None, None) => Scope::Everything,
        }
    }
}

impl<'a, H: Head, O: Objective> Scorer<'a, H, O> {
    /// - `width`: of the codes' vectors
    /// - `bank`: codes of training items, for `scope = "bank"`, which the plan asks for then
    ///
    /// # Errors
    /// A setting of EMCL outside its domain, or a bank whose values are not finite.
    pub(super) fn new(
        model: &'a Model<H, O>,
        recipe: Option<&EmclRecipe>,
        width: usize,
        bank: Option<&(TextCodes, VideoCodes)>,
        device: &Device,
    ) -> Result<Self, ExperimentError> {
        let Some(recipe) = recipe else { return Ok(Self { model, emcl: None }) };
        let layer = recipe.layer.at_inference(width, recipe.seed, device).map_err(refused)?;
        let blocks = bank
            .filter(|_| recipe.scope == EmclScope::Bank)
            .map(|(texts, videos)| [videos.pooled.clone(), texts.pooled.clone()]);
        let bank = blocks.map(|blocks| layer.bank(blocks)).transpose().map_err(refused)?;
        let side = recipe.layer.tile;
        let tile = (recipe.scope == EmclScope::Tiles).then_some(Tile { texts: side, videos: side });
        Ok(Self { model, emcl: Some(Emcl { layer, tile, bank }) })
    }

    /// Logits `[texts, videos]`.
    ///
    /// # Errors
    /// Codes that the head or EMCL refuses.
    pub(super) fn logits(
        &self,
        texts: &TextCodes,
        videos: &VideoCodes,
    ) -> Result<Array2<f32>, ExperimentError> {
        match &self.emcl {
            None => matrix(self.model, texts, videos),
            Some(emcl) => {
                let cosines = emcl.layer.cosines(&texts.pooled, &videos.pooled, emcl.scope());
                to_matrix(cosines.map_err(refused)?, self.model.to_logits())
            }
        }
    }

    /// What a similarity has seen before any normaliser: whoever is judged together takes part in one that mixes items.
    pub(super) fn regime(&self) -> Regime {
        match &self.emcl {
            Some(Emcl { bank: Some(_), .. }) => Regime::Bank,
            Some(_) => Regime::Transductive,
            None if self.model.head.needs().mixes_items => Regime::Transductive,
            None => Regime::Raw,
        }
    }

    /// In words, which items take part in a similarity beside its own pair; `None` where none does.
    pub(super) fn mixing(&self) -> Option<String> {
        match &self.emcl {
            Some(emcl) => Some(format!("EMCL at inference, {}", emcl.scope())),
            None => self.model.head.needs().mixes_items.then(|| {
                let tile = Tile::of(&self.model.head);
                format!("the head, tiles of {} texts x {} videos", tile.texts, tile.videos)
            }),
        }
    }
}
