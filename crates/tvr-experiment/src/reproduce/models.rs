//! The models that `reproduce` trains, in the order in which the budget is given to them.

use super::Paper;
use super::Paper::{Camoe, Clip4clip, Emcl, Ncl, SupportSet};

/// What a model is compared by, which decides how long it trains.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Length {
    /// Loss, normaliser or encoder part: short runs tell.
    Loss,
    /// The temporal head: it needs longer before order shows.
    Head,
    /// A control beside a head: as long, with one seed.
    Control,
    /// As long as its recipe says.
    Recipe,
}

/// One model.
#[derive(Clone, Copy, Debug)]
pub struct Trained {
    /// The recipe's name.
    pub name: &'static str,
    /// The recipe.
    pub recipe: &'static str,
    /// What it is compared by.
    pub length: Length,
    /// Seconds of a step, relative to the first model's, as `cargo xtask plan` measures them.
    pub relative_cost: f64,
    /// The papers whose claims need it.
    pub papers: &'static [Paper],
}

macro_rules! trained {
    ($name:literal, $length:ident, $relative_cost:literal, $papers:expr) => {
        Trained {
            name: $name,
            recipe: include_str!(concat!("../../../../recipes/", $name, ".toml")),
            length: Length::$length,
            relative_cost: $relative_cost,
            papers: $papers,
        }
    };
}

/// The models on the built-in world, in the order in which the budget is given to them: the baseline, each paper's own model, the heads, and
/// then what the papers leave out or vary.
pub const WORLD: &[Trained] = &[
    trained!("world-baseline", Loss, 1.0, &[Emcl, Camoe, Ncl, SupportSet]),
    trained!("world-ncl", Loss, 1.2, &[Ncl]),
    trained!("world-dual-softmax", Loss, 1.0, &[Camoe]),
    trained!("world-emcl", Loss, 1.3, &[Emcl]),
    trained!("world-mean-pooling", Head, 0.8, &[Clip4clip]),
    trained!("world-seq-transf", Head, 1.7, &[Clip4clip]),
    trained!("world-seq-transf-shuffled", Control, 1.7, &[Clip4clip]),
    trained!("world-conditioned", Loss, 1.6, &[Emcl]),
    trained!("world-emcl-net-baseline", Loss, 2.5, &[Emcl]),
    trained!("world-emcl-net", Loss, 3.0, &[Emcl]),
    trained!("world-emcl-net-paper", Loss, 3.0, &[Emcl]),
    trained!("world-emcl-net-global", Loss, 3.0, &[Emcl]),
];

/// The models on the feature file of 476 test videos of MSR-VTT; all of them run.
pub const MSRVTT476: &[Trained] = &[
    trained!("msrvtt476-mean-pooling", Recipe, 1.0, &[Clip4clip, Emcl, Camoe, Ncl]),
    trained!("msrvtt476-seq-transf", Recipe, 4.0, &[Clip4clip]),
    trained!("msrvtt476-dual-softmax", Recipe, 1.1, &[Camoe]),
    trained!("msrvtt476-ncl", Recipe, 1.3, &[Ncl]),
    trained!("msrvtt476-emcl", Recipe, 1.5, &[Emcl]),
    trained!("msrvtt476-conditioned", Recipe, 2.0, &[Emcl]),
    trained!("msrvtt476-xpool", Recipe, 4.0, &[Emcl]),
    trained!("msrvtt476-words", Recipe, 2.5, &[SupportSet]),
    trained!("msrvtt476-words-support-set", Recipe, 20.0, &[SupportSet]),
];
