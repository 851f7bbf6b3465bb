//! EMCL at inference: in a recipe as `[eval.emcl]`, in a command as one word.

use std::str::FromStr;

use serde::{Deserialize, Serialize};
use tvr_heads::EmclConfig;
use tvr_heads::emcl::Items;

use super::{unknown_key, value_or_word};
use crate::error::ExperimentError;

/// EMCL on vectors of texts and videos, without training.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EmclRecipe {
    /// Whose second moments the bases are found from.
    pub scope: EmclScope,
    /// What a pair scores after the layer.
    #[serde(default, skip_serializing_if = "EmclSimilarity::is_cosine")]
    pub similarity: EmclSimilarity,
    /// Seed of the start, which no training has moved.
    #[serde(default)]
    pub seed: u64,
    /// The layer; its tile is that of `scope = "tiles"`.
    #[serde(default = "EmclConfig::inference")]
    pub layer: EmclConfig,
}

impl EmclRecipe {
    /// Why it cannot be, in words with a mend.
    pub(crate) fn check(&self) -> Result<(), String> {
        if self.layer.items == Items::Global {
            return Err("items = \"global\" is for training, which moves the means; leave items out, since the scope says \
                        whose second moments the bases are found from"
                .into());
        }
        self.layer.layer().map(|_| ()).map_err(|error| error.to_string())
    }
}

/// What a pair scores after EMCL at inference.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum EmclSimilarity {
    /// The cosine, as Algorithm 1 is used in training.
    #[default]
    Cosine,
    /// The product, as the published module has it: vectors that the layer makes longer score more.
    Product,
}

impl EmclSimilarity {
    /// Whether it is the usual one; then it is not written out, and a recipe keeps its hash.
    fn is_cosine(&self) -> bool {
        *self == Self::Cosine
    }
}

/// Whose second moments EMCL's bases are found from at inference.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum EmclScope {
    /// Of the test texts and videos of each tile, as the published module has it.
    Tiles,
    /// Of all test texts and videos.
    Everything,
    /// Of the training items of `eval.bank`: a query is judged alone.
    Bank,
}

/// `SCOPE`, or `SCOPE:KEY=VALUE,...` with the keys of the layer, `similarity` and `seed`; what is not said of the layer is the
/// published module's.
impl FromStr for EmclRecipe {
    type Err = ExperimentError;

    fn from_str(spec: &str) -> Result<Self, ExperimentError> {
        let wrong = |why: &str| ExperimentError::request(format!("EMCL {spec:?}: {why}"));
        let (scope, settings) = spec.split_once(':').unwrap_or((spec, ""));
        let mut layer = toml::Table::try_from(EmclConfig::inference()).map_err(|e| wrong(&e.to_string()))?;
        let mut recipe = toml::Table::new();
        recipe.insert("scope".into(), toml::Value::String(scope.trim().into()));
        for setting in settings.split(',').filter(|setting| !setting.trim().is_empty()) {
            let Some((key, value)) = setting.split_once('=') else {
                return Err(wrong(&format!("{:?} has no value; write KEY=VALUE", setting.trim())));
            };
            let (key, value) = (key.trim(), value.trim());
            let value = value_or_word(value).map_err(|why| wrong(&why))?;
            let table = if matches!(key, "seed" | "similarity") { &mut recipe } else { &mut layer };
            table.insert(key.into(), value);
        }
        recipe.insert("layer".into(), toml::Value::Table(layer));
        let recipe: Self =
            recipe.try_into().map_err(|e: toml::de::Error| wrong(&unknown_key::explain(e.message())))?;
        recipe.check().map_err(|why| wrong(&why))?;
        Ok(recipe)
    }
}
