//! Parts of captions (who, what they do, where), as words for the encoder; computed once when a split is opened.

use std::ops::Range;

use rayon::prelude::*;
use tvr_data::{CaptionStream, CaptionStreams};

use crate::error::ExperimentError;
use crate::recipe::StreamMode;

/// One stream of every caption.
#[derive(Clone, Debug)]
pub struct StreamTexts {
    /// Its name, as heads call it.
    pub name: &'static str,
    /// Its words, caption by caption.
    pub parts: Parts,
}

/// The words of a stream; a caption without such words has an empty row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Parts {
    /// The whole caption.
    Whole,
    /// Places of the words among the caption's tokens, start mark counted.
    Places(Vec<Vec<u32>>),
    /// The words as a text of their own, in tokens.
    Tokens(Vec<Vec<u32>>),
}

/// Ids of a text's tokens and the bytes that each stands for.
type Spans = (Vec<u32>, Vec<Range<usize>>);

/// The streams that captions are cut into.
pub fn names() -> Vec<&'static str> {
    CaptionStream::ALL.map(CaptionStream::name).to_vec()
}

/// The streams of these names of every caption.
///
/// A caption has a stream where at least one of the stream's words is known to the encoder.
///
/// # Errors
/// A text that `encode` refuses.
pub fn of(
    sentences: &[String],
    names: &[&'static str],
    mode: StreamMode,
    encode: impl Fn(&str) -> Result<Spans, ExperimentError> + Sync,
) -> Result<Vec<StreamTexts>, ExperimentError> {
    let streams: Vec<CaptionStream> = names.iter().filter_map(|name| CaptionStream::named(name)).collect();
    let cut = |stream: CaptionStream| -> Result<Parts, ExperimentError> {
        if stream == CaptionStream::Fusion {
            return Ok(Parts::Whole);
        }
        let part = |sentence: &String| -> Result<Vec<u32>, ExperimentError> {
            // As the whole caption is encoded: a tokenizer that keeps capitals has other tokens for it in lower case.
            let split = CaptionStreams::split(sentence);
            let words = split.places(stream);
            let bytes = word_bytes(sentence);
            let (_, spans) = encode(sentence)?;
            let places: Vec<u32> = (0..spans.len())
                .filter(|&token| words.iter().any(|&word| overlap(&bytes[word], &spans[token])))
                .map(|token| token as u32)
                .collect();
            if places.is_empty() || mode == StreamMode::Mask {
                return Ok(places);
            }
            let text = split.text(stream);
            Ok(match mode {
                StreamMode::Prompt => encode(&format!("a video of {text}"))?.0,
                _ => encode(&text)?.0,
            })
        };
        let rows = sentences.par_iter().map(part).collect::<Result<_, _>>()?;
        Ok(if mode == StreamMode::Mask { Parts::Places(rows) } else { Parts::Tokens(rows) })
    };
    streams.into_iter().map(|stream| Ok(StreamTexts { name: stream.name(), parts: cut(stream)? })).collect()
}

/// Where the words that blanks separate lie in a text.
fn word_bytes(text: &str) -> Vec<Range<usize>> {
    let start = text.as_ptr() as usize;
    text.split_whitespace()
        .map(|word| {
            let at = word.as_ptr() as usize - start;
            at..at + word.len()
        })
        .collect()
}

/// Whether a token stands for a part of a word; marks stand for no bytes.
fn overlap(word: &Range<usize>, token: &Range<usize>) -> bool {
    word.start.max(token.start) < word.end.min(token.end)
}
