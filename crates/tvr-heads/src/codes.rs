//! What a head keeps of each item, in a shape that a training step can cut, join and pull gradients through.
//!
//! A step that does not hold the whole batch at once encodes it by parts, joins the codes ([`Codes::cat`]), makes
//! leaves of them ([`Codes::leaves`]), judges them, takes the leaves' gradients ([`Codes::gradients`]), and then
//! encodes each part again and pulls it by its share ([`CodeGradients::rows`], [`Codes::pull`]). None of that
//! depends on the head: a head only says what is in its codes.

mod flat;

use std::marker::PhantomData;
use std::ops::Range;

use burn::prelude::*;
use burn::tensor::{Gradients, assert_shape};
use tvr_nn::{cat_masks, sum};

use crate::error::HeadError;

/// Marks codes of videos.
#[derive(Clone, Copy, Debug)]
pub struct Videos;

/// Marks codes of texts.
#[derive(Clone, Copy, Debug)]
pub struct Texts;

/// Codes of some videos.
pub type VideoCodes = Codes<Videos>;

/// Codes of some texts.
pub type TextCodes = Codes<Texts>;

/// What a head keeps of each item. Row `i` of every tensor belongs to item `i` and depends on that item alone.
#[derive(Clone, Debug)]
pub struct Codes<Side> {
    /// The item's vector; a unit row wherever the head's similarity is a cosine. `[items, width]`
    pub pooled: Tensor<2>,
    /// A vector per step (frame, token, expert), for heads that compare more than one vector.
    pub sequence: Option<Sequence>,
    /// Further rows by name (weights, streams). Each `[items, any]`
    pub extras: Vec<(&'static str, Tensor<2>)>,
    side: PhantomData<Side>,
}

/// A vector per step of each item.
#[derive(Clone, Debug)]
pub struct Sequence {
    /// `[items, steps, width]`
    pub features: Tensor<3>,
    /// True where a step is real. `[items, steps]`
    pub mask: Tensor<2, Bool>,
}

/// Gradients of codes, outside any graph; `None` where the loss did not touch a tensor.
#[derive(Clone, Debug)]
pub struct CodeGradients<Side> {
    /// Of [`Codes::pooled`].
    pub pooled: Option<Tensor<2>>,
    /// Of [`Sequence::features`].
    pub sequence: Option<Tensor<3>>,
    /// Of [`Codes::extras`], in their order.
    pub extras: Vec<Option<Tensor<2>>>,
    side: PhantomData<Side>,
}

impl<Side> Codes<Side> {
    /// Codes of one vector per item.
    pub fn new(pooled: Tensor<2>) -> Self {
        Self { pooled, sequence: None, extras: Vec::new(), side: PhantomData }
    }

    /// The same with a vector per step.
    pub fn with_sequence(mut self, features: Tensor<3>, mask: Tensor<2, Bool>) -> Self {
        let [items, _] = self.pooled.dims();
        let [_, steps, _] = features.dims();
        assert_shape!(features, [items, steps, _]);
        assert_shape!(mask, [items, steps]);
        self.sequence = Some(Sequence { features, mask });
        self
    }

    /// The same with further rows.
    pub fn with_extra(mut self, name: &'static str, rows: Tensor<2>) -> Self {
        let [items, _] = self.pooled.dims();
        assert_shape!(rows, [items, _]);
        self.extras.push((name, rows));
        self
    }

    /// The rows of that name.
    pub fn extra(&self, name: &str) -> Option<&Tensor<2>> {
        self.extras.iter().find(|(known, _)| *known == name).map(|(_, rows)| rows)
    }

    /// The vector per step, for the pairwise part of a head whose codes always have one.
    ///
    /// # Panics
    /// On codes of another head, which have none.
    pub fn steps(&self) -> &Sequence {
        match &self.sequence {
            Some(sequence) => sequence,
            None => unreachable!("codes of another head: they have no sequence"),
        }
    }

    /// Number of items.
    pub fn n_items(&self) -> usize {
        self.pooled.dims()[0]
    }

    /// Some of the items.
    pub fn rows(&self, rows: Range<usize>) -> Self {
        self.map_all(
            |pooled| pooled.slice_dim(0, rows.clone()),
            |features| features.slice_dim(0, rows.clone()),
            |mask| mask.slice_dim(0, rows.clone()),
        )
    }

    /// The items of these indices, in their order. `indices`: `[any]`
    pub fn select(&self, indices: &Tensor<1, Int>) -> Self {
        let places = || indices.clone();
        self.map_all(|x| x.select(0, places()), |x| x.select(0, places()), |x| x.select(0, places()))
    }

    /// The parts one after another. Parts of one head have the same tensors; their sequences may differ in steps
    /// and are padded with masked zeros.
    ///
    /// # Errors
    /// Without a part there is nothing to join; parts of different heads do not fit.
    pub fn cat(parts: Vec<Self>) -> Result<Self, HeadError> {
        let first = parts.first().ok_or(HeadError::Empty { what: "codes" })?;
        let names: Vec<&'static str> = first.extras.iter().map(|(name, _)| *name).collect();
        let has_sequence = first.sequence.is_some();
        for part in &parts {
            let same_names = part.extras.iter().map(|(name, _)| *name).eq(names.iter().copied());
            if !same_names || part.sequence.is_some() != has_sequence {
                return Err(HeadError::Parts);
            }
        }
        let steps = parts.iter().filter_map(|part| part.sequence.as_ref().map(Sequence::n_steps)).max();
        let (mut pooled, mut features, mut masks) = (Vec::new(), Vec::new(), Vec::new());
        let mut extras: Vec<Vec<Tensor<2>>> = vec![Vec::new(); names.len()];
        for part in parts {
            pooled.push(part.pooled);
            if let (Some(sequence), Some(steps)) = (part.sequence, steps) {
                let padded = sequence.padded(steps);
                features.push(padded.features);
                masks.push(padded.mask);
            }
            for (joined, (_, rows)) in extras.iter_mut().zip(part.extras) {
                joined.push(rows);
            }
        }
        let sequence =
            has_sequence.then(|| Sequence { features: Tensor::cat(features, 0), mask: cat_masks(masks, 0) });
        let extras = names.into_iter().zip(extras).map(|(name, rows)| (name, Tensor::cat(rows, 0)));
        Ok(Self { pooled: Tensor::cat(pooled, 0), sequence, extras: extras.collect(), side: PhantomData })
    }

    /// The same values outside any graph, on a device without autodiff.
    pub fn inner(&self) -> Self {
        self.map_all(Tensor::without_autodiff, Tensor::without_autodiff, Tensor::without_autodiff)
    }

    /// The same values as leaves of a new graph.
    pub fn leaves(&self) -> Self {
        let plain = self.inner();
        plain.map_all(
            |x| Tensor::from_inner(x).require_grad(),
            |x| Tensor::from_inner(x).require_grad(),
            Tensor::from_inner,
        )
    }

    /// The gradients of these leaves, taken out of `gradients`.
    pub fn gradients(&self, gradients: &mut Gradients) -> CodeGradients<Side> {
        CodeGradients {
            pooled: self.pooled.grad_remove(gradients),
            sequence: self.sequence.as_ref().and_then(|sequence| sequence.features.grad_remove(gradients)),
            extras: self.extras.iter().map(|(_, rows)| rows.grad_remove(gradients)).collect(),
            side: PhantomData,
        }
    }

    /// Sum of codes times upstream gradients, `[1]`: its gradient is that of the loss for these items alone.
    /// `None` where the loss touched none of the tensors.
    pub fn pull(&self, upstream: &CodeGradients<Side>) -> Option<Tensor<1>> {
        let mut terms: Vec<Tensor<1>> = Vec::new();
        if let Some(gradient) = &upstream.pooled {
            terms.push(sum(self.pooled.clone() * Tensor::from_inner(gradient.clone())));
        }
        if let (Some(sequence), Some(gradient)) = (&self.sequence, &upstream.sequence) {
            let steps = sequence.n_steps();
            // Where the parts were padded to a common length, this part is shorter than its gradient.
            let gradient = gradient.clone().slice_dim(1, 0..steps);
            let product = sequence.features.clone() * Tensor::from_inner(gradient);
            terms.push(sum(product));
        }
        for ((_, rows), gradient) in self.extras.iter().zip(&upstream.extras) {
            if let Some(gradient) = gradient {
                terms.push(sum(rows.clone() * Tensor::from_inner(gradient.clone())));
            }
        }
        terms.into_iter().reduce(|sum, term| sum + term)
    }

    fn map_all(
        &self,
        pooled: impl Fn(Tensor<2>) -> Tensor<2>,
        features: impl Fn(Tensor<3>) -> Tensor<3>,
        mask: impl Fn(Tensor<2, Bool>) -> Tensor<2, Bool>,
    ) -> Self {
        Self {
            pooled: pooled(self.pooled.clone()),
            sequence: self.sequence.as_ref().map(|sequence| Sequence {
                features: features(sequence.features.clone()),
                mask: mask(sequence.mask.clone()),
            }),
            extras: self.extras.iter().map(|(name, rows)| (*name, pooled(rows.clone()))).collect(),
            side: PhantomData,
        }
    }
}

impl Sequence {
    /// Number of steps, masked ones included.
    pub fn n_steps(&self) -> usize {
        self.mask.dims()[1]
    }

    fn padded(self, steps: usize) -> Self {
        let [items, found, width] = self.features.dims();
        if found == steps {
            return self;
        }
        let missing = steps - found;
        let device = self.features.device();
        let zeros = Tensor::<3>::zeros([items, missing, width], (&device, self.features.dtype()));
        let masked = Tensor::<2, Int>::zeros([items, missing], &device).bool();
        Self {
            features: Tensor::cat(vec![self.features, zeros], 1),
            mask: cat_masks(vec![self.mask, masked], 1),
        }
    }
}

impl<Side> CodeGradients<Side> {
    fn new(pooled: Option<Tensor<2>>, sequence: Option<Tensor<3>>, extras: Vec<Option<Tensor<2>>>) -> Self {
        Self { pooled, sequence, extras, side: PhantomData }
    }

    /// The gradients of some of the items.
    pub fn rows(&self, rows: Range<usize>) -> Self {
        let cut = |gradient: &Tensor<2>| gradient.clone().slice_dim(0, rows.clone());
        Self {
            pooled: self.pooled.as_ref().map(cut),
            sequence: self.sequence.as_ref().map(|gradient| gradient.clone().slice_dim(0, rows.clone())),
            extras: self.extras.iter().map(|gradient| gradient.as_ref().map(cut)).collect(),
            side: PhantomData,
        }
    }
}
