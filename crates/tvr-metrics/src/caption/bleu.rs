//! BLEU: the share of a candidate's n-grams that some reference has, over a whole corpus.
//!
//! ```text
//! p[n]   = Σ over candidates, n-grams of min(count, largest count in one reference) / Σ of count
//! BP     = min(1, exp(1 − r / c))                      c words of all candidates, r of their nearest references
//! BLEU-N = BP · exp((1 / N) Σ_{n ≤ N} ln p[n])         0 if a p[n] is 0
//! ```
//!
//! | symbol | meaning | unit |
//! |---|---|---|
//! | `p[n]` | precision of n-grams, n from 1 to 4 | 0 to 1 |
//! | `c`, `r` | lengths; of two references equally near the shorter one counts | words |
//! | `BP` | what short candidates lose | 0 to 1 |
//!
//! Source: Papineni et al. 2002, doi 10.3115/1073083.1073135. No smoothing: it is a corpus figure, not one of a
//! sentence. Words are those of [`crate::words`].

use serde::Serialize;

use super::{Corpus, LONGEST, counts};
use crate::MetricError;

/// BLEU of a corpus.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Bleu {
    /// BLEU-1 to BLEU-4, 0 to 1.
    pub scores: [f64; LONGEST],
    /// The precisions of 1- to 4-grams, 0 to 1.
    pub precisions: [f64; LONGEST],
    /// What short candidates lose, 0 to 1.
    pub brevity_penalty: f64,
    /// Words of all candidates.
    pub candidate_words: usize,
    /// Words of the references nearest in length.
    pub reference_words: usize,
}

impl Bleu {
    /// BLEU-4.
    pub fn bleu_4(&self) -> f64 {
        self.scores[LONGEST - 1]
    }
}

/// BLEU of candidates, each against the references of its own video.
///
/// # Errors
/// [`MetricError::NoCandidates`], [`MetricError::CaptionCount`] unless there is one list of references for each, and
/// [`MetricError::NoReference`] for an empty list.
///
/// # Example
/// ```
/// let references = [vec!["a man is riding a horse", "a person rides"]];
/// let same = tvr_metrics::bleu(&["a man is riding a horse"], &references)?;
/// let close = tvr_metrics::bleu(&["a man is riding a bike"], &references)?;
/// assert!(same.bleu_4() == 1.0 && close.bleu_4() < 1.0);
/// # Ok::<(), tvr_metrics::MetricError>(())
/// ```
pub fn bleu<S: AsRef<str>, R: AsRef<[S]>>(candidates: &[S], references: &[R]) -> Result<Bleu, MetricError> {
    let corpus = Corpus::new(candidates, references)?;
    let (mut found, mut all) = ([0usize; LONGEST], [0usize; LONGEST]);
    let (mut candidate_words, mut reference_words) = (0, 0);
    for (candidate, references) in corpus.pairs() {
        candidate_words += candidate.len();
        let nearest = references.iter().map(Vec::len).min_by_key(|&len| (len.abs_diff(candidate.len()), len));
        reference_words += nearest.unwrap_or(0);
        for n in 1..=LONGEST {
            let listed: Vec<_> = references.iter().map(|reference| counts(reference, n)).collect();
            for (gram, count) in counts(candidate, n) {
                let most = listed.iter().filter_map(|counts| counts.get(gram)).max().copied().unwrap_or(0);
                found[n - 1] += count.min(most);
                all[n - 1] += count;
            }
        }
    }
    let precisions: [f64; LONGEST] =
        std::array::from_fn(|n| if all[n] == 0 { 0.0 } else { found[n] as f64 / all[n] as f64 });
    let brevity_penalty = match candidate_words {
        0 => 0.0,
        words => (1.0 - reference_words as f64 / words as f64).exp().min(1.0),
    };
    let scores = std::array::from_fn(|n| {
        let logs: f64 = precisions[..=n].iter().map(|p| p.ln()).sum();
        brevity_penalty * (logs / (n + 1) as f64).exp() // ln 0 is −∞, and its exp is 0
    });
    Ok(Bleu { scores, precisions, brevity_penalty, candidate_words, reference_words })
}
