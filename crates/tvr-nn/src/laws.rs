//! What the laws of heads and of objectives share: numbers drawn on the host, and how one says that a law is broken.
//!
//! A law is a function that looks at one method and answers `Ok`, or [`Broken`] with what it found. `tvr_heads::laws`
//! and `tvr_objectives::laws` hold them; here stands what neither of them could lend the other.
//!
//! ```
//! use tvr_nn::laws::{Broken, Draw, close, law};
//!
//! fn doubling_is_adding(double: fn(f64) -> f64, seed: u64) -> Result<(), Broken> {
//!     law("doubling_is_adding", seed, || {
//!         let x = Draw::new(seed).normal();
//!         close(&[double(x)], &[x + x], 1e-12, || format!("of {x}"))
//!     })
//! }
//!
//! assert!(doubling_is_adding(|x| 2.0 * x, 7).is_ok());
//! assert_eq!(doubling_is_adding(|x| x * x, 7).map_err(|broken| broken.law), Err("doubling_is_adding"));
//! assert!(doubling_is_adding(|_| f64::NAN, 7).is_err());
//! ```

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};

use burn::module::{Module, ModuleMapper, Param};
use burn::prelude::*;
use burn::tensor::DType;

/// A law that a method breaks.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{law} is broken at seed {seed}: {found}")]
pub struct Broken {
    /// The function that found it.
    pub law: &'static str,
    /// What the inputs were drawn by.
    pub seed: u64,
    /// What was found, what was expected, and at which sizes.
    pub found: String,
}

/// Runs the body of a law. Where the method panics, as burn does on a shape that does not fit, the law is broken too.
///
/// # Errors
/// [`Broken`] with what the body found, or with the message of the panic.
pub fn law(name: &'static str, seed: u64, body: impl FnOnce() -> Result<(), String>) -> Result<(), Broken> {
    let found = match catch_unwind(AssertUnwindSafe(body)) {
        Ok(Ok(())) => return Ok(()),
        Ok(Err(found)) => found,
        Err(payload) => format!("the method panicked: {}", told(payload.as_ref())),
    };
    Err(Broken { law: name, seed, found })
}

/// What a panic said.
fn told(payload: &(dyn Any + Send)) -> &str {
    match payload.downcast_ref::<String>() {
        Some(text) => text,
        None => payload.downcast_ref::<&str>().copied().unwrap_or("it did not say why"),
    }
}

/// Whether numbers are as many as others and nowhere further from them than `tolerance`; NaN is far from everything.
/// `context` says of what they are.
///
/// # Errors
/// A sentence that names the first place where they differ.
pub fn close(
    found: &[f64],
    expected: &[f64],
    tolerance: f64,
    context: impl Fn() -> String,
) -> Result<(), String> {
    if found.len() != expected.len() {
        return Err(format!("{}: {} numbers, but expected {}", context(), found.len(), expected.len()));
    }
    let far = |(a, b): (&f64, &f64)| !((a - b).abs() <= tolerance);
    match found.iter().zip(expected).position(far) {
        None => Ok(()),
        Some(place) => {
            let (a, b) = (found[place], expected[place]);
            Err(format!("{}: number {place} is {a}, but expected {b} within {tolerance:e}", context()))
        }
    }
}

/// A tensor's numbers in memory, row by row.
pub fn floats<const D: usize>(tensor: &Tensor<D>) -> Vec<f64> {
    tensor.to_data().iter::<f64>().collect()
}

/// Flags along an axis in another order, stored as they were: a selection on flex stores them otherwise, and burn joins like
/// with like alone.
pub fn select_flags<const D: usize>(
    flags: &Tensor<D, Bool>,
    axis: usize,
    places: &[usize],
) -> Tensor<D, Bool> {
    let one = |&place: &usize| flags.clone().slice_dim(axis, place..place + 1);
    Tensor::cat(places.iter().map(one).collect(), axis)
}

/// The device that laws judge a method on: that of its first parameter, or burn's default one, without a graph.
pub fn device_of<M: Module>(method: &M) -> Device {
    method.devices().into_iter().next().unwrap_or_default().without_autodiff()
}

/// The same module in another number type.
pub fn cast<M: Module>(module: &M, dtype: DType) -> M {
    struct Cast(DType);
    impl ModuleMapper for Cast {
        fn map_float<const D: usize>(&mut self, parameter: Param<Tensor<D>>) -> Param<Tensor<D>> {
            parameter.map(|value| value.cast(self.0))
        }
    }
    module.clone().map(&mut Cast(dtype))
}

/// Numbers drawn on the host: SplitMix64, so that a seed gives the same numbers on every machine and device.
/// Source: Steele et al. 2014, doi 10.1145/2660193.2660195.
#[derive(Clone, Debug)]
pub struct Draw(u64);

impl Draw {
    /// The stream of a seed.
    pub fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x2545_F491_4F6C_DD1D).wrapping_add(1))
    }

    /// The next 64 bits.
    pub fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// In [0, 1).
    pub fn uniform(&mut self) -> f64 {
        (self.bits() >> 11) as f64 / (1u64 << 53) as f64
    }

    /// In `0..bound`; 0 where `bound` is.
    pub fn below(&mut self, bound: usize) -> usize {
        (self.bits() % bound.max(1) as u64) as usize
    }

    /// Of mean 0 and variance 1.
    pub fn normal(&mut self) -> f64 {
        let (radius, angle) = (1.0 - self.uniform(), self.uniform());
        (-2.0 * radius.ln()).sqrt() * (std::f64::consts::TAU * angle).cos()
    }

    /// So many of them.
    pub fn normals(&mut self, count: usize) -> Vec<f64> {
        (0..count).map(|_| self.normal()).collect()
    }

    /// Normal numbers as f32 in any shape.
    pub fn tensor<const D: usize>(&mut self, shape: [usize; D], device: &Device) -> Tensor<D> {
        let values: Vec<f32> = self.normals(shape.iter().product()).iter().map(|&x| x as f32).collect();
        Tensor::from_data(TensorData::new(values, shape), (device, DType::F32))
    }

    /// The numbers of `0..items` in another order.
    pub fn order(&mut self, items: usize) -> Vec<usize> {
        let mut order: Vec<usize> = (0..items).collect();
        order.sort_by_cached_key(|_| self.bits());
        order
    }

    /// A module whose every float parameter is a fresh number of deviation 0.2, with half of what it was beside where that
    /// is one number throughout, as gains and biases are. So no part is idle: a residual branch that starts at zero would
    /// keep every law. And what burn's generator drew plays no part: the same seed gives the same module.
    pub fn shake<M: Module>(&mut self, module: M) -> M {
        module.map(&mut Shake(self))
    }
}

struct Shake<'a>(&'a mut Draw);

impl ModuleMapper for Shake<'_> {
    fn map_float<const D: usize>(&mut self, parameter: Param<Tensor<D>>) -> Param<Tensor<D>> {
        parameter.map(|value| {
            let device = value.device().without_autodiff();
            let noise = (self.0.tensor(value.dims(), &device) * 0.2).cast(value.dtype());
            let noise = if value.is_autodiff() { Tensor::from_inner(noise) } else { noise };
            let mut numbers = value.to_data().iter::<f64>().collect::<Vec<_>>().into_iter();
            let first = numbers.next().unwrap_or(0.0);
            if numbers.all(|number| number == first) { noise + 0.5 * first } else { noise }
        })
    }
}
