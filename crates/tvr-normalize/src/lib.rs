//! Re-scoring of similarity matrices.
//!
//! Some gallery items are near to everything ("hubs") and some to nothing. A normaliser looks at whole columns,
//! that is, at how much *all* queries want an item, and takes the excess away. Everything here works on scores
//! `[queries, gallery]`; for the other direction transpose the scores and bring that direction's bank.
//!
//! What a method looks at is its [`Regime`]: *raw* (this query alone), *bank* (this query and training queries
//! scored against the same gallery) or *transductive* (all test queries at once). Figures of two regimes do not
//! belong in one column of a table, so every [`Normalizer`] says its own.
//!
//! ```
//! use ndarray::array;
//! use tvr_normalize::{Family, Normalizer, Regime, Scores};
//!
//! // Item 0 is a hub: it wins both queries, although query 1 means item 1.
//! let logits = array![[9.0, 2.0], [5.0, 4.5]];
//! let scores = Scores::new(logits.view());
//! let sinkhorn: Family = "sinkhorn:tau=1,iterations=50".parse()?;
//! let fair = sinkhorn.apply(&scores)?;
//! assert!(fair[[0, 0]] > fair[[0, 1]] && fair[[1, 1]] > fair[[1, 0]]);
//! assert_eq!(sinkhorn.regime(&scores), Regime::Transductive);
//! # Ok::<(), tvr_normalize::NormalizeError>(())
//! ```
//!
//! [`Family::ALL`] lists the methods with their settings; a spec such as `inverted-softmax:temperature=0.05` names
//! one, and [`Chain`] reads `A+B`. Methods in *bias form* reduce to one number per gallery item
//! ([`Normalizer::bias`]), which a search index carries as one more coordinate; [`Sinkhorn`] and
//! [`InvertedSoftmax`] find it without the matrix, from any [`ScoreSource`]. Exponents are formed in f64 after the
//! maximum is taken off, so results are finite at any temperature, and the work is cut into pieces that do not
//! depend on the thread count, so they are the same to the bit on any machine of one instruction set.

mod chain;
mod csls;
mod dual_softmax;
mod error;
mod family;
mod inverted_softmax;
mod kernel;
mod mutual;
mod nnn;
mod passes;
mod qb_norm;
mod raw;
mod scores;
mod sinkhorn;
mod source;
mod top;

pub use chain::Chain;
pub use csls::Csls;
pub use dual_softmax::DualSoftmax;
pub use error::{Hint, NormalizeError};
pub use family::{Entry, Family, SettingEntry};
pub use inverted_softmax::InvertedSoftmax;
pub use mutual::Mutual;
pub use nnn::Nnn;
pub use qb_norm::QbNorm;
pub use raw::Raw;
pub use scores::{Normalizer, Regime, Scores, Warning};
pub use sinkhorn::{Fit, Marginals, Sinkhorn, Start};
pub use source::{EmbeddingSource, MatrixSource, ScoreSource};
