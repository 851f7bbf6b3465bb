//! Where scores come from: a matrix, or embeddings multiplied block by block, so that the matrix never exists.

use crate::error::NormalizeError;
use ndarray::{ArrayView2, ArrayViewMut2, CowArray, Ix2, linalg::general_mat_mul, s};
use std::ops::Range;

/// Rows of a block unless the source asks for another number.
const BLOCK_ROWS: usize = 32;

/// Scores `[queries, gallery]` that can be read a block of rows at a time, several times over.
pub trait ScoreSource: Sync {
    /// `[queries, gallery]`.
    fn shape(&self) -> [usize; 2];

    /// The scores of some rows, row by row. `scratch` may hold them; its content before the call is of no use.
    fn block<'a>(&'a self, rows: Range<usize>, scratch: &'a mut Vec<f32>) -> &'a [f32];

    /// How many rows one block should have.
    fn block_rows(&self) -> usize {
        BLOCK_ROWS
    }
}

/// A matrix in memory. Rows that do not lie one after the other are copied once.
#[derive(Debug)]
pub struct MatrixSource<'a> {
    scores: CowArray<'a, f32, Ix2>, // standard layout
}

impl<'a> MatrixSource<'a> {
    /// The scores of `[queries, gallery]`.
    pub fn new(scores: ArrayView2<'a, f32>) -> Self {
        let scores = match scores.is_standard_layout() {
            true => CowArray::from(scores),
            false => CowArray::from(scores.as_standard_layout().into_owned()),
        };
        Self { scores }
    }

    /// All scores, row by row.
    pub(crate) fn values(&self) -> &[f32] {
        self.scores.as_slice().unwrap_or_default()
    }
}

impl ScoreSource for MatrixSource<'_> {
    fn shape(&self) -> [usize; 2] {
        [self.scores.nrows(), self.scores.ncols()]
    }

    fn block<'a>(&'a self, rows: Range<usize>, _scratch: &'a mut Vec<f32>) -> &'a [f32] {
        let gallery = self.scores.ncols();
        &self.values()[rows.start * gallery..rows.end * gallery]
    }
}

/// Embeddings of both sides; a score is an inner product times a scale, made when it is needed.
#[derive(Debug)]
pub struct EmbeddingSource<'a> {
    queries: ArrayView2<'a, f32>, // [queries, width]
    gallery: ArrayView2<'a, f32>, // [gallery, width]
    scale: f32,
    block_rows: usize,
}

impl<'a> EmbeddingSource<'a> {
    /// Queries `[queries, width]` and gallery `[gallery, width]`; unit rows give cosines at `scale` 1.
    ///
    /// # Errors
    /// [`NormalizeError::EmbeddingWidth`] if the widths differ, [`NormalizeError::NotFinite`] at the first value
    /// that is not finite.
    pub fn new(
        queries: ArrayView2<'a, f32>,
        gallery: ArrayView2<'a, f32>,
        scale: f32,
    ) -> Result<Self, NormalizeError> {
        if queries.ncols() != gallery.ncols() {
            return Err(NormalizeError::EmbeddingWidth {
                queries: queries.ncols(),
                gallery: gallery.ncols(),
            });
        }
        for (block, values) in [("query embeddings", queries), ("gallery embeddings", gallery)] {
            if let Some(((row, column), value)) = values.indexed_iter().find(|(_, v)| !v.is_finite()) {
                return Err(NormalizeError::NotFinite { block, row, column, value: value.to_string() });
            }
        }
        Ok(Self { queries, gallery, scale, block_rows: BLOCK_ROWS })
    }

    /// The same with blocks of `rows` rows (at least 1): more memory, fewer products.
    pub fn with_block_rows(self, rows: usize) -> Self {
        Self { block_rows: rows.max(1), ..self }
    }
}

impl ScoreSource for EmbeddingSource<'_> {
    fn shape(&self) -> [usize; 2] {
        [self.queries.nrows(), self.gallery.nrows()]
    }

    fn block<'a>(&'a self, rows: Range<usize>, scratch: &'a mut Vec<f32>) -> &'a [f32] {
        let gallery = self.gallery.nrows();
        let shape = (rows.len(), gallery);
        scratch.resize(rows.len() * gallery, 0.0);
        if let Ok(mut out) = ArrayViewMut2::from_shape(shape, scratch) {
            general_mat_mul(self.scale, &self.queries.slice(s![rows, ..]), &self.gallery.t(), 0.0, &mut out);
        }
        scratch
    }

    fn block_rows(&self) -> usize {
        self.block_rows
    }
}
