//! CLIP: tokenizer and the two towers, from a preset or of any size.
//!
//! One crate holds everything that turns an image or a caption into a vector of the joint space, wired exactly
//! as OpenAI's CLIP. It knows no video, no similarity head and no loss: frames are images here, which under 3d patches
//! see their neighbours in time, and what is done with their codes is decided in `tvr-heads`.
//!
//! Codes are **not** normalised; a head divides by their length where its formula says so. Padding never
//! changes a code: the text tower is causal and pools at the end-of-text token.
//!
//! ```
//! use burn::prelude::*;
//! use tvr_clip::{ClipConfig, Tokenizer};
//!
//! let captions = ["a red square moves left", "a blue circle moves up"];
//! let tokenizer = Tokenizer::train_world(captions.iter().map(ToString::to_string), 300)?;
//! let ids = tokenizer.encode_batch(&captions, 24)?;
//!
//! let device = Device::flex();
//! device.seed(1);
//! let clip = ClipConfig::world(tokenizer.vocabulary(), 24).init(&device)?;
//!
//! let texts = clip.encode_texts(ids.tensor(&device)); // [2, 96]
//! let images = clip.encode_images(Tensor::zeros([3, 3, 32, 32], &device)); // [3, 96]
//! assert_eq!((texts.dims(), images.dims()), ([2, 96], [3, 96]));
//! # Ok::<(), tvr_clip::ClipError>(())
//! ```
//!
//! | module | what |
//! |---|---|
//! | [`config`] | sizes of a model, presets |
//! | [`tokenizer`] | byte-pair encoding, lower-casing, truncation that keeps the end of text |
//! | [`pixels`] | pictures to the reference's pixels, bit by bit |
//! | [`patches`] | images to rows of patches, 2d and 3d |
//! | [`image_tower`], [`text_tower`] | the two transformers, pooled or with every token |
//! | [`model`] | both towers and the logit scale |
//! | [`loader`], [`saver`] | checkpoints in and out, as Hugging Face folders; the key table |
//! | [`hub`] | downloads, behind a feature |
//! | [`parity`] | the certificate: how far from the reference, stage by stage |

pub mod config;
mod error;
pub mod hub;
pub mod image_tower;
pub mod loader;
pub mod model;
pub mod parity;
pub mod patches;
pub mod pixels;
pub mod saver;
pub mod text_tower;
pub mod tokenizer;

pub use config::{ClipConfig, EosRule, ImageConfig, PatchMode, PatchPositions, Precision, TextConfig};
pub use error::ClipError;
pub use image_tower::ImageTower;
pub use loader::ClipCheckpoint;
pub use model::Clip;
pub use patches::{patchify, with_neighbours};
pub use pixels::{Preprocessor, PreprocessorConfig, Reference, Size};
pub use text_tower::{TextTower, TokenStates};
pub use tokenizer::{TokenBatch, Tokenizer};
pub use tvr_picture::Picture;
