//! What must hold for any input: methods.md §11.2 to §11.4.

mod dual_softmax;
mod family;
mod ncl;
