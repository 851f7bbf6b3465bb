//! CAMoE and the dual softmax loss (Cheng et al. 2021, arXiv 2109.04290).

use super::papers::{Assertion, Cell};
use super::rows::{DUAL_SOFTMAX, RAW};

const fn base(row: &'static str) -> Cell {
    Cell { model: "world-baseline", row }
}

/// What is claimed. Rows of both sides are normalised alike wherever the loss normalises.
pub const ON_WORLD: &[Assertion] = &[
    Assertion {
        claim: "dual softmax at inference helps",
        baseline: base(RAW),
        treatment: base(DUAL_SOFTMAX),
        remark: "transductive against raw: the treatment sees the other test queries",
    },
    Assertion {
        claim: "dual softmax as the loss helps, both with dual softmax at inference",
        baseline: base(DUAL_SOFTMAX),
        treatment: Cell { model: "world-dual-softmax", row: DUAL_SOFTMAX },
        remark: "at the published temperature of 1000 the prior is nearly flat",
    },
];

const fn real(row: &'static str) -> Cell {
    Cell { model: "msrvtt476-mean-pooling", row }
}

/// What is claimed, on features of real clips.
pub const ON_FEATURES: &[Assertion] = &[
    Assertion {
        claim: "dual softmax at inference helps",
        baseline: real(RAW),
        treatment: real(DUAL_SOFTMAX),
        remark: "transductive against raw: the treatment sees the other test queries",
    },
    Assertion {
        claim: "dual softmax as the loss helps, both with dual softmax at inference",
        baseline: real(DUAL_SOFTMAX),
        treatment: Cell { model: "msrvtt476-dual-softmax", row: DUAL_SOFTMAX },
        remark: "at the published temperature of 1000 the prior is nearly flat",
    },
];
