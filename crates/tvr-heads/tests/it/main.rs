//! The tests of tvr-heads, one binary.
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
