//! Images to rows of patches: CLIP's patch convolution is this and one product with a matrix.
//!
//! ```text
//! 2d   token[f] = patches[f] · W                                                W  [values, width]
//! 3d   token[f] = patches[f−1] · W₋ + patches[f] · W₀ + patches[f+1] · W₊        W  [3 · values, width]
//! ```
//!
//! `values` = channels · patch · patch; a frame before the first or after the last is all zeros, and so is a padding
//! frame. 3d starts as 2d exactly, with `W₋ = W₊ = 0` ([`ImageTower::into_3d`](crate::ImageTower::into_3d)).
//!
//! Source: Luo et al. 2021 (CLIP4Clip), arXiv 2104.08860; code: ArrowLuo/CLIP4Clip, `modules/module_clip.py`, `conv1`
//! and `conv2`, a convolution with kernel (3, patch, patch), stride (1, patch, patch) and padding (1, 0, 0).

use burn::prelude::*;

/// Cuts images into square patches.
///
/// - `pixels`: `[images, channels, height, width]`, both sides multiples of `patch`
/// - returns `[images, patches, channels · patch · patch]`; patches row by row, in a patch channel by channel and
///   row by row, which is the order of a convolution's weights
pub fn patchify(pixels: Tensor<4>, patch: usize) -> Tensor<3> {
    let [images, channels, height, width] = pixels.dims();
    let (rows, columns) = (height / patch, width / patch);
    burn::tensor::assert_shape!(pixels, [images, channels, rows * patch, columns * patch]);
    pixels.reshape([images, channels, rows, patch, columns, patch]).permute([0, 2, 4, 1, 3, 5]).reshape([
        images,
        rows * columns,
        channels * patch * patch,
    ])
}

/// Sets beside every patch the same patch of the frame before and of the frame after.
///
/// - `patches`: `[videos, frames, patches, values]`
/// - returns `[videos, frames, patches, 3 · values]`, in the order before, own, after
pub fn with_neighbours(patches: Tensor<4>) -> Tensor<4> {
    let [videos, frames, count, values] = patches.dims();
    let nothing = Tensor::<4>::zeros([videos, 1, count, values], (&patches.device(), patches.dtype()));
    let padded = Tensor::cat(vec![nothing.clone(), patches.clone(), nothing], 1);
    let (before, after) = (padded.clone().narrow(1, 0, frames), padded.narrow(1, 2, frames));
    Tensor::cat(vec![before, patches, after], 3)
}
