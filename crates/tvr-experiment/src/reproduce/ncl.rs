//! NCL (Park et al. 2022, arXiv 2212.11790): biases that make every item wanted equally, in training and at test.

use super::papers::{Assertion, Cell};
use super::rows::{RAW, SINKHORN, SINKHORN_BANK};

const fn base(row: &'static str) -> Cell {
    Cell { model: "world-baseline", row }
}

const fn ncl(row: &'static str) -> Cell {
    Cell { model: "world-ncl", row }
}

/// What is claimed. A model trained with NCL leaves the normalisation to the normaliser, so its raw rows are not
/// compared.
pub const ON_WORLD: &[Assertion] = &[
    Assertion {
        claim: "biases from a bank of training queries help at test",
        baseline: base(RAW),
        treatment: base(SINKHORN_BANK),
        remark: "",
    },
    Assertion {
        claim: "biases from the test queries themselves help (the oracle)",
        baseline: base(RAW),
        treatment: base(SINKHORN),
        remark: "transductive against raw: the bank is the test queries",
    },
    Assertion {
        claim: "the normalised loss helps in training, both with the bank at test",
        baseline: base(SINKHORN_BANK),
        treatment: ncl(SINKHORN_BANK),
        remark: "",
    },
    Assertion {
        claim: "the normalised loss helps in training, both with the oracle at test",
        baseline: base(SINKHORN),
        treatment: ncl(SINKHORN),
        remark: "",
    },
    Assertion {
        claim: "a queue of earlier queries makes the normalised loss better",
        baseline: ncl(SINKHORN_BANK),
        treatment: Cell { model: "world-ncl-queue", row: SINKHORN_BANK },
        remark: "",
    },
];

/// What is claimed, on features of real clips.
pub const ON_FEATURES: &[Assertion] = &[
    Assertion {
        claim: "biases from the test queries themselves help (the oracle)",
        baseline: Cell { model: "msrvtt476-mean-pooling", row: RAW },
        treatment: Cell { model: "msrvtt476-mean-pooling", row: SINKHORN },
        remark: "transductive against raw: the bank is the test queries",
    },
    Assertion {
        claim: "the normalised loss helps in training, both with the oracle at test",
        baseline: Cell { model: "msrvtt476-mean-pooling", row: SINKHORN },
        treatment: Cell { model: "msrvtt476-ncl", row: SINKHORN },
        remark: "",
    },
];
