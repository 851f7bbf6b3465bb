//! The world's tokenizer.

use proptest::prelude::*;
use tvr_clip::{ClipError, Tokenizer};

const CAPTIONS: [&str; 3] = [
    "A red square moves left of the blue circle.",
    "the blue circle grows",
    "a green triangle, then a red square",
];

fn trained() -> Tokenizer {
    Tokenizer::train_world(CAPTIONS.map(String::from), 300).unwrap()
}

#[test]
fn frequent_words_are_one_token_and_case_does_not_matter() {
    let tokenizer = trained();
    let ids = tokenizer.encode("Red  SQUARE", 24).unwrap();
    assert_eq!(ids.len(), 4);
    assert_eq!(ids, tokenizer.encode("red square", 24).unwrap());
    assert_eq!(*ids.last().unwrap() as usize, tokenizer.vocabulary() - 1);
}

#[test]
fn the_same_captions_give_the_same_tokenizer_and_a_file_brings_it_back() {
    let folder = tempfile::tempdir().unwrap();
    let [first, second] = ["first.json", "second.json"].map(|name| folder.path().join(name));
    trained().save(&first).unwrap();
    trained().save(&second).unwrap();
    assert!(std::fs::read(&first).unwrap() == std::fs::read(&second).unwrap(), "two trainings differ");
    let loaded = Tokenizer::load(&first).unwrap();
    assert_eq!(loaded.encode(CAPTIONS[0], 24).unwrap(), trained().encode(CAPTIONS[0], 24).unwrap());
    let missing = Tokenizer::load(&folder.path().join("none.json")).unwrap_err().to_string();
    assert!(missing.contains("none.json"), "{missing}");
}

#[test]
fn a_batch_is_padded_with_zero() {
    let batch = trained().encode_batch(&["red square", "circle"], 24).unwrap();
    assert_eq!((batch.lengths.as_slice(), batch.tokens), ([4, 3].as_slice(), 4));
    assert_eq!(batch.ids[7], 0);
}

#[test]
fn a_context_without_room_for_the_marks_is_refused() {
    assert!(matches!(trained().encode("a", 1), Err(ClipError::Setting { setting: "context", value: 1, .. })));
}

#[test]
fn spans_are_the_bytes_of_the_text_that_ids_stand_for() {
    let text = "A Red  square, the circle";
    let (ids, spans) = trained().encode_spans(text, 24).unwrap();
    assert_eq!(ids, trained().encode(text, 24).unwrap());
    let words: Vec<&str> = spans.iter().map(|span| text[span.clone()].trim()).collect();
    assert_eq!(words, ["", "A", "Red", "square", ",", "the", "circle", ""]);
}

#[test]
fn ids_are_spelled_out_without_marks_a_blank_between_words() {
    let tokenizer = trained();
    let ids = tokenizer.encode("A Red  square, the circle.", 24).unwrap();
    assert_eq!(tokenizer.decode(&ids).unwrap(), "a red square , the circle .");
    assert_eq!(tokenizer.decode(&ids[1..4]).unwrap(), "a red square");
    assert_eq!(tokenizer.decode(&[ids[0], 99_999, tokenizer.end()]).unwrap(), "");
    let shortened = ["a café's owner doesn't smile, they're at a t-shirt".to_string()];
    let tokenizer = Tokenizer::train_world(shortened.clone(), 300).unwrap();
    let spelled = tokenizer.decode(&tokenizer.encode(&shortened[0], 40).unwrap()).unwrap();
    assert_eq!(spelled, "a café's owner doesn't smile , they're at a t - shirt");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn spans_lie_in_the_text_and_ids_are_those_without_spans(text in ".{0,60}", context in 2usize..20) {
        let tokenizer = trained();
        let (ids, spans) = tokenizer.encode_spans(&text, context).unwrap();
        prop_assert_eq!(&ids, &tokenizer.encode(&text, context).unwrap());
        prop_assert_eq!(ids.len(), spans.len());
        prop_assert!(spans.iter().all(|span| text.get(span.clone()).is_some()), "{:?}", spans);
    }

    #[test]
    fn every_text_begins_and_ends_with_its_marks(text in ".{0,60}", context in 2usize..20) {
        let tokenizer = trained();
        let ids = tokenizer.encode(&text, context).unwrap();
        prop_assert!(ids.len() >= 2 && ids.len() <= context);
        prop_assert_eq!(ids[0] + 1, tokenizer.end());
        prop_assert_eq!(*ids.last().unwrap(), tokenizer.end());
    }

    #[test]
    fn what_is_spelled_out_has_the_ids_that_it_was_spelled_from(words in prop::collection::vec(0usize..16, 0..9)) {
        let known: Vec<&str> = CAPTIONS.iter().flat_map(|caption| caption.split(' ')).collect();
        let text: Vec<&str> = words.iter().map(|&word| known[word % known.len()]).collect();
        let tokenizer = trained();
        let ids = tokenizer.encode(&text.join(" "), 24).unwrap();
        let spelled = tokenizer.decode(&ids).unwrap();
        prop_assert_eq!(tokenizer.encode(&spelled, 24).unwrap(), ids);
    }
}
