//! The streams of a caption (CAMoE): who is there, what they do, where, and the whole.
//!
//! | stream | words | absent when |
//! |---|---|---|
//! | `entity` | nouns with their adjectives and numbers; `someone`, `something` | there is none |
//! | `action` | main verbs with their particles and directions; no auxiliary, no copula, no `to` | there is none |
//! | `scene` | a preposition of place with its noun phrase, unless the noun is worn, part of a body or no place; `outside` and its like | there is none |
//! | `fusion` | the caption unchanged | never |
//!
//! A word has one tag, so entity, action and scene share no word: the noun of a place speaks of the place. The tagger
//! is a set of rules: closed classes, endings, a lexicon of common words (`caption_streams/lexicon.txt`), one pass
//! for parts of speech (`tagger.rs`) and one for phrases (`phrases.rs`). It reads nothing but the caption, and knows
//! no case. On the built-in world's own tags and on 200 MSR-VTT captions labelled by hand it is measured by
//! `tests/it/caption_streams.rs`.
//!
//! Source: the streams and that each meets its part of the text: Cheng et al. 2021 (CAMoE), arXiv 2109.04290. Its
//! tagger was not published; the definitions above and all rules are ours.

mod lexicon;
mod phrases;
mod tagger;

use crate::world::Tag;

/// One stream of captions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum CaptionStream {
    /// Who and what is there.
    Entity,
    /// What they do.
    Action,
    /// Where.
    Scene,
    /// The whole caption.
    Fusion,
}

impl CaptionStream {
    /// All streams.
    pub const ALL: [Self; 4] = [Self::Entity, Self::Action, Self::Scene, Self::Fusion];

    /// Its name, as heads, objectives and recipes call it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Entity => "entity",
            Self::Action => "action",
            Self::Scene => "scene",
            Self::Fusion => "fusion",
        }
    }

    /// The stream of that name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|stream| stream.name() == name)
    }
}

/// A caption, word by word.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CaptionStreams {
    /// The words as they stand in the caption: what blanks separate.
    pub words: Vec<String>,
    /// What each word speaks of.
    pub tags: Vec<Tag>,
}

impl CaptionStreams {
    /// Splits a caption. Any text passes, an empty one too.
    ///
    /// ```
    /// use tvr_data::{CaptionStream, CaptionStreams};
    ///
    /// let streams = CaptionStreams::split("A young man is playing guitar on the street");
    /// assert_eq!(streams.text(CaptionStream::Entity), "young man guitar");
    /// assert_eq!(streams.text(CaptionStream::Action), "playing");
    /// assert_eq!(streams.text(CaptionStream::Scene), "on the street");
    /// ```
    pub fn split(caption: &str) -> Self {
        let words: Vec<String> = caption.split_whitespace().map(str::to_string).collect();
        let known: Vec<lexicon::Word> = words.iter().map(|word| lexicon::look_up(word)).collect();
        let tags = phrases::tags(&known, &tagger::tag(&known));
        Self { words, tags }
    }

    /// Indices of a stream's words, in the caption's order; none where the caption has no such part.
    pub fn places(&self, stream: CaptionStream) -> Vec<usize> {
        let wanted = match stream {
            CaptionStream::Entity => Tag::Entity,
            CaptionStream::Action => Tag::Action,
            CaptionStream::Scene => Tag::Scene,
            CaptionStream::Fusion => return (0..self.words.len()).collect(),
        };
        (0..self.tags.len()).filter(|&place| self.tags[place] == wanted).collect()
    }

    /// Whether the caption has such a part. It always has `fusion`.
    pub fn available(&self, stream: CaptionStream) -> bool {
        stream == CaptionStream::Fusion || !self.places(stream).is_empty()
    }

    /// A stream's words, joined by blanks; where the caption has none, the whole caption's.
    pub fn text(&self, stream: CaptionStream) -> String {
        let places =
            if self.available(stream) { self.places(stream) } else { self.places(CaptionStream::Fusion) };
        let words: Vec<&str> = places.iter().map(|&place| self.words[place].as_str()).collect();
        words.join(" ")
    }
}
