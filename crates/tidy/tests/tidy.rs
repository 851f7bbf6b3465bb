//! The invariants of `docs/ARCHITECTURE.md`, one test each, in seconds and without burn.
//!
//! A test collects every place that breaks its rule and names file and line, what is wrong, and the mend. Where
//! a rule has exceptions, they stand in a table beside it, each with its reason; an exception that nothing needs
//! any more is a complaint too.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test may fail loudly"
)]

#[path = "tidy/builds.rs"]
mod builds;
#[path = "tidy/code.rs"]
mod code;
#[path = "tidy/crates.rs"]
mod crates;
#[path = "tidy/documents.rs"]
mod documents;
#[path = "tidy/methods.rs"]
mod methods;
#[path = "tidy/repository.rs"]
mod repository;
#[path = "tidy/source.rs"]
mod source;
#[path = "tidy/splits.rs"]
mod splits;
