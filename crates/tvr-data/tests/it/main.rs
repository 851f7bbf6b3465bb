//! The tests of tvr-data, one binary.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a test may fail loudly and say why it skips"
)]

mod caption_streams;
mod benchmarks;
mod doctor;
mod features;
mod frame_features;
mod frames;
mod golden;
mod manifest;
mod prepare;
mod properties;
mod sampling;
mod shared;
mod store;
