//! What every objective takes and gives: [`Pairs`] in, [`Loss`] out.

use std::borrow::Cow;

use burn::module::{Module, ModuleDisplay};
use burn::prelude::*;

use crate::error::ObjectiveError;
use crate::rows::ByRows;
use crate::support_set::Decoder;

/// What an objective wants beside the similarities. The plan compares it with what head and encoder offer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Needs {
    /// Similarities of these streams, by name.
    pub streams: Vec<&'static str>,
    /// The vectors of texts and videos themselves.
    pub codes: bool,
    /// The captions' tokens.
    pub captions: bool,
    /// A number per video that names it in every batch.
    pub video_ids: bool,
    /// As many texts as videos, pair by pair on the diagonal.
    pub square: bool,
    /// The least number of videos in a batch; 0 and 1 ask for nothing.
    pub least_videos: usize,
}

/// The tokens of the captions of a batch.
#[derive(Clone, Debug)]
pub struct CaptionTokens {
    /// Token numbers, the end of the caption last. `[texts, tokens]`
    pub ids: Tensor<2, Int>,
    /// True where a token is real; real tokens come first. `[texts, tokens]`
    pub mask: Tensor<2, Bool>,
}

/// One stream of a batch: how its part of the texts (their nouns, their verbs, ...) compares with the videos.
#[derive(Clone, Debug)]
pub struct Stream {
    /// Its name, as head and recipe call it.
    pub name: &'static str,
    /// Cosine of every text's part with every video. `[texts, videos]`
    pub similarity: Tensor<2>,
    /// False where a text has no such part: an objective leaves that text out. `[texts]`
    pub available: Tensor<1, Bool>,
}

/// One batch, seen by an objective.
#[derive(Clone, Debug)]
pub struct Pairs<'a> {
    /// Cosine of every text with every video. `[texts, videos]`
    pub similarity: &'a Tensor<2>,
    /// The same per stream.
    pub streams: &'a [Stream],
    /// What turns a cosine into a logit, `exp(logit_scale)`. `[1]`
    pub scale: Tensor<1>,
    /// For every text the index of its video in this batch. `[texts]`
    pub same: &'a Tensor<1, Int>,
    /// The texts' vectors, where asked for. `[texts, width]`
    pub texts: Option<&'a Tensor<2>>,
    /// The videos' vectors, where asked for. `[videos, width]`
    pub videos: Option<&'a Tensor<2>>,
    /// The captions' tokens, where asked for.
    pub captions: Option<&'a CaptionTokens>,
    /// For every video a number that names it in all batches, where asked for. `[videos]`
    pub video_ids: Option<&'a Tensor<1, Int>>,
}

impl<'a> Pairs<'a> {
    /// Similarities, scale, and who belongs to whom; the rest is absent.
    pub fn new(similarity: &'a Tensor<2>, scale: Tensor<1>, same: &'a Tensor<1, Int>) -> Self {
        Self {
            similarity,
            streams: &[],
            scale,
            same,
            texts: None,
            videos: None,
            captions: None,
            video_ids: None,
        }
    }

    /// Similarity times scale. `[texts, videos]`
    pub fn logits(&self) -> Tensor<2> {
        self.similarity.clone() * self.scale.clone().unsqueeze::<2>()
    }

    /// The stream of that name; `None` where the head has none.
    pub fn stream(&self, name: &str) -> Option<&'a Stream> {
        self.streams.iter().find(|stream| stream.name == name)
    }

    /// The number of every video, `[videos]`, for an objective whose needs name it.
    ///
    /// # Panics
    /// Where the batch carries none, which [`Pairs::check`] refuses.
    pub fn named_videos(&self) -> &Tensor<1, Int> {
        match self.video_ids {
            Some(ids) => ids,
            None => unreachable!("the batch carries no video numbers"),
        }
    }

    /// The number of every text's video, `[texts]`; panics as [`Pairs::named_videos`].
    pub fn videos_of_texts(&self) -> Tensor<1, Int> {
        self.named_videos().clone().select(0, self.same.clone())
    }

    /// Whether the batch has what an objective needs, in shapes that fit. The step calls it once at its border;
    /// behind it, a broken shape is our bug. Reads `same` from the device.
    ///
    /// # Errors
    /// The first thing that is missing or does not fit.
    pub fn check(&self, needs: &Needs) -> Result<(), ObjectiveError> {
        let [texts, videos] = self.similarity.dims();
        check_sizes(texts, videos, self.same, needs)?;
        for &name in &needs.streams {
            let stream = self.stream(name).ok_or(ObjectiveError::Missing { what: name })?;
            let [queries, items] = stream.similarity.dims();
            rows(name, texts, queries)?;
            size("the number of a stream's videos", videos, items)?;
            rows("a stream's availability", texts, stream.available.dims()[0])?;
        }
        if needs.codes {
            let vectors = self.texts.ok_or(ObjectiveError::Missing { what: "text vectors" })?;
            let [found, width] = vectors.dims();
            rows("the text vectors", texts, found)?;
            let vectors = self.videos.ok_or(ObjectiveError::Missing { what: "video vectors" })?;
            let [found, of_videos] = vectors.dims();
            rows("the video vectors", videos, found)?;
            size("the width of the video vectors", width, of_videos)?;
        }
        if needs.captions {
            let captions = self.captions.ok_or(ObjectiveError::Missing { what: "caption tokens" })?;
            let [found, longest] = captions.ids.dims();
            rows("the caption tokens", texts, found)?;
            let [found, of_mask] = captions.mask.dims();
            rows("the mask of the caption tokens", texts, found)?;
            size("the length of the caption tokens' mask", longest, of_mask)?;
        }
        if needs.video_ids {
            let ids = self.video_ids.ok_or(ObjectiveError::Missing { what: "video numbers" })?;
            rows("the video numbers", videos, ids.dims()[0])?;
        }
        Ok(())
    }
}

/// A loss and what it is made of.
#[derive(Clone, Debug)]
pub struct Loss {
    /// What is minimised. `[1]`, nats
    pub total: Tensor<1>,
    /// Named parts, for the log and the plots. Each `[1]`
    pub parts: Vec<(Cow<'static, str>, Tensor<1>)>,
}

/// From the similarities of a batch to a loss. [`laws`](crate::laws) say what holds for any of them.
///
/// `ModuleDisplay` stands beside `Module` so that a struct that holds an objective can derive `Module`.
pub trait Objective: Module + ModuleDisplay {
    /// What it takes beside the similarities.
    fn needs(&self) -> Needs {
        Needs::default()
    }

    /// The loss of a batch that passed [`Pairs::check`], `[1]`. A pure function: it changes no state and draws no random
    /// numbers, since of several ranks each may judge the whole batch.
    fn loss(&self, pairs: &Pairs) -> Loss;

    /// The same loss in shares, where it is a sum over rows; `None` for a loss that wants the whole batch at once.
    fn by_rows(&self) -> Option<&dyn ByRows> {
        None
    }

    /// What the objective remembers of a batch, the same at every rank: the vectors and similarities that the loss has
    /// judged, outside any graph, the scale as the optimiser has left it. Never called where [`by_rows`](Self::by_rows)
    /// gives a share of the loss, since no rank holds the batch then. Captions are not given.
    fn after_step(&mut self, _pairs: &Pairs) {}

    /// What tells a caption from a video's vector, where the objective trains such a part; no similarity depends on it.
    fn decoder(&self) -> Option<&Decoder> {
        None
    }
}

/// Whether numbers of texts and videos, and who belongs to whom, are those of a batch that an objective takes.
pub(crate) fn check_sizes(
    texts: usize,
    videos: usize,
    same: &Tensor<1, Int>,
    needs: &Needs,
) -> Result<(), ObjectiveError> {
    if texts == 0 || videos == 0 {
        return Err(ObjectiveError::Empty { texts, videos });
    }
    rows("same", texts, same.dims()[0])?;
    if needs.square && texts != videos {
        return Err(ObjectiveError::NotSquare { texts, videos });
    }
    if videos < needs.least_videos {
        return Err(ObjectiveError::FewVideos { least: needs.least_videos, found: videos });
    }
    for (text, video) in same.clone().into_data().iter::<i64>().enumerate() {
        if video < 0 || video >= videos as i64 {
            return Err(ObjectiveError::Outside { text, video, last: videos - 1 });
        }
    }
    Ok(())
}

fn size(what: &'static str, expected: usize, found: usize) -> Result<(), ObjectiveError> {
    if expected == found { Ok(()) } else { Err(ObjectiveError::Size { what, expected, found }) }
}

fn rows(what: &'static str, expected: usize, found: usize) -> Result<(), ObjectiveError> {
    if expected == found { Ok(()) } else { Err(ObjectiveError::Rows { what, expected, found }) }
}
