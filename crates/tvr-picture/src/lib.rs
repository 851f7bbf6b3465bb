//! Image files to pictures: what a PNG, JPEG, GIF or WebP shows, with Pillow's conversions, or why it shows nothing.
//!
//! `tvr-clip` reads single images and `tvr-data` frames of clips. Both must see the same bytes and refuse the same files,
//! and neither may know the other; so what a file shows is said here, without tensors, stores or models.
//!
//! ```
//! use tvr_picture::Picture;
//!
//! let picture = Picture::from_rgba(1, 2, vec![10, 20, 30, 255, 10, 20, 30, 0])?;
//! assert_eq!(picture.on_white().values(), [10, 20, 30, 255, 255, 255]);
//! # Ok::<(), tvr_picture::PictureError>(())
//! ```

mod decode;
mod error;
mod jpeg;
mod picture;

pub use decode::limits;
pub use error::PictureError;
pub use jpeg::is_motion_jpeg;
pub use picture::Picture;
