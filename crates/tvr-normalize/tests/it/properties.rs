//! What must hold for any input, by the numbers of the methods' list of properties.

mod banks;
mod dual_softmax;
mod family;
mod ncl;
