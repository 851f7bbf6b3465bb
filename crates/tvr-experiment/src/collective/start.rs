//! The state that a run starts from, from rank 0 to all: weights, the optimiser's moments, and the checkpoint's words.
//!
//! Only rank 0 reads and writes files. A checkpoint therefore has the form of a run on one device, and a run saved on
//! some number of ranks resumes on any other.

use std::path::Path;
use std::sync::Arc;

use burn::module::Module;
use burn::optim::ModuleOptimizer;

use crate::checkpoint::{State, load_moments, load_weights, packed};
use crate::collective::Collective;
use crate::error::ExperimentError;

/// What a run starts from.
#[derive(Clone)]
pub struct Start<M> {
    /// The weights.
    pub model: M,
    /// The optimiser with its moments.
    pub optimizer: ModuleOptimizer,
    /// What the checkpoint said; `None` at the very beginning.
    pub state: Option<State>,
}

impl<M> std::fmt::Debug for Start<M> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Start").field("state", &self.state).finish_non_exhaustive()
    }
}

/// Rank 0's start at every rank; the others' own is a form to fill.
///
/// # Errors
/// As [`Collective::gather`]; records that do not fit the model.
pub fn share_start<M: Module>(ranks: &dyn Collective, own: Start<M>) -> Result<Start<M>, ExperimentError> {
    if ranks.size() == 1 {
        return Ok(own);
    }
    const NAMES: [&str; 3] = ["the start: weights", "the start: moments", "the start: state"];
    let place = Path::new("the start of rank 0");
    let record = own.optimizer.to_record();
    let moments = record.len();
    let words = serde_json::to_vec(&(moments, &own.state))
        .map_err(|cause| ExperimentError::work(format!("{}: {cause}", place.display())))?;
    let [weights, optimizer] = match ranks.rank() {
        0 => [
            packed(own.model.clone().into_record().into_bytes(), place)?.to_vec(),
            if moments == 0 { Vec::new() } else { packed(record.into_bytes(), place)?.to_vec() },
        ],
        _ => [Vec::new(), Vec::new()],
    };
    let weights = ranks.broadcast(NAMES[0], weights)?;
    let optimizer = ranks.broadcast(NAMES[1], optimizer)?;
    let words = ranks.broadcast(NAMES[2], words)?;
    if ranks.rank() == 0 {
        return Ok(own);
    }
    let (moments, state): (usize, Option<State>) = serde_json::from_slice(&words)
        .map_err(|cause| ExperimentError::work(format!("{}: {cause}", place.display())))?;
    let model = load_weights(own.model, place, Arc::unwrap_or_clone(weights))?;
    let optimizer = match moments {
        0 => own.optimizer,
        count => load_moments(own.optimizer, place, Arc::unwrap_or_clone(optimizer), count)?,
    };
    Ok(Start { model, optimizer, state })
}
