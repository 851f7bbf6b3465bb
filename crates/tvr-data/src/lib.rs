//! Where texts and videos come from: the built-in world, feature files, and the loader.
//!
//! Everything random is a function of `(seed, purpose, index)`, so a batch is the same whoever asks for it, on any
//! number of threads, in a run that was interrupted or in one that was not. Data hands out plain arrays; it must
//! never know of models, devices or losses.
//!
//! ```
//! use tvr_data::{Draw, Loader, Split, World};
//!
//! let world = World::default();
//! assert_eq!(world.caption(Split::Val, 0, 0).text(), "in the forest an orange object disappears");
//! assert_eq!(world.clip(Split::Test, 0).length, 7);
//!
//! let captions = vec![vec![0, 1], vec![2], vec![3, 4]]; // of three videos
//! let loader = Loader::new(captions, 2, 7, Draw::OnePerVideo)?;
//! assert_eq!(loader.batch(5), loader.batch(5)); // no position, nothing to save
//! # Ok::<(), tvr_data::DataError>(())
//! ```
//!
//! | module | is for |
//! |---|---|
//! | [`random`] | numbers as a function of what they are for |
//! | [`mod@world`] | clips, sentences and stills drawn on the fly |
//! | [`sampling`], [`frames`] | which frames of a clip; their pictures, from video files, animations, folders, images |
//! | [`store`], [`mod@prepare`] | clips decoded once, by the hash of their bytes; a list of videos into a store |
//! | [`frame_batch`] | frames of several clips out of a store |
//! | [`frame_features`] | features of any encoder in the store, beside the frames |
//! | [`feature_file`] | features of any encoder, with captions and splits |
//! | [`caption_streams`] | the nouns, the verbs and the places of a caption |
//! | [`benchmarks`], [`galleries`], [`doctor`] | six benchmarks from their files; what of one is there, and what it may be called |
//! | [`loader`], [`prefetch`] | batches in a fixed order; work done ahead |
//! | [`files`], [`mod@lock`] | files read as text, written whole or not at all, and hashed; locks of the system |

mod error;
pub mod files;
pub mod lock;
pub mod random;
pub mod world;
pub mod sampling;
pub mod frames;
pub mod store;
pub mod feature_file;
pub mod caption_streams;
pub mod benchmarks;
pub mod prepare;
pub mod frame_batch;
pub mod frame_features;
pub mod galleries;
pub mod doctor;
pub mod loader;
pub mod prefetch;

pub use benchmarks::manifest::{Entry, Manifest};
pub use caption_streams::{CaptionStream, CaptionStreams};
pub use error::DataError;
pub use feature_file::{ExpertEntry, FeatureFile, Part};
pub use frame_batch::FrameBatch;
pub use frame_features::{ClipFeatures, FrameFeatures};
pub use frames::{Decoder, Fault, Footage, FrameSource, Picture, Verdict};
pub use galleries::gallery_hash;
pub use loader::{Batch, Draw, Loader};
pub use prefetch::Prefetch;
pub use prepare::{Outcome, Preparation};
pub use random::{Rng, stream};
pub use sampling::Sampler;
pub use store::{Key, Store};
pub use world::{Clip, Sentence, Split, Still, Tag, WORLD_VERSION, World};
