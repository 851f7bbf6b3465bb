//! What a head is given: the features of videos and of texts.

use std::ops::Range;

use burn::prelude::*;

use crate::error::HeadError;

/// Features of some videos.
#[derive(Clone, Debug)]
pub struct VideoFeatures {
    /// One vector per frame, padded at will; or one per patch, frame by frame, for a head that is not
    /// [in time](crate::Needs::in_time). `[videos, frames, width]`
    pub frames: Tensor<3>,
    /// True where a frame is real. `[videos, frames]`
    pub mask: Tensor<2, Bool>,
    /// Features of other networks, one entry per expert; empty for most heads.
    pub experts: Vec<Expert>,
}

/// What one expert network (motion, audio, ...) saw of each video.
#[derive(Clone, Debug)]
pub struct Expert {
    /// Its name in the feature file.
    pub name: String,
    /// One vector per step. `[videos, steps, width]`
    pub features: Tensor<3>,
    /// True where a step is real; a video that the expert says nothing of has none. `[videos, steps]`
    pub mask: Tensor<2, Bool>,
}

/// Features of some texts.
#[derive(Clone, Debug)]
pub struct TextFeatures {
    /// One vector per text. `[texts, width]`
    pub pooled: Tensor<2>,
    /// One vector per token, for heads that need them.
    pub tokens: Option<Tokens>,
    /// Parts of the texts, each encoded by itself; empty for most heads.
    pub streams: Vec<TextStream>,
}

/// A vector per token.
#[derive(Clone, Debug)]
pub struct Tokens {
    /// `[texts, tokens, width]`
    pub features: Tensor<3>,
    /// True where a token is real. `[texts, tokens]`
    pub mask: Tensor<2, Bool>,
}

/// One part of every text (its verbs, its nouns, ...), encoded by itself.
#[derive(Clone, Debug)]
pub struct TextStream {
    /// Its name, as head, objective and recipe call it.
    pub name: &'static str,
    /// One vector per text. `[texts, width]`
    pub pooled: Tensor<2>,
    /// False where the text has no such part and `pooled` is a fallback. `[texts]`
    pub available: Tensor<1, Bool>,
}

impl VideoFeatures {
    /// Frames and their mask, without experts.
    pub fn new(frames: Tensor<3>, mask: Tensor<2, Bool>) -> Self {
        Self { frames, mask, experts: Vec::new() }
    }

    /// Frames that are all real.
    pub fn unmasked(frames: Tensor<3>) -> Self {
        let [videos, n_frames, _] = frames.dims();
        let mask = Tensor::<2, Int>::ones([videos, n_frames], &frames.device()).bool();
        Self::new(frames, mask)
    }

    /// Number of videos.
    pub fn n_videos(&self) -> usize {
        self.frames.dims()[0]
    }

    /// Some of the videos.
    pub fn rows(&self, rows: Range<usize>) -> Self {
        let experts = self.experts.iter().map(|expert| Expert {
            name: expert.name.clone(),
            features: expert.features.clone().slice_dim(0, rows.clone()),
            mask: expert.mask.clone().slice_dim(0, rows.clone()),
        });
        Self {
            frames: self.frames.clone().slice_dim(0, rows.clone()),
            mask: self.mask.clone().slice_dim(0, rows.clone()),
            experts: experts.collect(),
        }
    }

    /// Whether a head can code these videos: shapes fit, every video has a real frame, real values are finite.
    /// Called once where features enter; it reads a flag per video from the device. Masked frames may hold
    /// anything.
    ///
    /// # Errors
    /// The first thing that is wrong, with the index of the video.
    pub fn check(&self) -> Result<(), HeadError> {
        let [videos, frames, width] = self.frames.dims();
        if videos == 0 {
            return Err(HeadError::Empty { what: "videos" });
        }
        if frames == 0 || width == 0 {
            return Err(HeadError::Empty { what: "frame features" });
        }
        same_shape("the frame mask", [videos, frames], self.mask.dims())?;
        if let Some(item) = first_false(self.mask.clone().any_dim(1)) {
            return Err(HeadError::AllMasked { what: "video", item });
        }
        real_values("video", &self.frames, &self.mask)?;
        for expert in &self.experts {
            let [_, steps, _] = expert.features.dims();
            same_shape("an expert's mask", [videos, steps], expert.mask.dims())?;
            real_values("the expert features of video", &expert.features, &expert.mask)?;
        }
        Ok(())
    }
}

impl TextFeatures {
    /// One vector per text and nothing else.
    pub fn pooled(pooled: Tensor<2>) -> Self {
        Self { pooled, tokens: None, streams: Vec::new() }
    }

    /// Number of texts.
    pub fn n_texts(&self) -> usize {
        self.pooled.dims()[0]
    }

    /// Some of the texts.
    pub fn rows(&self, rows: Range<usize>) -> Self {
        let streams = self.streams.iter().map(|stream| TextStream {
            name: stream.name,
            pooled: stream.pooled.clone().slice_dim(0, rows.clone()),
            available: stream.available.clone().slice_dim(0, rows.clone()),
        });
        Self {
            pooled: self.pooled.clone().slice_dim(0, rows.clone()),
            tokens: self.tokens.as_ref().map(|tokens| Tokens {
                features: tokens.features.clone().slice_dim(0, rows.clone()),
                mask: tokens.mask.clone().slice_dim(0, rows.clone()),
            }),
            streams: streams.collect(),
        }
    }

    /// Whether a head can code these texts; the counterpart of [`VideoFeatures::check`].
    ///
    /// # Errors
    /// The first thing that is wrong, with the index of the text.
    pub fn check(&self) -> Result<(), HeadError> {
        let [texts, width] = self.pooled.dims();
        if texts == 0 {
            return Err(HeadError::Empty { what: "texts" });
        }
        if width == 0 {
            return Err(HeadError::Empty { what: "text features" });
        }
        if let Some(item) = first_false(self.pooled.clone().is_finite().all_dim(1)) {
            return Err(HeadError::NotFinite { what: "text", item });
        }
        if let Some(Tokens { features, mask }) = &self.tokens {
            let [_, tokens, _] = features.dims();
            same_shape("the token mask", [texts, tokens], mask.dims())?;
            if let Some(item) = first_false(mask.clone().any_dim(1)) {
                return Err(HeadError::AllMasked { what: "text", item });
            }
            real_values("the tokens of text", features, mask)?;
        }
        for stream in &self.streams {
            let [items, _] = stream.pooled.dims();
            same_shape("a text stream", [texts], [items])?;
            same_shape("a text stream's availability", [texts], stream.available.dims())?;
            if let Some(item) = first_false(stream.pooled.clone().is_finite().all_dim(1)) {
                return Err(HeadError::NotFinite { what: "a stream of text", item });
            }
        }
        Ok(())
    }
}

fn same_shape<const D: usize>(
    what: &'static str,
    expected: [usize; D],
    found: [usize; D],
) -> Result<(), HeadError> {
    if expected == found {
        Ok(())
    } else {
        Err(HeadError::Shape { what, expected: expected.to_vec(), found: found.to_vec() })
    }
}

fn real_values(what: &'static str, features: &Tensor<3>, mask: &Tensor<2, Bool>) -> Result<(), HeadError> {
    let [items, steps] = mask.dims();
    same_shape("the features", [items, steps], [features.dims()[0], features.dims()[1]])?;
    let finite = features.clone().is_finite().all_dim(2).reshape([items, steps]);
    let fine = finite.bool_or(mask.clone().bool_not()).all_dim(1);
    first_false(fine).map_or(Ok(()), |item| Err(HeadError::NotFinite { what, item }))
}

pub(crate) fn first_false(flags: Tensor<2, Bool>) -> Option<usize> {
    flags.into_data().iter::<bool>().position(|flag| !flag)
}
