//! The matrix product under a linear layer.
//!
//! It is that of the library which flex uses too, into memory that nobody has filled before: flex fills the output with
//! zeros and copies it once more for its alignment, both on one thread.
//!
//! A right factor that is a transposed view, as the weights are in the gradient of a layer's input, has to be packed. The
//! library shares rows of the output over the cores, and each core then packs all of the weights. Here each packs its own
//! columns of them, unless the left factor is so long that packing does not show.

use std::ops::Range;

use burn::backend::flex::FlexTensor;
use burn::tensor::TensorData;
use rayon::prelude::*;

/// From so many multiplications on a product runs on all cores, as in flex.
const PARALLEL: usize = 192 * 192 * 192;

/// A task has columns in multiples of as many: whole registers of every kernel.
const COLUMNS: usize = 64;

/// At most so many tasks, whatever the machine: its threads must not change the sums.
const TASKS: usize = 16;

/// A left factor of so many times the output's columns is long.
const LONG: usize = 4;

/// Values from a matrix's first one on, and how far its rows and its columns lie from one another.
#[derive(Clone, Copy)]
struct Factor<'a> {
    values: &'a [f32],
    row: isize,
    column: isize,
}

/// Where the output begins. Tasks write different columns of it.
#[derive(Clone, Copy)]
struct Output(*mut f32);

// SAFETY: of its memory no task reads anything, and no two tasks write the same.
unsafe impl Send for Output {}
// SAFETY: as above.
unsafe impl Sync for Output {}

/// `left · right` of two f32 matrices, views of any strides: `[rows, inner]` and `[inner, columns]`.
pub(super) fn product(left: &FlexTensor, right: &FlexTensor) -> FlexTensor {
    let [rows, inner] = [0, 1].map(|axis| left.layout().shape()[axis]);
    let columns = right.layout().shape()[1];
    assert_eq!(inner, right.layout().shape()[0], "the inner sizes of a product are one");
    let (left, right) = (Factor::of(left), Factor::of(right));
    let mut values: Vec<f32> = Vec::with_capacity(rows * columns);
    let out = Output(values.as_mut_ptr());
    let all = |cores| columns_of(out, [rows, inner, columns], left, right, 0..columns, cores);
    let packed = right.row == 1 && right.column != 1;
    if rows.saturating_mul(inner).saturating_mul(columns) < PARALLEL {
        all(gemm::Parallelism::None);
    } else if packed && rows <= LONG * columns {
        let width = columns.div_ceil(TASKS).next_multiple_of(COLUMNS);
        let starts = (0..columns).into_par_iter().step_by(width).with_max_len(1);
        starts.for_each(|start| {
            let own = start..(start + width).min(columns);
            columns_of(out, [rows, inner, columns], left, right, own, gemm::Parallelism::None);
        });
    } else {
        all(gemm::Parallelism::Rayon(0));
    }
    // SAFETY: all columns are written, with zeros where `inner` is 0.
    unsafe { values.set_len(rows * columns) };
    FlexTensor::from_data(TensorData::new(values, [rows, columns]))
}

impl<'a> Factor<'a> {
    fn of(x: &'a FlexTensor) -> Self {
        let layout = x.layout();
        Self {
            values: &x.storage::<f32>()[layout.start_offset()..],
            row: layout.strides()[0],
            column: layout.strides()[1],
        }
    }
}

/// Some columns of the output.
///
/// - `sizes`: rows, inner, and columns of the whole output
fn columns_of(
    out: Output,
    [rows, inner, columns]: [usize; 3],
    left: Factor<'_>,
    right: Factor<'_>,
    own: Range<usize>,
    cores: gemm::Parallelism,
) {
    // SAFETY: a layout's strides stay inside its storage, and `own` inside the columns. `gemm` reads nothing of its output
    // (`read_dst` is false).
    unsafe {
        gemm::gemm(
            rows,
            own.len(),
            inner,
            out.0.add(own.start),
            1,
            columns as isize,
            false,
            left.values.as_ptr(),
            left.column,
            left.row,
            right.values.as_ptr().offset(own.start as isize * right.column),
            right.column,
            right.row,
            0.0f32,
            1.0f32,
            false,
            false,
            false,
            cores,
        );
    }
}
