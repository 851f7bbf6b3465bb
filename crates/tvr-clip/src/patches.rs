//! Images to rows of patches: CLIP's patch convolution is this and one product with a matrix.

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
