//! The streams of captions as an encoder takes them.

use tvr_experiment::corpus::streams::{self, Parts};
use tvr_experiment::recipe::StreamMode;
use tvr_experiment::words::Vocabulary;

const CAPTIONS: [&str; 3] =
    ["A Young man is playing guitar on the street", "someone runs", "a man is playing zzz"];

fn parts(mode: StreamMode) -> Vec<(&'static str, Parts)> {
    let known = "a young man is playing guitar on the street someone runs video of";
    let words = Vocabulary::learn([known].into_iter(), 1);
    let sentences = CAPTIONS.map(String::from);
    let found = streams::of(&sentences, &streams::names(), mode, |text| Ok(words.encode(text))).unwrap();
    found.into_iter().map(|stream| (stream.name, stream.parts)).collect()
}

/// The words at some places of a caption, start mark counted.
fn at(caption: &str, places: &[u32]) -> String {
    let words: Vec<&str> = caption.split(' ').collect();
    let words: Vec<&str> = places.iter().map(|&place| words[place as usize - 1]).collect();
    words.join(" ")
}

#[test]
fn a_masked_stream_knows_the_places_of_its_words() {
    let found = parts(StreamMode::Mask);
    let names: Vec<&str> = found.iter().map(|(name, _)| *name).collect();
    assert_eq!(names, ["entity", "action", "scene", "fusion"]);
    let places = |stream: usize| match &found[stream].1 {
        Parts::Places(places) => places.clone(),
        other => panic!("{other:?}"),
    };
    assert_eq!(at(CAPTIONS[0], &places(0)[0]), "Young man guitar");
    assert_eq!(at(CAPTIONS[0], &places(1)[0]), "playing");
    assert_eq!(at(CAPTIONS[0], &places(2)[0]), "on the street");
    assert_eq!(at(CAPTIONS[1], &places(1)[1]), "runs");
    assert!(places(2)[1].is_empty(), "no place is named");
    assert_eq!(at(CAPTIONS[2], &places(0)[2]), "man", "a word that the encoder does not know has no place");
    assert_eq!(found[3].1, Parts::Whole);
}

/// A tokenizer that keeps capitals: a token for a word of capitals, and one for every letter of another.
#[test]
fn places_are_those_of_the_caption_as_it_is_encoded() {
    let encode = |text: &str| {
        let (mut ids, mut spans) = (vec![0], vec![0..0]);
        let mut at = 0;
        for word in text.split(' ') {
            let pieces = if word.chars().all(char::is_uppercase) { 1 } else { word.len() };
            let size = word.len() / pieces;
            spans.extend((0..pieces).map(|piece| at + piece * size..at + (piece + 1) * size));
            ids.extend(vec![1; pieces]);
            at += word.len() + 1;
        }
        Ok((ids, spans))
    };
    let sentences = ["A MAN runs".to_string()];
    let found = streams::of(&sentences, &["entity", "action"], StreamMode::Mask, encode).unwrap();
    let places: Vec<&Parts> = found.iter().map(|stream| &stream.parts).collect();
    assert_eq!(places, [&Parts::Places(vec![vec![2]]), &Parts::Places(vec![vec![3, 4, 5, 6]])]);
}

#[test]
fn a_stream_of_its_own_is_a_text_between_marks() {
    for (mode, before) in [(StreamMode::ReEncode, 0), (StreamMode::Prompt, 3)] {
        let found = parts(mode);
        let Parts::Tokens(rows) = &found[1].1 else { panic!("{:?}", found[1]) };
        // start, "a video of" where prompted, "playing", end
        assert_eq!(rows[0].len(), 3 + before);
        assert!(rows[0].first() == Some(&0) && rows[0].last() == Some(&1));
        let Parts::Tokens(rows) = &found[2].1 else { panic!("{:?}", found[2]) };
        assert!(rows[1].is_empty(), "what is not there has no text either");
    }
}
