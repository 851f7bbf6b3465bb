//! CLIP's vision transformer.
//!
//! ```text
//! x = norm([class, patches · W] + positions);  x = blocks(x);  code = norm(x[class]) · projection
//! ```
//!
//! `patches` see one frame or three ([`patches`](crate::patches)); everything after them is frame by frame.
//!
//! Source: openai/CLIP, `clip/model.py`, `VisionTransformer`.

use burn::module::{Initializer, Param};
use burn::nn::{Linear, LinearConfig};
use burn::prelude::*;
use burn::tensor::Distribution;
use tvr_nn::{Block, LayerNorm, linear, widened};

use crate::ClipError;
use crate::config::{ImageConfig, PatchMode, PatchPositions, Precision};
use crate::patches::{patchify, with_neighbours};

/// Channels of an image.
pub(crate) const CHANNELS: usize = 3;

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
    #[module(skip)]
    mode: PatchMode,
    #[module(skip)]
    stream: Precision,
}

impl ImageTower {
    pub(crate) fn new(image: &ImageConfig, joint: usize, device: &Device) -> Result<Self, ClipError> {
        image.check()?;
        let (grid, width) = (image.size / image.patch, image.width);
        let normal = Initializer::Normal { mean: 0.0, std: (width as f64).powf(-0.5) };
        let norm = || LayerNorm::new(width, image.layer_norm_epsilon, device);
        let block = image.block();
        let blocks = (0..image.layers).map(|_| block.init(image.layers, device)).collect::<Result<_, _>>();
        let no_bias = |from, to| LinearConfig::new(from, to).with_bias(false);
        let frames_seen = match image.patches {
            PatchMode::Flat => 1,
            PatchMode::Temporal => 3,
        };
        Ok(Self {
            patch_embedding: no_bias(frames_seen * CHANNELS * image.patch * image.patch, width).init(device),
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
            projection: no_bias(width, joint).with_initializer(normal).init(device),
            patch: image.patch,
            mode: image.patches,
            stream: Precision::F32,
        })
    }

    /// Codes of images, not normalised. With 3d patches an image is a video of one frame.
    ///
    /// - `pixels`: `[images, 3, size, size]`
    /// - returns `[images, joint]`, in f32 where the stream is of half precision
    pub fn encode(&self, pixels: Tensor<4>) -> Tensor<2> {
        let [images, ..] = pixels.dims();
        self.pooled(self.embed(pixels, images))
    }

    /// Codes of the frames of videos, not normalised. With 2d patches they are those of [`encode`](Self::encode),
    /// with 3d patches a frame sees its neighbours. Padding frames should be zeros.
    ///
    /// - `pixels`: `[videos, frames, 3, size, size]`
    /// - returns `[videos, frames, joint]`
    pub fn encode_videos(&self, pixels: Tensor<5>) -> Tensor<3> {
        let [videos, frames, channels, height, width] = pixels.dims();
        let pixels = pixels.reshape([videos * frames, channels, height, width]);
        let codes = self.pooled(self.embed(pixels, videos));
        let [_, joint] = codes.dims();
        codes.reshape([videos, frames, joint])
    }

    /// Every token in the joint space, class token first: `[images, 1 + patches, joint]`.
    pub fn encode_tokens(&self, pixels: Tensor<4>) -> Tensor<3> {
        let [images, ..] = pixels.dims();
        self.project(self.states(self.embed(pixels, images)))
    }

    /// Codes of the patches of frames, not normalised: the last states of all places but the class token's, through the
    /// norm and the projection that CLIP has for the class token, as FILIP (arXiv 2111.07783) takes them. The class
    /// token is left out (ours): it sees the whole frame, so it is no patch, and [`encode`](Self::encode) gives it.
    ///
    /// - `pixels`: `[videos, frames, 3, size, size]`; padding frames should be zeros
    /// - returns `[videos, frames, patches, joint]`, patches row by row
    pub fn encode_patches(&self, pixels: Tensor<5>) -> Tensor<4> {
        let [videos, frames, channels, height, width] = pixels.dims();
        let pixels = pixels.reshape([videos * frames, channels, height, width]);
        let states = self.states(self.embed(pixels, videos));
        let [_, tokens, _] = states.dims();
        let codes = self.project(states.narrow(1, 1, tokens - 1));
        let [_, patches, joint] = codes.dims();
        codes.reshape([videos, frames, patches, joint])
    }

    /// What the first norm takes: the class token and the embedded patches, with their positions.
    ///
    /// - `pixels`: `[images, 3, size, size]`, `videos` equal groups of frames in order
    /// - returns `[images, 1 + patches, width]`
    pub fn embed(&self, pixels: Tensor<4>, videos: usize) -> Tensor<3> {
        let patches = self.embed_patches(pixels, videos);
        let [images, count, width] = patches.dims();
        let stream = patches.dtype();
        let class = self.class.val().cast(stream).reshape([1, 1, width]).expand([images, 1, width]);
        let positions = self.positions.val().cast(stream);
        burn::tensor::assert_shape!(positions, [1 + count, width]);
        Tensor::cat(vec![class, patches], 1) + positions.reshape([1, 1 + count, width])
    }

    /// The embedded patches alone: `[images, patches, width]`; arguments as for [`embed`](Self::embed).
    pub fn embed_patches(&self, pixels: Tensor<4>, videos: usize) -> Tensor<3> {
        let stream = self.stream.stream(self.patch_embedding.weight.val().dtype());
        let patches = patchify(pixels, self.patch).cast(stream);
        let [images, count, values] = patches.dims();
        let patches = match self.mode {
            PatchMode::Flat => patches,
            PatchMode::Temporal => {
                burn::tensor::assert_shape!(patches, [videos * (images / videos), count, values]);
                with_neighbours(patches.reshape([videos, images / videos, count, values])).reshape([
                    images,
                    count,
                    3 * values,
                ])
            }
        };
        linear(&self.patch_embedding, patches)
    }

    /// The norm before the blocks.
    pub fn pre_norm(&self, x: Tensor<3>) -> Tensor<3> {
        self.pre_norm.forward(x)
    }

    /// What a patch sees of a video.
    pub fn mode(&self) -> PatchMode {
        self.mode
    }

    /// The same tower with a stream of half precision: products and what lies between blocks are narrow, weights and
    /// their gradients stay as they are.
    pub fn with_stream(mut self, precision: Precision) -> Self {
        self.stream = precision;
        self
    }

    /// The same tower with 3d patches that do not look at the neighbours yet: equal codes, and more to learn. A
    /// tower that has 3d patches already comes back as it is.
    pub fn into_3d(mut self) -> Self {
        if self.mode == PatchMode::Flat {
            let own = self.patch_embedding.weight.val().detach();
            let nothing = own.zeros_like();
            // A parameter is a leaf, on a device with gradients too.
            let weight = Tensor::cat(vec![nothing.clone(), own, nothing], 0).detach();
            self.patch_embedding.weight = Param::from_tensor(weight);
            self.mode = PatchMode::Temporal;
        }
        self
    }

    /// From the embedding to the last states of all places.
    fn states(&self, embedded: Tensor<3>) -> Tensor<3> {
        let x = self.pre_norm(embedded);
        self.blocks.iter().fold(x, |x, block| block.forward(x, None, false))
    }

    /// From the embedding to the class token's code.
    fn pooled(&self, embedded: Tensor<3>) -> Tensor<2> {
        let mut x = self.pre_norm(embedded);
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

    fn project<const D: usize>(&self, x: Tensor<D>) -> Tensor<D> {
        widened(linear(&self.projection, self.post_norm.forward(x)))
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
