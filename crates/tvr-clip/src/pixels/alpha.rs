//! Transparent pictures, premultiplied and back, in Pillow's whole numbers.
//!
//! ```text
//! multiply: v ← round(v · a / 255)          divide: v ← min(255, 255 v div a), as it is for a = 0 and 255
//! ```
//!
//! Source: Pillow, `src/libImaging/Convert.c`, `rgbA2rgba` and `rgba2rgbA`.

use tvr_picture::Picture;

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
    for pixel in changed.values_mut().chunks_exact_mut(4) {
        let alpha = pixel[3];
        pixel[..3].iter_mut().for_each(|value| *value = change(*value, alpha));
    }
    changed
}
