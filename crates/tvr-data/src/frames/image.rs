//! One image: a clip of one frame.

use std::path::Path;

use image::ImageFormat;

use super::{Decoder, Fault, Footage, Picture, Verdict};

/// What is read without FFmpeg.
pub(super) const FORMATS: [ImageFormat; 4] =
    [ImageFormat::Png, ImageFormat::Jpeg, ImageFormat::Gif, ImageFormat::WebP];

pub(super) fn decode(path: &Path, decoder: &Decoder<'_>, number: u64) -> Result<Footage, Fault> {
    let picture = read(path)?;
    Footage::choose(1, 1.0, Verdict::Whole, (decoder, number), |_| Ok(picture.clone()))
}

/// Reads a picture, as single images are read everywhere; one of which a part is missing is none.
pub(super) fn read(path: &Path) -> Result<Picture, Fault> {
    let bytes = std::fs::read(path).map_err(|cause| Fault::Closed { reason: cause.to_string() })?;
    Picture::decode(&bytes).map_err(|cause| Fault::Unreadable { reason: cause.to_string() })
}
