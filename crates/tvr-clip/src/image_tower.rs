//! CLIP's vision transformer.
//!
//! ```text
//! x = norm([class, patches · W] + positions);  x = blocks(x);  code = norm(x[class]) · projection
//! ```
//!
//! Source: openai/CLIP, `clip/model.py`, `VisionTransformer`.

use burn::module::{Initializer, Param};
use burn::nn::{LayerNorm, LayerNormConfig, Linear, LinearConfig};
use burn::prelude::*;
use burn::tensor::Distribution;
use tvr_nn::Block;

use crate::config::{ClipConfig, PatchPositions};
use crate::{ClipError, patchify};

/// Channels of an image.
const CHANNELS: usize = 3;

/// The image tower with its projection into the joint space.
#[derive(Module, Debug)]
pub struct ImageTower {
    /// Patches to tokens.
    pub patch_embedding: Linear,
    /// The class token.
    pub class: Param<Tensor<1>>, // [width]
    /// Positions; the class token's comes first.
    pub positions: Param<Tensor<2>>, // [1 + patches, width]
    /// Norm before the blocks.
    pub pre_norm: LayerNorm,
    /// The blocks.
    pub blocks: Vec<Block>,
    /// Norm before the projection.
    pub post_norm: LayerNorm,
    /// Into the joint space.
    pub projection: Linear,
    #[module(skip)]
    patch: usize,
}

impl ImageTower {
    pub(crate) fn new(config: &ClipConfig, device: &Device) -> Result<Self, ClipError> {
        let image = &config.image;
        let (grid, width) = (image.size / image.patch, image.width);
        let normal = Initializer::Normal { mean: 0.0, std: (width as f64).powf(-0.5) };
        let norm = || LayerNormConfig::new(width).with_epsilon(config.layer_norm_epsilon).init(device);
        let block = config.block(width, image.heads);
        let blocks = (0..image.layers).map(|_| block.init(image.layers, device)).collect::<Result<_, _>>();
        let no_bias = |from, to| LinearConfig::new(from, to).with_bias(false);
        Ok(Self {
            patch_embedding: no_bias(CHANNELS * image.patch * image.patch, width).init(device),
            class: normal.init([width], device),
            positions: match image.positions {
                PatchPositions::Normal => normal.init([1 + grid * grid, width], device),
                PatchPositions::Waves { amplitude } => {
                    let spread = Distribution::Normal(0.0, (width as f64).powf(-0.5));
                    let class = Tensor::<2>::random([1, width], spread, device);
                    let waves = TensorData::new(waves(grid, width, amplitude), [grid * grid, width]);
                    Param::from_tensor(Tensor::cat(vec![class, Tensor::from_data(waves, device)], 0))
                }
            },
            pre_norm: norm(),
            blocks: blocks.map_err(|source| ClipError::Tower { tower: "image", source })?,
            post_norm: norm(),
            projection: no_bias(width, config.joint).with_initializer(normal).init(device),
            patch: image.patch,
        })
    }

    /// Codes of images, not normalised.
    ///
    /// - `pixels`: `[images, 3, size, size]`
    /// - returns `[images, joint]`
    pub fn encode(&self, pixels: Tensor<4>) -> Tensor<2> {
        let mut x = self.tokens(pixels);
        let [images, _, width] = x.dims();
        let Some((last, before)) = self.blocks.split_last() else {
            return self.project(x.narrow(1, 0, 1).reshape([images, width]));
        };
        for block in before {
            x = block.forward(x, None, false);
        }
        let class = Tensor::<1, Int>::zeros([images], &x.device());
        self.project(last.forward_at(x, class, None, false))
    }

    /// Every token in the joint space, class token first: `[images, 1 + patches, joint]`.
    pub fn encode_tokens(&self, pixels: Tensor<4>) -> Tensor<3> {
        let x = self.blocks.iter().fold(self.tokens(pixels), |x, block| block.forward(x, None, false));
        self.project(x)
    }

    /// The blocks' input.
    fn tokens(&self, pixels: Tensor<4>) -> Tensor<3> {
        let patches = self.patch_embedding.forward(patchify(pixels, self.patch));
        let [images, count, width] = patches.dims();
        let class = self.class.val().reshape([1, 1, width]).expand([images, 1, width]);
        let positions = self.positions.val();
        burn::tensor::assert_shape!(positions, [1 + count, width]);
        self.pre_norm.forward(Tensor::cat(vec![class, patches], 1) + positions.reshape([1, 1 + count, width]))
    }

    fn project<const D: usize>(&self, x: Tensor<D>) -> Tensor<D> {
        self.projection.forward(self.post_norm.forward(x))
    }
}

/// Waves of the row in the first half of the width and of the column in the second, sine and cosine in turn; wave
/// lengths grow geometrically from 2π to 2π · 10,000 patches.
fn waves(grid: usize, width: usize, amplitude: f32) -> Vec<f32> {
    let half = width.div_ceil(2);
    let value = |place: usize, index: usize| {
        let phase = place as f64 * 10_000f64.powf(-((index / 2) as f64) * 2.0 / half as f64);
        amplitude * if index.is_multiple_of(2) { phase.sin() } else { phase.cos() } as f32
    };
    let patch = |patch: usize| {
        (0..width).map(move |index| match index.checked_sub(half) {
            None => value(patch / grid, index),
            Some(index) => value(patch % grid, index),
        })
    };
    (0..grid * grid).flat_map(patch).collect()
}
