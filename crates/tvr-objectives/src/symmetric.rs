//! Symmetric cross-entropy (InfoNCE): each side finds its partner among the other side of the batch.
//!
//! ```text
//! z = scale · cosine
//! L = ½ ( −mean_t Σ_v y[t, v] ln softmax_v(z)[t, v]  −  mean_v Σ_t y'[v, t] ln softmax_t(z)[t, v] )
//! ```
//!
//! | symbol | meaning | shape, unit |
//! |---|---|---|
//! | `z` | similarity times scale | `[texts, videos]`, logits |
//! | `y`, `y'` | targets, see [`crate::positives`] | `[texts, videos]`, `[videos, texts]` |
//!
//! Source: Luo et al. 2021 (CLIP4Clip), arXiv 2104.08860; code: ArrowLuo/CLIP4Clip, `modules/until_module.py:
//! CrossEn`, which is this with `positives = "diagonal"`.

use burn::prelude::*;
use serde::{Deserialize, Serialize};

use crate::error::ObjectiveError;
use crate::objective::{Loss, Needs, Objective, Pairs};
use crate::positives::{Positives, Targets};
use crate::rows::{ByRows, Rows};

/// Settings of [`Symmetric`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SymmetricConfig {
    /// Which pairs count as right.
    #[serde(default)]
    pub positives: Positives,
}

impl SymmetricConfig {
    /// Every text with its video (ours): several captions of a video are never negatives of one another.
    pub fn ours() -> Self {
        Self { positives: Positives::Same }
    }

    /// What CLIP4Clip's code does: the diagonal.
    pub fn reference() -> Self {
        Self { positives: Positives::Diagonal }
    }

    /// Makes the objective.
    ///
    /// # Errors
    /// None today: every value of the settings is valid.
    pub fn init(&self) -> Result<Symmetric, ObjectiveError> {
        Ok(Symmetric { positives: self.positives })
    }
}

/// The symmetric cross-entropy.
#[derive(Module, Debug)]
pub struct Symmetric {
    #[module(skip)]
    positives: Positives,
}

impl Objective for Symmetric {
    fn needs(&self) -> Needs {
        Needs { square: self.positives.square(), ..Needs::default() }
    }

    fn loss(&self, pairs: &Pairs) -> Loss {
        self.loss_of(&Rows::all(pairs))
    }

    fn by_rows(&self) -> Option<&dyn ByRows> {
        Some(self)
    }
}

impl ByRows for Symmetric {
    fn loss_of(&self, rows: &Rows) -> Loss {
        let (of_texts, of_videos) = rows.logits();
        let targets = self.positives.targets(rows);
        let text_to_video = targets.text_to_video(of_texts, None, rows.texts.clone());
        averaged(&targets, text_to_video, targets.video_to_text(of_videos, None, rows.videos.clone()))
    }
}

/// Half of the mean cross-entropies of the two directions, with the two as parts, from their sums.
pub(crate) fn averaged(targets: &Targets, text_to_video: Tensor<1>, video_to_text: Tensor<1>) -> Loss {
    // By tensors: burn's gradient of a division by a number takes that number's inverse in f32.
    let [texts, videos] = targets.judged().map(|judged| text_to_video.full_like(judged.max(1) as f64));
    let (text_to_video, video_to_text) = (text_to_video / texts, video_to_text / videos);
    Loss {
        total: (text_to_video.clone() + video_to_text.clone()) / 2.0,
        parts: vec![("text_to_video".into(), text_to_video), ("video_to_text".into(), video_to_text)],
    }
}
