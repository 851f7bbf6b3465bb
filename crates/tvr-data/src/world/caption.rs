//! Sentences: lists of tagged words.

use serde::{Deserialize, Serialize};

use super::scene::{Action, Entity, Semantics, Sprite};
use super::tables::{ACTIONS, COLOURS, PATTERNS, SCENES, SHAPES, SIZES, W_COLOUR, W_SCENE, loose};
use crate::random::Rng;

/// What a word speaks of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Tag {
    /// An entity or a property of one.
    Entity,
    /// What it does.
    Action,
    /// Where.
    Scene,
    /// Glue.
    Other,
}

/// A caption with the truth about its words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sentence {
    /// Words in order.
    pub words: Vec<(String, Tag)>,
    /// Whether a verb tells the clip from the same clip run backwards.
    pub order_bearing: bool,
}

impl Sentence {
    /// The words, joined by blanks.
    pub fn text(&self) -> String {
        let words: Vec<&str> = self.words.iter().map(|(word, _)| word.as_str()).collect();
        words.join(" ")
    }
}

type Words = Vec<(String, Tag)>;

const ANY: &str = "something|an object|a thing";

fn tagged(text: &str, tag: Tag) -> Words {
    text.split(' ').filter(|word| !word.is_empty()).map(|word| (word.to_string(), tag)).collect()
}

/// Probabilities, per mille, that an entity phrase says size, colour, pattern and shape.
struct Detail {
    size: u64,
    colour: u64,
    pattern: u64,
    shape: u64,
}

const CLIP: Detail = Detail { size: 450, colour: 800, pattern: 450, shape: 920 };
const STILL: Detail = Detail { size: 500, colour: 850, pattern: 500, shape: 960 };

fn noun(r: &mut Rng, entity: &Entity, detail: &Detail) -> Words {
    let mut words: Vec<&str> = Vec::new();
    let named = r.chance(detail.shape);
    if entity.size != 1 && r.chance(detail.size) {
        words.push(r.pick(SIZES[entity.size]));
    }
    if entity.pattern != 0 && r.chance(detail.pattern) {
        words.push(r.pick(PATTERNS[entity.pattern]));
    }
    if r.chance(detail.colour) {
        words.push(r.pick(COLOURS[entity.colour]));
    }
    if named {
        words.push(r.pick(SHAPES[entity.shape]));
    } else if words.is_empty() {
        return tagged(r.pick(ANY), Tag::Entity);
    } else {
        words.push(r.pick("object|thing|shape"));
    }
    let article = if words[0].starts_with(['a', 'e', 'i', 'o', 'u']) { "an" } else { "a" };
    let mut phrase = tagged(article, Tag::Other);
    phrase.extend(tagged(&words.join(" "), Tag::Entity));
    phrase
}

/// What entity `i` does; tells `order` if the verb bears the order of time.
fn verb(r: &mut Rng, what: &Semantics, i: usize, order: &mut bool) -> Words {
    let action = if i == 0 { what.action } else { what.second_action.unwrap_or(Action::Still) };
    let less = loose(action).filter(|_| r.chance(80));
    let phrase = r.pick(less.unwrap_or(ACTIONS[action as usize]));
    *order |= less.is_none() && action.has_direction();
    let mut words = tagged(&phrase.replace(" *", ""), Tag::Action);
    if phrase.contains('*') {
        if action == Action::Turn {
            words.extend(tagged(r.pick(COLOURS[what.turned[i]]), Tag::Entity));
        } else {
            words.extend(noun(r, &what.entities[1], &CLIP));
        }
    }
    words
}

pub(super) fn caption(r: &mut Rng, truth: &Semantics) -> Sentence {
    let mut what = truth.clone();
    if r.chance(40) {
        // An annotator errs.
        if r.chance(500) {
            what.entities[0].colour = r.weighted(&W_COLOUR);
        } else {
            what.scene = r.weighted(&W_SCENE);
        }
    }
    let mut kind = r.weighted(&[46, 18, 20, 10, 3, 3]);
    let located = r.chance(650);
    let mut place = tagged(r.pick(SCENES[what.scene].phrases), Tag::Scene);
    let two = what.entities.len() == 2 && what.action < Action::Swap;
    if kind == 1 && !two {
        kind = 0;
    }
    if kind == 4 || (kind < 2 && !located) {
        place.clear();
    }
    let mut order = false;
    let words = match kind {
        0 => [noun(r, &what.entities[0], &CLIP), verb(r, &what, 0, &mut order), place].concat(),
        1 => {
            let first = [noun(r, &what.entities[0], &CLIP), verb(r, &what, 0, &mut order)].concat();
            let second = [noun(r, &what.entities[1], &CLIP), verb(r, &what, 1, &mut order)].concat();
            let glue = tagged(r.pick("while|and|as"), Tag::Other);
            if r.chance(700) {
                [first, glue, second, place].concat()
            } else {
                [second, glue, first, place].concat()
            }
        }
        2 => {
            let hero = noun(r, &what.entities[0], &CLIP);
            [place, hero, verb(r, &what, 0, &mut order)].concat()
        }
        3 => {
            let mut words = tagged("there is", Tag::Other);
            words.extend(noun(r, &what.entities[0], &CLIP));
            if two && r.chance(600) {
                words.extend(tagged("and", Tag::Other));
                words.extend(noun(r, &what.entities[1], &CLIP));
            }
            [words, place].concat()
        }
        4 => {
            let hero = tagged(r.pick(ANY), Tag::Entity);
            [hero, verb(r, &what, 0, &mut order)].concat()
        }
        _ => [tagged(r.pick("a video|a clip|a scene"), Tag::Other), place].concat(),
    };
    Sentence { words, order_bearing: order }
}

fn where_is(x: i64, y: i64) -> String {
    let across = if x < 208 {
        "left"
    } else if x > 304 {
        "right"
    } else {
        ""
    };
    let down = if y < 208 {
        "top"
    } else if y > 304 {
        "bottom"
    } else {
        ""
    };
    match (down, across) {
        ("", "") => "in the middle".to_string(),
        _ => format!("at the {}", format!("{down} {across}").trim()),
    }
}

/// A still's sentence, and its place sentence where there is exactly one thing to be seen.
pub(super) fn still(
    r: &mut Rng,
    what: &Semantics,
    sprites: &[Sprite],
    frame: usize,
) -> (String, Option<String>) {
    let mut parts: Vec<String> = Vec::new();
    let mut place = None;
    for sprite in sprites.iter().rev().take(what.entities.len()) {
        let state = sprite.states[frame];
        if state.alpha < 8 || (!parts.is_empty() && !r.chance(700)) {
            continue;
        }
        if what.entities.len() == 1 && what.distractor.is_none() {
            place = Some(format!("a photo of something {}", where_is(state.x, state.y)));
        }
        let seen = Entity {
            colour: if state.phase > 8 { sprite.turned } else { sprite.entity.colour },
            size: if state.radius < 80 { 0 } else { usize::from(state.radius >= 120) + 1 },
            ..sprite.entity
        };
        let phrase = Sentence { words: noun(r, &seen, &STILL), order_bearing: false }.text();
        parts.push(if r.chance(850) { format!("{phrase} {}", where_is(state.x, state.y)) } else { phrase });
    }
    let mut sentence = if parts.is_empty() {
        r.pick("a photo|a picture|nothing").to_string()
    } else {
        format!("{} {}", r.pick("a photo of|a picture of|there is"), parts.join(" and "))
    };
    if parts.is_empty() || r.chance(500) {
        sentence = format!("{sentence} {}", r.pick(SCENES[what.scene].phrases));
    }
    (sentence, place)
}
