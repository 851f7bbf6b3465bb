//! Where work runs.

/// Runs `work` on a thread of the compute pool, with memory settings that suit tensors.
///
/// A small matrix product is split over the pool in microseconds. Asked from a thread outside, each one would wake a
/// pool thread and wait for it; from inside, the asking thread does the first half itself.
pub fn in_pool<T: Send>(work: impl FnOnce() -> T + Send) -> T {
    tvr_nn::keep_freed_memory();
    rayon::scope(|_| work())
}
