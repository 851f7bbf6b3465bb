//! BLEU and CIDEr-D: what must hold for any captions.

use crate::oracles;
use proptest::prelude::*;
use tvr_metrics::{bleu, cider, words};

type Corpus = (Vec<String>, Vec<Vec<String>>);

fn caption() -> impl Strategy<Value = String> {
    prop::collection::vec(prop::sample::select(vec!["a", "man", "dog", "rides", "red", "ball"]), 0..12)
        .prop_map(|words| words.join(" "))
}

fn corpus() -> impl Strategy<Value = Corpus> {
    (1usize..6).prop_flat_map(|videos| {
        (
            prop::collection::vec(caption(), videos),
            prop::collection::vec(prop::collection::vec(caption(), 1..4), videos),
        )
    })
}

/// A corpus whose candidates are references of their own with one word changed or none, so that long n-grams meet.
fn near() -> impl Strategy<Value = Corpus> {
    (corpus(), 0usize..20, prop::sample::select(vec!["a", "dog", "sings"])).prop_map(
        |((_, references), at, word)| {
            let changed = |list: &Vec<String>| {
                let mut words: Vec<&str> = list[at % list.len()].split(' ').collect();
                if let Some(old) = words.get_mut(at) {
                    *old = word;
                }
                words.join(" ")
            };
            (references.iter().map(changed).collect(), references)
        },
    )
}

fn split(captions: &[String]) -> Vec<Vec<String>> {
    captions.iter().map(|caption| words(caption)).collect()
}

proptest! {
    #[test]
    fn both_equal_their_oracles((candidates, references) in prop_oneof![corpus(), near()]) {
        let listed: Vec<_> = references.iter().map(|list| split(list)).collect();
        let found = bleu(&candidates, &references).unwrap();
        for n in 1..=4 {
            let expected = oracles::bleu(&split(&candidates), &listed, n);
            prop_assert!((found.scores[n - 1] - expected).abs() < 1e-12, "BLEU-{n} {expected}");
        }
        let found = cider(&candidates, &references).unwrap();
        for (found, expected) in found.by_candidate.iter().zip(oracles::cider(&split(&candidates), &listed)) {
            prop_assert!((found - expected).abs() < 1e-10, "{found} {expected}");
        }
        let mean = found.by_candidate.iter().sum::<f64>() / candidates.len() as f64;
        prop_assert!((found.mean - mean).abs() < 1e-12, "{} {mean}", found.mean);
    }

    #[test]
    fn figures_are_bounded_and_the_reference_itself_is_best((candidates, references) in corpus()) {
        let same: Vec<String> = references.iter().map(|list| list[0].clone()).collect();
        let (found, best) = (bleu(&candidates, &references).unwrap(), bleu(&same, &references).unwrap());
        for n in 0..4 {
            prop_assert!((0.0..=1.0).contains(&found.scores[n]));
            // A corpus too short for an n-gram has no such precision, and 0.
            prop_assert!(best.precisions[n] == 1.0 || best.precisions[n] == 0.0);
            prop_assert!(best.scores[n] >= found.scores[n] || best.precisions[n] == 0.0);
        }
        // Against one reference each, nothing is nearer to it than itself.
        let single: Vec<Vec<String>> = references.iter().map(|list| list[..1].to_vec()).collect();
        let (found, best) = (cider(&candidates, &single).unwrap(), cider(&same, &single).unwrap());
        for (found, best) in found.by_candidate.iter().zip(&best.by_candidate) {
            prop_assert!((0.0..=10.0 + 1e-9).contains(found));
            prop_assert!(best >= &(found - 1e-9), "{best} < {found}");
        }
    }

    #[test]
    fn the_order_of_videos_and_references_is_irrelevant((candidates, references) in corpus()) {
        let turned: Vec<String> = candidates.iter().rev().cloned().collect();
        let mut lists: Vec<Vec<String>> = references.iter().rev().cloned().collect();
        lists.iter_mut().for_each(|list| list.reverse());
        let (a, b) = (bleu(&candidates, &references).unwrap(), bleu(&turned, &lists).unwrap());
        prop_assert_eq!(a, b);
        let (a, b) = (cider(&candidates, &references).unwrap(), cider(&turned, &lists).unwrap());
        prop_assert!((a.mean - b.mean).abs() < 1e-12);
        for (a, b) in a.by_candidate.iter().zip(b.by_candidate.iter().rev()) {
            prop_assert!((a - b).abs() < 1e-12);
        }
    }

    #[test]
    fn case_and_punctuation_are_irrelevant((candidates, references) in corpus()) {
        let loud: Vec<String> = candidates.iter().map(|caption| format!("{}!", caption.to_uppercase().replace(' ', ", "))).collect();
        prop_assert_eq!(bleu(&candidates, &references).unwrap(), bleu(&loud, &references).unwrap());
        prop_assert_eq!(cider(&candidates, &references).unwrap(), cider(&loud, &references).unwrap());
    }

    #[test]
    fn repeating_a_word_gains_nothing(times in 2usize..9) {
        let references = [vec!["a man rides"], vec!["a dog barks"]];
        let once = bleu(&["a man rides", "a dog barks"], &references).unwrap();
        let stuffed = format!("a man rides {}", "man ".repeat(times));
        let more = bleu(&[stuffed.as_str(), "a dog barks"], &references).unwrap();
        prop_assert!(more.scores[0] < once.scores[0]);
        let (once, more) =
            (cider(&["a man rides", "a dog barks"], &references).unwrap(), cider(&[stuffed.as_str(), "a dog barks"], &references).unwrap());
        prop_assert!(more.by_candidate[0] < once.by_candidate[0]);
    }
}

#[test]
fn words_are_parted_as_documented() {
    assert_eq!(
        words("  A man's T-shirt -- DON’T 'quote' 3.5 "),
        ["a", "man's", "t-shirt", "don't", "quote", "3", "5"]
    );
    assert!(words(" ,.; - ' ").is_empty());
    // A mark at either end of a caption has no letter on one side.
    assert_eq!(words("'tis the dogs'"), ["tis", "the", "dogs"]);
    assert_eq!(words("X-ray of a T-"), ["x-ray", "of", "a", "t"]);
    assert_eq!(words("Straße ÉTÉ"), ["straße", "été"]);
}

#[test]
fn bleu_by_hand() {
    // Papineni's own example: seven times "the" has two true ones.
    let found =
        bleu(&["the the the the the the the"], &[vec!["the cat is on the mat", "there is a cat on the mat"]])
            .unwrap();
    assert!((found.precisions[0] - 2.0 / 7.0).abs() < 1e-15);
    assert_eq!((found.candidate_words, found.reference_words, found.brevity_penalty), (7, 7, 1.0));
    // Five words: 1-grams 4/5, 2-grams 3/4, 3-grams 2/3, 4-grams 1/2, one word short of six: BP = exp(1 − 6/5).
    let found = bleu(&["a man is riding fast"], &[vec!["a man is riding a horse"]]).unwrap();
    assert_eq!(found.precisions, [4.0 / 5.0, 3.0 / 4.0, 2.0 / 3.0, 1.0 / 2.0]);
    let expected = (-0.2f64).exp() * (4.0 / 5.0 * 3.0 / 4.0 * 2.0 / 3.0 / 2.0f64).powf(0.25);
    assert!((found.bleu_4() - expected).abs() < 1e-15);
}

#[test]
fn cider_by_hand() {
    // Two videos. "a" is in both (weight 0), every other word in one (ln 2). The candidate "a cat" against "a dog":
    // no common word of weight. Against itself, "a dog": 1-grams and 2-grams agree, 3- and 4-grams are none: 10 · 2/4.
    let references = [vec!["a dog"], vec!["a cat"]];
    let found = cider(&["a dog", "a dog"], &references).unwrap();
    assert!((found.by_candidate[0] - 5.0).abs() < 1e-12 && found.by_candidate[1] == 0.0);
    // One word more: "dog" of "dog runs" is one of two equal weights, cos = 1/√2; the 2-gram differs. Lengths 2 and 1.
    let references = [vec!["dog"], vec!["cat"]];
    let found = cider(&["dog runs", "cat"], &references).unwrap();
    // "runs" is in no reference: its weight is ln(2 / 1) as for a word in one.
    let expected = 10.0 / 4.0 * (-1.0f64 / 72.0).exp() / 2f64.sqrt();
    assert!((found.by_candidate[0] - expected).abs() < 1e-12, "{} {expected}", found.by_candidate[0]);
}

#[test]
fn captions_without_a_counterpart_are_refused() {
    let none: [Vec<&str>; 0] = [];
    let message = |error: tvr_metrics::MetricError| error.to_string();
    assert_eq!(
        message(bleu::<&str, _>(&[], &none).unwrap_err()),
        "there are no candidate captions; give at least one"
    );
    assert_eq!(
        message(cider(&["a"], &none).unwrap_err()),
        "1 candidate captions, but 0 lists of references; give one list for each"
    );
    assert_eq!(
        message(bleu(&["a", "b"], &[vec!["a"], vec![]]).unwrap_err()),
        "candidate 1 has no reference caption; give at least one"
    );
    // A caption without a word scores 0 and breaks nothing.
    let references = [vec!["a man"], vec!["a dog"]];
    let found = bleu(&["", ""], &references).unwrap();
    assert_eq!((found.bleu_4(), found.brevity_penalty), (0.0, 0.0));
    assert_eq!(cider(&["", ""], &references).unwrap().mean, 0.0);
}
