//! A device at work: ViT-B/32's encoding and whole training step in f32 and bf16, the steps of the temporal transformer
//! on msrvtt476 and on the built-in world, and the operations that a tower is made of, forward and with their gradients.
//! `cargo bench ... --bench device -- DEVICE [PAIRS] [PART]`, by default `flex 2`, all ids or those that hold a part such as
//! `f32`; peer: `peers/device.py`, with the same ids but `backward`.
//!
//! A line is id, `tvr`, milliseconds (median), items per second and TFLOP per second, with tabs. Items are pairs in a
//! step and frames in encoding; the operations counted are those of the matrix products of a forward pass, three times
//! for a step. All inputs lie on the device beforehand.

use std::io::Write;
use std::time::Instant;

use burn::module::{Module, Param};
use burn::nn;
use burn::optim::GradientsParams;
use burn::prelude::*;
use burn::tensor::Distribution;
use tvr_clip::{Clip, ClipConfig, Precision, TextTower};
use tvr_experiment::ExperimentError;
use tvr_experiment::clip_norm::clip_global_norm;
use tvr_experiment::recipe::OptimizerRecipe;
use tvr_experiment::{device, optimizer};
use tvr_heads::{Head, SeqTransf, SeqTransfConfig, TextFeatures, VideoFeatures};
use tvr_nn::{Activation, BlockConfig, attention, linear, quick_gelu};
use tvr_objectives::{Objective, Pairs, SymmetricConfig};

const FRAMES: usize = 12;
const TOKENS: usize = 32;
const WARM: usize = 4;
const MEASURED: usize = 10;

/// Multiplications and additions of one frame and one caption, forward.
const FRAME: f64 = tower(50.0, 768.0) + 2.0 * 49.0 * 3072.0 * 768.0;
const CAPTION: f64 = tower(TOKENS as f64, 512.0);

/// Twelve blocks: four products of `width` by `width`, two of `width` by four times that, and attention's two.
const fn tower(tokens: f64, width: f64) -> f64 {
    12.0 * (24.0 * tokens * width * width + 4.0 * tokens * tokens * width)
}

/// A block of the image tower.
const BLOCK: BlockConfig = BlockConfig {
    width: 768,
    heads: 12,
    hidden: 3072,
    layer_norm_epsilon: 1e-5,
    activation: Activation::QuickGelu,
};

const ADAMW: OptimizerRecipe = OptimizerRecipe::adamw(1e-4);

fn main() -> Result<(), ExperimentError> {
    tvr_nn::keep_freed_memory();
    let words: Vec<String> = std::env::args().skip(1).filter(|word| !word.starts_with('-')).collect();
    let name = words.first().map_or(device::DEFAULT_DEVICE, String::as_str);
    let pairs = words.get(1).and_then(|word| word.parse().ok()).unwrap_or(2);
    let device = device::open(name)?;
    let part = words.get(2).map_or("", String::as_str);
    let large = if ["flex", "tch:cpu"].contains(&name) { 1024 } else { 8192 };
    let bench = Bench { device: &device, pairs, part, large };
    // Inside the pool, as the commands run.
    rayon::scope(|_| {
        for precision in [Precision::F32, Precision::Bf16] {
            bench.parts(precision);
            bench.backward(precision);
            bench.encode(precision);
        }
        bench.heads()?;
        [Precision::F32, Precision::Bf16].into_iter().try_for_each(|precision| bench.step(precision))
    })
}

struct Bench<'a> {
    device: &'a Device,
    pairs: usize,
    part: &'a str,
    /// Rows of a product that fills the device: fewer on a processor.
    large: usize,
}

impl Bench<'_> {
    /// `items` of work with `operations` multiplications and additions each.
    fn measure<T>(&self, id: &str, items: usize, operations: f64, mut work: impl FnMut() -> T) {
        if !id.contains(self.part) {
            return;
        }
        let mut once = || {
            let start = Instant::now();
            let result = std::hint::black_box(work());
            let settled = self.device.sync();
            let seconds = start.elapsed().as_secs_f64();
            drop(result);
            settled.map(|()| seconds)
        };
        let begin = Instant::now();
        let warm: Result<Vec<f64>, _> = (0..WARM).map(|_| once()).collect();
        let first = begin.elapsed().as_secs_f64();
        let seconds: Result<Vec<f64>, _> = (0..MEASURED).map(|_| once()).collect();
        let (Ok(_), Ok(mut seconds)) = (warm, seconds) else {
            let _ = writeln!(std::io::stdout(), "{id}\ttvr\tthe device failed");
            return;
        };
        seconds.sort_by(f64::total_cmp);
        let median = seconds[MEASURED / 2];
        let _ = writeln!(
            std::io::stdout(),
            "{id}\ttvr\t{:.3}\t{:.1}\t{:.2}\t{first:.1}",
            median * 1e3,
            items as f64 / median,
            items as f64 * operations / median / 1e12
        );
    }

    fn normal<const D: usize>(&self, shape: [usize; D]) -> Tensor<D> {
        Tensor::random(shape, Distribution::Normal(0.0, 1.0), self.device)
    }

    /// The operations of an image tower's block, forward, and a product that fills the device.
    fn parts(&self, precision: Precision) {
        let dtype = precision.dtype();
        let images = self.pairs * FRAMES;
        let (tokens, width, heads) = (50, BLOCK.width, BLOCK.heads);
        let id = |part: &str| format!("device/{part}/{}", precision.name());
        let rows = images * tokens;
        let large = self.large;
        let square = self.normal([large, large]).cast(dtype);
        self.measure(&id(&format!("product-{large}")), 1, 2.0 * (large as f64).powi(3), || {
            square.clone().matmul(square.clone())
        });
        let Ok(block) = BLOCK.init(12, self.device) else { return };
        let x = self.normal([images, tokens, width]).cast(dtype);
        let of_rows = |outputs: usize| 2.0 * (tokens * width * outputs) as f64;
        self.measure(&id("linear-768-3072"), images, of_rows(4 * width), || linear(&block.expand, x.clone()));
        let wide = self.normal([images, tokens, 4 * width]).cast(dtype);
        self.measure(&id("quick-gelu-3072"), rows, 0.0, || quick_gelu(wide.clone()));
        self.measure(&id("layer-norm-768"), rows, 0.0, || block.mlp_norm.forward(x.clone()));
        let [query, key, value] =
            [1, 2, 3].map(|_| self.normal([images, heads, tokens, width / heads]).cast(dtype));
        let operations = 4.0 * (tokens * tokens * width) as f64;
        self.measure(&id("attention-12x50x64"), images, operations, || {
            attention(query.clone(), key.clone(), value.clone(), 0.125, false, None)
        });
        let operations = tower(tokens as f64, width as f64) / 12.0;
        self.measure(&id("block-768"), images, operations, || block.forward(x.clone(), None, false));
    }

    /// The same operations with their gradients, alone and as a block: where a step fails on a device, these say which of them
    /// does.
    fn backward(&self, precision: Precision) {
        let dtype = precision.dtype();
        let training = self.device.clone().autodiff();
        let images = self.pairs * FRAMES;
        let (tokens, width, heads) = (50, BLOCK.width, BLOCK.heads);
        let rows = images * tokens;
        let leaf = |width: usize| {
            let values = Tensor::<3>::from_inner(self.normal([images, tokens, width]).cast(dtype));
            move || values.clone().require_grad()
        };
        let Ok(block) = BLOCK.init(12, &training) else { return };
        let gradient = |id: &str, work: &dyn Fn() -> Tensor<3>| {
            let id = format!("device/backward-{id}/{}", precision.name());
            self.measure(&id, rows, 0.0, || work().cast(burn::tensor::DType::F32).mean().backward());
        };
        let (x, wide) = (leaf(width), leaf(4 * width));
        gradient("mean", &|| x());
        gradient("linear-768-3072", &|| linear(&block.expand, x()));
        gradient("quick-gelu-3072", &|| quick_gelu(wide()));
        gradient("layer-norm-768", &|| block.mlp_norm.forward(x()));
        gradient("softmax-768", &|| burn::tensor::activation::softmax(x(), 2));
        gradient("attention-12x50x64", &|| {
            let split = || x().reshape([images, tokens, heads, width / heads]).swap_dims(1, 2);
            let mixed = attention(split(), split(), split(), 0.125, false, None);
            mixed.swap_dims(1, 2).reshape([images, tokens, width])
        });
        gradient("block-768", &|| block.forward(x(), None, false));
    }

    fn clip(&self, precision: Precision, learns: bool) -> Option<Clip> {
        let device = if learns { self.device.clone().autodiff() } else { self.device.clone() };
        device.seed(1);
        let mut clip = ClipConfig::vit_b_32().init(&device).ok()?;
        clip.image = clip.image.with_stream(precision);
        clip.text = clip.text.with_stream(precision);
        Some(clip)
    }

    fn encode(&self, precision: Precision) {
        let Some(clip) = self.clip(precision, false) else { return };
        let images = self.pairs * FRAMES;
        let pixels = self.normal([images, 3, 224, 224]);
        let id = format!("device/vit-b-32/encode-{images}-frames/{}", precision.name());
        self.measure(&id, images, FRAME, || clip.encode_images(pixels.clone()));
    }

    /// Both towers, means of frames, symmetric cross-entropy, the gradient, its clipping, AdamW.
    fn step(&self, precision: Precision) -> Result<(), ExperimentError> {
        let Some(mut clip) = self.clip(precision, true) else { return Ok(()) };
        let mut adam = optimizer::build(&ADAMW, &clip, 1000)?;
        let Ok(symmetric) = SymmetricConfig::ours().init() else { return Ok(()) };
        let pairs = self.pairs;
        let pixels = Tensor::<5>::from_inner(self.normal([pairs, FRAMES, 3, 224, 224]));
        let ids: Vec<i64> = (0..pairs * TOKENS)
            .map(|place| if place % TOKENS == TOKENS - 1 { 49407 } else { place as i64 * 7919 % 49406 })
            .collect();
        let training = self.device.clone().autodiff();
        let ids = Tensor::<2, Int>::from_data(TensorData::new(ids, [pairs, TOKENS]), &training);
        let lengths = Tensor::<1, Int>::full([pairs], TOKENS as i64, &training);
        let same = Tensor::<1, Int>::arange(0..pairs as i64, &training);
        let id = format!("device/vit-b-32/step-{pairs}x{FRAMES}/{}", precision.name());
        let operations = 3.0 * (FRAMES as f64 * FRAME + CAPTION);
        let mut losses = Vec::new();
        self.measure(&id, pairs, operations, || {
            let frames = tvr_nn::unit_rows(clip.image.encode_videos(pixels.clone()));
            let videos = frames.mean_dim(1).squeeze_dim::<2>(1);
            let texts = clip.text.encode(ids.clone(), lengths.clone());
            let cosines = tvr_nn::unit_rows(texts).matmul(tvr_nn::unit_rows(videos).transpose());
            let loss = symmetric.loss(&Pairs::new(&cosines, clip.logit_scale(), &same)).total;
            losses.push(loss.clone().into_scalar::<f32>());
            let mut gradients = GradientsParams::from_grads(loss.backward(), &clip);
            clip_global_norm(&clip, &mut gradients, Some(1.0));
            clip = adam.step(1e-4, clip.clone(), gradients);
        });
        if let (Some(first), Some(last)) = (losses.first(), losses.last()) {
            let _ = writeln!(std::io::stdout(), "# {id}: loss {first:?} to {last:?}");
        }
        Ok(())
    }

    /// A temporal transformer over features: msrvtt476's step, two projections and one block; and the built-in world's,
    /// with its text tower and two blocks over cached frames.
    fn heads(&self) -> Result<(), ExperimentError> {
        let training = self.device.clone().autodiff();
        training.seed(1);
        let linear = |from, to| nn::LinearConfig::new(from, to).with_bias(false).init(&training);
        let features = |rows: usize| Tensor::<2>::from_inner(self.normal([rows, 512]));
        let (texts, text) = (features(256), linear(512, 256));
        let frames = Tensor::<3>::from_inner(self.normal([256, 6, 512]));
        let encode = |text: &Text| Some(tvr_nn::linear(text.map.as_ref()?, texts.clone()));
        let maps = (Text { map: Some(text), tower: None }, Some(linear(512, 256)));
        self.small("msrvtt476", 256, 1, maps, frames, &encode)?;

        let clip = ClipConfig::world(400, 48).init(&training);
        let tower = clip.map_err(|error| ExperimentError::request(error.to_string()))?.text;
        let ids: Vec<i64> =
            (0..96 * 24).map(|place| if place % 24 == 23 { 399 } else { place % 397 }).collect();
        let ids = Tensor::<2, Int>::from_data(TensorData::new(ids, [96, 24]), &training);
        let lengths = Tensor::<1, Int>::full([96], 24, &training);
        let encode = |text: &Text| Some(text.tower.as_ref()?.encode(ids.clone(), lengths.clone()));
        let frames = Tensor::<3>::from_inner(self.normal([96, 8, 96]));
        self.small("world", 96, 2, (Text { map: None, tower: Some(tower) }, None), frames, &encode)
    }

    fn small(
        &self,
        name: &str,
        width: usize,
        layers: usize,
        (text, map): (Text, Option<nn::Linear>),
        frames: Tensor<3>,
        encode: &dyn Fn(&Text) -> Option<Tensor<2>>,
    ) -> Result<(), ExperimentError> {
        let training = self.device.clone().autodiff();
        let [pairs, count, _] = frames.dims();
        let head = SeqTransfConfig { layers, adapter: None, ..SeqTransfConfig::ours(count) };
        let head =
            head.init(width, &training).map_err(|error| ExperimentError::request(error.to_string()))?;
        let logit_scale = Param::from_data([3.0f32], &training);
        let mut model = Small { text, map, head: head.train(), logit_scale };
        tvr_nn::touch(&model);
        let mut adam = optimizer::build(&ADAMW, &model, 1000)?;
        let Ok(symmetric) = SymmetricConfig::ours().init() else { return Ok(()) };
        let same = Tensor::<1, Int>::arange(0..pairs as i64, &training);
        self.measure(&format!("device/{name}/step-{pairs}x{count}"), pairs, 0.0, || {
            let frames = match &model.map {
                Some(map) => tvr_nn::linear(map, frames.clone()),
                None => frames.clone(),
            };
            let texts = encode(&model.text)?;
            let videos = model.head.code_videos(VideoFeatures::unmasked(frames));
            let texts = model.head.code_texts(TextFeatures::pooled(texts));
            let cosines = model.head.similarity(&texts, &videos).fused;
            let loss = symmetric.loss(&Pairs::new(&cosines, model.logit_scale.val().exp(), &same)).total;
            let value = loss.clone().into_scalar::<f32>();
            let mut gradients = GradientsParams::from_grads(loss.backward(), &model);
            clip_global_norm(&model, &mut gradients, Some(1.0));
            model = adam.step(1e-4, model.clone(), gradients);
            Some(value)
        });
        Ok(())
    }
}

/// A linear map or a tower.
#[derive(Module, Debug)]
struct Text {
    map: Option<nn::Linear>,
    tower: Option<TextTower>,
}

/// What learns in a small step.
#[derive(Module, Debug)]
struct Small {
    text: Text,
    map: Option<nn::Linear>,
    head: SeqTransf,
    logit_scale: Param<Tensor<1>>,
}
