//! The kernels as operations of burn: one trait, its implementation for flex, and the backward steps.

use burn::backend::autodiff::{
    checkpoint::{base::Checkpointer, strategy::CheckpointStrategy},
    grads::Gradients,
    ops::{Backward, Ops, OpsKind},
};
use burn::backend::flex::FlexTensor;
use burn::backend::tensor::FloatTensor;
use burn::backend::{Autodiff, Backend, Flex, Scalar, TensorMetadata, backend_extension};
use burn::tensor::TensorData;
use rayon::prelude::*;

use super::loops::{self, CHUNK, rows_of_a_task};
use super::{Pointwise, Visible, log_sum_exp};
use crate::activation::QUICK_SLOPE;

/// The fused operations. The gradients have bodies of plain operations, which serve second derivatives.
#[backend_extension(Flex, Autodiff)]
pub trait Fused: Backend {
    fn added(x: FloatTensor<Self>, y: FloatTensor<Self>) -> FloatTensor<Self>;

    fn pointwise(x: FloatTensor<Self>, function: Pointwise) -> FloatTensor<Self>;

    fn pointwise_gradient(
        x: FloatTensor<Self>,
        gradient: FloatTensor<Self>,
        function: Pointwise,
    ) -> FloatTensor<Self> {
        let slope = match function {
            // σ + 1.702 x σ (1 − σ)
            Pointwise::QuickGelu => {
                let scaled = Self::float_mul_scalar(x, Scalar::from(QUICK_SLOPE));
                let gate = Self::sigmoid(scaled.clone());
                let rest = Self::float_add_scalar(Self::float_neg(gate.clone()), Scalar::from(1.0f32));
                let bend = Self::float_mul(Self::float_mul(scaled, gate.clone()), rest);
                Self::float_add(gate, bend)
            }
            // Φ + x φ
            Pointwise::Gelu => {
                let root = Self::float_mul_scalar(x.clone(), Scalar::from(std::f32::consts::FRAC_1_SQRT_2));
                let erf = Self::float_add_scalar(Self::float_erf(root), Scalar::from(1.0f32));
                let share = Self::float_mul_scalar(erf, Scalar::from(0.5f32));
                let power =
                    Self::float_mul_scalar(Self::float_mul(x.clone(), x.clone()), Scalar::from(-0.5f32));
                let density = Self::float_mul_scalar(Self::float_exp(power), Scalar::from(loops::DENSITY));
                Self::float_add(share, Self::float_mul(x, density))
            }
        };
        Self::float_mul(slope, gradient)
    }

    fn visible_softmax(scores: FloatTensor<Self>, visible: Visible) -> FloatTensor<Self>;

    fn softmax_gradient(
        weights: FloatTensor<Self>,
        gradient: FloatTensor<Self>,
        scale: f32,
    ) -> FloatTensor<Self> {
        let last = weights.rank() - 1;
        let inner = Self::float_sum_dim(Self::float_mul(weights.clone(), gradient.clone()), last);
        let moved = Self::float_mul(weights, Self::float_sub(gradient, inner));
        Self::float_mul_scalar(moved, Scalar::from(scale))
    }

    fn log_sum_exp(x: FloatTensor<Self>, bias: FloatTensor<Self>, dim: usize) -> FloatTensor<Self>;

    fn log_sum_exp_gradient(
        x: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        out: FloatTensor<Self>,
        gradient: FloatTensor<Self>,
        _dim: usize,
    ) -> FloatTensor<Self> {
        let share = Self::float_exp(Self::float_sub(Self::float_add(x, bias), out));
        Self::float_mul(share, gradient)
    }
}

impl Fused for Flex {
    fn added(x: FlexTensor, y: FlexTensor) -> FlexTensor {
        let x = x.to_contiguous();
        changed(y, CHUNK, |chunk, values| loops::add(part(&x, chunk * CHUNK, values), values)).0
    }

    fn pointwise(x: FlexTensor, function: Pointwise) -> FlexTensor {
        changed(x, CHUNK, |_, values| loops::pointwise(values, function)).0
    }

    fn pointwise_gradient(x: FlexTensor, gradient: FlexTensor, function: Pointwise) -> FlexTensor {
        let x = x.to_contiguous();
        changed(gradient, CHUNK, |chunk, gradient| {
            loops::pointwise_gradient(part(&x, chunk * CHUNK, gradient), gradient, function);
        })
        .0
    }

    fn visible_softmax(scores: FlexTensor, visible: Visible) -> FlexTensor {
        let shape = [0, 1, 2, 3].map(|axis| scores.layout().shape()[axis]);
        let rows = rows_of_a_task(shape[3]);
        let task = |task, scores: &mut [f32]| loops::softmax(scores, task * rows, shape, &visible);
        changed(scores, rows * shape[3], task).0
    }

    fn softmax_gradient(weights: FlexTensor, gradient: FlexTensor, scale: f32) -> FlexTensor {
        let weights = weights.to_contiguous();
        let keys = weights.layout().shape()[3];
        let size = rows_of_a_task(keys) * keys;
        changed(gradient, size, |task, gradient| {
            loops::softmax_gradient_rows(part(&weights, task * size, gradient), gradient, keys, scale);
        })
        .0
    }

    fn log_sum_exp(x: FlexTensor, bias: FlexTensor, dim: usize) -> FlexTensor {
        let [rows, columns] = [0, 1].map(|axis| x.layout().shape()[axis]);
        let shape = if dim == 1 { [rows, 1] } else { [1, columns] };
        let mut out = FlexTensor::empty(shape.into(), x.dtype());
        let turned = is_turned(&x);
        let (x, bias) = (upright(x), bias.to_contiguous());
        let along_rows = (dim == 1) != turned;
        let run = if along_rows { log_sum_exp::of_rows } else { log_sum_exp::of_columns };
        run(slice(&x), 1.0, slice(&bias), out.storage_mut::<f32>());
        out
    }

    fn log_sum_exp_gradient(
        x: FlexTensor,
        bias: FlexTensor,
        out: FlexTensor,
        gradient: FlexTensor,
        dim: usize,
    ) -> FlexTensor {
        let turned = is_turned(&x);
        let (x, bias) = (upright(x), bias.to_contiguous());
        let (out, gradient) = (out.to_contiguous(), gradient.to_contiguous());
        let mut of_x = like(&x);
        let along_rows = (dim == 1) != turned;
        let run = if along_rows { log_sum_exp::gradient_of_rows } else { log_sum_exp::gradient_of_columns };
        run(slice(&x), slice(&bias), slice(&out), slice(&gradient), of_x.storage_mut::<f32>());
        if turned { of_x.transpose(0, 1) } else { of_x }
    }
}

/// Changes the values of `x`, `size` of them to a task, on all cores: in place if nobody else holds them, else in a copy that
/// every task makes of its own. Memory that one thread fills or copies first would take as long as the work.
///
/// - `change`: of a task's number and values
/// - returns what the tasks say, in their order
pub(super) fn changed<T: Send>(
    x: FlexTensor,
    size: usize,
    change: impl Fn(usize, &mut [f32]) -> T + Sync,
) -> (FlexTensor, Vec<T>) {
    let size = size.max(1);
    let mut x = contiguous(x);
    let (from, to) = span(&x);
    if let Some(values) = x.try_storage_mut::<f32>() {
        let tasks = values[from..to].par_chunks_mut(size).enumerate();
        let said = tasks.map(|(task, values)| change(task, values)).collect();
        return (x, said);
    }
    let values = slice(&x);
    let mut copy = Vec::with_capacity(values.len());
    let tasks = copy.spare_capacity_mut()[..values.len()].par_chunks_mut(size).zip(values.par_chunks(size));
    let tasks = tasks.enumerate();
    let said = tasks.map(|(task, (own, values))| change(task, own.write_copy_of_slice(values))).collect();
    // SAFETY: the tasks have copied every value.
    unsafe { copy.set_len(values.len()) };
    (FlexTensor::from_data(TensorData::new(copy, x.layout().shape().clone())), said)
}

/// A contiguous tensor, and still the only holder of its values if it was.
fn contiguous(x: FlexTensor) -> FlexTensor {
    x.to_contiguous()
}

/// The values of a contiguous tensor beside those of a task.
pub(super) fn part<'a>(x: &'a FlexTensor, from: usize, task: &[f32]) -> &'a [f32] {
    &slice(x)[from..from + task.len()]
}

/// Zeros in the shape of `x`.
pub(super) fn like(x: &FlexTensor) -> FlexTensor {
    FlexTensor::zeros(x.layout().shape().clone(), x.dtype())
}

/// Whether a matrix is the transposed view of one that lies row by row.
pub(super) fn is_turned(x: &FlexTensor) -> bool {
    let layout = x.layout();
    layout.contiguous_offsets().is_none() && layout.transpose(0, 1).contiguous_offsets().is_some()
}

/// A matrix row by row: itself, or the one it is the transposed view of, or a copy.
pub(super) fn upright(x: FlexTensor) -> FlexTensor {
    if is_turned(&x) { x.transpose(0, 1) } else { x.to_contiguous() }
}

/// The values of a contiguous tensor.
pub(super) fn slice(x: &FlexTensor) -> &[f32] {
    let (from, to) = span(x);
    &x.storage::<f32>()[from..to]
}

/// Where a contiguous tensor lies in its storage.
pub(super) fn span(x: &FlexTensor) -> (usize, usize) {
    let start = x.layout().start_offset();
    (start, start + x.layout().num_elements())
}

impl<B: Fused, C: CheckpointStrategy> Fused for Autodiff<B, C> {
    fn added(x: FloatTensor<Self>, y: FloatTensor<Self>) -> FloatTensor<Self> {
        #[derive(Debug)]
        struct Step;
        impl<B: Fused> Backward<B, 2> for Step {
            type State = ();
            fn backward(self, ops: Ops<(), 2>, gradients: &mut Gradients, _: &mut Checkpointer) {
                let gradient = gradients.consume::<B>(&ops.node);
                for parent in ops.parents.into_iter().flatten() {
                    gradients.register::<B>(parent.id, gradient.clone());
                }
            }
        }
        let ((x, x_node), (y, y_node)) = (x.into_parts(), y.into_parts());
        let step = Step.prepare::<C>([x_node, y_node]).compute_bound();
        step.stateless(B::added(x, y))
    }

    fn pointwise(x: FloatTensor<Self>, function: Pointwise) -> FloatTensor<Self> {
        #[derive(Debug)]
        struct Step;
        impl<B: Fused> Backward<B, 1> for Step {
            type State = (FloatTensor<B>, Pointwise);
            fn backward(self, ops: Ops<Self::State, 1>, gradients: &mut Gradients, _: &mut Checkpointer) {
                let gradient = gradients.consume::<B>(&ops.node);
                let (x, function) = ops.state;
                if let [Some(parent)] = ops.parents {
                    gradients.register::<B>(parent.id, B::pointwise_gradient(x, gradient, function));
                }
            }
        }
        let (x, node) = x.into_parts();
        match Step.prepare::<C>([node]).compute_bound().stateful() {
            OpsKind::Tracked(step) => step.finish((x.clone(), function), B::pointwise(x, function)),
            OpsKind::UnTracked(step) => step.finish(B::pointwise(x, function)),
        }
    }

    fn visible_softmax(scores: FloatTensor<Self>, visible: Visible) -> FloatTensor<Self> {
        #[derive(Debug)]
        struct Step;
        impl<B: Fused> Backward<B, 1> for Step {
            type State = (FloatTensor<B>, f32);
            fn backward(self, ops: Ops<Self::State, 1>, gradients: &mut Gradients, _: &mut Checkpointer) {
                let gradient = gradients.consume::<B>(&ops.node);
                let (weights, scale) = ops.state;
                if let [Some(parent)] = ops.parents {
                    gradients.register::<B>(parent.id, B::softmax_gradient(weights, gradient, scale));
                }
            }
        }
        let scale = visible.scale;
        let (scores, node) = scores.into_parts();
        let step = Step.prepare::<C>([node]).compute_bound().stateful();
        let weights = B::visible_softmax(scores, visible);
        match step {
            OpsKind::Tracked(step) => step.finish((weights.clone(), scale), weights),
            OpsKind::UnTracked(step) => step.finish(weights),
        }
    }

    fn log_sum_exp(x: FloatTensor<Self>, bias: FloatTensor<Self>, dim: usize) -> FloatTensor<Self> {
        #[derive(Debug)]
        struct Step;
        impl<B: Fused> Backward<B, 2> for Step {
            type State = (FloatTensor<B>, FloatTensor<B>, FloatTensor<B>, usize);
            fn backward(self, ops: Ops<Self::State, 2>, gradients: &mut Gradients, _: &mut Checkpointer) {
                let gradient = gradients.consume::<B>(&ops.node);
                let (x, bias, out, dim) = ops.state;
                let of_x = B::log_sum_exp_gradient(x, bias, out, gradient, dim);
                let [x, bias] = ops.parents;
                if let Some(bias) = bias {
                    gradients.register::<B>(bias.id, B::float_sum_dim(of_x.clone(), 1 - dim));
                }
                if let Some(x) = x {
                    gradients.register::<B>(x.id, of_x);
                }
            }
        }
        let ((x, x_node), (bias, bias_node)) = (x.into_parts(), bias.into_parts());
        match Step.prepare::<C>([x_node, bias_node]).compute_bound().stateful() {
            OpsKind::Tracked(step) => {
                let out = B::log_sum_exp(x.clone(), bias.clone(), dim);
                step.finish((x, bias, out.clone(), dim), out)
            }
            OpsKind::UnTracked(step) => step.finish(B::log_sum_exp(x, bias, dim)),
        }
    }
}
