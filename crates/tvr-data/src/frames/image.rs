//! One image: a clip of one frame.

use std::path::Path;

use image::{DynamicImage, ImageFormat, ImageReader, Limits};

use super::{Decoder, Fault, Footage, Picture, Verdict};

/// What is read without FFmpeg.
pub(super) const FORMATS: [ImageFormat; 4] =
    [ImageFormat::Png, ImageFormat::Jpeg, ImageFormat::Gif, ImageFormat::WebP];

/// What a picture may take while it is decoded, bytes.
const MEMORY: u64 = 2 << 30;

pub(super) fn decode(
    path: &Path,
    format: ImageFormat,
    decoder: &Decoder<'_>,
    number: u64,
) -> Result<Footage, Fault> {
    let picture = read(path, format)?;
    Footage::choose(1, 1.0, Verdict::Whole, (decoder, number), |_| Ok(picture.clone()))
}

/// Reads a picture whose format is known.
pub(super) fn read(path: &Path, format: ImageFormat) -> Result<Picture, Fault> {
    let mut reader = ImageReader::open(path).map_err(|cause| Fault::Closed { reason: cause.to_string() })?;
    reader.set_format(format);
    reader.limits(limits());
    reader.decode().map(rgb).map_err(|cause| Fault::Unreadable { reason: one_line(&cause) })
}

/// Bounds for files that promise a huge picture.
pub(super) fn limits() -> Limits {
    let mut limits = Limits::default();
    limits.max_alloc = Some(MEMORY);
    limits
}

/// Alpha is dropped, as Pillow's `convert("RGB")` and FFmpeg do.
pub(super) fn rgb(image: DynamicImage) -> Picture {
    let image = image.into_rgb8();
    Picture { width: image.width() as usize, height: image.height() as usize, pixels: image.into_raw() }
}

/// A library's complaint in one line.
pub(super) fn one_line(cause: &dyn std::fmt::Display) -> String {
    cause.to_string().split_whitespace().collect::<Vec<_>>().join(" ")
}
