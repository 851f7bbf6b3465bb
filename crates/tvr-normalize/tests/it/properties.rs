//! What must hold for any input.

mod dual_softmax;
mod family;
mod ncl;
