//! The last items of one side, oldest first; part of the record.
//!
//! NCL's queue and the support-set's bank are both this. An entry is a vector without a gradient, the number of
//! its video (so that a batch knows its own items again), and its age: the vector was made by the weights of so
//! many steps ago.

use std::collections::HashSet;

use burn::module::{Param, ParamId};
use burn::prelude::*;
use burn::tensor::assert_shape;

use crate::objective::Pairs;

/// First in, first out, of fixed capacity.
#[derive(Module, Debug)]
pub struct Queue {
    /// The vectors, then zeros. `[capacity, width]`
    pub vectors: Param<Tensor<2>>,
    /// The video of each entry. `[capacity]`
    pub video_ids: Param<Tensor<1, Int>>,
    /// Steps since each entry was made, 1 for those of the last step. `[capacity]`
    pub ages: Param<Tensor<1, Int>>,
    /// How many entries there are. `[1]`
    pub filled: Param<Tensor<1, Int>>,
}

/// Entries of a queue, outside any graph and oldest first.
#[derive(Clone, Debug)]
pub struct Entries {
    /// `[entries, width]`
    pub vectors: Tensor<2>,
    /// The number of each entry's video.
    pub video_ids: Vec<i64>,
    /// Steps since each was made.
    pub ages: Vec<i64>,
}

impl Queue {
    /// An empty queue.
    pub fn new(capacity: usize, width: usize, device: &Device) -> Self {
        let zeros = |items| Param::initialized(ParamId::new(), Tensor::<1, Int>::zeros([items], device));
        Self {
            vectors: Param::from_tensor(Tensor::zeros([capacity, width], device)).set_require_grad(false),
            video_ids: zeros(capacity),
            ages: zeros(capacity),
            filled: zeros(1),
        }
    }

    /// Number of entries, at most the capacity. Reads one number from the device.
    pub fn n_items(&self) -> usize {
        numbers(self.filled.val()).first().map_or(0, |&filled| filled.max(0) as usize)
    }

    /// All entries; `None` while there is none.
    pub fn entries(&self) -> Option<Entries> {
        let filled = self.n_items();
        let first = |numbers: Vec<i64>| numbers.into_iter().take(filled).collect();
        (filled > 0).then(|| Entries {
            vectors: self.vectors.val().without_autodiff().slice_dim(0, 0..filled),
            video_ids: first(numbers(self.video_ids.val())),
            ages: first(numbers(self.ages.val())),
        })
    }

    /// The entries of no video in the batch; `None` if there is none. An earlier vector of an item, or another
    /// caption of a video, is no stranger to the batch.
    pub fn strangers(&self, pairs: &Pairs) -> Option<Entries> {
        let entries = self.entries()?;
        let present: HashSet<i64> = numbers(pairs.named_videos().clone()).into_iter().collect();
        let kept: Vec<usize> =
            (0..entries.ages.len()).filter(|&at| !present.contains(&entries.video_ids[at])).collect();
        if kept.len() == entries.ages.len() {
            return Some(entries);
        }
        (!kept.is_empty()).then(|| {
            let places: Vec<i32> = kept.iter().map(|&at| at as i32).collect();
            let places = Tensor::from_data(TensorData::new(places, [kept.len()]), &entries.vectors.device());
            Entries {
                vectors: entries.vectors.select(0, places),
                video_ids: kept.iter().map(|&at| entries.video_ids[at]).collect(),
                ages: kept.iter().map(|&at| entries.ages[at]).collect(),
            }
        })
    }

    /// Appends a step's items and drops the oldest beyond the capacity.
    ///
    /// - `items`: `[any, width]`
    /// - `video_ids`: `[any]`, the number of each item's video
    pub fn push(&mut self, items: Tensor<2>, video_ids: Tensor<1, Int>) {
        let [capacity, width] = self.vectors.val().dims();
        let [count, _] = items.dims();
        assert_shape!(items, [count, width]);
        assert_shape!(video_ids, [count]);
        let items = items.without_autodiff();
        let (joined, mut ids, mut ages) = match self.entries() {
            Some(earlier) => {
                let older = earlier.ages.iter().map(|age| age + 1).collect();
                (Tensor::cat(vec![earlier.vectors, items], 0), earlier.video_ids, older)
            }
            None => (items, Vec::new(), Vec::new()),
        };
        ids.extend(numbers(video_ids));
        ages.resize(ids.len(), 1);
        let filled = ids.len().min(capacity);
        let dropped = ids.len() - filled;
        let kept = joined.slice_dim(0, dropped..ids.len());
        let vectors = if filled < capacity {
            let empty = Tensor::zeros([capacity - filled, width], (&kept.device(), kept.dtype()));
            Tensor::cat(vec![kept, empty], 0)
        } else {
            kept
        };
        self.vectors = self
            .vectors
            .clone()
            .map(|old| if old.is_autodiff() { Tensor::from_inner(vectors) } else { vectors });
        let padded = |values: &[i64]| {
            let mut values = values[dropped..].to_vec();
            values.resize(capacity, 0);
            values
        };
        self.video_ids = replaced(&self.video_ids, padded(&ids));
        self.ages = replaced(&self.ages, padded(&ages));
        self.filled = replaced(&self.filled, vec![filled as i64]);
    }
}

impl Entries {
    /// Mean steps since the entries were made.
    pub fn mean_age(&self) -> f64 {
        self.ages.iter().sum::<i64>() as f64 / self.ages.len().max(1) as f64
    }
}

/// The numbers of a tensor.
pub(crate) fn numbers(tensor: Tensor<1, Int>) -> Vec<i64> {
    tensor.into_data().iter::<i64>().collect()
}

fn replaced(parameter: &Param<Tensor<1, Int>>, values: Vec<i64>) -> Param<Tensor<1, Int>> {
    parameter.clone().map(|old| {
        let count = values.len();
        Tensor::from_data(TensorData::new(values, [count]), (&old.device(), old.dtype()))
    })
}
