//! Weights are drawn at first use; this draws them now.

use burn::module::{ModuleVisitor, Param};
use burn::prelude::*;

/// Draws every lazy parameter of `module`, in module order.
///
/// burn draws a weight when it is first read, so weights would depend on which layer runs first and on every
/// random number drawn in between. `device.seed(seed)`, build, then `touch`.
pub fn touch<M: Module>(module: &M) {
    module.visit(&mut Touch);
}

struct Touch;

impl ModuleVisitor for Touch {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        let _ = param.val();
    }
}
