//! From similarities to losses.
//!
//! An [`Objective`] takes a batch's [`Pairs`] (cosines of all texts with all videos, the scale that makes logits of
//! them, and `same`: which video each text belongs to) and gives a [`Loss`] with named parts. It never sees an
//! encoder, a head or a file, and does not know how many chunks or devices the batch came from.
//!
//! Texts and videos of a batch need not be equal in number. Several captions of one video are all right for it
//! and share its mass; they are negatives of one another only where a recipe says `positives = "diagonal"`.
//!
//! State (NCL's queue, the support-set's bank) lives in the module as a parameter without gradient, so that it is in the record, and
//! changes in [`Objective::after_step`] alone.
//!
//! ```
//! use burn::prelude::*;
//! use tvr_objectives::{Objective, Pairs, SymmetricConfig};
//!
//! # fn main() -> Result<(), tvr_objectives::ObjectiveError> {
//! let device = Device::flex();
//! // Three captions, two videos: the last two captions tell of the second video.
//! let cosines = Tensor::<2>::from_data([[0.9, 0.1], [0.2, 0.8], [0.1, 0.7]], &device);
//! let same = Tensor::<1, Int>::from_data([0, 1, 1], &device);
//! let objective = SymmetricConfig::ours().init()?;
//! let pairs = Pairs::new(&cosines, Tensor::from_data([100.0], &device), &same);
//! pairs.check(&objective.needs())?;
//! let loss = objective.loss(&pairs);
//! // Each caption finds its video, and the second video leans to one of its two captions.
//! let parts: Vec<f32> = loss.parts.iter().map(|(_, part)| part.clone().into_scalar()).collect();
//! assert!(parts[0] < 1e-6 && parts[1] > 1.0);
//! # Ok(())
//! # }
//! ```
//!
//! | module | for |
//! |---|---|
//! | [`objective`] | the contract: [`Pairs`], [`Loss`], [`Objective`] |
//! | [`rows`] | a loss in shares: some texts and some videos at a time |
//! | [`positives`] | from `same` to targets; cross-entropy with several positives |
//! | [`symmetric`] | symmetric cross-entropy, InfoNCE |
//! | [`queue`] | earlier items, without gradients, that outlive a step |
//! | [`dual_softmax`] | CAMoE's dual softmax loss |
//! | [`ncl`] | NCL: biases by Sinkhorn's sweeps, with a queue of earlier items |
//! | [`hinge`] | a margin over the hardest negatives, or over all |
//! | [`support_set`] | support-set: captions told from videos like their own, and the decoder that tells them |
//! | [`weighted`] | a sum of objectives |
//! | [`streams`] | one term per stream of the captions |
//! | [`laws`] | what any objective keeps to, to be asked of one's own |

pub mod error;
pub mod objective;
pub mod rows;
pub mod positives;
pub mod queue;
pub mod symmetric;
pub mod dual_softmax;
pub mod ncl;
pub mod hinge;
pub mod support_set;
pub mod weighted;
pub mod streams;
pub mod laws;

pub use dual_softmax::{Directions, DualSoftmax, DualSoftmaxConfig};
pub use error::ObjectiveError;
pub use hinge::{Hinge, HingeConfig, Negatives};
pub use ncl::{Askers, Ncl, NclConfig, Shares};
pub use objective::{CaptionTokens, Loss, Needs, Objective, Pairs, Stream};
pub use positives::Positives;
pub use queue::Queue;
pub use rows::{ByRows, Rows};
pub use streams::{StreamName, Streams, StreamsConfig};
pub use support_set::{ContrastiveConfig, Decoder, DecoderConfig, Support, SupportSet, SupportSetConfig};
pub use symmetric::{Symmetric, SymmetricConfig};
pub use weighted::{Term, Weighted};
