//! All pairs of a split in bounded memory, whatever the head.

use std::ops::Range;

use burn::prelude::*;

use crate::codes::{TextCodes, VideoCodes};
use crate::error::{HeadError, at_least_one};
use crate::features::{TextFeatures, VideoFeatures};
use crate::head::{Head, Similarity};

/// How many pairs are compared at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tile {
    /// Texts in a tile; above 0.
    pub texts: usize,
    /// Videos in a tile; above 0.
    pub videos: usize,
}

impl Tile {
    /// A tile of 256 by 256 pairs: with 12 frames of width 512 a head that builds a vector per pair holds 128 MiB.
    pub const DEFAULT: Self = Self { texts: 256, videos: 256 };

    /// The tile that a head asks for, or the default.
    pub fn of<H: Head>(head: &H) -> Self {
        head.needs().tile.unwrap_or(Self::DEFAULT)
    }
}

/// Similarity of all pairs, `[texts, videos]`: the same for every tile, unless the head mixes items.
///
/// # Errors
/// A tile without texts or videos; no texts or no videos.
pub fn score_all<H: Head>(
    head: &H,
    texts: &TextCodes,
    videos: &VideoCodes,
    tile: Tile,
) -> Result<Tensor<2>, HeadError> {
    let mut columns: Vec<Tensor<2>> = Vec::new();
    let mut bands: Vec<Tensor<2>> = Vec::new();
    let n_videos = videos.n_items();
    score_tiles(head, texts, videos, tile, |_, columns_range, similarity| {
        columns.push(similarity.fused);
        if columns_range.end == n_videos {
            bands.push(Tensor::cat(std::mem::take(&mut columns), 1));
        }
    })?;
    Ok(Tensor::cat(bands, 0))
}

/// Hands every tile to `take` as it is made: text indices, video indices, their similarity. Band by band of texts,
/// from left to right.
///
/// # Errors
/// A tile without texts or videos; no texts or no videos.
pub fn score_tiles<H: Head>(
    head: &H,
    texts: &TextCodes,
    videos: &VideoCodes,
    tile: Tile,
    mut take: impl FnMut(Range<usize>, Range<usize>, Similarity),
) -> Result<(), HeadError> {
    at_least_one("tiles", "texts", tile.texts)?;
    at_least_one("tiles", "videos", tile.videos)?;
    let (n_texts, n_videos) = (texts.n_items(), videos.n_items());
    if n_texts == 0 {
        return Err(HeadError::Empty { what: "texts" });
    }
    if n_videos == 0 {
        return Err(HeadError::Empty { what: "videos" });
    }
    for rows in chunks(n_texts, tile.texts) {
        let band = texts.rows(rows.clone());
        for columns in chunks(n_videos, tile.videos) {
            take(rows.clone(), columns.clone(), head.similarity(&band, &videos.rows(columns)));
        }
    }
    Ok(())
}

/// Codes of many videos, `chunk` at a time.
///
/// # Errors
/// What [`Needs::check_videos`](crate::Needs::check_videos) finds; a chunk of 0.
pub fn code_all_videos<H: Head>(
    head: &H,
    videos: &VideoFeatures,
    chunk: usize,
) -> Result<VideoCodes, HeadError> {
    at_least_one("codes", "chunk", chunk)?;
    head.needs().check_videos(videos)?;
    VideoCodes::cat(
        chunks(videos.n_videos(), chunk).map(|rows| head.code_videos(videos.rows(rows))).collect(),
    )
}

/// Codes of many texts, `chunk` at a time.
///
/// # Errors
/// What [`Needs::check_texts`](crate::Needs::check_texts) finds; a chunk of 0.
pub fn code_all_texts<H: Head>(head: &H, texts: &TextFeatures, chunk: usize) -> Result<TextCodes, HeadError> {
    at_least_one("codes", "chunk", chunk)?;
    head.needs().check_texts(texts)?;
    TextCodes::cat(chunks(texts.n_texts(), chunk).map(|rows| head.code_texts(texts.rows(rows))).collect())
}

fn chunks(items: usize, chunk: usize) -> impl Iterator<Item = Range<usize>> {
    (0..items).step_by(chunk).map(move |start| start..(start + chunk).min(items))
}
