//! The built-in objectives.

use burn::module::Module;
use burn::prelude::*;
use serde::{Deserialize, Serialize};
use tvr_objectives::{
    ByRows, Decoder, DualSoftmax, DualSoftmaxConfig, Hinge, HingeConfig, Loss, Ncl, NclConfig, Needs,
    Objective, Pairs, Streams, StreamsConfig, SupportSet, SupportSetConfig, Symmetric, SymmetricConfig, Term,
    Weighted,
};

use crate::error::ExperimentError;
use crate::offer::Offer;

/// Similarities to a loss.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case", deny_unknown_fields)]
pub enum ObjectiveRecipe {
    /// Symmetric cross-entropy, InfoNCE.
    Symmetric(SymmetricConfig),
    /// CAMoE's dual softmax loss.
    DualSoftmax(DualSoftmaxConfig),
    /// Normalised contrastive learning.
    Ncl(NclConfig),
    /// Hinge loss.
    Hinge(HingeConfig),
    /// Cross-captioning over a support of other videos.
    SupportSet(SupportSetConfig),
    /// A weighted sum.
    Weighted {
        /// Its terms.
        terms: Vec<TermRecipe>,
    },
    /// One term per stream beside the fused one.
    Streams(StreamsRecipe),
}

/// One term per stream beside the fused one.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StreamsRecipe {
    /// What judges each stream, and the fused similarity unless `fused` is given.
    pub each: Box<ObjectiveRecipe>,
    /// What judges the fused similarity.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fused: Option<Box<ObjectiveRecipe>>,
    /// Which streams, and how heavy.
    #[serde(default = "StreamsConfig::ours")]
    pub terms: StreamsConfig,
}

impl StreamsRecipe {
    fn fused(&self) -> &ObjectiveRecipe {
        self.fused.as_ref().unwrap_or(&self.each)
    }
}

/// One term of a weighted sum.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TermRecipe {
    /// Its weight; 0 or above.
    pub weight: f32,
    /// What the log calls it; its kind unless given.
    #[serde(default)]
    pub name: Option<String>,
    /// What is weighted.
    pub objective: ObjectiveRecipe,
}

/// A built-in objective.
#[derive(Module, Debug)]
#[allow(clippy::large_enum_variant, reason = "a run holds one objective")]
pub enum BuiltObjective {
    /// Symmetric cross-entropy, InfoNCE.
    Symmetric(Symmetric),
    /// CAMoE's dual softmax loss.
    DualSoftmax(DualSoftmax),
    /// Normalised contrastive learning.
    Ncl(Ncl),
    /// Hinge loss.
    Hinge(Hinge),
    /// Cross-captioning over a support of other videos.
    SupportSet(SupportSet),
    /// A weighted sum.
    Weighted(Weighted<BuiltObjective>),
    /// One term per stream beside the fused one.
    Streams(Streams<BuiltObjective>),
}

impl ObjectiveRecipe {
    /// Makes the objective for what data and encoder offer.
    ///
    /// # Errors
    /// The first setting outside its domain.
    pub fn init(&self, offer: &Offer, device: &Device) -> Result<BuiltObjective, ExperimentError> {
        let width = offer.width;
        let objective = match self {
            Self::Symmetric(config) => config.init().map(BuiltObjective::Symmetric),
            Self::DualSoftmax(config) => config.init().map(BuiltObjective::DualSoftmax),
            Self::Ncl(config) => config.init(width, device).map(BuiltObjective::Ncl),
            Self::Hinge(config) => config.init().map(BuiltObjective::Hinge),
            Self::SupportSet(config) => {
                // Where captions are vectors the objective is refused; until then a vocabulary of one word serves.
                let vocabulary = offer.vocabulary.unwrap_or(1);
                config.init(width, vocabulary, device).map(BuiltObjective::SupportSet)
            }
            Self::Weighted { terms } => {
                let terms = terms.iter().map(|term| {
                    let name = term.name.clone().unwrap_or_else(|| term.objective.kind().to_string());
                    let objective = term.objective.init(offer, device)?;
                    Ok(Term { name, weight: term.weight, objective })
                });
                Weighted::new(terms.collect::<Result<_, ExperimentError>>()?).map(BuiltObjective::Weighted)
            }
            Self::Streams(recipe) => {
                let (fused, each) = (recipe.fused().init(offer, device)?, recipe.each.init(offer, device)?);
                recipe.terms.init(fused, each).map(BuiltObjective::Streams)
            }
        };
        objective.map_err(|error| ExperimentError::request(format!("[objective] {error}")))
    }

    /// The recipe's word for it.
    fn kind(&self) -> &'static str {
        match self {
            Self::Symmetric(_) => "symmetric",
            Self::DualSoftmax(_) => "dual-softmax",
            Self::Ncl(_) => "ncl",
            Self::Hinge(_) => "hinge",
            Self::SupportSet(_) => "support-set",
            Self::Weighted { .. } => "weighted",
            Self::Streams(_) => "streams",
        }
    }

    /// The key that says how many earlier items it keeps, and the largest number there; more than there are would hold
    /// every item twice.
    ///
    /// - `key`: where the objective itself stands in the recipe, "objective"
    pub fn remembers(&self, key: &str) -> (String, usize) {
        match self {
            Self::Ncl(config) => (format!("{key}.queue"), config.queue),
            Self::SupportSet(config) => (format!("{key}.bank"), config.bank),
            Self::Symmetric(_) | Self::DualSoftmax(_) | Self::Hinge(_) => (key.into(), 0),
            Self::Streams(StreamsRecipe { fused: Some(fused), .. }) => {
                fused.remembers(&format!("{key}.fused"))
            }
            Self::Streams(StreamsRecipe { each, .. }) => each.remembers(&format!("{key}.each")),
            Self::Weighted { terms } => {
                let of = |(place, term): (usize, &TermRecipe)| {
                    term.objective.remembers(&format!("{key}.terms[{place}].objective"))
                };
                terms.iter().enumerate().map(of).max_by_key(|(_, count)| *count).unwrap_or((key.into(), 0))
            }
        }
    }
}

/// An objective that is one of several, and does what that one does.
macro_rules! one_of {
    ($several:ident: $($variant:ident),+) => {
        impl Objective for $several {
            fn needs(&self) -> Needs {
                match self { $(Self::$variant(objective) => objective.needs()),+ }
            }

            fn loss(&self, pairs: &Pairs) -> Loss {
                match self { $(Self::$variant(objective) => objective.loss(pairs)),+ }
            }

            fn by_rows(&self) -> Option<&dyn ByRows> {
                match self { $(Self::$variant(objective) => objective.by_rows()),+ }
            }

            fn after_step(&mut self, pairs: &Pairs) {
                match self { $(Self::$variant(objective) => objective.after_step(pairs)),+ }
            }

            fn decoder(&self) -> Option<&Decoder> {
                match self { $(Self::$variant(objective) => objective.decoder()),+ }
            }
        }
    };
}

one_of!(BuiltObjective: Symmetric, DualSoftmax, Ncl, Hinge, SupportSet, Weighted, Streams);
