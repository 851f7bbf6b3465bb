//! Gradients of a model's parameters, added up over ranks.
//!
//! ```text
//! one bucket = the gradients, one after another │ whether there is a gradient, for each of its parameters
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
    let mut given = Given { ranks, own, bucket: Bucket::default(), is_finite: true, sums: Ok(Vec::new()) };
    model.visit(&mut given);
    given.add_up();
    let Given { is_finite, sums, .. } = given;
    let sums = sums?;
    // The sum is the same at every rank, so all of them ask or none.
    let broken = if sums.iter().all(|sum| all_finite(&sum.numbers)) {
        None
    } else {
        let said = ranks.gather("whose gradients are not finite", vec![u8::from(is_finite)])?;
        said.iter().position(|finite| finite.first() == Some(&0))
    };
    let mut taken = Taken { sums: &sums, parameter: 0, start: 0, gradients: GradientsParams::new() };
    model.visit(&mut taken);
    Ok((taken.gradients, broken))
}

#[derive(Default)]
struct Bucket {
    numbers: Vec<f32>,
    /// Of each parameter 1 where there is a gradient; in a sum, at how many ranks.
    touched: Vec<f32>,
}

/// Fills one bucket after another, and adds each up as soon as it is full.
struct Given<'a> {
    ranks: &'a dyn Collective,
    own: GradientsParams,
    bucket: Bucket,
    is_finite: bool,
    sums: Result<Vec<Bucket>, ExperimentError>,
}

impl Given<'_> {
    fn add_up(&mut self) {
        let Bucket { numbers: mut row, touched } = std::mem::take(&mut self.bucket);
        let Ok(sums) = &mut self.sums else { return };
        if touched.is_empty() {
            return;
        }
        self.is_finite &= all_finite(&row);
        let count = row.len();
        row.extend(touched);
        match self.ranks.sum("the gradients", row) {
            Ok(mut numbers) => {
                let touched = numbers.split_off(count);
                sums.push(Bucket { numbers, touched });
            }
            Err(error) => self.sums = Err(error),
        }
    }
}

impl ModuleVisitor for Given<'_> {
    fn visit_float<const D: usize>(&mut self, parameter: &Param<Tensor<D>>) {
        if !parameter.is_require_grad() {
            return;
        }
        let count = parameter.val().shape().num_elements();
        if self.bucket.numbers.len() + count > BUCKET {
            self.add_up();
        }
        let gradient = self.own.remove::<D>(parameter.id);
        let Bucket { numbers, touched } = &mut self.bucket;
        touched.push(f32::from(u8::from(gradient.is_some())));
        match gradient {
            Some(gradient) => {
                let data = gradient.into_data().convert::<f32>();
                match data.as_slice::<f32>() {
                    Ok(values) => numbers.extend_from_slice(values),
                    Err(_) => numbers.extend(data.iter::<f32>()),
                }
            }
            None => numbers.resize(numbers.len() + count, 0.0),
        }
    }
}

struct Taken<'a> {
    sums: &'a [Bucket],
    /// The next parameter of the first bucket, and where its numbers start.
    parameter: usize,
    start: usize,
    gradients: GradientsParams,
}

impl ModuleVisitor for Taken<'_> {
    fn visit_float<const D: usize>(&mut self, parameter: &Param<Tensor<D>>) {
        if !parameter.is_require_grad() {
            return;
        }
        if self.sums.first().is_some_and(|bucket| bucket.touched.len() == self.parameter) {
            (self.sums, self.parameter, self.start) = (&self.sums[1..], 0, 0);
        }
        let Some(bucket) = self.sums.first() else { return };
        let value = parameter.val().without_autodiff();
        let numbers = &bucket.numbers[self.start..][..value.shape().num_elements()];
        if bucket.touched[self.parameter] > 0.0 {
            let data = TensorData::new(numbers.to_vec(), value.shape());
            let gradient = Tensor::<D>::from_data(data, (&value.device(), value.dtype()));
            self.gradients.register(parameter.id, gradient);
        }
        self.parameter += 1;
        self.start += numbers.len();
    }
}
