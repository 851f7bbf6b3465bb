//! From similarities to losses.
