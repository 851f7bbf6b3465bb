//! Sizes and offsets: how large a picture becomes, and which square of it is kept.

use std::ops::Range;

use tvr_picture::Picture;

use super::{Reference, Size};

/// Width and height after the resize.
pub(super) fn resized(picture: &Picture, size: Size) -> [usize; 2] {
    match size {
        Size::Exact(size) => size,
        Size::Short(short) => {
            let least = picture.width().min(picture.height());
            // Both references cut the long side down; in u128, because a picture may be one pixel high.
            let long = |length: usize| {
                usize::try_from(short as u128 * length as u128 / least as u128).unwrap_or(usize::MAX)
            };
            [long(picture.width()), long(picture.height())]
        }
    }
}

/// The middle `crop` of `length`, which is not shorter.
pub(super) fn centre(length: usize, crop: usize, reference: Reference) -> Range<usize> {
    let rest = length - crop;
    let offset = match reference {
        Reference::HuggingFace => rest / 2,
        // rest / 2 rounded half to even: up if the half stands above an odd number.
        Reference::OpenAi => rest / 2 + usize::from(rest % 4 == 3),
    };
    offset..offset + crop
}
