//! EMCL without training: a plain function of features of texts and videos, from any head, file or system.
//!
//! ```text
//! X = [videos; texts],  X ← X + weight · X P,  then the cosine of every pair
//! ```
//!
//! Where `P` comes from is the [`Scope`], and it decides the regime that a row of results must name: tiles, as the
//! published module has it, or everything that is scored (*transductive*: other test queries take part), or a bank of
//! training items (*bank*: a query is judged alone).
//!
//! Source: jpthu17/EMCL, `As_an_inference_module/modules/modeling.py`. There `M` is drawn anew in every process; here a
//! seed draws it.

use std::fmt;

use burn::prelude::*;
use tvr_nn::touch;

use super::average::Average;
use super::layer::Layer;
use super::moments::{Moments, gram};
use super::{EmclConfig, NAME};
use crate::error::{HeadError, at_least_one};
use crate::features::first_false;
use crate::tiles::Tile;
use crate::vectors::Vectors;

/// Whose second moments the bases are found from.
#[derive(Clone, Copy, Debug)]
pub enum Scope<'a> {
    /// Of the texts and videos of each tile, as the published code has it: the result depends on the tile.
    Tiles(Tile),
    /// Of all texts and videos that are scored.
    Everything,
    /// Of other items, gathered by [`Inference::bank`].
    Bank(&'a Moments),
}

impl fmt::Display for Scope<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tiles(tile) => write!(formatter, "tiles of {} texts x {} videos", tile.texts, tile.videos),
            Self::Everything => write!(formatter, "all texts and videos at once"),
            Self::Bank(moments) => write!(formatter, "a bank of {} items", moments.n_items()),
        }
    }
}

/// The layer with a start drawn from a seed. [`EmclConfig::at_inference`] makes one.
#[derive(Clone, Debug)]
pub struct Inference {
    layer: Layer,
    average: Average,
    width: usize,
}

impl EmclConfig {
    /// Checks every setting and draws the start from a seed; it seeds the device's generator. `items` plays no part:
    /// every call names its [`Scope`].
    ///
    /// # Errors
    /// [`HeadError::Setting`] names the first setting outside its domain.
    pub fn at_inference(&self, width: usize, seed: u64, device: &Device) -> Result<Inference, HeadError> {
        let width = at_least_one(NAME, "width", width)?;
        let layer = self.layer()?;
        device.seed(seed);
        let average = self.average(1, width, device);
        touch(&average);
        Ok(Inference { layer, average, width })
    }
}

impl Inference {
    /// The same with another start, such as one that training left in a record.
    pub fn with_average(mut self, average: Average) -> Self {
        self.average = average;
        self
    }

    /// The start.
    pub fn average(&self) -> &Average {
        &self.average
    }

    /// Second moments of a bank, block by block, each `[items, width]`.
    ///
    /// # Errors
    /// A block of another width, or with a value that is NaN or infinite.
    pub fn bank(&self, blocks: impl IntoIterator<Item = Tensor<2>>) -> Result<Moments, HeadError> {
        let mut moments = Moments::new(self.width);
        for block in blocks {
            moments.add(&self.layer.input(block))?;
        }
        Ok(moments)
    }

    /// Cosines of all pairs after the layer, `[texts, videos]`.
    ///
    /// - `texts`: `[texts, width]`
    /// - `videos`: `[videos, width]`
    ///
    /// # Errors
    /// Features of another width, none at all, or with a value that is NaN or infinite; a tile of 0; an empty bank.
    pub fn cosines(
        &self,
        texts: &Tensor<2>,
        videos: &Tensor<2>,
        scope: Scope<'_>,
    ) -> Result<Tensor<2>, HeadError> {
        self.scored(texts, videos, scope, Vectors::cosine)
    }

    /// Products of all pairs after the layer: what the published module multiplies by CLIP's scale.
    ///
    /// # Errors
    /// As [`Inference::cosines`].
    pub fn products(
        &self,
        texts: &Tensor<2>,
        videos: &Tensor<2>,
        scope: Scope<'_>,
    ) -> Result<Tensor<2>, HeadError> {
        self.scored(texts, videos, scope, Vectors::product)
    }

    fn scored(
        &self,
        texts: &Tensor<2>,
        videos: &Tensor<2>,
        scope: Scope<'_>,
        score: impl Fn(Vectors) -> Tensor<2>,
    ) -> Result<Tensor<2>, HeadError> {
        self.check("text", texts)?;
        self.check("video", videos)?;
        let start = self.average.start(0);
        let all = Vectors::of_items(texts.clone(), videos.clone());
        let moments = match scope {
            Scope::Tiles(tile) => {
                at_least_one(NAME, "tile", tile.texts.min(tile.videos))?;
                let bands = blocks(texts, tile.texts).map(|texts| {
                    let tiles = blocks(videos, tile.videos).map(|videos| {
                        let vectors = Vectors::of_items(texts.clone(), videos);
                        score(vectors.with_rows(self.layer.of_call(vectors.rows(), &start)))
                    });
                    Tensor::cat(tiles.collect(), 1)
                });
                return Ok(Tensor::cat(bands.collect(), 0));
            }
            Scope::Everything => &self.bank([all.rows()])?,
            Scope::Bank(moments) => moments,
        };
        Ok(score(all.with_rows(self.corrected(all.rows(), moments)?)))
    }

    /// Rows after the layer, with bases from these moments.
    fn corrected(&self, rows: Tensor<2>, moments: &Moments) -> Result<Tensor<2>, HeadError> {
        let gram = moments.gram(&rows.device(), rows.dtype())?;
        let clusters = self.layer.clusters(&gram, &self.average.start(0));
        Ok(self.layer.of_clusters(rows, clusters))
    }

    /// [`effective_rank`] of texts and videos before and after the layer: the paper's claim is that it falls. Of all of
    /// them together; in tiles, where an item has other values in every tile, the mean over the tiles of the diagonal.
    ///
    /// # Errors
    /// As [`Inference::cosines`].
    pub fn effective_ranks(
        &self,
        texts: &Tensor<2>,
        videos: &Tensor<2>,
        scope: Scope<'_>,
    ) -> Result<[f64; 2], HeadError> {
        self.check("text", texts)?;
        self.check("video", videos)?;
        let ranks = |rows: Tensor<2>, after: &Tensor<2>| {
            [effective_rank(&self.layer.input(rows)), effective_rank(after)]
        };
        let rows = Vectors::of_items(texts.clone(), videos.clone()).rows();
        let after = match scope {
            Scope::Tiles(tile) => {
                at_least_one(NAME, "tile", tile.texts.min(tile.videos))?;
                let start = self.average.start(0);
                let tiles = blocks(texts, tile.texts).zip(blocks(videos, tile.videos));
                let tiles = tiles.map(|(texts, videos)| {
                    let rows = Vectors::of_items(texts, videos).rows();
                    ranks(rows.clone(), &self.layer.of_call(rows, &start))
                });
                let tiles: Vec<[f64; 2]> = tiles.collect();
                let mean =
                    |side: usize| tiles.iter().map(|tile| tile[side]).sum::<f64>() / tiles.len() as f64;
                return Ok([mean(0), mean(1)]);
            }
            Scope::Everything => self.corrected(rows.clone(), &self.bank([rows.clone()])?)?,
            Scope::Bank(moments) => self.corrected(rows.clone(), moments)?,
        };
        Ok(ranks(rows, &after))
    }

    fn check(&self, what: &'static str, features: &Tensor<2>) -> Result<(), HeadError> {
        let [items, width] = features.dims();
        if items == 0 {
            return Err(HeadError::Empty { what: if what == "text" { "texts" } else { "videos" } });
        }
        if width != self.width {
            let (expected, found) = (vec![items, self.width], vec![items, width]);
            return Err(HeadError::Shape { what: "a block of items", expected, found });
        }
        match first_false(features.clone().is_finite().all_dim(1)) {
            Some(item) => Err(HeadError::NotFinite { what, item }),
            None => Ok(()),
        }
    }
}

/// How many directions items spread over: `(Σ σ²)² / Σ σ⁴` of their singular values `σ`. It is 1 for items on one line,
/// the width for items that spread alike in all directions, and 0 for zeros; a plain rank would count a direction that
/// rounding alone fills.
///
/// - `items`: `[items, width]`
pub fn effective_rank(items: &Tensor<2>) -> f64 {
    let gram = gram(items);
    let [total, squares] = [items, &gram].map(|x| tvr_nn::sum(x.clone().square()).into_scalar::<f64>());
    if squares > 0.0 { total * total / squares } else { 0.0 }
}

fn blocks(items: &Tensor<2>, size: usize) -> impl Iterator<Item = Tensor<2>> {
    let [count, _] = items.dims();
    (0..count)
        .step_by(size)
        .map(move |start| items.clone().slice_dim(0, start..count.min(start.saturating_add(size))))
}
