//! Files to pictures, by the `image` crate, with Pillow's conversions to RGB.
//!
//! | in the file | here, as in Pillow |
//! |---|---|
//! | grey, 1 to 8 bits | the value in three bands |
//! | palette | the palette's colours |
//! | 16 bits, RGB or with alpha | the high byte |
//! | 16 bits, grey alone | refused: Pillow makes everything above 255 white |
//! | CMYK, YCCK (JPEG) | `round((255 − c)(255 − k) / 255)` |
//! | GIF, WebP, animated | the first picture |
//!
//! Lossless files give Pillow's bytes, but for what the first picture of a GIF leaves open: transparent here, in Pillow of
//! the palette's first colour unless it names a transparent one. A JPEG decoder is free in its rounding: this one and Pillow's libjpeg-turbo
//! differ by a few levels, which the tests of `tvr-clip` bound.

use std::io::Cursor;

use image::{ColorType, ImageDecoder, ImageError, ImageFormat, ImageReader, Limits};

use crate::{Picture, jpeg};

/// Most pixels of a picture; beyond as many Pillow refuses too (`MAX_IMAGE_PIXELS`, twice).
const MOST_PIXELS: u64 = 178_956_970;

/// What a decoder may hold in memory, bytes: the largest picture in its widest type, and room beside it.
const MEMORY: u64 = 4 << 30;

/// Decodes a file's bytes; an error is a reason without the file's name.
pub(crate) fn decode(bytes: &[u8]) -> Result<Picture, String> {
    if bytes.is_empty() {
        return Err("is empty".to_owned());
    }
    let reader = ImageReader::new(Cursor::new(bytes))
        .with_guessed_format()
        .map_err(|cause| format!("cannot be read: {cause}"))?;
    let Some(format) = reader.format() else {
        return Err("is no PNG, JPEG, GIF or WebP; convert it to PNG".to_owned());
    };
    let mut reader = reader;
    reader.limits(limits());
    let decoder = reader.into_decoder().map_err(|error| reason(&error))?;
    let (width, height) = decoder.dimensions();
    if u64::from(width) * u64::from(height) > MOST_PIXELS {
        return Err(format!("has {width} x {height} pixels, more than {MOST_PIXELS}; make it smaller"));
    }
    if width == 0 || height == 0 {
        return Err(format!("has {width} x {height} pixels"));
    }
    if format == ImageFormat::Jpeg && !jpeg::is_whole(bytes) {
        return Err("is cut off: the JPEG has no end".to_owned());
    }
    let color = decoder.color_type();
    let mut raw = vec![0; usize::try_from(decoder.total_bytes()).map_err(|cause| cause.to_string())?];
    decoder.read_image(&mut raw).map_err(|error| reason(&error))?;
    let (bands, values) = to_rgb(color, raw)?;
    Picture::from_bytes(width as usize, height as usize, bands, values).map_err(|error| error.to_string())
}

/// Bounds for files that promise a huge picture.
pub fn limits() -> Limits {
    let mut limits = Limits::no_limits();
    limits.max_alloc = Some(MEMORY);
    limits
}

/// The library's reason, in one line.
fn reason(error: &ImageError) -> String {
    match error {
        ImageError::Unsupported(_) => format!("cannot be decoded: {error}; convert it to PNG"),
        _ => format!("cannot be decoded: {error}"),
    }
    .replace('\n', " ")
}

/// Bands and bytes of the picture from a decoder's output.
fn to_rgb(color: ColorType, raw: Vec<u8>) -> Result<(usize, Vec<u8>), String> {
    let high = |raw: &[u8]| -> Vec<u8> {
        // The decoders hand out 16 bits in the machine's order.
        raw.chunks_exact(2).map(|pair| (u16::from_ne_bytes([pair[0], pair[1]]) >> 8) as u8).collect()
    };
    let spread = |raw: &[u8]| raw.iter().flat_map(|&grey| [grey; 3]).collect();
    let spread_alpha = |raw: &[u8]| {
        raw.chunks_exact(2).flat_map(|pair| [pair[0], pair[0], pair[0], pair[1]]).collect::<Vec<u8>>()
    };
    Ok(match color {
        ColorType::L8 => (3, spread(&raw)),
        ColorType::La8 => (4, spread_alpha(&raw)),
        ColorType::Rgb8 => (3, raw),
        ColorType::Rgba8 => (4, raw),
        ColorType::La16 => (4, spread_alpha(&high(&raw))),
        ColorType::Rgb16 => (3, high(&raw)),
        ColorType::Rgba16 => (4, high(&raw)),
        ColorType::L16 => {
            let words = "is grey with 16 bits, of which the reference makes a white picture";
            return Err(format!("{words}; convert it to 8 bits"));
        }
        other => return Err(format!("has pixels of type {other:?}; convert it to 8 bits")),
    })
}
