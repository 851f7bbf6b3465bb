//! From frame and text features to similarities.
//!
//! A [`Head`] works in two parts. What concerns one item (a video's frames, a text's tokens) is computed once per
//! item and kept as [`Codes`]; what concerns a pair is computed from two codes. So a split is coded once, in any
//! chunks, and scored in tiles of bounded memory; and a training step can cut a batch, join the codes, and pull
//! gradients back through them without knowing the head.
//!
//! A head sees no loss, no file, and never who belongs to whom: a pair's similarity depends on that text and
//! that video alone, unless the head says that it mixes items. In every mask, true means real; what stands at a
//! masked place changes nothing, but for two settings of published code: `mask = "after"` of [`conditioned`], where it
//! takes part, and `mask = "multiply"` of [`token_wise`], where it counts as zero. A video without a real frame is
//! refused where features enter ([`Needs::check_videos`]), not answered with NaN.
//!
//! ```
//! use burn::prelude::*;
//! use tvr_heads::{MeanPoolingConfig, TextFeatures, Tile, VideoFeatures, code_all_texts, code_all_videos, score_all};
//!
//! # fn main() -> Result<(), tvr_heads::HeadError> {
//! let device = Device::flex();
//! // Two videos of two frames; the second has one real frame, and what stands at the other is ignored.
//! let frames = Tensor::<3>::from_data([[[1.0, 0.0], [0.0, 1.0]], [[0.0, 2.0], [9.0, 9.0]]], &device);
//! let mask = Tensor::<2, Bool>::from_data([[true, true], [true, false]], &device);
//! let text = Tensor::<2>::from_data([[0.0, 3.0]], &device);
//!
//! let head = MeanPoolingConfig::reference().init(2, &device)?;
//! let videos = code_all_videos(&head, &VideoFeatures::new(frames, mask), 1)?;
//! let texts = code_all_texts(&head, &TextFeatures::pooled(text), 1)?;
//! let cosines = score_all(&head, &texts, &videos, Tile::DEFAULT)?; // [texts, videos]
//! let expected = TensorData::from([[0.707_106_77, 1.0]]);
//! cosines.into_data().assert_approx_eq::<f32>(&expected, burn::tensor::Tolerance::absolute(1e-6));
//! # Ok(())
//! # }
//! ```
//!
//! | module | for |
//! |---|---|
//! | [`features`] | what a head is given: frames, tokens, streams, experts, with their masks |
//! | [`codes`] | what it keeps of each item, to be cut, joined and pulled |
//! | [`head`] | the contract: [`Head`], [`Needs`], [`Similarity`] |
//! | [`tiles`] | codes of a whole split by chunks, all pairs by tiles |
//! | [`vectors`] | the two vectors whose cosine a similarity is |
//! | [`adapter`] | a projection and a residual perceptron on every frame |
//! | [`mean_pooling`] | CLIP4Clip's meanP |
//! | [`seq_lstm`] | CLIP4Clip's seqLSTM |
//! | [`seq_transf`] | CLIP4Clip's seqTransf, a temporal transformer |
//! | [`tight_transf`] | CLIP4Clip's tightTransf, a transformer over each pair |
//! | [`frame_stage`] | what is done to frames before a text looks at them |
//! | [`conditioned`] | EMCL-Net's pooling: each text looks at the frames that speak of it |
//! | [`xpool`] | X-Pool: the same by attention |
//! | [`token_wise`] | DRL's TI and WTI: words against frames |
//! | [`emcl`] | EM between any head and its cosine, in training or at inference alone |
//! | [`camoe`] | CAMoE: an expert for each stream of the text, one gate |
//! | [`experts`] | a host of feature experts: CE's gating, MMT's transformer |
//! | [`laws`] | what any head keeps to, to be asked of one's own |

pub mod error;
pub mod features;
pub mod codes;
pub mod head;
pub mod vectors;
pub mod tiles;
pub mod adapter;
mod blocks;
pub mod mean_pooling;
pub mod seq_lstm;
pub mod seq_transf;
pub mod tight_transf;
pub mod frame_stage;
pub mod conditioned;
pub mod xpool;
pub mod token_wise;
pub mod emcl;
pub mod camoe;
pub mod experts;
pub mod laws;

pub use adapter::{FrameAdapter, FrameAdapterConfig};
pub use camoe::{Camoe, CamoeConfig};
pub use codes::{CodeGradients, Codes, Sequence, TextCodes, VideoCodes};
pub use conditioned::{Conditioned, ConditionedConfig, PoolingMask};
pub use emcl::{Emcl, EmclConfig};
pub use error::HeadError;
pub use experts::{Experts, ExpertsConfig};
pub use features::{Expert, TextFeatures, TextStream, Tokens, VideoFeatures};
pub use head::{Head, Needs, Similarity, StreamSimilarity, Unit, cosine};
pub use mean_pooling::{MeanPooling, MeanPoolingConfig};
pub use seq_lstm::{SeqLstm, SeqLstmConfig};
pub use seq_transf::{Positions, SeqTransf, SeqTransfConfig};
pub use tight_transf::{TightTransf, TightTransfConfig};
pub use tiles::{Tile, code_all_texts, code_all_videos, score_all, score_tiles};
pub use token_wise::{TokenMask, TokenWise, TokenWiseConfig};
pub use vectors::Vectors;
pub use xpool::{XPool, XPoolConfig};
