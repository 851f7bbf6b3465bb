//! Captions from vectors: the best word at a time, or a beam of several beginnings.
//!
//! ```text
//! greedy:  y_l = argmax_w p(w | y_<l, code)
//! beam:    keeps the `width` beginnings with the largest Σ_l ln p(y_l | y_<l, code), and answers with the ended
//!          one of the largest mean, (Σ_l ln p) / L
//! ```
//!
//! The whole batch goes through the decoder at once, and every step computes all places again: captions are short.
//! The mean (ours) keeps a beam from preferring short captions.

use burn::prelude::*;
use burn::tensor::{TensorData, activation};

use super::NAME;
use super::decoder::Decoder;
use crate::error::ObjectiveError;

/// A beginning of a caption.
#[derive(Clone)]
struct Beginning {
    tokens: Vec<u32>,
    log_probability: f64,
    ended: bool,
}

impl Beginning {
    fn mean(&self) -> f64 {
        self.log_probability / self.tokens.len().max(1) as f64
    }
}

/// The best word at a time.
///
/// - `codes`: `[items, code width]`, outside any graph
/// - `end`: the token that ends a caption
/// - returns for every item its tokens, without the end
///
/// # Errors
/// An end that the decoder does not know.
pub fn greedy(decoder: &Decoder, codes: &Tensor<2>, end: u32) -> Result<Vec<Vec<u32>>, ObjectiveError> {
    beam(decoder, codes, end, 1)
}

/// The best of several beginnings; with a `width` of 1 the same as [`greedy`].
///
/// - `codes`: `[items, code width]`, outside any graph
/// - `end`: the token that ends a caption
/// - `width`: beginnings kept of each item
/// - returns for every item its tokens, without the end
///
/// # Errors
/// A width of 0, or an end that the decoder does not know.
pub fn beam(
    decoder: &Decoder,
    codes: &Tensor<2>,
    end: u32,
    width: usize,
) -> Result<Vec<Vec<u32>>, ObjectiveError> {
    let refuse = |setting, value: f64, domain| {
        Err(ObjectiveError::Setting { objective: NAME, setting, value, domain })
    };
    if width == 0 {
        return refuse("beam width", 0.0, "a number above 0");
    }
    if end as usize >= decoder.vocabulary() {
        return refuse("end token", end.into(), "below the decoder's vocabulary");
    }
    let [items, _] = codes.dims();
    let start = Beginning { tokens: Vec::new(), log_probability: 0.0, ended: false };
    let mut beams: Vec<Vec<Beginning>> = vec![vec![start]; items];
    for _ in 0..decoder.max_tokens() {
        let open: Vec<(usize, usize)> = (0..items)
            .flat_map(|item| (0..beams[item].len()).map(move |at| (item, at)))
            .filter(|&(item, at)| !beams[item][at].ended)
            .collect();
        if open.is_empty() {
            break;
        }
        let next = next_words(decoder, codes, &beams, &open, width);
        let mut grown: Vec<Vec<Beginning>> = vec![Vec::new(); items];
        for (&(item, at), words) in open.iter().zip(next) {
            let before = &beams[item][at];
            grown[item].extend(words.into_iter().map(|(word, log_probability)| {
                let mut tokens = before.tokens.clone();
                tokens.push(word);
                let log_probability = before.log_probability + log_probability;
                Beginning { tokens, log_probability, ended: word == end }
            }));
        }
        for (beam, mut candidates) in beams.iter_mut().zip(grown) {
            let (ended, open): (Vec<_>, Vec<_>) = beam.drain(..).partition(|kept| kept.ended);
            drop(open); // they have grown
            // What has ended keeps its place only as long as nothing longer is likelier.
            candidates.extend(ended);
            candidates.sort_by(|a, b| b.log_probability.total_cmp(&a.log_probability));
            candidates.truncate(width);
            *beam = candidates;
        }
    }
    Ok(beams.into_iter().map(|beam| answer(beam, end)).collect())
}

/// The ended beginning of the largest mean, or, where none has ended, the best of the others.
fn answer(beam: Vec<Beginning>, end: u32) -> Vec<u32> {
    let best =
        |ended: bool| beam.iter().filter(|of| of.ended == ended).max_by(|a, b| a.mean().total_cmp(&b.mean()));
    let mut tokens = best(true).or_else(|| best(false)).map_or(Vec::new(), |of| of.tokens.clone());
    if tokens.last() == Some(&end) {
        tokens.pop();
    }
    tokens
}

/// The `width` likeliest words after each open beginning, with their log probabilities.
fn next_words(
    decoder: &Decoder,
    codes: &Tensor<2>,
    beams: &[Vec<Beginning>],
    open: &[(usize, usize)],
    width: usize,
) -> Vec<Vec<(u32, f64)>> {
    let device = codes.device();
    let rows: Vec<i32> = open.iter().map(|&(item, _)| item as i32).collect();
    let rows = Tensor::<1, Int>::from_data(TensorData::new(rows, [open.len()]), &device);
    // Open beginnings are all of one length. The last column is the place to be told, and its token is never read.
    let mut told: Vec<i32> = Vec::new();
    for &(item, at) in open {
        told.extend(beams[item][at].tokens.iter().map(|&token| token as i32));
        told.push(0);
    }
    let length = told.len() / open.len();
    let told = Tensor::<2, Int>::from_data(TensorData::new(told, [open.len(), length]), &device);
    let scores = activation::log_softmax(decoder.last(codes.clone().select(0, rows), told), 1);
    let width = width.min(decoder.vocabulary());
    let values: Vec<f64> = scores.into_data().iter::<f64>().collect();
    values
        .chunks(decoder.vocabulary())
        .map(|row| {
            let mut words: Vec<usize> = (0..row.len()).collect();
            // Equal scores: the lower token first, so that the answer does not depend on the sort.
            let better = |&a: &usize, &b: &usize| row[b].total_cmp(&row[a]).then(a.cmp(&b));
            if width < words.len() {
                words.select_nth_unstable_by(width, better);
                words.truncate(width);
            }
            words.sort_by(better);
            words.into_iter().map(|word| (word as u32, row[word])).collect()
        })
        .collect()
}
