//! The best match of every step among the steps of every other item, and its gradient by places.
//!
//! ```text
//! c[t, v, i, j] = x[t, i] · y[v, j]        best = (max_j c for every i, then max_i c for every j)
//! dx[t, i] = Σ_v Σ of the pairs (i, j) that won for t and v of g · y[v, j]            dy[v, j] likewise
//! ```
//!
//! Of the products only the winners are kept, by value and place: `tokens + steps` of `tokens · steps` for each pair of
//! items. So the gradient is that share of the work of two matrix products, and no array of zeros of their size.

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

use super::ops::{like, slice};
use crate::widest;

/// Channels that a gradient takes at a time, so that the rows in use stay in the nearest cache.
const BLOCK: usize = 128;

/// Items of the second side whose gradients a task makes together: the first side is read once for all of them.
const TOGETHER: usize = 4;

/// The place of a match that nobody won.
const NOBODY: u32 = u32::MAX;

/// Who may win, and what stands where nobody does.
#[derive(Clone, Debug)]
pub(crate) struct Contest {
    pub real_x: Option<Arc<[bool]>>, // [texts, tokens], row by row; all where absent
    pub real_y: Option<Arc<[bool]>>, // [videos, steps]
    pub nobody: f32,
}

/// The operation. `x`: `[texts, tokens, width]`, `y`: `[videos, steps, width]`; returns
/// `[texts, videos, tokens + steps]`.
#[backend_extension(Flex, Autodiff)]
pub trait Matches: Backend {
    fn best_matches(x: FloatTensor<Self>, y: FloatTensor<Self>, contest: Contest) -> FloatTensor<Self>;
}

impl Matches for Flex {
    fn best_matches(x: FlexTensor, y: FlexTensor, contest: Contest) -> FlexTensor {
        let sizes = Sizes::of(&x, &y);
        run(x.to_contiguous(), y.to_contiguous(), &contest, sizes).0
    }
}

#[derive(Clone, Copy, Debug)]
struct Sizes {
    texts: usize,
    tokens: usize,
    videos: usize,
    steps: usize,
    width: usize,
}

impl Sizes {
    fn of(x: &FlexTensor, y: &FlexTensor) -> Self {
        let [texts, tokens, width] = [0, 1, 2].map(|axis| x.layout().shape()[axis]);
        let [videos, steps] = [0, 1].map(|axis| y.layout().shape()[axis]);
        Self { texts, tokens, videos, steps, width }
    }

    /// Matches of a pair of items.
    fn matches(self) -> usize {
        self.tokens + self.steps
    }

    /// The steps of both sides that a match is made of.
    #[inline(always)]
    fn pair(self, index: usize, place: usize) -> (usize, usize) {
        if index < self.tokens { (index, place) } else { (place, index - self.tokens) }
    }
}

/// The best matches and their places.
fn run(x: FlexTensor, y: FlexTensor, contest: &Contest, sizes: Sizes) -> (FlexTensor, Arc<[u32]>) {
    let Sizes { texts, tokens, videos, steps, width } = sizes;
    let all = sizes.matches();
    let mut best = FlexTensor::zeros(vec![texts, videos, all].into(), x.dtype());
    let mut places = vec![NOBODY; texts * videos * all];
    if tokens * videos * steps == 0 {
        best.storage_mut::<f32>().fill(contest.nobody);
        return (best, places.into());
    }
    let x = Flex::float_reshape(x, [texts * tokens, width].into());
    let y = Flex::float_reshape(y, [videos * steps, width].into());
    let products = Flex::float_matmul(x, Flex::float_transpose(y)).to_contiguous();
    let real_y = contest.real_y.clone().unwrap_or_else(|| vec![true; videos * steps].into());
    best.storage_mut::<f32>()
        .par_chunks_mut(videos * all)
        .zip(places.par_chunks_mut(videos * all))
        .zip(slice(&products).par_chunks(tokens * videos * steps))
        .enumerate()
        .for_each(|(text, ((best, places), products))| {
            let real_x = contest.real_x.as_ref().map(|real| &real[text * tokens..][..tokens]);
            compare(products, sizes, real_x, &real_y, contest.nobody, best, places);
        });
    (best, places.into())
}

/// One text against all videos.
#[inline(always)]
fn compare_body(
    products: &[f32],
    sizes: Sizes,
    real_x: Option<&[bool]>,
    real_y: &[bool],
    nobody: f32,
    best: &mut [f32],
    places: &mut [u32],
) {
    let Sizes { tokens, steps, .. } = sizes;
    let all = sizes.matches();
    let columns = real_y.len();
    let (mut most, mut whose) = (vec![f32::NEG_INFINITY; columns], vec![NOBODY; columns]);
    for (token, row) in products.chunks_exact(columns).enumerate() {
        let pairs = best.chunks_exact_mut(all).zip(places.chunks_exact_mut(all));
        for ((best, places), (row, real)) in
            pairs.zip(row.chunks_exact(steps).zip(real_y.chunks_exact(steps)))
        {
            let (mut most, mut whose) = (f32::NEG_INFINITY, NOBODY);
            for (step, (&value, &real)) in row.iter().zip(real).enumerate() {
                // NaN wins and stays.
                let wins = real && (value > most || value.is_nan());
                most = if wins { value } else { most };
                whose = if wins { step as u32 } else { whose };
            }
            best[token] = if whose == NOBODY { nobody } else { most };
            places[token] = whose;
        }
        if real_x.is_none_or(|real| real[token]) {
            for ((most, whose), &value) in most.iter_mut().zip(&mut whose).zip(row) {
                let wins = value > *most || value.is_nan();
                *most = if wins { value } else { *most };
                *whose = if wins { token as u32 } else { *whose };
            }
        }
    }
    let columns = most.chunks_exact(steps).zip(whose.chunks_exact(steps));
    for ((best, places), (most, whose)) in
        best.chunks_exact_mut(all).zip(places.chunks_exact_mut(all)).zip(columns)
    {
        places[tokens..].copy_from_slice(whose);
        for ((best, &most), &whose) in best[tokens..].iter_mut().zip(most).zip(whose) {
            *best = if whose == NOBODY { nobody } else { most };
        }
    }
}
widest!(compare = compare_body(products: &[f32], sizes: Sizes, real_x: Option<&[bool]>, real_y: &[bool], nobody: f32, best: &mut [f32], places: &mut [u32]));

/// What won, and how much hangs on it: both `[texts, videos, tokens + steps]`.
#[derive(Clone, Copy)]
struct Won<'a> {
    places: &'a [u32],
    gradient: &'a [f32],
    sizes: Sizes,
}

impl Won<'_> {
    /// Both steps of every match of a text and a video, with its gradient.
    #[inline(always)]
    fn matches(self, text: usize, video: usize) -> impl Iterator<Item = (usize, usize, f32)> {
        let all = self.sizes.matches();
        let from = (text * self.sizes.videos + video) * all;
        let matches = self.places[from..from + all].iter().zip(&self.gradient[from..from + all]).enumerate();
        matches.filter(|&(_, (&place, &gradient))| place != NOBODY && gradient != 0.0).map(
            move |(index, (&place, &gradient))| {
                let (token, step) = self.sizes.pair(index, place as usize);
                (token, step, gradient)
            },
        )
    }
}

/// The gradient of `x`, from the values of `y`.
fn gradient_of_x(y: &FlexTensor, x: &FlexTensor, won: Won) -> FlexTensor {
    let mut of_x = like(x);
    let size = (won.sizes.tokens * won.sizes.width).max(1);
    let values = of_x.storage_mut::<f32>().par_chunks_mut(size);
    values.enumerate().for_each(|(text, of_x)| gather_x(slice(y), text, won, of_x));
    of_x
}

#[inline(always)]
fn gather_x_body<const FMA: bool>(y: &[f32], text: usize, won: Won, of_x: &mut [f32]) {
    let Sizes { videos, steps, width, .. } = won.sizes;
    for from in (0..width).step_by(BLOCK) {
        let block = BLOCK.min(width - from);
        for video in 0..videos {
            for (token, step, gradient) in won.matches(text, video) {
                let y = &y[(video * steps + step) * width + from..][..block];
                add::<FMA>(&mut of_x[token * width + from..][..block], gradient, y);
            }
        }
    }
}
widest!(gather_x = gather_x_body::<FMA>(y: &[f32], text: usize, won: Won, of_x: &mut [f32]));

/// The gradient of `y`, from the values of `x`.
fn gradient_of_y(x: &FlexTensor, y: &FlexTensor, won: Won) -> FlexTensor {
    let mut of_y = like(y);
    let size = (TOGETHER * won.sizes.steps * won.sizes.width).max(1);
    let values = of_y.storage_mut::<f32>().par_chunks_mut(size);
    values.enumerate().for_each(|(task, of_y)| gather_y(slice(x), task * TOGETHER, won, of_y));
    of_y
}

#[inline(always)]
fn gather_y_body<const FMA: bool>(x: &[f32], first: usize, won: Won, of_y: &mut [f32]) {
    let Sizes { texts, tokens, videos, steps, width } = won.sizes;
    for from in (0..width).step_by(BLOCK) {
        let block = BLOCK.min(width - from);
        for text in 0..texts {
            for video in first..(first + TOGETHER).min(videos) {
                for (token, step, gradient) in won.matches(text, video) {
                    let x = &x[(text * tokens + token) * width + from..][..block];
                    let at = ((video - first) * steps + step) * width + from;
                    add::<FMA>(&mut of_y[at..][..block], gradient, x);
                }
            }
        }
    }
}
widest!(gather_y = gather_y_body::<FMA>(x: &[f32], first: usize, won: Won, of_y: &mut [f32]));

#[inline(always)]
fn add<const FMA: bool>(sum: &mut [f32], factor: f32, values: &[f32]) {
    for (sum, &value) in sum.iter_mut().zip(values) {
        *sum = super::loops::madd::<FMA>(factor, value, *sum);
    }
}

impl<C: CheckpointStrategy> Matches for Autodiff<Flex, C> {
    fn best_matches(x: FloatTensor<Self>, y: FloatTensor<Self>, contest: Contest) -> FloatTensor<Self> {
        #[derive(Debug)]
        struct Step;
        impl Backward<Flex, 2> for Step {
            type State = (FlexTensor, FlexTensor, Arc<[u32]>);
            fn backward(self, ops: Ops<Self::State, 2>, gradients: &mut Gradients, _: &mut Checkpointer) {
                let gradient = gradients.consume::<Flex>(&ops.node).to_contiguous();
                let (x, y, places) = ops.state;
                let won = Won { places: &places, gradient: slice(&gradient), sizes: Sizes::of(&x, &y) };
                let [x_node, y_node] = ops.parents;
                if let Some(node) = x_node {
                    gradients.register::<Flex>(node.id, gradient_of_x(&y, &x, won));
                }
                if let Some(node) = y_node {
                    gradients.register::<Flex>(node.id, gradient_of_y(&x, &y, won));
                }
            }
        }
        let ((x, x_node), (y, y_node)) = (x.into_parts(), y.into_parts());
        match Step.prepare::<C>([x_node, y_node]).compute_bound().stateful() {
            OpsKind::Tracked(step) => {
                let (x, y) = (x.to_contiguous(), y.to_contiguous());
                let (best, places) = run(x.clone(), y.clone(), &contest, Sizes::of(&x, &y));
                step.finish((x, y, places), best)
            }
            OpsKind::UnTracked(step) => step.finish(Flex::best_matches(x, y, contest)),
        }
    }
}
