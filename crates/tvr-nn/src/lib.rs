//! Blocks that several burn crates of tvr share: attention, CLIP's residual block, masks, norms.
//!
//! The towers of `tvr-clip`, the temporal heads of `tvr-heads` and the decoder of `tvr-objectives` have one
//! wiring, since the heads start from a tower's weights. That wiring stands here once. This crate knows no
//! video, no text and no loss; it never reads a file and never draws a batch.
//!
//! Two promises hold everywhere. **Masks say what is real** (`true` = real), and a masked key has weight
//! zero exactly: padding an item changes nothing, and an item with nothing real gives zeros, not NaN.
//! **Sums have a fixed order**: the same bits for any number of threads on one machine.
//!
//! ```
//! use burn::prelude::*;
//! use tvr_nn::{Activation, BlockConfig, touch};
//!
//! let device = Device::flex();
//! let config = BlockConfig { width: 8, heads: 2, hidden: 32, layer_norm_epsilon: 1e-5, activation: Activation::QuickGelu };
//! device.seed(7);
//! let block = config.init(1, &device).unwrap();
//! touch(&block); // draws the lazy weights now, in module order
//!
//! let x = Tensor::<3>::ones([1, 3, 8], &device); // [items, tokens, width]
//! let mask = Tensor::<2, Bool>::from_data([[true, true, false]], &device); // the third token is padding
//! let padded = block.forward(x.clone(), Some(mask), false).narrow(1, 0, 2);
//! let alone = block.forward(x.narrow(1, 0, 2), None, false);
//! padded.into_data().assert_approx_eq::<f32>(&alone.into_data(), burn::tensor::Tolerance::absolute(1e-6));
//! ```
//!
//! | module | what |
//! |---|---|
//! | [`attention`](mod@attention) | multi-head attention, causal or not, with a key mask |
//! | [`best_matches`](mod@best_matches) | the best match of every step among the steps of another item |
//! | [`block`] | CLIP's residual attention block, and the same at one position only |
//! | [`activation`] | quick-GELU and GELU; a value times its gate |
//! | [`layer_norm`] | layer norm, with a gradient of its own |
//! | [`linear`](fn@linear), [`project`] | a linear layer as one matrix product; the same without a bias |
//! | [`lstm`](mod@lstm) | the recurrence of an LSTM |
//! | [`mask`] | mean and softmax over what is real |
//! | [`normalise`] | unit rows, log of a sum of exponentials, values weighted by their own softmax |
//! | [`sum`](mod@sum) | sums whose order never depends on threads, and of two tensors on all cores |
//! | [`parameters`] | draw lazy weights in module order |
//! | [`precision`] | norms and softmax in f32 beside half-precision weights |
//! | [`memory`] | keep freed memory in the process |
//! | [`laws`] | what laws of heads and of objectives share: numbers drawn on the host, and what a broken law says |
//! | [`widest!`] | one loop, compiled for several processors |
//!
//! On flex with f32, [`attention`](fn@attention) and its weights, quick-GELU, GELU, [`gated`], [`added`], layer norm,
//! [`unit_rows`], linear layers, [`lstm`](fn@lstm), [`best_matches`](fn@best_matches), a matrix's [`log_sum_exp`],
//! [`biased_log_sum_exp`] and [`weighted_by_itself`] run in kernels of our own (`kernels.rs`), vectorised and on all cores,
//! forward and backward; every other backend and type takes burn's operations.

pub mod activation;
pub mod attention;
pub mod best_matches;
pub mod block;
mod error;
mod kernels;
pub mod laws;
pub mod layer_norm;
mod linear;
pub mod lstm;
pub mod mask;
pub mod memory;
pub mod normalise;
pub mod parameters;
pub mod precision;
pub mod sum;
mod widest;

pub use activation::{Activation, gated, gelu, quick_gelu};
pub use attention::{attention, attention_weights};
pub use best_matches::best_matches;
pub use block::{Block, BlockConfig};
pub use error::NnError;
pub use layer_norm::LayerNorm;
pub use linear::{linear, project};
pub use lstm::lstm;
pub use mask::{cat_masks, masked_mean, masked_softmax};
pub use memory::keep_freed_memory;
pub use normalise::{biased_log_sum_exp, log_sum_exp, unit_rows, weighted_by_itself};
pub use parameters::touch;
pub use precision::widened;
pub use sum::{added, mean, sum};
