//! The models that `reproduce` trains, in the order in which the budget is given to them.

use super::Paper;

/// What a model is compared by, which decides how long it trains.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Length {
    /// Loss, normaliser or encoder part: short runs tell.
    Loss,
    /// The temporal head: it needs longer before order shows.
    Head,
    /// A control beside a head: as long, with one seed.
    Control,
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
    /// The papers whose claims need it.
    pub papers: &'static [Paper],
}

macro_rules! trained {
    ($name:literal, $length:ident, $papers:expr) => {
        Trained {
            name: $name,
            recipe: include_str!(concat!("../../../../recipes/", $name, ".toml")),
            length: Length::$length,
            papers: $papers,
        }
    };
}
