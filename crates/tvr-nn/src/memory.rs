//! Keep freed memory in the process.

/// Asks glibc to keep freed memory instead of giving it back to the kernel; true if it agreed.
///
/// Every tensor operation allocates its output, megabytes at a time. glibc returns such blocks at once and the
/// next operation faults them in again: 13 % of a forward pass. And a thread's own arena cannot hold a block over
/// 64 MiB: glibc maps and unmaps those whatever it was asked to keep, half of a step whose tensors are
/// `[texts, videos, width]`; so there is one arena for all threads. The price: memory does not shrink after a peak.
/// Call it first in `main`. Elsewhere than on Linux with glibc it does nothing.
pub fn keep_freed_memory() -> bool {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    {
        // SAFETY: mallopt takes two integers and may be called at any time.
        let agreed = unsafe {
            [
                libc::mallopt(libc::M_ARENA_MAX, 1),
                libc::mallopt(libc::M_MMAP_MAX, 0),
                libc::mallopt(libc::M_TRIM_THRESHOLD, libc::c_int::MAX),
                libc::mallopt(libc::M_TOP_PAD, 64 << 20),
            ]
        };
        agreed == [1; 4]
    }
    #[cfg(not(all(target_os = "linux", target_env = "gnu")))]
    false
}
