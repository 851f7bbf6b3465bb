//! The recipes that are trained on a benchmark, by paper.

use crate::reproduce::papers::Paper;
use crate::reproduce::papers::Paper::{Camoe, Clip4clip, Emcl, Ncl, SupportSet};

/// A recipe: its name, its text, and the papers that it belongs to.
type OnBenchmarks = (&'static str, &'static str, &'static [Paper]);

macro_rules! recipe {
    ($name:literal, $papers:expr) => {
        ($name, include_str!(concat!("../../../../../recipes/", $name, ".toml")), $papers)
    };
}

/// The host first, as it is the baseline of the others; CAMoE's claim is about its dual softmax at inference too.
const RECIPES: &[OnBenchmarks] = &[
    recipe!("clip-mean-pooling", &[Clip4clip, Camoe, Ncl, SupportSet]),
    recipe!("clip-seq-transf", &[Clip4clip, Emcl]),
    recipe!("clip-emcl-net", &[Emcl]),
    recipe!("clip-camoe", &[Camoe]),
    recipe!("clip-camoe-dsl", &[Camoe]),
    recipe!("clip-ncl", &[Ncl]),
    recipe!("clip-support-set", &[SupportSet]),
];

/// Name and text of the recipes of some papers.
pub(super) fn of(papers: &[Paper]) -> impl Iterator<Item = (&'static str, &'static str)> {
    let wanted = move |recipe: &&OnBenchmarks| recipe.2.iter().any(|paper| papers.contains(paper));
    RECIPES.iter().filter(wanted).map(|(name, text, _)| (*name, *text))
}
