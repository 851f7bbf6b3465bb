//! Captions as words, and the features that encoders make of them.

use burn::module::Param;
use burn::nn;
use burn::prelude::*;
use burn::tensor::Tolerance;
use tvr_clip::ClipConfig;
use tvr_experiment::corpus::streams::Parts;
use tvr_experiment::corpus::{Corpus, StreamTexts, Texts};
use tvr_experiment::model::TextEncoder;
use tvr_experiment::words::Vocabulary;
use tvr_heads::{Needs, TextFeatures};

const CAPTIONS: [&str; 4] = ["A dog runs.", "a DOG sleeps, a cat runs", "the cat's dog", "don't run"];

fn vocabulary() -> Vocabulary {
    Vocabulary::learn(CAPTIONS.into_iter(), 2)
}

#[test]
fn words_seen_often_enough_are_known_the_commonest_first() {
    let words = vocabulary();
    // Three marks; "a" and "dog" stand three times, "runs" twice, all others once.
    assert_eq!(words.size(), 3 + 3);
    assert_eq!(words.encode("a dog runs").0, [0, 3, 4, 5, 1]);
    assert_eq!(words.encode("A DOG, often; runs!").0, [0, 3, 4, 5, 1], "unknown words are passed over");
    assert_eq!(words.encode("cats sleep").0, [0, 2, 1], "no caption is empty");
    assert_eq!(words.encode("").0, [0, 2, 1]);
    assert_eq!(words.decode(&[0, 3, 4, 2, 5, 1, 99]), "a dog runs");
    assert_eq!(Vocabulary::learn(CAPTIONS.into_iter(), 1).size(), 3 + 9);
}

#[test]
fn spans_are_the_bytes_of_the_caption() {
    // The second letter has more bytes in lower case.
    let caption = "Ärger İ: a Dog don't run";
    let words = Vocabulary::learn([caption].into_iter(), 1);
    let (ids, spans) = words.encode(caption);
    let found: Vec<&str> = spans.iter().map(|span| &caption[span.clone()]).collect();
    assert_eq!(found, ["", "rger", "a", "Dog", "don't", "run", ""]);
    assert_eq!(ids.len(), found.len());
}

/// Tokens of 20 captions: more than one length group.
fn tokens() -> Vec<Vec<u32>> {
    (0..20u32)
        .map(|text| (0..3 + (text * 7) % 5).map(|place| (text * 3 + place * 5) % 19).collect())
        .collect()
}

fn corpus(streams: Vec<StreamTexts>) -> Corpus {
    Corpus { texts: Texts::Tokens(tokens()), streams, ..crate::step::corpus(10) }
}

fn words_encoder(device: &Device) -> TextEncoder {
    device.seed(3);
    let encoder = TextEncoder {
        tower: None,
        words: Some(nn::EmbeddingConfig::new(20, 4).init(device)),
        projection: Some(nn::LinearConfig::new(4, 6).with_bias(false).init(device)),
        dropout: nn::DropoutConfig::new(0.0).init(),
    };
    tvr_nn::touch(&encoder);
    encoder
}

fn tower_encoder(device: &Device) -> TextEncoder {
    device.seed(4);
    let clip = ClipConfig::world(20, 8).init(device).unwrap();
    let dropout = nn::DropoutConfig::new(0.0).init();
    TextEncoder { tower: Some(clip.text), words: None, projection: None, dropout }
}

fn all() -> Needs {
    Needs { tokens: true, streams: vec!["here", "there", "whole"], ..Needs::default() }
}

#[track_caller]
fn close<const D: usize>(found: Tensor<D>, expected: Tensor<D>) {
    found.into_data().assert_approx_eq::<f32>(&expected.into_data(), Tolerance::rel_abs(1e-5, 1e-5)); // f32 sums
}

fn row(features: &TextFeatures, text: usize) -> Tensor<2> {
    features.pooled.clone().slice_dim(0, text..text + 1)
}

#[test]
fn a_caption_of_words_is_the_mean_of_its_word_vectors_without_the_marks() {
    let _alone = crate::run::generator();
    let device = Device::flex();
    let encoder = words_encoder(&device);
    let numbers = |param: &Param<Tensor<2>>| -> Vec<f64> { param.val().into_data().iter::<f64>().collect() };
    let (vectors, map) = (
        numbers(&encoder.words.as_ref().unwrap().weight),
        numbers(&encoder.projection.as_ref().unwrap().weight),
    );
    let tokens = vec![vec![0, 7, 9, 12, 1], vec![0, 5, 1]];
    let corpus = Corpus { texts: Texts::Tokens(tokens.clone()), ..crate::step::corpus(1) };
    let found = encoder.encode(&corpus, &[1, 0], &all(), &device);
    let pooled: Vec<f64> = found.pooled.clone().into_data().iter::<f64>().collect();
    for (row, text) in [1usize, 0].into_iter().enumerate() {
        let words = &tokens[text][1..tokens[text].len() - 1];
        for column in 0..6 {
            let mut expected = 0.0;
            for &word in words {
                for axis in 0..4 {
                    let value = vectors[word as usize * 4 + axis] * map[axis * 6 + column];
                    expected += value / words.len() as f64;
                }
            }
            assert!((pooled[row * 6 + column] - expected).abs() < 1e-5); // f32 sums of 12 terms
        }
    }
    let states = found.tokens.unwrap();
    let mask: Vec<bool> = states.mask.clone().into_data().iter::<bool>().collect();
    assert_eq!(
        mask,
        [false, true, false, false, false, true, true, true],
        "places count from the start mark"
    );
    close(tvr_nn::masked_mean(states.features, states.mask), found.pooled);
}

/// Whatever else is asked for, and whoever stands beside it, a caption keeps its feature.
#[test]
fn tokens_and_company_do_not_change_a_caption() {
    let _alone = crate::run::generator();
    let device = Device::flex();
    let (corpus, texts) = (corpus(Vec::new()), (0..20).rev().collect::<Vec<_>>());
    for encoder in [words_encoder(&device), tower_encoder(&device)] {
        let bare = encoder.encode(&corpus, &texts, &Needs::default(), &device);
        assert!(bare.tokens.is_none() && bare.streams.is_empty());
        let full = encoder.encode(&corpus, &texts, &all(), &device);
        close(full.pooled.clone(), bare.pooled);
        let states = full.tokens.as_ref().unwrap();
        for (place, &text) in texts.iter().enumerate() {
            let alone = encoder.encode(&corpus, &[text], &all(), &device);
            close(alone.pooled.clone(), row(&full, place));
            let alone = alone.tokens.unwrap();
            let [_, count] = alone.mask.dims();
            let found = states.features.clone().slice([place..place + 1, 0..count]);
            close(found, alone.features);
        }
    }
}

/// As in `encode`, and in CLIP itself: what stands behind the mark is not read, whoever stands beside it.
#[test]
fn a_caption_that_spells_out_the_end_of_text_ends_there() {
    const END: u32 = 19; // the largest id of the tower's 20
    let _alone = crate::run::generator();
    let device = Device::flex();
    let encoder = tower_encoder(&device);
    let tokens = vec![vec![0, 7, END, 9, 4, END], vec![0, 3, 5, 6, END]];
    let ends = vec![vec![0, 7, END], vec![0, 3, 5, 6, END]];
    let [found, expected] = [tokens, ends].map(|tokens| {
        let corpus = Corpus { texts: Texts::Tokens(tokens), ..crate::step::corpus(2) };
        let bare = encoder.encode(&corpus, &[0, 1], &Needs::default(), &device).pooled;
        let full = encoder.encode(&corpus, &[0, 1], &all(), &device);
        close(full.pooled, bare.clone());
        let tokens = full.tokens.unwrap();
        let real: Vec<bool> = tokens.mask.clone().into_data().iter::<bool>().collect();
        (bare, tokens, real.into_iter().filter(|real| *real).count())
    });
    close(found.0, expected.0);
    assert_eq!((found.2, expected.2), (3 + 5, 3 + 5));
    close(tvr_nn::masked_mean(found.1.features, found.1.mask), {
        tvr_nn::masked_mean(expected.1.features, expected.1.mask)
    });
}

#[test]
fn a_stream_is_the_mean_over_its_words_or_the_text_of_them() {
    let _alone = crate::run::generator();
    let device = Device::flex();
    let places: Vec<Vec<u32>> =
        tokens().iter().map(|ids| if ids.len() > 4 { vec![1, 2] } else { vec![] }).collect();
    let own: Vec<Vec<u32>> =
        tokens().iter().map(|ids| if ids.len() > 5 { vec![0, 8, 1] } else { vec![] }).collect();
    let streams = vec![
        StreamTexts { name: "here", parts: Parts::Places(places.clone()) },
        StreamTexts { name: "there", parts: Parts::Tokens(own.clone()) },
        StreamTexts { name: "whole", parts: Parts::Whole },
    ];
    let corpus = corpus(streams);
    let texts: Vec<usize> = vec![3, 0, 19, 7, 4];
    for encoder in [words_encoder(&device), tower_encoder(&device)] {
        let found = encoder.encode(&corpus, &texts, &all(), &device);
        let names: Vec<&str> = found.streams.iter().map(|stream| stream.name).collect();
        assert_eq!(names, ["here", "there", "whole"]);
        let [here, there, whole] = found.streams.as_slice() else { panic!("three streams") };
        let flags = |stream: &tvr_heads::TextStream| -> Vec<bool> {
            stream.available.clone().into_data().iter::<bool>().collect()
        };
        let expected =
            |parts: &[Vec<u32>]| -> Vec<bool> { texts.iter().map(|&text| !parts[text].is_empty()).collect() };
        assert_eq!(flags(here), expected(&places));
        assert_eq!(flags(there), expected(&own));
        assert_eq!(flags(whole), [true; 5]);
        assert!(flags(here).contains(&true) && flags(here).contains(&false), "both cases are tried");
        close(whole.pooled.clone(), found.pooled.clone());
        let states = found.tokens.as_ref().unwrap().features.clone();
        let own_text = Corpus { texts: Texts::Tokens(vec![vec![0, 8, 1]]), ..crate::step::corpus(1) };
        let own_text = encoder.encode(&own_text, &[0], &Needs::default(), &device).pooled;
        for (place, &text) in texts.iter().enumerate() {
            let of = |stream: &tvr_heads::TextStream| stream.pooled.clone().slice_dim(0, place..place + 1);
            let mean = states.clone().slice([place..place + 1, 1..3]).mean_dim(1).squeeze_dim::<2>(1);
            close(of(here), if places[text].is_empty() { row(&found, place) } else { mean });
            close(of(there), if own[text].is_empty() { row(&found, place) } else { own_text.clone() });
        }
    }
}
