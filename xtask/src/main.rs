//! The commands of tvr: arguments, progress, tables, exit codes. Everything else is in `tvr-experiment`.

#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a command talks to its user; libraries never print"
)]

mod again;
mod apart;
mod bar;
mod commands;
mod count;
mod draw;
mod exit;
mod open_files;
mod quoted;
mod table;

use std::process::ExitCode;

use tvr_experiment::device;

fn main() -> ExitCode {
    // SAFETY: called once, before any thread.
    unsafe { device::default_to_processor() };
    exit::ignore_file_size_signal();
    open_files::raise_limit();
    exit::code(commands::Cli::asked().and_then(commands::Cli::run))
}
