//! Which classes a word may have: the lists of `lexicon.txt`, and what an ending says.

use std::collections::HashMap;
use std::sync::LazyLock;

/// Classes that a word may have, as a set.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Classes(u32);

impl Classes {
    pub(super) const VERB: Self = Self(1);
    pub(super) const NOUN: Self = Self(1 << 1);
    pub(super) const PAST: Self = Self(1 << 2);
    pub(super) const ADJECTIVE: Self = Self(1 << 3);
    pub(super) const NUMBER: Self = Self(1 << 4);
    pub(super) const ADVERB: Self = Self(1 << 5);
    pub(super) const DIRECTION: Self = Self(1 << 6);
    pub(super) const WHERE: Self = Self(1 << 7);
    pub(super) const DETERMINER: Self = Self(1 << 8);
    pub(super) const PRONOUN: Self = Self(1 << 9);
    pub(super) const ANYBODY: Self = Self(1 << 10);
    pub(super) const AUXILIARY: Self = Self(1 << 11);
    pub(super) const CONJUNCTION: Self = Self(1 << 12);
    pub(super) const PREPOSITION: Self = Self(1 << 13);
    pub(super) const LOCATIVE: Self = Self(1 << 14);
    pub(super) const PARTICLE: Self = Self(1 << 15);
    pub(super) const WORN: Self = Self(1 << 16);
    pub(super) const ABSTRACT: Self = Self(1 << 17);
    pub(super) const PLACE: Self = Self(1 << 18);

    /// Whether the two sets share a class.
    pub(super) fn any(self, of: Self) -> bool {
        self.0 & of.0 != 0
    }

    /// Whether the set has a class that decides about a word: one of the first sixteen.
    fn decides(self) -> bool {
        self.0 & (Self::WORN.0 - 1) != 0
    }

    pub(super) fn with(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

/// The form of a verb.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Form {
    /// `play`, and what is no verb.
    #[default]
    Bare,
    /// `plays`
    Third,
    /// `playing`
    Ing,
    /// `played`, `shown`
    Past,
}

/// A word of a caption with all it may be.
#[derive(Clone, Debug)]
pub(super) struct Word {
    /// Lower case, without the punctuation around it.
    pub(super) key: String,
    pub(super) classes: Classes,
    pub(super) form: Form,
    /// The verb it may be a form of.
    pub(super) stem: String,
}

static LEXICON: LazyLock<HashMap<&'static str, Classes>> = LazyLock::new(|| {
    let mut lexicon: HashMap<&'static str, Classes> = HashMap::new();
    let mut section = Classes::default();
    for line in include_str!("lexicon.txt").lines().filter(|line| !line.starts_with('#')) {
        match line.strip_prefix('[').and_then(|line| line.strip_suffix(']')) {
            Some(names) => {
                section = names.split(' ').fold(Classes::default(), |all, name| all.with(class(name)))
            }
            None => {
                for word in line.split_whitespace() {
                    let entry = lexicon.entry(word).or_default();
                    *entry = entry.with(section);
                }
            }
        }
    }
    lexicon
});

fn class(name: &str) -> Classes {
    match name {
        "verb" => Classes::VERB,
        "noun" => Classes::NOUN,
        "past" => Classes::PAST,
        "adjective" => Classes::ADJECTIVE,
        "number" => Classes::NUMBER,
        "adverb" => Classes::ADVERB,
        "direction" => Classes::DIRECTION,
        "where" => Classes::WHERE,
        "determiner" => Classes::DETERMINER,
        "pronoun" => Classes::PRONOUN,
        "anybody" => Classes::ANYBODY,
        "auxiliary" => Classes::AUXILIARY,
        "conjunction" => Classes::CONJUNCTION,
        "preposition" => Classes::PREPOSITION,
        "locative" => Classes::LOCATIVE,
        "particle" => Classes::PARTICLE,
        "worn" => Classes::WORN,
        "abstract" => Classes::ABSTRACT,
        "place" => Classes::PLACE,
        _ => Classes::default(),
    }
}

fn listed(word: &str) -> Classes {
    LEXICON.get(word).copied().unwrap_or_default()
}

/// A word as it stands in a caption, with all that lists and endings say.
pub(super) fn look_up(word: &str) -> Word {
    let lower = word.to_lowercase();
    let key = lower.trim_matches(|c: char| !c.is_alphanumeric());
    let key = if key.is_empty() { lower.as_str() } else { key };
    let (mut classes, mut form, mut stem) = (listed(key), Form::Bare, key.to_string());
    if key.ends_with("'s") || key.ends_with("\u{2019}s") {
        // "he's" is a pronoun and its verb, "man's" an entity's property.
        let owner = listed(key.split(['\'', '\u{2019}']).next().unwrap_or(key));
        let pronoun = owner.any(Classes::PRONOUN.with(Classes::CONJUNCTION).with(Classes::DETERMINER));
        classes = classes.with(if pronoun { Classes::AUXILIARY } else { Classes::ADJECTIVE });
    }
    if let Some((verb, found)) = verb_form(key) {
        let base = listed(&verb);
        if base.any(Classes::VERB) {
            classes = classes.with(Classes::VERB);
            if found == Form::Third && base.any(Classes::NOUN) {
                classes = classes.with(Classes::NOUN);
            }
            (form, stem) = (found, verb);
        } else if !classes.decides() && found != Form::Third {
            // A verb that nobody listed.
            classes = classes.with(Classes::VERB);
            (form, stem) = (found, verb);
        }
    }
    if classes.any(Classes::PAST) {
        if !classes.any(Classes::VERB) {
            form = Form::Past;
        }
        classes = classes.with(Classes::VERB);
    }
    if !classes.decides() {
        classes = classes.with(by_ending(key));
    }
    Word { key: key.to_string(), classes, form, stem }
}

/// What the ending says of a word that nobody listed and that is no form of a verb.
fn by_ending(key: &str) -> Classes {
    if key.starts_with(|c: char| c.is_ascii_digit()) {
        Classes::NUMBER
    } else if key.len() > 4 && key.ends_with("ly") {
        Classes::ADVERB
    } else if ["ful", "ous", "ish", "less", "able", "ible", "ical"].iter().any(|ending| key.ends_with(ending))
    {
        Classes::ADJECTIVE
    } else {
        Classes::NOUN
    }
}

/// The verb that a word would be a regular form of, and that form.
fn verb_form(key: &str) -> Option<(String, Form)> {
    let known = |candidates: &[String]| {
        candidates.iter().find(|verb| listed(verb).any(Classes::VERB)).or(candidates.first()).cloned()
    };
    if let Some(stem) = key.strip_suffix("ing").filter(|stem| stem.len() > 1 && stem.contains(vowel)) {
        let mut candidates = bare(stem);
        if let Some(lying) = stem.strip_suffix('y') {
            candidates.push(format!("{lying}ie")); // lying, dying, tying
        }
        return known(&candidates).map(|verb| (verb, Form::Ing));
    }
    if let Some(stem) = key.strip_suffix("ed").filter(|stem| stem.len() > 1 && stem.contains(vowel)) {
        let mut candidates = bare(stem);
        if let Some(stem) = stem.strip_suffix('i') {
            candidates.push(format!("{stem}y"));
        }
        return known(&candidates).map(|verb| (verb, Form::Past));
    }
    let stem = key.strip_suffix('s').filter(|stem| stem.len() > 1 && !stem.ends_with('s'))?;
    let mut candidates = vec![stem.to_string()];
    if let Some(stem) = stem.strip_suffix('e') {
        candidates.push(stem.to_string());
        if let Some(stem) = stem.strip_suffix('i') {
            candidates.push(format!("{stem}y"));
        }
    }
    known(&candidates).map(|verb| (verb, Form::Third))
}

/// What may stand before `-ing` or `-ed`: play, (mak)e, (sit)t.
fn bare(stem: &str) -> Vec<String> {
    let mut candidates = vec![stem.to_string(), format!("{stem}e")];
    let mut letters = stem.chars().rev();
    let (last, before) = (letters.next(), letters.next());
    if last.is_some() && last == before {
        let single: String = stem.chars().take(stem.chars().count() - 1).collect();
        candidates.push(single);
    }
    candidates
}

fn vowel(c: char) -> bool {
    matches!(c, 'a' | 'e' | 'i' | 'o' | 'u' | 'y')
}
