//! Transparent pictures, in Pillow's whole numbers.
//!
//! ```text
//! on white: v ← round((v · a + 255 (255 − a)) / 255)
//! multiply: v ← round(v · a / 255)          divide: v ← min(255, 255 v div a), as it is for a = 0 and 255
//! ```
//!
//! Source: Pillow, `src/libImaging/AlphaComposite.c`, and `Convert.c`, `rgbA2rgba` and `rgba2rgbA`.

use std::borrow::Cow;

use super::Picture;

/// RGB as it is, RGBA laid on white.
pub(super) fn on_white(picture: &Picture) -> Cow<'_, Picture> {
    if picture.bands == 3 {
        return Cow::Borrowed(picture);
    }
    let laid = each(picture, |value, alpha| {
        let (value, alpha) = (u32::from(value), u32::from(alpha));
        // Seven more bits than a byte has, as the source.
        let sum = (value * alpha + 255 * (255 - alpha) + 128) << 7;
        (((sum >> 8) + sum) >> 15) as u8
    });
    Cow::Owned(laid.opaque().into_owned())
}

/// RGBA to premultiplied RGBA.
pub(super) fn multiply(picture: &Picture) -> Picture {
    each(picture, |value, alpha| {
        let product = u32::from(value) * u32::from(alpha) + 128;
        (((product >> 8) + product) >> 8) as u8
    })
}

/// Premultiplied RGBA to RGBA.
pub(super) fn divide(picture: &Picture) -> Picture {
    each(picture, |value, alpha| match alpha {
        0 | 255 => value,
        alpha => (255 * u32::from(value) / u32::from(alpha)).min(255) as u8,
    })
}

fn each(picture: &Picture, change: impl Fn(u8, u8) -> u8) -> Picture {
    let mut changed = picture.clone();
    for pixel in changed.values.chunks_exact_mut(4) {
        let alpha = pixel[3];
        pixel[..3].iter_mut().for_each(|value| *value = change(*value, alpha));
    }
    changed
}
