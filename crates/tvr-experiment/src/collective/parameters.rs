//! Gradients of a model's parameters, added up over ranks.
//!
//! ```text
//! one bucket = whether there is a gradient, for each of its parameters │ the gradients, one after another
//! ```
//!
//! A parameter that took part on some ranks only counts as zero on the others; one that took part nowhere has no
//! gradient afterwards, as on one device. Buckets bound the memory that is in flight.

use burn::module::{Module, ModuleVisitor, Param};
use burn::optim::GradientsParams;
use burn::prelude::*;

use crate::collective::{Collective, all_finite, on_device};
use crate::error::ExperimentError;

/// Numbers of a bucket, 64 MiB; a parameter is never cut.
pub(super) const BUCKET: usize = 1 << 24;

/// The sum of every rank's gradients, the same at every rank; and, where it is not finite, the first rank whose own
/// gradients are not. The devices add up where they can.
///
/// # Errors
/// As [`Collective::gather`].
pub fn sum_gradients<M: Module>(
    ranks: &dyn Collective,
    model: &M,
    own: GradientsParams,
) -> Result<(GradientsParams, Option<usize>), ExperimentError> {
    if let Some(devices) = ranks.between_devices() {
        return on_device::sum_gradients(ranks, &devices, model, own);
    }
    if ranks.size() == 1 {
        return Ok((own, None));
    }
    let mut given = Given { own: &own, counts: Vec::new(), numbers: Vec::new(), touched: Vec::new() };
    model.visit(&mut given);
    let Given { counts, numbers, touched, .. } = given;
    drop(own);
    let (mut sums, mut places) = (Vec::with_capacity(numbers.len()), Vec::with_capacity(counts.len()));
    let (mut first, mut start) = (0, 0);
    while first < counts.len() {
        let (mut last, mut end) = (first, start);
        while last < counts.len() && (last == first || end + counts[last] - start <= BUCKET) {
            end += counts[last];
            last += 1;
        }
        let row = [&touched[first..last], &numbers[start..end]].concat();
        let sum = ranks.sum("the gradients", row)?;
        let (found, values) = sum.split_at_checked(last - first).unwrap_or_default();
        places.extend(found.iter().map(|&count| count > 0.0));
        sums.extend_from_slice(values);
        (first, start) = (last, end);
    }
    if sums.len() != numbers.len() {
        return Err(ExperimentError::work("the gradients: the ranks hold models of different sizes"));
    }
    // The sum is the same at every rank, so all of them ask or none.
    let broken = match all_finite(&sums) {
        true => None,
        false => {
            let said =
                ranks.gather("whose gradients are not finite", vec![u8::from(all_finite(&numbers))])?;
            said.iter().position(|finite| finite.first() == Some(&0))
        }
    };
    drop(numbers);
    let mut taken = Taken { sums: &sums, touched: places.iter(), gradients: GradientsParams::new() };
    model.visit(&mut taken);
    Ok((taken.gradients, broken))
}

struct Given<'a> {
    own: &'a GradientsParams,
    counts: Vec<usize>,
    numbers: Vec<f32>,
    touched: Vec<f32>,
}

impl ModuleVisitor for Given<'_> {
    fn visit_float<const D: usize>(&mut self, parameter: &Param<Tensor<D>>) {
        if !parameter.is_require_grad() {
            return;
        }
        let count = parameter.val().shape().num_elements();
        let gradient = self.own.get::<D>(parameter.id);
        self.touched.push(f32::from(u8::from(gradient.is_some())));
        self.counts.push(count);
        match gradient {
            Some(gradient) => {
                let data = gradient.into_data().convert::<f32>();
                match data.as_slice::<f32>() {
                    Ok(values) => self.numbers.extend_from_slice(values),
                    Err(_) => self.numbers.extend(data.iter::<f32>()),
                }
            }
            None => self.numbers.resize(self.numbers.len() + count, 0.0),
        }
    }
}

struct Taken<'a, Touched> {
    sums: &'a [f32],
    touched: Touched,
    gradients: GradientsParams,
}

impl<'a, Touched: Iterator<Item = &'a bool>> ModuleVisitor for Taken<'a, Touched> {
    fn visit_float<const D: usize>(&mut self, parameter: &Param<Tensor<D>>) {
        if !parameter.is_require_grad() {
            return;
        }
        let value = parameter.val().without_autodiff();
        let (numbers, rest) = self.sums.split_at(value.shape().num_elements());
        self.sums = rest;
        if self.touched.next() == Some(&true) {
            let data = TensorData::new(numbers.to_vec(), value.shape());
            let gradient = Tensor::<D>::from_data(data, (&value.device(), value.dtype()));
            self.gradients.register(parameter.id, gradient);
        }
    }
}
