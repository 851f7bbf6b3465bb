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
//! one, [`Chain`] reads `A+B`, and [`choose`] picks a setting on val. Every method works in two steps:
//! [`Normalizer::prepare`] reads the banks (or the test queries) once and keeps a few numbers per gallery item, and
//! [`Prepared`] then takes any block of test queries. Both read a [`ScoreSource`]: a matrix, or embeddings, in which
//! case no matrix is ever made. Methods in *bias form* reduce to one number per gallery item ([`Normalizer::bias`]),
//! which a search index carries as one more coordinate. A method from outside implements [`Normalizer`] and makes its
//! `Prepared` by [`Prepared::by_items`] or [`Prepared::by_rows`].
//!
//! Exponents are formed after the maximum is taken off, so results are finite at any temperature, and the work is cut
//! into pieces that do not depend on the thread count, so they are the same to the bit on any machine of one
//! instruction set.

mod chain;
mod csls;
mod dual_bank;
mod dual_softmax;
mod error;
mod family;
mod inverted_softmax;
mod kernel;
mod mutual;
mod nnn;
mod passes;
mod prepared;
mod qb_norm;
mod raw;
mod scores;
mod sinkhorn;
mod source;
mod spec;
mod temperature;
mod top;

pub use chain::Chain;
pub use csls::Csls;
pub use dual_bank::{DualBank, Rows};
pub use dual_softmax::{DualSoftmax, Prior};
pub use error::{Hint, NormalizeError};
pub use family::{Entry, Family, SettingEntry};
pub use inverted_softmax::InvertedSoftmax;
pub use mutual::Mutual;
pub use nnn::Nnn;
pub use prepared::{Prepared, Sources};
pub use qb_norm::QbNorm;
pub use raw::Raw;
pub use scores::{Normalizer, Regime, Scores, Side, Warning};
pub use sinkhorn::{Dbsn, Fit, Marginals, SingleQuery, Sinkhorn, Start, WarmStart};
pub use source::{EmbeddingSource, MatrixSource, ScoreSource, Tile};
pub use temperature::{Choice, Grid, choose};
