//! Which items of a batch a rank encodes, and in which parts.

use std::ops::Range;

use crate::error::ExperimentError;
use crate::step::Way;

/// So many parts at a time are encoded without a graph. What is in memory then is what one operation needs, of more items; one
/// part's graph keeps what all operations need.
const WITHOUT_GRAPH: usize = 4;

/// Some items of one side, encoded at a time.
pub(super) struct Part {
    /// Counted over all ranks; names its random numbers.
    pub number: usize,
    /// Where its items stand in the batch.
    pub rows: Range<usize>,
}

/// One rank's parts of one side, in order; none where a batch has fewer items of that side than there are ranks.
pub(super) struct Share {
    /// Where they stand in the batch.
    pub rows: Range<usize>,
    /// In order.
    pub parts: Vec<Part>,
}

impl Share {
    /// Consecutive captions, at least one for each rank.
    ///
    /// # Errors
    /// Fewer captions than ranks.
    pub fn of_texts(texts: usize, way: &Way) -> Result<Self, ExperimentError> {
        let size = way.ranks.size();
        if texts < size {
            return Err(ExperimentError::request(format!(
                "{size} devices, but a batch has {texts} captions; take fewer devices, or raise train.batch"
            )));
        }
        Ok(Self::of(texts, way))
    }

    /// Consecutive items, as many for each rank as for any other or one more, in pieces of `chunk`.
    pub fn of(items: usize, way: &Way) -> Self {
        let (rank, size) = (way.ranks.rank(), way.ranks.size());
        let start = |rank: usize| rank * items / size;
        let pieces = |rank: usize| {
            let count = start(rank + 1) - start(rank);
            if way.chunk == 0 { count.min(1) } else { count.div_ceil(way.chunk) }
        };
        let first: usize = (0..rank).map(pieces).sum();
        let rows = start(rank)..start(rank + 1);
        let chunk = if way.chunk == 0 { rows.len() } else { way.chunk };
        let parts = (0..pieces(rank)).map(|piece| {
            let from = rows.start + piece * chunk;
            Part { number: first + piece, rows: from..(from + chunk).min(rows.end) }
        });
        Self { parts: parts.collect(), rows }
    }

    /// All parts but the last as they are encoded without a graph: several in one, unless random numbers name them.
    pub fn without_graph(&self, way: &Way) -> Vec<Part> {
        let others = self.parts.split_last().map_or(&[][..], |(_, others)| others);
        let joined = others.chunks(if way.draws { 1 } else { WITHOUT_GRAPH });
        let joined = joined.filter_map(|parts| {
            let (first, last) = (parts.first()?, parts.last()?);
            Some(Part { number: first.number, rows: first.rows.start..last.rows.end })
        });
        joined.collect()
    }
}
