//! Which pairs are right, and how far a softmax is from finding them.
//!
//! ```text
//! T2V = Σ_t   ( lse_v(z[t, v]) − z[t, own t] )
//! V2T = Σ_v   ( lse_t(z[t, v]) − mean_{t: own t = v} z[t, v] )      a video without a text is left out
//! ```
//!
//! Every text has one video, and two captions of one video are both right for it and share its mass; neither is a
//! negative. CLIP4Clip's code takes the diagonal alone (`modules/until_module.py: CrossEn`), so that two captions of
//! one video in a batch push each other away: that is `positives = "diagonal"`, on request only.
//!
//! Both directions read one matrix as it lies: nothing is transposed, and what is right is a place for each text, never
//! a matrix of zeros and ones.

use std::ops::Range;

use burn::prelude::*;
use serde::{Deserialize, Serialize};
use tvr_nn::{biased_log_sum_exp, log_sum_exp, sum};

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

impl Positives {
    /// True where a text belongs to a video, for objectives that look at every pair. `[texts, videos]`
    ///
    /// # Panics
    /// `Diagonal` on a batch that is not square, which `Pairs::check` refuses.
    pub fn related(self, pairs: &Pairs) -> Tensor<2, Bool> {
        let shape = pairs.similarity.dims();
        if self == Self::Diagonal {
            assert_eq!(shape[0], shape[1], "the diagonal needs a square batch");
        }
        let own = self.own(&Rows::all(pairs));
        let columns = Tensor::<1, Int>::arange(0..shape[1] as i64, (&own.device(), own.dtype()));
        own.unsqueeze_dim::<2>(1).expand(shape).equal(columns.unsqueeze_dim::<2>(0).expand(shape))
    }

    /// For every text of the batch the place of its video, in memory.
    ///
    /// # Panics
    /// As [`Positives::related`].
    pub(crate) fn targets(self, rows: &Rows) -> Targets {
        let (texts, videos) = (rows.n_texts(), rows.n_videos());
        let own = match self {
            Self::Same => rows.own(),
            Self::Diagonal => {
                assert_eq!(texts, videos, "the diagonal needs a square batch");
                (0..texts).collect()
            }
        };
        let mut captions = vec![0usize; videos];
        own.iter().for_each(|&video| captions[video] += 1);
        Targets { own, captions }
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

    /// Whether the batch must be square.
    pub fn square(self) -> bool {
        self == Self::Diagonal
    }
}

/// Where the probability should go.
#[derive(Clone, Debug)]
pub(crate) struct Targets {
    /// For every text of the batch its video.
    pub(crate) own: Vec<usize>,
    /// For every video of the batch how many texts it has.
    pub(crate) captions: Vec<usize>,
}

impl Targets {
    /// How many texts and how many videos of the batch have a positive.
    pub fn judged(&self) -> [usize; 2] {
        [self.own.len(), self.captions.iter().filter(|&&captions| captions > 0).count()]
    }

    /// What every video, or with `askers` 1 every text, should carry of a joint distribution: by its part of the
    /// positives. Sums to 1; `[1, videos]`, or `[texts, 1]`, as `like` is on its other side.
    pub fn marginals(&self, askers: usize, like: &Tensor<2>) -> Tensor<2> {
        // A bias of −∞ for a video that nobody describes would make its whole row's loss 0 · ∞.
        let wanted: Vec<f64> = match askers {
            0 => self.captions.iter().map(|&captions| captions.max(1) as f64).collect(),
            _ => self.own.iter().map(|&video| 1.0 / self.captions[video] as f64).collect(),
        };
        let total: f64 = wanted.iter().sum();
        let shape = if askers == 0 { [1, wanted.len()] } else { [wanted.len(), 1] };
        values(wanted.into_iter().map(|share| share / total), shape, like)
    }

    /// Cross-entropy of some texts over all videos, summed. `[1]`, nats
    ///
    /// - `logits`: `[some texts, videos]`
    /// - `bias`: on top of them, `[1, videos]`
    pub fn text_to_video(
        &self,
        logits: Tensor<2>,
        bias: Option<Tensor<2>>,
        texts: Range<usize>,
    ) -> Tensor<1> {
        let places = self.places(texts, 0..self.captions.len(), &logits.device());
        let told = logits.clone().gather(1, places.clone());
        match bias {
            None => sum(log_sum_exp(logits, 1) - told),
            Some(bias) => {
                let of_own = bias.clone().transpose().select(0, places.squeeze_dim::<1>(1));
                sum(biased_log_sum_exp(logits, bias, 1) - told - of_own)
            }
        }
    }

    /// Cross-entropy of some videos over all texts, summed. `[1]`, nats
    ///
    /// - `logits`: `[texts, some videos]`
    /// - `bias`: on top of them, `[texts, 1]`
    pub fn video_to_text(
        &self,
        logits: Tensor<2>,
        bias: Option<Tensor<2>>,
        videos: Range<usize>,
    ) -> Tensor<1> {
        let texts = self.own.len();
        // A text of another share has no place here: it points anywhere, and counts nothing.
        let shares = self
            .own
            .iter()
            .map(|video| if videos.contains(video) { 1.0 / self.captions[*video] as f64 } else { 0.0 });
        let shares = values(shares, [texts, 1], &logits);
        let places = self.places(0..texts, videos, &logits.device());
        let told = logits.clone().gather(1, places.clone());
        let (sums, told) = match bias {
            None => (log_sum_exp(logits, 0), told),
            Some(bias) => (biased_log_sum_exp(logits, bias.clone(), 0), told + bias),
        };
        // For every text that of its video: the shares of a video's texts sum to 1.
        let sums = sums.transpose().select(0, places.squeeze_dim::<1>(1));
        sum((sums - told) * shares)
    }

    /// The own video of some texts as a place among some videos; the nearest where it is none of them.
    /// `[some texts, 1]`
    fn places(&self, texts: Range<usize>, videos: Range<usize>, device: &Device) -> Tensor<2, Int> {
        let last = videos.len().saturating_sub(1);
        let places = self.own[texts].iter().map(|&video| video.saturating_sub(videos.start).min(last) as i32);
        let places: Vec<i32> = places.collect();
        let count = places.len();
        Tensor::from_data(TensorData::new(places, [count, 1]), device)
    }
}

/// Numbers beside `like`, in its type.
fn values(values: impl Iterator<Item = f64>, shape: [usize; 2], like: &Tensor<2>) -> Tensor<2> {
    let data = TensorData::new(values.collect::<Vec<f64>>(), shape);
    Tensor::from_data(data, (&like.device(), like.dtype()))
}
