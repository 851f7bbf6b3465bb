//! Recipes: one TOML file is one experiment.
//!
//! What a recipe does not say has a default where one is honest; a key that no recipe has is refused with the
//! nearest known name. The enums under `recipe/` are the only places that list the built-in encoders, heads,
//! objectives and optimisers.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use tvr_clip::Precision;
use tvr_data::Sampler;

use crate::error::ExperimentError;
use crate::files;

mod emcl;
mod encoder;
mod head;
mod objective;
mod optimizer;
mod place;
pub mod rows;
mod unknown_key;

pub use emcl::{EmclRecipe, EmclScope, EmclSimilarity};
pub use encoder::{EncoderRecipe, FrameTokens, Frames, StreamMode, TextMode};
pub use head::{BuiltHead, HeadKind, HeadRecipe, PlainHead};
pub use objective::{BuiltObjective, ObjectiveRecipe, StreamsRecipe, TermRecipe};
pub use optimizer::{Groups, OptimizerRecipe};

/// One experiment.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Recipe {
    /// The name; also the file's name and the start of the run folder's.
    pub name: String,
    /// One run for each seed.
    #[serde(default = "one_seed")]
    pub seeds: Vec<u64>,
    /// Head and objective from outside ([`Own`](crate::own::Own)), which a run was trained with in place of those named
    /// below; written by such a run, and refused from a file, since no file can bring them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub own: Option<String>,
    /// Where texts and videos come from.
    pub data: DataRecipe,
    /// How they become features.
    pub encoder: EncoderRecipe,
    /// How features become similarities.
    pub head: HeadRecipe,
    /// How similarities become a loss.
    pub objective: ObjectiveRecipe,
    /// How the loss is driven down.
    pub train: TrainRecipe,
    /// What is measured.
    #[serde(default)]
    pub eval: EvalRecipe,
}

/// Where texts and videos come from.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case", deny_unknown_fields)]
pub enum DataRecipe {
    /// The built-in world.
    World {
        /// Videos of the test gallery, at most 1,000.
        #[serde(default = "gallery")]
        gallery: usize,
        /// Frames in random order: a fresh order per clip and step, one fixed order per clip at test. A control that
        /// separates order from capacity.
        #[serde(default)]
        shuffle_frames: bool,
    },
    /// A folder with `features.safetensors`, `captions.jsonl` and `splits.json`.
    Features {
        /// The folder; a relative path is looked up from the working folder.
        path: PathBuf,
    },
    /// A list of videos whose frames are kept in a store, as `prepare` makes it; what is not there is decoded first.
    Videos {
        /// The list; its column `split` says train, val and test, and every video of these has a caption.
        manifest: PathBuf,
        /// The store.
        #[serde(default = "store")]
        store: PathBuf,
        /// Which frames of a clip; CLIP4Clip's rule by default.
        #[serde(default = "Sampler::clip4clip")]
        sampler: Sampler,
    },
}

impl DataRecipe {
    /// Whether frames are shown in random order.
    pub fn shuffles(&self) -> bool {
        matches!(self, Self::World { shuffle_frames: true, .. })
    }
}

/// How the loss is driven down.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TrainRecipe {
    /// Pairs in a step: the global batch, whatever the chunks.
    pub batch: usize,
    /// Pairs encoded at a time; 0 encodes the whole batch at once. Chunks change memory and time, not the gradient.
    #[serde(default)]
    pub chunk: usize,
    /// Passes over the training videos.
    #[serde(default = "one")]
    pub epochs: usize,
    /// A cap on the number of steps.
    #[serde(default)]
    pub steps: Option<usize>,
    /// The optimiser and its settings.
    pub optimizer: OptimizerRecipe,
    /// Largest global norm of the gradient; 0 does not clip.
    #[serde(default = "unit")]
    pub clip_norm: f64,
    /// Where the learned scale starts; cosines times the scale are logits. By default that of the CLIP checkpoint,
    /// where there is one, else 1 / 0.07; a plan has it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub initial_scale: Option<f64>,
    /// Looks at val this many times in a run, evenly; the best is kept.
    #[serde(default = "evaluations")]
    pub evaluations: usize,
    /// A checkpoint every so many steps, besides one at the end of each epoch and at each look at val; 0 for none
    /// between.
    #[serde(default)]
    pub checkpoint_every: usize,
    /// The type of what passes through the towers: `f32`, or `bf16` where the device is faster so. Weights, their
    /// gradients, norms, softmax, heads and losses are f32 in every case.
    #[serde(default)]
    pub precision: Precision,
    /// How captions are drawn.
    #[serde(default)]
    pub captions: Captions,
}

/// Which captions an epoch has, or look for videos where a model is judged.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Captions {
    /// One caption of each video: in an epoch one that is drawn, judged always the same.
    #[default]
    OnePerVideo,
    /// Every caption. Those of one video may share a batch, and the video is encoded once; judged, T2V is over all
    /// captions, and V2T `grouped`.
    All,
}

impl Captions {
    fn is_one_per_video(&self) -> bool {
        *self == Self::OnePerVideo
    }
}

/// What is measured.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EvalRecipe {
    /// Rows: normalisers by name.
    #[serde(default = "normalizers")]
    pub normalize: Vec<String>,
    /// Bands that a reader should see, by `row.direction.metric`.
    #[serde(default)]
    pub expect: std::collections::BTreeMap<String, [f64; 2]>,
    /// Which captions look for videos, on val and test. CLIP4Clip's MSVD has all (`dataloader_msvd_retrieval.py`,
    /// `multi_sentence_per_video`), MSR-VTT's 1k-A one.
    #[serde(default, skip_serializing_if = "Captions::is_one_per_video")]
    pub captions: Captions,
    /// Training items that normalisers may look at; without it they see the test queries or nothing.
    #[serde(default)]
    pub bank: Option<BankRecipe>,
    /// EMCL on the vectors of a trained head, without training.
    #[serde(default)]
    pub emcl: Option<EmclRecipe>,
}

/// Training items that normalisers may look at: regime *bank*.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BankRecipe {
    /// Training captions, drawn by the seed: queries of T2V.
    pub texts: usize,
    /// Training videos, drawn by the seed: queries of V2T.
    pub videos: usize,
    /// Seed of both samples.
    #[serde(default)]
    pub seed: u64,
}

impl EvalRecipe {
    /// The same with this seed for all that it draws: the bases that EM starts from, which no training has moved, and a bank's
    /// items. Intervals over seeds then hold for other draws as well.
    pub fn drawn(self, seed: u64) -> Self {
        let emcl = self.emcl.map(|emcl| EmclRecipe { seed, ..emcl });
        let bank = self.bank.map(|bank| BankRecipe { seed, ..bank });
        Self { emcl, bank, ..self }
    }

    /// Names the first band that no figure can be compared with.
    pub(crate) fn check_bands(&self) -> Result<(), ExperimentError> {
        for (figure, [low, high]) in &self.expect {
            let wrong = |why: String| Err(ExperimentError::request(format!("eval.expect: {why}")));
            let mut parts = figure.rsplitn(3, '.');
            let metric =
                parts.next().is_some_and(|name| ["R@1", "R@5", "R@10", "MdR", "MnR"].contains(&name));
            let direction =
                parts.next().is_some_and(|name| ["text_to_video", "video_to_text"].contains(&name));
            let row = parts.next().is_some_and(|name| name.parse::<tvr_normalize::Chain>().is_ok());
            if !(metric && direction && row) {
                return wrong(format!(
                    "no figure is called {figure:?}; write row.direction.metric, as in raw.text_to_video.R@1 or \
                     raw.video_to_text.MnR"
                ));
            }
            if low.is_nan() || high.is_nan() || low > high {
                return wrong(format!(
                    "{figure} = [{low}, {high}], but a band has its lower end first, and both are numbers"
                ));
            }
        }
        Ok(())
    }
}

impl Default for EvalRecipe {
    fn default() -> Self {
        Self {
            normalize: normalizers(),
            expect: std::collections::BTreeMap::new(),
            captions: Captions::default(),
            bank: None,
            emcl: None,
        }
    }
}

/// A value of the command line: a number, a list or whatever else TOML has, else the string itself.
fn value_or_word(value: &str) -> Result<toml::Value, String> {
    match format!("value = {value}").parse::<toml::Table>() {
        Ok(mut table) => match table.remove("value") {
            Some(value) if table.is_empty() => Ok(value),
            _ => Err("there is more than one value; write one KEY=VALUE at a time".into()),
        },
        Err(_) => Ok(toml::Value::String(value.into())),
    }
}

fn one_seed() -> Vec<u64> {
    vec![0]
}
fn gallery() -> usize {
    1000
}
fn one() -> usize {
    1
}
fn unit() -> f64 {
    1.0
}
fn store() -> PathBuf {
    "store".into()
}
fn evaluations() -> usize {
    5
}
fn normalizers() -> Vec<String> {
    [rows::RAW, rows::DUAL_SOFTMAX, rows::SINKHORN].map(String::from).to_vec()
}

impl Recipe {
    /// Reads a recipe.
    ///
    /// # Errors
    /// The file, the line, and what is wrong with it: an unknown key with the nearest known one, a missing key, a wrong
    /// type.
    pub fn read(path: &Path) -> Result<Self, ExperimentError> {
        let bytes = std::fs::read(path).map_err(|cause| {
            ExperimentError::request(format!(
                "{}: cannot read the recipe: {cause}; `ls recipes` lists those that come with tvr",
                path.display()
            ))
        })?;
        let text = String::from_utf8(bytes).map_err(|_| {
            ExperimentError::request(format!("{}: a recipe must be UTF-8 text", path.display()))
        })?;
        Self::parse(&text).map_err(|error| ExperimentError::request(format!("{}: {error}", path.display())))
    }

    /// Parses a recipe.
    ///
    /// # Errors
    /// As [`Recipe::read`], without the file.
    pub fn parse(text: &str) -> Result<Self, ExperimentError> {
        toml::from_str(text).map_err(|error| ExperimentError::request(place::explain(text, &error)))
    }

    /// Sets one key by its dotted path, as `--set train.steps=20` does.
    ///
    /// # Errors
    /// A path that leads nowhere, or a value that the key does not take.
    pub fn set(&mut self, key: &str, value: &str) -> Result<(), ExperimentError> {
        let wrong = |why: String| ExperimentError::request(format!("--set {key}={value}: {why}"));
        let mut table = toml::Table::try_from(&*self).map_err(|error| wrong(error.to_string()))?;
        let parsed = value_or_word(value).map_err(wrong)?;
        let (folder, leaf) = match key.rsplit_once('.') {
            Some((folder, leaf)) => (folder.split('.').collect(), leaf),
            None => (Vec::new(), key),
        };
        let mut place = &mut table;
        for part in folder {
            place = match place.entry(part).or_insert_with(|| toml::Value::Table(toml::Table::new())) {
                toml::Value::Table(inner) => inner,
                _ => return Err(wrong(format!("{part:?} holds a value, not a table"))),
            };
        }
        place.insert(leaf.to_string(), parsed);
        let text = toml::to_string(&table).map_err(|error| wrong(error.to_string()))?;
        *self = toml::from_str(&text).map_err(|error| wrong(unknown_key::explain(error.message())))?;
        Ok(())
    }

    /// The recipe as TOML, every default written out.
    ///
    /// # Errors
    /// Only if a value cannot be TOML, which a parsed recipe's can.
    pub fn to_toml(&self) -> Result<String, ExperimentError> {
        toml::to_string_pretty(self)
            .map_err(|error| ExperimentError::work(format!("the recipe cannot be TOML: {error}")))
    }

    /// A hash of everything but the name and the list of seeds: two recipes with one hash train the same model.
    ///
    /// # Errors
    /// As [`Recipe::to_toml`].
    pub fn hash(&self) -> Result<String, ExperimentError> {
        let mut same = self.clone();
        same.name = String::new();
        same.seeds = Vec::new();
        Ok(files::sha256(same.to_toml()?.as_bytes()))
    }

    /// A hash of what decides which way training takes: [`hash`](Self::hash) without how a step is cut into parts, when it
    /// is saved, and how the model is judged afterwards. A run goes on with other values of these; not with other captions
    /// that look for videos, since they choose among its weights.
    ///
    /// # Errors
    /// As [`Recipe::to_toml`].
    pub fn training_hash(&self) -> Result<String, ExperimentError> {
        let mut same = self.clone();
        (same.train.chunk, same.train.checkpoint_every) = (0, 0);
        same.eval = EvalRecipe { captions: same.eval.captions, ..EvalRecipe::default() };
        same.hash()
    }
}
