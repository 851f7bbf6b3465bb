//! Gradients of parts, added up. burn's accumulator does the same on one thread.

use burn::module::{Module, ModuleVisitor, Param};
use burn::optim::GradientsParams;
use burn::prelude::*;

/// Adds to a sum of gradients those of one more part, parameter by parameter.
pub(super) fn add_gradients<M: Module>(model: &M, sum: &mut GradientsParams, part: GradientsParams) {
    model.visit(&mut Adder { sum, part });
}

struct Adder<'a> {
    sum: &'a mut GradientsParams,
    part: GradientsParams,
}

impl ModuleVisitor for Adder<'_> {
    fn visit_float<const D: usize>(&mut self, parameter: &Param<Tensor<D>>) {
        let Some(own) = self.part.remove::<D>(parameter.id) else { return };
        let sum = match self.sum.remove::<D>(parameter.id) {
            Some(sum) => tvr_nn::added(own, sum),
            None => own,
        };
        self.sum.register::<D>(parameter.id, sum);
    }
}
