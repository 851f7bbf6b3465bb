//! Numbers drawn on the host, and the heads under test.

use std::ops::{Deref, DerefMut};

use burn::module::{ModuleMapper, Param};
use burn::prelude::*;
use burn::tensor::DType;
use tvr_heads::camoe::aggregators::{AggregatorConfig, Excites, SelfAttentionConfig, SqueezeExciteConfig};
use tvr_heads::emcl::{Detach, Items, Scale};
use tvr_heads::experts::mmt::TransformerConfig;
use tvr_heads::experts::{ExpertInput, Mixing};
use tvr_heads::laws::{self, Expected};
use tvr_heads::{
    Camoe, CamoeConfig, Conditioned, ConditionedConfig, Emcl, EmclConfig, Experts, ExpertsConfig,
    FrameAdapterConfig, Head, HeadError, MeanPooling, MeanPoolingConfig, Needs, Positions, SeqLstm,
    SeqLstmConfig, SeqTransf, SeqTransfConfig, TextFeatures, TightTransf, TightTransfConfig, Tile, TokenWise,
    TokenWiseConfig, VideoFeatures, XPool, XPoolConfig, code_all_texts, code_all_videos, score_all,
};

pub use tvr_nn::laws::floats;

pub const WIDTH: usize = Expected::PLAIN.width;
pub const MAX_FRAMES: usize = 12;

/// The laws' numbers, with what features are made of as methods.
pub struct Draw(laws::Draw);

impl Draw {
    pub fn new(seed: u64) -> Self {
        Self(laws::Draw::new(seed))
    }

    pub fn tensor<const D: usize>(&mut self, shape: [usize; D]) -> Tensor<D> {
        self.0.tensor(shape, &Device::flex())
    }

    /// A mask whose real frames come first, at least one each.
    pub fn prefix_mask(&mut self, videos: usize, frames: usize) -> Vec<Vec<bool>> {
        laws::prefix_mask(&mut self.0, videos, frames)
    }

    pub fn videos(&mut self, videos: usize, frames: usize) -> VideoFeatures {
        let mask = self.prefix_mask(videos, frames);
        videos_of(self.tensor([videos, frames, WIDTH]), mask_tensor(&mask))
    }

    pub fn texts(&mut self, texts: usize) -> TextFeatures {
        texts_of(self.tensor([texts, WIDTH]))
    }
}

impl Deref for Draw {
    type Target = laws::Draw;

    fn deref(&self) -> &laws::Draw {
        &self.0
    }
}

impl DerefMut for Draw {
    fn deref_mut(&mut self) -> &mut laws::Draw {
        &mut self.0
    }
}

/// Texts with all that a head may ask for, made of the pooled vectors.
pub fn texts_of(pooled: Tensor<2>) -> TextFeatures {
    laws::text_features(pooled, &Needs::default())
}

/// Videos with all that a head may ask for, made of the frames.
pub fn videos_of(frames: Tensor<3>, mask: Tensor<2, Bool>) -> VideoFeatures {
    laws::video_features(frames, mask, &Needs::default())
}

pub struct ToF64;

impl ModuleMapper for ToF64 {
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        param.map(|value| value.cast(DType::F64))
    }
}

pub fn mask_tensor(mask: &[Vec<bool>]) -> Tensor<2, Bool> {
    laws::mask_tensor(mask, &Device::flex())
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
    let mut draw = Draw::new(seed);
    let mut head = draw.shake(config.init(xpool(seed), WIDTH, &Device::flex()).unwrap());
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
