//! The one table of normalisers: names, settings, defaults; and the specs that choose among them.

use crate::error::{Hint, NormalizeError};
use crate::scores::{Normalizer, Regime, Scores, Warning};
use crate::{Csls, DualSoftmax, InvertedSoftmax, Mutual, Nnn, QbNorm, Raw, Sinkhorn, Start};
use ndarray::{Array1, Array2};
use serde::{Deserialize, Serialize};
use std::str::FromStr;

/// Any built-in normaliser, read from a spec `name[:setting=value[,setting=value]...]`.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
#[non_exhaustive]
pub enum Family {
    /// `raw`
    Raw(Raw),
    /// `dual-softmax:temperature=1`
    DualSoftmax(DualSoftmax),
    /// `mutual:temperature=1`
    Mutual(Mutual),
    /// `inverted-softmax:temperature=1`
    InvertedSoftmax(InvertedSoftmax),
    /// `sinkhorn:tau=1,iterations=50,start=row`; `tol=...` stops early
    Sinkhorn(Sinkhorn),
    /// `csls:k=10`
    Csls(Csls),
    /// `nnn:k=128,alpha=0.75`
    Nnn(Nnn),
    /// `qb-norm:temperature=0.05,k=1,threshold=1`
    QbNorm(QbNorm),
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
    /// Its regime without a query bank; `None` if it refuses to work without one.
    pub without_bank: Option<Regime>,
    /// Its regime with a query bank.
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
            TEMPERATURE,
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
    ];

    /// The row of this normaliser in [`Family::ALL`].
    pub fn entry(&self) -> Option<&'static Entry> {
        Self::ALL.iter().find(|entry| entry.name == self.name())
    }

    fn inner(&self) -> &dyn Normalizer {
        match self {
            Self::Raw(method) => method,
            Self::DualSoftmax(method) => method,
            Self::Mutual(method) => method,
            Self::InvertedSoftmax(method) => method,
            Self::Sinkhorn(method) => method,
            Self::Csls(method) => method,
            Self::Nnn(method) => method,
            Self::QbNorm(method) => method,
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

    fn apply(&self, scores: &Scores) -> Result<Array2<f32>, NormalizeError> {
        self.inner().apply(scores)
    }

    fn bias(&self, scores: &Scores) -> Result<Option<Array1<f32>>, NormalizeError> {
        self.inner().bias(scores)
    }

    fn warnings(&self, scores: &Scores) -> Vec<Warning> {
        self.inner().warnings(scores)
    }
}

/// The settings of one spec: those given, over the table's defaults.
struct Settings<'a> {
    entry: &'static Entry,
    given: Vec<(&'static str, &'a str)>,
}

impl<'a> Settings<'a> {
    fn read(entry: &'static Entry, text: Option<&'a str>) -> Result<Self, NormalizeError> {
        let method = entry.name;
        let mut given = Vec::new();
        for part in text.into_iter().flat_map(|text| text.split(',')).map(str::trim) {
            let name = part.split_once('=').map_or(part, |(name, _)| name.trim());
            let Some(setting) = entry.settings.iter().find(|setting| setting.name == name) else {
                let names: Vec<_> = entry.settings.iter().map(|setting| setting.name).collect();
                let hint = Hint::among(name, &names);
                return Err(NormalizeError::UnknownSetting { method, setting: name.to_owned(), hint });
            };
            let Some((_, value)) = part.split_once('=').filter(|(_, value)| !value.trim().is_empty()) else {
                return Err(NormalizeError::NoValue { method, setting: name.to_owned() });
            };
            if given.iter().any(|(other, _)| *other == setting.name) {
                return Err(NormalizeError::Twice { method, setting: setting.name });
            }
            given.push((setting.name, value.trim()));
        }
        Ok(Self { entry, given })
    }

    /// The value of a setting, or `None` where it is off.
    fn find<T: FromStr>(&self, name: &'static str) -> Result<Option<T>, NormalizeError> {
        let row = self.entry.settings.iter().find(|setting| setting.name == name);
        let (default, domain) = row.map_or(("", ""), |row| (row.default, row.domain));
        let given = self.given.iter().find(|(given, _)| *given == name);
        let text = given.map_or(default, |(_, value)| value);
        if text.is_empty() {
            return Ok(None);
        }
        text.parse().map(Some).map_err(|_| self.refuse(name, text, domain))
    }

    fn get<T: FromStr>(&self, name: &'static str) -> Result<T, NormalizeError> {
        self.find(name)?.ok_or_else(|| self.refuse(name, "", "given"))
    }

    fn refuse(&self, setting: &'static str, value: &str, domain: &'static str) -> NormalizeError {
        NormalizeError::Setting { method: self.entry.name, setting, value: value.to_owned(), domain }
    }
}

impl FromStr for Family {
    type Err = NormalizeError;

    fn from_str(spec: &str) -> Result<Self, NormalizeError> {
        let (name, text) = match spec.trim().split_once(':') {
            Some((name, text)) => (name.trim(), Some(text)),
            None => (spec.trim(), None),
        };
        let Some(entry) = Self::ALL.iter().find(|entry| entry.name == name) else {
            let names: Vec<_> = Self::ALL.iter().map(|entry| entry.name).collect();
            return Err(NormalizeError::UnknownMethod {
                name: name.to_owned(),
                hint: Hint::among(name, &names),
            });
        };
        let of = Settings::read(entry, text)?;
        Ok(match name {
            "dual-softmax" => Self::DualSoftmax(DualSoftmax::new(of.get("temperature")?)?),
            "mutual" => Self::Mutual(Mutual::new(of.get("temperature")?)?),
            "inverted-softmax" => Self::InvertedSoftmax(InvertedSoftmax::new(of.get("temperature")?)?),
            "sinkhorn" => {
                let start = match of.get::<String>("start")?.as_str() {
                    "row" => Start::Row,
                    "column" => Start::Column,
                    other => return Err(of.refuse("start", other, STARTS)),
                };
                let plain = Sinkhorn::new(of.get("tau")?, of.get("iterations")?)?.with_start(start);
                Self::Sinkhorn(match of.find("tol")? {
                    Some(tol) => plain.with_tol(tol)?,
                    None => plain,
                })
            }
            "csls" => Self::Csls(Csls::new(of.get("k")?)?),
            "nnn" => Self::Nnn(Nnn::new(of.get("k")?, of.get("alpha")?)?),
            "qb-norm" => {
                Self::QbNorm(QbNorm::new(of.get("temperature")?, of.get("k")?, of.get("threshold")?)?)
            }
            _ => Self::Raw(Raw),
        })
    }
}

impl TryFrom<String> for Family {
    type Error = NormalizeError;

    fn try_from(spec: String) -> Result<Self, NormalizeError> {
        spec.parse()
    }
}

impl From<Family> for String {
    fn from(family: Family) -> Self {
        family.to_string()
    }
}

/// The spec that reads back as this normaliser; `start` and `tol` stand only where they are not the default.
impl std::fmt::Display for Family {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())?;
        match self {
            Self::Raw(_) => Ok(()),
            Self::DualSoftmax(m) => write!(f, ":temperature={}", m.temperature()),
            Self::Mutual(m) => write!(f, ":temperature={}", m.temperature()),
            Self::InvertedSoftmax(m) => write!(f, ":temperature={}", m.temperature()),
            Self::Sinkhorn(m) => {
                write!(f, ":tau={},iterations={}", m.tau(), m.iterations())?;
                if m.start() == Start::Column {
                    f.write_str(",start=column")?;
                }
                m.tol().map_or(Ok(()), |tol| write!(f, ",tol={tol}"))
            }
            Self::Csls(m) => write!(f, ":k={}", m.k()),
            Self::Nnn(m) => write!(f, ":k={},alpha={}", m.k(), m.alpha()),
            Self::QbNorm(m) => {
                write!(f, ":temperature={},k={},threshold={}", m.temperature(), m.k(), m.threshold())
            }
        }
    }
}
