//! The recurrence of an LSTM and its gradient, in one operation.
//!
//! ```text
//! a = x_t + h U       i, f, o = σ(a_i), σ(a_f), σ(a_o)      g = tanh(a_g)      c' = f c + i g      h' = o tanh(c')
//! dc' = dc + dh' o (1 − tanh² c')      da = (dc' g i (1 − i), dc' c f (1 − f), dc' i (1 − g²), dh' tanh(c') o (1 − o))
//! dc  = dc' f      dh = da Uᵀ      dU = Σ_t hᵀ da
//! ```
//!
//! Cutting gates out of one array costs burn's autodiff an array of zeros of the whole size for each gate of each step.
//! Here a step's figures stand in one row, `h, c, i, f, g, o, h'`, which the gradient reads again.

use std::sync::Arc;

use burn::backend::autodiff::{
    checkpoint::{base::Checkpointer, strategy::CheckpointStrategy},
    grads::Gradients,
    ops::{Backward, Ops, OpsKind},
};
use burn::backend::flex::FlexTensor;
use burn::backend::ops::FloatTensorOps;
use burn::backend::tensor::FloatTensor;
use burn::backend::{Autodiff, Backend, Flex, backend_extension};
use rayon::prelude::*;

use super::loops::{sigmoid, tanh};
use super::ops::slice;
use crate::widest;

/// Figures of a step and item, in parts of the width.
const PARTS: usize = 7;

/// The operation. `x`: `[items, steps, 4 width]`, `u`: `[width, 4 width]`, `real`: `[items, steps]`, row by row;
/// returns `[items, steps, width]`.
#[backend_extension(Flex, Autodiff)]
pub trait Recurrent: Backend {
    fn lstm(x: FloatTensor<Self>, u: FloatTensor<Self>, real: Arc<[bool]>) -> FloatTensor<Self>;
}

impl Recurrent for Flex {
    fn lstm(x: FlexTensor, u: FlexTensor, real: Arc<[bool]>) -> FlexTensor {
        let sizes = Sizes::of(&x);
        sizes.hidden(run(x, u, &real, sizes), PARTS - 1).to_contiguous()
    }
}

#[derive(Clone, Copy, Debug)]
struct Sizes {
    items: usize,
    steps: usize,
    width: usize,
}

impl Sizes {
    fn of(x: &FlexTensor) -> Self {
        let [items, steps, gates] = [0, 1, 2].map(|axis| x.layout().shape()[axis]);
        Self { items, steps, width: gates / 4 }
    }

    /// One part of the figures, a view. `[items, steps, width]`
    fn hidden(self, figures: FlexTensor, part: usize) -> FlexTensor {
        figures.narrow(2, part * self.width, self.width)
    }

    fn zeros(self, like: &FlexTensor, shape: &[usize]) -> FlexTensor {
        FlexTensor::zeros(shape.to_vec().into(), like.dtype())
    }
}

/// Every figure of every step. `[items, steps, 7 width]`
fn run(x: FlexTensor, u: FlexTensor, real: &[bool], sizes: Sizes) -> FlexTensor {
    let Sizes { items, steps, width } = sizes;
    let x = x.to_contiguous();
    let mut figures = sizes.zeros(&x, &[items, steps, PARTS * width]);
    let mut cell = vec![0.0f32; items * width];
    let mut hidden = sizes.zeros(&x, &[items, width]);
    if items * width == 0 {
        return figures;
    }
    for step in 0..steps {
        // A state of zeros adds nothing.
        let gates = (step > 0).then(|| Flex::float_matmul(hidden.clone(), u.clone()).to_contiguous());
        let zeros = vec![0.0; if step > 0 { 0 } else { 4 * width }];
        let (inputs, gates) = (slice(&x), gates.as_ref().map(slice));
        figures
            .storage_mut::<f32>()
            .par_chunks_mut(steps * PARTS * width)
            .zip(hidden.storage_mut::<f32>().par_chunks_mut(width).zip(cell.par_chunks_mut(width)))
            .enumerate()
            .for_each(|(item, (figures, (hidden, cell)))| {
                let at = item * steps + step;
                let input = &inputs[at * 4 * width..][..4 * width];
                let gates = gates.map_or(&zeros[..], |gates| &gates[item * 4 * width..][..4 * width]);
                let figures = &mut figures[step * PARTS * width..][..PARTS * width];
                forward(input, gates, real[at], figures, hidden, cell);
            });
    }
    figures
}

/// The gradient of `x`. `[items, steps, 4 width]`
fn backward(
    figures: &FlexTensor,
    u: FlexTensor,
    gradient: FlexTensor,
    real: &[bool],
    sizes: Sizes,
) -> FlexTensor {
    let Sizes { items, steps, width } = sizes;
    let gradient = gradient.to_contiguous();
    let mut of_x = sizes.zeros(&gradient, &[items, steps, 4 * width]);
    let mut of_gates = sizes.zeros(&gradient, &[items, 4 * width]);
    let (mut of_hidden, mut of_cell) = (vec![0.0f32; items * width], vec![0.0f32; items * width]);
    if items * width == 0 {
        return of_x;
    }
    let turned = u.transpose(0, 1);
    for step in (0..steps).rev() {
        of_x.storage_mut::<f32>()
            .par_chunks_mut(steps * 4 * width)
            .zip(of_gates.storage_mut::<f32>().par_chunks_mut(4 * width))
            .zip(of_hidden.par_chunks_mut(width).zip(of_cell.par_chunks_mut(width)))
            .enumerate()
            .for_each(|(item, ((of_x, of_gates), (of_hidden, of_cell)))| {
                let at = item * steps + step;
                let figures = &slice(figures)[at * PARTS * width..][..PARTS * width];
                let upstream = &slice(&gradient)[at * width..][..width];
                back(figures, upstream, real[at], of_gates, of_hidden, of_cell);
                of_x[step * 4 * width..][..4 * width].copy_from_slice(of_gates);
            });
        if step > 0 {
            let more = Flex::float_matmul(of_gates.clone(), turned.clone()).to_contiguous();
            of_hidden.iter_mut().zip(slice(&more)).for_each(|(sum, more)| *sum += more);
        }
    }
    of_x
}

#[inline(always)]
fn forward_body<const FMA: bool>(
    input: &[f32],
    gates: &[f32],
    real: bool,
    figures: &mut [f32],
    hidden: &mut [f32],
    cell: &mut [f32],
) {
    let width = hidden.len();
    let (before, rest) = figures.split_at_mut(2 * width);
    let (parts, after) = rest.split_at_mut(4 * width);
    before[..width].copy_from_slice(hidden);
    before[width..].copy_from_slice(cell);
    for gate in 0..4 {
        let span = gate * width..(gate + 1) * width;
        for ((part, &x), &h) in parts[span.clone()].iter_mut().zip(&input[span.clone()]).zip(&gates[span]) {
            *part = if gate == 2 { tanh::<FMA>(x + h) } else { sigmoid::<FMA>(x + h) };
        }
    }
    if real {
        let (i, rest) = parts.split_at(width);
        let (f, rest) = rest.split_at(width);
        let (g, o) = rest.split_at(width);
        for ((cell, hidden), (((&i, &f), &g), &o)) in
            cell.iter_mut().zip(hidden.iter_mut()).zip(i.iter().zip(f).zip(g).zip(o))
        {
            *cell = f * *cell + i * g;
            *hidden = o * tanh::<FMA>(*cell);
        }
    }
    after.copy_from_slice(hidden);
}
widest!(forward = forward_body::<FMA>(input: &[f32], gates: &[f32], real: bool, figures: &mut [f32], hidden: &mut [f32], cell: &mut [f32]));

/// Leaves the gradient of the state before, but for what comes through the gates.
#[inline(always)]
fn back_body<const FMA: bool>(
    figures: &[f32],
    upstream: &[f32],
    real: bool,
    of_gates: &mut [f32],
    of_hidden: &mut [f32],
    of_cell: &mut [f32],
) {
    let width = upstream.len();
    for (of_hidden, &upstream) in of_hidden.iter_mut().zip(upstream) {
        *of_hidden += upstream;
    }
    if !real {
        // The state passed by.
        return of_gates.fill(0.0);
    }
    let part = |index: usize| &figures[index * width..][..width];
    let (c, i, f, g, o) = (part(1), part(2), part(3), part(4), part(5));
    let (of_i, rest) = of_gates.split_at_mut(width);
    let (of_f, rest) = rest.split_at_mut(width);
    let (of_g, of_o) = rest.split_at_mut(width);
    let of_gates = of_i.iter_mut().zip(of_f).zip(of_g).zip(of_o);
    let states = of_hidden.iter_mut().zip(of_cell).zip(c);
    for ((((&i, &f), &g), &o), ((((of_i, of_f), of_g), of_o), ((of_hidden, of_cell), &c))) in
        i.iter().zip(f).zip(g).zip(o).zip(of_gates.zip(states))
    {
        let shown = tanh::<FMA>(f * c + i * g);
        let of_new = *of_cell + *of_hidden * o * (1.0 - shown * shown);
        *of_i = of_new * g * i * (1.0 - i);
        *of_f = of_new * c * f * (1.0 - f);
        *of_g = of_new * i * (1.0 - g * g);
        *of_o = *of_hidden * shown * o * (1.0 - o);
        *of_cell = of_new * f;
        *of_hidden = 0.0;
    }
}
widest!(back = back_body::<FMA>(figures: &[f32], upstream: &[f32], real: bool, of_gates: &mut [f32], of_hidden: &mut [f32], of_cell: &mut [f32]));

impl<C: CheckpointStrategy> Recurrent for Autodiff<Flex, C> {
    fn lstm(x: FloatTensor<Self>, u: FloatTensor<Self>, real: Arc<[bool]>) -> FloatTensor<Self> {
        #[derive(Debug)]
        struct Step;
        impl Backward<Flex, 2> for Step {
            type State = (FlexTensor, FlexTensor, Arc<[bool]>, Sizes);
            fn backward(self, ops: Ops<Self::State, 2>, gradients: &mut Gradients, _: &mut Checkpointer) {
                let gradient = gradients.consume::<Flex>(&ops.node);
                let (figures, u, real, sizes) = ops.state;
                let of_x = backward(&figures, u, gradient, &real, sizes);
                let [x, u] = ops.parents;
                if let Some(u) = u {
                    let rows = sizes.items * sizes.steps;
                    let before = Flex::float_reshape(sizes.hidden(figures, 0), [rows, sizes.width].into());
                    let gates = Flex::float_reshape(of_x.clone(), [rows, 4 * sizes.width].into());
                    let of_u = Flex::float_matmul(Flex::float_transpose(before), gates);
                    gradients.register::<Flex>(u.id, of_u);
                }
                if let Some(x) = x {
                    gradients.register::<Flex>(x.id, of_x);
                }
            }
        }
        let ((x, x_node), (u, u_node)) = (x.into_parts(), u.into_parts());
        let sizes = Sizes::of(&x);
        match Step.prepare::<C>([x_node, u_node]).compute_bound().stateful() {
            OpsKind::Tracked(step) => {
                let figures = run(x, u.clone(), &real, sizes);
                let hidden = sizes.hidden(figures.clone(), PARTS - 1).to_contiguous();
                step.finish((figures, u, real, sizes), hidden)
            }
            OpsKind::UnTracked(step) => step.finish(Flex::lstm(x, u, real)),
        }
    }
}
