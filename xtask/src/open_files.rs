//! Files that may be open at a time.

/// More than a machine of many cores opens: a pipe for each of twelve clips a core.
#[cfg(unix)]
const WANTED: libc::rlim_t = 1 << 16;

/// Lets the process open as many files as it may: the usual limit of 1,024 is made for programs of the past, and a
/// worker on every core of a large machine goes beyond it. Where it cannot be raised it stays as it is.
pub fn raise_limit() {
    #[cfg(unix)]
    // SAFETY: both calls are given a structure of their own type, which lives as long as they run.
    unsafe {
        let mut limit: libc::rlimit = std::mem::zeroed();
        if libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit) == 0 && limit.rlim_cur < WANTED {
            limit.rlim_cur = WANTED.min(limit.rlim_max);
            libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit);
        }
    }
}
