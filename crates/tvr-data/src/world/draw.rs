//! Pixels: background, sprites, light and noise, in integers.

use super::SIDE;
use super::scene::{Semantics, Sprite, layout};
use super::tables::{CORE, RGB, SCENES, Texture};
use crate::random::{GOLD, Rng, mix64};

/// A frame before light and noise.
type Canvas = Vec<[i64; 3]>;

/// u8 `[frames, 32, 32, 3]` of the real frames, or of one of them.
pub(super) fn render(seed: u64, split: u64, index: u64, what: &Semantics, only: Option<usize>) -> Vec<u8> {
    let (mut r, sprites) = layout(seed, split, index, what);
    let base = background(&mut r, what.scene);
    let (gain, key) = (r.span(218, 294), r.next());
    let frames = only.map_or(0..what.length, |frame| frame..frame + 1);
    let mut pixels = Vec::with_capacity(frames.len() * SIDE * SIDE * 3);
    for frame in frames {
        let mut canvas = base.clone();
        for sprite in &sprites {
            paint(&mut canvas, sprite, frame);
        }
        for (place, pixel) in canvas.iter().enumerate() {
            let (x, y) = (place % SIDE, place / SIDE);
            let noise = hash(key, x as i64, (y + 64 * frame) as i64);
            for (channel, value) in pixel.iter().enumerate() {
                let grain = ((((noise >> (8 * channel)) & 255) as i64 * 25) >> 8) - 12;
                pixels.push((((value * gain) >> 8) + grain).clamp(0, 255) as u8);
            }
        }
    }
    pixels
}

fn hash(key: u64, x: i64, y: i64) -> u64 {
    let place = (y as u64).wrapping_mul(4096).wrapping_add(x as u64);
    mix64(key.wrapping_add(place.wrapping_mul(GOLD)))
}

fn background(r: &mut Rng, scene: usize) -> Canvas {
    let scene = &SCENES[scene];
    let (ox, oy, key) = (r.below(64) as i64, r.below(64) as i64, r.next());
    let jitter = [r.span(-18, 18), r.span(-18, 18), r.span(-18, 18)];
    let mut canvas = Vec::with_capacity(SIDE * SIDE);
    for gy in 0..SIDE as i64 {
        for gx in 0..SIDE as i64 {
            let (x, y) = (gx + ox, gy + oy);
            let byte = |x: i64, y: i64| (hash(key, x, y) & 255) as i64;
            let first = match scene.texture {
                Texture::Waves => ((y * 2 + ((x & 15) - 8).abs()) >> 2) & 1 == 1,
                Texture::Speckle => byte(x >> 1, y >> 1) < 110,
                Texture::Bricks => y % 6 == 0 || (x + ((y / 6) & 1) * 5) % 10 == 0,
                Texture::Stars => byte(x, y) < 14,
                Texture::Checker => ((x >> 2) ^ (y >> 2)) & 1 == 1,
                Texture::Vstripes => x % 7 < 3,
                Texture::Dashes => y % 16 < 2 && (x >> 3) & 1 == 1,
                Texture::Gradient => false,
            };
            canvas.push(std::array::from_fn(|channel| {
                let (a, b) = (scene.a[channel], scene.b[channel]);
                let value = match scene.texture {
                    Texture::Gradient => (a * (31 - gy) + b * gy).div_euclid(31),
                    _ if first => a,
                    _ => b,
                };
                value + jitter[channel]
            }));
        }
    }
    canvas
}

/// Whether a sample lies within a shape, and within its core.
fn inside(shape: usize, x: i64, y: i64, r: i64) -> (bool, bool) {
    let (d2, ax, ay) = (x * x + y * y, x.abs(), y.abs());
    let (outline, core) = match shape {
        0 => (d2 <= r * r, 25 * d2 <= 9 * r * r),
        1 => (8 * ax.max(ay) <= 7 * r, 16 * ax.max(ay) <= 9 * r),
        2 => (ay <= r && 2 * ax <= y + r, 2 * y > r),
        3 => (4 * (ax + ay) <= 5 * r, 5 * (ax + ay) <= 4 * r),
        4 => (d2 <= r * r, 9 * d2 <= 4 * r * r),
        5 => (ax.max(ay) <= r && 3 * ax.min(ay) <= r, 3 * ay <= r),
        6 => (4 * ax <= 5 * r && 3 * ay <= r, 4 * ax >= 3 * r),
        _ => (d2 <= r * r && 4 * ((2 * x - r) * (2 * x - r) + 4 * y * y) >= 9 * r * r, y > 0),
    };
    (outline, outline && core)
}

fn paint(canvas: &mut Canvas, sprite: &Sprite, frame: usize) {
    let state = sprite.states[frame];
    let entity = sprite.entity;
    let colour: [i64; 3] = std::array::from_fn(|channel| {
        (RGB[entity.colour][channel] * (16 - state.phase) + RGB[sprite.turned][channel] * state.phase) >> 4
    });
    // No shape reaches further than 1.25 of its radius; beyond, a pixel stays as it is.
    let reach = state.radius * 5 / 4 + 32;
    let bounds = |centre: i64| {
        let low = ((centre - reach) / 16).clamp(0, SIDE as i64);
        let high = ((centre + reach) / 16 + 1).clamp(0, SIDE as i64);
        low..high
    };
    for py in bounds(state.y) {
        for px in bounds(state.x) {
            let (mut c, mut d, mut k) = (0, 0, 0);
            for (sx, sy) in [(4, 4), (12, 4), (4, 12), (12, 12)] {
                let (x, y) = (16 * px + sx - state.x, 16 * py + sy - state.y);
                let (outline, core) = inside(entity.shape, x, y, state.radius);
                let dark = match entity.pattern {
                    1 => ((x + y + 4096) >> 6) & 1 == 1,
                    2 => ((x + 4096) >> 5) & 1 == 1 && ((y + 4096) >> 5) & 1 == 1,
                    _ => false,
                };
                c += i64::from(outline);
                k += i64::from(core);
                d += i64::from(outline && !core && dark);
            }
            let pixel = &mut canvas[py as usize * SIDE + px as usize];
            for (channel, value) in pixel.iter_mut().enumerate() {
                let col = colour[channel];
                let painted = col * (c - d - k) + ((col * 96) >> 8) * d + CORE[entity.shape][channel] * k;
                *value = (*value * (64 - c * state.alpha) + painted * state.alpha + 32) >> 6;
            }
        }
    }
}
