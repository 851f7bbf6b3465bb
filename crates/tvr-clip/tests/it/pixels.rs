//! Pictures and pixels against Pillow, against slow loops, and with files that are broken.

mod bad_input;
mod config;
mod golden;
mod oracle;
mod properties;
