//! NCL (Park et al. 2022, arXiv 2212.11790): biases that make every item wanted equally, in training and at test.

use super::papers::{Assertion, Cell};
use crate::recipe::rows::{RAW, SINKHORN};

const BASE: Cell = Cell { model: "world-baseline", row: RAW };
const BASE_ORACLE: Cell = Cell { model: "world-baseline", row: SINKHORN };
const BASE_BANK: Cell = Cell { model: "world-baseline+bank", row: SINKHORN };
const NCL_BANK: Cell = Cell { model: "world-ncl+bank", row: SINKHORN };

/// What is claimed on the built-in world. A model trained with NCL leaves the normalisation to the normaliser, so its
/// raw rows are not compared.
pub const ON_WORLD: &[Assertion] = &[
    Assertion {
        claim: "biases from a bank of training queries help at test",
        baseline: BASE,
        treatment: BASE_BANK,
        remark: "2,000 of 30,000 training captions and 2,000 of 6,000 videos, others for each seed; no other test query is seen",
    },
    Assertion {
        claim: "biases from the test queries themselves help (the oracle)",
        baseline: BASE,
        treatment: BASE_ORACLE,
        remark: "the bank is the test queries",
    },
    Assertion {
        claim: "the normalised loss helps in training, both with the bank at test",
        baseline: BASE_BANK,
        treatment: NCL_BANK,
        remark: "",
    },
    Assertion {
        claim: "the normalised loss helps in training, both with the oracle at test",
        baseline: BASE_ORACLE,
        treatment: Cell { model: "world-ncl", row: SINKHORN },
        remark: "",
    },
    Assertion {
        claim: "a queue of earlier queries makes the normalised loss better",
        baseline: NCL_BANK,
        treatment: Cell { model: "world-ncl-queue+bank", row: SINKHORN },
        remark: "",
    },
];

const EVEN: &str = "a bank of training queries makes items more evenly wanted";
const MORE_EVEN: &str = "the normalised loss makes them more evenly wanted still, both with the bank";

/// What is claimed of normalisation errors. The oracle is left out: it makes them 0 by its making.
pub const FAIRNESS_ON_WORLD: &[Assertion] = &[
    Assertion { claim: EVEN, baseline: BASE, treatment: BASE_BANK, remark: "" },
    Assertion { claim: MORE_EVEN, baseline: BASE_BANK, treatment: NCL_BANK, remark: "" },
];

const REAL: Cell = Cell { model: "msrvtt476-mean-pooling", row: RAW };
const REAL_BANK: Cell = Cell { model: "msrvtt476-mean-pooling+bank", row: SINKHORN };
const REAL_NCL_BANK: Cell = Cell { model: "msrvtt476-ncl+bank", row: SINKHORN };

/// What is claimed of normalisation errors, on features of real clips.
pub const FAIRNESS_ON_FEATURES: &[Assertion] = &[
    Assertion { claim: EVEN, baseline: REAL, treatment: REAL_BANK, remark: "" },
    Assertion { claim: MORE_EVEN, baseline: REAL_BANK, treatment: REAL_NCL_BANK, remark: "" },
];

/// What is claimed, on features of real clips.
pub const ON_FEATURES: &[Assertion] = &[
    Assertion {
        claim: "biases from the test queries themselves help (the oracle)",
        baseline: REAL,
        treatment: Cell { model: "msrvtt476-mean-pooling", row: SINKHORN },
        remark: "the bank is the test queries",
    },
    Assertion {
        claim: "the normalised loss helps in training, both with the oracle at test",
        baseline: Cell { model: "msrvtt476-mean-pooling", row: SINKHORN },
        treatment: Cell { model: "msrvtt476-ncl", row: SINKHORN },
        remark: "",
    },
    Assertion {
        claim: "biases from a bank of training queries help at test",
        baseline: REAL,
        treatment: REAL_BANK,
        remark: "2,000 of 16,428 training captions and 2,000 of 4,107 videos, others for each seed; no other test query is seen",
    },
    Assertion {
        claim: "the normalised loss helps in training, both with the bank at test",
        baseline: REAL_BANK,
        treatment: REAL_NCL_BANK,
        remark: "",
    },
    Assertion {
        claim: "a queue of earlier queries makes the normalised loss better",
        baseline: REAL_NCL_BANK,
        treatment: Cell { model: "msrvtt476-ncl-queue+bank", row: SINKHORN },
        remark: "",
    },
    Assertion {
        claim: "the normalised loss helps a host of feature experts, both with the oracle at test",
        baseline: Cell { model: "msrvtt476-experts", row: SINKHORN },
        treatment: Cell { model: "msrvtt476-experts-ncl", row: SINKHORN },
        remark: "",
    },
];
