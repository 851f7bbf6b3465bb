//! Published figures, to stand beside a run on the same benchmark (its first protocol), each with how it is known.
//!
//! R@1 of `n` queries has a standard error of its own, `√(p (1 − p) / n)`: on 1,000 queries about 1.6 points. A run
//! whose R@1 lies within 1.96 of them is in the acceptance band; nothing narrower can be asked of one run.

mod known;

use serde::Serialize;
use tvr_data::benchmarks::Benchmark;

use super::Paper;
use crate::recipe::rows::{DUAL_SOFTMAX, RAW, SINKHORN};
pub use known::Known;

/// One direction: R@1, R@5, R@10, median rank, mean rank; `None` where it was not given.
pub type Direction = [Option<f64>; 5];

/// A recipe, a row of its table, and the regime of that row.
pub type Place = Option<(&'static str, &'static str, &'static str)>;

/// A published row.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Published {
    /// The paper whose claim it is.
    pub paper: Paper,
    /// The benchmark, as `--dataset` names it.
    pub dataset: &'static str,
    /// The model, ViT-B/32 unless it says otherwise.
    pub model: &'static str,
    /// Texts look for videos.
    pub text_to_video: Direction,
    /// Videos look for texts.
    pub video_to_text: Direction,
    /// How the figures are known.
    pub known: Known,
    /// Where they stand.
    pub source: &'static str,
    /// The recipe, the row of its table and what that row sees, beside which they are set; `None` where tvr trains no such model.
    pub beside: Place,
    /// What they were measured on, where that is not what a run here is; `None` where it is.
    pub unlike: Option<&'static str>,
}

impl Published {
    /// Why no run may be judged by it; `None` where one may.
    pub fn is_not_judged(&self) -> Option<String> {
        match (self.known, self.unlike) {
            (Known::Unverified, _) => Some("from memory: not judged".into()),
            (_, Some(unlike)) => Some(format!("not comparable: measured on {unlike}")),
            (_, None) => None,
        }
    }

    const fn measured_on(self, unlike: &'static str) -> Self {
        Self { unlike: Some(unlike), ..self }
    }
}

/// The gallery that a benchmark's figures are of, by its name among [`GALLERIES`](tvr_data::galleries::GALLERIES).
pub fn gallery(benchmark: Benchmark) -> &'static str {
    match benchmark {
        Benchmark::Msrvtt => "1k-A test (JSFUSION)",
        Benchmark::Msvd => "test",
        Benchmark::Lsmdc => "public test",
        Benchmark::Didemo => "test by clips",
        Benchmark::Activitynet => "val-1, test by custom",
        Benchmark::Vatex => "HGR test",
    }
}

const NONE: Direction = [None; 5];

const fn at(r1: f64, r5: f64, r10: f64, median: f64, mean: f64) -> Direction {
    const fn given(value: f64) -> Option<f64> {
        if value > 0.0 { Some(value) } else { None }
    }
    [given(r1), given(r5), given(r10), given(median), given(mean)]
}

const fn row(
    (paper, dataset, model): (Paper, &'static str, &'static str),
    text_to_video: Direction,
    video_to_text: Direction,
    (known, source): (Known, &'static str),
    beside: Place,
) -> Published {
    Published { paper, dataset, model, text_to_video, video_to_text, known, source, beside, unlike: None }
}

const MEAN_POOLING: Place = Some(("clip-mean-pooling", RAW, "raw"));
const SEQ_TRANSF: Place = Some(("clip-seq-transf", RAW, "raw"));
const EMCL_NET: Place = Some(("clip-emcl-net", RAW, "transductive"));
const EMCL_NET_DSL: Place = Some(("clip-emcl-net", DUAL_SOFTMAX, "transductive"));
const CAMOE: Place = Some(("clip-camoe", RAW, "raw"));
const CAMOE_DSL: Place = Some(("clip-camoe-dsl", DUAL_SOFTMAX, "transductive"));
/// At test NCL looks at training queries, not at the others of the test.
const NCL: Place = Some(("clip-ncl", SINKHORN, "bank"));

use Known::{Repository, SecondHand, Unverified};
use Paper::{Camoe, Clip4clip, Emcl, Ncl, SupportSet};

const ADAPTER: &str = "Cross-Modal Adapter for Text-Video Retrieval, tables 1, 3, 4";
const GARE: &str = "GARE (Rebalancing Contrastive Alignment), tables 1, 2";
const DREAM: &str = "DREAM, tables 1 to 3, 8, 9";
const TAME: &str = "TAME, tables 1, 2";

/// Every published row that is known; 0 stands for a figure that was not given.
pub const PUBLISHED: &[Published] = &[
    row(
        (Clip4clip, "msrvtt", "CLIP4Clip, mean pooling, mmaction2's reproduction"),
        at(43.1, 69.4, 78.9, 2.0, 16.8),
        NONE,
        (SecondHand, "open-mmlab/mmaction2, README"),
        MEAN_POOLING,
    ),
    row(
        (Clip4clip, "didemo", "CLIP4Clip, temporal transformer"),
        at(42.8, 68.5, 79.2, 0.0, 18.9),
        NONE,
        (SecondHand, GARE),
        SEQ_TRANSF,
    )
    .measured_on("1,003 clips"),
    row(
        (Clip4clip, "lsmdc", "CLIP4Clip, head not said, another table"),
        at(21.6, 41.8, 49.8, 0.0, 58.0),
        NONE,
        (SecondHand, "STAN, tables 1 to 3"),
        SEQ_TRANSF,
    ),
    row(
        (Camoe, "msrvtt", "CLIP4Clip with dual softmax at inference alone (transductive)"),
        at(47.8, 0.0, 0.0, 0.0, 0.0),
        at(49.0, 0.0, 0.0, 0.0, 0.0),
        (Repository, "starmemda/CAMoE, issue 4"),
        Some(("clip-mean-pooling", DUAL_SOFTMAX, "transductive")),
    ),
    row(
        (Camoe, "msrvtt", "CLIP4Clip with dual softmax in training and at inference (transductive)"),
        at(48.3, 0.0, 0.0, 0.0, 0.0),
        at(49.0, 0.0, 0.0, 0.0, 0.0),
        (Repository, "starmemda/CAMoE, issue 4"),
        None,
    ),
    row(
        (Emcl, "msrvtt", "EMCL-Net with dual softmax at inference (transductive)"),
        at(51.6, 0.0, 0.0, 0.0, 0.0),
        NONE,
        (SecondHand, "leaderboard copies"),
        EMCL_NET_DSL,
    ),
    row(
        (Emcl, "activitynet", "EMCL-Net with dual softmax at inference (transductive)"),
        at(50.6, 78.7, 0.0, 1.0, 0.0),
        NONE,
        (SecondHand, "leaderboard copies"),
        EMCL_NET_DSL,
    ),
    row(
        (Clip4clip, "msrvtt", "CLIP4Clip, mean pooling"),
        at(43.1, 70.4, 80.8, 0.0, 16.2),
        at(43.1, 70.5, 81.2, 0.0, 12.4),
        (SecondHand, ADAPTER),
        MEAN_POOLING,
    ),
    row(
        (Clip4clip, "msrvtt", "CLIP4Clip, temporal transformer"),
        at(44.5, 71.4, 81.6, 2.0, 15.3),
        at(42.7, 70.9, 80.6, 2.0, 11.6),
        (SecondHand, GARE),
        SEQ_TRANSF,
    ),
    row(
        (Clip4clip, "msvd", "CLIP4Clip, mean pooling"),
        at(46.2, 76.1, 84.6, 0.0, 10.0),
        at(56.6, 79.7, 84.3, 0.0, 7.6),
        (SecondHand, ADAPTER),
        MEAN_POOLING,
    ),
    row(
        (Clip4clip, "msvd", "CLIP4Clip, temporal transformer"),
        at(45.2, 75.5, 84.3, 2.0, 10.3),
        at(62.0, 87.3, 92.6, 0.0, 0.0),
        (SecondHand, GARE),
        SEQ_TRANSF,
    ),
    row(
        (Clip4clip, "lsmdc", "CLIP4Clip, head not said, as QB-Norm ran it"),
        at(21.3, 40.0, 49.5, 11.0, 0.0),
        NONE,
        (SecondHand, "QB-Norm's README"),
        SEQ_TRANSF,
    ),
    row(
        (Clip4clip, "didemo", "CLIP4Clip, mean pooling"),
        at(43.4, 70.2, 80.6, 2.0, 17.5),
        at(42.5, 70.6, 80.2, 0.0, 11.6),
        (SecondHand, ADAPTER),
        MEAN_POOLING,
    )
    .measured_on("1,003 clips"),
    row(
        (Clip4clip, "activitynet", "CLIP4Clip, head not said"),
        at(40.5, 72.4, 83.6, 2.0, 7.5),
        at(41.6, 72.3, 84.8, 0.0, 7.5),
        (SecondHand, GARE),
        SEQ_TRANSF,
    ),
    row(
        (Clip4clip, "vatex", "CLIP4Clip, head not said, HGR split, on val"),
        at(59.3, 89.6, 95.0, 0.0, 3.7),
        at(75.2, 96.9, 98.9, 0.0, 1.7),
        (SecondHand, ADAPTER),
        MEAN_POOLING,
    )
    .measured_on("val"),
    row(
        (Emcl, "msrvtt", "EMCL-Net, the paper's row"),
        at(46.8, 73.1, 83.1, 2.0, 12.8),
        at(46.5, 73.5, 83.5, 2.0, 8.8),
        (SecondHand, GARE),
        EMCL_NET,
    ),
    row(
        (Emcl, "msrvtt", "EMCL-Net, the repository, 2 devices"),
        at(47.0, 72.6, 83.0, 0.0, 13.6),
        NONE,
        (Repository, "jpthu17/EMCL, EMCL-Net README"),
        EMCL_NET,
    ),
    row(
        (Emcl, "msrvtt", "CLIP4Clip with frames pooled by the text, temperature 5, without EM"),
        at(44.8, 71.2, 81.1, 0.0, 15.2),
        at(42.3, 71.8, 82.5, 0.0, 10.1),
        (SecondHand, ADAPTER),
        None,
    ),
    row(
        (Emcl, "msrvtt", "EMCL-Net, the repository, 8 devices"),
        at(48.2, 74.7, 83.6, 2.0, 13.1),
        at(45.2, 74.3, 84.1, 2.0, 9.5),
        (Repository, "jpthu17/EMCL, a picture of a log"),
        EMCL_NET,
    ),
    row(
        (Emcl, "msrvtt", "CLIP2Video with EM at inference"),
        at(46.6, 72.7, 0.0, 0.0, 0.0),
        at(44.0, 72.3, 0.0, 0.0, 0.0),
        (Repository, "jpthu17/EMCL, README"),
        None,
    ),
    row(
        (Emcl, "msvd", "EMCL-Net"),
        at(42.1, 71.3, 81.1, 2.0, 17.6),
        at(54.3, 81.3, 88.1, 1.0, 5.6),
        (Repository, "jpthu17/EMCL, EMCL-Net README"),
        EMCL_NET,
    ),
    row(
        (Emcl, "didemo", "EMCL-Net"),
        at(46.8, 74.3, 83.1, 2.0, 12.3),
        at(45.0, 73.2, 82.7, 2.0, 9.0),
        (Repository, "jpthu17/EMCL, EMCL-Net README"),
        EMCL_NET,
    ),
    row(
        (Emcl, "activitynet", "EMCL-Net"),
        at(41.2, 0.0, 0.0, 0.0, 0.0),
        NONE,
        (SecondHand, "leaderboard copies"),
        EMCL_NET,
    ),
    row(
        (Camoe, "msrvtt", "CAMoE without dual softmax"),
        at(44.6, 72.6, 81.8, 2.0, 13.3),
        at(45.1, 72.4, 83.1, 2.0, 10.0),
        (SecondHand, TAME),
        CAMOE,
    ),
    row(
        (Camoe, "msrvtt", "CAMoE with dual softmax (transductive)"),
        at(47.3, 74.2, 84.5, 2.0, 11.9),
        at(49.1, 74.3, 84.3, 2.0, 9.9),
        (SecondHand, TAME),
        CAMOE_DSL,
    ),
    row(
        (Camoe, "msrvtt", "CAMoE with dual softmax, a later version (transductive)"),
        at(48.8, 0.0, 0.0, 0.0, 0.0),
        at(50.3, 0.0, 0.0, 0.0, 0.0),
        (Repository, "starmemda/CAMoE, README"),
        CAMOE_DSL,
    ),
    row(
        (Camoe, "msvd", "CAMoE without dual softmax"),
        at(46.9, 76.1, 0.0, 0.0, 9.8),
        NONE,
        (SecondHand, TAME),
        CAMOE,
    ),
    row(
        (Camoe, "msvd", "CAMoE with dual softmax (transductive)"),
        at(51.8, 0.0, 0.0, 0.0, 0.0),
        at(69.3, 0.0, 0.0, 0.0, 0.0),
        (Repository, "starmemda/CAMoE, README"),
        CAMOE_DSL,
    ),
    row((Camoe, "lsmdc", "CAMoE"), at(22.5, 42.6, 50.9, 0.0, 56.5), NONE, (SecondHand, TAME), CAMOE),
    row(
        (Camoe, "didemo", "CAMoE with dual softmax (transductive)"),
        at(43.8, 71.4, 0.0, 0.0, 0.0),
        at(45.5, 0.0, 0.0, 0.0, 0.0),
        (Repository, "starmemda/CAMoE, README; TAME's tables"),
        CAMOE_DSL,
    ),
    row(
        (Camoe, "activitynet", "CAMoE with dual softmax (transductive)"),
        at(51.0, 0.0, 0.0, 0.0, 0.0),
        at(49.9, 0.0, 0.0, 0.0, 0.0),
        (Repository, "starmemda/CAMoE, README"),
        CAMOE_DSL,
    ),
    row(
        (Ncl, "msrvtt", "CLIP4Clip with NCL"),
        at(43.9, 71.2, 81.5, 2.0, 15.5),
        at(44.9, 71.8, 80.7, 2.0, 12.8),
        (SecondHand, DREAM),
        NCL,
    ),
    row(
        (Ncl, "msvd", "CLIP4Clip with NCL"),
        at(47.8, 77.5, 85.9, 2.0, 9.9),
        at(69.6, 89.9, 95.4, 1.0, 3.3),
        (SecondHand, DREAM),
        NCL,
    ),
    row(
        (Ncl, "activitynet", "CLIP4Clip with NCL"),
        at(45.9, 76.8, 0.0, 2.0, 6.7),
        at(46.8, 76.5, 86.8, 2.0, 6.2),
        (SecondHand, DREAM),
        NCL,
    ),
    row(
        (SupportSet, "msrvtt", "Support-set, pretrained on HowTo100M; expert features, no CLIP"),
        at(30.1, 58.5, 69.3, 0.0, 0.0),
        at(28.5, 58.6, 71.6, 3.0, 0.0),
        (SecondHand, "VALOR's table; Socratic Models, appendix C.3"),
        None,
    ),
    row(
        (SupportSet, "msrvtt", "Support-set without pretraining; expert features, no CLIP"),
        at(27.4, 56.3, 67.7, 3.0, 0.0),
        at(26.6, 55.1, 67.5, 3.0, 0.0),
        (Unverified, "from memory"),
        None,
    ),
    row(
        (SupportSet, "activitynet", "Support-set, pretrained"),
        at(29.2, 61.6, 0.0, 0.0, 0.0),
        NONE,
        (SecondHand, "VALOR's table"),
        None,
    ),
    row(
        (SupportSet, "vatex", "Support-set, pretrained"),
        at(44.9, 82.1, 89.7, 0.0, 0.0),
        NONE,
        (SecondHand, "VALOR's and VAST's tables"),
        None,
    ),
];

/// The published rows of a paper on a benchmark.
pub fn of(paper: Paper, dataset: &str) -> Vec<&'static Published> {
    PUBLISHED.iter().filter(|row| row.paper == paper && row.dataset == dataset).collect()
}

/// Half of the 95 % band of a recall in per cent, from the queries alone: in points.
///
/// - `recall`: in per cent
/// - `queries`: above 0
pub fn acceptance(recall: f64, queries: usize) -> f64 {
    let share = (recall / 100.0).clamp(0.0, 1.0);
    1.96 * 100.0 * (share * (1.0 - share) / queries.max(1) as f64).sqrt()
}
