//! One part of speech for every word: closed classes first, then one pass from left to right.
//!
//! The pass knows the part before a word, the words after it, and whether the clause has its finite verb already.
//! It decides between the classes that the lexicon allows, by rules such as: after `to`, an auxiliary or a plural
//! noun without a verb a bare form is a verb; after an article or a preposition it is a noun; an `-ing` form is a
//! verb unless an article stands before it and a noun after it.

use super::lexicon::{Classes, Form, Word};

/// What a word is in its sentence.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Part {
    Noun,
    Adjective,
    Number,
    /// `someone`, `something`.
    Anybody,
    Verb,
    /// A word that belongs to the verb before it.
    Particle,
    /// A word that says where by itself.
    Where,
    Determiner,
    Pronoun,
    Auxiliary,
    Conjunction,
    Preposition,
    Locative,
    Adverb,
    To,
}

/// Nouns that make a name with the `-ing` form before them: a swimming pool, a frying pan.
const COMPOUND: [&str; 36] = [
    "pool",
    "show",
    "lot",
    "mall",
    "ring",
    "match",
    "table",
    "machine",
    "pan",
    "bowl",
    "board",
    "track",
    "competition",
    "contest",
    "class",
    "room",
    "pot",
    "shoes",
    "stick",
    "pin",
    "rod",
    "lesson",
    "program",
    "tutorial",
    "event",
    "school",
    "area",
    "tournament",
    "gear",
    "skills",
    "techniques",
    "band",
    "star",
    "chair",
    "court",
    "rink",
];

/// Particles that stay with their verb even if a noun follows: `picks up a ball`.
const CLOSE: [&str; 5] = ["up", "off", "out", "away", "back"];

pub(super) fn tag(words: &[Word]) -> Vec<Part> {
    let mut pass = Pass { words, parts: Vec::with_capacity(words.len()), finite: false };
    for place in 0..words.len() {
        let part = pass.part(place);
        match part {
            Part::Auxiliary => pass.finite = true,
            Part::Verb => pass.finite |= words[place].form != Form::Ing,
            Part::Conjunction | Part::Pronoun => pass.finite = false,
            _ => {}
        }
        pass.parts.push(part);
    }
    pass.parts
}

struct Pass<'a> {
    words: &'a [Word],
    parts: Vec<Part>,
    /// Whether the clause has a verb that bears its tense.
    finite: bool,
}

impl Pass<'_> {
    fn has(&self, place: usize, classes: Classes) -> bool {
        self.words.get(place).is_some_and(|word| word.classes.any(classes))
    }

    /// The part before `place`, adverbs apart, and where it stands.
    fn before(&self, place: usize) -> Option<(usize, Part)> {
        (0..place).rev().map(|at| (at, self.parts[at])).find(|(_, part)| *part != Part::Adverb)
    }

    /// Whether the word may be, or be part of, the noun phrase that the word before it opened.
    fn nounish(&self, place: usize) -> bool {
        let Some(word) = self.words.get(place) else { return false };
        let closed = Classes::CONJUNCTION.with(Classes::LOCATIVE).with(Classes::PREPOSITION);
        let closed = closed.with(Classes::AUXILIARY).with(Classes::PARTICLE).with(Classes::PRONOUN);
        let verb =
            word.classes.any(Classes::VERB) && !word.classes.any(Classes::NOUN.with(Classes::ADJECTIVE));
        let noun = Classes::NOUN.with(Classes::ADJECTIVE).with(Classes::NUMBER);
        word.classes.any(noun) && !verb && !word.classes.any(closed)
    }

    /// Whether a noun phrase begins here.
    fn phrase(&self, place: usize) -> bool {
        let opener = Classes::DETERMINER.with(Classes::ANYBODY);
        self.has(place, opener) || self.nounish(place)
    }

    fn part(&self, place: usize) -> Part {
        let word = &self.words[place];
        let (key, classes) = (word.key.as_str(), word.classes);
        let before = self.before(place).map(|(_, part)| part);
        if key == "to" {
            return Part::To;
        }
        if classes.any(Classes::AUXILIARY) {
            return self.auxiliary(place);
        }
        if let Some(part) = self.particle(place) {
            return part;
        }
        if classes.any(Classes::ANYBODY) {
            return Part::Anybody;
        }
        let closed = [
            (Classes::LOCATIVE, Part::Locative),
            (Classes::PRONOUN, Part::Pronoun),
            (Classes::PREPOSITION, Part::Preposition),
        ];
        for (class, part) in closed {
            // "back", "round", "past" and "inside" are other things after an article.
            let other = classes.any(Classes::NOUN.with(Classes::ADJECTIVE)) && opens(before);
            if classes.any(class) && !other {
                let alone =
                    classes.any(Classes::WHERE) && !self.phrase(place + 1) && !self.has(place + 1, of());
                return if alone { Part::Where } else { part };
            }
        }
        if classes.any(Classes::WHERE) {
            return if opens(before) { Part::Adjective } else { Part::Where };
        }
        if classes.any(Classes::CONJUNCTION) {
            return Part::Conjunction;
        }
        if classes.any(Classes::DETERMINER) {
            return Part::Determiner;
        }
        if classes.any(Classes::VERB) && self.verb(place) {
            return Part::Verb;
        }
        self.open(place, before)
    }

    /// A word that is no verb and of no closed class.
    fn open(&self, place: usize, before: Option<Part>) -> Part {
        let word = &self.words[place];
        let classes = word.classes;
        if classes.any(Classes::NUMBER) {
            return Part::Number;
        }
        let names =
            classes.any(Classes::NOUN) || (classes.any(Classes::VERB) && !classes.any(Classes::ADJECTIVE));
        if classes.any(Classes::ADVERB) {
            // "fast food" and "a high shelf", but "runs fast".
            let describes = classes.any(Classes::ADJECTIVE) && (self.nounish(place + 1) || opens(before));
            let noun = names && opens(before) && !self.nounish(place + 1);
            return if noun {
                Part::Noun
            } else if describes {
                Part::Adjective
            } else {
                Part::Adverb
            };
        }
        if classes.any(Classes::ADJECTIVE) && (!names || self.nounish(place + 1)) {
            return Part::Adjective;
        }
        if word.form != Form::Bare && self.nounish(place + 1) && classes.any(Classes::VERB) {
            return Part::Adjective;
        }
        if names || opens(before) { Part::Noun } else { Part::Adjective }
    }

    /// `has`, `does` and their kind are main verbs where no verb follows.
    fn auxiliary(&self, place: usize) -> Part {
        let main = matches!(self.words[place].key.as_str(), "has" | "have" | "had" | "do" | "does" | "did");
        let next =
            (place + 1..self.words.len()).find(|&at| !self.has(at, Classes::ADVERB)).unwrap_or(place + 1);
        let verb = self.words.get(next).is_some_and(|word| {
            let helped = word.form != Form::Third && !(word.form == Form::Ing && self.nounish(next + 1));
            word.classes.any(Classes::VERB.with(Classes::AUXILIARY)) && helped
        });
        if main && !verb && next < self.words.len() && !self.has(next, Classes::PRONOUN) {
            Part::Verb
        } else {
            Part::Auxiliary
        }
    }

    fn particle(&self, place: usize) -> Option<Part> {
        let word = &self.words[place];
        let (key, classes) = (word.key.as_str(), word.classes);
        let (at, before) = self.before(place)?;
        let phrase = self.phrase(place + 1) || self.has(place + 1, Classes::PRONOUN);
        let verb = matches!(before, Part::Verb | Part::Particle);
        if classes.any(Classes::DIRECTION) && verb && (CLOSE.contains(&key) || !phrase) {
            return Some(Part::Particle);
        }
        if !classes.any(Classes::PARTICLE) {
            return None;
        }
        let close = CLOSE.contains(&key);
        if verb {
            // "puts on a hat", "tries on shoes".
            let wears = key == "on" && ["put", "try"].contains(&self.words[at].stem.as_str());
            let towards = key.starts_with("toward");
            if close || wears || towards || !phrase {
                return Some(Part::Particle);
            }
        }
        // "puts things up", "strikes a batter out".
        let object = matches!(before, Part::Noun | Part::Pronoun | Part::Anybody);
        let earlier = self.parts[..place].iter().rev().take(5).any(|part| *part == Part::Verb);
        (object && close && earlier && !phrase).then_some(Part::Particle)
    }

    /// Whether a word that may be a verb is one here.
    fn verb(&self, place: usize) -> bool {
        let word = &self.words[place];
        let before = self.before(place);
        let part = before.map(|(_, part)| part);
        let noun = word.classes.any(Classes::NOUN.with(Classes::ADJECTIVE).with(Classes::ADVERB));
        match word.form {
            Form::Ing => self.is_ing_verb(place, part),
            Form::Past => match part {
                Some(Part::Auxiliary | Part::Particle) => true,
                Some(
                    Part::Determiner | Part::Adjective | Part::Number | Part::Preposition | Part::Locative,
                ) => false,
                Some(Part::Noun | Part::Anybody | Part::Pronoun) => !(noun && self.nounish(place + 1)),
                Some(Part::Verb) => !self.nounish(place + 1) && !noun,
                _ => !self.nounish(place + 1),
            },
            Form::Third if !noun => !opens(part),
            Form::Third => self.is_third(place, before),
            Form::Bare => self.is_bare(place, before, noun),
        }
    }

    fn is_ing_verb(&self, place: usize, part: Option<Part>) -> bool {
        let word = &self.words[place];
        let next = self.words.get(place + 1);
        let compound = next.is_some_and(|next| COMPOUND.contains(&next.key.as_str()));
        match part {
            Some(Part::Auxiliary) => true,
            _ if word.classes.any(Classes::NOUN.with(Classes::ADJECTIVE)) => {
                // "a man building a house", but "the building".
                matches!(part, Some(Part::Noun | Part::Anybody)) && self.has(place + 1, Classes::DETERMINER)
            }
            Some(Part::Determiner | Part::Adjective | Part::Number) => false,
            Some(Part::Noun | Part::Anybody | Part::Pronoun) => true,
            _ => !compound,
        }
    }

    /// `plays`: a verb or several of a thing.
    fn is_third(&self, place: usize, before: Option<(usize, Part)>) -> bool {
        let heads = self.has(place + 1, of().with(Classes::AUXILIARY))
            || self.words.get(place + 1).is_some_and(|next| next.form == Form::Third && only_verb(next));
        if heads {
            return false;
        }
        match before {
            Some((_, Part::Noun | Part::Anybody)) => !self.finite,
            Some((_, Part::Pronoun)) => true,
            Some((at, Part::Conjunction)) if self.joins(at) => match self.before(at) {
                Some((_, Part::Verb | Part::Particle)) => true,
                // "plays guitar and sings", but "does flips and rolls".
                Some((earlier, Part::Noun)) => !self.words[earlier].key.ends_with('s') && self.has_verb(at),
                _ => false,
            },
            Some((_, Part::Conjunction)) => {
                !self.phrase(place + 1) || self.has(place + 1, Classes::DETERMINER)
            }
            _ => false,
        }
    }

    /// `play`: a verb after `to`, after an auxiliary, and after many who do it.
    fn is_bare(&self, place: usize, before: Option<(usize, Part)>, noun: bool) -> bool {
        let word = &self.words[place];
        match before {
            Some((_, Part::To)) => true,
            Some((at, Part::Auxiliary)) => {
                // "is cut" but "is open", "can play".
                let past = word.classes.any(Classes::PAST);
                let be =
                    self.words[at].key.starts_with(['i', 'w', 'a', 'b']) && self.words[at].stem != "would";
                past || !be
            }
            part if opens(part.map(|(_, part)| part)) => false,
            _ if !noun => true,
            Some((at, Part::Noun)) => {
                let several =
                    self.words[at].key.ends_with('s') || PLURALS.contains(&self.words[at].key.as_str());
                // "a man drive a car" is not English, but common.
                let object = self.has(place + 1, Classes::DETERMINER);
                let tense = !self.finite && (several || object || word.classes.any(Classes::PAST));
                tense && !self.has(place + 1, Classes::AUXILIARY.with(of())) && !self.verb_follows(place + 1)
            }
            Some((at, Part::Anybody)) => {
                !self.finite && (self.words[at].key == "people" || !word.classes.any(Classes::ADJECTIVE))
            }
            Some((_, Part::Pronoun)) => !word.classes.any(Classes::ADJECTIVE),
            Some((at, Part::Conjunction)) if self.joins(at) => {
                let earlier = self.before(at);
                matches!(earlier, Some((earlier, Part::Verb)) if self.words[earlier].form == Form::Bare)
            }
            _ => false,
        }
    }

    fn joins(&self, place: usize) -> bool {
        matches!(self.words[place].key.as_str(), "and" | "or" | "but" | "then")
    }

    fn has_verb(&self, place: usize) -> bool {
        self.parts[..place].contains(&Part::Verb)
    }

    fn verb_follows(&self, place: usize) -> bool {
        self.words
            .get(place)
            .is_some_and(|word| word.form != Form::Past && word.form != Form::Ing && only_verb(word))
    }
}

/// Plurals without an s.
const PLURALS: [&str; 8] = ["men", "women", "children", "people", "guys", "kids", "police", "crowd"];

fn of() -> Classes {
    // "of" and its like: what comes before is a noun.
    Classes::PREPOSITION
}

fn only_verb(word: &Word) -> bool {
    word.classes.any(Classes::VERB) && !word.classes.any(Classes::NOUN.with(Classes::ADJECTIVE))
}

/// Whether a noun must follow sooner or later.
fn opens(part: Option<Part>) -> bool {
    matches!(
        part,
        Some(Part::Determiner | Part::Adjective | Part::Number | Part::Preposition | Part::Locative)
    )
}
