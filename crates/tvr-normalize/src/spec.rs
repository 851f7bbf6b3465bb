//! Specs: `name[:setting=value[,setting=value]...]`, read and written.

use crate::error::{Hint, NormalizeError};
use crate::family::{Entry, Family};
use crate::scores::Normalizer;
use crate::{
    Csls, Dbsn, DualBank, DualSoftmax, InvertedSoftmax, Mutual, Nnn, Prior, QbNorm, Raw, Rows, SingleQuery,
    Sinkhorn, Start, WarmStart,
};
use std::str::FromStr;

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

    /// The value of a setting that is one of some words.
    fn word<T: Copy>(&self, name: &'static str, words: &[(&str, T)]) -> Result<T, NormalizeError> {
        let given: String = self.get(name)?;
        let row = self.entry.settings.iter().find(|setting| setting.name == name);
        match words.iter().find(|(word, _)| *word == given) {
            Some((_, value)) => Ok(*value),
            None => Err(self.refuse(name, &given, row.map_or("", |row| row.domain))),
        }
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
            "dual-softmax" => {
                let prior = of.word(
                    "prior",
                    &[("own", Prior::Own), ("shared", Prior::Shared), ("videos", Prior::Videos)],
                )?;
                Self::DualSoftmax(DualSoftmax::new(of.get("temperature")?)?.with_prior(prior))
            }
            "mutual" => Self::Mutual(Mutual::new(of.get("temperature")?)?),
            "inverted-softmax" => Self::InvertedSoftmax(InvertedSoftmax::new(of.get("temperature")?)?),
            "sinkhorn" => {
                let start = of.word("start", &[("row", Start::Row), ("column", Start::Column)])?;
                let plain = Sinkhorn::new(of.get("tau")?, of.get("iterations")?)?.with_start(start);
                Self::Sinkhorn(match of.find("tol")? {
                    Some(tol) => plain.with_tol(tol)?,
                    None => plain,
                })
            }
            "single-query" => {
                let start = of.word("start", &[("cold", WarmStart::Cold), ("bank", WarmStart::Bank)])?;
                Self::SingleQuery(SingleQuery::new(of.get("tau")?, of.get("iterations")?)?.with_start(start))
            }
            "dbsn" => Self::Dbsn(Dbsn::new(of.get("tau")?, of.get("iterations")?)?),
            "csls" => Self::Csls(Csls::new(of.get("k")?)?),
            "nnn" => Self::Nnn(Nnn::new(of.get("k")?, of.get("alpha")?)?),
            "qb-norm" => {
                Self::QbNorm(QbNorm::new(of.get("temperature")?, of.get("k")?, of.get("threshold")?)?)
            }
            "dual-bank" => {
                let both = DualBank::new(of.get("temperature")?, of.get("gallery_temperature")?)?;
                let k = of.get("k")?;
                match of.word("rows", &[("all", Rows::All), ("active", Rows::Active)])? {
                    Rows::Active => Self::DualBank(both.dynamic(k)?),
                    Rows::All if k == 1 => Self::DualBank(both),
                    Rows::All => {
                        return Err(of.refuse(
                            "k",
                            &k.to_string(),
                            "1 unless rows=active, which asks for it",
                        ));
                    }
                }
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

/// The spec that reads back as this normaliser; words and `tol` stand only where they are not
/// the default.
impl std::fmt::Display for Family {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())?;
        match self {
            Self::Raw(_) => Ok(()),
            Self::DualSoftmax(m) => {
                write!(f, ":temperature={}", m.temperature())?;
                f.write_str(match m.prior() {
                    Prior::Own => "",
                    Prior::Shared => ",prior=shared",
                    Prior::Videos => ",prior=videos",
                })
            }
            Self::Mutual(m) => write!(f, ":temperature={}", m.temperature()),
            Self::InvertedSoftmax(m) => write!(f, ":temperature={}", m.temperature()),
            Self::Sinkhorn(m) => {
                write!(f, ":tau={},iterations={}", m.tau(), m.iterations())?;
                if m.start() == Start::Column {
                    f.write_str(",start=column")?;
                }
                m.tol().map_or(Ok(()), |tol| write!(f, ",tol={tol}"))
            }
            Self::SingleQuery(m) => {
                write!(f, ":tau={},iterations={}", m.tau(), m.iterations())?;
                f.write_str(if m.start() == WarmStart::Bank { ",start=bank" } else { "" })
            }
            Self::Dbsn(m) => write!(f, ":tau={},iterations={}", m.tau(), m.iterations()),
            Self::Csls(m) => write!(f, ":k={}", m.k()),
            Self::Nnn(m) => write!(f, ":k={},alpha={}", m.k(), m.alpha()),
            Self::QbNorm(m) => {
                write!(f, ":temperature={},k={},threshold={}", m.temperature(), m.k(), m.threshold())
            }
            Self::DualBank(m) => {
                let (temperature, gallery) = (m.temperature(), m.gallery_temperature());
                write!(f, ":temperature={temperature},gallery_temperature={gallery}")?;
                match m.rows() {
                    Rows::All => Ok(()),
                    Rows::Active => write!(f, ",rows=active,k={}", m.k()),
                }
            }
        }
    }
}
