//! The kernels as operations of burn: one trait, its implementation for flex, and the backward steps.

use burn::backend::autodiff::{
    checkpoint::{base::Checkpointer, strategy::CheckpointStrategy},
    grads::Gradients,
    ops::{Backward, Ops, OpsKind},
};
use burn::backend::flex::FlexTensor;
use burn::backend::tensor::FloatTensor;
use burn::backend::{Autodiff, Backend, Flex, Scalar, TensorMetadata, backend_extension};

use super::{Pointwise, Visible, log_sum_exp, loops};
use crate::activation::QUICK_SLOPE;

/// The fused operations. The gradients have bodies of plain operations, which serve second derivatives.
#[backend_extension(Flex, Autodiff)]
pub trait Fused: Backend {
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
    fn pointwise(x: FlexTensor, function: Pointwise) -> FlexTensor {
        // In place if this is the only holder; a shared tensor is copied by `storage_mut`.
        let mut x = x.to_contiguous();
        let (from, to) = span(&x);
        loops::pointwise(&mut x.storage_mut::<f32>()[from..to], function);
        x
    }

    fn pointwise_gradient(x: FlexTensor, gradient: FlexTensor, function: Pointwise) -> FlexTensor {
        let (x, mut gradient) = (x.to_contiguous(), gradient.to_contiguous());
        let ((from, to), (first, last)) = (span(&x), span(&gradient));
        let values = &x.storage::<f32>()[from..to];
        loops::pointwise_gradient(values, &mut gradient.storage_mut::<f32>()[first..last], function);
        gradient
    }

    fn visible_softmax(scores: FlexTensor, visible: Visible) -> FlexTensor {
        let mut scores = scores.to_contiguous();
        let shape = [0, 1, 2, 3].map(|axis| scores.layout().shape()[axis]);
        let (from, to) = span(&scores);
        loops::softmax(&mut scores.storage_mut::<f32>()[from..to], shape, &visible);
        scores
    }

    fn softmax_gradient(weights: FlexTensor, gradient: FlexTensor, scale: f32) -> FlexTensor {
        let (weights, mut gradient) = (weights.to_contiguous(), gradient.to_contiguous());
        let keys = weights.layout().shape()[3];
        let ((from, to), (first, last)) = (span(&weights), span(&gradient));
        let values = &weights.storage::<f32>()[from..to];
        loops::softmax_gradient(values, &mut gradient.storage_mut::<f32>()[first..last], keys, scale);
        gradient
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
