//! Codes to logits: by the head's own tiles, or by EMCL on the vectors of a trained head.

use std::ops::Range;

use burn::prelude::*;
use ndarray::Array2;
use tvr_heads::{Head, TextCodes, Tile, VideoCodes};
use tvr_objectives::Objective;

use super::{matrix, to_matrix};
use crate::emcl::Emcl;
use crate::error::ExperimentError;
use crate::model::Model;
use crate::recipe::EmclRecipe;
use crate::score::Regime;

/// How an evaluation turns codes into logits.
pub(super) struct Scorer<'a, H: Head, O: Objective> {
    model: &'a Model<H, O>,
    emcl: Option<Emcl>,
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
        let bank = bank.map(|(texts, videos)| [videos.pooled.clone(), texts.pooled.clone()]);
        let emcl = recipe
            .map(|recipe| Emcl::new(recipe, width, bank, device))
            .transpose()
            .map_err(ExperimentError::because)?;
        Ok(Self { model, emcl })
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
                let cosines = emcl.similarity(&texts.pooled, &videos.pooled);
                to_matrix(cosines.map_err(ExperimentError::because)?, self.model.to_logits().into_scalar())
            }
        }
    }

    /// How many directions the vectors spread over before and after EMCL, at inference or in the head; `None` without it.
    /// A head's are the mean over the tiles of the diagonal.
    ///
    /// # Errors
    /// Codes that EMCL refuses.
    pub(super) fn effective_ranks(
        &self,
        texts: &TextCodes,
        videos: &VideoCodes,
    ) -> Result<Option<[f64; 2]>, ExperimentError> {
        if let Some(emcl) = &self.emcl {
            return emcl
                .effective_ranks(&texts.pooled, &videos.pooled)
                .map(Some)
                .map_err(ExperimentError::because);
        }
        let (head, tile) = (&self.model.head, Tile::of(&self.model.head));
        let (size, count) = (tile.texts.min(tile.videos), texts.n_items().min(videos.n_items()));
        let tiles = (0..count).step_by(size).map(|start| start..count.min(start + size));
        let of_tile =
            |tile: Range<usize>| head.effective_ranks(&texts.rows(tile.clone()), &videos.rows(tile));
        let ranks: Option<Vec<[f64; 2]>> = tiles.map(of_tile).collect();
        let mean = |ranks: &[[f64; 2]], side: usize| {
            ranks.iter().map(|of_tile| of_tile[side]).sum::<f64>() / ranks.len() as f64
        };
        Ok(ranks.map(|ranks| [mean(&ranks, 0), mean(&ranks, 1)]))
    }

    /// What a similarity has seen before any normaliser: whoever is judged together takes part in one that mixes items.
    pub(super) fn regime(&self) -> Regime {
        match &self.emcl {
            Some(emcl) => emcl.regime(),
            None if self.model.head.needs().mixes_items => Regime::Transductive,
            None => Regime::Raw,
        }
    }

    /// In words, which items take part in a similarity beside its own pair; `None` where none does.
    pub(super) fn mixing(&self) -> Option<String> {
        match &self.emcl {
            Some(emcl) => Some(emcl.mixing()),
            None => self.model.head.needs().mixes_items.then(|| {
                let tile = Tile::of(&self.model.head);
                format!("the head, tiles of {} texts x {} videos", tile.texts, tile.videos)
            }),
        }
    }
}
