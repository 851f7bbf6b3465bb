//! Which pairs are right: from `same` to the distribution that a softmax should find.
//!
//! ```text
//! related[t, v]       = 1 where text t belongs to video v, else 0
//! text_to_video[t, v] = related[t, v] / Σ_v' related[t, v']
//! video_to_text[v, t] = related[t, v] / Σ_t' related[t', v]
//! ```
//!
//! Two captions of one video are both right for it and share its mass; neither is a negative. A row without a
//! positive is all 0 and [`cross_entropy`] leaves it out of its mean. CLIP4Clip's code takes the diagonal alone
//! (`modules/until_module.py: CrossEn`), so that two captions of one video in a batch push each other away: that
//! is `positives = "diagonal"`, on request only.

use std::ops::Range;

use burn::prelude::*;
use burn::tensor::assert_shape;
use serde::{Deserialize, Serialize};
use tvr_nn::{log_sum_exp, sum};

use crate::objective::Pairs;
use crate::rows::Rows;

/// Which pairs count as right.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Positives {
    /// Every text with its video, as `same` says.
    #[default]
    Same,
    /// Text i with video i and with nothing else, as CLIP4Clip does; needs a square batch.
    Diagonal,
}

/// Where the probability should go, in both directions.
#[derive(Clone, Debug)]
pub struct Targets {
    /// `[texts, videos]`; a row sums to 1, or to 0 where nothing is right.
    pub text_to_video: Tensor<2>,
    /// `[videos, texts]`; the same for videos.
    pub video_to_text: Tensor<2>,
}

impl Positives {
    /// The targets of a batch, in the number type of its similarities.
    ///
    /// # Panics
    /// `Diagonal` on a batch that is not square, which `Pairs::check` refuses.
    pub fn targets(self, pairs: &Pairs) -> Targets {
        let [texts, _] = pairs.similarity.dims();
        assert_shape!(pairs.same, [texts]);
        self.targets_of(&Rows::all(pairs))
    }

    /// The targets of a share: `[some texts, videos]` and `[some videos, texts]`; panics as [`Positives::targets`].
    pub fn targets_of(self, rows: &Rows) -> Targets {
        let (texts, videos) = (rows.n_texts(), rows.n_videos());
        if self == Self::Diagonal {
            assert_eq!(texts, videos, "the diagonal needs a square batch");
        }
        let own = self.own(rows);
        let related = |of: Range<usize>, with: Range<usize>| {
            let shape = [of.len(), with.len()];
            let columns =
                Tensor::<1, Int>::arange(with.start as i64..with.end as i64, (&own.device(), own.dtype()));
            let columns = columns.unsqueeze_dim::<2>(0).expand(shape);
            let own = own.clone().slice_dim(0, of).unsqueeze_dim::<2>(1).expand(shape);
            own.equal(columns).float().cast(rows.of_texts.dtype())
        };
        let of_texts = related(rows.texts.clone(), 0..videos);
        match rows.of_videos {
            None => shared(of_texts),
            Some(_) => Targets {
                text_to_video: share(of_texts, 1),
                video_to_text: share(related(0..texts, rows.videos.clone()), 0).transpose(),
            },
        }
    }

    /// For every text of the batch the video that it should find. `[texts]`
    pub(crate) fn own(self, rows: &Rows) -> Tensor<1, Int> {
        match self {
            Self::Same => rows.same.clone(),
            Self::Diagonal => {
                let kind = (&rows.same.device(), rows.same.dtype());
                Tensor::arange(0..rows.n_texts() as i64, kind)
            }
        }
    }

    /// How many texts and how many videos of the whole batch have a positive.
    pub(crate) fn judged(self, rows: &Rows) -> [usize; 2] {
        match self {
            Self::Same => {
                let mut found = vec![false; rows.n_videos()];
                rows.own().into_iter().for_each(|video| found[video] = true);
                [rows.n_texts(), found.into_iter().filter(|&found| found).count()]
            }
            Self::Diagonal => [rows.n_texts(), rows.n_videos()],
        }
    }

    /// Whether the batch must be square.
    pub fn square(self) -> bool {
        self == Self::Diagonal
    }
}

/// Targets of any relation: `related` is `[texts, videos]` of 0 and 1 (or any weights), and the positives of a
/// row share its mass.
pub fn shared(related: Tensor<2>) -> Targets {
    Targets { text_to_video: share(related.clone(), 1), video_to_text: share(related, 0).transpose() }
}

fn share(related: Tensor<2>, along: usize) -> Tensor<2> {
    let mass = related.clone().sum_dim(along);
    related / mass.clone().mask_fill(mass.equal_scalar(0.0), 1.0)
}

/// Cross-entropy of rows: the mean over the rows that have a positive.
///
/// - `logits`: `[rows, columns]`
/// - `targets`: `[rows, columns]`, a row sums to 1 or to 0
/// - returns `[1]`, nats
pub fn cross_entropy(logits: Tensor<2>, targets: Tensor<2>) -> Tensor<1> {
    let judged = sum(targets.clone()).clamp_min(1.0);
    cross_entropy_sum(logits, targets) / judged
}

/// The same before the mean: the sum over the rows.
pub(crate) fn cross_entropy_sum(logits: Tensor<2>, targets: Tensor<2>) -> Tensor<1> {
    let [rows, columns] = logits.dims();
    assert_shape!(targets, [rows, columns]);
    sum((log_sum_exp(logits.clone(), 1) - logits) * targets)
}
