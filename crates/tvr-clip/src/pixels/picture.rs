//! A decoded picture.

use std::borrow::Cow;
use std::path::Path;

use super::decode;
use crate::ClipError;

/// RGB or RGBA bytes, row by row, bands side by side. Both sides are above 0.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Picture {
    pub(super) width: usize,
    pub(super) height: usize,
    pub(super) bands: usize,
    pub(super) values: Vec<u8>, // [height, width, bands]
}

impl Picture {
    /// Reads a file: PNG, JPEG, GIF or WebP, told by its content. Of an animation the first picture is taken.
    ///
    /// # Errors
    /// [`ClipError::Picture`] with the file and what is wrong in it.
    pub fn read(path: &Path) -> Result<Self, ClipError> {
        let named = |reason: String| ClipError::Picture { path: path.to_path_buf(), reason };
        let bytes = std::fs::read(path).map_err(|cause| named(format!("cannot be read: {cause}")))?;
        decode::decode(&bytes).map_err(named)
    }

    /// Decodes the bytes of such a file.
    ///
    /// # Errors
    /// [`ClipError::Pixels`] with what is wrong in them.
    pub fn decode(bytes: &[u8]) -> Result<Self, ClipError> {
        decode::decode(bytes).map_err(|reason| ClipError::Pixels { reason })
    }

    /// A picture from RGB bytes, `[height, width, 3]`.
    ///
    /// # Errors
    /// [`ClipError::Pixels`] if a side is 0 or the number of bytes is another.
    pub fn from_rgb(width: usize, height: usize, values: Vec<u8>) -> Result<Self, ClipError> {
        Self::from_bytes(width, height, 3, values)
    }

    /// A picture from RGBA bytes, `[height, width, 4]`.
    ///
    /// # Errors
    /// As [`from_rgb`](Self::from_rgb).
    pub fn from_rgba(width: usize, height: usize, values: Vec<u8>) -> Result<Self, ClipError> {
        Self::from_bytes(width, height, 4, values)
    }

    fn from_bytes(width: usize, height: usize, bands: usize, values: Vec<u8>) -> Result<Self, ClipError> {
        let expected = width.checked_mul(height).and_then(|pixels| pixels.checked_mul(bands));
        if values.is_empty() || expected != Some(values.len()) {
            let found = values.len();
            let reason = format!("{found} bytes are no picture of {width} x {height} with {bands} bands");
            return Err(ClipError::Pixels { reason });
        }
        Ok(Self { width, height, bands, values })
    }

    /// Pixels in a row.
    pub fn width(&self) -> usize {
        self.width
    }

    /// Rows.
    pub fn height(&self) -> usize {
        self.height
    }

    /// 3 for RGB, 4 for RGBA.
    pub fn bands(&self) -> usize {
        self.bands
    }

    /// The bytes, `[height, width, bands]`.
    pub fn values(&self) -> &[u8] {
        &self.values
    }

    /// The picture without its alpha.
    pub(super) fn opaque(&self) -> Cow<'_, Self> {
        if self.bands == 3 {
            return Cow::Borrowed(self);
        }
        let values = self.values.chunks_exact(self.bands).flat_map(|pixel| &pixel[..3]).copied().collect();
        Cow::Owned(Self { bands: 3, values, ..*self })
    }
}
