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
use rayon::prelude::*;

use super::loops::{LANES, rows_of_a_task, total};
use super::ops::{like, slice};
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
        let x = x.to_contiguous();
        let (width, mut y) = (width(&x), like(&x));
        let size = rows_of_a_task(width) * width;
        let chunks = slice(&x).par_chunks(size).zip(y.storage_mut::<f32>().par_chunks_mut(size));
        chunks.for_each(|(x, y)| unit(x, width, y));
        y
    }

    fn row_norm(x: FlexTensor, gamma: FlexTensor, beta: FlexTensor, epsilon: f32) -> FlexTensor {
        let (x, gamma, beta) = (x.to_contiguous(), gamma.to_contiguous(), beta.to_contiguous());
        let (width, mut y) = (width(&x), like(&x));
        let size = rows_of_a_task(width) * width;
        let chunks = slice(&x).par_chunks(size).zip(y.storage_mut::<f32>().par_chunks_mut(size));
        chunks.for_each(|(x, y)| norm(x, slice(&gamma), slice(&beta), epsilon, y));
        y
    }
}

/// The last axis; 1 where it is empty, so that there are no rows.
fn width(x: &FlexTensor) -> usize {
    x.layout().shape().iter().last().copied().unwrap_or(1).max(1)
}

fn unit_gradient(x: FlexTensor, gradient: FlexTensor) -> FlexTensor {
    let (x, gradient) = (x.to_contiguous(), gradient.to_contiguous());
    let (width, mut of_x) = (width(&x), like(&x));
    let size = rows_of_a_task(width) * width;
    let chunks = slice(&x).par_chunks(size).zip(slice(&gradient).par_chunks(size));
    chunks
        .zip(of_x.storage_mut::<f32>().par_chunks_mut(size))
        .for_each(|((x, gradient), of_x)| unit_gradient_of_task(x, gradient, width, of_x));
    of_x
}

/// The gradients of `x`, `γ` and `β`.
fn norm_gradient(x: FlexTensor, gamma: FlexTensor, epsilon: f32, gradient: FlexTensor) -> [FlexTensor; 3] {
    let (x, gamma_values, gradient) = (x.to_contiguous(), gamma.to_contiguous(), gradient.to_contiguous());
    let (width, mut of_x) = (width(&x), like(&x));
    let size = rows_of_a_task(width) * width;
    let chunks = slice(&x).par_chunks(size).zip(slice(&gradient).par_chunks(size));
    let parts: Vec<Vec<f32>> = chunks
        .zip(of_x.storage_mut::<f32>().par_chunks_mut(size))
        .map(|((x, gradient), of_x)| {
            let mut sums = vec![0.0; 2 * width];
            norm_gradient_of_task(x, gradient, slice(&gamma_values), epsilon, of_x, &mut sums);
            sums
        })
        .collect();
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
fn unit_body(x: &[f32], width: usize, y: &mut [f32]) {
    for (row, y) in x.chunks_exact(width).zip(y.chunks_exact_mut(width)) {
        let (length, _) = length(row);
        for (&x, y) in row.iter().zip(y) {
            *y = x / length;
        }
    }
}
widest!(unit = unit_body(x: &[f32], width: usize, y: &mut [f32]));

#[inline(always)]
fn unit_gradient_body(x: &[f32], gradient: &[f32], width: usize, of_x: &mut [f32]) {
    let rows = x.chunks_exact(width).zip(gradient.chunks_exact(width));
    for ((row, gradient), of_x) in rows.zip(of_x.chunks_exact_mut(width)) {
        let (length, own) = length(row);
        let inverse = 1.0 / length;
        let along = if own { sum_of_pairs(row, gradient, |x, g| x * g) * inverse * inverse } else { 0.0 };
        for ((&x, &gradient), of_x) in row.iter().zip(gradient).zip(of_x) {
            *of_x = (gradient - along * x) * inverse;
        }
    }
}
widest!(unit_gradient_of_task = unit_gradient_body(x: &[f32], gradient: &[f32], width: usize, of_x: &mut [f32]));

/// Mean, and one over the root of variance and ε.
#[inline(always)]
fn spread(row: &[f32], epsilon: f32) -> (f32, f32) {
    let inverse = 1.0 / row.len() as f32;
    let mean = sum_of(row, |x| x) * inverse;
    let variance = sum_of(row, |x| (x - mean) * (x - mean)) * inverse;
    (mean, 1.0 / (variance + epsilon).sqrt())
}

#[inline(always)]
fn norm_body(x: &[f32], gamma: &[f32], beta: &[f32], epsilon: f32, y: &mut [f32]) {
    let width = gamma.len();
    for (row, y) in x.chunks_exact(width).zip(y.chunks_exact_mut(width)) {
        let (mean, scale) = spread(row, epsilon);
        for (((&x, y), &gamma), &beta) in row.iter().zip(y).zip(gamma).zip(beta) {
            *y = (x - mean) * scale * gamma + beta;
        }
    }
}
widest!(norm = norm_body(x: &[f32], gamma: &[f32], beta: &[f32], epsilon: f32, y: &mut [f32]));

#[inline(always)]
fn norm_gradient_body(
    x: &[f32],
    gradient: &[f32],
    gamma: &[f32],
    epsilon: f32,
    of_x: &mut [f32],
    sums: &mut [f32],
) {
    let width = gamma.len();
    let (of_gamma, of_beta) = sums.split_at_mut(width);
    let rows = x.chunks_exact(width).zip(gradient.chunks_exact(width));
    for ((row, gradient), of_x) in rows.zip(of_x.chunks_exact_mut(width)) {
        let (mean, scale) = spread(row, epsilon);
        for ((((&x, &gradient), &gamma), k), (of_gamma, of_beta)) in row
            .iter()
            .zip(gradient)
            .zip(gamma)
            .zip(of_x.iter_mut())
            .zip(of_gamma.iter_mut().zip(of_beta.iter_mut()))
        {
            *k = gamma * gradient;
            *of_gamma += gradient * (x - mean) * scale;
            *of_beta += gradient;
        }
        let share = 1.0 / width as f32;
        let level = sum_of(of_x, |k| k) * share;
        let along = sum_of_pairs(row, of_x, |x, k| (x - mean) * k) * scale * share;
        for (&x, k) in row.iter().zip(of_x) {
            *k = (*k - level - (x - mean) * scale * along) * scale;
        }
    }
}
widest!(norm_gradient_of_task = norm_gradient_body(x: &[f32], gradient: &[f32], gamma: &[f32], epsilon: f32, of_x: &mut [f32], sums: &mut [f32]));

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
