//! What is done to frames before a text looks at them: an adapter, then a temporal transformer; each where asked for.

use burn::prelude::*;
use tvr_nn::Block;

use crate::adapter::{FrameAdapter, FrameAdapterConfig};
use crate::error::HeadError;
use crate::mean_pooling::adapted;
use crate::seq_transf::{SeqTransf, SeqTransfConfig};

/// Frames to frames.
#[derive(Module, Debug)]
pub struct FrameStage {
    /// Applied to every frame first.
    pub adapter: Option<FrameAdapter>,
    /// Lets frames look at one another.
    pub temporal: Option<SeqTransf>,
}

impl FrameStage {
    /// Checks the settings and makes the stage for frames of one width.
    pub(crate) fn new(
        adapter: Option<&FrameAdapterConfig>,
        temporal: Option<&SeqTransfConfig>,
        width: usize,
        device: &Device,
    ) -> Result<Self, HeadError> {
        Ok(Self {
            adapter: adapter.map(|config| config.init(width, device)).transpose()?,
            temporal: temporal.map(|config| config.init(width, device)).transpose()?,
        })
    }

    /// `[videos, frames, width]` to the same; what comes out at padding means nothing.
    pub fn forward(&self, frames: Tensor<3>, mask: Tensor<2, Bool>) -> Tensor<3> {
        let frames = adapted(self.adapter.as_ref(), frames);
        match &self.temporal {
            Some(temporal) => temporal.contextualise(frames, mask),
            None => frames,
        }
    }

    /// Starts the temporal transformer, where there is one, as [`SeqTransf::start_from_tower`].
    ///
    /// # Errors
    /// As there.
    pub(crate) fn start_from_tower(
        mut self,
        positions: &Tensor<2>,
        blocks: &[Block],
    ) -> Result<Self, HeadError> {
        let started = self.temporal.map(|temporal| temporal.start_from_tower(positions, blocks));
        self.temporal = started.transpose()?;
        Ok(self)
    }

    /// The most frames that a video may have; `None` where any number will do.
    pub fn max_frames(&self) -> Option<usize> {
        self.temporal.as_ref().map(SeqTransf::max_frames)
    }
}
