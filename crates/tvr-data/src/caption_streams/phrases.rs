//! From parts of speech to what words speak of: the phrase of a place, the verb with its particles, the rest.

use super::lexicon::{Classes, Word};
use super::tagger::Part;
use crate::world::Tag;

/// Verbs whose `at`, `on` or `into` names no place: looks at, talks on, turns into.
const AT: [&str; 12] =
    ["look", "laugh", "yell", "point", "stare", "smile", "shout", "aim", "scream", "gaze", "glance", "wave"];
const ON: [&str; 10] =
    ["talk", "speak", "comment", "report", "focus", "lecture", "discuss", "explain", "work", "concentrate"];
const INTO: [&str; 9] = ["turn", "transform", "change", "cut", "divide", "make", "speak", "talk", "sing"];

/// Nouns whose `on` names what they are about.
const SPEECH: [&str; 12] = [
    "speech",
    "report",
    "lecture",
    "news",
    "talk",
    "tutorial",
    "lesson",
    "presentation",
    "comments",
    "review",
    "information",
    "segment",
];

/// What every word speaks of.
pub(super) fn tags(words: &[Word], parts: &[Part]) -> Vec<Tag> {
    let mut tags: Vec<Tag> = parts
        .iter()
        .map(|part| match part {
            Part::Noun | Part::Adjective | Part::Number | Part::Anybody => Tag::Entity,
            Part::Verb | Part::Particle => Tag::Action,
            Part::Where => Tag::Scene,
            _ => Tag::Other,
        })
        .collect();
    let sentence = Sentence { words, parts };
    let mut place = 0;
    while place < words.len() {
        let end = sentence.scene(place).unwrap_or(place);
        tags[place..end].fill(Tag::Scene);
        if end == place {
            let end = sentence.motion(place).unwrap_or(place);
            tags[place..end].fill(Tag::Action);
        }
        place = end.max(place + 1);
    }
    tags
}

struct Sentence<'a> {
    words: &'a [Word],
    parts: &'a [Part],
}

impl Sentence<'_> {
    fn key(&self, place: usize) -> &str {
        self.words.get(place).map_or("", |word| word.key.as_str())
    }

    /// The end of a phrase of place that begins here.
    fn scene(&self, start: usize) -> Option<usize> {
        if self.parts[start] != Part::Locative {
            return None;
        }
        let mut first = start + 1;
        // "outside of a house", "down in the valley".
        while self.key(first) == "of" || self.parts.get(first) == Some(&Part::Locative) {
            first += 1;
        }
        if matches!(self.key(first), "it" | "them") {
            return matches!(self.key(start), "on" | "in").then_some(first + 1);
        }
        let (mut end, head) = self.noun_phrase(first)?;
        let place = self.words[head].classes.any(Classes::PLACE);
        let named = self.words[head].classes;
        let verb = self.verb_before(start);
        let spoken = match self.key(start) {
            "by" | "before" | "after" => true,
            "at" => AT.contains(&verb),
            "on" => ON.contains(&verb) || SPEECH.contains(&self.key(start.wrapping_sub(1))),
            "into" => INTO.contains(&verb),
            _ => false,
        };
        if !place && (spoken || named.any(Classes::WORN.with(Classes::ABSTRACT))) {
            return None;
        }
        // "the side of the road", "mountains and green forests" at the end of a sentence.
        while self.key(end) == "of" {
            let Some((further, _)) = self.noun_phrase(end + 1) else { break };
            end = further;
        }
        if self.key(end) == "and" && self.parts.get(end + 1) != Some(&Part::Determiner) {
            match self.noun_phrase(end + 1) {
                Some((further, _)) if further == self.words.len() => end = further,
                _ => {}
            }
        }
        Some(end)
    }

    /// The end of the noun phrase that begins here, and its head: the last noun.
    fn noun_phrase(&self, start: usize) -> Option<(usize, usize)> {
        let mut place = start;
        while matches!(self.parts.get(place), Some(Part::Determiner | Part::Adverb)) {
            place += 1;
        }
        let mut head = None;
        while let Some(part) = self.parts.get(place) {
            match part {
                Part::Noun => head = Some(place),
                // After its noun a phrase takes no adjective but as part of a name.
                Part::Adjective | Part::Number if head.is_none() || self.noun_later(place) => {}
                _ => break,
            }
            place += 1;
        }
        // A phrase that ends in an adjective has lost its noun to another phrase.
        head.map(|head| (head + 1, head))
    }

    /// Whether a noun comes before the phrase ends.
    fn noun_later(&self, place: usize) -> bool {
        self.parts[place..]
            .iter()
            .take_while(|part| matches!(part, Part::Adjective | Part::Number | Part::Noun))
            .any(|part| *part == Part::Noun)
    }

    /// The verb right before a place, without its particles; empty where there is none.
    fn verb_before(&self, place: usize) -> &str {
        let at = (0..place).rev().find(|&at| !matches!(self.parts[at], Part::Particle | Part::Adverb));
        at.filter(|&at| self.parts[at] == Part::Verb).map_or("", |at| self.words[at].stem.as_str())
    }

    /// The end of a phrase of direction after a verb: `to the left`, `from left to right`, `away from`,
    /// `up and down`, `gets bigger`, `stays still`, `trades places`.
    fn motion(&self, place: usize) -> Option<usize> {
        let before = place.checked_sub(1)?;
        let verb = self.parts[before] == Part::Verb;
        let moved = verb || self.parts[before] == Part::Particle;
        let side = |place: usize| matches!(self.key(place), "left" | "right");
        match self.key(place) {
            "to" if moved && side(place + 1) => Some(place + 2),
            "to" if moved && self.key(place + 1) == "the" && side(place + 2) => Some(place + 3),
            "from" if moved && side(place + 1) && self.key(place + 2) == "to" && side(place + 3) => {
                Some(place + 4)
            }
            "from" if self.key(before) == "away" => Some(place + 1),
            "and" if self.key(before) == "up" && self.key(place + 1) == "down" => Some(place + 2),
            "still" if verb => Some(place + 1),
            "places" if matches!(self.words[before].stem.as_str(), "trade" | "swap") => Some(place + 1),
            key if verb && key.ends_with("er") && self.parts[place] == Part::Adjective => {
                let grows = matches!(self.words[before].stem.as_str(), "get" | "grow" | "become");
                (grows && !self.parts.get(place + 1).is_some_and(|part| *part == Part::Noun))
                    .then_some(place + 1)
            }
            _ => None,
        }
    }
}
