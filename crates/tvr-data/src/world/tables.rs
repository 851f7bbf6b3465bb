//! The world's tables: words, colours, weights. The long tail is in the weights.

use super::scene::Action;

pub(super) const COLOURS: [&str; 8] =
    ["red|scarlet", "blue", "green", "yellow|golden", "purple|violet", "orange", "white|pale", "pink|rosy"];
pub(super) const RGB: [[i64; 3]; 8] = [
    [220, 40, 40],
    [40, 70, 220],
    [40, 170, 60],
    [235, 215, 50],
    [150, 50, 190],
    [240, 140, 30],
    [240, 240, 240],
    [245, 150, 190],
];
pub(super) const SHAPES: [&str; 8] = [
    "ball|circle|disc",
    "box|square|block",
    "triangle|pyramid",
    "diamond|rhombus",
    "ring|hoop",
    "cross|plus",
    "bar|stick",
    "moon|crescent",
];
/// Colour of each shape's core.
pub(super) const CORE: [[i64; 3]; 8] = [
    [20, 20, 20],
    [0, 215, 215],
    [165, 250, 70],
    [105, 60, 25],
    [0, 105, 100],
    [15, 15, 110],
    [128, 128, 128],
    [105, 0, 30],
];
pub(super) const SIZES: [&str; 3] = ["small|little|tiny", "", "big|large|huge"];
/// In sixteenths of a pixel.
pub(super) const RADIUS: [i64; 3] = [72, 104, 144];
pub(super) const PATTERNS: [&str; 3] = ["", "striped|banded", "spotted|dotted"];
pub(super) const W_COLOUR: [u64; 8] = [10, 8, 7, 5, 4, 3, 2, 2];
pub(super) const W_SHAPE: [u64; 8] = [10, 8, 6, 5, 4, 3, 2, 2];
pub(super) const W_SIZE: [u64; 3] = [3, 4, 3];
pub(super) const W_PATTERN: [u64; 3] = [6, 3, 2];
pub(super) const W_SCENE: [u64; 12] = [12, 9, 7, 6, 5, 4, 3, 3, 2, 2, 1, 1];
pub(super) const W_ACTION: [u64; 15] = [10, 9, 7, 8, 5, 5, 4, 4, 3, 3, 6, 2, 2, 3, 4];
pub(super) const W_RELATION: [u64; 4] = [3, 4, 4, 4];

/// How a scene's background is drawn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Texture {
    Waves,
    Speckle,
    Bricks,
    Stars,
    Checker,
    Vstripes,
    Dashes,
    Gradient,
}

pub(super) struct Scene {
    pub phrases: &'static str,
    pub texture: Texture,
    pub a: [i64; 3],
    pub b: [i64; 3],
}

const fn scene(phrases: &'static str, texture: Texture, a: [i64; 3], b: [i64; 3]) -> Scene {
    Scene { phrases, texture, a, b }
}

pub(super) const SCENES: [Scene; 12] = [
    scene("in the sea|on the water|over the waves", Texture::Waves, [30, 90, 170], [55, 125, 205]),
    scene("on the grass|in a meadow|on a lawn", Texture::Speckle, [60, 140, 50], [95, 175, 75]),
    scene("in the desert|on the sand", Texture::Speckle, [195, 165, 105], [222, 192, 132]),
    scene("before a brick wall|by a brick wall", Texture::Bricks, [150, 140, 130], [160, 80, 60]),
    scene("in the night sky|among the stars", Texture::Stars, [230, 230, 210], [15, 15, 45]),
    scene("on the snow|in winter", Texture::Speckle, [218, 225, 238], [245, 248, 250]),
    scene("on a tiled floor|in the kitchen", Texture::Checker, [190, 190, 182], [95, 95, 100]),
    scene("before a curtain|on the stage", Texture::Vstripes, [140, 30, 50], [100, 15, 35]),
    scene("at sunset|in the evening sky", Texture::Gradient, [250, 150, 70], [90, 40, 110]),
    scene("on the road|on a street", Texture::Dashes, [200, 200, 180], [80, 80, 85]),
    scene("in the forest|among the trees", Texture::Vstripes, [30, 70, 30], [65, 50, 32]),
    scene("in a room|indoors", Texture::Gradient, [210, 195, 170], [170, 155, 130]),
];

/// Verb phrases of the actions, in [`Action`]'s order; `*` stands for an object.
pub(super) const ACTIONS: [&str; 19] = [
    "moves to the right|goes from left to right|slides right",
    "moves to the left|goes from right to left|slides left",
    "rises|goes up|climbs",
    "falls|goes down|drops",
    "grows|gets bigger|expands",
    "shrinks|gets smaller|contracts",
    "appears|fades in|shows up",
    "vanishes|disappears|fades out",
    "circles clockwise|orbits clockwise",
    "circles counterclockwise|orbits anticlockwise",
    "stays still|rests|does not move",
    "shakes|trembles|wobbles",
    "blinks|flashes",
    "bounces|jumps up and down|hops",
    "turns *|becomes *|changes to *",
    "swaps places with *|trades places with *",
    "approaches *|moves toward *",
    "moves away from *|leaves *",
    "follows *|chases *",
];

/// A verb that says less, for the actions that have one.
pub(super) fn loose(action: Action) -> Option<&'static str> {
    use Action::{
        Appear, Approach, Blink, Bounce, Ccw, Cw, Down, Follow, Grow, Leave, Left, Right, Shake, Shrink,
        Still, Swap, Turn, Up, Vanish,
    };
    match action {
        Right | Left | Up | Down | Cw | Ccw | Shake | Bounce => Some("moves|is moving"),
        Grow | Shrink | Appear | Vanish | Blink | Turn => Some("changes|is changing"),
        Swap | Approach | Leave | Follow => Some("moves around *|is near *"),
        Still => None,
    }
}
