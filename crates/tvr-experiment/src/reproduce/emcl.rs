//! EMCL (Jin et al. 2022, arXiv 2211.11427): features as combinations of a few bases.

use super::papers::{Assertion, Cell};
use crate::recipe::rows::RAW;

const fn against(
    baseline: &'static str,
    model: &'static str,
    claim: &'static str,
    remark: &'static str,
) -> Assertion {
    let [baseline, treatment] = [Cell { model: baseline, row: RAW }, Cell { model, row: RAW }];
    Assertion { claim, baseline, treatment, remark }
}

const BASELINE: &str = "world-baseline";
const NET_BASELINE: &str = "world-emcl-net-baseline";

/// What is claimed.
pub const ON_WORLD: &[Assertion] = &[
    against(
        BASELINE,
        "world-emcl",
        "EM as a training layer on mean pooling helps, with the authors' settings",
        "the layer mixes the items of a tile; it has unit rows here, the authors' hosts hand over raw ones",
    ),
    against(
        BASELINE,
        "world-baseline+em-reference",
        "EM as a module at inference helps, as the authors' code has it",
        "K 7, T 10, sigma 0.1, products and no cosines; tiles of 64 mix test items; each seed starts from bases of its own",
    ),
    against(BASELINE, "world-baseline+em-reference-cosine", "the same, judged by cosines", ""),
    against(BASELINE, "world-baseline+em-reference-k32", "the same with K 32, T 9, sigma 1", ""),
    against(BASELINE, "world-baseline+em-everything", "the same with all test items in one tile", ""),
    against(
        BASELINE,
        "world-baseline+em-paper",
        "EM as a module at inference helps, as Algorithm 1 returns it",
        "K 32, T 9, sigma 1; what is rebuilt from the bases takes the features' place",
    ),
    against(BASELINE, "world-baseline+em-paper-added", "the same, added to the features", ""),
    against(
        BASELINE,
        "world-conditioned",
        "frames pooled for each text, without EM, help",
        "what EMCL-Net changes beside EM",
    ),
    against(NET_BASELINE, "world-emcl-net", "EM in EMCL-Net helps, as the authors' code has it", ""),
    against(NET_BASELINE, "world-emcl-net-paper", "EM in EMCL-Net helps, as the paper has it", ""),
    against(
        NET_BASELINE,
        "world-emcl-net-global",
        "EM in EMCL-Net helps, with bases from moving means (ours)",
        "",
    ),
];

const REAL: &str = "msrvtt476-mean-pooling";

/// What is claimed, on features of real clips.
pub const ON_FEATURES: &[Assertion] = &[
    against(
        REAL,
        "msrvtt476-emcl",
        "EM as a training layer on mean pooling helps, with the authors' settings",
        "the layer mixes the items of a tile; it has unit rows here, the authors' hosts hand over raw ones",
    ),
    against(
        "msrvtt476-mean-pooling-128",
        "msrvtt476-conditioned",
        "frames pooled for each text, without EM, help",
        "what EMCL-Net changes beside EM; both in batches of 128, as there",
    ),
    against(
        REAL,
        "msrvtt476-emcl-paper",
        "EM as a training layer on mean pooling helps, as the paper has it",
        "",
    ),
    against(
        "msrvtt476-conditioned",
        "msrvtt476-conditioned-emcl",
        "EM on frames pooled for each text helps, as the authors' code has it",
        "",
    ),
    against(
        "msrvtt476-experts",
        "msrvtt476-experts-emcl",
        "EM on a host of feature experts helps, with the authors' settings",
        "frames and three weak experts, weighed by the caption (CE without gating), as unit rows",
    ),
    against(
        REAL,
        "msrvtt476-mean-pooling+em-reference",
        "EM as a module at inference helps, as the authors' code has it",
        "K 7, T 10, sigma 0.1, products and no cosines; tiles of 64 mix test items; each seed starts from bases of its own",
    ),
    against(REAL, "msrvtt476-mean-pooling+em-reference-cosine", "the same, judged by cosines", ""),
    against(REAL, "msrvtt476-mean-pooling+em-reference-k32", "the same with K 32, T 9, sigma 1", ""),
    against(REAL, "msrvtt476-mean-pooling+em-everything", "the same with all test items in one tile", ""),
    against(
        REAL,
        "msrvtt476-mean-pooling+em-paper",
        "EM as a module at inference helps, as Algorithm 1 returns it",
        "K 32, T 9, sigma 1; what is rebuilt from the bases takes the features' place",
    ),
    against(REAL, "msrvtt476-mean-pooling+em-paper-added", "the same, added to the features", ""),
];
