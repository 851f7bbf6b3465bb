//! Ranks, recall, intervals and representation of text-video retrieval.
//!
//! A system is judged by one matrix: a score for every text and every video. This crate turns that matrix, and the
//! knowledge of which text belongs to which video, into the figures of a paper's table, and says how sure they are.
//!
//! The figures look simple and are not. Published code disagrees about ties (several captions of MSR-VTT 1k-A are the
//! same sentence), lets a NaN vanish from the average, and ranks a video with twenty captions in two ways. So each
//! choice here has a name: [`Ties`], [`NonFinite`], [`Rule`]. The defaults are those that no broken model gains by, and
//! `reference` counts as CLIP4Clip's code does, for comparison with its tables.
//!
//! Ranks come from counting what scores above the true item and what scores the same, both directions in one pass;
//! nothing is sorted. Intervals resample the queries (and the seeds), a claim is a paired comparison, and
//! [`Verdict`] wants two kinds of interval to agree.
//!
//! The crate must never know where scores come from: no model, no file, no normaliser, no printing.
//!
//! ```
//! use ndarray::array;
//! use tvr_metrics::{Policy, Ties, Truth, judge};
//!
//! // Rows are texts, columns are videos, the pairs are on the diagonal. Texts 0 and 1 are the same sentence.
//! let scores = array![[0.9, 0.8, 0.1], [0.9, 0.8, 0.1], [0.2, 0.1, 0.7]];
//! let truth = Truth::diagonal(3);
//! let average = judge(scores.view(), &truth, &Policy { cutoffs: vec![1], ..Policy::default() })?;
//! assert_eq!(average.text_to_video.recall_percent(1), Some(200.0 / 3.0));
//! // Videos 0 and 1 cannot tell their texts apart: each has found its own with probability one half.
//! assert_eq!(average.video_to_text.recall_percent(1), Some(200.0 / 3.0));
//!
//! let kind = Policy { ties: Ties::Optimistic, cutoffs: vec![1], ..Policy::default() };
//! assert_eq!(judge(scores.view(), &truth, &kind)?.video_to_text.recall_percent(1), Some(100.0));
//! # Ok::<(), tvr_metrics::MetricError>(())
//! ```
//!
//! | file | idea |
//! |---|---|
//! | `truth` | which text belongs to which video |
//! | `policy` | ties, scores that are no numbers, cut-offs |
//! | `count`, `ranks` | the pass over the matrix; ranks of one direction |
//! | `multi_caption` | several captions per video |
//! | `recall`, `judge` | the figures of a table; both directions in one call |
//! | `interval` | bootstrap, Student t, verdict |
//! | `hubness`, `representation` | who is retrieved too often |
//! | `caption` | BLEU and CIDEr of written captions |

mod caption;
mod count;
mod error;
mod hubness;
mod interval;
mod judge;
mod multi_caption;
mod policy;
mod ranks;
mod recall;
mod representation;
mod truth;

pub use caption::{Bleu, Cider, bleu, cider, words};
pub use error::MetricError;
pub use hubness::{Hubness, hubness};
pub use interval::{
    Interval, MARGIN_POINTS, Resampling, Verdict, bootstrap, clustered_bootstrap, hierarchical_bootstrap,
    is_within_margin, paired_bootstrap, paired_student, student_quantile,
};
pub use judge::{Judgement, judge};
pub use multi_caption::{Rule, video_to_text_best};
pub use policy::{Direction, NonFinite, Policy, Ties};
pub use ranks::{Ranks, ranks};
pub use recall::{Recall, Summary};
pub use representation::{Representation, RepresentationChange, representation};
pub use truth::Truth;
