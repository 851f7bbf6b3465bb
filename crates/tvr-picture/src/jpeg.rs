//! Where a JPEG ends, and whether another begins there.

use std::io::{BufRead, Read};

/// Whether a JPEG goes on to its end marker. Decoders fill in what is missing and do not say so; Pillow refuses.
pub(crate) fn is_whole(mut bytes: &[u8]) -> bool {
    pass(&mut bytes).is_ok_and(|whole| whole)
}

/// Whether what begins as a JPEG is several of them, one right behind another: Motion JPEG without a container.
///
/// # Errors
/// A file that cannot be read.
pub fn is_motion_jpeg(mut file: impl BufRead) -> std::io::Result<bool> {
    let mut next = Vec::new();
    Ok(pass(&mut file)? && file.take(2).read_to_end(&mut next)? == 2 && next == [0xff, 0xd8])
}

/// Reads a JPEG to its end marker; `false` if there is none.
fn pass(file: &mut impl BufRead) -> std::io::Result<bool> {
    loop {
        file.skip_until(0xff)?; // entropy-coded
        let marker = loop {
            match byte(file)? {
                Some(0xff) => {} // fill
                Some(marker) => break marker,
                None => return Ok(false),
            }
        };
        match marker {
            0xd9 => return Ok(true),
            0x00 | 0x01 | 0xd0..=0xd8 => {} // a value of 255, or a marker without a length
            _ => {
                let (Some(high), Some(low)) = (byte(file)?, byte(file)?) else { return Ok(false) };
                let length = u64::from(u16::from_be_bytes([high, low])).saturating_sub(2); // its own bytes count
                std::io::copy(&mut file.take(length), &mut std::io::sink())?;
            }
        }
    }
}

/// The next byte, if there is one.
fn byte(file: &mut impl Read) -> std::io::Result<Option<u8>> {
    let mut byte = [0];
    match file.read_exact(&mut byte) {
        Ok(()) => Ok(Some(byte[0])),
        Err(cause) if cause.kind() == std::io::ErrorKind::UnexpectedEof => Ok(None),
        Err(cause) => Err(cause),
    }
}
