//! The one table of normalisers: names, settings, defaults; and the specs that choose among them.

use crate::error::NormalizeError;
use crate::prepared::{Prepared, Sources};
use crate::scores::{Normalizer, Regime, Scores, Warning};
use crate::top::{GALLERY, enough};
use crate::{
    Csls, Dbsn, DualBank, DualSoftmax, InvertedSoftmax, Mutual, Nnn, QbNorm, Raw, Rows, SingleQuery, Sinkhorn,
};
use ndarray::{Array1, Array2};
use serde::{Deserialize, Serialize};

/// Any built-in normaliser, read from a spec `name[:setting=value[,setting=value]...]`.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
#[non_exhaustive]
pub enum Family {
    /// `raw`
    Raw(Raw),
    /// `dual-softmax:temperature=1,prior=own`
    DualSoftmax(DualSoftmax),
    /// `mutual:temperature=1`
    Mutual(Mutual),
    /// `inverted-softmax:temperature=1`
    InvertedSoftmax(InvertedSoftmax),
    /// `sinkhorn:tau=1,iterations=50,start=row`; `tol=...` stops early
    Sinkhorn(Sinkhorn),
    /// `single-query:tau=1,iterations=20,start=cold`
    SingleQuery(SingleQuery),
    /// `dbsn:tau=0.01,iterations=50`
    Dbsn(Dbsn),
    /// `csls:k=10`
    Csls(Csls),
    /// `nnn:k=128,alpha=0.75`
    Nnn(Nnn),
    /// `qb-norm:temperature=0.05,k=1,threshold=1`
    QbNorm(QbNorm),
    /// `dual-bank:temperature=0.05,gallery_temperature=0.5,rows=all`; `rows=active` has `k=1`
    DualBank(DualBank),
}

/// A row of [`Family::ALL`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The name in specs.
    pub name: &'static str,
    /// What it does, in one line.
    pub summary: &'static str,
    /// Its settings in the order of the spec.
    pub settings: &'static [SettingEntry],
    /// Its regime without a bank; `None` if it refuses to work without one.
    pub without_bank: Option<Regime>,
    /// Its regime with the banks it asks for.
    pub with_bank: Regime,
    /// Whether it reduces to one number per gallery item ([`Normalizer::bias`]).
    pub bias_form: bool,
}

/// A setting of a normaliser.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SettingEntry {
    /// The name in specs.
    pub name: &'static str,
    /// The value when the spec does not say; empty if the setting is then off.
    pub default: &'static str,
    /// What it may be.
    pub domain: &'static str,
}

const POSITIVE: &str = "a number above 0";
const COUNT: &str = "a whole number of at least 1";
const STARTS: &str = "row or column";
const WARM_STARTS: &str = "cold or bank";
const PRIORS: &str = "own, shared or videos";
const ROWS: &str = "all or active";
const TRANSDUCTIVE: Option<Regime> = Some(Regime::Transductive);

const fn setting(name: &'static str, default: &'static str, domain: &'static str) -> SettingEntry {
    SettingEntry { name, default, domain }
}

const fn entry(
    name: &'static str,
    summary: &'static str,
    settings: &'static [SettingEntry],
    without_bank: Option<Regime>,
    bias_form: bool,
) -> Entry {
    Entry { name, summary, settings, without_bank, with_bank: Regime::Bank, bias_form }
}

const TEMPERATURE: &[SettingEntry] = &[setting("temperature", "1", POSITIVE)];

impl Family {
    /// Every normaliser with its settings. Temperatures are in the unit of the scores.
    pub const ALL: &'static [Entry] = &[
        Entry {
            with_bank: Regime::Raw,
            ..entry("raw", "the scores as they are", &[], Some(Regime::Raw), true)
        },
        entry(
            "dual-softmax",
            "score times its share among all queries of the item (DSL); positive scores only",
            &[setting("temperature", "1", POSITIVE), setting("prior", "own", PRIORS)],
            TRANSDUCTIVE,
            false,
        ),
        entry("mutual", "share along the column times share along the row", TEMPERATURE, TRANSDUCTIVE, false),
        entry(
            "inverted-softmax",
            "score minus the item's log-sum-exp over all queries",
            TEMPERATURE,
            TRANSDUCTIVE,
            true,
        ),
        entry(
            "sinkhorn",
            "biases that make every item wanted equally (NCL)",
            &[
                setting("tau", "1", POSITIVE),
                setting("iterations", "50", COUNT),
                setting("start", "row", STARTS),
                setting("tol", "", POSITIVE),
            ],
            TRANSDUCTIVE,
            true,
        ),
        entry(
            "single-query",
            "sinkhorn for each query alone with the bank",
            &[
                setting("tau", "1", POSITIVE),
                setting("iterations", "20", COUNT),
                setting("start", "cold", WARM_STARTS),
            ],
            None,
            false,
        ),
        entry(
            "dbsn",
            "sinkhorn on a bank whose queries also have a gallery of their own",
            &[setting("tau", "0.01", POSITIVE), setting("iterations", "50", COUNT)],
            None,
            true,
        ),
        entry(
            "csls",
            "twice the score minus the mean of each side's k nearest",
            &[setting("k", "10", COUNT)],
            TRANSDUCTIVE,
            true,
        ),
        entry(
            "nnn",
            "score minus alpha times the mean of the item's k nearest bank queries",
            &[setting("k", "128", COUNT), setting("alpha", "0.75", "a number of at least 0")],
            None,
            true,
        ),
        entry(
            "qb-norm",
            "inverted softmax for queries whose winner is a hub of the bank, raw for the others",
            &[
                setting("temperature", "0.05", POSITIVE),
                setting("k", "1", COUNT),
                setting("threshold", "1", COUNT),
            ],
            None,
            false,
        ),
        entry(
            "dual-bank",
            "inverted softmax over a query bank and a gallery bank (DualIS; rows=active is DualDIS)",
            &[
                setting("temperature", "0.05", POSITIVE),
                setting("gallery_temperature", "0.5", POSITIVE),
                setting("rows", "all", ROWS),
                setting("k", "1", COUNT),
            ],
            None,
            true,
        ),
    ];

    /// The row of this normaliser in [`Family::ALL`].
    pub fn entry(&self) -> Option<&'static Entry> {
        Self::ALL.iter().find(|entry| entry.name == self.name())
    }

    /// Whether its rows are comparable within themselves only, because some of them are left raw.
    pub fn mixes_rows(&self) -> bool {
        match self {
            Self::QbNorm(_) => true,
            Self::DualBank(method) => method.rows() == Rows::Active,
            _ => false,
        }
    }

    /// Whether its results have the unit of the scores, so that they are logits where the scores are: not twice the scores,
    /// no shares, and no scores times shares.
    pub fn keeps_unit(&self) -> bool {
        match self {
            Self::DualSoftmax(_) | Self::Mutual(_) | Self::Csls(_) => false,
            Self::DualBank(method) => method.rows() == Rows::All,
            _ => true,
        }
    }

    /// What scores are divided by before they weigh; `None` without such a setting.
    fn temperature(&self) -> Option<f32> {
        match self {
            Self::DualSoftmax(method) => Some(method.temperature()),
            Self::Mutual(method) => Some(method.temperature()),
            Self::InvertedSoftmax(method) => Some(method.temperature()),
            Self::Sinkhorn(method) => Some(method.tau()),
            Self::SingleQuery(method) => Some(method.tau()),
            Self::Dbsn(method) => Some(method.tau()),
            Self::QbNorm(method) => Some(method.temperature()),
            Self::DualBank(method) => Some(method.temperature()),
            Self::Raw(_) | Self::Csls(_) | Self::Nnn(_) => None,
        }
    }

    /// Whether a bank, or the test where there is none, of so many queries and gallery items holds as many as are
    /// selected among them: what can be said before there are scores.
    ///
    /// # Errors
    /// [`NormalizeError::TooFew`]
    pub fn check_counts(&self, queries: usize, gallery: usize) -> Result<(), NormalizeError> {
        match self {
            Self::Csls(method) => method.enough(queries, gallery),
            Self::Nnn(method) => method.enough(queries),
            Self::QbNorm(method) => enough(method.name(), method.k(), gallery, GALLERY),
            Self::DualBank(method) => enough(method.name(), method.k(), gallery, GALLERY),
            _ => Ok(()),
        }
    }

    fn inner(&self) -> &dyn Normalizer {
        match self {
            Self::Raw(method) => method,
            Self::DualSoftmax(method) => method,
            Self::Mutual(method) => method,
            Self::InvertedSoftmax(method) => method,
            Self::Sinkhorn(method) => method,
            Self::SingleQuery(method) => method,
            Self::Dbsn(method) => method,
            Self::Csls(method) => method,
            Self::Nnn(method) => method,
            Self::QbNorm(method) => method,
            Self::DualBank(method) => method,
        }
    }
}

impl Normalizer for Family {
    fn name(&self) -> &'static str {
        self.inner().name()
    }

    fn regime(&self, scores: &Scores) -> Regime {
        self.inner().regime(scores)
    }

    fn prepare<'a>(&self, sources: &Sources<'a>) -> Result<Prepared<'a>, NormalizeError> {
        self.inner().prepare(sources)
    }

    fn apply_with_bias(&self, scores: &Scores) -> Result<(Array2<f32>, Option<Array1<f32>>), NormalizeError> {
        self.inner().apply_with_bias(scores)
    }

    fn warnings(&self, scores: &Scores) -> Vec<Warning> {
        let mut warnings = self.inner().warnings(scores);
        if let Some(temperature) = self.temperature() {
            warnings.extend(Warning::of_flat(self.name(), temperature, scores));
        }
        warnings
    }
}
