//! A value that a gate lets through, forward and back.
//!
//! ```text
//! y = x σ(gate)        dx = g σ(gate)        dgate = g x σ(gate) (1 − σ(gate))
//! ```

use burn::backend::autodiff::{
    checkpoint::{base::Checkpointer, strategy::CheckpointStrategy},
    grads::Gradients,
    ops::{Backward, Ops, OpsKind},
};
use burn::backend::flex::FlexTensor;
use burn::backend::tensor::FloatTensor;
use burn::backend::{Autodiff, Backend, Flex, backend_extension};

use super::loops::{CHUNK, sigmoid};
use super::ops::{changed, part};
use crate::widest;

/// The operation, on two tensors of one shape.
#[backend_extension(Flex, Autodiff)]
pub trait Gated: Backend {
    fn gated(x: FloatTensor<Self>, gate: FloatTensor<Self>) -> FloatTensor<Self>;
}

impl Gated for Flex {
    fn gated(x: FlexTensor, gate: FlexTensor) -> FlexTensor {
        let gate = gate.to_contiguous();
        changed(x, CHUNK, |chunk, x| let_through(part(&gate, chunk * CHUNK, x), x)).0
    }
}

#[inline(always)]
fn through_body<const FMA: bool>(gate: &[f32], x: &mut [f32]) {
    for (&gate, x) in gate.iter().zip(x) {
        *x *= sigmoid::<FMA>(gate);
    }
}
widest!(let_through = through_body::<FMA>(gate: &[f32], x: &mut [f32]));

#[inline(always)]
fn gate_body<const FMA: bool>(x: &[f32], gate: &[f32], gradient: &mut [f32]) {
    for ((&x, &gate), gradient) in x.iter().zip(gate).zip(gradient) {
        let open = sigmoid::<FMA>(gate);
        *gradient *= x * open * (1.0 - open);
    }
}
widest!(gate_gradient = gate_body::<FMA>(x: &[f32], gate: &[f32], gradient: &mut [f32]));

impl<C: CheckpointStrategy> Gated for Autodiff<Flex, C> {
    fn gated(x: FloatTensor<Self>, gate: FloatTensor<Self>) -> FloatTensor<Self> {
        #[derive(Debug)]
        struct Step;
        impl Backward<Flex, 2> for Step {
            /// `x`, if the gate learns, and the gate.
            type State = (Option<FlexTensor>, FlexTensor);
            fn backward(self, ops: Ops<Self::State, 2>, gradients: &mut Gradients, _: &mut Checkpointer) {
                let gradient = gradients.consume::<Flex>(&ops.node);
                let ([x_node, gate_node], (x, gate)) = (ops.parents, ops.state);
                let gate = gate.to_contiguous();
                if let (Some(node), Some(x)) = (gate_node, x) {
                    let x = x.to_contiguous();
                    let of_gate = changed(gradient.clone(), CHUNK, |chunk, gradient| {
                        let from = chunk * CHUNK;
                        gate_gradient(part(&x, from, gradient), part(&gate, from, gradient), gradient);
                    });
                    gradients.register::<Flex>(node.id, of_gate.0);
                }
                if let Some(node) = x_node {
                    gradients.register::<Flex>(node.id, Flex::gated(gradient, gate));
                }
            }
        }
        let gate_learns = gate.is_tracked();
        let ((x, x_node), (gate, gate_node)) = (x.into_parts(), gate.into_parts());
        match Step.prepare::<C>([x_node, gate_node]).compute_bound().stateful() {
            OpsKind::Tracked(step) => {
                step.finish((gate_learns.then(|| x.clone()), gate.clone()), Flex::gated(x, gate))
            }
            OpsKind::UnTracked(step) => step.finish(Flex::gated(x, gate)),
        }
    }
}
