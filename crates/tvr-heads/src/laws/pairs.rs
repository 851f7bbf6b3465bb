//! Laws of pairs: a similarity depends on that text and that video alone.

use tvr_nn::laws::{close, floats, law};

use super::features::select_texts;
use super::{Broken, Expected, Trial};
use crate::head::Head;
use crate::tiles::{Tile, score_all, score_tiles};
use crate::vectors::Vectors;

fn row(matrix: &[f64], columns: usize, row: usize) -> &[f64] {
    &matrix[row * columns..(row + 1) * columns]
}

/// Scored in tiles of any size, similarities are those of one piece, and no tile is larger than asked for.
///
/// 7 texts, 5 videos, 4 frames, within the tolerance. Asks [`Head::similarity`]; not of a head that mixes items.
///
/// # Errors
/// [`Broken`] with the first similarity that differs.
pub fn tiles_give_the_same_scores(head: &impl Head, expected: &Expected, seed: u64) -> Result<(), Broken> {
    law("tiles_give_the_same_scores", seed, || {
        let trial = Trial::new(head, expected);
        if trial.needs.mixes_items {
            return Ok(());
        }
        let (texts, videos) = trial.draw(seed.wrapping_add(9), [7, 5, 4]);
        let (texts, videos) = (trial.head.code_texts(texts), trial.head.code_videos(videos));
        let scored = |tile| {
            let scores = score_all(&trial.head, &texts, &videos, tile).map_err(|error| error.to_string())?;
            Ok::<_, String>(floats(&scores))
        };
        let whole = scored(Tile::DEFAULT)?;
        for [n_texts, n_videos] in [[1, 1], [2, 3], [7, 2], [3, 5], [100, 1]] {
            let tile = Tile { texts: n_texts, videos: n_videos };
            let context = || format!("7 texts, 5 videos, in tiles of {n_texts} x {n_videos}");
            close(&scored(tile)?, &whole, expected.tolerance, context)?;
            let mut misfit = None;
            score_tiles(&trial.head, &texts, &videos, tile, |rows, columns, similarity| {
                let (found, asked) = (similarity.fused.dims(), [rows.len(), columns.len()]);
                if found != asked || asked[0] > n_texts || asked[1] > n_videos {
                    misfit = Some(format!("{}: one of {found:?} for {asked:?}", context()));
                }
            })
            .map_err(|error| error.to_string())?;
            if let Some(misfit) = misfit {
                return Err(misfit);
            }
        }
        Ok(())
    })
}

/// A text and a video that are coded and compared alone have the similarity that they have among others.
///
/// 4 texts, 3 videos, 5 frames, within the tolerance. Not asked of a head that mixes items.
///
/// # Errors
/// [`Broken`] with the first pair that differs.
pub fn a_batch_of_one_is_a_row_of_many(
    head: &impl Head,
    expected: &Expected,
    seed: u64,
) -> Result<(), Broken> {
    law("a_batch_of_one_is_a_row_of_many", seed, || {
        let trial = Trial::new(head, expected);
        if trial.needs.mixes_items {
            return Ok(());
        }
        let (texts, videos) = trial.draw(seed.wrapping_add(10), [4, 3, 5]);
        let whole = trial.scores(&texts, &videos)?;
        for text in 0..4 {
            for video in 0..3 {
                let alone = trial.scores(&texts.rows(text..text + 1), &videos.rows(video..video + 1))?;
                close(&alone, &row(&whole, 3, text)[video..][..1], expected.tolerance, || {
                    format!("text {text} of 4 and video {video} of 3, alone")
                })?;
            }
        }
        Ok(())
    })
}

/// Texts in another order have their rows in that order, and nothing else changes: `s(P t, v) = P s(t, v)`.
///
/// 6 texts, 4 videos, 5 frames, within the tolerance. Asked of heads that mix items too.
///
/// # Errors
/// [`Broken`] with the first row that differs.
pub fn permuted_captions_permute_rows_only(
    head: &impl Head,
    expected: &Expected,
    seed: u64,
) -> Result<(), Broken> {
    law("permuted_captions_permute_rows_only", seed, || {
        let trial = Trial::new(head, expected);
        let (texts, videos) = trial.draw(seed.wrapping_add(12), [6, 4, 5]);
        let whole = trial.scores(&texts, &videos)?;
        let order = [3, 0, 5, 1, 4, 2];
        let found = trial.scores(&select_texts(&texts, &order), &videos)?;
        let moved: Vec<f64> = order.iter().flat_map(|&text| row(&whole, 4, text)).copied().collect();
        close(&found, &moved, expected.tolerance, || format!("6 texts in the order {order:?}, 4 videos"))
    })
}

/// Queries that come one at a time are answered as all at once: with as many texts as videos, where a leak through the
/// diagonal would hide.
///
/// 5 texts, 5 videos, 4 frames, within the tolerance. Not asked of a head that mixes items.
///
/// # Errors
/// [`Broken`] with the first text whose row differs.
pub fn one_query_at_a_time_is_the_whole(
    head: &impl Head,
    expected: &Expected,
    seed: u64,
) -> Result<(), Broken> {
    law("one_query_at_a_time_is_the_whole", seed, || {
        let trial = Trial::new(head, expected);
        if trial.needs.mixes_items {
            return Ok(());
        }
        let (texts, videos) = trial.draw(seed.wrapping_add(13), [5, 5, 4]);
        let whole = trial.scores(&texts, &videos)?;
        for text in 0..5 {
            let found = trial.scores(&texts.rows(text..text + 1), &videos)?;
            close(&found, row(&whole, 5, text), expected.tolerance, || {
                format!("text {text} of 5, 5 videos")
            })?;
        }
        Ok(())
    })
}

/// What is left keeps its similarities when other queries leave, and when other videos leave.
///
/// 6 texts, 4 videos, 5 frames, within the tolerance. Not asked of a head that mixes items.
///
/// # Errors
/// [`Broken`] with the first similarity that differs.
pub fn columns_stay_when_queries_leave(
    head: &impl Head,
    expected: &Expected,
    seed: u64,
) -> Result<(), Broken> {
    law("columns_stay_when_queries_leave", seed, || {
        let trial = Trial::new(head, expected);
        if trial.needs.mixes_items {
            return Ok(());
        }
        let (texts, videos) = trial.draw(seed.wrapping_add(14), [6, 4, 5]);
        let whole = trial.scores(&texts, &videos)?;
        let found = trial.scores(&select_texts(&texts, &[1, 4]), &videos)?;
        let kept = [row(&whole, 4, 1), row(&whole, 4, 4)].concat();
        close(&found, &kept, expected.tolerance, || "texts 1 and 4 of 6, 4 videos".into())?;
        let found = trial.scores(&texts, &videos.rows(1..3))?;
        let kept: Vec<f64> = (0..6).flat_map(|text| &row(&whole, 4, text)[1..3]).copied().collect();
        close(&found, &kept, expected.tolerance, || "6 texts, videos 1 and 2 of 4".into())
    })
}

/// A head made of cosines gives the similarity that its cosines make: who stands between its vectors and their cosines
/// ([`Emcl`](crate::Emcl)) then changes nothing else.
///
/// 5 texts, 3 videos, 4 frames, within the tolerance. Asks [`Head::n_cosines`], [`Head::vectors`], [`Head::fuse`] and
/// [`Head::similarity`]; not of a head without cosines.
///
/// # Errors
/// [`Broken`] with another number of cosines, or the first similarity that differs.
pub fn cosines_make_the_similarity(head: &impl Head, expected: &Expected, seed: u64) -> Result<(), Broken> {
    law("cosines_make_the_similarity", seed, || {
        let (trial, context) = (Trial::new(head, expected), "5 texts, 3 videos, 4 frames");
        let named = trial.head.n_cosines();
        if named == 0 {
            return Ok(());
        }
        let (texts, videos) = trial.draw(seed.wrapping_add(15), [5, 3, 4]);
        let (texts, videos) = (trial.head.code_texts(texts), trial.head.code_videos(videos));
        let cosines: Vec<_> = trial.head.vectors(&texts, &videos).into_iter().map(Vectors::cosine).collect();
        if cosines.len() != named {
            return Err(format!("{context}: {} pairs of vectors, but n_cosines is {named}", cosines.len()));
        }
        let (found, made) =
            (trial.head.similarity(&texts, &videos), trial.head.fuse(&texts, &videos, cosines));
        close(&floats(&found.fused), &floats(&made.fused), expected.tolerance, || context.into())?;
        for (found, made) in found.streams.iter().zip(&made.streams) {
            close(&floats(&found.similarity), &floats(&made.similarity), expected.tolerance, || {
                format!("{context}: stream {}", made.name)
            })?;
        }
        Ok(())
    })
}
