//! The commands of tvr.
fn main() {}
