//! CIDEr-D: how near a candidate's n-grams are to those of the references, rare ones counting more.
//!
//! ```text
//! g[n](c)[w] = count of w in c · ln(V / max(1, videos whose references hold w))       w an n-gram, n from 1 to 4
//! sim[n]     = Σ_w min(g(c)[w], g(r)[w]) · g(r)[w] / (|g(c)| · |g(r)|)                 0 if a norm is 0
//! CIDEr-D(c) = 10 · mean over n, references r of exp(−(words of c − words of r)² / 2σ²) · sim[n]
//! ```
//!
//! | symbol | meaning | unit |
//! |---|---|---|
//! | `c`, `r` | candidate, one of its references | words |
//! | `V` | videos, which is the number of candidates | count |
//! | `σ` | 6 | words |
//!
//! Source: Vedantam et al. 2015, arXiv 1411.5726, the robust form (D), which the common evaluation calls CIDEr:
//! code: tylin/coco-caption. Nothing is stemmed, as in that code and unlike the paper. Words are those of
//! [`crate::words`]. Figures of two corpora differ in their document frequencies and cannot be compared.

use std::collections::{HashMap, HashSet};

use serde::Serialize;

use super::{Corpus, LONGEST, counts};
use crate::MetricError;

/// Deviation of the length penalty, in words.
const SIGMA: f64 = 6.0;

/// CIDEr-D of a corpus.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Cider {
    /// Mean over the candidates, 0 to 10.
    pub mean: f64,
    /// Of each candidate, 0 to 10.
    pub by_candidate: Vec<f64>,
}

/// CIDEr-D of candidates, each against the references of its own video.
///
/// With fewer than two videos every n-gram is in all of them and every figure is 0.
///
/// # Errors
/// [`MetricError::NoCandidates`], [`MetricError::CaptionCount`] unless there is one list of references for each, and
/// [`MetricError::NoReference`] for an empty list.
///
/// # Example
/// ```
/// let references = [vec!["a man is riding a horse"], vec!["a dog is chasing a ball"]];
/// let right = tvr_metrics::cider(&["a man is riding a horse", "a dog is chasing a ball"], &references)?;
/// let swapped = tvr_metrics::cider(&["a dog is chasing a ball", "a man is riding a horse"], &references)?;
/// assert!((right.mean - 10.0).abs() < 1e-9 && swapped.mean < 1.0);
/// # Ok::<(), tvr_metrics::MetricError>(())
/// ```
pub fn cider<S: AsRef<str>, R: AsRef<[S]>>(candidates: &[S], references: &[R]) -> Result<Cider, MetricError> {
    let corpus = Corpus::new(candidates, references)?;
    let videos = corpus.candidates.len() as f64;
    let mut by_candidate = vec![0.0; corpus.candidates.len()];
    for n in 1..=LONGEST {
        let mut frequency: HashMap<&[String], usize> = HashMap::new();
        for references in &corpus.references {
            let grams: HashSet<&[String]> =
                references.iter().flat_map(|reference| reference.windows(n)).collect();
            grams.into_iter().for_each(|gram| *frequency.entry(gram).or_insert(0) += 1);
        }
        let vector = |words: &'_ [String]| Vector::new(words, n, videos, &frequency);
        for ((candidate, references), total) in corpus.pairs().zip(&mut by_candidate) {
            let own = vector(candidate);
            let near = |reference: &Vec<String>| {
                let apart = candidate.len() as f64 - reference.len() as f64;
                (-apart * apart / (2.0 * SIGMA * SIGMA)).exp() * own.similarity(&vector(reference))
            };
            let sum: f64 = references.iter().map(near).sum();
            *total += 10.0 * sum / references.len() as f64 / LONGEST as f64;
        }
    }
    Ok(Cider { mean: by_candidate.iter().sum::<f64>() / videos, by_candidate })
}

/// Weighted counts in the order of their n-grams, so that a sum does not depend on a hash.
struct Vector {
    weights: Vec<(Vec<String>, f64)>,
    norm: f64,
}

impl Vector {
    fn new(words: &[String], n: usize, videos: f64, frequency: &HashMap<&[String], usize>) -> Self {
        let weight = |(gram, count): (&[String], usize)| {
            let known = frequency.get(gram).copied().unwrap_or(0).max(1) as f64;
            (gram.to_vec(), count as f64 * (videos / known).ln())
        };
        let mut weights: Vec<(Vec<String>, f64)> = counts(words, n).into_iter().map(weight).collect();
        weights.sort_by(|a, b| a.0.cmp(&b.0));
        let norm = weights.iter().map(|(_, weight)| weight * weight).sum::<f64>().sqrt();
        Self { weights, norm }
    }

    /// A cosine in which the candidate gains nothing by saying a word more often than the reference does.
    fn similarity(&self, reference: &Self) -> f64 {
        if self.norm == 0.0 || reference.norm == 0.0 {
            return 0.0;
        }
        let of = |gram: &Vec<String>| {
            reference
                .weights
                .binary_search_by(|(other, _)| other.cmp(gram))
                .map_or(0.0, |at| reference.weights[at].1)
        };
        let product: f64 = self.weights.iter().map(|(gram, weight)| weight.min(of(gram)) * of(gram)).sum();
        product / (self.norm * reference.norm)
    }
}
