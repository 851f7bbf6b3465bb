//! The one pass over the matrix: how many competitors score above, and how many equal to, the true item.
//!
//! Rows are visited four at a time, so that the counters of the columns are read and written once for four rows; every
//! inner loop is plain comparisons and additions over slices, which the compiler turns into vector code.
//! Workers own a range of videos with their texts and count into their own columns; sums of integers do not depend on
//! the order of merging, so the result is the same on any number of threads.

use std::ops::Range;

use rayon::prelude::*;

use crate::Truth;

/// Which counts a caller needs.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Want {
    /// Each text against the videos.
    pub rows: bool,
    /// Each video against all texts.
    pub columns: bool,
    /// Each video against the best text of every video.
    pub maxima: bool,
}

/// Competitors above and at the own score, per query. The query's own item is among the equals where it is counted.
#[derive(Clone, Debug, Default)]
pub(crate) struct Tally {
    pub greater: Vec<u32>,
    pub equal: Vec<u32>,
}

impl Tally {
    fn zeros(queries: usize) -> Self {
        Self { greater: vec![0; queries], equal: vec![0; queries] }
    }

    fn add(&mut self, other: &Self) {
        let pairs = |into: &mut [u32], from: &[u32]| {
            into.iter_mut().zip(from).for_each(|(into, from)| *into = into.wrapping_add(*from));
        };
        pairs(&mut self.greater, &other.greater);
        pairs(&mut self.equal, &other.equal);
    }
}

/// What one pass finds; a part that was not wanted is empty.
#[derive(Clone, Debug, Default)]
pub(crate) struct Counts {
    pub rows: Tally,
    pub columns: Tally,
    pub maxima: Tally,
    /// Own score of each text.
    pub own_of_text: Vec<f32>,
    /// Largest own score of each video; NaN counts as minus infinity.
    pub own_of_video: Vec<f32>,
    /// Whether some cell is NaN or infinite.
    pub non_finite: bool,
}

/// Below this many cells a second thread costs more than it brings.
const CELLS_FOR_THREADS: usize = 1 << 16;

struct Input<'a> {
    scores: &'a [f32], // [texts, videos], row by row
    truth: &'a Truth,
    own_of_text: &'a [f32],
    own_of_video: &'a [f32],
}

struct Part {
    rows: Tally, // in the order of the truth's texts
    columns: Tally,
    maxima: Tally,
    non_finite: u32,
}

/// Counts. `scores` is `[texts, videos]`, row by row, and of the truth's shape.
pub(crate) fn count(scores: &[f32], truth: &Truth, want: Want) -> Counts {
    let (texts, videos) = (truth.texts(), truth.videos());
    debug_assert_eq!(scores.len(), texts * videos);
    let own_of_text: Vec<f32> =
        truth.video_of().iter().enumerate().map(|(text, video)| scores[text * videos + video]).collect();
    let own_of_video: Vec<f32> = (0..videos)
        .map(|video| {
            truth.texts_of(video).iter().fold(f32::NEG_INFINITY, |most, &t| larger(own_of_text[t], most))
        })
        .collect();
    let input = Input { scores, truth, own_of_text: &own_of_text, own_of_video: &own_of_video };

    let chunks = if scores.len() < CELLS_FOR_THREADS { 1 } else { 4 * rayon::current_num_threads() };
    let size = videos.div_ceil(chunks).max(1);
    let ranges: Vec<Range<usize>> =
        (0..videos).step_by(size).map(|start| start..(start + size).min(videos)).collect();
    let parts: Vec<Part> = if ranges.len() == 1 {
        ranges.into_iter().map(|range| part(&input, range, want)).collect()
    } else {
        ranges.into_par_iter().map(|range| part(&input, range, want)).collect()
    };

    let zeros = |wanted: bool, queries: usize| if wanted { Tally::zeros(queries) } else { Tally::default() };
    let (mut rows, mut columns, mut maxima) =
        (zeros(want.rows, texts), zeros(want.columns, videos), zeros(want.maxima, videos));
    let mut non_finite = false;
    let mut order = truth.order();
    for part in &parts {
        let (here, later) = order.split_at(part.rows.greater.len());
        if want.rows {
            for (place, &text) in here.iter().enumerate() {
                rows.greater[text] = part.rows.greater[place];
                rows.equal[text] = part.rows.equal[place];
            }
        }
        order = later;
        columns.add(&part.columns);
        maxima.add(&part.maxima);
        non_finite |= part.non_finite > 0;
    }
    Counts { rows, columns, maxima, own_of_text, own_of_video, non_finite }
}

/// The larger value; NaN on the left loses against anything.
#[inline(always)]
fn larger(value: f32, most: f32) -> f32 {
    if value > most { value } else { most }
}

fn part(input: &Input, videos: Range<usize>, want: Want) -> Part {
    match (want.rows, want.columns, want.maxima) {
        (true, false, false) => fastest::<true, false, false>(input, videos),
        (false, true, false) => fastest::<false, true, false>(input, videos),
        (false, false, true) => fastest::<false, false, true>(input, videos),
        (true, true, false) => fastest::<true, true, false>(input, videos),
        _ => fastest::<true, true, true>(input, videos),
    }
}

fn fastest<const ROWS: bool, const COLUMNS: bool, const MAXIMA: bool>(
    input: &Input,
    videos: Range<usize>,
) -> Part {
    #[cfg(target_arch = "x86_64")]
    if std::arch::is_x86_feature_detected!("avx2") {
        // SAFETY: the instructions that the function may use were found on this machine a line above.
        return unsafe { with_avx2::<ROWS, COLUMNS, MAXIMA>(input, videos) };
    }
    plain::<ROWS, COLUMNS, MAXIMA>(input, videos)
}

/// The same code as [`plain`], compiled for eight lanes.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2")]
fn with_avx2<const ROWS: bool, const COLUMNS: bool, const MAXIMA: bool>(
    input: &Input,
    videos: Range<usize>,
) -> Part {
    plain::<ROWS, COLUMNS, MAXIMA>(input, videos)
}

#[inline(always)]
fn plain<const ROWS: bool, const COLUMNS: bool, const MAXIMA: bool>(
    input: &Input,
    videos: Range<usize>,
) -> Part {
    let width = input.own_of_video.len();
    let texts = input.truth.texts_of_range(videos.clone());
    let mut part = Part {
        rows: Tally { greater: Vec::with_capacity(texts.len()), equal: Vec::with_capacity(texts.len()) },
        columns: Tally::zeros(if COLUMNS { width } else { 0 }),
        maxima: Tally::zeros(if MAXIMA { width } else { 0 }),
        non_finite: 0,
    };
    if !MAXIMA {
        visit::<ROWS, COLUMNS, MAXIMA>(input, texts, &mut part, &mut []);
        return part;
    }
    let mut best = vec![f32::NEG_INFINITY; width]; // the largest score of this video's texts, per column
    for video in videos {
        best.fill(f32::NEG_INFINITY);
        visit::<ROWS, COLUMNS, MAXIMA>(input, input.truth.texts_of(video), &mut part, &mut best);
        compare_columns(&best, input.own_of_video, &mut part.maxima.greater, &mut part.maxima.equal);
    }
    part
}

#[inline(always)]
fn visit<const ROWS: bool, const COLUMNS: bool, const MAXIMA: bool>(
    input: &Input,
    texts: &[usize],
    part: &mut Part,
    best: &mut [f32],
) {
    let width = input.own_of_video.len();
    let row = |text: usize| &input.scores[text * width..(text + 1) * width];
    let (fours, rest) = texts.as_chunks::<4>();
    for four in fours {
        block::<4, ROWS, COLUMNS, MAXIMA>(
            four.map(row),
            four.map(|t| input.own_of_text[t]),
            input,
            part,
            best,
        );
    }
    for &text in rest {
        block::<1, ROWS, COLUMNS, MAXIMA>([row(text)], [input.own_of_text[text]], input, part, best);
    }
}

#[inline(always)]
fn block<const R: usize, const ROWS: bool, const COLUMNS: bool, const MAXIMA: bool>(
    rows: [&[f32]; R],
    own: [f32; R],
    input: &Input,
    part: &mut Part,
    best: &mut [f32],
) {
    let own_of_video = input.own_of_video;
    let width = own_of_video.len();
    let rows = rows.map(|row| &row[..width]);
    let (above, at) = (&mut part.columns.greater[..], &mut part.columns.equal[..]);
    let (above, at) = if COLUMNS { (&mut above[..width], &mut at[..width]) } else { (above, at) };
    let best = if MAXIMA { &mut best[..width] } else { best };
    let (mut greater, mut equal, mut non_finite) = ([0u32; R], [0u32; R], 0u32);
    // Sums wrap in form only: a count never exceeds the side of a matrix. A checked sum would not become vector code.
    for j in 0..width {
        let threshold = own_of_video[j];
        let (mut column_greater, mut column_equal) = (0u32, 0u32);
        let mut most = if MAXIMA { best[j] } else { 0.0 };
        for r in 0..R {
            let score = rows[r][j];
            if ROWS {
                greater[r] = greater[r].wrapping_add(u32::from(score > own[r]));
                equal[r] = equal[r].wrapping_add(u32::from(score == own[r]));
            }
            if COLUMNS {
                column_greater = column_greater.wrapping_add(u32::from(score > threshold));
                column_equal = column_equal.wrapping_add(u32::from(score == threshold));
            }
            if MAXIMA {
                most = larger(score, most);
            }
            non_finite |= u32::from(!score.is_finite());
        }
        if COLUMNS {
            above[j] = above[j].wrapping_add(column_greater);
            at[j] = at[j].wrapping_add(column_equal);
        }
        if MAXIMA {
            best[j] = most;
        }
    }
    part.rows.greater.extend(greater);
    part.rows.equal.extend(equal);
    part.non_finite |= non_finite;
}

#[inline(always)]
fn compare_columns(scores: &[f32], own: &[f32], greater: &mut [u32], equal: &mut [u32]) {
    for (((score, own), greater), equal) in scores.iter().zip(own).zip(greater).zip(equal) {
        *greater = greater.wrapping_add(u32::from(score > own));
        *equal = equal.wrapping_add(u32::from(score == own));
    }
}
