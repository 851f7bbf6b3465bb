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

use burn::prelude::*;
use burn::tensor::assert_shape;
use serde::{Deserialize, Serialize};
use tvr_nn::{log_sum_exp, sum};

use crate::objective::Pairs;

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
        let [texts, videos] = pairs.similarity.dims();
        let device = pairs.similarity.device();
        let related = match self {
            Self::Same => {
                assert_shape!(pairs.same, [texts]);
                let columns = Tensor::<1, Int>::arange(0..videos as i64, (&device, pairs.same.dtype()));
                let columns = columns.unsqueeze_dim::<2>(0).expand([texts, videos]);
                pairs.same.clone().unsqueeze_dim::<2>(1).expand([texts, videos]).equal(columns).float()
            }
            Self::Diagonal => {
                assert_eq!(texts, videos, "the diagonal needs a square batch");
                Tensor::eye(texts, &device)
            }
        };
        shared(related.cast(pairs.similarity.dtype()))
    }

    /// Whether the batch must be square.
    pub fn square(self) -> bool {
        self == Self::Diagonal
    }
}

/// Targets of any relation: `related` is `[texts, videos]` of 0 and 1 (or any weights), and the positives of a
/// row share its mass.
pub fn shared(related: Tensor<2>) -> Targets {
    let share = |along: usize| {
        let mass = related.clone().sum_dim(along);
        related.clone() / mass.clone().mask_fill(mass.equal_scalar(0.0), 1.0)
    };
    Targets { text_to_video: share(1), video_to_text: share(0).transpose() }
}

/// Cross-entropy of rows: the mean over the rows that have a positive.
///
/// - `logits`: `[rows, columns]`
/// - `targets`: `[rows, columns]`, a row sums to 1 or to 0
/// - returns `[1]`, nats
pub fn cross_entropy(logits: Tensor<2>, targets: Tensor<2>) -> Tensor<1> {
    let [rows, columns] = logits.dims();
    assert_shape!(targets, [rows, columns]);
    let judged = sum(targets.clone()).clamp_min(1.0);
    sum((log_sum_exp(logits.clone(), 1) - logits) * targets) / judged
}
