//! A decoded picture.

use std::borrow::Cow;
use std::path::Path;

use crate::PictureError;
use crate::decode;

/// Endings of pictures, in lower case. Those that cannot be decoded are here too, so that they are named and not passed
/// over.
const ENDINGS: [&str; 12] =
    ["png", "jpg", "jpeg", "jfif", "gif", "webp", "bmp", "tif", "tiff", "avif", "heic", "ppm"];

/// RGB or RGBA bytes, row by row, bands side by side. Both sides are above 0.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Picture {
    width: usize,
    height: usize,
    bands: usize,
    values: Vec<u8>, // [height, width, bands]
}

impl Picture {
    /// Whether a file's ending says that it is a picture. A folder of pictures may hold notes beside them.
    pub fn is_named_as_one(path: &Path) -> bool {
        // A name of another encoding than UTF-8 is a name as well.
        let ending = path.extension().unwrap_or_default().to_string_lossy().to_lowercase();
        ENDINGS.contains(&ending.as_str())
    }

    /// Reads a file: PNG, JPEG, GIF or WebP, told by its content. Of an animation the first picture is taken.
    ///
    /// # Errors
    /// [`PictureError::File`] with the file and what is wrong in it.
    pub fn read(path: &Path) -> Result<Self, PictureError> {
        let named = |reason: String| PictureError::File { path: path.to_path_buf(), reason };
        let bytes = std::fs::read(path).map_err(|cause| named(format!("cannot be read: {cause}")))?;
        decode::decode(&bytes).map_err(named)
    }

    /// Decodes the bytes of such a file.
    ///
    /// # Errors
    /// [`PictureError::Bytes`] with what is wrong in them.
    pub fn decode(bytes: &[u8]) -> Result<Self, PictureError> {
        decode::decode(bytes).map_err(|reason| PictureError::Bytes { reason })
    }

    /// A picture from RGB bytes, `[height, width, 3]`.
    ///
    /// # Errors
    /// [`PictureError::Size`] if a side is 0 or the number of bytes is another.
    pub fn from_rgb(width: usize, height: usize, values: Vec<u8>) -> Result<Self, PictureError> {
        Self::from_bytes(width, height, 3, values)
    }

    /// A picture from RGBA bytes, `[height, width, 4]`.
    ///
    /// # Errors
    /// As [`from_rgb`](Self::from_rgb).
    pub fn from_rgba(width: usize, height: usize, values: Vec<u8>) -> Result<Self, PictureError> {
        Self::from_bytes(width, height, 4, values)
    }

    pub(crate) fn from_bytes(
        width: usize,
        height: usize,
        bands: usize,
        values: Vec<u8>,
    ) -> Result<Self, PictureError> {
        let expected = width.checked_mul(height).and_then(|pixels| pixels.checked_mul(bands));
        if values.is_empty() || expected != Some(values.len()) {
            return Err(PictureError::Size { found: values.len(), width, height, bands });
        }
        Ok(Self { width, height, bands, values })
    }

    /// A picture of zeros, to be filled, with the bands of this one; a side of 0 is taken for 1.
    pub fn blank(&self, width: usize, height: usize) -> Self {
        let (width, height, bands) = (width.max(1), height.max(1), self.bands);
        Self { width, height, bands, values: vec![0; width * height * bands] }
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

    /// The bytes, to be changed.
    pub fn values_mut(&mut self) -> &mut [u8] {
        &mut self.values
    }

    /// RGB as it is, RGBA without its alpha.
    pub fn opaque(&self) -> Cow<'_, Self> {
        if self.bands == 3 {
            return Cow::Borrowed(self);
        }
        let values = self.values.chunks_exact(self.bands).flat_map(|pixel| &pixel[..3]).copied().collect();
        Cow::Owned(Self { bands: 3, values, ..*self })
    }

    /// RGB as it is, RGBA laid on white, in Pillow's whole numbers: `v ← round((v · a + 255 (255 − a)) / 255)`.
    ///
    /// Source: Pillow, `src/libImaging/AlphaComposite.c`.
    pub fn on_white(&self) -> Cow<'_, Self> {
        if self.bands == 3 {
            return Cow::Borrowed(self);
        }
        let laid = |pixel: &[u8]| {
            let alpha = u32::from(pixel[3]);
            [0, 1, 2].map(|band| {
                // Seven more bits than a byte has, as the source.
                let sum = (u32::from(pixel[band]) * alpha + 255 * (255 - alpha) + 128) << 7;
                (((sum >> 8) + sum) >> 15) as u8
            })
        };
        let values = self.values.chunks_exact(self.bands).flat_map(laid).collect();
        Cow::Owned(Self { bands: 3, values, ..*self })
    }
}
