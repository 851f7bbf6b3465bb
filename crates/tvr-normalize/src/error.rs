//! What can be wrong with a request: one enum, each variant with the facts a reader needs to mend it.

/// Why a normaliser refuses.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum NormalizeError {
    /// A setting outside its domain, or a value that is no number.
    #[error("{method}: {setting} = {value}, but it must be {domain}")]
    Setting {
        /// The normaliser.
        method: &'static str,
        /// The setting.
        setting: &'static str,
        /// The value as it was given.
        value: String,
        /// What the setting may be.
        domain: &'static str,
    },
    /// A name that no normaliser has.
    #[error("unknown normaliser \"{name}\"; {hint}")]
    UnknownMethod {
        /// The name as it was given.
        name: String,
        /// The nearest name, or all names.
        hint: Hint,
    },
    /// A setting that this normaliser does not have.
    #[error("{method}: unknown setting \"{setting}\"; {hint}")]
    UnknownSetting {
        /// The normaliser.
        method: &'static str,
        /// The setting as it was given.
        setting: String,
        /// The nearest name, or all names.
        hint: Hint,
    },
    /// A setting without a value.
    #[error("{method}: \"{setting}\" has no value; write {setting}=VALUE")]
    NoValue {
        /// The normaliser.
        method: &'static str,
        /// The text where `setting=value` was expected.
        setting: String,
    },
    /// A setting that stands twice in one spec.
    #[error("{method}: {setting} is given twice; keep one")]
    Twice {
        /// The normaliser.
        method: &'static str,
        /// The setting.
        setting: &'static str,
    },
    /// A block of scores without rows or without columns.
    #[error(
        "{method}: {block} of shape [{queries}, {gallery}], but at least one row and one column are needed"
    )]
    Empty {
        /// The normaliser.
        method: &'static str,
        /// Which block of scores.
        block: &'static str,
        /// Its rows.
        queries: usize,
        /// Its columns.
        gallery: usize,
    },
    /// A score that is NaN or infinite, with its place.
    #[error("{block}[{row}, {column}] is {value}; every score must be finite")]
    NotFinite {
        /// Which block of scores.
        block: &'static str,
        /// Its row, from 0.
        row: usize,
        /// Its column, from 0.
        column: usize,
        /// The value found, printed.
        value: String,
    },
    /// A bank that scores another gallery.
    #[error(
        "{method}: the {bank} has {found} columns, the scores have {expected}; both must score the same gallery"
    )]
    BankWidth {
        /// The normaliser.
        method: &'static str,
        /// Which bank.
        bank: &'static str,
        /// Its columns.
        found: usize,
        /// Columns of the test scores.
        expected: usize,
    },
    /// A bank's own gallery with other bank queries.
    #[error(
        "{method}: the bank's gallery has {found} rows, the query bank has {expected}; both must hold the same bank queries"
    )]
    BankRows {
        /// The normaliser.
        method: &'static str,
        /// Its rows.
        found: usize,
        /// Rows of the query bank.
        expected: usize,
    },
    /// Weights of other queries.
    #[error("{method}: {found} weights for {expected} queries; give one for each")]
    WeightCount {
        /// The normaliser.
        method: &'static str,
        /// Weights given.
        found: usize,
        /// Test queries.
        expected: usize,
    },
    /// A weight that is no number above 0.
    #[error("{method}: the weight of query {query} is {value}, but it must be a number above 0")]
    Weight {
        /// The normaliser.
        method: &'static str,
        /// The query, from 0.
        query: usize,
        /// Its weight.
        value: f32,
    },
    /// Test scores of another gallery than the banks.
    #[error(
        "the method was prepared on a gallery of {expected} items, these scores have {found}; prepare it again"
    )]
    GalleryChanged {
        /// Columns found.
        found: usize,
        /// Columns it was prepared on.
        expected: usize,
    },
    /// A bank that the normaliser cannot do without.
    #[error("{method}: there is no {bank}, and it needs one; give {}", bank_holds(bank))]
    BankMissing {
        /// The normaliser.
        method: &'static str,
        /// Which bank.
        bank: &'static str,
    },
    /// One query and no bank, where the result would be meaningless.
    #[error("{method}: one query and no query bank: {reason}; give a query bank or more queries")]
    LonelyQuery {
        /// The normaliser.
        method: &'static str,
        /// What would happen.
        reason: &'static str,
    },
    /// A `k` above the number of items it selects from.
    #[error("{method}: k = {k}, but there are only {available} {items}; lower k or give more")]
    TooFew {
        /// The normaliser.
        method: &'static str,
        /// The setting.
        k: usize,
        /// How many there are.
        available: usize,
        /// Of what.
        items: &'static str,
    },
    /// A marginal that is not above 0 and finite.
    #[error("sinkhorn: {marginal} marginal [{index}] = {value}, but it must be a number above 0")]
    Marginal {
        /// `query` or `gallery`.
        marginal: &'static str,
        /// Which entry, from 0.
        index: usize,
        /// The entry.
        value: f64,
    },
    /// A marginal of another length than the scores.
    #[error("sinkhorn: the {marginal} marginal has {found} entries, the scores have {expected}")]
    MarginalLength {
        /// `query` or `gallery`.
        marginal: &'static str,
        /// Its entries.
        found: usize,
        /// What the scores ask for.
        expected: usize,
    },
    /// Embeddings of two widths.
    #[error(
        "the queries have width {queries}, the gallery has width {gallery}; both must come from one space"
    )]
    EmbeddingWidth {
        /// Width of the query embeddings.
        queries: usize,
        /// Width of the gallery embeddings.
        gallery: usize,
    },
    /// A chain of several steps, asked to work without the matrix.
    #[error(
        "{chain} works on a matrix only, because each step reads what the one before it made; apply it to scores"
    )]
    ChainNeedsMatrix {
        /// The chain.
        chain: String,
    },
    /// A step whose own blocks the steps before it do not touch.
    #[error(
        "{step} cannot follow {before}: {before} leaves the bank's own gallery as it is, so the two halves are not comparable; put {step} first"
    )]
    NotFirst {
        /// The step refused.
        step: &'static str,
        /// The first step that changes scores.
        before: &'static str,
    },
    /// No specs to choose among.
    #[error("there is no setting to choose; give at least one")]
    NothingToChoose,
    /// A figure to choose by that is no number.
    #[error("{spec} has the figure {value} on val; it must be a number")]
    BadFigure {
        /// The candidate.
        spec: String,
        /// Its figure, printed.
        value: String,
    },
    /// A step that compares rows, after one that leaves rows on different scales.
    #[error(
        "{step} cannot follow {before}: {before} leaves some rows raw, so rows are not comparable; put {step} first"
    )]
    MixedRows {
        /// The step refused.
        step: &'static str,
        /// The step before it.
        before: &'static str,
    },
}

/// What a bank of this name holds.
fn bank_holds(bank: &str) -> &'static str {
    match bank {
        "gallery bank" => "training gallery items scored against the same gallery",
        "bank's gallery" => "the bank queries scored against training gallery items",
        _ => "training queries scored against the same gallery",
    }
}

/// The mend of an unknown name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Hint {
    /// One name is near.
    Nearest(&'static str),
    /// None is near: these are all.
    All(Vec<&'static str>),
    /// There is nothing to choose from.
    Nothing,
}

impl Hint {
    /// The nearest of `names`, or all of them when none resembles `name`.
    pub(crate) fn among(name: &str, names: &[&'static str]) -> Self {
        // One slip of the finger is near, however short the name.
        let near = |candidate: &&str| match strsim::damerau_levenshtein(name, candidate) {
            0 | 1 => 1_000_000,
            _ => (strsim::jaro_winkler(name, candidate) * 1e6) as u32,
        };
        match names.iter().copied().max_by_key(|candidate| near(candidate)) {
            None => Self::Nothing,
            Some(best) if near(&best) >= 780_000 => Self::Nearest(best),
            Some(_) => Self::All(names.to_vec()),
        }
    }
}

impl std::fmt::Display for Hint {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Nearest(name) => write!(f, "did you mean \"{name}\"?"),
            Self::All(names) => write!(f, "there are {}", names.join(", ")),
            Self::Nothing => write!(f, "it has no settings"),
        }
    }
}

/// `value` if it is finite and above 0.
pub(crate) fn above_zero(
    method: &'static str,
    setting: &'static str,
    value: f32,
) -> Result<f32, NormalizeError> {
    if value.is_finite() && value > 0.0 {
        return Ok(value);
    }
    Err(NormalizeError::Setting { method, setting, value: value.to_string(), domain: "a number above 0" })
}

/// `value` if it is at least 1.
pub(crate) fn at_least_one(
    method: &'static str,
    setting: &'static str,
    value: usize,
) -> Result<usize, NormalizeError> {
    if value > 0 {
        return Ok(value);
    }
    Err(NormalizeError::Setting {
        method,
        setting,
        value: value.to_string(),
        domain: "a whole number of at least 1",
    })
}

/// `value` if it is from 1 to 10,000; more would not end in any time that one waits.
pub(crate) fn iterations(method: &'static str, value: usize) -> Result<usize, NormalizeError> {
    match at_least_one(method, "iterations", value)? {
        value if value <= 10_000 => Ok(value),
        value => Err(NormalizeError::Setting {
            method,
            setting: "iterations",
            value: value.to_string(),
            domain: "at most 10,000",
        }),
    }
}
