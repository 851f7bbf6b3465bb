//! Where scores come from: a matrix, or embeddings multiplied block by block, so that the matrix never exists.

use crate::error::NormalizeError;
use ndarray::{ArrayView2, ArrayViewMut2, CowArray, Ix2, linalg::general_mat_mul, s};
use std::ops::Range;

/// Rows of a block unless the source asks for another number.
const BLOCK_ROWS: usize = 32;

/// Scores `[queries, gallery]` that can be read a block at a time, several times over.
pub trait ScoreSource: Sync {
    /// `[queries, gallery]`.
    fn shape(&self) -> [usize; 2];

    /// The scores of some rows, row by row. `scratch` may hold them; its content before the call is of no use.
    fn block<'a>(&'a self, rows: Range<usize>, scratch: &'a mut Vec<f32>) -> &'a [f32];

    /// The scores of some rows and columns. Unless a source knows better, it makes the whole rows.
    fn tile<'a>(&'a self, rows: Range<usize>, columns: Range<usize>, scratch: &'a mut Vec<f32>) -> Tile<'a> {
        let [_, stride] = self.shape();
        Tile { values: &self.block(rows, scratch)[columns.start..], width: columns.len(), stride }
    }

    /// How many rows one block should have.
    fn block_rows(&self) -> usize {
        BLOCK_ROWS
    }

    /// What an error calls these scores.
    fn name(&self) -> &'static str {
        "scores"
    }

    /// All scores, row by row, where they lie in memory. A method may then take a faster way.
    fn matrix(&self) -> Option<&[f32]> {
        None
    }
}

/// Some rows and columns of scores.
#[derive(Clone, Copy, Debug)]
pub struct Tile<'a> {
    values: &'a [f32],
    width: usize,
    stride: usize,
}

impl<'a> Tile<'a> {
    /// Rows of `width` scores, of which the next begins `stride` values later.
    pub fn new(values: &'a [f32], width: usize, stride: usize) -> Self {
        Self { values, width, stride }
    }

    /// Its rows, in order.
    pub fn rows(&self) -> impl Iterator<Item = &'a [f32]> + use<'a> {
        let width = self.width;
        self.values.chunks(self.stride).map(move |row| &row[..width])
    }
}

/// A matrix in memory. Rows that do not lie one after the other are copied once.
#[derive(Debug)]
pub struct MatrixSource<'a> {
    scores: CowArray<'a, f32, Ix2>, // standard layout
    name: &'static str,
}

impl<'a> MatrixSource<'a> {
    /// The scores of `[queries, gallery]`.
    pub fn new(scores: ArrayView2<'a, f32>) -> Self {
        let scores = if scores.is_standard_layout() {
            CowArray::from(scores)
        } else {
            CowArray::from(scores.as_standard_layout().into_owned())
        };
        Self { scores, name: "scores" }
    }

    /// The same under another name in errors.
    pub fn named(self, name: &'static str) -> Self {
        Self { name, ..self }
    }

    fn values(&self) -> &[f32] {
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

    fn name(&self) -> &'static str {
        self.name
    }

    fn matrix(&self) -> Option<&[f32]> {
        Some(self.values())
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

    fn product<'s>(&self, rows: Range<usize>, columns: Range<usize>, scratch: &'s mut Vec<f32>) -> &'s [f32] {
        let shape = (rows.len(), columns.len());
        scratch.resize(rows.len() * columns.len(), 0.0);
        if let Ok(mut out) = ArrayViewMut2::from_shape(shape, scratch) {
            let (queries, gallery) = (self.queries.slice(s![rows, ..]), self.gallery.slice(s![columns, ..]));
            general_mat_mul(self.scale, &queries, &gallery.t(), 0.0, &mut out);
        }
        scratch
    }
}

impl ScoreSource for EmbeddingSource<'_> {
    fn shape(&self) -> [usize; 2] {
        [self.queries.nrows(), self.gallery.nrows()]
    }

    fn block<'a>(&'a self, rows: Range<usize>, scratch: &'a mut Vec<f32>) -> &'a [f32] {
        self.product(rows, 0..self.gallery.nrows(), scratch)
    }

    fn tile<'a>(&'a self, rows: Range<usize>, columns: Range<usize>, scratch: &'a mut Vec<f32>) -> Tile<'a> {
        let width = columns.len();
        Tile { values: self.product(rows, columns, scratch), width, stride: width }
    }

    fn block_rows(&self) -> usize {
        self.block_rows
    }
}

/// Two sources with the same queries, side by side: the gallery of the first, then that of the second.
pub(crate) struct Beside<'a> {
    pub(crate) left: &'a dyn ScoreSource,
    pub(crate) right: &'a dyn ScoreSource,
}

impl ScoreSource for Beside<'_> {
    fn shape(&self) -> [usize; 2] {
        let ([queries, left], [_, right]) = (self.left.shape(), self.right.shape());
        [queries, left + right]
    }

    fn block<'a>(&'a self, rows: Range<usize>, scratch: &'a mut Vec<f32>) -> &'a [f32] {
        let ([_, left_width], [_, right_width]) = (self.left.shape(), self.right.shape());
        let (mut left, mut right) = (Vec::new(), Vec::new());
        let left = self.left.block(rows.clone(), &mut left);
        let right = self.right.block(rows, &mut right);
        scratch.clear();
        for (left, right) in left.chunks_exact(left_width).zip(right.chunks_exact(right_width)) {
            scratch.extend_from_slice(left);
            scratch.extend_from_slice(right);
        }
        scratch
    }

    fn block_rows(&self) -> usize {
        self.left.block_rows()
    }

    fn name(&self) -> &'static str {
        "bank and its gallery"
    }
}

/// A source with one more query at its end.
pub(crate) struct WithRow<'a> {
    pub(crate) source: &'a dyn ScoreSource,
    pub(crate) row: &'a [f32],
}

impl ScoreSource for WithRow<'_> {
    fn shape(&self) -> [usize; 2] {
        let [queries, gallery] = self.source.shape();
        [queries + 1, gallery]
    }

    fn block<'a>(&'a self, rows: Range<usize>, scratch: &'a mut Vec<f32>) -> &'a [f32] {
        let [queries, _] = self.source.shape();
        if rows.end <= queries {
            return self.source.block(rows, scratch);
        }
        if rows.start >= queries {
            return self.row;
        }
        let mut before = Vec::new();
        let before = self.source.block(rows.start..queries, &mut before);
        scratch.clear();
        scratch.extend_from_slice(before);
        scratch.extend_from_slice(self.row);
        scratch
    }

    fn block_rows(&self) -> usize {
        self.source.block_rows()
    }

    fn name(&self) -> &'static str {
        self.source.name()
    }
}
