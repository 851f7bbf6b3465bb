//! What can be wrong with a setting or with features.

use tvr_nn::NnError;

/// Why a head could not be made, or features not be coded.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum HeadError {
    /// A setting outside its domain.
    #[error("{head}: {setting} = {value}, but it must be {domain}")]
    Setting {
        /// The head, as recipes call it.
        head: &'static str,
        /// The setting, as recipes call it.
        setting: &'static str,
        /// The value given.
        value: f64,
        /// What is allowed.
        domain: &'static str,
    },
    /// Settings that are fine one by one and not together.
    #[error("{head}: {settings}; {mend}")]
    Together {
        /// The head, as recipes call it.
        head: &'static str,
        /// The settings, and why they do not fit.
        settings: &'static str,
        /// What to set instead.
        mend: &'static str,
    },
    /// A block of a temporal head that cannot be built.
    #[error("{head}: {cause}")]
    Block {
        /// The head, as recipes call it.
        head: &'static str,
        /// What is wrong with the block.
        cause: NnError,
    },
    /// Two tensors of one item set that do not fit each other.
    #[error("{what} is {found:?}, but {expected:?} is needed")]
    Shape {
        /// The tensor.
        what: &'static str,
        /// The shape that would fit.
        expected: Vec<usize>,
        /// The shape it has.
        found: Vec<usize>,
    },
    /// An item of which every step is masked: nothing is known of it.
    #[error("{what} {item} has no real step: its mask is false everywhere; leave it out")]
    AllMasked {
        /// What kind of item: "video", "text", "expert".
        what: &'static str,
        /// Its index in the batch.
        item: usize,
    },
    /// A value that is NaN or infinite where the mask says it is real.
    #[error("{what} {item} has a value that is NaN or infinite")]
    NotFinite {
        /// What kind of item.
        what: &'static str,
        /// Its index in the batch.
        item: usize,
    },
    /// Nothing to work on.
    #[error("there are no {what}; at least one is needed")]
    Empty {
        /// What is absent.
        what: &'static str,
    },
    /// Codes that were not made by one head.
    #[error("the parts hold different tensors; codes that are joined must come from one head")]
    Parts,
    /// More frames than a head has positions for.
    #[error(
        "a video has {frames} frames, but the head was made for at most {most}; raise max_frames or sample fewer"
    )]
    TooManyFrames {
        /// Number of frames.
        frames: usize,
        /// Number of positions.
        most: usize,
    },
    /// A name that a list holds twice.
    #[error("{head}: {name:?} is listed twice; list it once")]
    Twice {
        /// The head, as recipes call it.
        head: &'static str,
        /// The name.
        name: String,
    },
    /// An expert whose features have another width than the head was made for.
    #[error(
        "the expert {name:?} is {found} wide, but the head was made for {expected}; set its width to {found}"
    )]
    ExpertWidth {
        /// The expert.
        name: String,
        /// The width that the head was made for.
        expected: usize,
        /// The width of the features.
        found: usize,
    },
    /// A head needs what the features do not carry.
    #[error("the head needs {what}, but the features carry none")]
    Missing {
        /// What is missing.
        what: String,
    },
}

/// A whole number above 0, or the error that names the setting.
pub(crate) fn at_least_one(
    head: &'static str,
    setting: &'static str,
    value: usize,
) -> Result<usize, HeadError> {
    if value > 0 {
        Ok(value)
    } else {
        Err(HeadError::Setting { head, setting, value: 0.0, domain: "a number above 0" })
    }
}

/// The largest sizes that a head takes, and how a message says so. Beyond them memory ends, or time: no experiment needs
/// as much.
pub(crate) const WIDEST: Most = Most(65_536, "at most 65,536");
pub(crate) const DEEPEST: Most = Most(1_024, "at most 1,024");
pub(crate) const LONGEST: Most = Most(65_536, "at most 65,536"); // frames, positions
pub(crate) const OFTENEST: Most = Most(10_000, "at most 10,000"); // iterations

/// A largest value, and its words.
pub(crate) struct Most(usize, &'static str);

/// A whole number above 0 and not beyond the most, or the error that names the setting.
pub(crate) fn at_most(
    head: &'static str,
    setting: &'static str,
    value: usize,
    Most(most, domain): Most,
) -> Result<usize, HeadError> {
    match at_least_one(head, setting, value)? {
        value if value <= most => Ok(value),
        value => Err(HeadError::Setting { head, setting, value: value as f64, domain }),
    }
}

/// The least number that products of features are divided by: the quotient by a smaller one may be more than f32 holds,
/// and its share of a softmax NaN.
const LEAST_DIVISOR: f64 = 1e-20;

/// A number above 0 that products can be divided by, or the error that names the setting.
pub(crate) fn divisor(head: &'static str, setting: &'static str, value: f64) -> Result<f64, HeadError> {
    let domain = match value {
        value if !(value.is_finite() && value > 0.0) => "a number above 0",
        value if value < LEAST_DIVISOR => "a number of at least 1e-20",
        value => return Ok(value),
    };
    Err(HeadError::Setting { head, setting, value, domain })
}
