//! The tests of tvr-experiment, one binary.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a test may fail loudly and say why it skips"
)]

mod agree;
mod backends;
mod banks;
mod bert_adam;
mod captions;
mod examples;
mod faults;
mod made_up;
mod mixing;
mod devices;
mod on_device;
mod ranks;
mod optimizer;
mod patches;
mod pretrained;
mod published;
mod recipe;
mod reproduce;
mod rows;
mod run;
mod select;
mod offer;
mod own;
mod settle;
mod shards;
mod step;
mod streams;
mod support_set;
mod told;
mod words;
