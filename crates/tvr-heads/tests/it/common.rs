//! Numbers drawn on the host, and the heads under test.

use burn::module::{ModuleMapper, Param};
use burn::prelude::*;
use burn::tensor::DType;
use tvr_heads::camoe::aggregators::{AggregatorConfig, Excites, SelfAttentionConfig, SqueezeExciteConfig};
use tvr_heads::emcl::{Detach, Items, Scale};
use tvr_heads::experts::mmt::TransformerConfig;
use tvr_heads::experts::{ExpertInput, Mixing};
use tvr_heads::{
    Camoe, CamoeConfig, Conditioned, ConditionedConfig, Emcl, EmclConfig, Expert, Experts, ExpertsConfig,
    FrameAdapterConfig, Head, HeadError, MeanPooling, MeanPoolingConfig, Positions, SeqLstm, SeqLstmConfig,
    SeqTransf, SeqTransfConfig, TextFeatures, TextStream, TightTransf, TightTransfConfig, Tile, TokenWise,
    TokenWiseConfig, Tokens, VideoFeatures, XPool, XPoolConfig, code_all_texts, code_all_videos, score_all,
};

pub const WIDTH: usize = 8;
pub const MAX_FRAMES: usize = 12;

/// Splitmix64, and the normal numbers made of it.
pub struct Draw(u64);

impl Draw {
    pub fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x2545_F491_4F6C_DD1D).wrapping_add(1))
    }

    pub fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// In [0, 1).
    pub fn uniform(&mut self) -> f64 {
        (self.bits() >> 11) as f64 / (1u64 << 53) as f64
    }

    pub fn below(&mut self, bound: usize) -> usize {
        (self.bits() % bound as u64) as usize
    }

    pub fn normal(&mut self) -> f64 {
        let (radius, angle) = (1.0 - self.uniform(), self.uniform());
        (-2.0 * radius.ln()).sqrt() * (std::f64::consts::TAU * angle).cos()
    }

    pub fn normals(&mut self, count: usize) -> Vec<f64> {
        (0..count).map(|_| self.normal()).collect()
    }

    pub fn tensor<const D: usize>(&mut self, shape: [usize; D]) -> Tensor<D> {
        let values: Vec<f32> = self.normals(shape.iter().product()).iter().map(|&x| x as f32).collect();
        Tensor::from_data(TensorData::new(values, shape), &Device::flex())
    }

    /// A mask whose real frames come first, at least one each.
    pub fn prefix_mask(&mut self, videos: usize, frames: usize) -> Vec<Vec<bool>> {
        (0..videos)
            .map(|_| {
                let real = 1 + self.below(frames);
                (0..frames).map(|frame| frame < real).collect()
            })
            .collect()
    }

    pub fn videos(&mut self, videos: usize, frames: usize) -> VideoFeatures {
        let mask = self.prefix_mask(videos, frames);
        videos_of(self.tensor([videos, frames, WIDTH]), mask_tensor(&mask))
    }

    pub fn texts(&mut self, texts: usize) -> TextFeatures {
        texts_of(self.tensor([texts, WIDTH]))
    }

    /// Every weight a fresh number, so that no part of a head is idle.
    pub fn shake<M: Module>(&mut self, module: M) -> M {
        module.map(&mut Shake(self))
    }
}

/// A fixed pattern of the kind of another tensor.
fn pattern<const D: usize>(seed: u64, shape: [usize; D], like: &Tensor<D>) -> Tensor<D> {
    let pattern = Draw::new(seed).tensor::<D>(shape).cast(like.dtype());
    if like.is_autodiff() { Tensor::from_inner(pattern) } else { pattern }
}

/// Texts with all that a head may ask for, made of the pooled vectors so that gradients pass through: three streams,
/// each missing from every third text.
pub fn texts_of(pooled: Tensor<2>) -> TextFeatures {
    let [texts, width] = pooled.dims();
    let stream = |(place, name): (usize, &'static str)| TextStream {
        name,
        pooled: pooled.clone() * pattern(90 + place as u64, [1, width], &pooled),
        available: Tensor::from_data(
            TensorData::new((0..texts).map(|text| (text + place) % 3 != 0).collect::<Vec<bool>>(), [texts]),
            &pooled.device(),
        ),
    };
    let streams = ["entity", "action", "scene"].into_iter().enumerate().map(stream).collect();
    TextFeatures { streams, ..with_tokens(pooled.clone()) }
}

/// Videos with all that a head may ask for, made of the frames: two experts, of which the second says nothing of
/// every other video.
pub fn videos_of(frames: Tensor<3>, mask: Tensor<2, Bool>) -> VideoFeatures {
    let [videos, n_frames, _] = frames.dims();
    let says: Vec<bool> = (0..videos * n_frames).map(|at| (at / n_frames) % 2 == 0).collect();
    let says = Tensor::<2, Bool>::from_data(TensorData::new(says, [videos, n_frames]), &mask.device());
    let expert = |name: &str, channels: std::ops::Range<usize>, mask| Expert {
        name: name.into(),
        features: frames.clone().slice_dim(2, channels),
        mask,
    };
    let experts =
        vec![expert("motion", 0..5, mask.clone()), expert("audio", 4..7, mask.clone().bool_and(says))];
    VideoFeatures { frames, mask, experts }
}

struct Shake<'a>(&'a mut Draw);

impl ModuleMapper for Shake<'_> {
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        let noise = self.0.tensor(param.val().dims()) * 0.2;
        param.map(|value| value.clone() * 0.5 + noise.to_device(&value.device()))
    }
}

/// Texts with tokens that are made of the pooled vector, so that its gradient passes through them too; every other
/// text has one real token less.
pub fn with_tokens(pooled: Tensor<2>) -> TextFeatures {
    const TOKENS: usize = 4;
    let [texts, width] = pooled.dims();
    let turns = Draw::new(99).tensor::<3>([1, TOKENS, width]).cast(pooled.dtype());
    let mask: Vec<Vec<bool>> =
        (0..texts).map(|text| (0..TOKENS).map(|token| token < TOKENS - text % 2).collect()).collect();
    let mask = mask_tensor(&mask).to_device(&pooled.device());
    let turns = if pooled.is_autodiff() { Tensor::from_inner(turns) } else { turns };
    let features = pooled.clone().unsqueeze_dim::<3>(1) * turns;
    TextFeatures { pooled, tokens: Some(Tokens { features, mask }), streams: Vec::new() }
}

pub struct ToF64;

impl ModuleMapper for ToF64 {
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        param.map(|value| value.cast(DType::F64))
    }
}

pub fn mask_tensor(mask: &[Vec<bool>]) -> Tensor<2, Bool> {
    let shape = [mask.len(), mask[0].len()];
    Tensor::from_data(TensorData::new(mask.concat(), shape), &Device::flex())
}

pub fn floats<const D: usize>(tensor: &Tensor<D>) -> Vec<f64> {
    tensor.to_data().iter::<f64>().collect()
}

/// The largest difference; NaN if one is NaN, which `f64::max` would swallow.
pub fn largest_gap(found: &[f64], expected: &[f64]) -> f64 {
    assert_eq!(found.len(), expected.len(), "sizes differ");
    let gaps = found.iter().zip(expected).map(|(a, b)| (a - b).abs());
    gaps.fold(0.0, |most, gap| if gap <= most { most } else { gap })
}

#[track_caller]
pub fn assert_close(found: &[f64], expected: &[f64], tolerance: f64) {
    assert_eq!(found.len(), expected.len(), "sizes differ");
    for (place, (&a, &b)) in found.iter().zip(expected).enumerate() {
        // Written so that NaN fails.
        assert!((a - b).abs() <= tolerance, "at {place}: {a} is not within {tolerance} of {b}");
    }
}

pub fn scores<H: Head>(head: &H, texts: &TextFeatures, videos: &VideoFeatures) -> Tensor<2> {
    let all = Tile { texts: usize::MAX, videos: usize::MAX };
    let texts = code_all_texts(head, texts, usize::MAX).unwrap();
    let videos = code_all_videos(head, videos, usize::MAX).unwrap();
    score_all(head, &texts, &videos, all).unwrap()
}

pub fn mean_pooling() -> MeanPooling {
    MeanPoolingConfig::reference().init(WIDTH, &Device::flex()).unwrap()
}

pub fn adapted_mean_pooling(seed: u64) -> MeanPooling {
    let config = MeanPoolingConfig { adapter: Some(FrameAdapterConfig::ours()) };
    Draw::new(seed).shake(config.init(WIDTH, &Device::flex()).unwrap())
}

pub fn seq_transf_config() -> SeqTransfConfig {
    SeqTransfConfig {
        layers: 2,
        heads: 2,
        max_frames: MAX_FRAMES,
        positions: Positions::Sinusoid,
        epsilon: 1e-5,
        adapter: None,
    }
}

pub fn seq_transf(seed: u64) -> SeqTransf {
    Draw::new(seed).shake(seq_transf_config().init(WIDTH, &Device::flex()).unwrap())
}

pub fn adapted_seq_transf(seed: u64) -> SeqTransf {
    let config = SeqTransfConfig { adapter: Some(FrameAdapterConfig::ours()), ..seq_transf_config() };
    Draw::new(seed).shake(config.init(WIDTH, &Device::flex()).unwrap())
}

#[track_caller]
pub fn refused<T: std::fmt::Debug>(result: Result<T, HeadError>) -> String {
    result.unwrap_err().to_string()
}

pub fn seq_lstm(seed: u64) -> SeqLstm {
    Draw::new(seed).shake(SeqLstmConfig::reference().init(WIDTH, &Device::flex()).unwrap())
}

pub fn adapted_seq_lstm(seed: u64) -> SeqLstm {
    let config = SeqLstmConfig { adapter: Some(FrameAdapterConfig::ours()) };
    Draw::new(seed).shake(config.init(WIDTH, &Device::flex()).unwrap())
}

pub fn tight_transf_config() -> TightTransfConfig {
    TightTransfConfig { layers: 2, heads: 2, max_frames: MAX_FRAMES, epsilon: 1e-5, dropout: 0.0 }
}

pub fn tight_transf(seed: u64) -> TightTransf {
    Draw::new(seed).shake(tight_transf_config().init(WIDTH, &Device::flex()).unwrap())
}

pub fn conditioned_config() -> ConditionedConfig {
    ConditionedConfig { temperature: 1.5, ..ConditionedConfig::ours() }
}

pub fn conditioned(seed: u64) -> Conditioned {
    Draw::new(seed).shake(conditioned_config().init(WIDTH, &Device::flex()).unwrap())
}

/// Behind a temporal transformer, as in EMCL-Net.
pub fn temporal_conditioned(seed: u64) -> Conditioned {
    let config = ConditionedConfig { temporal: Some(seq_transf_config()), ..conditioned_config() };
    Draw::new(seed).shake(config.init(WIDTH, &Device::flex()).unwrap())
}

pub fn xpool(seed: u64) -> XPool {
    let config = XPoolConfig { heads: 2, dropout: 0.0, adapter: None };
    Draw::new(seed).shake(config.init(WIDTH, &Device::flex()).unwrap())
}

pub fn adapted_xpool(seed: u64) -> XPool {
    let config =
        XPoolConfig { dropout: 0.0, adapter: Some(FrameAdapterConfig::ours()), ..XPoolConfig::reference() };
    Draw::new(seed).shake(config.init(WIDTH, &Device::flex()).unwrap())
}

/// With so many layers of weights; 0 is TI.
pub fn token_wise(weight_layers: usize, seed: u64) -> TokenWise {
    Draw::new(seed).shake(TokenWiseConfig::ours(weight_layers).init(WIDTH, &Device::flex()).unwrap())
}

/// Few steps and flat responsibilities: in f32 more of them would amplify rounding beyond any tolerance.
pub fn gentle(config: EmclConfig) -> EmclConfig {
    EmclConfig { bases: 3, iterations: 2, sigma: 30.0, ..config }
}

pub fn emcl_paper(seed: u64) -> Emcl<Conditioned> {
    let head = gentle(EmclConfig::paper()).init(conditioned(seed), WIDTH, &Device::flex()).unwrap();
    Draw::new(seed).shake(head)
}

pub fn emcl_reference(seed: u64) -> Emcl<MeanPooling> {
    let config = EmclConfig { detach: Detach::None, ..gentle(EmclConfig::reference()) };
    let head = config.init(adapted_mean_pooling(seed), WIDTH, &Device::flex()).unwrap();
    Draw::new(seed).shake(head)
}

/// After one step, so that there are bases.
pub fn emcl_global(seed: u64) -> Emcl<XPool> {
    let config = EmclConfig { items: Items::Global, scale: Scale::Mean, ..gentle(EmclConfig::global()) };
    let mut head = config.init(xpool(seed), WIDTH, &Device::flex()).unwrap();
    let mut draw = Draw::new(seed);
    let (texts, videos) = (head.code_texts(draw.texts(6)), head.code_videos(draw.videos(5, 4)));
    head.after_step(&texts, &videos);
    head
}

pub fn camoe_config() -> CamoeConfig {
    let excite = |over| AggregatorConfig::SqueezeExcite(SqueezeExciteConfig { reduction: 2, over });
    CamoeConfig {
        entity: Some(excite(Excites::Frames)),
        action: Some(AggregatorConfig::SelfAttention(SelfAttentionConfig {
            heads: 2,
            max_frames: Some(MAX_FRAMES),
        })),
        scene: Some(AggregatorConfig::Mean {}),
        fusion: AggregatorConfig::SeqTransf(seq_transf_config()),
        missing: tvr_heads::camoe::Missing::Fallback,
        adapter: None,
    }
}

pub fn camoe(seed: u64) -> Camoe {
    Draw::new(seed).shake(camoe_config().init(WIDTH, &Device::flex()).unwrap())
}

/// With the other choice of everything, and one stream less.
pub fn dropping_camoe(seed: u64) -> Camoe {
    let over = Excites::Channels;
    let attention = SelfAttentionConfig { heads: 4, max_frames: None };
    let config = CamoeConfig {
        entity: Some(AggregatorConfig::SqueezeExcite(SqueezeExciteConfig { reduction: 4, over })),
        action: None,
        scene: Some(AggregatorConfig::SelfAttention(attention)),
        fusion: AggregatorConfig::Mean {},
        missing: tvr_heads::camoe::Missing::Drop,
        adapter: Some(FrameAdapterConfig::ours()),
    };
    Draw::new(seed).shake(config.init(WIDTH, &Device::flex()).unwrap())
}

/// The experts of [`videos_of`].
pub fn expert_inputs() -> Vec<ExpertInput> {
    [("motion", 5), ("audio", 3)].map(|(name, width)| ExpertInput { name: name.into(), width }).to_vec()
}

pub fn experts_config(mixing: Mixing) -> ExpertsConfig {
    ExpertsConfig { width: 6, mixing, ..ExpertsConfig::ours(expert_inputs()) }
}

pub fn experts(seed: u64) -> Experts {
    let config = ExpertsConfig { frames: true, ..experts_config(Mixing::None {}) };
    Draw::new(seed).shake(config.init(WIDTH, &Device::flex()).unwrap())
}

pub fn gated_experts(seed: u64) -> Experts {
    let config = ExpertsConfig { norm: true, ..experts_config(Mixing::Gating {}) };
    Draw::new(seed).shake(config.init(WIDTH, &Device::flex()).unwrap())
}

fn mixed_config() -> ExpertsConfig {
    let transformer =
        TransformerConfig { layers: 2, heads: 2, hidden: 8, positions: 3, ..TransformerConfig::reference() };
    experts_config(Mixing::Transformer(TransformerConfig { dropout: 0.0, ..transformer }))
}

pub fn mixed_experts(seed: u64) -> Experts {
    Draw::new(seed).shake(mixed_config().init(WIDTH, &Device::flex()).unwrap())
}

pub fn mixed_experts_and_frames(seed: u64) -> Experts {
    let config = ExpertsConfig { frames: true, ..mixed_config() };
    Draw::new(seed).shake(config.init(WIDTH, &Device::flex()).unwrap())
}
