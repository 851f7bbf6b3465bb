//! `factor · x · softmax(scale · x)` along one side of a matrix: its loops, and the operation of burn.
//!
//! ```text
//! p = softmax(scale · x)      y = factor · x · p
//! dx = p · (factor · g + scale · (w − Σ p w))      w = factor · g · x
//! ```
//!
//! Where the weights are constants, `dx = p · factor · g`. Weights are never held: they are made anew of the log of
//! their sum.

use burn::backend::autodiff::{
    checkpoint::{base::Checkpointer, strategy::CheckpointStrategy},
    grads::Gradients,
    ops::{Backward, Ops, OpsKind},
};
use burn::backend::flex::FlexTensor;
use burn::backend::tensor::FloatTensor;
use burn::backend::{Autodiff, Backend, Flex, backend_extension};
use rayon::prelude::*;

use super::log_sum_exp::{self, STRIP};
use super::loops::{LANES, exp, madd, rows_of_a_task, total};
use super::ops::{is_turned, like, slice, upright};
use crate::widest;

/// How values are weighted by their own softmax.
#[derive(Clone, Copy, Debug)]
pub(crate) struct OwnWeights {
    pub scale: f32,
    pub factor: f32,
    pub dim: usize,
    pub constant: bool,
}

/// The operation.
#[backend_extension(Flex, Autodiff)]
pub trait WeightedByItself: Backend {
    fn weighted_by_itself(x: FloatTensor<Self>, how: OwnWeights) -> FloatTensor<Self>;
}

impl WeightedByItself for Flex {
    fn weighted_by_itself(x: FlexTensor, how: OwnWeights) -> FlexTensor {
        let turned = is_turned(&x);
        let x = upright(x);
        let sums = Sums::new(&x, how, turned);
        let mut y = like(&x);
        let rows = rows_of_a_task(sums.columns);
        let chunks = slice(&x).par_chunks(rows * sums.columns);
        chunks.zip(y.storage_mut::<f32>().par_chunks_mut(rows * sums.columns)).enumerate().for_each(
            |(task, (x, y))| {
                weigh(x, sums.of_task(&sums.logs, task, rows), sums.columns, sums.per_row, how, y)
            },
        );
        if turned { y.transpose(0, 1) } else { y }
    }
}

fn gradient_of(x: FlexTensor, gradient: FlexTensor, how: OwnWeights) -> FlexTensor {
    let turned = is_turned(&x);
    let (x, gradient) = (upright(x), if turned { gradient.transpose(0, 1) } else { gradient });
    let gradient = gradient.to_contiguous();
    let sums = Sums::new(&x, how, turned);
    let inner = sums.inner(slice(&x), slice(&gradient), how);
    let mut of_x = like(&x);
    let rows = rows_of_a_task(sums.columns);
    let size = rows * sums.columns;
    let chunks = slice(&x).par_chunks(size).zip(slice(&gradient).par_chunks(size));
    chunks.zip(of_x.storage_mut::<f32>().par_chunks_mut(size)).enumerate().for_each(
        |(task, ((x, gradient), of_x))| {
            let of_task = [&sums.logs, &inner].map(|of_all| sums.of_task(of_all, task, rows));
            weigh_gradient(x, gradient, of_task, sums.columns, sums.per_row, how, of_x);
        },
    );
    if turned { of_x.transpose(0, 1) } else { of_x }
}

/// What the weights of a matrix are made of: the log of a sum for each row, or for each column.
struct Sums {
    logs: Vec<f32>,
    columns: usize,
    per_row: bool,
}

impl Sums {
    /// Of a matrix that lies row by row; where it stands for its transpose, `turned`, the sides are swapped.
    fn new(x: &FlexTensor, how: OwnWeights, turned: bool) -> Self {
        let [rows, columns] = [0, 1].map(|axis| x.layout().shape()[axis]);
        let per_row = (how.dim == 1) != turned;
        let (outer, inner) = if per_row { (rows, columns) } else { (columns, rows) };
        let mut logs = vec![0.0; outer];
        let run = if per_row { log_sum_exp::of_rows } else { log_sum_exp::of_columns };
        run(slice(x), how.scale, &vec![0.0; inner], &mut logs);
        Self { logs, columns: columns.max(1), per_row }
    }

    /// Those of a task of so many rows: of its own rows, or of every column.
    fn of_task<'a>(&self, sums: &'a [f32], task: usize, rows: usize) -> &'a [f32] {
        if self.per_row { &sums[task * rows..(task * rows + rows).min(sums.len())] } else { sums }
    }

    /// `Σ p w` of every row or column; zeros where weights are constants.
    fn inner(&self, x: &[f32], gradient: &[f32], how: OwnWeights) -> Vec<f32> {
        let mut inner = vec![0.0; self.logs.len()];
        if how.constant {
            return inner;
        }
        let (columns, logs) = (self.columns, &self.logs);
        if self.per_row {
            let rows = rows_of_a_task(columns);
            let chunks = x.par_chunks(rows * columns).zip(gradient.par_chunks(rows * columns));
            chunks.zip(logs.par_chunks(rows).zip(inner.par_chunks_mut(rows))).for_each(
                |((x, gradient), (logs, inner))| inner_of_rows(x, gradient, logs, columns, how, inner),
            );
        } else {
            inner.par_chunks_mut(STRIP).enumerate().for_each(|(strip, inner)| {
                inner_of_columns(x, gradient, &logs[strip * STRIP..], columns, strip * STRIP, how, inner);
            });
        }
        inner
    }
}

#[inline(always)]
fn weigh_body<const FMA: bool>(
    x: &[f32],
    logs: &[f32],
    columns: usize,
    per_row: bool,
    how: OwnWeights,
    y: &mut [f32],
) {
    let OwnWeights { scale, factor, .. } = how;
    for (at, (row, y)) in x.chunks_exact(columns).zip(y.chunks_exact_mut(columns)).enumerate() {
        if per_row {
            let log = logs[at];
            for (&x, y) in row.iter().zip(y) {
                *y = factor * x * exp::<FMA>(madd::<FMA>(x, scale, -log));
            }
        } else {
            for ((&x, &log), y) in row.iter().zip(logs).zip(y) {
                *y = factor * x * exp::<FMA>(madd::<FMA>(x, scale, -log));
            }
        }
    }
}
widest!(weigh = weigh_body::<FMA>(x: &[f32], logs: &[f32], columns: usize, per_row: bool, how: OwnWeights, y: &mut [f32]));

/// One value's gradient.
#[inline(always)]
fn slope<const FMA: bool>(x: f32, gradient: f32, log: f32, inner: f32, how: OwnWeights) -> f32 {
    let share = exp::<FMA>(madd::<FMA>(x, how.scale, -log));
    let gradient = how.factor * gradient;
    let moved = if how.constant { 0.0 } else { how.scale * madd::<FMA>(gradient, x, -inner) };
    share * (gradient + moved)
}

#[inline(always)]
fn weigh_gradient_body<const FMA: bool>(
    x: &[f32],
    gradient: &[f32],
    [logs, inner]: [&[f32]; 2],
    columns: usize,
    per_row: bool,
    how: OwnWeights,
    of_x: &mut [f32],
) {
    let rows = x.chunks_exact(columns).zip(gradient.chunks_exact(columns));
    for (at, ((x, gradient), of_x)) in rows.zip(of_x.chunks_exact_mut(columns)).enumerate() {
        let values = x.iter().zip(gradient).zip(of_x);
        if per_row {
            let (log, inner) = (logs[at], inner[at]);
            for ((&x, &gradient), of_x) in values {
                *of_x = slope::<FMA>(x, gradient, log, inner, how);
            }
        } else {
            for (((&x, &gradient), of_x), (&log, &inner)) in values.zip(logs.iter().zip(inner)) {
                *of_x = slope::<FMA>(x, gradient, log, inner, how);
            }
        }
    }
}
widest!(weigh_gradient = weigh_gradient_body::<FMA>(x: &[f32], gradient: &[f32], sums: [&[f32]; 2], columns: usize, per_row: bool, how: OwnWeights, of_x: &mut [f32]));

/// `p w`, of one value.
#[inline(always)]
fn part<const FMA: bool>(x: f32, gradient: f32, log: f32, how: OwnWeights) -> f32 {
    how.factor * gradient * x * exp::<FMA>(madd::<FMA>(x, how.scale, -log))
}

#[inline(always)]
fn inner_rows_body<const FMA: bool>(
    x: &[f32],
    gradient: &[f32],
    logs: &[f32],
    columns: usize,
    how: OwnWeights,
    inner: &mut [f32],
) {
    let rows = x.chunks_exact(columns).zip(gradient.chunks_exact(columns));
    for ((x, gradient), (&log, inner)) in rows.zip(logs.iter().zip(inner)) {
        let mut lanes = [0.0f32; LANES];
        let parts = x.chunks_exact(LANES).zip(gradient.chunks_exact(LANES));
        let rest = columns - columns % LANES;
        for ((&x, &gradient), lane) in x[rest..].iter().zip(&gradient[rest..]).zip(&mut lanes) {
            *lane = part::<FMA>(x, gradient, log, how);
        }
        for (x, gradient) in parts {
            for ((&x, &gradient), lane) in x.iter().zip(gradient).zip(&mut lanes) {
                *lane += part::<FMA>(x, gradient, log, how);
            }
        }
        *inner = total(lanes);
    }
}
widest!(inner_of_rows = inner_rows_body::<FMA>(x: &[f32], gradient: &[f32], logs: &[f32], columns: usize, how: OwnWeights, inner: &mut [f32]));

#[inline(always)]
fn inner_columns_body<const FMA: bool>(
    x: &[f32],
    gradient: &[f32],
    logs: &[f32],
    columns: usize,
    first: usize,
    how: OwnWeights,
    inner: &mut [f32],
) {
    let strip = first..first + inner.len();
    for (x, gradient) in x.chunks_exact(columns).zip(gradient.chunks_exact(columns)) {
        let values = x[strip.clone()].iter().zip(&gradient[strip.clone()]);
        for ((&x, &gradient), (&log, inner)) in values.zip(logs.iter().zip(inner.iter_mut())) {
            *inner += part::<FMA>(x, gradient, log, how);
        }
    }
}
widest!(inner_of_columns = inner_columns_body::<FMA>(x: &[f32], gradient: &[f32], logs: &[f32], columns: usize, first: usize, how: OwnWeights, inner: &mut [f32]));

impl<C: CheckpointStrategy> WeightedByItself for Autodiff<Flex, C> {
    fn weighted_by_itself(x: FloatTensor<Self>, how: OwnWeights) -> FloatTensor<Self> {
        #[derive(Debug)]
        struct Step;
        impl Backward<Flex, 1> for Step {
            type State = (FlexTensor, OwnWeights);
            fn backward(self, ops: Ops<Self::State, 1>, gradients: &mut Gradients, _: &mut Checkpointer) {
                let gradient = gradients.consume::<Flex>(&ops.node);
                let (x, how) = ops.state;
                if let [Some(parent)] = ops.parents {
                    gradients.register::<Flex>(parent.id, gradient_of(x, gradient, how));
                }
            }
        }
        let (x, node) = x.into_parts();
        match Step.prepare::<C>([node]).compute_bound().stateful() {
            OpsKind::Tracked(step) => step.finish((x.clone(), how), Flex::weighted_by_itself(x, how)),
            OpsKind::UnTracked(step) => step.finish(Flex::weighted_by_itself(x, how)),
        }
    }
}
