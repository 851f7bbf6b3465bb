//! How the ranks of a run meet: the only places that several devices or machines change.
//!
//! A *rank* is whoever holds a share of each batch: a device, on a thread or in a process of its own. Every rank has
//! the whole model and encodes its share of the items. Four things are exchanged in a step:
//!
//! | what | how | where | numbers, for `B` pairs, `d` numbers of a code, `P` parameters |
//! |---|---|---|---|
//! | codes of each share | gathered | host | `2 · B · d` to every rank |
//! | gradients of the codes, where rows are split | added up | host | `2 · B · d` |
//! | each share's loss | gathered | host | a few |
//! | gradients of the parameters | added up | host, or the devices ([`Add`]) | `P` |
//!
//! The host's sums run in the order of ranks, so they do not depend on who comes first. Devices add up where all ranks are
//! threads of one process, each on a CUDA device of its own; their sums are the same at every rank, in an order of NCCL's.
//! [`Single`] has nothing to exchange; an engine for several ranks says who it is, and how it gathers and adds up.

mod agree;
mod in_turn;
pub mod launch;
#[cfg(feature = "mpi")]
pub mod mpi;
mod on_device;
mod parameters;
pub mod processes;
mod start;
pub mod threads;
mod waited;

use std::any::Any;
use std::sync::Arc;
use std::time::Duration;

use burn::prelude::*;
use tvr_heads::Codes;

pub use agree::{Facts, agree};
pub(crate) use agree::{features_sha256, weights_sha256};
pub use in_turn::open_in_turn;
pub use on_device::by_all_reduce;
pub use parameters::sum_gradients;
pub use processes::Process;
pub use start::{Start, share_start};
pub use threads::Threads;

use crate::device::guard::reason;
use crate::error::ExperimentError;

/// Adds up a row of numbers over the ranks of one process without the host: each gives its own, from a thread of its own,
/// and all have the sum.
pub type Add = Arc<dyn Fn(Tensor<1>) -> Tensor<1> + Send + Sync>;

/// How ranks meet. Every rank calls the same functions in the same order.
pub trait Collective {
    /// This rank, from 0.
    fn rank(&self) -> usize {
        0
    }

    /// How many ranks there are.
    fn size(&self) -> usize {
        1
    }

    /// What every rank gave, in the order of ranks. Ranks may give different lengths. `what` names the moment.
    ///
    /// # Errors
    /// A rank that failed, or did not come in time, by its number.
    fn gather(&self, what: &'static str, own: Vec<u8>) -> Result<Vec<Arc<Vec<u8>>>, ExperimentError>;

    /// The sum of every rank's numbers, added in the order of ranks.
    ///
    /// # Errors
    /// As [`Collective::gather`]; rows of different lengths.
    fn sum(&self, what: &'static str, own: Vec<f32>) -> Result<Vec<f32>, ExperimentError>;

    /// Where the ranks' devices add up rows among themselves: a turn of it. Every rank takes it, and meets the others at least
    /// once on the host meanwhile.
    fn between_devices(&self) -> Option<threads::Between<'_>> {
        None
    }

    /// Held while a part draws random numbers, where ranks share one generator; `None` where they do not.
    ///
    /// # Errors
    /// A rank that failed, or that holds it for too long, by its number.
    fn generator(&self) -> Result<Option<threads::Drawing<'_>>, ExperimentError> {
        Ok(None)
    }

    /// What rank 0 gave, at every rank; the others give nothing.
    ///
    /// # Errors
    /// As [`Collective::gather`].
    fn broadcast(&self, what: &'static str, own: Vec<u8>) -> Result<Arc<Vec<u8>>, ExperimentError> {
        let own = if self.rank() == 0 { own } else { Vec::new() };
        let all = self.gather(what, own)?;
        all.into_iter().next().ok_or_else(|| ExperimentError::work(format!("{what}: nobody gave anything")))
    }

    /// Returns when every rank has come.
    ///
    /// # Errors
    /// As [`Collective::gather`].
    fn barrier(&self, what: &'static str) -> Result<(), ExperimentError> {
        self.gather(what, Vec::new()).map(|_| ())
    }
}

/// One rank: there is nobody to meet.
#[derive(Clone, Copy, Debug, Default)]
pub struct Single;

impl Collective for Single {
    fn gather(&self, _what: &'static str, own: Vec<u8>) -> Result<Vec<Arc<Vec<u8>>>, ExperimentError> {
        Ok(vec![Arc::new(own)])
    }

    fn sum(&self, _what: &'static str, own: Vec<f32>) -> Result<Vec<f32>, ExperimentError> {
        Ok(own)
    }
}

/// The codes of every rank, in the order of ranks, on the device of `own` and outside any graph; and the first rank
/// whose codes are not all finite.
///
/// - `own`: this rank's codes, or some of the same head where it has none of the batch
/// - `given`: whether it has any
///
/// # Errors
/// As [`Collective::gather`].
pub fn gather_codes<Side>(
    ranks: &dyn Collective,
    what: &'static str,
    own: Codes<Side>,
    given: bool,
) -> Result<(Codes<Side>, Option<usize>), ExperimentError> {
    if ranks.size() == 1 {
        return Ok((own, None));
    }
    let all = ranks.gather(what, if given { bytes_of(&own.to_flat()) } else { Vec::new() })?;
    let all: Vec<Vec<f32>> = all.iter().map(|bytes| numbers_of(bytes)).collect();
    let broken = all.iter().position(|numbers| !all_finite(numbers));
    let parts = all.iter().filter(|numbers| !numbers.is_empty()).map(|numbers| own.of_flat(numbers));
    let parts = parts.collect::<Result<Vec<_>, _>>().map_err(ExperimentError::because)?;
    Ok((Codes::cat(parts).map_err(ExperimentError::because)?, broken))
}

pub(crate) fn all_finite(numbers: &[f32]) -> bool {
    numbers.iter().all(|number| number.is_finite())
}

/// What is said of a rank that others have waited for too long.
fn late(rank: usize, size: usize, what: &str, patience: Duration) -> ExperimentError {
    ExperimentError::work(format!(
        "rank {rank} of {size}: did not come to exchange {what} within {} s; it hangs, or --patience is too short",
        patience.as_secs_f64()
    ))
}

/// What is said of a rank that panicked.
fn broken_off(cause: &(dyn Any + Send)) -> ExperimentError {
    let text = cause.downcast_ref::<String>().map(String::as_str);
    let text = text.or_else(|| cause.downcast_ref::<&str>().copied());
    ExperimentError::work(format!("it broke off: {}", reason(text.unwrap_or_default())))
}

/// Numbers as bytes, little end first.
pub(crate) fn bytes_of(numbers: &[f32]) -> Vec<u8> {
    // Whole words at a time: the compiler makes one copy of it.
    let mut bytes = vec![0; 4 * numbers.len()];
    for (word, number) in bytes.as_chunks_mut::<4>().0.iter_mut().zip(numbers) {
        *word = number.to_le_bytes();
    }
    bytes
}

/// Bytes as numbers; what is left over is dropped.
pub(crate) fn numbers_of(bytes: &[u8]) -> Vec<f32> {
    let (numbers, _) = bytes.as_chunks::<4>();
    numbers.iter().map(|&number| f32::from_le_bytes(number)).collect()
}
