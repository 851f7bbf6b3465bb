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
//! | [`own`] | a head and an objective, the recipe's or from outside |
//! | [`device`] | the only place that names backends |
//! | [`towers`], [`pretrained`], [`words`] | the world's towers, a checkpoint's, words without a tower |
//! | [`clips`], [`sources`], [`corpus`], [`model`] | data and modules of one run |
//! | [`step`], [`collective`] | the gradient of a whole batch from its parts |
//! | [`optimizer`], [`bert_adam`], [`schedule`], [`clip_norm`] | how weights move |
//! | [`train`], [`checkpoint`], [`mod@select`] | the loop, its memory, its choice on val |
//! | [`evaluate`], [`banks`], [`score`], [`record`], [`hits`], [`claims`] | what is true of a matrix, a run, a query, a claim |
//! | [`progress`] | what a long piece of work says while it runs |
//! | [`files`], [`lock`] | files that appear whole or not at all; one process in a folder at a time |
//! | [`shard`] | shares of encoding, preparing and scoring that need no exchange |
//! | [`mod@verify`], [`weights`] | a CLIP checkpoint against the reference; where checkpoints lie |
//! | [`mod@encode`] | a checkpoint over texts and pictures |
//! | [`mod@prepare`], [`doctor`], [`stores`] | videos into a store of frames, a benchmark with what is wrong with it; looking after the store |
//! | [`experiment`], [`mod@reproduce`] | one seed of one recipe; everything |

pub mod recipe;
pub mod plan;
pub mod offer;
pub mod own;
pub mod device;
pub mod towers;
pub mod pretrained;
pub mod words;
pub mod clips;
pub mod sources;
pub mod corpus;
pub mod model;
pub mod step;
pub mod collective;
pub mod optimizer;
pub mod bert_adam;
pub mod schedule;
pub mod clip_norm;
pub mod train;
pub mod checkpoint;
pub mod select;
pub mod evaluate;
pub mod banks;
pub mod score;
pub mod record;
pub mod hits;
pub mod claims;
pub mod progress;
pub mod files;
pub mod lock;
pub mod shard;
pub mod verify;
pub mod weights;
pub mod encode;
pub mod prepare;
pub mod doctor;
pub mod stores;
pub mod experiment;
pub mod reproduce;

mod emcl;
mod error;
mod known_gallery;
mod pool;

pub use error::ExperimentError;
pub use offer::Offer;
pub use own::Own;
pub use plan::{Plan, Surroundings, plan};
pub use pool::in_pool;
pub use progress::Event;
pub use recipe::Recipe;
