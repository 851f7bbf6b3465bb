//! The matrix product under a linear layer.
//!
//! It is that of the library which flex uses too, into memory that nobody has filled before: flex fills the output with
//! zeros and copies it once more for its alignment, both on one thread.
//!
//! Every core computes tiles of the output by itself. It is cut along its longer side, since what every core packs is then of the
//! shorter: in a layer's forward pass mostly along rows, so that a core reads those which it has written before. Where the
//! right factor is a transposed view, as the weights are in the gradient of a layer's input, columns are cut: those have to
//! be packed value by value, and each core packs its own.
//!
//! How many tiles there are depends on the number of threads, their values do not: the library adds up along the inner axis
//! in blocks whose size depends on that axis alone. Only outputs of 64 by 64 or less, single rows or columns, and dot products
//! for at most 256 values take another way there, and no tile is that small unless the output is.

use std::ops::Range;

use burn::backend::flex::FlexTensor;
use burn::tensor::TensorData;
use rayon::prelude::*;

use super::loops;
use super::ops::slice;

/// From so many multiplications on a product runs on all cores, as in flex.
const PARALLEL: usize = 192 * 192 * 192;

/// A side is cut into parts of at least so much: what a tile packs is then little beside its work.
const NARROWEST: usize = 128;

/// A tile of a cut output has about as many values or more: the library has a way of its own for 256 or fewer.
const FEWEST: usize = 512;

/// Columns are cut in multiples of as many: whole registers of every kernel.
const COLUMNS: usize = 64;

/// So many tiles of columns for a thread, unless each would pack a transposed left factor anew: cores are not equally fast.
const TILES: usize = 4;

/// Where in memory a matrix begins, and how far its rows and its columns lie from one another: backwards in a flipped view.
#[derive(Clone, Copy)]
pub(super) struct Factor<'a> {
    pub values: &'a [f32],
    pub start: usize,
    pub row: isize,
    pub column: isize,
}

/// Where the output begins. Tasks write different tiles of it.
#[derive(Clone, Copy)]
pub(super) struct Output(pub(super) *mut f32);

// SAFETY: of its memory a task reads only what it wrote, and no two tasks write the same.
unsafe impl Send for Output {}
// SAFETY: as above.
unsafe impl Sync for Output {}

impl Output {
    /// From one of its values on.
    ///
    /// # Safety
    /// It has as many.
    pub(super) unsafe fn from(self, place: usize) -> Self {
        // SAFETY: the caller's promise.
        Self(unsafe { self.0.add(place) })
    }
}

/// `left · right + bias` of f32 matrices, views of any strides: `[rows, inner]`, `[inner, columns]` and, where there is one,
/// `[columns]`.
pub(super) fn product(left: &FlexTensor, right: &FlexTensor, bias: Option<&FlexTensor>) -> FlexTensor {
    let [rows, inner] = [0, 1].map(|axis| left.layout().shape()[axis]);
    let columns = right.layout().shape()[1];
    assert_eq!(inner, right.layout().shape()[0], "the inner sizes of a product are one");
    let (left, right) = (Factor::of(left), Factor::of(right));
    let bias = bias.map(FlexTensor::to_contiguous);
    let bias = bias.as_ref().map(slice);
    let mut values: Vec<f32> = Vec::with_capacity(rows * columns);
    let out = Output(values.as_mut_ptr());
    let sizes = [rows, inner, columns];
    let tile = |rows, columns| tile(out, sizes, left, right, bias, rows, columns);
    if rows.saturating_mul(inner).saturating_mul(columns) < PARALLEL {
        tile(0..rows, 0..columns);
    } else {
        let turned = [left.row == 1 && left.column != 1, right.row == 1 && right.column != 1];
        let [by_rows, by_columns] = cuts(rows, columns, turned, rayon::current_num_threads());
        let tiles = (0..by_rows * by_columns).into_par_iter().with_max_len(1);
        tiles.for_each(|number| {
            let (row, column) = (number % by_rows, number / by_rows);
            tile(share(rows, row, by_rows, 1), share(columns, column, by_columns, COLUMNS));
        });
    }
    // SAFETY: all tiles are written, with zeros where `inner` is 0.
    unsafe { values.set_len(rows * columns) };
    FlexTensor::from_data(TensorData::new(values, [rows, columns]))
}

/// Into how many parts an output's rows and its columns are cut.
///
/// - `turned`: whether the left and the right factor lie transposed
fn cuts(rows: usize, columns: usize, [left, right]: [bool; 2], threads: usize) -> [usize; 2] {
    let cut = |size: usize, other: usize, wanted: usize| {
        let part = NARROWEST.max(FEWEST.div_ceil(other.max(1)));
        wanted.min(size / part).max(1)
    };
    if right || columns > rows {
        let by_columns = cut(columns, rows, if left { threads } else { TILES * threads });
        [cut(rows, columns, threads.div_ceil(by_columns)), by_columns]
    } else {
        let by_rows = cut(rows, columns, threads);
        [by_rows, cut(columns, rows, threads.div_ceil(by_rows))]
    }
}

/// One of several shares of some rows or columns, beginning at a multiple of `unit`.
fn share(size: usize, number: usize, of: usize, unit: usize) -> Range<usize> {
    let start = |number: usize| if number == of { size } else { number * size / of / unit * unit };
    start(number)..start(number + 1)
}

impl<'a> Factor<'a> {
    fn of(x: &'a FlexTensor) -> Self {
        let layout = x.layout();
        Self {
            values: x.storage::<f32>(),
            start: layout.start_offset(),
            row: layout.strides()[0],
            column: layout.strides()[1],
        }
    }

    /// A matrix that lies row by row.
    pub(super) fn upright(values: &'a [f32], columns: usize) -> Self {
        Self { values, start: 0, row: columns as isize, column: 1 }
    }

    pub(super) fn transposed(self) -> Self {
        Self { row: self.column, column: self.row, ..self }
    }

    /// From one row and one column on.
    fn from(self, row: usize, column: usize) -> Self {
        let start = self.start as isize + row as isize * self.row + column as isize * self.column;
        Self { start: start as usize, ..self }
    }
}

/// Some rows and columns of the output.
///
/// - `sizes`: rows, inner, and columns of the whole
fn tile(
    out: Output,
    [_, inner, columns]: [usize; 3],
    left: Factor<'_>,
    right: Factor<'_>,
    bias: Option<&[f32]>,
    own_rows: Range<usize>,
    own_columns: Range<usize>,
) {
    if own_rows.is_empty() || own_columns.is_empty() {
        return;
    }
    let width = own_columns.len();
    let (left, right) = (left.from(own_rows.start, 0), right.from(0, own_columns.start));
    // SAFETY: the tile lies inside the output, and is this task's.
    let first = unsafe { out.from(own_rows.start * columns + own_columns.start) };
    unsafe { multiply(first, columns, [own_rows.len(), inner, width], left, right) };
    let Some(bias) = bias else { return };
    for row in 0..own_rows.len() {
        // SAFETY: a row of this task's own tile, written above.
        let row = unsafe { std::slice::from_raw_parts_mut(first.from(row * columns).0, width) };
        loops::add(&bias[own_columns.clone()], row);
    }
}

/// `left · right` on this core; zeros where `inner` is 0.
///
/// - `row`: how far rows of the output lie from one another; its columns are neighbours
/// - `sizes`: rows, inner, columns
///
/// # Safety
/// The output has memory for as many rows and columns, which nobody else uses meanwhile. It may be uninitialised.
pub(super) unsafe fn multiply(
    out: Output,
    row: usize,
    [rows, inner, columns]: [usize; 3],
    left: Factor<'_>,
    right: Factor<'_>,
) {
    // SAFETY: the caller's promise for the output, of which nothing is read that was not written here (`read_dst` is false); a
    // layout's strides stay inside its storage.
    unsafe {
        gemm::gemm(
            rows,
            columns,
            inner,
            out.0,
            1,
            row as isize,
            false,
            left.values.as_ptr().add(left.start),
            left.column,
            left.row,
            right.values.as_ptr().add(right.start),
            right.column,
            right.row,
            0.0f32,
            1.0f32,
            false,
            false,
            false,
            gemm::Parallelism::None,
        );
    }
}
