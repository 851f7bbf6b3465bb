//! One matrix, both directions, one normaliser: the scores as it leaves them, and their judgement.

use ndarray::{Array1, Array2};
use tvr_metrics::{
    Direction, Judgement, MetricError, Policy, Representation, Summary, Truth, judge, ranks, representation,
    video_to_text_best,
};
use tvr_normalize::{Chain, Family, NormalizeError, Normalizer, Regime, Scores, Side};

use super::wrong::Wrong;
use super::{Banks, Row};

/// Scores in both orientations, and what is true of them.
pub(super) struct Both<'a> {
    pub(super) scores: &'a Array2<f32>,
    transposed: Array2<f32>,
    truth: &'a Truth,
    /// 1 over the captions of a text's video; nothing where each has one.
    weights: Option<Vec<f32>>,
    logit_scale: f32,
}

impl<'a> Both<'a> {
    pub(super) fn new(scores: &'a Array2<f32>, truth: &'a Truth, logit_scale: f32) -> Self {
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

    /// How evenly each gallery is represented by the scores.
    pub(super) fn represented(&self) -> Option<[Representation; 2]> {
        self.represented_by(self.scores, &self.transposed)
    }

    /// The same by other scores in their unit, T2V `[texts, videos]` and V2T `[videos, texts]`.
    fn represented_by(&self, text: &Array2<f32>, video: &Array2<f32>) -> Option<[Representation; 2]> {
        // Each matrix has its own queries as rows; scores that are no numbers have no probabilities.
        let of = |matrix: &Array2<f32>| {
            let logits = if self.logit_scale == 1.0 { None } else { Some(matrix * self.logit_scale) };
            representation(logits.as_ref().unwrap_or(matrix).view(), Direction::TextToVideo).ok()
        };
        Some([of(text)?, of(video)?])
    }
}

/// Whether a chain leaves the scores as they are.
pub(super) fn is_raw(chain: &Chain) -> bool {
    chain.steps().iter().all(|step| matches!(step, Family::Raw(_)))
}

/// Both directions of one normaliser.
pub(super) struct Normalised {
    regimes: [Regime; 2],
    pub(super) warnings: Vec<String>,
    /// T2V `[texts, videos]`, V2T `[videos, texts]`; nothing where the scores stay as they are.
    pub(super) matrices: Option<[Array2<f32>; 2]>,
    /// Of methods in bias form.
    pub(super) biases: [Option<Array1<f32>>; 2],
    /// Whether the matrices have the unit of the scores.
    in_unit: bool,
}

impl Normalised {
    pub(super) fn new(chain: &Chain, input: &Both<'_>, banks: [Banks<'_>; 2]) -> Result<Self, Wrong> {
        let block = |test: &Array2<f32>, banks: &Banks<'_>, queries: Side| -> Result<_, NormalizeError> {
            let mut block = Scores::new(test.view()).with_queries(queries);
            block.query_bank = banks.queries.map(|bank| bank.reborrow());
            block.gallery_bank = banks.items.map(|bank| bank.reborrow());
            block.bank_gallery = banks.own.map(|bank| bank.reborrow());
            if queries == Side::Texts {
                block.query_weights = input.weights.as_deref();
            }
            let regime = chain.regime(&block);
            // Raw is no copy, and takes scores that are not finite: the metrics' policy decides about them.
            if is_raw(chain) {
                return Ok((regime, Vec::new(), None, None));
            }
            let (matrix, bias, warnings) = chain.apply_and_warn(&block)?;
            let warnings: Vec<String> = warnings.iter().map(ToString::to_string).collect();
            Ok((regime, warnings, Some(matrix), bias))
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
        let (regimes, biases) = ([text_regime, video_regime], [text_bias, video_bias]);
        Ok(Self { regimes, warnings, matrices, biases, in_unit: chain.keeps_unit() })
    }

    /// How evenly each gallery is represented now. Probabilities are made of logits: of the matrices where they have the
    /// scores' unit, else of the scores with the biases that give them the same order. Shares, and scores times shares, are
    /// no logits, and have none.
    fn represented(&self, input: &Both<'_>) -> Option<[Representation; 2]> {
        match (&self.matrices, &self.biases) {
            (None, _) => input.represented(),
            (Some([text, video]), _) if self.in_unit => input.represented_by(text, video),
            (Some(_), [Some(text), Some(video)]) => {
                input.represented_by(&(input.scores + text), &(&input.transposed + video))
            }
            (Some(_), _) => None,
        }
    }

    pub(super) fn judge(&self, spec: &str, input: &Both<'_>, policy: &Policy) -> Result<Row, MetricError> {
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
            representation: self.represented(input),
        })
    }
}
