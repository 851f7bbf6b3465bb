//! Gradients of a model's parameters, added up over ranks by their devices.
//!
//! ```text
//! host      of each parameter: its size, and whether this rank has a gradient      gathered
//! devices   one row = the gradients of a bucket of parameters, one after another   added up
//! host      whether this rank's own gradients are finite                           gathered
//! ```
//!
//! Every rank has come to the first of these before a device waits for another one. Rows are f32 whatever a parameter is; a
//! gradient that only other ranks have is a row of zeros, and one that nobody has is left out.
//!
//! A row is added up by burn's `all_reduce`, which needs a thread for each device and nothing else; its
//! [`DistributedContext`](burn::tensor::distributed::DistributedContext) is for gradients that burn exchanges by itself
//! during the backward pass.

use std::sync::Arc;

use burn::module::{Module, ModuleVisitor, Param};
use burn::optim::GradientsParams;
use burn::prelude::*;
use burn::tensor::DType;
use burn::tensor::distributed::{ReduceOperation, all_reduce};

use crate::collective::parameters::BUCKET;
use crate::collective::threads::Between;
use crate::collective::{Add, Collective};
use crate::error::ExperimentError;

/// Lets these devices add up rows with burn's `all_reduce`. A backend without it panics, and so does one whose library is
/// missing; a device that never gives its row leaves the others waiting.
pub fn by_all_reduce(devices: Vec<Device>) -> Add {
    Arc::new(move |own| all_reduce(own, ReduceOperation::Sum, devices.clone()).resolve())
}

/// As [`sum_gradients`](crate::collective::sum_gradients).
pub(super) fn sum_gradients<M: Module>(
    ranks: &dyn Collective,
    devices: &Between<'_>,
    model: &M,
    own: GradientsParams,
) -> Result<(GradientsParams, Option<usize>), ExperimentError> {
    let mut asked = Asked { own: &own, words: Vec::new() };
    model.visit(&mut asked);
    let wanted = wanted(&ranks.gather("which gradients there are", asked.words)?)?;
    let mut given = Given { own, wanted: wanted.iter(), rows: Vec::new() };
    model.visit(&mut given);
    let (mut sums, mut finite) = (Vec::with_capacity(given.rows.len()), Vec::new());
    let mut rows = given.rows.into_iter().peekable();
    while let Some(row) = rows.next() {
        let mut count = row.dims()[0];
        let mut bucket = vec![row];
        while let Some(row) = rows.next_if(|row| count + row.dims()[0] <= BUCKET) {
            count += row.dims()[0];
            bucket.push(row);
        }
        let sizes: Vec<usize> = bucket.iter().map(|row| row.dims()[0]).collect();
        let bucket = Tensor::cat(bucket, 0);
        finite.push(bucket.clone().is_finite().all());
        let sum = devices.sum(bucket);
        let mut start = 0;
        for size in sizes {
            sums.push(sum.clone().slice([start..start + size]));
            start += size;
        }
    }
    // Reading it waits for the devices. A sum is finite nowhere or everywhere, but whose own row is not is known to itself.
    let finite = finite.is_empty() || Tensor::cat(finite, 0).all().into_scalar::<bool>();
    let said = ranks.gather("whose gradients are not finite", vec![u8::from(finite)])?;
    let broken = said.iter().position(|finite| finite.first() == Some(&0));
    let mut taken =
        Taken { sums: sums.into_iter(), wanted: wanted.iter(), gradients: GradientsParams::new() };
    model.visit(&mut taken);
    Ok((taken.gradients, broken))
}

/// Of each parameter, whether any rank has a gradient.
fn wanted(all: &[Arc<Vec<u8>>]) -> Result<Vec<bool>, ExperimentError> {
    let words = |bytes: &Arc<Vec<u8>>| -> Vec<u64> {
        bytes.as_chunks::<8>().0.iter().map(|&word| u64::from_le_bytes(word)).collect()
    };
    let all: Vec<Vec<u64>> = all.iter().map(words).collect();
    let sizes = |words: &[u64]| words.iter().map(|word| word / 2).collect::<Vec<u64>>();
    // Devices that are given rows of different lengths wait for each other without end.
    if all.windows(2).any(|pair| sizes(&pair[0]) != sizes(&pair[1])) {
        return Err(ExperimentError::work("the gradients: the ranks hold models of different sizes"));
    }
    let count = all.first().map_or(0, Vec::len);
    Ok((0..count).map(|place| all.iter().any(|words| words[place] % 2 == 1)).collect())
}

/// A word for each parameter: twice its size, and one more if this rank has a gradient of it.
struct Asked<'a> {
    own: &'a GradientsParams,
    words: Vec<u8>,
}

impl ModuleVisitor for Asked<'_> {
    fn visit_float<const D: usize>(&mut self, parameter: &Param<Tensor<D>>) {
        if parameter.is_require_grad() {
            let size = parameter.val().shape().num_elements() as u64;
            let has = self.own.get::<D>(parameter.id).is_some();
            self.words.extend((2 * size + u64::from(has)).to_le_bytes());
        }
    }
}

struct Given<'a> {
    own: GradientsParams,
    wanted: std::slice::Iter<'a, bool>,
    rows: Vec<Tensor<1>>,
}

impl ModuleVisitor for Given<'_> {
    fn visit_float<const D: usize>(&mut self, parameter: &Param<Tensor<D>>) {
        if !parameter.is_require_grad() || self.wanted.next() != Some(&true) {
            return;
        }
        let value = parameter.val().without_autodiff();
        let count = value.shape().num_elements();
        self.rows.push(match self.own.remove::<D>(parameter.id) {
            Some(gradient) => gradient.reshape([count]).cast(DType::F32),
            None => Tensor::zeros([count], (&value.device(), DType::F32)),
        });
    }
}

struct Taken<'a> {
    sums: std::vec::IntoIter<Tensor<1>>,
    wanted: std::slice::Iter<'a, bool>,
    gradients: GradientsParams,
}

impl ModuleVisitor for Taken<'_> {
    fn visit_float<const D: usize>(&mut self, parameter: &Param<Tensor<D>>) {
        if !parameter.is_require_grad() || self.wanted.next() != Some(&true) {
            return;
        }
        let value = parameter.val().without_autodiff();
        if let Some(sum) = self.sums.next() {
            self.gradients.register(parameter.id, sum.reshape(value.dims()).cast(value.dtype()));
        }
    }
}
