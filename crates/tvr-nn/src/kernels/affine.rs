//! A linear layer, forward and back, and the matrix product under it.
//!
//! ```text
//! y = x W + b          dx = g Wᵀ      dW = xᵀ g      db = the sum of g's rows
//! ```
//!
//! The product is that of the library which flex uses too, into memory that nobody has filled before: flex fills the
//! output with zeros and copies it once more for its alignment, both on one thread. Of the input and the weights only
//! what another's gradient needs is kept. The sum of rows is made share by share, then over the shares in their order.

use burn::backend::autodiff::{
    checkpoint::{base::Checkpointer, strategy::CheckpointStrategy},
    grads::Gradients,
    ops::{Backward, Ops, OpsKind},
};
use burn::backend::flex::FlexTensor;
use burn::backend::tensor::FloatTensor;
use burn::backend::{Autodiff, Backend, Flex, backend_extension};
use burn::tensor::TensorData;
use rayon::prelude::*;

use super::loops::rows_of_a_task;
use super::ops::{like, slice};
use crate::widest;

/// From so many multiplications on a product runs on all cores, as in flex.
const PARALLEL: usize = 192 * 192 * 192;

/// The operation, on a matrix.
#[backend_extension(Flex, Autodiff)]
pub trait Affine: Backend {
    fn affine(x: FloatTensor<Self>, weight: FloatTensor<Self>, bias: FloatTensor<Self>) -> FloatTensor<Self>;
}

impl Affine for Flex {
    fn affine(x: FlexTensor, weight: FlexTensor, bias: FlexTensor) -> FlexTensor {
        let (mut y, bias) = (product(&x, &weight), bias.to_contiguous());
        let (values, bias) = (y.storage_mut::<f32>(), slice(&bias));
        values.par_chunks_mut(rows_of_a_task(bias.len()) * bias.len()).for_each(|rows| add_bias(rows, bias));
        y
    }
}

#[inline(always)]
fn bias_body(rows: &mut [f32], bias: &[f32]) {
    for row in rows.chunks_exact_mut(bias.len()) {
        for (x, &bias) in row.iter_mut().zip(bias) {
            *x += bias;
        }
    }
}
widest!(add_bias = bias_body(rows: &mut [f32], bias: &[f32]));

/// The sum of a matrix's rows.
fn sum_of_rows(x: FlexTensor, bias: &FlexTensor) -> FlexTensor {
    let (x, mut out) = (x.to_contiguous(), like(bias));
    let sums = out.storage_mut::<f32>();
    let share = rows_of_a_task(sums.len()) * sums.len();
    let of_share = |rows: &[f32]| {
        let mut sum = vec![0.0; sums.len()];
        add_rows(rows, &mut sum);
        sum
    };
    let shares: Vec<Vec<f32>> = slice(&x).par_chunks(share).map(of_share).collect();
    sums.fill(0.0);
    shares.iter().for_each(|share| add_rows(share, sums));
    out
}

#[inline(always)]
fn rows_body(rows: &[f32], sum: &mut [f32]) {
    for row in rows.chunks_exact(sum.len()) {
        for (&x, sum) in row.iter().zip(sum.iter_mut()) {
            *sum += x;
        }
    }
}
widest!(add_rows = rows_body(rows: &[f32], sum: &mut [f32]));

/// `left · right` of two f32 matrices, views of any strides: `[rows, inner]` and `[inner, columns]`.
fn product(left: &FlexTensor, right: &FlexTensor) -> FlexTensor {
    let [rows, inner] = [0, 1].map(|axis| left.layout().shape()[axis]);
    let columns = right.layout().shape()[1];
    assert_eq!(inner, right.layout().shape()[0], "the inner sizes of a product are one");
    let of = |x: &FlexTensor| (x.layout().strides()[0], x.layout().strides()[1]);
    let ((left_row, left_column), (right_row, right_column)) = (of(left), of(right));
    let parallelism = match rows.saturating_mul(inner).saturating_mul(columns) {
        work if work >= PARALLEL => gemm::Parallelism::Rayon(0),
        _ => gemm::Parallelism::None,
    };
    let (left_values, right_values) = (from_start(left), from_start(right));
    let mut out: Vec<f32> = Vec::with_capacity(rows * columns);
    // SAFETY: a layout's strides stay inside its storage. `gemm` reads nothing of its output (`read_dst` is false) and
    // writes all of it, zeros where `inner` is 0, before its length is set.
    unsafe {
        gemm::gemm(
            rows,
            columns,
            inner,
            out.as_mut_ptr(),
            1,
            columns as isize,
            false,
            left_values.as_ptr(),
            left_column,
            left_row,
            right_values.as_ptr(),
            right_column,
            right_row,
            0.0f32,
            1.0f32,
            false,
            false,
            false,
            parallelism,
        );
        out.set_len(rows * columns);
    }
    FlexTensor::from_data(TensorData::new(out, [rows, columns]))
}

/// The storage from a tensor's first value on.
fn from_start(x: &FlexTensor) -> &[f32] {
    &x.storage::<f32>()[x.layout().start_offset()..]
}

impl<C: CheckpointStrategy> Affine for Autodiff<Flex, C> {
    fn affine(x: FloatTensor<Self>, weight: FloatTensor<Self>, bias: FloatTensor<Self>) -> FloatTensor<Self> {
        #[derive(Debug)]
        struct Step;
        impl Backward<Flex, 3> for Step {
            /// `x` if the weight learns, the weight if `x` does, the bias.
            type State = (Option<FlexTensor>, Option<FlexTensor>, FlexTensor);
            fn backward(self, ops: Ops<Self::State, 3>, gradients: &mut Gradients, _: &mut Checkpointer) {
                let gradient = gradients.consume::<Flex>(&ops.node);
                let ([x_node, weight_node, bias_node], (x, weight, bias)) = (ops.parents, ops.state);
                if let Some(node) = bias_node {
                    gradients.register::<Flex>(node.id, sum_of_rows(gradient.clone(), &bias));
                }
                if let (Some(node), Some(x)) = (weight_node, x) {
                    gradients.register::<Flex>(node.id, product(&x.transpose(0, 1), &gradient));
                }
                if let (Some(node), Some(weight)) = (x_node, weight) {
                    gradients.register::<Flex>(node.id, product(&gradient, &weight.transpose(0, 1)));
                }
            }
        }
        let (x_learns, weight_learns) = (x.is_tracked(), weight.is_tracked());
        let ((x, x_node), (weight, weight_node)) = (x.into_parts(), weight.into_parts());
        let (bias, bias_node) = bias.into_parts();
        match Step.prepare::<C>([x_node, weight_node, bias_node]).compute_bound().stateful() {
            OpsKind::Tracked(step) => {
                let state =
                    (weight_learns.then(|| x.clone()), x_learns.then(|| weight.clone()), bias.clone());
                step.finish(state, Flex::affine(x, weight, bias))
            }
            OpsKind::UnTracked(step) => step.finish(Flex::affine(x, weight, bias)),
        }
    }
}
