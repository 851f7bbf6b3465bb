//! Support-set bottlenecks (Patrick et al. 2021, arXiv 2010.02824): captions rebuilt from other samples' videos.

use super::papers::{Assertion, Cell};
use super::rows::RAW;

const BASELINE: Cell = Cell { model: "world-baseline", row: RAW };
const CROSS: Cell = Cell { model: "world-support-set", row: RAW };

const fn against(model: &'static str, claim: &'static str) -> Assertion {
    Assertion { claim, baseline: Cell { model, row: RAW }, treatment: CROSS, remark: "" }
}

/// What is claimed.
pub const ON_WORLD: &[Assertion] = &[
    Assertion {
        claim: "rebuilding captions from other samples' videos helps retrieval",
        baseline: BASELINE,
        treatment: CROSS,
        remark: "",
    },
    against("world-support-set-identity", "other samples' videos help more than the caption's own"),
    against("world-support-set-full", "leaving the own video out helps more than keeping it"),
    against("world-support-set-hybrid", "leaving the own video out helps more than mixing both"),
    Assertion {
        claim: "a memory bank beyond the batch helps",
        baseline: CROSS,
        treatment: Cell { model: "world-support-set-bank", row: RAW },
        remark: "the paper, as remembered, says that it adds little",
    },
];

/// What is claimed, on features of real clips.
pub const ON_FEATURES: &[Assertion] = &[Assertion {
    claim: "rebuilding captions from other samples' videos helps retrieval",
    baseline: Cell { model: "msrvtt476-words", row: RAW },
    treatment: Cell { model: "msrvtt476-words-support-set", row: RAW },
    remark: "both with captions as words",
}];
