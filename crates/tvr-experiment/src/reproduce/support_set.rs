//! Support-set bottlenecks (Patrick et al. 2021, arXiv 2010.02824): captions rebuilt from other samples' videos.

use super::papers::{Assertion, Cell};
use crate::recipe::rows::RAW;

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

const REAL_CROSS: Cell = Cell { model: "msrvtt476-words-support-set", row: RAW };

const fn real(model: &'static str, claim: &'static str) -> Assertion {
    Assertion { claim, baseline: Cell { model, row: RAW }, treatment: REAL_CROSS, remark: "" }
}

/// What is claimed, on features of real clips; all with captions as words.
pub const ON_FEATURES: &[Assertion] = &[
    real("msrvtt476-words", "rebuilding captions from other samples' videos helps retrieval"),
    real("msrvtt476-words-support-set-identity", "other samples' videos help more than the caption's own"),
    real("msrvtt476-words-support-set-full", "leaving the own video out helps more than keeping it"),
    real("msrvtt476-words-support-set-hybrid", "leaving the own video out helps more than mixing both"),
    Assertion {
        claim: "a memory bank beyond the batch helps",
        baseline: REAL_CROSS,
        treatment: Cell { model: "msrvtt476-words-support-set-bank", row: RAW },
        remark: "the paper, as remembered, says that it adds little",
    },
];
