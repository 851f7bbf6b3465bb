//! The tests of tvr-normalize, one binary.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a test may fail loudly and say why it skips"
)]

mod family;
mod golden;
mod oracles;
mod outside;
mod properties;
mod timing;
