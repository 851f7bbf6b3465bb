//! Operations on the rows of an array, each with its gradient: unit length, and layer norm.
//!
//! ```text
//! y = x / l              l = max(|x|, shortest)       dx = (g − y Σ g y) / l      the second term where |x| > shortest
//! y = γ h + β            h = (x − mean) / √(var + ε)   dx = (k − mean k − h mean(k h)) / √(var + ε)      k = γ g
//! ```
//!
//! A row's figures are made anew for its gradient: nothing is kept but the input. What a row adds to γ's and β's
//! gradients is summed task by task, then over the tasks in their order.

use burn::backend::autodiff::{
    checkpoint::{base::Checkpointer, strategy::CheckpointStrategy},
    grads::Gradients,
    ops::{Backward, Ops, OpsKind},
};
use burn::backend::flex::FlexTensor;
use burn::backend::tensor::FloatTensor;
use burn::backend::{Autodiff, Backend, Flex, backend_extension};

use super::loops::{LANES, rows_of_a_task, total};
use super::ops::{changed, like, part, slice};
use crate::normalise::SHORTEST;
use crate::widest;

/// The operations, on the last axis of any array.
#[backend_extension(Flex, Autodiff)]
pub trait OnRows: Backend {
    fn unit_rows(x: FloatTensor<Self>) -> FloatTensor<Self>;

    fn row_norm(
        x: FloatTensor<Self>,
        gamma: FloatTensor<Self>,
        beta: FloatTensor<Self>,
        epsilon: f32,
    ) -> FloatTensor<Self>;
}

impl OnRows for Flex {
    fn unit_rows(x: FlexTensor) -> FlexTensor {
        let width = width(&x);
        changed(x, rows_of_a_task(width) * width, |_, rows| unit(rows, width)).0
    }

    fn row_norm(x: FlexTensor, gamma: FlexTensor, beta: FlexTensor, epsilon: f32) -> FlexTensor {
        let (gamma, beta, width) = (gamma.to_contiguous(), beta.to_contiguous(), width(&x));
        let task = |_, rows: &mut [f32]| norm(rows, slice(&gamma), slice(&beta), epsilon);
        changed(x, rows_of_a_task(width) * width, task).0
    }
}

/// The last axis; 1 where it is empty, so that there are no rows.
fn width(x: &FlexTensor) -> usize {
    x.layout().shape().iter().last().copied().unwrap_or(1).max(1)
}

fn unit_gradient(x: FlexTensor, gradient: FlexTensor) -> FlexTensor {
    let (x, width) = (x.to_contiguous(), width(&x));
    let size = rows_of_a_task(width) * width;
    let task = |task, own: &mut [f32]| unit_gradient_of_task(part(&x, task * size, own), own, width);
    changed(gradient, size, task).0
}

/// The gradients of `x`, `γ` and `β`.
fn norm_gradient(x: FlexTensor, gamma: FlexTensor, epsilon: f32, gradient: FlexTensor) -> [FlexTensor; 3] {
    let (x, gamma_values, width) = (x.to_contiguous(), gamma.to_contiguous(), width(&x));
    let size = rows_of_a_task(width) * width;
    let (of_x, parts) = changed(gradient, size, |task, own| {
        let mut sums = vec![0.0; 2 * width];
        norm_gradient_of_task(part(&x, task * size, own), own, slice(&gamma_values), epsilon, &mut sums);
        sums
    });
    let (mut of_gamma, mut of_beta) = (like(&gamma_values), like(&gamma_values));
    for (sums, first) in [(&mut of_gamma, 0), (&mut of_beta, width)] {
        let sums = sums.storage_mut::<f32>();
        for part in &parts {
            sums.iter_mut().zip(&part[first..]).for_each(|(sum, part)| *sum += part);
        }
    }
    [of_x, of_gamma, of_beta]
}

/// The sum of a function of each value, in lanes.
#[inline(always)]
fn sum_of(values: &[f32], function: impl Fn(f32) -> f32) -> f32 {
    let mut lanes = [0.0f32; LANES];
    let parts = values.chunks_exact(LANES);
    for (&value, lane) in parts.remainder().iter().zip(&mut lanes) {
        *lane = function(value);
    }
    for part in parts {
        for (&value, lane) in part.iter().zip(&mut lanes) {
            *lane += function(value);
        }
    }
    total(lanes)
}

/// The sum of a function of each pair of values, in lanes.
#[inline(always)]
fn sum_of_pairs(a: &[f32], b: &[f32], function: impl Fn(f32, f32) -> f32) -> f32 {
    let mut lanes = [0.0f32; LANES];
    let (a_parts, b_parts) = (a.chunks_exact(LANES), b.chunks_exact(LANES));
    for ((&a, &b), lane) in a_parts.remainder().iter().zip(b_parts.remainder()).zip(&mut lanes) {
        *lane = function(a, b);
    }
    for (a, b) in a_parts.zip(b_parts) {
        for ((&a, &b), lane) in a.iter().zip(b).zip(&mut lanes) {
            *lane += function(a, b);
        }
    }
    total(lanes)
}

/// What a row is divided by, and whether that is its own length. NaN stays NaN.
#[inline(always)]
fn length(row: &[f32]) -> (f32, bool) {
    let squared = sum_of(row, |x| x * x);
    let shortest = SHORTEST as f32;
    if squared < shortest * shortest { (shortest, false) } else { (squared.sqrt(), true) }
}

#[inline(always)]
fn unit_body(rows: &mut [f32], width: usize) {
    for row in rows.chunks_exact_mut(width) {
        let (length, _) = length(row);
        for x in row {
            *x /= length;
        }
    }
}
widest!(unit = unit_body(rows: &mut [f32], width: usize));

/// The gradient of `y` becomes that of `x`.
#[inline(always)]
fn unit_gradient_body(x: &[f32], gradient: &mut [f32], width: usize) {
    for (row, gradient) in x.chunks_exact(width).zip(gradient.chunks_exact_mut(width)) {
        let (length, own) = length(row);
        let inverse = 1.0 / length;
        let along = if own { sum_of_pairs(row, gradient, |x, g| x * g) * inverse * inverse } else { 0.0 };
        for (&x, gradient) in row.iter().zip(gradient) {
            *gradient = (*gradient - along * x) * inverse;
        }
    }
}
widest!(unit_gradient_of_task = unit_gradient_body(x: &[f32], gradient: &mut [f32], width: usize));

/// Mean, and one over the root of variance and ε.
#[inline(always)]
fn spread(row: &[f32], epsilon: f32) -> (f32, f32) {
    let inverse = 1.0 / row.len() as f32;
    let mean = sum_of(row, |x| x) * inverse;
    let variance = sum_of(row, |x| (x - mean) * (x - mean)) * inverse;
    (mean, 1.0 / (variance + epsilon).sqrt())
}

#[inline(always)]
fn norm_body(rows: &mut [f32], gamma: &[f32], beta: &[f32], epsilon: f32) {
    for row in rows.chunks_exact_mut(gamma.len()) {
        let (mean, scale) = spread(row, epsilon);
        for ((x, &gamma), &beta) in row.iter_mut().zip(gamma).zip(beta) {
            *x = (*x - mean) * scale * gamma + beta;
        }
    }
}
widest!(norm = norm_body(rows: &mut [f32], gamma: &[f32], beta: &[f32], epsilon: f32));

/// The gradient of `y` becomes that of `x`.
#[inline(always)]
fn norm_gradient_body(x: &[f32], gradient: &mut [f32], gamma: &[f32], epsilon: f32, sums: &mut [f32]) {
    let width = gamma.len();
    let (of_gamma, of_beta) = sums.split_at_mut(width);
    for (row, gradient) in x.chunks_exact(width).zip(gradient.chunks_exact_mut(width)) {
        let (mean, scale) = spread(row, epsilon);
        for (((&x, k), &gamma), (of_gamma, of_beta)) in
            row.iter().zip(gradient.iter_mut()).zip(gamma).zip(of_gamma.iter_mut().zip(of_beta.iter_mut()))
        {
            *of_gamma += *k * (x - mean) * scale;
            *of_beta += *k;
            *k *= gamma;
        }
        let share = 1.0 / width as f32;
        let level = sum_of(gradient, |k| k) * share;
        let along = sum_of_pairs(row, gradient, |x, k| (x - mean) * k) * scale * share;
        for (&x, k) in row.iter().zip(gradient) {
            *k = (*k - level - (x - mean) * scale * along) * scale;
        }
    }
}
widest!(norm_gradient_of_task = norm_gradient_body(x: &[f32], gradient: &mut [f32], gamma: &[f32], epsilon: f32, sums: &mut [f32]));

impl<C: CheckpointStrategy> OnRows for Autodiff<Flex, C> {
    fn unit_rows(x: FloatTensor<Self>) -> FloatTensor<Self> {
        #[derive(Debug)]
        struct Step;
        impl Backward<Flex, 1> for Step {
            type State = FlexTensor;
            fn backward(self, ops: Ops<FlexTensor, 1>, gradients: &mut Gradients, _: &mut Checkpointer) {
                let gradient = gradients.consume::<Flex>(&ops.node);
                if let [Some(parent)] = ops.parents {
                    gradients.register::<Flex>(parent.id, unit_gradient(ops.state, gradient));
                }
            }
        }
        let (x, node) = x.into_parts();
        match Step.prepare::<C>([node]).compute_bound().stateful() {
            OpsKind::Tracked(step) => step.finish(x.clone(), Flex::unit_rows(x)),
            OpsKind::UnTracked(step) => step.finish(Flex::unit_rows(x)),
        }
    }

    fn row_norm(
        x: FloatTensor<Self>,
        gamma: FloatTensor<Self>,
        beta: FloatTensor<Self>,
        epsilon: f32,
    ) -> FloatTensor<Self> {
        #[derive(Debug)]
        struct Step;
        impl Backward<Flex, 3> for Step {
            type State = (FlexTensor, FlexTensor, f32);
            fn backward(self, ops: Ops<Self::State, 3>, gradients: &mut Gradients, _: &mut Checkpointer) {
                let gradient = gradients.consume::<Flex>(&ops.node);
                let (x, gamma, epsilon) = ops.state;
                for (parent, gradient) in
                    ops.parents.into_iter().zip(norm_gradient(x, gamma, epsilon, gradient))
                {
                    if let Some(parent) = parent {
                        gradients.register::<Flex>(parent.id, gradient);
                    }
                }
            }
        }
        let ((x, x_node), (gamma, gamma_node), (beta, beta_node)) =
            (x.into_parts(), gamma.into_parts(), beta.into_parts());
        match Step.prepare::<C>([x_node, gamma_node, beta_node]).compute_bound().stateful() {
            OpsKind::Tracked(step) => {
                let y = Flex::row_norm(x.clone(), gamma.clone(), beta, epsilon);
                step.finish((x, gamma, epsilon), y)
            }
            OpsKind::UnTracked(step) => step.finish(Flex::row_norm(x, gamma, beta, epsilon)),
        }
    }
}
