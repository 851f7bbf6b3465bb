//! Normalisers from outside, through what is public.

use ndarray::{Array1, Array2, array, s};
use proptest::prelude::*;
use tvr_normalize::{
    DualSoftmax, MatrixSource, NormalizeError, Normalizer, Prepared, Regime, Scores, Sources,
};

/// Each row as shares that sum to one.
struct Softmax {
    temperature: f32,
}

impl Normalizer for Softmax {
    fn name(&self) -> &'static str {
        "softmax"
    }

    fn regime(&self, _: &Scores) -> Regime {
        Regime::Raw
    }

    fn prepare<'a>(&self, sources: &Sources<'a>) -> Result<Prepared<'a>, NormalizeError> {
        let Some(test) = sources.test else {
            return Err(NormalizeError::BankMissing { method: self.name(), bank: "test" });
        };
        let temperature = self.temperature;
        Ok(Prepared::by_rows(test.shape()[1], move |row| {
            let largest = row.iter().copied().fold(f32::NEG_INFINITY, f32::max);
            row.iter_mut().for_each(|score| *score = ((*score - largest) / temperature).exp());
            let sum: f32 = row.iter().sum();
            row.iter_mut().for_each(|share| *share /= sum);
            Ok(())
        }))
    }
}

/// Refuses a row whose scores are all alike.
struct Choosy;

impl Normalizer for Choosy {
    fn name(&self) -> &'static str {
        "choosy"
    }

    fn regime(&self, _: &Scores) -> Regime {
        Regime::Raw
    }

    fn prepare<'a>(&self, sources: &Sources<'a>) -> Result<Prepared<'a>, NormalizeError> {
        Ok(Prepared::by_rows(sources.test.unwrap().shape()[1], |row| {
            let reason = "its scores are all alike";
            let alike = row.iter().all(|score| *score == row[0]);
            if alike { Err(NormalizeError::LonelyQuery { method: "choosy", reason }) } else { Ok(()) }
        }))
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn p_a_function_of_rows_is_asked_for_every_row_once(
        values in proptest::collection::vec(-20f32..20.0, 6 * 70), cut in 0usize..71,
    ) {
        let scores = Array2::from_shape_vec((70, 6), values).unwrap();
        let softmax = Softmax { temperature: 2.0 };
        let whole = softmax.apply(&Scores::new(scores.view())).unwrap();
        for (row, shares) in scores.rows().into_iter().zip(whole.rows()) {
            let sum: f64 = row.iter().map(|&score| f64::from(score / 2.0).exp()).sum();
            for (&score, &share) in row.iter().zip(shares) {
                // f32 exponentials and a sum of six.
                prop_assert!((f64::from(share) - f64::from(score / 2.0).exp() / sum).abs() < 1e-6);
            }
        }
        // In blocks as at once.
        let source = MatrixSource::new(scores.view());
        let sources = Sources { test: Some(&source), ..Sources::default() };
        let prepared = softmax.prepare(&sources).unwrap();
        let blocks = [0..cut, cut..70].map(|rows| prepared.apply_rows(&source, rows).unwrap());
        prop_assert_eq!(&blocks[0], &whole.slice(s![..cut, ..]));
        prop_assert_eq!(&blocks[1], &whole.slice(s![cut.., ..]));
        prop_assert!(prepared.bias().is_none());
    }

    #[test]
    fn p_a_shift_by_items_is_its_own_bias(
        values in proptest::collection::vec(-20f32..20.0, 5 * 7), bias in proptest::collection::vec(-5f32..5.0, 7),
    ) {
        let scores = Array2::from_shape_vec((5, 7), values).unwrap();
        let bias = Array1::from_vec(bias);
        let prepared = Prepared::by_items(bias.clone()).unwrap();
        prop_assert_eq!(prepared.bias(), Some(&bias));
        prop_assert_eq!(prepared.apply(scores.view()).unwrap(), &scores + &bias);
    }
}

#[test]
fn what_does_not_fit_is_refused_by_name() {
    let message = |error: NormalizeError| error.to_string();
    let bias = Prepared::by_items(array![1.0, f32::NAN, f32::INFINITY]);
    assert_eq!(message(bias.unwrap_err()), "bias[0, 1] is NaN; every score must be finite");
    let prepared = Prepared::by_items(array![1.0, 2.0]).unwrap();
    let other = prepared.apply(array![[1.0, 2.0, 3.0]].view()).unwrap_err();
    assert!(matches!(other, NormalizeError::GalleryChanged { found: 3, expected: 2 }), "{other}");
    let bad = array![[1.0, 2.0], [3.0, f32::NAN]];
    let softmax = Softmax { temperature: 1.0 };
    assert_eq!(
        message(softmax.apply(&Scores::new(bad.view())).unwrap_err()),
        "scores[1, 1] is NaN; every score must be finite"
    );
    let alike = array![[1.0, 2.0], [3.0, 3.0]];
    assert_eq!(
        message(Choosy.apply(&Scores::new(alike.view())).unwrap_err()),
        "choosy: one query and no query bank: its scores are all alike; give a query bank or more queries"
    );
    assert_eq!(Choosy.apply(&Scores::new(alike.slice(s![..1, ..]))).unwrap(), array![[1.0, 2.0]]);
}

#[test]
fn a_method_from_outside_stands_beside_the_built_in_ones() {
    let scores = array![[3.0, 1.0, 2.0], [0.5, 4.0, 1.0]];
    let scores = Scores::new(scores.view());
    let methods: [&dyn Normalizer; 2] = [&Softmax { temperature: 1.0 }, &DualSoftmax::new(1.0).unwrap()];
    for method in methods {
        let found = method.apply(&scores).unwrap();
        assert!(found.iter().all(|score| score.is_finite()), "{}", method.name());
        assert!(found[[0, 0]] > found[[0, 1]] && found[[1, 1]] > found[[1, 2]], "{}", method.name());
    }
}
