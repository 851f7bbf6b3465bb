//! Any similarity matrix from a file: read, normalise, judge. What `cargo xtask score` prints.
//!
//! Each direction is a run of its own: T2V normalises `[texts, videos]` with the bank of training texts, V2T
//! normalises the transpose with the bank of training videos. So a row can be *bank* in one direction and
//! *transductive* in the other; its own regime is the one that has seen more.

mod banks;
mod figures;
mod groups;
mod matrix;
mod save;

use std::path::PathBuf;

use ndarray::{Array1, Array2};
use serde::Serialize;
use tvr_metrics::{
    Direction, Judgement, MetricError, Representation, Summary, Truth, judge, ranks, representation,
    video_to_text_best,
};
use tvr_normalize::{Chain, Family, NormalizeError, Normalizer, Scores, Side};

pub use banks::Banks;
pub use figures::{Figures, NamedInterval, NormalisationError, RowFigures};
pub use tvr_metrics::{NonFinite, Policy, Resampling, Ties};
pub use tvr_normalize::Regime;

use banks::BankFiles;
pub(crate) use save::Changes;
use save::{Saved, save};

use crate::error::ExperimentError;

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
    /// `[bank videos, videos]`: the gallery bank of T2V.
    pub gallery_bank: Option<String>,
    /// `[bank texts, texts]`: the gallery bank of V2T.
    pub gallery_bank_texts: Option<String>,
    /// `[bank texts, bank videos]`: the bank's own gallery, for both directions.
    pub bank_similarity: Option<String>,
    /// What a score is multiplied with to be a logit; the normalisation error alone asks.
    pub logit_scale: f32,
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
    /// `similarity`, `groups`, or the name of a bank, as the option that gave it.
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
    /// How evenly the videos (T2V) and the texts (V2T) are represented; nothing where scores are not finite.
    pub representation: Option<[Representation; 2]>,
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
    let banks = BankFiles::read(request, [scores.nrows(), scores.ncols()], &mut inputs)?;

    let input = Both::new(&scores, &truth, request.logit_scale);
    let named = |error: Wrong| error.of(&request.similarity);
    let before = input.represented(None);
    let mut judged = Vec::new();
    let mut warnings: Vec<String> = Vec::new();
    let mut kept = Vec::new();
    for (spec, chain) in specs.iter().zip(&chains) {
        let both = [banks.text_to_video(), banks.video_to_text()];
        let normalised = Normalised::new(chain, &input, both, request.save.is_some()).map_err(named)?;
        let fresh = normalised.warnings.iter().filter(|warning| !warnings.contains(warning));
        warnings.extend(fresh.cloned().collect::<Vec<_>>());
        let row = normalised.judge(spec, &input, &request.policy).map_err(|e| named(e.into()))?;
        if request.save.is_some() {
            let changes = match (&before, &row.representation) {
                (Some([text, video]), Some([text_after, video_after])) => {
                    let changes = [text.change(text_after), video.change(video_after)];
                    let [text, video] = changes.map(|change| change.map_err(|error| named(error.into())));
                    Some(Changes::new(spec, request.logit_scale, [text?, video?]))
                }
                _ => None,
            };
            let Normalised { matrices, biases, .. } = normalised;
            kept.push(Saved { matrices, biases, represented: changes });
        }
        judged.push(row);
    }
    let rows = figures::rows(&judged, &request.policy, request.bootstrap.as_ref())
        .map_err(|error| Wrong::from(error).of(&request.similarity))?;
    let saved = match &request.save {
        Some(folder) => save(folder, specs, kept, &scores)?,
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
        warnings,
        saved,
    })
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
) -> Result<Vec<Row>, ExperimentError> {
    let chains = parse(specs).map_err(|error| ExperimentError::request(error.to_string()))?;
    let input = Both::new(scores, truth, 1.0);
    let mut rows = Vec::new();
    for (spec, chain) in specs.iter().zip(&chains) {
        let mut row = Normalised::new(chain, &input, banks, false)
            .and_then(|normalised| Ok(normalised.judge(spec, &input, &Policy::default())?))
            .map_err(|error| error.of("similarities"))?;
        for regime in [&mut row.regime, &mut row.text_to_video_regime, &mut row.video_to_text_regime] {
            *regime = least.max(*regime);
        }
        rows.push(row);
    }
    Ok(rows)
}

/// Scores in both orientations, and what is true of them.
struct Both<'a> {
    scores: &'a Array2<f32>,
    transposed: Array2<f32>,
    truth: &'a Truth,
    /// 1 over the captions of a text's video; nothing where each has one.
    weights: Option<Vec<f32>>,
    logit_scale: f32,
}

impl<'a> Both<'a> {
    fn new(scores: &'a Array2<f32>, truth: &'a Truth, logit_scale: f32) -> Self {
        let mut captions = vec![0usize; truth.videos()];
        truth.video_of().iter().for_each(|&video| captions[video] += 1);
        let weight = |&video: &usize| 1.0 / captions[video] as f32;
        Self {
            scores,
            transposed: scores.t().as_standard_layout().into_owned(),
            truth,
            weights: (!truth.is_one_to_one()).then(|| truth.video_of().iter().map(weight).collect()),
            logit_scale,
        }
    }

    /// How evenly each gallery is represented by matrices of both directions, or by the scores.
    fn represented(&self, matrices: Option<&[Array2<f32>; 2]>) -> Option<[Representation; 2]> {
        // Each matrix has its own queries as rows; scores that are no numbers have no probabilities.
        let of = |matrix: &Array2<f32>| {
            let logits = if self.logit_scale == 1.0 { None } else { Some(matrix * self.logit_scale) };
            representation(logits.as_ref().unwrap_or(matrix).view(), Direction::TextToVideo).ok()
        };
        let [text, video] = match matrices {
            Some([text, video]) => [text, video],
            None => [self.scores, &self.transposed],
        };
        Some([of(text)?, of(video)?])
    }
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
    Bank { method: &'static str, direction: &'static str, bank: &'static str, option: &'static str },
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
            Self::Bank { method, direction, bank, option } => ExperimentError::request(format!(
                "--normalize: {method} has no {bank} for {direction}, and needs one; give --{option}"
            )),
            Self::Normalize(
                error @ (N::BankMissing { .. }
                | N::LonelyQuery { .. }
                | N::TooFew { .. }
                | N::MixedRows { .. }
                | N::NotFirst { .. }),
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

    /// A missing bank belongs to a direction, and to the option that would bring it.
    fn in_direction(error: NormalizeError, queries: Side) -> Self {
        let NormalizeError::BankMissing { method, bank } = error else { return Self::Normalize(error) };
        let (direction, options) = match queries {
            Side::Texts => ("T2V", ["text-bank", "gallery-bank"]),
            Side::Videos => ("V2T", ["video-bank", "gallery-bank-texts"]),
        };
        let option = match bank {
            "query bank" => options[0],
            "gallery bank" => options[1],
            _ => "bank-similarity",
        };
        Self::Bank { method, direction, bank, option }
    }
}

/// Both directions of one normaliser.
struct Normalised {
    regimes: [Regime; 2],
    warnings: Vec<String>,
    /// T2V `[texts, videos]`, V2T `[videos, texts]`; nothing where the scores stay as they are.
    matrices: Option<[Array2<f32>; 2]>,
    /// Of methods in bias form, where they were asked for.
    biases: [Option<Array1<f32>>; 2],
}

impl Normalised {
    fn new(chain: &Chain, input: &Both<'_>, banks: [Banks<'_>; 2], with_biases: bool) -> Result<Self, Wrong> {
        let block = |test: &Array2<f32>, banks: &Banks<'_>, queries: Side| -> Result<_, NormalizeError> {
            let mut block = Scores::new(test.view()).with_queries(queries);
            block.query_bank = banks.queries.map(|bank| bank.reborrow());
            block.gallery_bank = banks.items.map(|bank| bank.reborrow());
            block.bank_gallery = banks.own.map(|bank| bank.reborrow());
            if queries == Side::Texts {
                block.query_weights = input.weights.as_deref();
            }
            let regime = chain.regime(&block);
            let warnings: Vec<String> = chain.warnings(&block).iter().map(ToString::to_string).collect();
            // Raw is no copy, and takes scores that are not finite: the metrics' policy decides about them.
            let matrix = if is_raw(chain) { None } else { Some(chain.apply(&block)?) };
            let bias = if with_biases && !is_raw(chain) { chain.bias(&block)? } else { None };
            Ok((regime, warnings, matrix, bias))
        };
        let [text_banks, video_banks] = banks;
        let (text_regime, mut warnings, text_to_video, text_bias) =
            block(input.scores, &text_banks, Side::Texts)
                .map_err(|error| Wrong::in_direction(error, Side::Texts))?;
        let (video_regime, other, video_to_text, video_bias) =
            block(&input.transposed, &video_banks, Side::Videos)
                .map_err(|error| Wrong::in_direction(error, Side::Videos))?;
        warnings.extend(other.into_iter().filter(|warning| !warnings.contains(warning)).collect::<Vec<_>>());
        let matrices = text_to_video.zip(video_to_text).map(|(text, video)| [text, video]);
        Ok(Self { regimes: [text_regime, video_regime], warnings, matrices, biases: [text_bias, video_bias] })
    }

    fn judge(&self, spec: &str, input: &Both<'_>, policy: &Policy) -> Result<Row, MetricError> {
        let truth = input.truth;
        let judgement = match &self.matrices {
            None => judge(input.scores.view(), truth, policy)?,
            Some([text_to_video, video_to_text]) => {
                let summary = |ranks| Summary::new(ranks, &policy.cutoffs);
                let back = video_to_text.t().as_standard_layout().into_owned(); // [texts, videos]
                let best = || video_to_text_best(back.view(), truth, policy).and_then(summary);
                let text = ranks(text_to_video.view(), truth, Direction::TextToVideo, policy)?;
                Judgement {
                    text_to_video: summary(text)?,
                    video_to_text: summary(ranks(back.view(), truth, Direction::VideoToText, policy)?)?,
                    video_to_text_best: (!truth.is_one_to_one()).then(best).transpose()?,
                }
            }
        };
        let [text_to_video_regime, video_to_text_regime] = self.regimes;
        Ok(Row {
            normalize: spec.to_owned(),
            regime: text_to_video_regime.max(video_to_text_regime),
            text_to_video_regime,
            video_to_text_regime,
            judgement,
            representation: input.represented(self.matrices.as_ref()),
        })
    }
}
