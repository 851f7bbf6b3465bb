//! Blocks that several burn crates of tvr share.
