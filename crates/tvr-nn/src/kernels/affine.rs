//! A linear layer, forward and back.
//!
//! ```text
//! y = x W + b          dx = g Wᵀ      dW = xᵀ g      db = the sum of g's rows
//! ```
//!
//! Of the input and the weights only what another's gradient needs is kept. The sum of rows is made share by share, then over
//! the shares in their order.

use burn::backend::autodiff::{
    NodeId,
    checkpoint::{base::Checkpointer, strategy::CheckpointStrategy},
    grads::Gradients,
    ops::{Backward, Ops, OpsKind},
};
use burn::backend::flex::FlexTensor;
use burn::backend::tensor::FloatTensor;
use burn::backend::{Autodiff, Backend, Flex, backend_extension};
use rayon::prelude::*;

use super::loops::rows_of_a_task;
use super::ops::{like, slice};
use super::product::product;
use crate::widest;

/// The operations, on a matrix.
#[backend_extension(Flex, Autodiff)]
pub trait Affine: Backend {
    fn projection(x: FloatTensor<Self>, weight: FloatTensor<Self>) -> FloatTensor<Self>;

    fn affine(x: FloatTensor<Self>, weight: FloatTensor<Self>, bias: FloatTensor<Self>) -> FloatTensor<Self>;
}

impl Affine for Flex {
    fn projection(x: FlexTensor, weight: FlexTensor) -> FlexTensor {
        product(&x, &weight, None)
    }

    fn affine(x: FlexTensor, weight: FlexTensor, bias: FlexTensor) -> FlexTensor {
        product(&x, &weight, Some(&bias))
    }
}

/// The sum of a matrix's rows.
fn sum_of_rows(x: FlexTensor, bias: &FlexTensor) -> FlexTensor {
    let (x, mut out) = (x.to_contiguous(), like(bias));
    let sums = out.storage_mut::<f32>();
    if sums.is_empty() {
        return out;
    }
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

/// What the gradients of a product need: `x` if the weight learns, the weight if `x` does.
type Factors = (Option<FlexTensor>, Option<FlexTensor>);

/// Registers the gradients of a product, of its factors that have one. Both are made at a time: a core that is done with one
/// goes on with the other.
fn pull(nodes: [Option<NodeId>; 2], (x, weight): Factors, gradient: &FlexTensor, gradients: &mut Gradients) {
    let [x_node, weight_node] = nodes;
    let (of_weight, of_x) = rayon::join(
        || x.filter(|_| weight_node.is_some()).map(|x| product(&x.transpose(0, 1), gradient, None)),
        || weight.filter(|_| x_node.is_some()).map(|weight| product(gradient, &weight.transpose(0, 1), None)),
    );
    for (node, own) in [(weight_node, of_weight), (x_node, of_x)] {
        if let (Some(node), Some(own)) = (node, own) {
            gradients.register::<Flex>(node, own);
        }
    }
}

impl<C: CheckpointStrategy> Affine for Autodiff<Flex, C> {
    fn projection(x: FloatTensor<Self>, weight: FloatTensor<Self>) -> FloatTensor<Self> {
        #[derive(Debug)]
        struct Step;
        impl Backward<Flex, 2> for Step {
            type State = Factors;
            fn backward(self, ops: Ops<Factors, 2>, gradients: &mut Gradients, _: &mut Checkpointer) {
                let gradient = gradients.consume::<Flex>(&ops.node);
                pull(ops.parents.map(|node| node.map(|node| node.id)), ops.state, &gradient, gradients);
            }
        }
        let (x_learns, weight_learns) = (x.is_tracked(), weight.is_tracked());
        let ((x, x_node), (weight, weight_node)) = (x.into_parts(), weight.into_parts());
        let y = product(&x, &weight, None);
        match Step.prepare::<C>([x_node, weight_node]).compute_bound().stateful() {
            OpsKind::Tracked(step) => {
                step.finish((weight_learns.then_some(x), x_learns.then_some(weight)), y)
            }
            OpsKind::UnTracked(step) => step.finish(y),
        }
    }

    fn affine(x: FloatTensor<Self>, weight: FloatTensor<Self>, bias: FloatTensor<Self>) -> FloatTensor<Self> {
        #[derive(Debug)]
        struct Step;
        impl Backward<Flex, 3> for Step {
            type State = (Factors, FlexTensor);
            fn backward(self, ops: Ops<Self::State, 3>, gradients: &mut Gradients, _: &mut Checkpointer) {
                let gradient = gradients.consume::<Flex>(&ops.node);
                let ([x_node, weight_node, bias_node], (factors, bias)) =
                    (ops.parents.map(|node| node.map(|node| node.id)), ops.state);
                if let Some(node) = bias_node {
                    gradients.register::<Flex>(node, sum_of_rows(gradient.clone(), &bias));
                }
                pull([x_node, weight_node], factors, &gradient, gradients);
            }
        }
        let (x_learns, weight_learns) = (x.is_tracked(), weight.is_tracked());
        let ((x, x_node), (weight, weight_node)) = (x.into_parts(), weight.into_parts());
        let (bias, bias_node) = bias.into_parts();
        let y = product(&x, &weight, Some(&bias));
        match Step.prepare::<C>([x_node, weight_node, bias_node]).compute_bound().stateful() {
            OpsKind::Tracked(step) => {
                step.finish(((weight_learns.then_some(x), x_learns.then_some(weight)), bias), y)
            }
            OpsKind::UnTracked(step) => step.finish(y),
        }
    }
}
