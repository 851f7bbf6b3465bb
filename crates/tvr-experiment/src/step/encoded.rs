//! One side of a rank's share: encoded part by part, and pulled by the gradients of its codes.
//!
//! A part's graph is dropped when the next part begins, and that of the last part is kept: so as much is in memory as one
//! part needs, and one part in all is not encoded a second time. A share of one part is encoded once.

use burn::module::Module;
use burn::optim::GradientsParams;
use burn::prelude::*;
use tvr_heads::{CodeGradients, Codes};

use super::share::{Part, Share};
use crate::collective::refused;
use crate::error::ExperimentError;

/// The codes of a share.
pub(super) struct Encoded<Side> {
    /// Of all parts, outside any graph.
    pub codes: Codes<Side>,
    /// Of the last part, with its graph.
    last: Option<Codes<Side>>,
}

impl<Side> Encoded<Side> {
    /// - `code`: codes of a part, with their graph
    ///
    /// # Errors
    /// What `code` says.
    pub fn of(
        share: &Share,
        code: impl Fn(&Part) -> Result<Codes<Side>, ExperimentError>,
    ) -> Result<Self, ExperimentError> {
        let (mut parts, mut last) = (Vec::with_capacity(share.parts.len()), None);
        for part in &share.parts {
            drop(last.take()); // its graph goes before the next one comes
            let codes = code(part)?;
            parts.push(codes.inner());
            last = Some(codes);
        }
        Ok(Self { codes: Codes::cat(parts).map_err(|error| refused(&error))?, last })
    }

    /// Gradients of a model's parameters, part by part.
    ///
    /// - `gradients`: of the codes of the whole batch
    /// - `code`: codes of a part as [`Encoded::of`] took them, to be had again
    ///
    /// # Errors
    /// What `code` says.
    pub fn pull<M: Module>(
        self,
        model: &M,
        share: &Share,
        gradients: &CodeGradients<Side>,
        code: impl Fn(&Part) -> Result<Codes<Side>, ExperimentError>,
    ) -> Result<Vec<GradientsParams>, ExperimentError> {
        let mut kept = self.last;
        let mut pulled = Vec::with_capacity(share.parts.len());
        for part in share.parts.iter().rev() {
            let codes = match kept.take() {
                Some(last) => last,
                None => code(part)?,
            };
            let pull = codes.pull(&gradients.rows(part.rows.clone()));
            // A side without a parameter of its own (cached frames, averaged) has nothing to pull.
            if let Some(pull) = pull.filter(Tensor::is_tracked) {
                pulled.push(GradientsParams::from_grads(pull.backward(), model));
            }
        }
        Ok(pulled)
    }
}
