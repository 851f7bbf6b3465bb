//! The tagger, measured: on the built-in world's own tags, on captions labelled by hand, and by properties.

use std::collections::HashMap;
use std::io::Read;
use std::path::Path;

use proptest::prelude::*;
use tvr_data::{CaptionStream, CaptionStreams, Split, Tag, World};

const PARTS: [CaptionStream; 3] = [CaptionStream::Entity, CaptionStream::Action, CaptionStream::Scene];

/// How often a word of one tag (row) got another (column).
#[derive(Default)]
struct Confusion([[usize; 4]; 4]);

fn number(tag: Tag) -> usize {
    match tag {
        Tag::Entity => 0,
        Tag::Action => 1,
        Tag::Scene => 2,
        Tag::Other => 3,
    }
}

impl Confusion {
    fn add(&mut self, truth: &[Tag], found: &[Tag], caption: &str) {
        assert_eq!(truth.len(), found.len(), "{caption}");
        for (&truth, &found) in truth.iter().zip(found) {
            self.0[number(truth)][number(found)] += 1;
        }
    }

    fn words(&self) -> usize {
        self.0.iter().flatten().sum()
    }

    /// Prints all figures and returns the percentage of words that are right.
    fn report(&self, name: &str) -> f64 {
        let right: usize = (0..4).map(|tag| self.0[tag][tag]).sum();
        let share = 100.0 * right as f64 / self.words() as f64;
        println!("{name}: {right} of {} words right, {share:.1} %", self.words());
        for (tag, stream) in PARTS.iter().enumerate() {
            let (hit, truth) = (self.0[tag][tag] as f64, self.0[tag].iter().sum::<usize>() as f64);
            let found = self.0.iter().map(|row| row[tag]).sum::<usize>() as f64;
            println!(
                "  {:7} precision {:.1} %, recall {:.1} %",
                stream.name(),
                100.0 * hit / found,
                100.0 * hit / truth
            );
        }
        share
    }
}

#[test]
fn nine_words_of_ten_are_right_on_the_world_s_own_tags() {
    let world = World::default();
    let mut confusion = Confusion::default();
    for video in 0..400 {
        for caption in 0..5 {
            let sentence = world.caption(Split::Val, video, caption);
            let truth: Vec<Tag> = sentence.words.iter().map(|(_, tag)| *tag).collect();
            let text = sentence.text();
            confusion.add(&truth, &CaptionStreams::split(&text).tags, &text);
        }
    }
    let share = confusion.report("the built-in world, 2,000 captions of val");
    assert!(share >= 90.0, "{share}");
}

/// `sen_id`, number of words, tags.
fn labels() -> Vec<(u64, usize, Vec<Tag>)> {
    include_str!("labels/msrvtt.tsv")
        .lines()
        .filter(|line| !line.starts_with('#'))
        .map(|line| {
            let fields: Vec<&str> = line.split('\t').collect();
            let tags = fields[2].chars().map(|tag| match tag {
                'E' => Tag::Entity,
                'A' => Tag::Action,
                'S' => Tag::Scene,
                'O' => Tag::Other,
                other => panic!("{other} is no tag"),
            });
            (fields[0].parse().unwrap(), fields[1].parse().unwrap(), tags.collect())
        })
        .collect()
}

#[test]
fn nine_words_of_ten_are_right_on_msr_vtt() {
    let labels = labels();
    assert_eq!(labels.len(), 200);
    assert!(labels.iter().all(|(_, words, tags)| *words == tags.len()));
    let path = "../../../shared/data/annotations/msrvtt/test_videodatainfo.json.gz";
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    let file = match std::fs::File::open(&path) {
        Ok(file) => file,
        Err(error) => return eprintln!("skipped: {}: {error}", path.display()),
    };
    let mut text = String::new();
    flate2::read::GzDecoder::new(file).read_to_string(&mut text).unwrap();
    let annotations: serde_json::Value = serde_json::from_str(&text).unwrap();
    let sentences: HashMap<u64, &str> = annotations["sentences"]
        .as_array()
        .unwrap()
        .iter()
        .map(|entry| (entry["sen_id"].as_u64().unwrap(), entry["caption"].as_str().unwrap()))
        .collect();
    let mut confusion = Confusion::default();
    for (id, _, truth) in labels {
        confusion.add(&truth, &CaptionStreams::split(sentences[&id]).tags, sentences[&id]);
    }
    let share = confusion.report("MSR-VTT, 200 captions labelled by hand");
    assert!(share >= 90.0, "{share}");
}

fn tags(caption: &str) -> String {
    let letter = |tag: &Tag| ['E', 'A', 'S', 'O'][number(*tag)];
    CaptionStreams::split(caption).tags.iter().map(letter).collect()
}

#[test]
fn the_rules_do_what_they_say() {
    // The classes of one word in different places.
    assert_eq!(tags("a man plays guitar"), "OEAE");
    assert_eq!(tags("a man watches a play"), "OEAOE");
    assert_eq!(tags("people want to play"), "EAOA");
    assert_eq!(tags("a frying pan is shown"), "OEEOA");
    assert_eq!(tags("a chef frying eggs"), "OEAE");
    // Particles belong to their verb, prepositions do not.
    assert_eq!(tags("a man picks up a ball"), "OEAAOE");
    assert_eq!(tags("he is putting on makeup"), "OOAAE");
    assert_eq!(tags("a man falls down"), "OEAA");
    // A place is no garment, no part of a body, no medium.
    assert_eq!(tags("a man sits in a big red car"), "OEASSSSS");
    assert_eq!(tags("a man in a red shirt"), "OEOOEE");
    assert_eq!(tags("a bird in her hand"), "OEOOE");
    assert_eq!(tags("a man speaks in english"), "OEAOE");
    assert_eq!(tags("a boat on the side of the river"), "OESSSSSS");
    assert_eq!(tags("kids play outside"), "EAS");
    // Punctuation stays outside.
    assert_eq!(tags("A dog, running."), "OEA");
    assert_eq!(tags("the man's dog barks"), "OEEA");
}

/// Texts that look like captions, and texts that do not.
fn captions() -> impl Strategy<Value = String> {
    const WORDS: &str = "a the man woman dog red two is are was not and while to of in on at up down playing plays \
        play played show shows cut cuts building something outside her his that who quickly fast left right from \
        3d xyzzy grob's O'Neil frying pan shirt street left away back over there be been has do does";
    let words: Vec<&'static str> = WORDS.split_whitespace().collect();
    let alike = prop::collection::vec(prop::sample::select(words), 0..15).prop_map(|words| words.join(" "));
    prop_oneof![alike, ".{0,60}"]
}

proptest! {
    #[test]
    fn p_ca_6_streams_are_parts_of_the_caption(caption in captions()) {
        let split = CaptionStreams::split(&caption);
        let words: Vec<&str> = caption.split_whitespace().collect();
        prop_assert_eq!(&split.words, &words);
        prop_assert_eq!(split.tags.len(), words.len());
        let mut seen = vec![0; words.len()];
        for stream in PARTS {
            let places = split.places(stream);
            // In the caption's order: a subsequence.
            prop_assert!(places.windows(2).all(|pair| pair[0] < pair[1]));
            places.iter().for_each(|&place| seen[place] += 1);
            prop_assert_eq!(split.available(stream), !places.is_empty());
            let expected: Vec<&str> = places.iter().map(|&place| words[place]).collect();
            let expected = if places.is_empty() { words.join(" ") } else { expected.join(" ") };
            prop_assert_eq!(split.text(stream), expected);
        }
        // No word is in two of them.
        prop_assert!(seen.iter().all(|&times| times <= 1));
        prop_assert_eq!(split.text(CaptionStream::Fusion), words.join(" "));
        prop_assert!(split.available(CaptionStream::Fusion));
    }

    #[test]
    fn p_ca_6_splitting_is_deterministic_and_case_blind(caption in captions()) {
        let split = CaptionStreams::split(&caption);
        prop_assert_eq!(&split, &CaptionStreams::split(&caption));
        // Beyond ASCII, upper case is not always the same number of letters.
        prop_assert_eq!(&split.tags, &CaptionStreams::split(&caption.to_ascii_uppercase()).tags);
    }
}

#[test]
fn p_ca_6_short_and_long_captions_pass() {
    assert_eq!(CaptionStreams::split(""), CaptionStreams { words: vec![], tags: vec![] });
    assert_eq!(CaptionStreams::split(" \t ").text(CaptionStream::Entity), "");
    for word in ["a", "running", "in", "to", "-", "'s", "up", "and", "still"] {
        assert_eq!(CaptionStreams::split(word).tags.len(), 1, "{word}");
    }
    for word in ["man", "in", "of", "running", "and", "up", "to"] {
        let long = vec![word; 10_000].join(" ");
        assert_eq!(CaptionStreams::split(&long).tags.len(), 10_000);
    }
    assert_eq!(CaptionStream::named("scene"), Some(CaptionStream::Scene));
    assert_eq!(CaptionStream::named("scenes"), None);
}
