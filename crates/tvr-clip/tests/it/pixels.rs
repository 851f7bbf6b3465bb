//! Pictures and pixels against Pillow and against slow loops.

mod config;
mod golden;
mod oracle;
mod properties;
