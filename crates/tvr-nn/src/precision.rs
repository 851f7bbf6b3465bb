//! Half precision: which parts of a tower stay in f32.
//!
//! The stream between blocks may be f16 or bf16, with weights of the same type, or with f32 weights that are narrowed
//! at each product and learn in f32. Norms, the softmax of attention and everything after the last projection are
//! computed in f32, where half precision would lose too much. With an f32 stream nothing here does anything.

use burn::prelude::*;
use burn::tensor::{DType, FloatDType};

/// Half precision as f32; other types as they are.
pub fn widened<const D: usize>(x: Tensor<D>) -> Tensor<D> {
    match x.dtype() {
        DType::F16 | DType::BF16 => x.cast(FloatDType::F32),
        _ => x,
    }
}
