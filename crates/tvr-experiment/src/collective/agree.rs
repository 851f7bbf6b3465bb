//! What ranks compare before anything is written, and their weights before the first step: one that differs would train
//! another model, and nobody would see it.

use burn::module::{Module, ModuleVisitor, Param};
use burn::prelude::*;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use tvr_data::files::hex;

use crate::collective::Collective;
use crate::corpus::{Corpus, FrameRows, Texts};
use crate::device;
use crate::error::ExperimentError;
use crate::files;
use crate::plan::Plan;
use crate::pretrained::Pretrained;
use crate::recipe::DataRecipe;

/// What must be the same at every rank: names and values, in the order in which they are compared.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Facts(pub Vec<(String, String)>);

impl Facts {
    /// Of a request: version, features compiled in, every key of the recipe and its hash, seed, training data, and of a
    /// pretrained checkpoint what its weights do not show.
    ///
    /// # Errors
    /// A recipe that cannot be written out.
    pub fn of(
        plan: &Plan,
        seed: u64,
        train: &Corpus,
        pretrained: Option<&Pretrained>,
    ) -> Result<Self, ExperimentError> {
        let recipe = plan.recipe.to_toml()?.parse::<toml::Table>().map_err(|error| {
            ExperimentError::work(format!(
                "{}: the recipe cannot be read back: {error}",
                plan.source.display()
            ))
        })?;
        let mut keys = Vec::new();
        flatten("", &recipe, &mut keys);
        let named = |(name, value): (&str, String)| (name.to_string(), value);
        let before =
            [("version", env!("CARGO_PKG_VERSION").into()), ("features", device::features().join(", "))];
        let wiring = pretrained.map_or(Ok("none".into()), Pretrained::wiring)?;
        let after = [
            ("recipe hash", plan.recipe.hash()?),
            ("seed", seed.to_string()),
            ("data hash", data(train)),
            ("hash of the checkpoint's config and tokenizer", wiring),
        ];
        Ok(Self(before.map(named).into_iter().chain(keys).chain(after.map(named)).collect()))
    }

    /// Of the weights that a run starts from.
    pub fn of_weights<M: Module>(model: &M) -> Self {
        Self(vec![("weights hash".into(), weights_sha256(model))])
    }
}

/// Keys of a table by their dotted paths.
fn flatten(before: &str, table: &toml::Table, keys: &mut Vec<(String, String)>) {
    for (key, value) in table {
        let path = format!("{before}{key}");
        match value {
            toml::Value::Table(table) => flatten(&format!("{path}."), table, keys),
            value => keys.push((path, value.to_string())),
        }
    }
}

/// Compares every rank's facts with rank 0's.
///
/// # Errors
/// The first rank and the first fact of it that differ, at every rank; as [`Collective::gather`].
pub fn agree(ranks: &dyn Collective, own: &Facts) -> Result<(), ExperimentError> {
    let wrong = |cause: serde_json::Error| ExperimentError::work(format!("the ranks' facts: {cause}"));
    let all = ranks.gather("what they start from", serde_json::to_vec(own).map_err(wrong)?)?;
    let mut facts = Vec::new();
    for bytes in &all {
        facts.push(serde_json::from_slice::<Facts>(bytes).map_err(wrong)?);
    }
    let Some((first, others)) = facts.split_first() else { return Ok(()) };
    for (rank, facts) in (1..).zip(others) {
        for (name, expected) in &first.0 {
            let found = facts.0.iter().find(|(other, _)| other == name).map(|(_, found)| found);
            if found != Some(expected) {
                return Err(ExperimentError::work(format!(
                    "rank {rank} differs from rank 0: its {name} is {}, not {expected}; start every rank from the same build, recipe and data",
                    found.map_or("absent", String::as_str)
                )));
            }
        }
    }
    Ok(())
}

/// What a run learns from and chooses on and its weights do not hold: the bytes of a feature folder; the captions and the
/// store's records of a table of videos; of the built-in world the frozen towers, whose features differ in their last bits from
/// device to device, and `None` where they are trained along.
pub(crate) fn features_sha256(plan: &Plan, train: &Corpus, val: &Corpus) -> Option<String> {
    match plan.recipe.data {
        DataRecipe::World { .. } => train.towers.clone(),
        DataRecipe::Features { .. } | DataRecipe::Videos { .. } => {
            Some(files::sha256(format!("{} {}", data(train), data(val)).as_bytes()))
        }
    }
}

fn data(corpus: &Corpus) -> String {
    let mut hash = Sha256::new();
    let mut line = |text: &str| {
        hash.update((text.len() as u64).to_le_bytes());
        hash.update(text);
    };
    corpus.video_ids.iter().chain(&corpus.text_ids).chain(&corpus.sentences).for_each(|text| line(text));
    let numbers = |values: &[f32], hash: &mut Sha256| {
        values.chunks(1 << 16).for_each(|values| {
            let bytes: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
            hash.update(bytes);
        });
    };
    corpus.text_video.iter().for_each(|&video| hash.update((video as u64).to_le_bytes()));
    corpus.mask.iter().for_each(|&real| hash.update([u8::from(real)]));
    if let FrameRows::Values(values) = &corpus.frames {
        numbers(values, &mut hash);
    }
    corpus.frames.keys().iter().for_each(|key| hash.update(key.to_string()));
    for expert in &corpus.experts {
        hash.update((expert.name.len() as u64).to_le_bytes());
        hash.update(&expert.name);
        numbers(&expert.values, &mut hash);
        expert.mask.iter().for_each(|&real| hash.update([u8::from(real)]));
    }
    match &corpus.texts {
        Texts::Features { values, .. } => numbers(values, &mut hash),
        Texts::Tokens(rows) => rows.iter().for_each(|row| {
            hash.update((row.len() as u64).to_le_bytes());
            row.iter().for_each(|token| hash.update(token.to_le_bytes()));
        }),
    }
    hex(&hash.finalize())
}

/// SHA-256 of all weights, one after another.
pub(crate) fn weights_sha256<M: Module>(model: &M) -> String {
    struct Weights(Sha256);
    impl ModuleVisitor for Weights {
        fn visit_float<const D: usize>(&mut self, parameter: &Param<Tensor<D>>) {
            for value in parameter.val().into_data().iter::<f32>() {
                self.0.update(value.to_le_bytes());
            }
        }
    }
    let mut weights = Weights(Sha256::new());
    model.visit(&mut weights);
    hex(&weights.0.finalize())
}
