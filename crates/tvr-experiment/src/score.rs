//! Any similarity matrix from a file: read, normalise, judge. What `cargo xtask score` prints.
//!
//! Each direction is a run of its own: T2V normalises `[texts, videos]` with the bank of training texts, V2T
//! normalises the transpose with the bank of training videos. So a row can be *bank* in one direction and
//! *transductive* in the other; its own regime is the one that has seen more.

mod figures;
mod groups;
mod matrix;

use std::path::{Path, PathBuf};

use ndarray::Array2;
use serde::Serialize;
use tvr_metrics::{Direction, Judgement, MetricError, Summary, Truth, judge, ranks, video_to_text_best};
use tvr_normalize::{Chain, Family, NormalizeError, Normalizer, Scores};

pub use figures::{Figures, NamedInterval, RowFigures};
pub use tvr_metrics::{NonFinite, Policy, Resampling, Ties};
pub use tvr_normalize::Regime;

use crate::error::ExperimentError;
use crate::files;

/// What is judged, and how.
#[derive(Clone, Debug)]
pub struct Request {
    /// `[texts, videos]`: `S.npy`, or `FILE.safetensors:KEY`.
    pub similarity: String,
    /// The video of each text; without it the diagonal is true.
    pub groups: Option<PathBuf>,
    /// Normalisers, a row each; empty is `raw`.
    pub normalize: Vec<String>,
    /// `[bank texts, videos]`.
    pub text_bank: Option<String>,
    /// `[texts, bank videos]`.
    pub video_bank: Option<String>,
    /// Ties, scores that are no numbers, cut-offs.
    pub policy: Policy,
    /// 95 % intervals over queries.
    pub bootstrap: Option<Resampling>,
    /// Where the normalised matrices go.
    pub save: Option<PathBuf>,
}

/// A file that was read.
#[derive(Clone, Debug, Serialize)]
pub struct Input {
    /// `similarity`, `groups`, `text-bank` or `video-bank`.
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
    /// Draws, seed and level of the intervals.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bootstrap: Option<Resampling>,
    /// What was read.
    pub inputs: Vec<Input>,
    /// A row for each normaliser, in the order of the request.
    pub rows: Vec<RowFigures>,
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
}

/// Banks of training queries, both in the orientation of the scores.
#[derive(Clone, Copy, Debug, Default)]
struct Banks<'a> {
    /// `[bank texts, videos]`.
    text: Option<&'a Array2<f32>>,
    /// The transpose of `[texts, bank videos]`, row by row.
    video_transposed: Option<&'a Array2<f32>>,
}

/// Reads, normalises and judges.
///
/// # Errors
/// A spec that does not parse, a file that is not what its role asks for, scores that a normaliser or the metrics
/// refuse. Nothing is written before every row is judged.
pub fn score(request: &Request) -> Result<Report, ExperimentError> {
    let specs: &[String] =
        if request.normalize.is_empty() { &["raw".to_owned()] } else { &request.normalize };
    let chains = parse(specs).map_err(|error| ExperimentError::request(format!("--normalize: {error}")))?;
    let mut inputs = Vec::new();
    let scores = matrix::read("similarity", "[texts, videos]", &request.similarity, &mut inputs)?;
    let truth = groups::truth(&request.similarity, scores.dim(), request.groups.as_deref(), &mut inputs)?;
    let text_bank = match &request.text_bank {
        Some(name) => Some(text_bank(name, scores.ncols(), &mut inputs)?),
        None => None,
    };
    let video_bank = match &request.video_bank {
        Some(name) => Some(video_bank(name, scores.nrows(), &mut inputs)?),
        None => None,
    };
    let banks = Banks { text: text_bank.as_ref(), video_transposed: video_bank.as_ref() };

    let named = |error: Wrong| error.of(&request.similarity);
    let transposed = scores.t().as_standard_layout().into_owned();
    let mut judged = Vec::new();
    let mut warnings: Vec<String> = Vec::new();
    let mut matrices = Vec::new();
    for (spec, chain) in specs.iter().zip(&chains) {
        let normalised = Normalised::new(chain, &scores, &transposed, banks).map_err(named)?;
        let fresh = normalised.warnings.iter().filter(|warning| !warnings.contains(warning));
        warnings.extend(fresh.cloned().collect::<Vec<_>>());
        judged.push(normalised.judge(spec, &scores, &truth, &request.policy).map_err(|e| named(e.into()))?);
        if request.save.is_some() {
            matrices.push(normalised.matrices);
        }
    }
    let rows = figures::rows(&judged, &request.policy, request.bootstrap.as_ref())
        .map_err(|error| Wrong::from(error).of(&request.similarity))?;
    let saved = match &request.save {
        Some(folder) => save(folder, specs, matrices, &scores)?,
        None => Vec::new(),
    };
    Ok(Report {
        schema: "tvr-score/1",
        ties: request.policy.ties,
        non_finite: request.policy.non_finite,
        bootstrap: request.bootstrap,
        inputs,
        rows,
        warnings,
        saved,
    })
}

/// Judges one matrix `[texts, videos]` under several normalisers without banks, with the default policy.
///
/// # Errors
/// A spec that does not parse, or scores that a normaliser or the metrics refuse.
pub fn judge_rows(
    scores: &Array2<f32>,
    truth: &Truth,
    specs: &[String],
) -> Result<Vec<Row>, ExperimentError> {
    let chains = parse(specs).map_err(|error| ExperimentError::request(error.to_string()))?;
    let transposed = scores.t().as_standard_layout().into_owned();
    let mut rows = Vec::new();
    for (spec, chain) in specs.iter().zip(&chains) {
        let row = Normalised::new(chain, scores, &transposed, Banks::default())
            .and_then(|normalised| Ok(normalised.judge(spec, scores, truth, &Policy::default())?))
            .map_err(|error| error.of("similarities"))?;
        rows.push(row);
    }
    Ok(rows)
}

fn is_raw(chain: &Chain) -> bool {
    chain.steps().iter().all(|step| matches!(step, Family::Raw(_)))
}

fn parse(specs: &[String]) -> Result<Vec<Chain>, NormalizeError> {
    specs.iter().map(|spec| spec.parse()).collect()
}

/// What refused: told apart, because a wrong request has another exit code than wrong data.
#[derive(Debug)]
enum Wrong {
    Normalize(NormalizeError),
    Metric(MetricError),
}

impl From<NormalizeError> for Wrong {
    fn from(error: NormalizeError) -> Self {
        Self::Normalize(error)
    }
}

impl From<MetricError> for Wrong {
    fn from(error: MetricError) -> Self {
        Self::Metric(error)
    }
}

impl Wrong {
    /// Adds where the scores came from.
    fn of(self, source: &str) -> ExperimentError {
        use NormalizeError as N;
        match self {
            Self::Normalize(
                error @ (N::BankMissing { .. }
                | N::LonelyQuery { .. }
                | N::TooFew { .. }
                | N::MixedRows { .. }),
            ) => ExperimentError::request(format!("{source}: {error}")),
            Self::Normalize(error @ N::Setting { .. }) => {
                ExperimentError::request(format!("--normalize: {error}"))
            }
            Self::Normalize(error) => ExperimentError::work(format!("{source}: {error}")),
            Self::Metric(error @ (MetricError::Setting { .. } | MetricError::Choice { .. })) => {
                ExperimentError::request(error.to_string())
            }
            Self::Metric(error) => ExperimentError::work(format!("{source}: {error}")),
        }
    }
}

/// Both directions of one normaliser.
struct Normalised {
    regimes: [Regime; 2],
    warnings: Vec<String>,
    /// T2V `[texts, videos]`, V2T `[videos, texts]`; nothing where the scores stay as they are.
    matrices: Option<[Array2<f32>; 2]>,
}

impl Normalised {
    fn new(
        chain: &Chain,
        scores: &Array2<f32>,
        transposed: &Array2<f32>,
        banks: Banks<'_>,
    ) -> Result<Self, Wrong> {
        let block = |test: &'_ Array2<f32>, bank: Option<&'_ Array2<f32>>| -> Result<_, NormalizeError> {
            let mut block = Scores::new(test.view());
            block.query_bank = bank.map(|bank| bank.view());
            let regime = chain.regime(&block);
            let warnings: Vec<String> = chain.warnings(&block).iter().map(ToString::to_string).collect();
            // Raw is no copy, and takes scores that are not finite: the metrics' policy decides about them.
            let matrix = if is_raw(chain) { None } else { Some(chain.apply(&block)?) };
            Ok((regime, warnings, matrix))
        };
        let (text_regime, mut warnings, text_to_video) = block(scores, banks.text)?;
        let (video_regime, other, video_to_text) = block(transposed, banks.video_transposed)?;
        warnings.extend(other.into_iter().filter(|warning| !warnings.contains(warning)).collect::<Vec<_>>());
        let matrices = text_to_video.zip(video_to_text).map(|(text, video)| [text, video]);
        Ok(Self { regimes: [text_regime, video_regime], warnings, matrices })
    }

    fn judge(
        &self,
        spec: &str,
        scores: &Array2<f32>,
        truth: &Truth,
        policy: &Policy,
    ) -> Result<Row, MetricError> {
        let judgement = match &self.matrices {
            None => judge(scores.view(), truth, policy)?,
            Some([text_to_video, video_to_text]) => {
                let summary = |ranks| Summary::new(ranks, &policy.cutoffs);
                let back = video_to_text.t().as_standard_layout().into_owned(); // [texts, videos]
                let best = || video_to_text_best(back.view(), truth, policy).and_then(summary);
                Judgement {
                    text_to_video: summary(ranks(
                        text_to_video.view(),
                        truth,
                        Direction::TextToVideo,
                        policy,
                    )?)?,
                    video_to_text: summary(ranks(back.view(), truth, Direction::VideoToText, policy)?)?,
                    video_to_text_best: (!truth.is_one_to_one()).then(best).transpose()?,
                }
            }
        };
        let [text_to_video_regime, video_to_text_regime] = self.regimes;
        let regime = text_to_video_regime.max(video_to_text_regime);
        Ok(Row { normalize: spec.to_owned(), regime, text_to_video_regime, video_to_text_regime, judgement })
    }
}

fn text_bank(name: &str, videos: usize, inputs: &mut Vec<Input>) -> Result<Array2<f32>, ExperimentError> {
    let bank = matrix::read("text-bank", "[bank texts, videos]", name, inputs)?;
    if bank.ncols() != videos {
        return Err(ExperimentError::work(format!(
            "{name}: the text bank is {:?}, but the similarity has {videos} videos; its columns must be the same \
             test videos",
            bank.shape()
        )));
    }
    matrix::refuse_non_finite(name, &bank)?;
    Ok(bank)
}

/// Transposed, so that its rows are queries.
fn video_bank(name: &str, texts: usize, inputs: &mut Vec<Input>) -> Result<Array2<f32>, ExperimentError> {
    let bank = matrix::read("video-bank", "[texts, bank videos]", name, inputs)?;
    if bank.nrows() != texts {
        return Err(ExperimentError::work(format!(
            "{name}: the video bank is {:?}, but the similarity has {texts} texts; its rows must be the same test \
             texts",
            bank.shape()
        )));
    }
    matrix::refuse_non_finite(name, &bank)?;
    Ok(bank.t().as_standard_layout().into_owned())
}

/// Writes `NUMBER-SPEC.text_to_video.npy` and `NUMBER-SPEC.video_to_text.npy`, both `[texts, videos]`, so that each
/// can be judged again as it is.
fn save(
    folder: &Path,
    specs: &[String],
    matrices: Vec<Option<[Array2<f32>; 2]>>,
    scores: &Array2<f32>,
) -> Result<Vec<PathBuf>, ExperimentError> {
    let mut saved = Vec::new();
    for (index, (spec, matrices)) in specs.iter().zip(matrices).enumerate() {
        let safe = |c: char| if c.is_ascii_alphanumeric() || "-=.".contains(c) { c } else { '_' };
        let stem: String = spec.trim().chars().map(safe).collect();
        let [text_to_video, video_to_text] = match matrices {
            Some([text, video]) => [text, video.t().as_standard_layout().into_owned()],
            None => [scores.clone(), scores.clone()],
        };
        for (direction, values) in [("text_to_video", text_to_video), ("video_to_text", video_to_text)] {
            let path = folder.join(format!("{}-{stem}.{direction}.npy", index + 1));
            files::write_whole(&path, &matrix::npy(&values).map_err(ExperimentError::file(&path, "write"))?)?;
            saved.push(path);
        }
    }
    Ok(saved)
}
