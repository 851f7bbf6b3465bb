//! The invariants of docs/ARCHITECTURE.md as tests; `cargo test -p tidy` answers in seconds.
