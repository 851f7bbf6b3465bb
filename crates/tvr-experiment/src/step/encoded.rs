//! One side of a rank's share: encoded part by part, and pulled by the gradients of its codes.
//!
//! All parts but the last are encoded without a graph, several at a time where nothing is drawn at random, and again, each
//! with its graph, when they are pulled. The last part has its graph from the start and is encoded once; so is a share of one
//! part. As much is in memory as one part's graph needs, and one row of gradients: a part's are added to the sum before the
//! next part begins.

use burn::module::Module;
use burn::optim::GradientsParams;
use burn::prelude::*;
use tvr_heads::{CodeGradients, Codes};

use super::share::{Part, Share};
use super::sum::add_gradients;
use crate::error::ExperimentError;
use crate::step::Way;

/// The codes of a share.
pub(super) struct Encoded<Side> {
    /// Of all parts, outside any graph; where there are none, those of one item of the batch, for their form.
    pub codes: Codes<Side>,
    /// Of the last part, with its graph.
    last: Option<Codes<Side>>,
}

impl<Side> Encoded<Side> {
    /// - `code`: codes of a part by a model, with a graph if the model's parameters learn
    ///
    /// # Errors
    /// What `code` says.
    pub fn of<M: Module>(
        model: &M,
        share: &Share,
        way: &Way,
        code: impl Fn(&M, &Part) -> Result<Codes<Side>, ExperimentError>,
    ) -> Result<Self, ExperimentError> {
        let mut parts = Vec::with_capacity(share.parts.len());
        let mut last = None;
        if let Some(last_part) = share.parts.last() {
            let others = share.without_graph(way);
            if !others.is_empty() {
                // It draws as the model does: its dropout still trains.
                let frozen = model.clone().no_grad();
                for part in &others {
                    parts.push(code(&frozen, part)?.inner());
                }
            }
            let codes = code(model, last_part)?;
            parts.push(codes.inner());
            last = Some(codes);
        } else {
            parts.push(code(&model.clone().no_grad(), &Part { number: 0, rows: 0..1 })?.inner());
        }
        Ok(Self { codes: Codes::cat(parts).map_err(ExperimentError::because)?, last })
    }

    /// Adds the gradients of a model's parameters to `sum`, part by part, from the last to the first.
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
        code: impl Fn(&M, &Part) -> Result<Codes<Side>, ExperimentError>,
        sum: &mut GradientsParams,
    ) -> Result<(), ExperimentError> {
        let mut kept = self.last;
        for part in share.parts.iter().rev() {
            let codes = match kept.take() {
                Some(last) => last,
                None => code(model, part)?,
            };
            let pull = codes.pull(&gradients.rows(part.rows.clone()));
            // A side without a parameter of its own (cached frames, averaged) has nothing to pull.
            if let Some(pull) = pull.filter(Tensor::is_tracked) {
                add_gradients(model, sum, GradientsParams::from_grads(pull.backward(), model));
            }
        }
        Ok(())
    }
}
