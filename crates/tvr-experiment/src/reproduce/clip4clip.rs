//! CLIP4Clip (Luo et al. 2021, arXiv 2104.08860): the host of the other papers, and what a temporal head is for.

use super::papers::{Assertion, Cell};
use crate::recipe::rows::RAW;

const MEAN: Cell = Cell { model: "world-mean-pooling", row: RAW };
const TRANSFORMER: Cell = Cell { model: "world-seq-transf", row: RAW };
const SHUFFLED: Cell = Cell { model: "world-seq-transf-shuffled", row: RAW };

/// What is claimed.
pub const ON_WORLD: &[Assertion] = &[
    Assertion {
        claim: "a temporal transformer retrieves better than mean pooling",
        baseline: MEAN,
        treatment: TRANSFORMER,
        remark: "",
    },
    Assertion {
        claim: "the transformer's gain needs the order of the frames",
        baseline: SHUFFLED,
        treatment: TRANSFORMER,
        remark: "the control separates order from capacity: the same transformer on frames in random order",
    },
];

/// What is claimed, on features of real clips.
pub const ON_FEATURES: &[Assertion] = &[Assertion {
    claim: "a temporal transformer retrieves better than mean pooling",
    baseline: Cell { model: "msrvtt476-mean-pooling-dropout", row: RAW },
    treatment: Cell { model: "msrvtt476-seq-transf", row: RAW },
    remark: "both with a dropout of 0.5",
}];
