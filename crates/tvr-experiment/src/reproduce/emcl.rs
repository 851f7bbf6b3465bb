//! EMCL (Jin et al. 2022, arXiv 2211.11427): features as combinations of a few bases.

use super::papers::{Assertion, Cell};
use super::rows::RAW;

const BASELINE: Cell = Cell { model: "world-baseline", row: RAW };
const fn inference(model: &'static str, claim: &'static str, remark: &'static str) -> Assertion {
    Assertion { claim, baseline: BASELINE, treatment: Cell { model, row: RAW }, remark }
}

const NET_BASELINE: Cell = Cell { model: "world-emcl-net-baseline", row: RAW };

/// What is claimed.
pub const ON_WORLD: &[Assertion] = &[
    Assertion {
        claim: "EM as a training layer on mean pooling helps, as the authors' code has it",
        baseline: BASELINE,
        treatment: Cell { model: "world-emcl", row: RAW },
        remark: "the layer mixes the items of a tile: the treatment sees other test queries",
    },
    inference(
        "world-baseline+em-reference",
        "EM as a module at inference helps, as the authors' code has it",
        "K 7, T 10, sigma 0.1; transductive against raw: tiles of 64 mix test items",
    ),
    inference("world-baseline+em-reference-k32", "the same with K 32, T 9, sigma 1", ""),
    inference("world-baseline+em-everything", "the same with all test items in one tile", ""),
    inference("world-baseline+em-paper", "EM as a module at inference helps, as the paper has it", ""),
    Assertion {
        claim: "frames pooled for each text, without EM, help",
        baseline: BASELINE,
        treatment: Cell { model: "world-conditioned", row: RAW },
        remark: "what EMCL-Net changes beside EM",
    },
    Assertion {
        claim: "EM in EMCL-Net helps, as the authors' code has it",
        baseline: NET_BASELINE,
        treatment: Cell { model: "world-emcl-net", row: RAW },
        remark: "",
    },
    Assertion {
        claim: "EM in EMCL-Net helps, as the paper has it",
        baseline: NET_BASELINE,
        treatment: Cell { model: "world-emcl-net-paper", row: RAW },
        remark: "",
    },
    Assertion {
        claim: "EM in EMCL-Net helps, with bases from moving means (ours)",
        baseline: NET_BASELINE,
        treatment: Cell { model: "world-emcl-net-global", row: RAW },
        remark: "",
    },
];

const REAL: Cell = Cell { model: "msrvtt476-mean-pooling", row: RAW };

const fn real(model: &'static str, claim: &'static str, remark: &'static str) -> Assertion {
    Assertion { claim, baseline: REAL, treatment: Cell { model, row: RAW }, remark }
}

/// What is claimed, on features of real clips.
pub const ON_FEATURES: &[Assertion] = &[
    Assertion {
        claim: "EM as a training layer on mean pooling helps, as the authors' code has it",
        baseline: REAL,
        treatment: Cell { model: "msrvtt476-emcl", row: RAW },
        remark: "the layer mixes the items of a tile: the treatment sees other test queries",
    },
    Assertion {
        claim: "frames pooled for each text, without EM, help",
        baseline: REAL,
        treatment: Cell { model: "msrvtt476-conditioned", row: RAW },
        remark: "what EMCL-Net changes beside EM",
    },
    Assertion {
        claim: "EM as a training layer on mean pooling helps, as the paper has it",
        baseline: REAL,
        treatment: Cell { model: "msrvtt476-emcl-paper", row: RAW },
        remark: "",
    },
    Assertion {
        claim: "EM on frames pooled for each text helps, as the authors' code has it",
        baseline: Cell { model: "msrvtt476-conditioned", row: RAW },
        treatment: Cell { model: "msrvtt476-conditioned-emcl", row: RAW },
        remark: "",
    },
    Assertion {
        claim: "EM on a host of feature experts helps, as the authors' code has it",
        baseline: Cell { model: "msrvtt476-experts", row: RAW },
        treatment: Cell { model: "msrvtt476-experts-emcl", row: RAW },
        remark: "frames and three weak experts, weighed by the caption (CE without gating)",
    },
    real(
        "msrvtt476-mean-pooling+em-reference",
        "EM as a module at inference helps, as the authors' code has it",
        "K 7, T 10, sigma 0.1; transductive against raw: tiles of 64 mix test items",
    ),
    real("msrvtt476-mean-pooling+em-reference-k32", "the same with K 32, T 9, sigma 1", ""),
    real("msrvtt476-mean-pooling+em-everything", "the same with all test items in one tile", ""),
    real("msrvtt476-mean-pooling+em-paper", "EM as a module at inference helps, as the paper has it", ""),
];
