//! Codes to scores: by the head's own tiles, or by EMCL on the vectors of a head; and what the scores have seen.

use std::ops::Range;

use burn::prelude::*;
use ndarray::Array2;
use tvr_heads::{Head, TextCodes, Tile, VideoCodes, score_all};

use super::Regime;
use crate::banks::{self, TrainingBank};
use crate::emcl::Emcl;
use crate::error::ExperimentError;
use crate::recipe::EmclRecipe;

/// Scores, and what they are made of.
pub(crate) struct Scored {
    /// `[texts, videos]`
    pub(crate) scores: Array2<f32>,
    /// Of vectors of training items.
    pub(crate) bank: Option<TrainingBank>,
    /// What a score has seen beside its pair.
    pub(crate) regime: Regime,
    /// The same in words; nothing where it has seen nothing.
    pub(crate) mixing: Option<String>,
    /// Of vectors before and after EMCL, at inference or in the head.
    pub(crate) effective_ranks: Option<[f64; 2]>,
}

impl Scored {
    pub(super) fn raw(scores: Array2<f32>) -> Self {
        Self { scores, bank: None, regime: Regime::Raw, mixing: None, effective_ranks: None }
    }
}

/// How codes become scores.
pub(crate) struct Scorer<'a, H: Head> {
    head: &'a H,
    scale: f32,
    emcl: Option<Emcl>,
}

impl<'a, H: Head> Scorer<'a, H> {
    /// The head's own similarities times `scale`.
    pub(crate) fn plain(head: &'a H, scale: f32) -> Self {
        Self { head, scale, emcl: None }
    }

    /// The same with EMCL in between, where a recipe asks for it.
    ///
    /// - `width`: of the codes' vectors
    /// - `bank`: codes of training items, for `scope = "bank"`, which whoever asks for it must bring
    ///
    /// # Errors
    /// A setting of EMCL outside its domain, or a bank whose values are not finite.
    pub(crate) fn new(
        head: &'a H,
        scale: f32,
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
        Ok(Self { head, scale, emcl })
    }

    /// Scores of all pairs and of a bank, and what they have seen.
    ///
    /// # Errors
    /// Codes that the head or EMCL refuses.
    pub(crate) fn scored(
        &self,
        codes: &(TextCodes, VideoCodes),
        bank: Option<&(TextCodes, VideoCodes)>,
    ) -> Result<Scored, ExperimentError> {
        let (texts, videos) = codes;
        let scores = self.scores(texts, videos)?;
        // EMCL rebuilds texts and videos against one another: items of one side have no similarity in its unit.
        let by_vectors = !self.head.needs().judges_pairs && self.emcl.is_none();
        let scale = by_vectors.then_some(self.scale);
        let of_pairs = |texts: &TextCodes, videos: &VideoCodes| self.scores(texts, videos);
        let bank = bank.map(|bank| banks::score(bank, codes, scale, of_pairs)).transpose()?;
        let effective_ranks = self.effective_ranks(texts, videos)?;
        Ok(Scored { scores, bank, regime: self.regime(), mixing: self.mixing(), effective_ranks })
    }

    /// Scores `[texts, videos]`.
    ///
    /// # Errors
    /// Codes that the head or EMCL refuses.
    pub(crate) fn scores(
        &self,
        texts: &TextCodes,
        videos: &VideoCodes,
    ) -> Result<Array2<f32>, ExperimentError> {
        let similarity = match &self.emcl {
            None => score_all(self.head, texts, videos, Tile::of(self.head)),
            Some(emcl) => emcl.similarity(&texts.pooled, &videos.pooled),
        };
        to_matrix(similarity.map_err(ExperimentError::because)?, self.scale)
    }

    /// How many directions the vectors spread over before and after EMCL, at inference or in the head; `None` without it.
    /// A head's are the mean over the tiles of the diagonal.
    fn effective_ranks(
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
        let (head, tile) = (self.head, Tile::of(self.head));
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
    fn regime(&self) -> Regime {
        match &self.emcl {
            Some(emcl) => emcl.regime(),
            None if self.head.needs().mixes_items => Regime::Transductive,
            None => Regime::Raw,
        }
    }

    /// In words, which items take part in a similarity beside its own pair; `None` where none does.
    fn mixing(&self) -> Option<String> {
        match &self.emcl {
            Some(emcl) => Some(emcl.mixing()),
            None => self.head.needs().mixes_items.then(|| {
                let tile = Tile::of(self.head);
                format!("the head, tiles of {} texts x {} videos", tile.texts, tile.videos)
            }),
        }
    }
}

/// Similarities times `scale`, in memory.
pub(crate) fn to_matrix(similarity: Tensor<2>, scale: f32) -> Result<Array2<f32>, ExperimentError> {
    let [rows, columns] = similarity.dims();
    let values = similarity.into_data().convert::<f32>().iter::<f32>().map(|value| value * scale).collect();
    Array2::from_shape_vec((rows, columns), values)
        .map_err(|error| ExperimentError::work(format!("similarities: {error}")))
}
