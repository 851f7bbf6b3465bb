//! Attention over heads, forward and back.
//!
//! ```text
//! W = softmax of the visible scale · Q Kᵀ      O = W V
//! dV = Wᵀ g      dS = scale · W (g Vᵀ − Σ W g Vᵀ)      dQ = dS K      dK = dSᵀ Q
//! ```
//!
//! A task takes some heads of some items through all of it, on one core, where their scores stay in its cache. Heads are read where
//! they lie, and what comes out lies as if heads were never split: `[items, tokens, heads, width]`, seen with its axes swapped. So
//! neither splitting nor joining heads copies anything.

use std::ops::Range;

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

use super::Visible;
use super::loops::{self, CHUNK};
use super::product::{Factor, Output, multiply};

/// The operation, on `[items, heads, tokens, width]`.
#[backend_extension(Flex, Autodiff)]
pub trait OverHeads: Backend {
    fn attention(
        query: FloatTensor<Self>,
        key: FloatTensor<Self>,
        value: FloatTensor<Self>,
        visible: Visible,
    ) -> FloatTensor<Self>;
}

impl OverHeads for Flex {
    fn attention(query: FlexTensor, key: FlexTensor, value: FlexTensor, visible: Visible) -> FlexTensor {
        forward(&query, &key, &value, &visible).0
    }
}

/// Sizes of an attention.
#[derive(Clone, Copy)]
struct Sizes {
    items: usize,
    heads: usize,
    queries: usize,
    keys: usize,
}

impl Sizes {
    fn of(query: &FlexTensor, key: &FlexTensor) -> Self {
        let [items, heads, queries] = [0, 1, 2].map(|axis| query.layout().shape()[axis]);
        Self { items, heads, queries, keys: key.layout().shape()[2] }
    }

    /// Scores of one head of one item.
    fn scores(self) -> usize {
        self.queries * self.keys
    }

    /// Hands out all heads of all items, about [`CHUNK`] scores to a task.
    fn share(self, task: impl Fn(Range<usize>) + Sync) {
        let (all, size) = (self.items * self.heads, (CHUNK / self.scores().max(1)).max(1));
        let starts = (0..all).into_par_iter().step_by(size).with_max_len(1);
        starts.for_each(|start| task(start..(start + size).min(all)));
    }
}

/// One head of one item: `[tokens, width]`.
fn head(x: &FlexTensor, sizes: Sizes, number: usize) -> Factor<'_> {
    let (layout, strides) = (x.layout(), x.layout().strides());
    let [item, head] = [number / sizes.heads, number % sizes.heads];
    let start = layout.start_offset() as isize + item as isize * strides[0] + head as isize * strides[1];
    Factor { values: x.storage::<f32>(), start: start as usize, row: strides[2], column: strides[3] }
}

/// What becomes of all heads: memory for `[items, tokens, heads, width]`, to be written head by head.
struct Joined {
    values: Vec<f32>,
    out: Output,
    shape: [usize; 4],
}

impl Joined {
    fn new(sizes: Sizes, tokens: usize, width: usize) -> Self {
        let shape = [sizes.items, tokens, sizes.heads, width];
        let mut values = Vec::with_capacity(shape.iter().product());
        Self { out: Output(values.as_mut_ptr()), values, shape }
    }

    /// Writes one head of one item as a product of `[tokens, inner]` and `[inner, width]`.
    ///
    /// # Safety
    /// No other task writes this head; the factors have as many rows and columns.
    unsafe fn write(&self, number: usize, inner: usize, left: Factor<'_>, right: Factor<'_>) {
        let [_, tokens, heads, width] = self.shape;
        let start = (number / heads * tokens * heads + number % heads) * width;
        // SAFETY: the caller's promise; the head lies inside the memory of `values`.
        unsafe { multiply(self.out.from(start), heads * width, [tokens, inner, width], left, right) };
    }

    /// `[items, heads, tokens, width]`, a view.
    ///
    /// # Safety
    /// Every head is written.
    unsafe fn finish(mut self) -> FlexTensor {
        // SAFETY: the caller's promise.
        unsafe { self.values.set_len(self.shape.iter().product()) };
        FlexTensor::from_data(TensorData::new(self.values, self.shape)).transpose(1, 2)
    }
}

/// What is attended to, and the weights: `[items, heads, queries, width]` and `[items, heads, queries, keys]`, row by row.
fn forward(
    query: &FlexTensor,
    key: &FlexTensor,
    value: &FlexTensor,
    visible: &Visible,
) -> (FlexTensor, Vec<f32>) {
    let sizes = Sizes::of(query, key);
    let Sizes { items, heads, queries, keys } = sizes;
    let [width, depth] = [query, value].map(|x| x.layout().shape()[3]);
    // The tasks read by address: what is not there must be refused here as well.
    assert_eq!(**key.layout().shape(), [items, heads, keys, width]);
    assert_eq!(**value.layout().shape(), [items, heads, keys, depth]);
    let mut weights: Vec<f32> = Vec::with_capacity(items * heads * sizes.scores());
    let scores = Output(weights.as_mut_ptr());
    let joined = Joined::new(sizes, queries, depth);
    sizes.share(|own| {
        // SAFETY: these scores and heads are this task's; the scores are written before they are read.
        unsafe {
            let at = |number: usize| scores.from(number * sizes.scores());
            for number in own.clone() {
                let (query, key) = (head(query, sizes, number), head(key, sizes, number).transposed());
                multiply(at(number), keys, [queries, width, keys], query, key);
            }
            let rows = std::slice::from_raw_parts_mut(at(own.start).0, own.len() * sizes.scores());
            if keys > 0 {
                loops::softmax(rows, own.start * queries, [items, heads, queries, keys], visible);
            }
            for number in own.clone() {
                let weights = Factor::upright(&rows[(number - own.start) * sizes.scores()..], keys);
                joined.write(number, keys, weights, head(value, sizes, number));
            }
        }
    });
    // SAFETY: the tasks have written all scores and all heads.
    unsafe {
        weights.set_len(items * heads * sizes.scores());
        (joined.finish(), weights)
    }
}

/// What the backward pass needs.
#[derive(Clone, Debug)]
struct Kept {
    query: FlexTensor,
    key: FlexTensor,
    value: FlexTensor,
    weights: Vec<f32>,
    scale: f32,
}

/// The gradients of query, key and value.
fn backward(kept: &Kept, gradient: &FlexTensor) -> [FlexTensor; 3] {
    let Kept { query, key, value, weights, scale } = kept;
    let sizes = Sizes::of(query, key);
    let Sizes { queries, keys, .. } = sizes;
    let [width, depth] = [query, value].map(|x| x.layout().shape()[3]);
    let of_query = Joined::new(sizes, queries, width);
    let (of_key, of_value) = (Joined::new(sizes, keys, width), Joined::new(sizes, keys, depth));
    sizes.share(|own| {
        let weights = &weights[own.start * sizes.scores()..own.end * sizes.scores()];
        let mut of_scores: Vec<f32> = Vec::with_capacity(weights.len());
        // SAFETY: these heads are this task's; the gradients of scores are written before they are read.
        unsafe {
            for number in own.clone() {
                let start = (number - own.start) * sizes.scores();
                let (gradient, value) = (head(gradient, sizes, number), head(value, sizes, number));
                let out = Output(of_scores.as_mut_ptr().add(start));
                multiply(out, keys, [queries, depth, keys], gradient, value.transposed());
                let weights = Factor::upright(&weights[start..], keys).transposed();
                of_value.write(number, queries, weights, gradient);
            }
            of_scores.set_len(weights.len());
            if keys > 0 {
                loops::softmax_gradient_rows(weights, &mut of_scores, keys, *scale);
            }
            for number in own.clone() {
                let start = (number - own.start) * sizes.scores();
                let of_scores = Factor::upright(&of_scores[start..], keys);
                of_query.write(number, keys, of_scores, head(key, sizes, number));
                of_key.write(number, queries, of_scores.transposed(), head(query, sizes, number));
            }
        }
    });
    // SAFETY: the tasks have written all heads.
    unsafe { [of_query.finish(), of_key.finish(), of_value.finish()] }
}

impl<C: CheckpointStrategy> OverHeads for Autodiff<Flex, C> {
    fn attention(
        query: FloatTensor<Self>,
        key: FloatTensor<Self>,
        value: FloatTensor<Self>,
        visible: Visible,
    ) -> FloatTensor<Self> {
        #[derive(Debug)]
        struct Step;
        impl Backward<Flex, 3> for Step {
            type State = Kept;
            fn backward(self, ops: Ops<Kept, 3>, gradients: &mut Gradients, _: &mut Checkpointer) {
                let gradient = gradients.consume::<Flex>(&ops.node);
                let own = backward(&ops.state, &gradient);
                for (parent, own) in ops.parents.into_iter().zip(own) {
                    if let Some(parent) = parent {
                        gradients.register::<Flex>(parent.id, own);
                    }
                }
            }
        }
        let ((query, query_node), (key, key_node)) = (query.into_parts(), key.into_parts());
        let (value, value_node) = value.into_parts();
        let (out, weights) = forward(&query, &key, &value, &visible);
        match Step.prepare::<C>([query_node, key_node, value_node]).compute_bound().stateful() {
            OpsKind::Tracked(step) => {
                step.finish(Kept { query, key, value, weights, scale: visible.scale }, out)
            }
            OpsKind::UnTracked(step) => step.finish(out),
        }
    }
}
