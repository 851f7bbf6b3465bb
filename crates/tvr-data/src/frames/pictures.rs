//! Chosen frames on their way out of FFmpeg: what its filter `select` is told, and pictures read from a pipe.

use std::io::{BufRead, BufReader, PipeReader, Read};

use super::{Finish, Picture};

/// Most characters of a selection by single indices; beyond, all between the first and the last are sent.
const EXPRESSION: usize = 60_000;

/// Bytes that a picture's header may ask for before any of them has come.
const CAPACITY: usize = 8 << 20;

/// A selection for FFmpeg, and which frames it lets through.
pub(super) struct Choice {
    /// For the filter `select`.
    pub expression: String,
    sent: Vec<usize>,
}

impl Choice {
    /// Of the chosen frames, ascending.
    pub fn of(indices: &[usize]) -> Self {
        let mut sent = indices.to_vec();
        sent.dedup();
        let (Some(&first), Some(&last)) = (sent.first(), sent.last()) else {
            return Self { expression: "0".into(), sent };
        };
        let step = sent.get(1).map_or(1, |second| second - first);
        if sent.windows(2).all(|pair| pair[1] - pair[0] == step) {
            let expression = format!("between(n\\,{first}\\,{last})*not(mod(n-{first}\\,{step}))");
            return Self { expression, sent };
        }
        let single: Vec<String> = sent.iter().map(|index| format!("eq(n\\,{index})")).collect();
        let expression = single.join("+");
        if expression.len() <= EXPRESSION {
            return Self { expression, sent };
        }
        Self { expression: format!("between(n\\,{first}\\,{last})"), sent: (first..=last).collect() }
    }
}

/// Reads pictures from a pipe as they come, and finishes those that are wanted.
pub(super) fn receive(
    pipe: PipeReader,
    choice: &Choice,
    wanted: &[usize],
    finish: &dyn Finish,
) -> Vec<(usize, Picture)> {
    let mut pipe = BufReader::with_capacity(1 << 16, pipe);
    let mut pictures = Vec::with_capacity(wanted.len());
    for &index in &choice.sent {
        // A pipe that ends early is an ended process; the count of frames and its complaints say why.
        let Some(picture) = ppm(&mut pipe) else { break };
        if wanted.binary_search(&index).is_ok() {
            pictures.push((index, finish.finish(picture)));
        }
    }
    // Nobody reading would stop the process with a complaint about it.
    let _ = std::io::copy(&mut pipe, &mut std::io::sink());
    pictures
}

/// One picture: `P6`, width, height, 255, each followed by a blank or a new line, then its bytes.
fn ppm(pipe: &mut impl BufRead) -> Option<Picture> {
    let mut word = || {
        let mut word = Vec::new();
        loop {
            let mut byte = [0];
            pipe.read_exact(&mut byte).ok()?;
            match byte[0] {
                b' ' | b'\n' if !word.is_empty() => return String::from_utf8(word).ok(),
                b' ' | b'\n' => {}
                other if word.len() < 12 => word.push(other),
                _ => return None,
            }
        }
    };
    let (magic, width, height, most) = (word()?, word()?.parse().ok()?, word()?.parse().ok()?, word()?);
    if magic != "P6" || most != "255" {
        return None;
    }
    let bytes = usize::checked_mul(width, height)?.checked_mul(3)?;
    let mut pixels = Vec::with_capacity(bytes.min(CAPACITY));
    pipe.take(bytes as u64).read_to_end(&mut pixels).ok()?;
    Picture::from_rgb(width, height, pixels).ok()
}
