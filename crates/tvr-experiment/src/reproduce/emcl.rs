//! EMCL (Jin et al. 2022, arXiv 2211.11427): features as combinations of a few bases.

use super::papers::{Assertion, Cell};
use super::rows::RAW;

const BASELINE: Cell = Cell { model: "world-baseline", row: RAW };
const CONDITIONED: Cell = Cell { model: "world-conditioned", row: RAW };

/// What is claimed.
pub const ASSERTIONS: &[Assertion] = &[
    Assertion {
        claim: "frames pooled for each text, without EM, help",
        baseline: BASELINE,
        treatment: CONDITIONED,
        remark: "EMCL-Net's honest baseline",
    },
    Assertion {
        claim: "EM as a training layer helps, as the authors' code has it",
        baseline: CONDITIONED,
        treatment: Cell { model: "world-emcl", row: RAW },
        remark: "",
    },
    Assertion {
        claim: "EM as a training layer helps, as the paper has it",
        baseline: CONDITIONED,
        treatment: Cell { model: "world-emcl-paper", row: RAW },
        remark: "",
    },
];
