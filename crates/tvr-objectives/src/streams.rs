//! One term per stream beside the term of the fused similarity (CAMoE's alignment).
//!
//! ```text
//! L = L(s) + μ · mean_e L'(s^e)     e over the streams that any caption of the batch has
//! ```
//!
//! | symbol | meaning | shape, unit |
//! |---|---|---|
//! | `s` | fused similarity | `[texts, videos]`, cosine |
//! | `s^e` | similarity of stream `e`, of the captions that have it alone | `[some texts, their videos]`, cosine |
//! | `L`, `L'` | any objective, and any that needs similarities alone; usually the same | `[1]` |
//! | `μ` | weight of the streams | 0 or above |
//!
//! A caption without a stream is left out of that stream's term, its row and its column: it is neither a positive
//! nor a negative there, and no gradient reaches it. A video goes with the last of its captions.
//!
//! Source: Cheng et al. 2021 (CAMoE), arXiv 2109.04290, where per-stream terms are summed (from memory, no code was
//! published). The mean, the weight and what happens to missing streams are ours.

use burn::prelude::*;
use serde::{Deserialize, Serialize};

use crate::error::ObjectiveError;
use crate::objective::{Loss, Needs, Objective, Pairs, Stream};
use crate::support_set::Decoder;

/// Settings of [`Streams`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StreamsConfig {
    /// `μ`; 0 or above.
    #[serde(default = "one")]
    pub weight: f32,
    /// The streams that have a term; at least one, each once.
    #[serde(default = "every")]
    pub streams: Vec<StreamName>,
}

/// A stream, as heads and recipes call it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum StreamName {
    /// Who and what is there.
    Entity,
    /// What they do.
    Action,
    /// Where.
    Scene,
    /// The whole caption.
    Fusion,
}

impl StreamName {
    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Entity => "entity",
            Self::Action => "action",
            Self::Scene => "scene",
            Self::Fusion => "fusion",
        }
    }
}

fn one() -> f32 {
    1.0
}

fn every() -> Vec<StreamName> {
    vec![StreamName::Entity, StreamName::Action, StreamName::Scene, StreamName::Fusion]
}

impl StreamsConfig {
    /// A term for each of the four streams, as heavy together as the fused one (ours).
    pub fn ours() -> Self {
        Self { weight: one(), streams: every() }
    }

    /// Checks every setting and makes the objective out of the one that judges the fused similarity and the one that
    /// judges each stream.
    ///
    /// # Errors
    /// [`ObjectiveError::Setting`] names the first setting outside its domain; [`ObjectiveError::StreamTerm`] is
    /// for a term that wants more than similarities.
    pub fn init<O: Objective>(&self, fused: O, each: O) -> Result<Streams<O>, ObjectiveError> {
        let refuse = |setting, value, domain| {
            Err(ObjectiveError::Setting { objective: "streams", setting, value, domain })
        };
        if !(self.weight >= 0.0 && self.weight.is_finite()) {
            return refuse("weight", self.weight.into(), "a number of 0 or above");
        }
        let twice = (1..self.streams.len()).any(|at| self.streams[..at].contains(&self.streams[at]));
        if self.streams.is_empty() || twice {
            return refuse("streams", self.streams.len() as f64, "names of at least one stream, each once");
        }
        let needs = each.needs();
        if needs != (Needs { square: needs.square, ..Needs::default() }) {
            return Err(ObjectiveError::StreamTerm);
        }
        Ok(Streams {
            terms: vec![fused, each],
            weight: self.weight,
            streams: self.streams.iter().map(|stream| stream.name()).collect(),
        })
    }
}

/// A term for the fused similarity and one for each stream. Only [`StreamsConfig::init`] makes one.
#[derive(Module, Debug)]
pub struct Streams<O: Objective> {
    /// What judges the fused similarity, and what judges each stream. On the heap, so that an objective of streams
    /// may be one of several objectives.
    pub terms: Vec<O>,
    #[module(skip)]
    weight: f32,
    #[module(skip)]
    streams: Vec<&'static str>,
}

/// The captions that have a stream, and their videos: one stream as a batch of its own.
struct Part {
    similarity: Tensor<2>,
    same: Tensor<1, Int>,
}

impl Part {
    /// `None` where no caption of the batch has the stream.
    fn of(stream: &Stream, pairs: &Pairs, square: bool) -> Option<Self> {
        let available: Vec<bool> = stream.available.to_data().iter::<bool>().collect();
        let texts: Vec<usize> = (0..available.len()).filter(|&text| available[text]).collect();
        if texts.len() == available.len() {
            return Some(Self { similarity: stream.similarity.clone(), same: pairs.same.clone() });
        }
        let same: Vec<usize> = pairs.same.to_data().iter::<i64>().map(|video| video as usize).collect();
        // On the diagonal text i belongs to video i, whatever `same` says.
        let own = |text: usize| if square { text } else { same[text] };
        let [_, n_videos] = stream.similarity.dims();
        let mut gone = vec![false; n_videos];
        (0..available.len()).for_each(|text| gone[own(text)] = true);
        texts.iter().for_each(|&text| gone[own(text)] = false);
        let videos: Vec<usize> = (0..n_videos).filter(|&video| !gone[video]).collect();
        let places = texts.iter().map(|&text| videos.partition_point(|&video| video < own(text)));
        let device = pairs.same.device();
        let indices = |values: Vec<usize>| {
            let values: Vec<i32> = values.into_iter().map(|value| value as i32).collect();
            let count = values.len();
            Tensor::<1, Int>::from_data(TensorData::new(values, [count]), &device)
        };
        let same = indices(places.collect());
        let rows = (!texts.is_empty()).then(|| stream.similarity.clone().select(0, indices(texts)))?;
        Some(Self { similarity: rows.select(1, indices(videos)), same })
    }
}

impl<O: Objective> Objective for Streams<O> {
    fn needs(&self) -> Needs {
        let needs = self.terms[0].needs();
        let mut streams = self.streams.clone();
        streams.extend(needs.streams.iter().filter(|name| !self.streams.contains(name)));
        Needs { streams, square: needs.square || self.terms[1].needs().square, ..needs }
    }

    fn loss(&self, pairs: &Pairs) -> Loss {
        let each = &self.terms[1];
        let square = each.needs().square;
        let fused = self.terms[0].loss(pairs).total;
        let mut parts = vec![("fused".into(), fused.clone())];
        let mut found = Vec::new();
        for &name in &self.streams {
            let part = pairs.stream(name).and_then(|stream| Part::of(stream, pairs, square));
            let loss = match &part {
                Some(Part { similarity, same }) => {
                    let loss = each.loss(&Pairs::new(similarity, pairs.scale.clone(), same)).total;
                    found.push(loss.clone());
                    loss
                }
                None => fused.zeros_like(),
            };
            parts.push((name.into(), loss));
        }
        let count = found.len().max(1) as f64;
        let streams = found.into_iter().reduce(|sum, loss| sum + loss);
        let total = match streams {
            Some(sum) => fused + sum * (f64::from(self.weight) / count),
            None => fused,
        };
        Loss { total, parts }
    }

    fn after_step(&mut self, pairs: &Pairs) {
        self.terms[0].after_step(pairs);
    }

    fn decoder(&self) -> Option<&Decoder> {
        self.terms[0].decoder()
    }
}
