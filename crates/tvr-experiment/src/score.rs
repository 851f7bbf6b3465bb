//! Any similarity matrix from a file, or the cosines of vectors from files: read, normalise, judge. What
//! `cargo xtask score` prints.
//!
//! Each direction is a run of its own: T2V normalises `[texts, videos]` with the bank of training texts, V2T
//! normalises the transpose with the bank of training videos. So a row can be *bank* in one direction and
//! *transductive* in the other; its own regime is the one that has seen more.

mod against;
mod banks;
mod figures;
mod groups;
mod matrix;
mod narrow;
mod normalised;
mod request;
mod save;
mod scorer;
mod settle;
pub(crate) mod shards;
mod vectors;
mod wrong;

use std::collections::BTreeMap;
use std::path::PathBuf;

use ndarray::Array2;
use serde::Serialize;
use tvr_metrics::{Judgement, Representation, Truth};
use tvr_normalize::{Chain, NormalizeError};

pub use banks::Banks;
pub use figures::{Figures, NamedInterval, NormalisationError, RowFigures};
pub use request::{Given, Request};
pub use settle::Settled;
pub use shards::{Written, holds_scores, merge, share};
pub use tvr_metrics::{NonFinite, Policy, Resampling, Ties};
pub use tvr_normalize::Regime;
pub use vectors::Vectors;

use against::Other;
use banks::BankFiles;
use figures::Figured;
use normalised::{Both, Normalised};
pub(crate) use save::Changes;
use save::{Saved, refuse_inputs, save};
pub(crate) use scorer::{Scored, Scorer, to_matrix};
pub(crate) use settle::{open, settle};
use wrong::Wrong;

use crate::error::ExperimentError;

/// A file that was read.
#[derive(Clone, Debug, Serialize)]
pub struct Input {
    /// The option that named it, without dashes before it: `similarity`, `groups`, `text-bank`.
    pub role: &'static str,
    /// As it was named.
    pub path: String,
    /// Its shape.
    pub shape: Vec<usize>,
    /// Of the whole file.
    pub sha256: String,
}

/// `tvr-score/1`.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// `tvr-score/1`.
    pub schema: &'static str,
    /// Where the true item stands among equals.
    pub ties: Ties,
    /// What a score that is no number does.
    pub non_finite: NonFinite,
    /// What a score was multiplied with for the normalisation error.
    pub logit_scale: f32,
    /// Draws, seed and level of the intervals.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bootstrap: Option<Resampling>,
    /// What was read.
    pub inputs: Vec<Input>,
    /// A row for each normaliser, in the order of the request.
    pub rows: Vec<RowFigures>,
    /// The same rows of the other system, where one was named.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub against: Vec<RowFigures>,
    /// Which items a score depends on beside its own pair, in words; nothing where on none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mixing: Option<String>,
    /// How many directions the vectors spread over before and after EMCL: `(Σ σ²)² / Σ σ⁴` of their singular values; in
    /// tiles the mean over those of the diagonal.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub effective_ranks: Option<[f64; 2]>,
    /// By the row whose setting was chosen on val, the normaliser with its alternatives.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub chosen: BTreeMap<String, String>,
    /// What makes a row doubtful.
    pub warnings: Vec<String>,
    /// The normalised matrices, where they were asked for.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub saved: Vec<PathBuf>,
}

/// One normaliser's judgement.
#[derive(Clone, Debug)]
pub struct Row {
    /// The normaliser, as it was named.
    pub normalize: String,
    /// What it has seen: of both directions, the one that has seen more.
    pub regime: Regime,
    /// What T2V has seen.
    pub text_to_video_regime: Regime,
    /// What V2T has seen.
    pub video_to_text_regime: Regime,
    /// The figures.
    pub judgement: Judgement,
    /// How evenly the videos (T2V) and the texts (V2T) are represented; nothing where scores are not finite, or no logits.
    pub representation: Option<[Representation; 2]>,
}

impl Row {
    /// The row of scores that have themselves seen as much as `least`.
    fn after(mut self, least: Regime) -> Self {
        for regime in [&mut self.regime, &mut self.text_to_video_regime, &mut self.video_to_text_regime] {
            *regime = least.max(*regime);
        }
        self
    }
}

/// The normalisers of a request, with the settings that they leave open chosen on val.
fn specs(request: &Request, inputs: &mut Vec<Input>) -> Result<Settled, ExperimentError> {
    let wrong = |text: String| Err(ExperimentError::request(text));
    match (open(&request.normalize), &request.val) {
        (None, None) if request.normalize.is_empty() => Ok(Settled::as_given(&["raw".to_owned()])),
        (None, None) => Ok(Settled::as_given(&request.normalize)),
        (None, Some(val)) => wrong(format!(
            "--val {val}: no --normalize leaves a setting open; write alternatives, as dual-softmax:temperature=0.5|1|2"
        )),
        (Some(spec), None) => wrong(format!(
            "--normalize {spec}: it leaves a setting open; give --val, the same system's similarity on val, to choose on"
        )),
        (Some(spec), Some(_)) if request.has_bank() => wrong(format!(
            "--normalize {spec}: score has no banks against val to choose with; choose in a recipe, or leave banks out"
        )),
        (Some(_), Some(val)) => {
            let scores = matrix::read("val", "[texts, videos]", val, inputs)?;
            let truth =
                groups::truth("val-groups", val, scores.dim(), request.val_groups.as_deref(), inputs)?;
            settle(&request.normalize, &scores, &truth, [Banks::default(); 2])
        }
    }
}

/// Refuses scores of val that are the judged ones: what is chosen on them is chosen on what is judged.
fn refuse_val(inputs: &[Input]) -> Result<(), ExperimentError> {
    let of = |role: &str| inputs.iter().find(|input| input.role == role);
    let (Some(val), Some(judged)) = (of("val"), of("similarity")) else { return Ok(()) };
    // One file may hold both, as two tensors.
    let key = |input: &Input| matrix::file_and_key(&input.path).1.map(str::to_owned);
    if val.sha256 != judged.sha256 || key(val) != key(judged) {
        return Ok(());
    }
    let (val, judged) = (&val.path, &judged.path);
    Err(ExperimentError::request(format!(
        "--val {val}: these are the scores of {judged}, which are judged; give scores of other items, those of val"
    )))
}

/// Reads, normalises and judges.
///
/// # Errors
/// A spec that does not parse, a file that is not what its role asks for, scores that a normaliser or the metrics
/// refuse. Nothing is written before every row is judged.
pub fn score(request: &Request) -> Result<Report, ExperimentError> {
    let name = request.given.name();
    let mut inputs = Vec::new();
    request.check()?;
    let Settled { specs, chosen } = specs(request, &mut inputs)?;
    let chains = parse(&specs).map_err(|error| ExperimentError::request(format!("--normalize: {error}")))?;
    request.check_rows(&specs, &chains)?;
    let Scored { scores, bank, regime: least, mixing, effective_ranks } = match &request.given {
        Given::Similarity(name) => {
            Scored::raw(matrix::read("similarity", "[texts, videos]", name, &mut inputs)?)
        }
        Given::Vectors(vectors) => vectors.score(&mut inputs)?,
    };
    refuse_val(&inputs)?;
    let truth = groups::truth("groups", name, scores.dim(), request.groups.as_deref(), &mut inputs)?;
    let files = BankFiles::read(request, [scores.nrows(), scores.ncols()], &mut inputs)?;
    let banks = match &bank {
        Some(bank) => bank.of_directions(),
        None => [files.text_to_video(), files.video_to_text()],
    };

    let other = Other::read(request, &scores, &mut inputs)?;
    let input = Both::new(&scores, &truth, request.logit_scale);
    let named = |error: Wrong| error.of(name);
    if let Some(folder) = &request.save {
        refuse_inputs(folder, &inputs)?;
    }
    let before = if request.save.is_some() { input.represented() } else { None };
    let mut judged = Vec::new();
    let mut warnings = Vec::new();
    let mut kept = Vec::new();
    for (spec, chain) in specs.iter().zip(&chains) {
        let normalised = Normalised::new(chain, &input, banks).map_err(named)?;
        say_once(&mut warnings, normalised.warnings.clone());
        let row = normalised.judge(spec, &input, &request.policy).map_err(|e| named(e.into()))?.after(least);
        if request.save.is_some() {
            let after = row.representation.as_ref();
            let represented = Changes::between(spec, request.logit_scale, before.as_ref(), after)
                .map_err(|error| named(error.into()))?;
            let Normalised { matrices, biases, .. } = normalised;
            kept.push(Saved { matrices, biases, represented });
        }
        judged.push(row);
    }
    let figures = Figured { truth: &truth, policy: &request.policy, resampling: request.bootstrap.as_ref() };
    let against = match &other {
        Some(other) => other.judged(&specs, &chains, &truth, request, &mut warnings)?,
        None => Vec::new(),
    };
    let first = (against.is_empty()).then(|| judged.first()).flatten();
    let baseline = |index: usize| against.get(index).or(first.filter(|_| index > 0));
    let rows = figures.rows(&judged, baseline).map_err(|error| Wrong::from(error).of(name))?;
    let against = figures.rows(&against, |_| None).map_err(|error| Wrong::from(error).of(name))?;
    let saved = match &request.save {
        Some(folder) => save(folder, &specs, kept, &scores)?,
        None => Vec::new(),
    };
    Ok(Report {
        schema: "tvr-score/1",
        ties: request.policy.ties,
        non_finite: request.policy.non_finite,
        logit_scale: request.logit_scale,
        bootstrap: request.bootstrap,
        inputs,
        rows,
        against,
        mixing,
        effective_ranks,
        chosen,
        warnings,
        saved,
    })
}

/// Rows, and what makes some of them doubtful.
#[derive(Clone, Debug)]
pub struct Rows {
    /// A row for each normaliser.
    pub rows: Vec<Row>,
    /// Each said once, however many rows and directions it is true of.
    pub warnings: Vec<String>,
}

/// Adds what is not said yet.
fn say_once(said: &mut Vec<String>, warnings: Vec<String>) {
    for warning in warnings {
        if !said.contains(&warning) {
            said.push(warning);
        }
    }
}

/// Judges a run's logits on val as they are, with the default policy.
///
/// # Errors
/// Scores that the metrics refuse.
pub(crate) fn judge_val(scores: &Array2<f32>, truth: &Truth) -> Result<Judgement, ExperimentError> {
    tvr_metrics::judge(scores.view(), truth, &Policy::default())
        .map_err(|error| Wrong::from(error).of_model("the scores of val"))
}

/// Judges one matrix of logits `[texts, videos]` under several normalisers, with the default policy.
///
/// - `banks`: of T2V and of V2T
/// - `least`: what the matrix itself has seen; no row has seen less
///
/// # Errors
/// A spec that does not parse, or scores that a normaliser or the metrics refuse.
pub fn judge_rows(
    scores: &Array2<f32>,
    truth: &Truth,
    specs: &[String],
    banks: [Banks<'_>; 2],
    least: Regime,
) -> Result<Rows, ExperimentError> {
    let chains = parse(specs).map_err(|error| ExperimentError::request(error.to_string()))?;
    let input = Both::new(scores, truth, 1.0);
    let (mut rows, mut warnings) = (Vec::new(), Vec::new());
    for (spec, chain) in specs.iter().zip(&chains) {
        let (normalised, row) = Normalised::new(chain, &input, banks)
            .and_then(|normalised| {
                let row = normalised.judge(spec, &input, &Policy::default())?;
                Ok((normalised, row))
            })
            .map_err(|error| error.of_model("similarities"))?;
        rows.push(row.after(least));
        say_once(&mut warnings, normalised.warnings);
    }
    Ok(Rows { rows, warnings })
}

fn parse(specs: &[String]) -> Result<Vec<Chain>, NormalizeError> {
    specs.iter().map(|spec| spec.parse()).collect()
}
