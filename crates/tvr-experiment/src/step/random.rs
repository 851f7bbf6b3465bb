//! Random numbers of a step: what names them, and whether a model draws any.
//!
//! burn keeps one generator for all of a processor. It is seeded before each part from (step, side, part), so that a part's
//! second pass draws what its first has drawn; ranks that share the generator hold it meanwhile.

use burn::prelude::*;
use burn::tensor::Distribution;
use tvr_heads::{Head, Similarity, TextCodes, VideoCodes};
use tvr_objectives::Objective;

use crate::collective::threads::Drawing;
use crate::collective::{Collective, Single};
use crate::corpus::Corpus;
use crate::error::ExperimentError;
use crate::model::Model;
use crate::step::share::Part;
use crate::step::{Batch, Step, Way};

/// A part's turn with a generator that ranks share; over when dropped.
pub(super) struct Turn<'a> {
    device: &'a Device,
    _drawing: Drawing<'a>,
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        // A backend that queues its operations would draw in the next rank's turn. What a broken device answers here,
        // whatever is asked of it next says again.
        let _ = self.device.flush();
    }
}

/// Whether codes or similarities of a model draw random numbers (dropout): tried on one pair of `corpus`.
///
/// # Errors
/// A video that cannot be read; a head that does not compare what it says; as [`Collective::generator`].
pub fn draws<H: Head, O: Objective>(
    model: &Model<H, O>,
    corpus: &Corpus,
    ranks: &dyn Collective,
    device: &Device,
) -> Result<bool, ExperimentError> {
    let _alone = ranks.generator()?;
    let batch =
        Batch { texts: vec![0], videos: vec![corpus.text_video[0]], text_video: vec![0], shuffle: None };
    let way = Way { ranks: &Single, chunk: 0, device, random: 0, draws: true };
    let device = device.clone().autodiff();
    let step = Step { model, corpus, batch: &batch, needs: model.head.needs(), device, way: &way };
    let part = Part { number: 0, rows: 0..1 };
    let texts = step.code_texts(model, &part)?;
    // An encoder that draws nothing leaves the generator as its seed has set it.
    let text_draws = step.next_number() != step.first_number("texts")?;
    let videos = step.code_videos(model, &part)?;
    let similarity = step.model.head.similarity(&texts, &videos);
    compares_vectors(&step.model.head, &texts, &videos, &similarity)?;
    Ok(text_draws || step.next_number() != step.first_number("videos")?)
}

/// Whether a head that says so compares one vector of each side: queues and banks multiply these.
///
/// # Errors
/// A similarity that is not the product of the vectors.
fn compares_vectors<H: Head>(
    head: &H,
    texts: &TextCodes,
    videos: &VideoCodes,
    similarity: &Similarity,
) -> Result<(), ExperimentError> {
    if head.needs().judges_pairs {
        return Ok(());
    }
    let product = (texts.pooled.clone() * videos.pooled.clone()).sum().into_scalar::<f32>();
    let found = similarity.fused.clone().into_scalar::<f32>();
    if (found - product).abs() > 1e-2 * product.abs().max(1.0) {
        return Err(ExperimentError::request(format!(
            "[head] says that it compares one vector of each side, but gives a pair {found}, and the product of its vectors is \
             {product}; set judges_pairs in Head::needs, or bring the vectors to unit length"
        )));
    }
    Ok(())
}

impl<H: Head, O: Objective> Step<'_, H, O> {
    /// Seeds what is drawn next, and keeps other ranks from drawing until the guard is dropped. Ranks of a model that draws
    /// nothing do not wait for one another.
    ///
    /// # Errors
    /// As [`Collective::generator`].
    pub(super) fn seeded(&self, purpose: &str, number: u64) -> Result<Option<Turn<'_>>, ExperimentError> {
        if !self.way.draws && self.way.ranks.size() > 1 {
            return Ok(None);
        }
        let turn = self.way.ranks.generator()?;
        self.device.seed(tvr_data::stream(self.way.random, purpose, number).next());
        Ok(turn.map(|drawing| Turn { device: &self.device, _drawing: drawing }))
    }

    fn next_number(&self) -> f32 {
        Tensor::<1>::random([1], Distribution::Default, &self.device).into_scalar::<f32>()
    }

    /// The number that follows the seed of a side's first part.
    fn first_number(&self, side: &str) -> Result<f32, ExperimentError> {
        let _drawing = self.seeded(side, 0)?;
        Ok(self.next_number())
    }
}
