//! The only two places that several devices or machines change: gathering codes and reducing gradients.

use burn::module::Module;
use burn::optim::{GradientsAccumulator, GradientsParams};

/// How the parts of a step meet.
pub trait Collective {
    /// Parts that encode their share, and this part's index.
    fn part(&self) -> (usize, usize);

    /// The sum of every part's gradients, the same on all parts, in a fixed order.
    fn reduce<M: Module>(&self, model: &M, parts: Vec<GradientsParams>) -> GradientsParams;
}

/// One process, one device: chunks are its parts.
#[derive(Clone, Copy, Debug, Default)]
pub struct Single;

impl Collective for Single {
    fn part(&self) -> (usize, usize) {
        (1, 0)
    }

    fn reduce<M: Module>(&self, model: &M, parts: Vec<GradientsParams>) -> GradientsParams {
        let mut sum = GradientsAccumulator::new();
        for part in parts {
            sum.accumulate(model, part);
        }
        sum.grads()
    }
}
