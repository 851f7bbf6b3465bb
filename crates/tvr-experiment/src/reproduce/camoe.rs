//! CAMoE and the dual softmax loss (Cheng et al. 2021, arXiv 2109.04290).

use super::papers::{Assertion, Cell};
use crate::recipe::rows::{DUAL_SOFTMAX, RAW};

const fn base(row: &'static str) -> Cell {
    Cell { model: "world-baseline", row }
}

const fn camoe(row: &'static str) -> Cell {
    Cell { model: "world-camoe", row }
}

const fn against(model: &'static str, claim: &'static str) -> Assertion {
    Assertion { claim, baseline: Cell { model, row: RAW }, treatment: camoe(RAW), remark: "" }
}

const ALSO_FUSION: &str = "the treatment has a transformer over frames, which the baseline has not";

/// What is claimed. Rows of both sides are normalised alike wherever the loss normalises.
pub const ON_WORLD: &[Assertion] = &[
    Assertion {
        claim: "dual softmax at inference helps",
        baseline: base(RAW),
        treatment: base(DUAL_SOFTMAX),
        remark: "the treatment sees the other test queries",
    },
    Assertion {
        claim: "dual softmax as the loss helps, both with dual softmax at inference",
        baseline: base(DUAL_SOFTMAX),
        treatment: Cell { model: "world-dual-softmax", row: DUAL_SOFTMAX },
        remark: "at the published temperature of 1000 the prior is nearly flat: this is InfoNCE but for a few per cent of its \
                 gradient",
    },
    Assertion {
        claim: "the same as the paper writes it, at temperature 1",
        baseline: base(DUAL_SOFTMAX),
        treatment: Cell { model: "world-dual-softmax-paper", row: DUAL_SOFTMAX },
        remark: "without the batch's factor; the temperature of scoring, since the paper's is not known",
    },
    Assertion {
        claim: "a mixture of experts over entity, action, scene and whole caption helps",
        baseline: base(RAW),
        treatment: camoe(RAW),
        remark: ALSO_FUSION,
    },
    Assertion {
        claim: "streams and dual softmax together, in training and at inference, help",
        baseline: base(DUAL_SOFTMAX),
        treatment: Cell { model: "world-camoe-dsl", row: DUAL_SOFTMAX },
        remark: ALSO_FUSION,
    },
    against("world-camoe-fusion", "the mixture is better than its fusion expert alone"),
    against("world-camoe-entity", "the mixture is better than the entity stream with the whole caption"),
    against("world-camoe-action", "the mixture is better than the action stream with the whole caption"),
    against("world-camoe-scene", "the mixture is better than the scene stream with the whole caption"),
];

const fn real(row: &'static str) -> Cell {
    Cell { model: "msrvtt476-mean-pooling", row }
}

const fn words(model: &'static str, row: &'static str) -> Cell {
    Cell { model, row }
}

const fn words_camoe(row: &'static str) -> Cell {
    words("msrvtt476-words-camoe", row)
}

/// What is claimed, on features of real clips.
pub const ON_FEATURES: &[Assertion] = &[
    Assertion {
        claim: "dual softmax at inference helps",
        baseline: real(RAW),
        treatment: real(DUAL_SOFTMAX),
        remark: "the treatment sees the other test queries",
    },
    Assertion {
        claim: "dual softmax as the loss helps, both with dual softmax at inference",
        baseline: real(DUAL_SOFTMAX),
        treatment: Cell { model: "msrvtt476-dual-softmax", row: DUAL_SOFTMAX },
        remark: "at the published temperature of 1000 the prior is nearly flat: this is InfoNCE but for a few per cent of its \
                 gradient",
    },
    Assertion {
        claim: "a mixture of experts over entity, action, scene and whole caption helps",
        baseline: words("msrvtt476-words", RAW),
        treatment: words_camoe(RAW),
        remark: "captions as words on both sides",
    },
    Assertion {
        claim: "a mixture of experts is better than its fusion expert alone",
        baseline: words("msrvtt476-words-seq-transf", RAW),
        treatment: words_camoe(RAW),
        remark: "the fusion expert is a transformer over the frames",
    },
    Assertion {
        claim: "streams and dual softmax together, in training and at inference, help",
        baseline: words("msrvtt476-words", DUAL_SOFTMAX),
        treatment: words("msrvtt476-words-camoe-dsl", DUAL_SOFTMAX),
        remark: "",
    },
    Assertion {
        claim: "the mixture is better than the entity stream with the whole caption",
        baseline: words("msrvtt476-words-camoe-entity", RAW),
        treatment: words_camoe(RAW),
        remark: "",
    },
    Assertion {
        claim: "the mixture is better than the action stream with the whole caption",
        baseline: words("msrvtt476-words-camoe-action", RAW),
        treatment: words_camoe(RAW),
        remark: "",
    },
    Assertion {
        claim: "the mixture is better than the scene stream with the whole caption",
        baseline: words("msrvtt476-words-camoe-scene", RAW),
        treatment: words_camoe(RAW),
        remark: "",
    },
];
