//! What can be wrong with a request to this crate; every message names the thing, its value and the mend.

/// Why a figure cannot be computed.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum MetricError {
    /// A matrix without rows or columns.
    #[error("the scores are [{texts}, {videos}]; both sides need at least one item")]
    Empty {
        /// Rows.
        texts: usize,
        /// Columns.
        videos: usize,
    },
    /// A matrix of another shape than the truth speaks of.
    #[error(
        "the scores are [{texts}, {videos}], but the truth has {expected_texts} texts and {expected_videos} \
         videos; rows are texts and columns are videos"
    )]
    Shape {
        /// Rows found.
        texts: usize,
        /// Columns found.
        videos: usize,
        /// Texts of the truth.
        expected_texts: usize,
        /// Videos of the truth.
        expected_videos: usize,
    },
    /// A truth over nothing.
    #[error("the groups are empty; give the video index of every text")]
    NoGroups,
    /// A group that cannot be, since every video needs a text.
    #[error(
        "groups[{text}] = {video}, but {texts} texts can name no video beyond {last}; video indices count from 0 \
         without holes"
    )]
    GroupRange {
        /// The text.
        text: usize,
        /// The video it names.
        video: usize,
        /// Number of texts.
        texts: usize,
        /// The largest index that could be right.
        last: usize,
    },
    /// A video that no text names.
    #[error(
        "video {video} of {videos} has no text in the groups; leave its column out and renumber the videos after it"
    )]
    GroupHole {
        /// The first such video.
        video: usize,
        /// Videos that the groups speak of.
        videos: usize,
    },
    /// A score that is NaN or infinite.
    #[error("scores[{row}, {column}] is {value}; {mend}")]
    NonFinite {
        /// Row of the first such cell.
        row: usize,
        /// Column of the first such cell.
        column: usize,
        /// NaN, inf or -inf.
        value: f32,
        /// What to do.
        mend: &'static str,
    },
    /// A number outside its domain.
    #[error("{name} = {value}, but it must be {domain}")]
    Setting {
        /// The setting.
        name: &'static str,
        /// What was given.
        value: f64,
        /// What would do.
        domain: &'static str,
    },
    /// A word that is not in the list.
    #[error("{name} = \"{value}\", but it must be one of {choices}")]
    Choice {
        /// The setting.
        name: &'static str,
        /// What was given.
        value: String,
        /// What would do.
        choices: &'static str,
    },
    /// Every query was dropped by [`crate::Ties::Reference`], so that there is nothing to average.
    #[error(
        "all {queries} queries have a NaN or infinite own score, and ties = reference drops those; mend the scores, or use ties = average"
    )]
    AllDropped {
        /// Number of queries.
        queries: usize,
    },
    /// Too few values for an interval.
    #[error("{what} has {found} values, but an interval needs at least {needed}")]
    TooFew {
        /// The sample.
        what: &'static str,
        /// Values given.
        found: usize,
        /// Values needed.
        needed: usize,
    },
    /// Two samples that should be paired have different lengths.
    #[error("{what}: {left} values against {right}; a pair needs the same queries on both sides")]
    Unpaired {
        /// The samples.
        what: &'static str,
        /// Length of the first.
        left: usize,
        /// Length of the second.
        right: usize,
    },
    /// A value of a sample that is NaN or infinite.
    #[error("{what}[{index}] is {value}; an interval needs finite values")]
    NonFiniteValue {
        /// The sample.
        what: &'static str,
        /// Index of the first such value.
        index: usize,
        /// NaN, inf or -inf.
        value: f64,
    },
    /// Two galleries where there should be one.
    #[error("{before} items before, {after} after; both must be the same gallery")]
    GalleryChanged {
        /// Items before.
        before: usize,
        /// Items after.
        after: usize,
    },
    /// No captions to judge.
    #[error("there are no candidate captions; give at least one")]
    NoCandidates,
    /// Candidates without their references.
    #[error("{candidates} candidate captions, but {references} lists of references; give one list for each")]
    CaptionCount {
        /// Candidates given.
        candidates: usize,
        /// Lists of references given.
        references: usize,
    },
    /// A candidate that nothing can be compared with.
    #[error("candidate {candidate} has no reference caption; give at least one")]
    NoReference {
        /// The candidate, from 0.
        candidate: usize,
    },
}
