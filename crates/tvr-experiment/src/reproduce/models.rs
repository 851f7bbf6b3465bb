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
    /// Seconds of a step, relative to the first model's, as the records of a whole `reproduce` have them.
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

/// A trained model judged again under other settings of `[eval]`: nothing is trained for it.
#[derive(Clone, Copy, Debug)]
pub struct Rejudged {
    /// As tables print it.
    pub name: &'static str,
    /// The model whose weights are judged.
    pub of: &'static str,
    /// A recipe whose `[eval]` is taken.
    pub recipe: &'static str,
    /// The keys of `[eval]` that are then set, as `--set` does.
    pub set: &'static [(&'static str, &'static str)],
    /// The paper whose claims need it.
    pub paper: Paper,
}

const BANKS: &str = include_str!("../../../../recipes/world-banks.toml");
const EMCL_INFERENCE: &str = include_str!("../../../../recipes/world-emcl-inference.toml");

/// Under a bank of training items.
const fn banked(name: &'static str, of: &'static str) -> Rejudged {
    Rejudged { name, of, recipe: BANKS, set: BANK_ROWS, paper: Ncl }
}

/// With EM at inference.
const fn with_em(
    name: &'static str,
    of: &'static str,
    set: &'static [(&'static str, &'static str)],
) -> Rejudged {
    Rejudged { name, of, recipe: EMCL_INFERENCE, set, paper: Emcl }
}

/// The rows that are judged with a bank; `world-banks` has all, of which single-query Sinkhorn alone takes minutes.
const BANK_ROWS: &[(&str, &str)] = &[(
    "eval.normalize",
    r#"["raw", "sinkhorn:tau=1,iterations=50", "inverted-softmax:temperature=1", "qb-norm:temperature=1"]"#,
)];

/// EM at inference with the numbers that the paper trains with.
const EM_K32: &[(&str, &str)] =
    &[("eval.emcl.layer.bases", "32"), ("eval.emcl.layer.iterations", "9"), ("eval.emcl.layer.sigma", "1.0")];

/// Vectors made unit again after the layer.
const EM_COSINE: &[(&str, &str)] = &[("eval.emcl.similarity", "cosine")];

/// All test items in one tile.
const EM_EVERYTHING: &[(&str, &str)] = &[("eval.emcl.scope", "everything")];

/// The paper's Algorithm 1: what is rebuilt from the bases takes the features' place.
const EM_PAPER: &[(&str, &str)] = &[
    ("eval.emcl.similarity", "cosine"),
    ("eval.emcl.layer.mode", "paper"),
    ("eval.emcl.layer.init", "normal"),
    ("eval.emcl.layer.bases", "32"),
    ("eval.emcl.layer.iterations", "9"),
    ("eval.emcl.layer.sigma", "1.0"),
    ("eval.emcl.layer.weight", "1.0"),
    ("eval.emcl.layer.residual", "false"),
];

/// The same on top of the features, as in the authors' code.
const EM_PAPER_ADDED: &[(&str, &str)] = &[
    ("eval.emcl.similarity", "cosine"),
    ("eval.emcl.layer.mode", "paper"),
    ("eval.emcl.layer.init", "normal"),
    ("eval.emcl.layer.bases", "32"),
    ("eval.emcl.layer.iterations", "9"),
    ("eval.emcl.layer.sigma", "1.0"),
    ("eval.emcl.layer.weight", "1.0"),
];

/// What is judged again on the built-in world: banks of training items, and EM at inference in its forms.
pub const WORLD_AGAIN: &[Rejudged] = &[
    banked("world-baseline+bank", "world-baseline"),
    banked("world-ncl+bank", "world-ncl"),
    banked("world-ncl-queue+bank", "world-ncl-queue"),
    with_em("world-baseline+em-reference", "world-baseline", &[]),
    with_em("world-baseline+em-reference-cosine", "world-baseline", EM_COSINE),
    with_em("world-baseline+em-reference-k32", "world-baseline", EM_K32),
    with_em("world-baseline+em-everything", "world-baseline", EM_EVERYTHING),
    with_em("world-baseline+em-paper", "world-baseline", EM_PAPER),
    with_em("world-baseline+em-paper-added", "world-baseline", EM_PAPER_ADDED),
];

macro_rules! em_grid {
    ($(($bases:literal, $iterations:literal)),* $(,)?) => {
        &[$(with_em(
            concat!("world-baseline+em-k", $bases, "-t", $iterations),
            "world-baseline",
            &[
                ("eval.emcl.layer.bases", $bases),
                ("eval.emcl.layer.iterations", $iterations),
                ("eval.emcl.layer.sigma", "1.0"),
            ],
        )),*]
    };
}

/// The grid of `--full`: EM at inference with other numbers of bases and iterations.
#[rustfmt::skip]
pub const WORLD_GRID: &[Rejudged] = em_grid![
    ("3", "1"), ("7", "1"), ("16", "1"), ("32", "1"), ("64", "1"),
    ("3", "3"), ("7", "3"), ("16", "3"), ("32", "3"), ("64", "3"),
    ("3", "9"), ("7", "9"), ("16", "9"), ("32", "9"), ("64", "9"),
];

/// The models on the built-in world, in the order in which the budget is given to them: the baseline, one model for what
/// each paper adds, the heads, the papers' whole models, and then what the papers leave out or vary.
pub const WORLD: &[Trained] = &[
    trained!("world-baseline", Loss, 1.0, &[Emcl, Camoe, Ncl, SupportSet]),
    trained!("world-ncl", Loss, 1.1, &[Ncl]),
    trained!("world-dual-softmax", Loss, 1.0, &[Camoe]),
    trained!("world-emcl", Loss, 1.2, &[Emcl]),
    trained!("world-camoe", Loss, 3.0, &[Camoe]),
    trained!("world-support-set", Loss, 2.0, &[SupportSet]),
    trained!("world-mean-pooling", Head, 0.7, &[Clip4clip]),
    trained!("world-seq-transf", Head, 1.5, &[Clip4clip]),
    trained!("world-seq-transf-shuffled", Control, 1.5, &[Clip4clip]),
    trained!("world-ncl-queue", Loss, 1.6, &[Ncl]),
    trained!("world-emcl-net-baseline", Loss, 3.0, &[Emcl]),
    trained!("world-emcl-net", Loss, 4.0, &[Emcl]),
    trained!("world-camoe-dsl", Loss, 3.0, &[Camoe]),
    trained!("world-conditioned", Loss, 1.6, &[Emcl]),
    trained!("world-support-set-identity", Loss, 2.0, &[SupportSet]),
    trained!("world-support-set-full", Loss, 2.0, &[SupportSet]),
    trained!("world-support-set-hybrid", Loss, 2.0, &[SupportSet]),
    trained!("world-support-set-bank", Loss, 2.2, &[SupportSet]),
    trained!("world-emcl-net-paper", Loss, 4.0, &[Emcl]),
    trained!("world-emcl-net-global", Loss, 4.0, &[Emcl]),
    trained!("world-dual-softmax-paper", Loss, 1.0, &[Camoe]),
    trained!("world-camoe-fusion", Loss, 1.5, &[Camoe]),
    trained!("world-camoe-entity", Loss, 2.0, &[Camoe]),
    trained!("world-camoe-action", Loss, 2.0, &[Camoe]),
    trained!("world-camoe-scene", Loss, 2.0, &[Camoe]),
];

/// What is judged again on the features: the same forms of EM and the same banks.
pub const MSRVTT476_AGAIN: &[Rejudged] = &[
    banked("msrvtt476-mean-pooling+bank", "msrvtt476-mean-pooling"),
    banked("msrvtt476-ncl+bank", "msrvtt476-ncl"),
    banked("msrvtt476-ncl-queue+bank", "msrvtt476-ncl-queue"),
    with_em("msrvtt476-mean-pooling+em-reference", "msrvtt476-mean-pooling", &[]),
    with_em("msrvtt476-mean-pooling+em-reference-cosine", "msrvtt476-mean-pooling", EM_COSINE),
    with_em("msrvtt476-mean-pooling+em-reference-k32", "msrvtt476-mean-pooling", EM_K32),
    with_em("msrvtt476-mean-pooling+em-everything", "msrvtt476-mean-pooling", EM_EVERYTHING),
    with_em("msrvtt476-mean-pooling+em-paper", "msrvtt476-mean-pooling", EM_PAPER),
    with_em("msrvtt476-mean-pooling+em-paper-added", "msrvtt476-mean-pooling", EM_PAPER_ADDED),
];

/// The models on the feature file of 476 test videos of MSR-VTT; all of them run.
pub const MSRVTT476: &[Trained] = &[
    trained!("msrvtt476-mean-pooling", Recipe, 1.0, &[Emcl, Camoe, Ncl]),
    trained!("msrvtt476-mean-pooling-dropout", Recipe, 1.0, &[Clip4clip]),
    trained!("msrvtt476-seq-transf", Recipe, 4.0, &[Clip4clip]),
    trained!("msrvtt476-dual-softmax", Recipe, 1.1, &[Camoe]),
    trained!("msrvtt476-ncl", Recipe, 1.3, &[Ncl]),
    trained!("msrvtt476-ncl-queue", Recipe, 1.5, &[Ncl]),
    trained!("msrvtt476-emcl", Recipe, 1.5, &[Emcl]),
    trained!("msrvtt476-emcl-paper", Recipe, 1.5, &[Emcl]),
    trained!("msrvtt476-mean-pooling-128", Recipe, 1.0, &[Emcl]),
    trained!("msrvtt476-conditioned", Recipe, 2.2, &[Emcl]),
    trained!("msrvtt476-conditioned-emcl", Recipe, 5.0, &[Emcl]),
    trained!("msrvtt476-experts", Recipe, 1.5, &[Emcl, Ncl]),
    trained!("msrvtt476-experts-emcl", Recipe, 3.0, &[Emcl]),
    trained!("msrvtt476-experts-ncl", Recipe, 2.0, &[Ncl]),
    trained!("msrvtt476-words", Recipe, 1.5, &[Camoe, SupportSet]),
    trained!("msrvtt476-words-seq-transf", Recipe, 4.0, &[Camoe]),
    trained!("msrvtt476-words-camoe", Recipe, 14.0, &[Camoe]),
    trained!("msrvtt476-words-camoe-dsl", Recipe, 14.0, &[Camoe]),
    trained!("msrvtt476-words-camoe-entity", Recipe, 10.0, &[Camoe]),
    trained!("msrvtt476-words-camoe-action", Recipe, 10.0, &[Camoe]),
    trained!("msrvtt476-words-camoe-scene", Recipe, 10.0, &[Camoe]),
    trained!("msrvtt476-words-support-set", Recipe, 9.0, &[SupportSet]),
    trained!("msrvtt476-words-support-set-identity", Recipe, 9.0, &[SupportSet]),
    trained!("msrvtt476-words-support-set-full", Recipe, 9.0, &[SupportSet]),
    trained!("msrvtt476-words-support-set-hybrid", Recipe, 9.0, &[SupportSet]),
    trained!("msrvtt476-words-support-set-bank", Recipe, 9.0, &[SupportSet]),
];
