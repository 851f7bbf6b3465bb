//! The papers, and what a claim of one is.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::error::ExperimentError;

use super::Extent;
use super::models::{MSRVTT476, MSRVTT476_AGAIN, Rejudged, Trained, WORLD, WORLD_AGAIN, WORLD_GRID};
use super::{camoe, clip4clip, emcl, ncl, support_set};

/// A paper whose claims are judged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Paper {
    /// Luo et al. 2021, arXiv 2104.08860: the host.
    Clip4clip,
    /// Jin et al. 2022, arXiv 2211.11427.
    Emcl,
    /// Cheng et al. 2021, arXiv 2109.04290.
    Camoe,
    /// Park et al. 2022, arXiv 2212.11790.
    Ncl,
    /// Patrick et al. 2021, arXiv 2010.02824.
    SupportSet,
}

/// What the claims are judged on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Data {
    /// The built-in world.
    World,
    /// The feature file of 476 test videos of MSR-VTT, in this folder.
    Msrvtt476(PathBuf),
}

impl Data {
    /// The models that are trained on it.
    pub fn models(&self) -> &'static [Trained] {
        match self {
            Self::World => WORLD,
            Self::Msrvtt476(_) => MSRVTT476,
        }
    }

    /// What is judged again under other settings, for these papers.
    pub fn again(&self, extent: Extent, papers: &[Paper]) -> Vec<Rejudged> {
        let [some, grid]: [&[Rejudged]; 2] = match (self, extent) {
            (Self::World, Extent::Full) => [WORLD_AGAIN, WORLD_GRID],
            (Self::World, _) => [WORLD_AGAIN, &[]],
            (Self::Msrvtt476(_), _) => [MSRVTT476_AGAIN, &[]],
        };
        some.iter().chain(grid).filter(|again| papers.contains(&again.paper)).copied().collect()
    }

    /// As file names and tables take it.
    pub fn name(&self) -> &'static str {
        match self {
            Self::World => "world",
            Self::Msrvtt476(_) => "msrvtt476",
        }
    }
}

/// One cell of the results: a model, judged under one row of its table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cell {
    /// The model, by its recipe.
    pub model: &'static str,
    /// The row, as the run's table names it.
    pub row: &'static str,
}

/// A claim before it is judged.
#[derive(Clone, Copy, Debug)]
pub struct Assertion {
    /// The claim, as a sentence.
    pub claim: &'static str,
    /// What it is compared with.
    pub baseline: Cell,
    /// What is claimed to be better.
    pub treatment: Cell,
    /// What a reader must know beside it.
    pub remark: &'static str,
}

impl Paper {
    /// All papers, in the order of the tables.
    pub const ALL: [Self; 5] = [Self::Clip4clip, Self::Emcl, Self::Camoe, Self::Ncl, Self::SupportSet];

    /// The papers that are asked for: one, or all.
    pub fn asked(paper: Option<Self>) -> Vec<Self> {
        paper.map_or(Self::ALL.to_vec(), |paper| vec![paper])
    }

    /// As tables print it.
    pub fn title(self) -> &'static str {
        match self {
            Self::Clip4clip => "CLIP4Clip",
            Self::Emcl => "EMCL",
            Self::Camoe => "CAMoE + DSL",
            Self::Ncl => "NCL",
            Self::SupportSet => "Support-set",
        }
    }

    /// As the command line takes it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Clip4clip => "clip4clip",
            Self::Emcl => "emcl",
            Self::Camoe => "camoe",
            Self::Ncl => "ncl",
            Self::SupportSet => "support-set",
        }
    }

    /// Its claims on some data.
    pub fn assertions(self, data: &Data) -> &'static [Assertion] {
        let [on_world, on_features] = match self {
            Self::Clip4clip => [clip4clip::ON_WORLD, clip4clip::ON_FEATURES],
            Self::Emcl => [emcl::ON_WORLD, emcl::ON_FEATURES],
            Self::Camoe => [camoe::ON_WORLD, camoe::ON_FEATURES],
            Self::Ncl => [ncl::ON_WORLD, ncl::ON_FEATURES],
            Self::SupportSet => [support_set::ON_WORLD, support_set::ON_FEATURES],
        };
        match data {
            Data::World => on_world,
            Data::Msrvtt476(_) => on_features,
        }
    }

    /// Its claims about how evenly items are wanted, on some data.
    pub fn fairness(self, data: &Data) -> &'static [Assertion] {
        match (self, data) {
            (Self::Ncl, Data::World) => ncl::FAIRNESS_ON_WORLD,
            (Self::Ncl, Data::Msrvtt476(_)) => ncl::FAIRNESS_ON_FEATURES,
            _ => &[],
        }
    }
}

impl fmt::Display for Paper {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.name())
    }
}

impl FromStr for Paper {
    type Err = ExperimentError;

    fn from_str(text: &str) -> Result<Self, ExperimentError> {
        Self::ALL.into_iter().find(|paper| paper.name() == text).ok_or_else(|| {
            let names: Vec<&str> = Self::ALL.iter().map(|paper| paper.name()).collect();
            ExperimentError::request(format!("unknown paper {text:?}; it is one of {}", names.join(", ")))
        })
    }
}
