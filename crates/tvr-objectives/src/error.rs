//! What can be wrong with a setting or a batch.

/// Why an objective could not be made, or a batch not be judged.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum ObjectiveError {
    /// A setting outside its domain.
    #[error("{objective}: {setting} = {value}, but it must be {domain}")]
    Setting {
        /// The objective, as recipes call it.
        objective: &'static str,
        /// The setting, as recipes call it.
        setting: &'static str,
        /// The value given.
        value: f64,
        /// What is allowed.
        domain: &'static str,
    },
    /// A part of a batch that does not fit another in its size.
    #[error("{what} is {found}, but it must be {expected}")]
    Size {
        /// Of what.
        what: &'static str,
        /// What it must be.
        expected: usize,
        /// What it is.
        found: usize,
    },
    /// Two parts of one batch that do not fit each other.
    #[error("{what} has {found} rows, but the batch has {expected}")]
    Rows {
        /// The part.
        what: &'static str,
        /// How many it should have.
        expected: usize,
        /// How many it has.
        found: usize,
    },
    /// A batch without texts or without videos.
    #[error("the batch has {texts} texts and {videos} videos; it needs at least one of each")]
    Empty {
        /// Number of texts.
        texts: usize,
        /// Number of videos.
        videos: usize,
    },
    /// A text that belongs to a video outside the batch.
    #[error("text {text} belongs to video {video}, but the batch has videos 0 to {last}")]
    Outside {
        /// Index of the text.
        text: usize,
        /// The index it names.
        video: i64,
        /// The largest index there is.
        last: usize,
    },
    /// The diagonal was asked for, but the matrix is not square.
    #[error(
        "positives = \"diagonal\" needs as many texts as videos, but the batch has {texts} and {videos}; use positives = \"same\""
    )]
    NotSquare {
        /// Number of texts.
        texts: usize,
        /// Number of videos.
        videos: usize,
    },
    /// A batch of too few videos for the objective.
    #[error(
        "the objective needs at least {least} videos in a batch, but there is {found}; raise train.batch"
    )]
    FewVideos {
        /// How many it needs.
        least: usize,
        /// How many there are.
        found: usize,
    },
    /// Two terms of a weighted sum that the log could not tell apart.
    #[error("weighted: two terms are called {name:?}; give one a name of its own")]
    SameName {
        /// The name.
        name: String,
    },
    /// A caption decoder whose blocks cannot be built.
    #[error("support-set: decoder: {source}")]
    Decoder {
        /// Which setting, and why.
        source: tvr_nn::NnError,
    },
    /// A term of a stream that wants more than similarities.
    #[error(
        "streams: a stream has similarities alone, so its term may keep no earlier items and read no captions; set queue = 0 and askers = \"batch\", or choose another objective for each"
    )]
    StreamTerm,
    /// An objective needs what the batch does not carry.
    #[error("the objective needs {what}, but the batch carries none")]
    Missing {
        /// What is missing.
        what: &'static str,
    },
}

/// A whole number above 0 and not beyond the most, or the error that names the setting; beyond it memory ends, or time.
///
/// - `most`: the largest value, and how a message says so
pub(crate) fn at_most(
    objective: &'static str,
    setting: &'static str,
    value: usize,
    (most, said): (usize, &'static str),
) -> Result<usize, ObjectiveError> {
    let domain = match value {
        0 => "a number above 0",
        value if value > most => said,
        value => return Ok(value),
    };
    Err(ObjectiveError::Setting { objective, setting, value: value as f64, domain })
}

/// The least number that scores are divided by: the quotient of a logit by a smaller one may be more than f32 holds, and
/// its share of a softmax NaN.
const LEAST_DIVISOR: f32 = 1e-20;

/// A number above 0 that scores can be divided by, or the error that names the setting.
pub(crate) fn divisor(
    objective: &'static str,
    setting: &'static str,
    value: f32,
) -> Result<f32, ObjectiveError> {
    let value = above_zero(objective, setting, value)?;
    if value >= LEAST_DIVISOR {
        return Ok(value);
    }
    Err(ObjectiveError::Setting {
        objective,
        setting,
        value: value.into(),
        domain: "a number of at least 1e-20",
    })
}

/// A finite number above 0, or the error that names the setting.
pub(crate) fn above_zero(
    objective: &'static str,
    setting: &'static str,
    value: f32,
) -> Result<f32, ObjectiveError> {
    if value.is_finite() && value > 0.0 {
        Ok(value)
    } else {
        Err(ObjectiveError::Setting { objective, setting, value: value.into(), domain: "a number above 0" })
    }
}
