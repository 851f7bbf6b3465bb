//! Encoder, head and objective as one module, so that one record holds a run's whole state.

use burn::module::{Module, ModuleDisplay, Param};
use burn::nn;
use burn::prelude::*;
use tvr_clip::{ImageTower, TextTower};
use tvr_data::world::SIDE;
use tvr_heads::{Head, TextFeatures, Unit, VideoFeatures};
use tvr_objectives::Objective;

use crate::corpus::{Corpus, Texts};

/// The largest logit scale, as CLIP clamps it: `exp(s) ≤ 100`.
pub const LARGEST_LOG_SCALE: f32 = 4.605_170_2;

/// Texts to features.
#[derive(Module, Debug)]
pub struct TextEncoder {
    /// A text tower, for tokens.
    pub tower: Option<TextTower>,
    /// A linear map, for embeddings.
    pub projection: Option<nn::Linear>,
    /// Dropout before the linear map.
    pub dropout: nn::Dropout,
}

/// Frames to features.
#[derive(Module, Debug)]
pub struct VideoEncoder {
    /// An image tower, for pixels; cached features of a tower need none.
    pub tower: Option<ImageTower>,
    /// A linear map, for features.
    pub projection: Option<nn::Linear>,
    /// Dropout before the linear map.
    pub dropout: nn::Dropout,
}

/// A whole model.
#[derive(Module, Debug)]
pub struct Model<H: Module + ModuleDisplay, O: Module + ModuleDisplay> {
    /// Texts to features.
    pub text: TextEncoder,
    /// Frames to features.
    pub video: VideoEncoder,
    /// Features to similarities.
    pub head: H,
    /// Similarities to a loss.
    pub objective: O,
    /// Logarithm of the scale between cosines and logits, `[1]`.
    pub logit_scale: Param<Tensor<1>>,
}

impl TextEncoder {
    /// Features of some captions of a corpus.
    pub fn encode(&self, corpus: &Corpus, texts: &[usize], device: &Device) -> TextFeatures {
        let pooled = match (&corpus.texts, &self.tower) {
            (Texts::Tokens(tokens), Some(tower)) => encode_tokens(tower, tokens, texts, device),
            (Texts::Features { values, width }, _) => {
                let rows: Vec<f32> = texts
                    .iter()
                    .flat_map(|&text| &values[text * width..(text + 1) * width])
                    .copied()
                    .collect();
                Tensor::from_data(TensorData::new(rows, [texts.len(), *width]), device)
            }
            (Texts::Tokens(_), None) => Tensor::zeros([texts.len(), 1], device),
        };
        let pooled = match &self.projection {
            Some(projection) => projection.forward(self.dropout.forward(pooled)),
            None => pooled,
        };
        TextFeatures::pooled(pooled)
    }
}

/// The tower over two length groups: the shorter five eighths, and the rest, so that less is padding. A caption's
/// feature does not depend on its group.
pub(crate) fn encode_tokens(
    tower: &TextTower,
    tokens: &[Vec<u32>],
    texts: &[usize],
    device: &Device,
) -> Tensor<2> {
    let mut order: Vec<usize> = (0..texts.len()).collect();
    order.sort_by_key(|&place| tokens[texts[place]].len());
    let cut = if texts.len() < 16 { texts.len() } else { texts.len() * 5 / 8 };
    let mut groups = Vec::new();
    for group in [&order[..cut], &order[cut..]] {
        if group.is_empty() {
            continue;
        }
        let longest = group.iter().map(|&place| tokens[texts[place]].len()).max().unwrap_or(1);
        let mut ids = Vec::with_capacity(group.len() * longest);
        let mut lengths = Vec::with_capacity(group.len());
        for &place in group {
            let caption = &tokens[texts[place]];
            ids.extend(caption.iter().map(|&id| id as i32));
            ids.resize(ids.len() + longest - caption.len(), 0);
            lengths.push(caption.len() as i32);
        }
        let ids = Tensor::<2, Int>::from_data(TensorData::new(ids, [group.len(), longest]), device);
        let lengths = Tensor::<1, Int>::from_data(TensorData::new(lengths, [group.len()]), device);
        groups.push(tower.encode(ids, lengths));
    }
    let sorted = Tensor::cat(groups, 0);
    let mut back = vec![0i32; texts.len()];
    for (row, &place) in order.iter().enumerate() {
        back[place] = row as i32;
    }
    let back = Tensor::<1, Int>::from_data(TensorData::new(back, [texts.len()]), device);
    sorted.select(0, back)
}

impl VideoEncoder {
    /// Features of frames.
    ///
    /// - `frames`: `[videos, frames, width]`, or pixels `[videos, frames, 3 · 32 · 32]` for a tower
    /// - `mask`: `[videos, frames]`, true = real
    pub fn encode(&self, frames: Tensor<3>, mask: Tensor<2, Bool>) -> VideoFeatures {
        let frames = match &self.tower {
            Some(tower) => {
                let [videos, count, _] = frames.dims();
                let images = frames.reshape([videos * count, 3, SIDE, SIDE]);
                tvr_nn::unit_rows(tower.encode(images)).reshape([videos as i32, count as i32, -1])
            }
            None => frames,
        };
        let frames = match &self.projection {
            Some(projection) => projection.forward(self.dropout.forward(frames)),
            None => frames,
        };
        VideoFeatures::new(frames, mask)
    }
}

impl<H: Head, O: Objective> Model<H, O> {
    /// The scale between cosines and logits, `[1]`.
    pub fn scale(&self) -> Tensor<1> {
        self.logit_scale.val().exp()
    }

    /// What makes logits of the head's similarities, `[1]`: the scale, or 1 where they are logits already.
    pub fn to_logits(&self) -> Tensor<1> {
        match self.head.unit() {
            Unit::Cosine => self.scale(),
            Unit::Logit => self.logit_scale.val().ones_like(),
        }
    }

    /// Clamps the logit scale, as CLIP does after every step.
    pub fn clamp_logit_scale(mut self) -> Self {
        self.logit_scale = self.logit_scale.map(|scale| {
            let learned = scale.is_require_grad();
            // Below the graph: the result must be a leaf again.
            let clamped = Tensor::from_inner(scale.without_autodiff().clamp_max(LARGEST_LOG_SCALE));
            if learned { clamped.require_grad() } else { clamped }
        });
        self
    }
}
