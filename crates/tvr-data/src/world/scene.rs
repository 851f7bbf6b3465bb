//! What happens in a clip, and where: semantics and layout.

use super::CHANNEL;
use super::tables::{RADIUS, W_ACTION, W_COLOUR, W_PATTERN, W_RELATION, W_SCENE, W_SHAPE, W_SIZE};
use crate::random::Rng;

/// What an entity does. The order is that of the tables.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Action {
    Right,
    Left,
    Up,
    Down,
    Grow,
    Shrink,
    Appear,
    Vanish,
    Cw,
    Ccw,
    Still,
    Shake,
    Blink,
    Bounce,
    Turn,
    Swap,
    Approach,
    Leave,
    Follow,
}

impl Action {
    pub(super) const ALL: [Self; 19] = [
        Self::Right,
        Self::Left,
        Self::Up,
        Self::Down,
        Self::Grow,
        Self::Shrink,
        Self::Appear,
        Self::Vanish,
        Self::Cw,
        Self::Ccw,
        Self::Still,
        Self::Shake,
        Self::Blink,
        Self::Bounce,
        Self::Turn,
        Self::Swap,
        Self::Approach,
        Self::Leave,
        Self::Follow,
    ];

    /// Whether the same clip run backwards shows another action (the roles of FOLLOW and the colours of TURN swap).
    pub(super) fn has_direction(self) -> bool {
        !matches!(self, Self::Still | Self::Shake | Self::Blink | Self::Bounce | Self::Swap)
    }

    fn is_relation(self) -> bool {
        self >= Self::Swap
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Entity {
    pub shape: usize,
    pub colour: usize,
    pub size: usize,
    pub pattern: usize,
}

fn entity(random: &mut Rng) -> Entity {
    Entity {
        shape: random.weighted(&W_SHAPE),
        colour: random.weighted(&W_COLOUR),
        size: random.weighted(&W_SIZE),
        pattern: random.weighted(&W_PATTERN),
    }
}

/// What happens in a clip.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Semantics {
    pub scene: usize,
    /// One or two.
    pub entities: Vec<Entity>,
    /// The colour that each entity would turn to.
    pub turned: Vec<usize>,
    pub action: Action,
    /// What the second entity does, unless the two are in a relation.
    pub second_action: Option<Action>,
    pub distractor: Option<Entity>,
    pub length: usize,
}

/// Recurring channels.
const CHANNELS: u64 = 48;

pub(super) fn semantics(seed: u64, split: u64, index: u64) -> Semantics {
    let mut r = Rng::new(&[seed, split, index, 0]);
    let mut scene = r.weighted(&W_SCENE);
    let mut entities = vec![entity(&mut r)];
    let mut action = Action::ALL[r.weighted(&W_ACTION)];
    let mut second_action = None;
    if r.chance(350) {
        // A clip of a recurring channel: its scene, its hero, often its action.
        let (first, second) = (r.below(CHANNELS), r.below(CHANNELS));
        let mut q = Rng::new(&[seed, CHANNEL, first.min(second), 0]);
        scene = q.weighted(&W_SCENE);
        let hero = entity(&mut q);
        let habit = Action::ALL[q.weighted(&W_ACTION)];
        entities[0].shape = hero.shape;
        entities[0].colour = hero.colour;
        if r.chance(600) {
            action = habit;
        }
    }
    if r.chance(450) {
        entities.push(entity(&mut r));
        if r.chance(350) {
            action = Action::ALL[Action::Swap as usize + r.weighted(&W_RELATION)];
        } else if r.chance(350) {
            second_action = Some(Action::ALL[r.weighted(&W_ACTION)]);
        } else {
            second_action = Some(Action::Still);
        }
    }
    let mut turned = Vec::with_capacity(entities.len());
    for entity in &entities {
        let colour = r.weighted(&W_COLOUR);
        turned.push(if colour == entity.colour { (colour + 1) % 8 } else { colour });
    }
    let distractor = if r.chance(250) { Some(entity(&mut r)) } else { None };
    let length = if r.chance(700) { super::FRAMES } else { r.span(5, 7) as usize };
    Semantics { scene, entities, turned, action, second_action, distractor, length }
}

/// An entity in one frame. Places are in sixteenths of a pixel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct State {
    pub x: i64,
    pub y: i64,
    pub radius: i64,
    /// 0 (not to be seen) to 16.
    pub alpha: i64,
    /// 0 (own colour) to 16 (turned colour).
    pub phase: i64,
}

/// An entity with its states.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Sprite {
    pub entity: Entity,
    pub turned: usize,
    pub states: Vec<State>,
}

/// `floor(256 sin(2π j / 64) + 1/2)`.
const SIN: [i64; 64] = [
    0, 25, 50, 74, 98, 121, 142, 162, 181, 198, 213, 226, 237, 245, 251, 255, 256, 255, 251, 245, 237, 226,
    213, 198, 181, 162, 142, 121, 98, 74, 50, 25, 0, -25, -50, -74, -98, -121, -142, -162, -181, -198, -213,
    -226, -237, -245, -251, -255, -256, -255, -251, -245, -237, -226, -213, -198, -181, -162, -142, -121,
    -98, -74, -50, -25,
];

/// The lattice of two pixels.
fn snap(x: i64) -> i64 {
    (x + 16) & !31
}

fn floor_div(a: i64, b: i64) -> i64 {
    a.div_euclid(b)
}

fn path(r: &mut Rng, action: Action, frames: usize, home: [i64; 2], radius: i64) -> Vec<State> {
    let n = frames as i64;
    let (a, b) = (r.span(96, 144), r.span(368, 416));
    let (start, k, cut) = (r.below(64) as i64, r.span(88, 112), r.span(2, (n - 3).max(2)));
    (0..n)
        .map(|t| {
            let u = t * 256 / (n - 1);
            let [mut x, mut y] = home;
            let (mut q, mut alpha, mut phase) = (radius, 16, 0);
            let go = a + floor_div((b - a) * u, 256);
            let come = b - floor_div((b - a) * u, 256);
            match action {
                Action::Right => x = go,
                Action::Left => x = come,
                Action::Down => y = go,
                Action::Up => y = come,
                Action::Grow => q = floor_div(radius * (120 + u), 256) & !15,
                Action::Shrink => q = floor_div(radius * (376 - u), 256) & !15,
                Action::Appear => alpha = ((t - cut + 1) * 8).clamp(0, 16),
                Action::Vanish => alpha = ((n - t - cut) * 8).clamp(0, 16),
                Action::Cw | Action::Ccw => {
                    let w = if action == Action::Cw { u } else { 256 - u };
                    let d = (start + floor_div(w, 4)).rem_euclid(64) as usize;
                    x = 256 + floor_div(k * SIN[(d + 16) % 64], 256);
                    y = 256 + floor_div(k * SIN[d], 256);
                }
                Action::Shake => x += if t % 2 == 1 { 40 } else { -40 },
                Action::Blink => alpha = if (t + start) % 3 == 0 { 0 } else { 16 },
                Action::Bounce => {
                    y -= floor_div((128 - ((t * 64 + start).rem_euclid(256) - 128).abs()) * 7, 8)
                }
                Action::Turn => phase = ((t - cut + 1) * 8).clamp(0, 16),
                Action::Still | Action::Swap | Action::Approach | Action::Leave | Action::Follow => {}
            }
            State { x: snap(x), y: snap(y), radius: q, alpha, phase }
        })
        .collect()
}

/// Where everything is: the generator for the pixels, and sprites from back to front.
pub(super) fn layout(seed: u64, split: u64, index: u64, what: &Semantics) -> (Rng, Vec<Sprite>) {
    let mut r = Rng::new(&[seed, split, index, 1]);
    let n = what.length;
    let two = what.entities.len() == 2;
    let mut sprites = Vec::new();
    if let Some(entity) = what.distractor {
        let home = [r.span(64, 448), r.span(64, 448)];
        sprites.push(Sprite {
            entity,
            turned: entity.colour,
            states: path(&mut r, Action::Still, n, home, 48),
        });
    }
    let side = r.below(2) as usize;
    let mut homes = Vec::new();
    for i in 0..what.entities.len() {
        let x = match (two, (i ^ side) != 0) {
            (false, _) => r.span(112, 400),
            (true, true) => r.span(96, 200),
            (true, false) => r.span(312, 416),
        };
        homes.push([x, r.span(112, 400)]);
    }
    let radii: Vec<i64> = what.entities.iter().map(|entity| RADIUS[entity.size]).collect();
    let states: Vec<Vec<State>> = if what.action.is_relation() {
        relation(what.action, n, side, homes[0], homes[1], &radii)
    } else {
        [Some(what.action), what.second_action]
            .into_iter()
            .flatten()
            .take(homes.len())
            .enumerate()
            .map(|(i, action)| path(&mut r, action, n, homes[i], radii[i]))
            .collect()
    };
    for (i, states) in states.into_iter().enumerate().rev() {
        sprites.push(Sprite { entity: what.entities[i], turned: what.turned[i], states });
    }
    (r, sprites)
}

fn relation(
    action: Action,
    n: usize,
    side: usize,
    [ax, ay]: [i64; 2],
    [bx, by]: [i64; 2],
    radii: &[i64],
) -> Vec<Vec<State>> {
    let mut states = vec![Vec::new(), Vec::new()];
    for t in 0..n as i64 {
        let u = t * 256 / (n as i64 - 1);
        let w = match action {
            Action::Swap => u,
            Action::Approach => u * 3 / 4,
            _ => (256 - u) * 3 / 4,
        };
        let mut first = [ax + floor_div((bx - ax) * w, 256), ay + floor_div((by - ay) * w, 256)];
        let mut second = [bx, by];
        if action == Action::Swap {
            second = [bx + floor_div((ax - bx) * u, 256), by + floor_div((ay - by) * u, 256)];
        }
        if action == Action::Follow {
            let (x0, s) = if side == 1 { (64, 1) } else { (448, -1) };
            first = [x0 + s * (u * 3 / 4), ay];
            second = [x0 + s * (176 + u * 3 / 4), ay + floor_div(by - ay, 8)];
        }
        for (i, place) in [first, second].into_iter().enumerate() {
            states[i].push(State {
                x: snap(place[0]),
                y: snap(place[1]),
                radius: radii[i],
                alpha: 16,
                phase: 0,
            });
        }
    }
    states
}
