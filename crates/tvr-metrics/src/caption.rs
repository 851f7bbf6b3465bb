//! Captions against reference captions: words, BLEU and CIDEr.
//!
//! Both compare n-grams, so both depend on what a word is. [`words`] is the one rule of this crate (ours, close to the
//! common evaluation, which lower-cases and drops punctuation):
//!
//! 1. Letters are lower-cased.
//! 2. A word is a longest run of letters, digits and marks between them: an apostrophe or a hyphen belongs to a word
//!    if a letter or digit stands on both of its sides (`don't`, `t-shirt`).
//! 3. All else parts words and is dropped.
//!
//! Nothing is stemmed and nothing is left out as too frequent.

mod bleu;
mod cider;

pub use bleu::{Bleu, bleu};
pub use cider::{Cider, cider};

use std::collections::HashMap;

use crate::MetricError;

/// The longest n-gram of both metrics.
const LONGEST: usize = 4;

/// The words of a caption.
///
/// ```
/// use tvr_metrics::words;
///
/// assert_eq!(words("A man's T-shirt, drying -- outside."), ["a", "man's", "t-shirt", "drying", "outside"]);
/// ```
pub fn words(caption: &str) -> Vec<String> {
    let letters: Vec<char> = caption.chars().flat_map(char::to_lowercase).collect();
    let inside = |at: usize| letters.get(at).is_some_and(|letter| letter.is_alphanumeric());
    let mut words = vec![String::new()];
    for (at, &letter) in letters.iter().enumerate() {
        // A typographic apostrophe is the same sign as the plain one.
        let letter = if letter == '’' { '\'' } else { letter };
        let mark = matches!(letter, '\'' | '-') && at > 0 && inside(at - 1) && inside(at + 1);
        if letter.is_alphanumeric() || mark {
            words.last_mut().into_iter().for_each(|word| word.push(letter));
        } else {
            words.push(String::new());
        }
    }
    words.retain(|word| !word.is_empty());
    words
}

/// How often each n-gram stands in a caption.
type Counts<'a> = HashMap<&'a [String], usize>;

fn counts(words: &[String], n: usize) -> Counts<'_> {
    let mut counts = Counts::new();
    for gram in words.windows(n) {
        *counts.entry(gram).or_insert(0) += 1;
    }
    counts
}

/// Candidates and references as words, one list of references for each candidate.
struct Corpus {
    candidates: Vec<Vec<String>>,
    references: Vec<Vec<Vec<String>>>,
}

impl Corpus {
    fn new<S: AsRef<str>, R: AsRef<[S]>>(candidates: &[S], references: &[R]) -> Result<Self, MetricError> {
        if candidates.is_empty() {
            return Err(MetricError::NoCandidates);
        }
        if candidates.len() != references.len() {
            let (candidates, references) = (candidates.len(), references.len());
            return Err(MetricError::CaptionCount { candidates, references });
        }
        if let Some(candidate) = references.iter().position(|list| list.as_ref().is_empty()) {
            return Err(MetricError::NoReference { candidate });
        }
        let split = |caption: &S| words(caption.as_ref());
        Ok(Self {
            candidates: candidates.iter().map(split).collect(),
            references: references.iter().map(|list| list.as_ref().iter().map(split).collect()).collect(),
        })
    }

    /// A candidate with its references.
    fn pairs(&self) -> impl Iterator<Item = (&Vec<String>, &Vec<Vec<String>>)> {
        self.candidates.iter().zip(&self.references)
    }
}
