//! Weighted sums of objectives.

use burn::tensor::DType;
use proptest::prelude::*;
use tvr_objectives::{HingeConfig, NclConfig, Objective, SupportSetConfig, SymmetricConfig, Term, Weighted};

use crate::common::{Batch, Draw, assert_close, diagonal, gradient, judged, loss, matrix};

fn term<O>(name: &str, weight: f32, objective: O) -> Term<O> {
    Term { name: name.into(), weight, objective }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn p_a_weighted_sum_has_the_values_and_gradients_of_its_terms(
        n in 1usize..7, first in 0f32..3.0, second in 0.01f32..3.0, seed: u64,
    ) {
        let mut draw = Draw::new(seed);
        let (logits, same) = (draw.scores(n, n, 5.0), draw.same(n, n));
        let [hard, all] = [HingeConfig::paper(), HingeConfig { margin: 0.5, ..HingeConfig::reference() }]
            .map(|config| HingeConfig { positives: tvr_objectives::Positives::Same, ..config }.init().unwrap());
        let terms = vec![term("hard", first, hard.clone()), term("all", second, all.clone())];
        let sum = Weighted::new(terms).unwrap();
        let (total, parts) = judged(&sum, &logits, &same, &diagonal(n));
        let values = [loss(&hard, &logits, &same), loss(&all, &logits, &same)];
        let weigh = |a: f64, b: f64| f64::from(first) * a + f64::from(second) * b;
        assert_close(&[total], &[weigh(values[0], values[1])], 1e-9);
        assert_close(&[parts[0], parts[3]], &values, 1e-12);
        let slopes = [gradient(&hard, &logits, &same), gradient(&all, &logits, &same)];
        let expected: Vec<f64> = slopes[0].iter().zip(&slopes[1]).map(|(&a, &b)| weigh(a, b)).collect();
        assert_close(&gradient(&sum, &logits, &same), &expected, 1e-9);
    }
}

#[test]
fn a_sum_has_the_decoder_of_its_term() {
    let device = burn::prelude::Device::flex();
    let decoder = crate::common::small_decoder();
    let config = SupportSetConfig { decoder, ..SupportSetConfig::paper() };
    let alone = config.init(crate::common::WIDTH, crate::common::VOCABULARY, &device).unwrap();
    assert_eq!(alone.decoder().map(tvr_objectives::Decoder::vocabulary), Some(crate::common::VOCABULARY));
    assert!(SymmetricConfig::ours().init().unwrap().decoder().is_none());
    let sum = Weighted::new(vec![term("captions", 1.0, alone)]).unwrap();
    assert_eq!(sum.decoder().map(tvr_objectives::Decoder::vocabulary), Some(crate::common::VOCABULARY));
}

#[test]
fn the_parts_are_named_after_their_terms() {
    let terms = vec![term("info-nce", 1.0, SymmetricConfig::ours().init().unwrap())];
    let batch = Batch::new(matrix(&Draw::new(1).scores(3, 3, 1.0)), &diagonal(3), &diagonal(3));
    let loss = Weighted::new(terms).unwrap().loss(&batch.pairs());
    let names: Vec<String> = loss.parts.iter().map(|(name, _)| name.to_string()).collect();
    assert_eq!(names, ["info-nce", "info-nce.text_to_video", "info-nce.video_to_text"]);
}

#[test]
fn a_sum_needs_what_its_terms_need_and_keeps_their_state() {
    let device = burn::prelude::Device::flex();
    let queue = || NclConfig::with_queue(4).init(3, &device).unwrap();
    let mut sum = Weighted::new(vec![term("a", 1.0, queue()), term("b", 1.0, queue())]).unwrap();
    assert_eq!(sum.needs(), queue().needs());
    let similarity = matrix(&Draw::new(1).scores(3, 3, 1.0)).cast(DType::F32);
    let mut batch = Batch::new(similarity.clone(), &diagonal(3), &diagonal(3));
    (batch.texts, batch.videos) = (similarity.clone(), similarity);
    sum.after_step(&batch.pairs());
    assert!(sum.terms.iter().all(|term| term.texts.as_ref().unwrap().n_items() == 3));
    let captioning =
        SupportSetConfig { decoder: crate::common::small_decoder(), ..SupportSetConfig::paper() };
    let captioning = captioning.init(3, 5, &device).unwrap();
    assert_eq!(Weighted::new(vec![term("a", 1.0, captioning.clone())]).unwrap().needs(), captioning.needs());
}

#[test]
fn weights_and_names_are_refused_by_name() {
    let made = |terms: &[(&str, f32)]| {
        let objective = SymmetricConfig::ours().init().unwrap();
        let terms = terms.iter().map(|&(name, weight)| term(name, weight, objective.clone()));
        Weighted::new(terms.collect()).map(|_| ()).unwrap_err().to_string()
    };
    assert_eq!(
        made(&[("a", 1.0), ("b", -1.0)]),
        "weighted: weight = -1, but it must be a number of 0 or above"
    );
    assert_eq!(
        made(&[("a", 1.0), ("a", 2.0)]),
        "weighted: two terms are called \"a\"; give one a name of its own"
    );
    let none = "but it must be at least one with a weight above 0";
    assert_eq!(made(&[]), format!("weighted: terms = 0, {none}"));
    assert_eq!(made(&[("a", 0.0)]), format!("weighted: terms = 1, {none}"));
}
