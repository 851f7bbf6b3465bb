//! What every head does: features to codes, codes to similarities.

use burn::module::{Module, ModuleDisplay};
use burn::prelude::*;

use crate::codes::{TextCodes, VideoCodes};
use crate::error::HeadError;
use crate::experts::ExpertInput;
use crate::features::{TextFeatures, VideoFeatures};
use crate::tiles::Tile;
use crate::vectors::Vectors;

/// What a head wants beside frames and one vector per text. The plan compares it with what encoders and data offer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Needs {
    /// A vector per frame (a head of experts alone does without).
    pub frames: bool,
    /// A vector per token of the text.
    pub tokens: bool,
    /// These streams of the text, by name.
    pub streams: Vec<&'static str>,
    /// These experts of the video, by name and width.
    pub experts: Vec<ExpertInput>,
    /// Whether a similarity depends on the other items that are scored with it (EMCL). Such a head may give
    /// other figures for other tiles; every other head must not.
    pub mixes_items: bool,
    /// The tile that a head is scored in, since it mixes items or holds much for every pair; `None` where the usual will do.
    pub tile: Option<Tile>,
    /// Whether a pair is judged by more than the cosine of [`Codes::pooled`](crate::Codes::pooled), so that an
    /// objective cannot score kept items by their codes.
    pub judges_pairs: bool,
    /// The most frames it has positions for; `None` where any number will do.
    pub max_frames: Option<usize>,
    /// Whether it reads the order of frames as time. Any other head takes them as a set, and so may take patches.
    pub in_time: bool,
}

impl Needs {
    /// Whether these videos are sound and have what the head wants. Called once where features enter.
    ///
    /// # Errors
    /// What [`VideoFeatures::check`] finds; an expert that is missing or of another width; more frames than positions.
    pub fn check_videos(&self, videos: &VideoFeatures) -> Result<(), HeadError> {
        videos.check()?;
        let [_, frames] = videos.mask.dims();
        if let Some(most) = self.max_frames.filter(|&most| frames > most) {
            return Err(HeadError::TooManyFrames { frames, most });
        }
        for ExpertInput { name, width } in &self.experts {
            let Some(expert) = videos.experts.iter().find(|expert| expert.name == *name) else {
                return Err(HeadError::Missing { what: format!("the expert \"{name}\"") });
            };
            let [_, _, found] = expert.features.dims();
            if found != *width {
                return Err(HeadError::ExpertWidth { name: name.clone(), expected: *width, found });
            }
        }
        Ok(())
    }

    /// The same for texts.
    ///
    /// # Errors
    /// What [`TextFeatures::check`] finds; tokens or a stream that are missing.
    pub fn check_texts(&self, texts: &TextFeatures) -> Result<(), HeadError> {
        texts.check()?;
        if self.tokens && texts.tokens.is_none() {
            return Err(HeadError::Missing { what: "token features of the texts".into() });
        }
        for name in &self.streams {
            if !texts.streams.iter().any(|stream| stream.name == *name) {
                return Err(HeadError::Missing { what: format!("the text stream \"{name}\"") });
            }
        }
        Ok(())
    }
}

/// What the numbers of a similarity are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Unit {
    /// In [-1, 1]; times the logit scale it is a logit.
    #[default]
    Cosine,
    /// A logit already; the logit scale is not applied.
    Logit,
}

/// All pairs of some texts and videos.
#[derive(Clone, Debug)]
pub struct Similarity {
    /// What retrieval ranks by. `[texts, videos]`
    pub fused: Tensor<2>,
    /// The same of each stream alone, for heads that have streams; the streams that [`Head::streams`] names.
    pub streams: Vec<StreamSimilarity>,
}

/// The similarity of one stream alone, and which texts have it.
#[derive(Clone, Debug)]
pub struct StreamSimilarity {
    /// Its name, as head, objective and recipe call it.
    pub name: &'static str,
    /// `[texts, videos]`
    pub similarity: Tensor<2>,
    /// False where the text has no such part; what its row says then is a fallback, or nothing. `[texts]`
    pub available: Tensor<1, Bool>,
}

impl Similarity {
    /// A similarity without streams.
    pub fn of(fused: Tensor<2>) -> Self {
        Self { fused, streams: Vec::new() }
    }

    /// The same values outside any graph.
    pub fn without_autodiff(self) -> Self {
        let streams = self.streams.into_iter().map(|stream| StreamSimilarity {
            name: stream.name,
            similarity: stream.similarity.without_autodiff(),
            available: stream.available.without_autodiff(),
        });
        Self { fused: self.fused.without_autodiff(), streams: streams.collect() }
    }
}

/// From features to similarities, in two parts: what concerns one item, once per item, and what concerns a pair.
///
/// The similarity of a pair depends on that text and that video alone, unless [`Needs::mixes_items`]; no head sees
/// who belongs to whom. [`laws`](crate::laws) ask it of any head, and `tests/it/conformance.rs` of every head of this crate.
/// `ModuleDisplay` stands beside `Module` so that a wrapper (`Emcl<H: Head>`) can derive `Module`.
pub trait Head: Module + ModuleDisplay {
    /// What it takes beside one vector per text.
    fn needs(&self) -> Needs;

    /// What its similarities are.
    fn unit(&self) -> Unit {
        Unit::Cosine
    }

    /// The streams that its [`Similarity`] has, by name; a head without streams has none.
    fn streams(&self) -> Vec<&'static str> {
        Vec::new()
    }

    /// Codes of videos that passed [`VideoFeatures::check`]. Any chunking gives the same codes.
    fn code_videos(&self, videos: VideoFeatures) -> VideoCodes;

    /// Codes of texts that passed [`TextFeatures::check`]. Any chunking gives the same codes.
    fn code_texts(&self, texts: TextFeatures) -> TextCodes;

    /// Number of cosines of two vectors that its similarity is made of: one for most heads, one per expert or
    /// stream, none for a head that judges pairs otherwise (which [`Emcl`](crate::Emcl) cannot wrap).
    fn n_cosines(&self) -> usize {
        0
    }

    /// The vectors of these cosines, [`Head::n_cosines`] of them.
    fn vectors(&self, _texts: &TextCodes, _videos: &VideoCodes) -> Vec<Vectors> {
        Vec::new()
    }

    /// The similarity that these cosines make, each `[texts, videos]`, in the order of [`Head::vectors`].
    fn fuse(&self, _texts: &TextCodes, _videos: &VideoCodes, cosines: Vec<Tensor<2>>) -> Similarity {
        match <[Tensor<2>; 1]>::try_from(cosines) {
            Ok([cosine]) => Similarity::of(cosine),
            Err(cosines) => unreachable!("a head of {} cosines fuses them itself", cosines.len()),
        }
    }

    /// All pairs of some texts and videos.
    fn similarity(&self, texts: &TextCodes, videos: &VideoCodes) -> Similarity;

    /// What the head remembers of a batch, after the optimiser has stepped.
    fn after_step(&mut self, _texts: &TextCodes, _videos: &VideoCodes) {}

    /// [`effective_rank`](crate::emcl::effective_rank) of the vectors of one tile before and after a layer that stands
    /// between them and their cosines, the mean over the cosines; `None` for a head without such a layer.
    fn effective_ranks(&self, _texts: &TextCodes, _videos: &VideoCodes) -> Option<[f64; 2]> {
        None
    }
}

/// The vectors of a head whose similarity is the cosine of its pooled codes.
pub(crate) fn pooled_vectors(texts: &TextCodes, videos: &VideoCodes) -> Vec<Vectors> {
    vec![Vectors::of_items(texts.pooled.clone(), videos.pooled.clone())]
}

/// Cosine of all pairs of unit rows. `[texts, width]`, `[videos, width]` to `[texts, videos]`
pub fn cosine(texts: &TextCodes, videos: &VideoCodes) -> Tensor<2> {
    texts.pooled.clone().matmul(videos.pooled.clone().transpose())
}
