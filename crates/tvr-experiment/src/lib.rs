//! The thin wire of tvr: recipe → plan → train → evaluate → record.
//!
//! This crate knows all others and puts them together; it parses no arguments and prints nothing. What a long
//! piece of work has to say goes out as [`Event`]s.
//!
//! ```no_run
//! use std::{path::Path, sync::atomic::AtomicBool};
//! use tvr_experiment::{Own, Recipe, Surroundings, experiment, plan};
//!
//! let path = Path::new("recipes/msrvtt476-mean-pooling.toml");
//! let plan = plan(&Recipe::read(path)?, path, &Surroundings::default())?;
//! let stop = AtomicBool::new(false);
//! let opened = experiment::open(&plan, &stop, &mut |_| ())?;
//! let outcome = experiment::run(&plan, &opened, &Own::built_in(), 0, true, &stop, &mut |_| ())?;
//! assert_eq!(outcome.record.schema, "tvr-run/1");
//! # Ok::<(), tvr_experiment::ExperimentError>(())
//! ```
//!
//! | module | is for |
//! |---|---|
//! | [`recipe`], [`mod@plan`], [`offer`] | what is asked for, and every check before data is read |
//! | [`device`] | the only place that names backends |
//! | [`towers`], [`pretrained`], [`words`] | the world's towers, a checkpoint's, words without a tower |
//! | [`clips`], [`sources`], [`corpus`], [`model`] | data and modules of one run |
//! | [`step`], [`collective`] | the gradient of a whole batch from its parts |
//! | [`optimizer`], [`bert_adam`], [`schedule`], [`clip_norm`] | how weights move |
//! | [`train`], [`checkpoint`], [`mod@select`] | the loop, its memory, its choice on val |
//! | [`evaluate`], [`banks`], [`score`], [`record`], [`claims`] | what is true of a matrix, a run, a claim |
//! | [`lock`] | one process in a folder at a time |
//! | [`shard`] | shares of encoding, preparing and scoring that need no exchange |
//! | [`mod@verify`], [`weights`] | a CLIP checkpoint against the reference; where checkpoints lie |
//! | [`mod@encode`] | a checkpoint over texts and pictures |
//! | [`mod@prepare`], [`doctor`], [`stores`] | videos into a store of frames, a benchmark with what is wrong with it; looking after the store |
//! | [`own`], [`experiment`], [`mod@reproduce`] | head and objective, the recipe's or from outside; one seed of one recipe; everything |

pub mod banks;
pub mod bert_adam;
pub mod checkpoint;
pub mod claims;
pub mod clips;
pub mod clip_norm;
pub mod collective;
pub mod corpus;
pub mod device;
pub mod doctor;
mod emcl;
pub mod encode;
mod error;
pub mod evaluate;
pub mod experiment;
pub mod files;
pub mod hits;
mod known_gallery;
pub mod lock;
pub mod model;
pub mod offer;
pub mod own;
pub mod optimizer;
pub mod plan;
pub mod prepare;
pub mod pretrained;
mod pool;
pub mod progress;
pub mod recipe;
pub mod record;
pub mod reproduce;
pub mod schedule;
pub mod score;
pub mod select;
pub mod shard;
pub mod sources;
pub mod step;
pub mod stores;
pub mod towers;
pub mod train;
pub mod verify;
pub mod weights;
pub mod words;

pub use error::ExperimentError;
pub use offer::Offer;
pub use own::Own;
pub use plan::{Plan, Surroundings, plan};
pub use pool::in_pool;
pub use progress::Event;
pub use recipe::Recipe;
