//! Every legal head and normaliser, with a bank and without, with EMCL at inference and without, judge a matrix; every
//! illegal meeting is refused, with its reason.

use burn::prelude::*;
use ndarray::Array2;
use tvr_experiment::ExperimentError;
use tvr_experiment::banks::{self, TrainingBank};
use tvr_experiment::recipe::{
    BankRecipe, EmclRecipe, EmclScope, EmclSimilarity, EvalRecipe, ObjectiveRecipe,
};
use tvr_experiment::score::{Regime, judge_rows};
use tvr_heads::emcl::{Inference, Scope};
use tvr_heads::{EmclConfig, Head, TextCodes, Tile, VideoCodes, score_all};
use tvr_metrics::Truth;
use tvr_normalize::{Entry, Family};
use tvr_objectives::SymmetricConfig;

use super::{ENCODERS, Encoder, VIDEOS, heads, reason};

/// What makes logits of cosines.
const SCALE: f32 = 10.0;

/// Seen by EMCL at inference.
const SCOPES: [Option<EmclScope>; 4] =
    [None, Some(EmclScope::Tiles), Some(EmclScope::Everything), Some(EmclScope::Bank)];

/// Why these do not go together, written down by name; `None` where they do.
fn refusal(entry: &Entry, bank: bool, by_vectors: bool, emcl: Option<EmclScope>) -> Option<&'static str> {
    if !bank && entry.without_bank.is_none() {
        return Some("; add eval.bank = { texts = ..., videos = ... }");
    }
    if bank && !by_vectors && entry.name == "dual-bank" {
        return Some("training and test items of one side cannot be compared; choose another normaliser");
    }
    if bank && emcl.is_some() && entry.name == "dual-bank" {
        return Some("one side cannot be compared; leave one of the two out");
    }
    if emcl.is_some() && !by_vectors {
        return Some(
            "eval.emcl works on one vector of each text and of each video, but this [head] judges every pair",
        );
    }
    if emcl == Some(EmclScope::Bank) && !bank {
        return Some("eval.emcl.scope = \"bank\" needs training items");
    }
    None
}

/// A spec for few items; a neighbourhood of ten or more is larger than the data.
fn spec(entry: &Entry) -> String {
    match entry.name {
        "csls" | "nnn" => format!("{}:k=3", entry.name),
        name => name.into(),
    }
}

fn logits(cosines: Tensor<2>) -> Array2<f32> {
    let shape = cosines.dims();
    let values = (cosines * SCALE).into_data().iter::<f32>().collect();
    Array2::from_shape_vec(shape, values).unwrap()
}

type Codes = (TextCodes, VideoCodes);

/// Test logits, the bank's, and what they have seen.
fn scored<H: Head>(
    head: &H,
    (test, training): (&Codes, &Codes),
    emcl: Option<(&Inference, EmclScope)>,
    by_vectors: bool,
) -> (Array2<f32>, TrainingBank, Regime) {
    let moments =
        emcl.map(|(layer, _)| layer.bank([training.1.pooled.clone(), training.0.pooled.clone()]).unwrap());
    let score = |texts: &TextCodes, videos: &VideoCodes| -> Result<Array2<f32>, ExperimentError> {
        let cosines = match (emcl, &moments) {
            (Some((layer, scope)), Some(moments)) => {
                let scope = match scope {
                    EmclScope::Tiles => Scope::Tiles(Tile { texts: 4, videos: 4 }),
                    EmclScope::Everything => Scope::Everything,
                    EmclScope::Bank => Scope::Bank(moments),
                };
                layer.cosines(&texts.pooled, &videos.pooled, scope)
            }
            _ => score_all(head, texts, videos, Tile::of(head)),
        };
        Ok(logits(cosines.unwrap()))
    };
    let scale = (by_vectors && emcl.is_none()).then_some(SCALE);
    let bank = banks::score(training, test, scale, score).unwrap();
    let seen = match emcl {
        Some((_, EmclScope::Bank)) => Regime::Bank,
        Some(_) => Regime::Transductive,
        None if head.needs().mixes_items => Regime::Transductive,
        None => Regime::Raw,
    };
    (score(&test.0, &test.1).unwrap(), bank, seen)
}

#[test]
fn every_head_and_normaliser_judge_together_or_are_refused_with_the_reason() {
    let _alone = crate::run::generator();
    let device = Device::flex();
    let symmetric = ObjectiveRecipe::Symmetric(SymmetricConfig::ours());
    let layer = EmclConfig { bases: 3, ..EmclConfig::inference() };
    let inference = layer.at_inference(super::WIDTH, 0, &device).unwrap();
    let (mut judged, mut refused) = (0, 0);
    for encoder in ENCODERS {
        let offer = encoder.offer();
        for head_recipe in heads() {
            if reason(encoder, &head_recipe, &symmetric).is_some() {
                continue;
            }
            device.seed(3);
            let head = head_recipe.init(&offer, &device).unwrap();
            let by_vectors = !head.needs().judges_pairs;
            let (test, training) = coded(encoder, &head, &device);
            for emcl in SCOPES {
                let plain = emcl.is_none() || by_vectors;
                let with = emcl.map(|scope| (&inference, scope));
                let found = plain.then(|| scored(&head, (&test, &training), with, by_vectors));
                for (entry, bank) in Family::ALL.iter().flat_map(|entry| [(entry, false), (entry, true)]) {
                    let name = format!("{encoder:?}, {head_recipe:?}, {emcl:?}, {}, bank {bank}", entry.name);
                    let recipe = EvalRecipe {
                        normalize: vec![spec(entry)],
                        bank: bank.then_some(BankRecipe { texts: 2 * VIDEOS, videos: VIDEOS, seed: 0 }),
                        emcl: emcl.map(|scope| EmclRecipe {
                            scope,
                            similarity: EmclSimilarity::default(),
                            seed: 0,
                            layer: layer.clone(),
                        }),
                        ..EvalRecipe::default()
                    };
                    let checked = banks::check(&recipe, &offer, by_vectors);
                    if let Some(reason) = refusal(entry, bank, by_vectors, emcl) {
                        let error = checked.expect_err(&name);
                        assert!(error.to_string().contains(reason), "{name}: {error}");
                        assert_eq!(error.exit_code(), 2);
                        refused += 1;
                        continue;
                    }
                    checked.unwrap_or_else(|error| panic!("{name}: {error}"));
                    let (scores, training, seen) = found.as_ref().unwrap();
                    let banks = if bank { training.of_directions() } else { Default::default() };
                    let truth = Truth::diagonal(VIDEOS);
                    let rows = judge_rows(scores, &truth, &recipe.normalize, banks, *seen)
                        .unwrap_or_else(|error| panic!("{name}: {error}"));
                    let [row] = rows.rows.as_slice() else { panic!("{name}: {} rows", rows.rows.len()) };
                    let own = if bank { Some(entry.with_bank) } else { entry.without_bank };
                    assert_eq!(row.regime, own.unwrap().max(*seen), "{name}");
                    let judgement = &row.judgement;
                    for summary in [&judgement.text_to_video, &judgement.video_to_text] {
                        assert!((1.0..=VIDEOS as f64).contains(&summary.mean_rank), "{name}: {summary:?}");
                    }
                    judged += 1;
                }
            }
        }
    }
    assert!(judged > 1000 && refused > 1000, "{judged} {refused}");
}

/// Codes of one caption of each video and of the videos, and of all captions and videos as training items.
fn coded<H: Head>(encoder: Encoder, head: &H, device: &Device) -> (Codes, Codes) {
    let corpus = encoder.corpus();
    let (text, video) = encoder.encoders(device);
    let needs = head.needs();
    let code = |texts: &[usize], videos: &[usize]| {
        let videos = corpus.video_features(videos, None, &needs, device).unwrap();
        let texts = text.encode(&corpus, texts, &needs, device);
        (head.code_texts(texts), head.code_videos(video.encode(videos)))
    };
    let videos: Vec<usize> = (0..VIDEOS).collect();
    let all: Vec<usize> = (0..2 * VIDEOS).collect();
    (code(&corpus.queries, &videos), code(&all, &videos))
}
