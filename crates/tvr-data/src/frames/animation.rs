//! Animated GIF and WebP, by the `image` crate: neither FFmpeg 5 nor FFmpeg 8 reads an animated WebP.

use std::fs::File;
use std::io::BufReader;
use std::path::Path;

use image::codecs::{gif::GifDecoder, webp::WebPDecoder};
use image::{AnimationDecoder, Frames, ImageDecoder, ImageFormat};
use tvr_picture::limits;

use super::{Decoder, Fault, Footage, Picture, Verdict};

/// Whether a WebP file that starts so is animated: bit 1 of the flags of its `VP8X` chunk.
pub(super) fn webp_moves(start: &[u8]) -> bool {
    start.get(12..16) == Some(b"VP8X") && start.get(20).is_some_and(|flags| flags & 2 != 0)
}

/// Decodes an animation from its start. It is read twice: the number of its frames is known at its end only.
pub(super) fn decode(
    path: &Path,
    format: ImageFormat,
    decoder: &Decoder<'_>,
    number: u64,
) -> Result<Footage, Fault> {
    let (mut total, mut seconds, mut complaint) = (0, 0.0, None);
    for frame in frames(path, format)? {
        match frame {
            Ok(frame) => {
                total += 1;
                let (milliseconds, parts) = frame.delay().numer_denom_ms();
                seconds += f64::from(milliseconds) / f64::from(parts.max(1)) / 1000.0;
            }
            Err(cause) => {
                complaint = Some(one_line(&cause));
                break;
            }
        }
    }
    let verdict = match (complaint, total) {
        (Some(reason), 0) => return Err(Fault::NoPicture { reason }),
        (None, 0) => return Err(Fault::NoPicture { reason: "it has no frame".into() }),
        (Some(reason), _) => Verdict::Partial { reason },
        (None, _) => Verdict::Whole,
    };
    // An animation without times is shown at ten frames a second, as browsers do.
    let rate = if seconds > 0.0 { total as f64 / seconds } else { 10.0 };
    let mut rest = frames(path, format)?.enumerate();
    Footage::choose(total, rate, verdict, (decoder, number), |index| {
        let changed = || Fault::Closed { reason: "the file changed while it was read".into() };
        let (_, frame) = rest.find(|(place, _)| *place == index).ok_or_else(changed)?;
        picture(frame.map_err(|cause| Fault::Unreadable { reason: one_line(&cause) })?)
    })
}

fn picture(frame: image::Frame) -> Result<Picture, Fault> {
    let image = frame.into_buffer();
    let (width, height) = (image.width() as usize, image.height() as usize);
    Picture::from_rgba(width, height, image.into_raw())
        .map_err(|cause| Fault::Unreadable { reason: cause.to_string() })
}

/// A library's complaint in one line.
fn one_line(cause: &dyn std::fmt::Display) -> String {
    cause.to_string().split_whitespace().collect::<Vec<_>>().join(" ")
}

fn frames(path: &Path, format: ImageFormat) -> Result<Frames<'static>, Fault> {
    let file = File::open(path).map_err(|cause| Fault::Closed { reason: cause.to_string() })?;
    let file = BufReader::new(file);
    let unreadable = |cause: image::ImageError| Fault::Unreadable { reason: one_line(&cause) };
    if format == ImageFormat::WebP {
        let mut decoder = WebPDecoder::new(file).map_err(unreadable)?;
        decoder.set_limits(limits()).map_err(unreadable)?;
        return Ok(decoder.into_frames());
    }
    let mut decoder = GifDecoder::new(file).map_err(unreadable)?;
    decoder.set_limits(limits()).map_err(unreadable)?;
    Ok(decoder.into_frames())
}
