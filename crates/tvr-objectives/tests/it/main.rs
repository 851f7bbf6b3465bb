//! The tests of tvr-objectives, one binary.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a test may fail loudly and say why it skips"
)]

mod common;

mod conformance;
mod golden;
mod gradients;
mod laws;
mod oracles;
mod properties;

/// burn keeps one generator for the process: whoever seeds it and draws weights does so alone.
pub fn generator() -> std::sync::MutexGuard<'static, ()> {
    static GENERATOR: std::sync::Mutex<()> = std::sync::Mutex::new(());
    GENERATOR.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}
