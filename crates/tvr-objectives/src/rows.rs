//! A share of the rows of a batch: how a loss that is a sum over rows is judged in parts.
//!
//! ```text
//! L = Σ_t l(s[t, ·])  +  Σ_v l'(s[·, v])          one term per text, one per video, each over all of the other side
//! ```
//!
//! | symbol | meaning | shape |
//! |---|---|---|
//! | `s[t, ·]` | similarities of one text with every video | `[videos]` |
//! | `s[·, v]` | similarities of every text with one video | `[texts]` |
//!
//! Shares that cover every text and every video once add up to the loss of the batch, whoever judges them and in
//! whatever memory: a share of `1/N` holds `2/N` of the pairs. What the terms are divided by counts the whole batch.

use std::ops::Range;

use burn::prelude::*;
use burn::tensor::DType;

use crate::error::ObjectiveError;
use crate::objective::{Loss, Needs, Pairs, check_sizes};
use crate::queue::numbers;

/// Some texts with all videos, and all texts with some videos.
#[derive(Clone, Debug)]
pub struct Rows<'a> {
    /// Cosine of the share's texts with every video. `[some texts, videos]`
    pub of_texts: &'a Tensor<2>,
    /// Cosine of every text with the share's videos, `[texts, some videos]`; `None` where the share is the whole batch,
    /// which is one matrix.
    pub of_videos: Option<&'a Tensor<2>>,
    /// What turns a cosine into a logit. `[1]`
    pub scale: Tensor<1>,
    /// For every text of the batch the index of its video. `[texts]`
    pub same: &'a Tensor<1, Int>,
    /// The share's texts.
    pub texts: Range<usize>,
    /// The share's videos.
    pub videos: Range<usize>,
}

/// A loss that is a sum over rows.
///
/// Where a batch is shared out, nobody holds all similarities, so such an objective keeps nothing of a batch: its
/// [`after_step`](crate::Objective::after_step) is not called then.
pub trait ByRows {
    /// What a share adds to the loss, and to each of its parts.
    fn loss_of(&self, rows: &Rows) -> Loss;
}

impl<'a> Rows<'a> {
    /// Every row of a batch.
    pub fn all(pairs: &Pairs<'a>) -> Self {
        let [texts, videos] = pairs.similarity.dims();
        Self {
            of_texts: pairs.similarity,
            of_videos: None,
            scale: pairs.scale.clone(),
            same: pairs.same,
            texts: 0..texts,
            videos: 0..videos,
        }
    }

    /// Texts of the batch.
    pub fn n_texts(&self) -> usize {
        self.same.dims()[0]
    }

    /// Videos of the batch.
    pub fn n_videos(&self) -> usize {
        self.of_texts.dims()[1]
    }

    /// Similarity times scale, of the share's texts and of its videos. `[some texts, videos]`, `[texts, some videos]`
    pub fn logits(&self) -> (Tensor<2>, Tensor<2>) {
        let scale = self.scale.clone().unsqueeze::<2>();
        let of_texts = self.of_texts.clone() * scale.clone();
        let of_videos = match self.of_videos {
            Some(similarity) => similarity.clone() * scale,
            None => of_texts.clone(),
        };
        (of_texts, of_videos)
    }

    /// For every text of the batch the index of its video, in memory.
    pub fn own(&self) -> Vec<usize> {
        numbers(self.same.clone()).into_iter().map(|video| video as usize).collect()
    }

    /// A count as a tensor that similarities are divided by. `[1]`
    pub(crate) fn count(&self, value: usize) -> Tensor<1> {
        let kind: (&Device, DType) = (&self.of_texts.device(), self.of_texts.dtype());
        Tensor::full([1], value.max(1) as f64, kind)
    }

    /// Whether the batch has what an objective needs; as [`Pairs::check`].
    ///
    /// # Errors
    /// The first thing that does not fit.
    pub fn check(&self, needs: &Needs) -> Result<(), ObjectiveError> {
        check_sizes(self.n_texts(), self.n_videos(), self.same, needs)
    }
}
