//! The last items of one side, oldest first; part of the record.

use burn::module::Param;
use burn::prelude::*;
use burn::tensor::assert_shape;

/// First in, first out, of fixed capacity. Holds vectors without a gradient.
#[derive(Module, Debug)]
pub struct Queue {
    /// The items, then zeros. `[capacity, width]`
    pub vectors: Param<Tensor<2>>,
    /// How many items there are. `[1]`
    pub filled: Param<Tensor<1, Int>>,
}

impl Queue {
    /// An empty queue.
    pub fn new(capacity: usize, width: usize, device: &Device) -> Self {
        Self {
            vectors: Param::from_tensor(Tensor::zeros([capacity, width], device)).set_require_grad(false),
            filled: Param::initialized(burn::module::ParamId::new(), Tensor::zeros([1], device)),
        }
    }

    /// Number of items, at most the capacity. Reads one number from the device.
    pub fn n_items(&self) -> usize {
        self.filled.val().into_data().iter::<i64>().next().map_or(0, |filled| filled.max(0) as usize)
    }

    /// The items, `[items, width]`, outside any graph and oldest first; `None` while there is none.
    pub fn items(&self) -> Option<Tensor<2>> {
        let filled = self.n_items();
        (filled > 0).then(|| self.vectors.val().without_autodiff().slice_dim(0, 0..filled))
    }

    /// Appends items and drops the oldest beyond the capacity. `items`: `[any, width]`
    pub fn push(&mut self, items: Tensor<2>) {
        let [capacity, width] = self.vectors.val().dims();
        assert_shape!(items, [_, width]);
        let items = items.without_autodiff();
        let joined = match self.items() {
            Some(earlier) => Tensor::cat(vec![earlier, items], 0),
            None => items,
        };
        let [count, _] = joined.dims();
        let filled = count.min(capacity);
        let kept = joined.slice_dim(0, count - filled..count);
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
        self.filled = self.filled.clone().map(|old| old.zeros_like() + filled as i64);
    }
}
