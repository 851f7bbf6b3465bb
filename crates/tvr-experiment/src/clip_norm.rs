//! Clipping of the global gradient norm. burn clips each parameter by its own norm, which is another thing.

use burn::module::{Module, ModuleVisitor, Param};
use burn::optim::GradientsParams;
use burn::prelude::*;

use crate::device::is_processor;

/// Scales all gradients so that their common 2-norm is at most `limit`; returns the norm before.
///
/// On the processor the sum of squares is taken in f64, in the order of the module's parameters: the same for any
/// number of threads. On another device squares are summed where the gradients lie, and one number comes back. A norm
/// that is not finite is returned and nothing is scaled; the caller stops the run.
pub fn clip_global_norm<M: Module>(module: &M, gradients: &mut GradientsParams, limit: Option<f64>) -> f64 {
    let mut squares = SumOfSquares { gradients, sum: 0.0, elsewhere: None };
    module.visit(&mut squares);
    let elsewhere = squares.elsewhere.map_or(0.0, |sum| f64::from(sum.into_scalar::<f32>()));
    let norm = (squares.sum + elsewhere).sqrt();
    if let Some(limit) = limit.filter(|limit| norm.is_finite() && norm > *limit) {
        module.visit(&mut Scale { gradients, factor: limit / (norm + 1e-6) });
    }
    norm
}

struct SumOfSquares<'a> {
    gradients: &'a GradientsParams,
    sum: f64,
    /// The sum on another device than the processor, `[1]`.
    elsewhere: Option<Tensor<1>>,
}

impl ModuleVisitor for SumOfSquares<'_> {
    fn visit_float<const D: usize>(&mut self, parameter: &Param<Tensor<D>>) {
        let Some(gradient) = self.gradients.get::<D>(parameter.id) else { return };
        if !is_processor(&gradient.device()) {
            let sum = gradient.square().sum();
            self.elsewhere = Some(match self.elsewhere.take() {
                Some(others) => others + sum,
                None => sum,
            });
            return;
        }
        let data = gradient.into_data().convert::<f32>();
        if let Ok(values) = data.as_slice::<f32>() {
            // Eight partial sums: the compiler keeps them in one register, and the order is fixed.
            let mut partial = [0f64; 8];
            for chunk in values.chunks(8) {
                for (sum, &value) in partial.iter_mut().zip(chunk) {
                    *sum += f64::from(value) * f64::from(value);
                }
            }
            self.sum += partial.iter().sum::<f64>();
        }
    }
}

struct Scale<'a> {
    gradients: &'a mut GradientsParams,
    factor: f64,
}

impl ModuleVisitor for Scale<'_> {
    fn visit_float<const D: usize>(&mut self, parameter: &Param<Tensor<D>>) {
        if let Some(gradient) = self.gradients.remove::<D>(parameter.id) {
            self.gradients.register::<D>(parameter.id, gradient.mul_scalar(self.factor));
        }
    }
}
