//! Captions as words: the vocabulary of the small trained word encoder.
//!
//! ```text
//! word = [a-z0-9']+ of the caption with A to Z in lower case, known if the training captions hold it `least` times
//! ```
//!
//! A word outside the vocabulary is passed over, as the measured PyTorch baseline of the feature set does; a caption
//! without one known word has the single word "unknown" (ours), so that no caption is empty.

use std::collections::HashMap;
use std::ops::Range;

/// Opens every caption.
const START: u32 = 0;

/// Closes every caption.
const END: u32 = 1;

/// Stands in a caption without one known word.
const UNKNOWN: u32 = 2;

/// Marks before the words.
const MARKS: [&str; 3] = ["<start>", "<end>", "<unknown>"];

/// Words with their numbers, marks first, then the commonest word first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Vocabulary {
    words: Vec<String>,
    numbers: HashMap<String, u32>,
}

impl Vocabulary {
    /// The words that stand at least `least` times in the captions.
    pub fn learn<'a>(captions: impl Iterator<Item = &'a str>, least: usize) -> Self {
        let mut counts: HashMap<String, usize> = HashMap::new();
        for caption in captions {
            let lower = caption.to_ascii_lowercase();
            for span in spans(&lower) {
                *counts.entry(lower[span].to_string()).or_default() += 1;
            }
        }
        let mut known: Vec<(String, usize)> =
            counts.into_iter().filter(|(_, count)| *count >= least).collect();
        known.sort_unstable_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
        let words: Vec<String> =
            MARKS.map(String::from).into_iter().chain(known.into_iter().map(|(word, _)| word)).collect();
        let numbers = words.iter().enumerate().map(|(number, word)| (word.clone(), number as u32)).collect();
        Self { words, numbers }
    }

    /// Words and marks.
    pub fn size(&self) -> usize {
        self.words.len()
    }

    /// Numbers of a caption's words between start and end mark, with the bytes of the caption that each stands for.
    pub fn encode(&self, caption: &str) -> (Vec<u32>, Vec<Range<usize>>) {
        let lower = caption.to_ascii_lowercase();
        let known = spans(&lower)
            .filter_map(|span| self.numbers.get(&lower[span.clone()]).map(|&number| (number, span)));
        let mut ids = vec![START];
        let mut places = vec![0..0];
        for (number, span) in known {
            ids.push(number);
            places.push(span);
        }
        if ids.len() == 1 {
            ids.push(UNKNOWN);
            places.push(0..0);
        }
        ids.push(END);
        places.push(lower.len()..lower.len());
        (ids, places)
    }

    /// The words of some numbers, joined by blanks, without marks; what a decoder wrote, for a reader.
    pub fn decode(&self, ids: &[u32]) -> String {
        let words: Vec<&str> = ids
            .iter()
            .filter(|&&id| id as usize >= MARKS.len())
            .filter_map(|&id| self.words.get(id as usize).map(String::as_str))
            .collect();
        words.join(" ")
    }
}

/// The words of a lower-cased text, as byte ranges.
fn spans(lower: &str) -> impl Iterator<Item = Range<usize>> + '_ {
    let of_word = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'\'';
    let bytes = lower.as_bytes();
    let mut at = 0;
    std::iter::from_fn(move || {
        let start = (at..bytes.len()).find(|&place| of_word(bytes[place]))?;
        let end = (start..bytes.len()).find(|&place| !of_word(bytes[place])).unwrap_or(bytes.len());
        at = end;
        Some(start..end)
    })
}
