//! The only two places that several devices or machines change: gathering codes and reducing gradients.

use burn::module::Module;
use burn::optim::{GradientsAccumulator, GradientsParams};
use tvr_heads::{Codes, HeadError};

/// How the parts of a step meet.
pub trait Collective {
    /// The codes of all parts, in the order of the parts.
    ///
    /// # Errors
    /// Parts of different heads do not fit.
    fn gather<Side>(&self, parts: Vec<Codes<Side>>) -> Result<Codes<Side>, HeadError>;

    /// The sum of every part's gradients, in a fixed order.
    fn reduce<M: Module>(&self, model: &M, parts: Vec<GradientsParams>) -> GradientsParams;
}

/// One process, one device: its chunks are the parts.
#[derive(Clone, Copy, Debug, Default)]
pub struct Single;

impl Collective for Single {
    fn gather<Side>(&self, parts: Vec<Codes<Side>>) -> Result<Codes<Side>, HeadError> {
        Codes::cat(parts)
    }

    fn reduce<M: Module>(&self, model: &M, parts: Vec<GradientsParams>) -> GradientsParams {
        let mut sum = GradientsAccumulator::new();
        for part in parts {
            sum.accumulate(model, part);
        }
        sum.grads()
    }
}
