//! What a run leaves behind: `record.json` for programs, `card.md` for a paper's appendix.

use std::collections::BTreeMap;
use std::path::Path;

use safetensors::Dtype;
use serde::{Deserialize, Serialize};
use tvr_metrics::{Summary, paired_student};

use crate::error::ExperimentError;
use crate::evaluate::{Judged, Told};
use crate::files::{self, FileTensor};
use crate::hits;
use crate::plan::Plan;
use crate::recipe::{BankRecipe, Captions, DataRecipe};
use crate::score::{Changes, NormalisationError, Row};
use crate::train::Run;

/// `record.json`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Record {
    /// `tvr-run/1`.
    pub schema: String,
    /// The recipe's name.
    pub recipe: String,
    /// The recipe's hash.
    pub recipe_hash: String,
    /// tvr's version.
    pub version: String,
    /// Backends compiled in.
    pub features: Vec<String>,
    /// The device that trained; of a run that went on on another, all of them.
    pub device: String,
    /// Threads of the compute pool of the process that judged.
    pub threads: usize,
    /// The seed.
    pub seed: u64,
    /// Hash of the test gallery: ids of videos and captions.
    pub gallery: String,
    /// Videos and captions of the test gallery.
    pub gallery_size: [usize; 2],
    /// What the doctor calls the test gallery, and what a list left out of it; `None` where it has not looked.
    #[serde(default)]
    pub known_as: Option<String>,
    /// Which items a similarity depends on beside its own pair, in words; `None` where on none.
    #[serde(default)]
    pub mixing: Option<String>,
    /// How many directions texts and videos spread over before and after EMCL, in the head or at inference:
    /// `(Σ σ²)² / Σ σ⁴` of their singular values; `None` without it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub effective_ranks: Option<[f64; 2]>,
    /// Training captions and videos that normalisers could look at, with the seed that drew them.
    #[serde(default)]
    pub bank: Option<BankRecipe>,
    /// By the row whose setting was chosen on val, the normaliser with its alternatives.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub chosen: BTreeMap<String, String>,
    /// What makes rows of the test table doubtful, such as negative scores under dual softmax; each said once.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
    /// Hash of the towers' weights, where towers were used.
    pub weights: Option<String>,
    /// Hash of the features that it learned from and was chosen on; `None` for other data, and where an earlier version wrote it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub features_sha256: Option<String>,
    /// Steps in all, and the one chosen on val.
    pub steps: usize,
    /// The step chosen on val.
    pub selected: usize,
    /// SHA-256 of its weights' file; `None` where an earlier version wrote it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub selected_sha256: Option<String>,
    /// Mean seconds of a step, without looks at val and checkpoints: of all steps in `steps.jsonl`.
    pub step_seconds: f64,
    /// Largest memory of the process so far, in bytes.
    pub peak_memory_bytes: u64,
    /// How V2T counts several captions of a video, as `score` names it.
    #[serde(default)]
    pub video_to_text_rule: String,
    /// Test metrics by row.
    pub test: Vec<RowRecord>,
    /// Val metrics by row.
    pub val: Vec<RowRecord>,
    /// What was measured beside by its name: order accuracy in per cent; BLEU-4 and CIDEr-D, times 100, of the captions that
    /// a trained decoder tells.
    pub beside: BTreeMap<String, f64>,
}

/// One row's metrics.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct RowRecord {
    /// The normaliser.
    pub normalize: String,
    /// What it sees: raw, bank, transductive.
    pub regime: String,
    /// T2V metrics by name.
    pub text_to_video: BTreeMap<String, f64>,
    /// V2T metrics by name.
    pub video_to_text: BTreeMap<String, f64>,
    /// How unevenly videos (T2V) and texts (V2T) are represented; the row "raw" says how it was before.
    #[serde(default)]
    pub normalisation_error: Option<[NormalisationError; 2]>,
}

impl Record {
    /// A test metric by `row.direction.metric`, as `raw.text_to_video.MnR`; `None` where there is none of that name.
    pub fn metric(&self, path: &str) -> Option<f64> {
        let (rest, metric) = path.rsplit_once('.')?;
        let (row, direction) = rest.rsplit_once('.')?;
        let row = self.test.iter().find(|found| found.normalize == row)?;
        match direction {
            "text_to_video" => row.text_to_video.get(metric).copied(),
            "video_to_text" => row.video_to_text.get(metric).copied(),
            _ => None,
        }
    }
}

impl RowRecord {
    /// The record of a judged row.
    pub fn of(row: &Row) -> Self {
        Self {
            normalize: row.normalize.clone(),
            regime: row.regime.to_string(),
            text_to_video: named(&row.judgement.text_to_video),
            video_to_text: named(&row.judgement.video_to_text),
            normalisation_error: row
                .representation
                .as_ref()
                .map(|[text, video]| [NormalisationError::from(text), NormalisationError::from(video)]),
        }
    }
}

/// The figures of a direction that tables show.
pub const FIGURES: [&str; 5] = ["R@1", "R@5", "R@10", "MdR", "MnR"];

/// A summary's metrics by the names that tables use.
pub fn named(summary: &Summary) -> BTreeMap<String, f64> {
    let recalls = summary.recalls.iter().map(|recall| (format!("R@{}", recall.cutoff), recall.percent));
    recalls.chain([("MdR".into(), summary.median_rank), ("MnR".into(), summary.mean_rank)]).collect()
}

/// Half of the 95 % interval of a mean over seeds (Student t); `None` for fewer than two seeds.
pub fn half_width(values: &[f64]) -> Option<f64> {
    let zeros = vec![0.0; values.len()];
    paired_student(&zeros, values, 0.95).ok().map(|interval| (interval.high - interval.low) / 2.0)
}

/// Writes similarities, record and card of a judged run.
///
/// # Errors
/// A file that cannot be written.
pub fn write(
    plan: &Plan,
    run: &Run,
    test: &Judged,
    val: &Judged,
    weights: Option<String>,
    mut beside: BTreeMap<String, f64>,
) -> Result<Record, ExperimentError> {
    beside.extend(test.told.iter().flat_map(Told::figures));
    let record = Record {
        schema: "tvr-run/1".into(),
        recipe: plan.recipe.name.clone(),
        recipe_hash: plan.recipe.hash()?,
        version: env!("CARGO_PKG_VERSION").into(),
        features: crate::device::features().into_iter().map(String::from).collect(),
        device: match &run.devices[..] {
            // All its steps are an earlier version's.
            [] => plan.surroundings.device.clone(),
            devices => devices.join(", then "),
        },
        threads: rayon::current_num_threads(),
        seed: run.seed,
        gallery: test.gallery.clone(),
        gallery_size: [test.logits.nrows(), test.logits.ncols()],
        known_as: test.known_as.clone(),
        mixing: test.mixing.clone(),
        effective_ranks: test.effective_ranks,
        bank: plan.recipe.eval.bank,
        chosen: test.chosen.clone(),
        warnings: test.warnings.clone(),
        weights,
        features_sha256: run.features_sha256.clone(),
        steps: run.steps,
        selected: run.selected,
        selected_sha256: run.selected_sha256.clone(),
        step_seconds: run.step_seconds,
        peak_memory_bytes: peak_memory_bytes(),
        video_to_text_rule: test
            .rows
            .first()
            .map_or_else(String::new, |row| row.judgement.video_to_text.rule().to_string()),
        test: test.rows.iter().map(RowRecord::of).collect(),
        val: val.rows.iter().map(RowRecord::of).collect(),
        beside,
    };
    save_similarities(&run.folder.join("similarity.safetensors"), plan.recipe.eval.captions, test, val)?;
    let changes = changes(test)?;
    if !changes.is_empty() {
        files::write_json(&run.folder.join("represented.json"), &changes)?;
    }
    hits::write(&run.folder, &test.rows)?;
    if let Some(told) = &test.told {
        files::write_json(&run.folder.join("told.json"), &told.captions)?;
    }
    files::write_whole(&run.folder.join("card.md"), card(plan, &record).as_bytes())?;
    files::write_json(&run.folder.join("record.json"), &record)?;
    Ok(record)
}

/// ρ of every test item before (raw) and after each normaliser: the curves to plot.
fn changes(test: &Judged) -> Result<Vec<Changes>, ExperimentError> {
    let raw = test.rows.iter().find(|row| row.normalize == "raw").and_then(|row| row.representation.as_ref());
    let others = test.rows.iter().filter(|row| row.normalize != "raw");
    let change =
        |row: &Row| Changes::between(&row.normalize, 1.0, raw, row.representation.as_ref()).transpose();
    others.filter_map(change).collect::<Result<_, _>>().map_err(ExperimentError::because)
}

/// Reads a run's record.
///
/// # Errors
/// The file, and what is wrong with it.
pub fn read(folder: &Path) -> Result<Record, ExperimentError> {
    let path = folder.join("record.json");
    serde_json::from_slice(&files::read(&path)?)
        .map_err(|cause| ExperimentError::work(format!("{}: {cause}", path.display())))
}

/// `test` and `val`, `[texts, videos]`; where all captions look for videos, the video of each beside them, as
/// `score --groups` takes it.
fn save_similarities(
    path: &Path,
    captions: Captions,
    test: &Judged,
    val: &Judged,
) -> Result<(), ExperimentError> {
    let mut tensors = Vec::new();
    for (name, Judged { logits, truth, .. }) in [("test", test), ("val", val)] {
        tensors.push(FileTensor {
            name: name.to_string(),
            dtype: Dtype::F32,
            shape: logits.shape().to_vec(),
            bytes: logits.iter().flat_map(|value| value.to_le_bytes()).collect(),
        });
        if captions == Captions::All {
            tensors.push(FileTensor::groups(&format!("{name}_groups"), truth.video_of()));
        }
    }
    files::write_tensors(path, &tensors)
}

/// The process's largest resident memory, in bytes; 0 where the system does not say.
pub fn peak_memory_bytes() -> u64 {
    std::fs::read_to_string("/proc/self/status")
        .ok()
        .and_then(|status| {
            let line = status.lines().find(|line| line.starts_with("VmHWM:"))?;
            line.split_whitespace().nth(1)?.parse::<u64>().ok()
        })
        .map_or(0, |kibibytes| kibibytes * 1024)
}

fn card(plan: &Plan, record: &Record) -> String {
    let data = match &plan.recipe.data {
        DataRecipe::World { shuffle_frames, .. } => format!(
            "the built-in world, version {}{}",
            tvr_data::WORLD_VERSION,
            if *shuffle_frames { ", frames in random order" } else { "" }
        ),
        DataRecipe::Features { path } => format!("feature file {}", path.display()),
        DataRecipe::Videos { manifest, sampler, .. } => {
            format!("videos of {}, frames by {sampler}", manifest.display())
        }
    };
    let mut beside = String::new();
    if let Some(known_as) = &record.known_as {
        beside.push_str(&format!("| the gallery is | {known_as} |\n"));
    }
    if let Some(mixing) = &record.mixing {
        beside.push_str(&format!("| items that influence one another | {mixing} |\n"));
    }
    if let Some([before, after]) = record.effective_ranks {
        beside.push_str(&format!("| effective rank of the vectors | {before:.1}, after EMCL {after:.1} |\n"));
    }
    if let Some(BankRecipe { texts, videos, seed }) = record.bank {
        beside.push_str(&format!(
            "| bank | {texts} training captions and {videos} training videos, drawn with seed {seed} |\n"
        ));
    }
    for (row, alternatives) in &record.chosen {
        beside.push_str(&format!("| chosen on val | {row}, among {alternatives} |\n"));
    }
    let mut card = format!(
        "# {} · seed {}\n\n\
         | | |\n|---|---|\n\
         | data | {data} |\n\
         | gallery | {} captions, {} videos, {}; hash {} |\n\
         | training | {} steps of {} pairs; step {} chosen on val by the sum of R@1, R@5, R@10 of both directions |\n\
         | ties | average: the expectation under random tie-breaking |\n\
         | device | {}, {} threads, tvr {} |\n{}\n\
         | row | regime | T2V R@1 | R@5 | R@10 | MdR | MnR | NE | V2T grouped R@1 | R@5 | R@10 | MdR | MnR | NE |\n\
         |---|---|---|---|---|---|---|---|---|---|---|---|---|---|\n",
        record.recipe,
        record.seed,
        record.gallery_size[0],
        record.gallery_size[1],
        match plan.recipe.eval.captions {
            Captions::OnePerVideo => "one caption per video",
            Captions::All => "all captions of each",
        },
        &record.gallery[..16.min(record.gallery.len())],
        record.steps,
        plan.recipe.train.batch,
        record.selected,
        record.device,
        record.threads,
        record.version,
        beside,
    );
    for row in &record.test {
        let figures: Vec<String> = [&row.text_to_video, &row.video_to_text]
            .iter()
            .enumerate()
            .flat_map(|(side, metrics)| {
                let error = row.normalisation_error.as_ref();
                let error = error.map_or("-".into(), |errors| format!("{:.3}", errors[side].error));
                FIGURES
                    .map(|name| metrics.get(name).map_or("-".into(), |value| format!("{value:.1}")))
                    .into_iter()
                    .chain([error])
            })
            .collect();
        card.push_str(&format!("| {} | {} | {} |\n", row.normalize, row.regime, figures.join(" | ")));
    }
    card.push_str(
        "\nTransductive rows see the other test queries; compare them with transductive rows only. NE: normalisation \
         error, how unevenly the gallery is represented (NCL); 0 is fair.\n",
    );
    for warning in &record.warnings {
        card.push_str(&format!("\nWarning: {warning}.\n"));
    }
    for (name, value) in &record.beside {
        card.push_str(&format!("\n{name}: {value:.1}\n"));
    }
    card
}
