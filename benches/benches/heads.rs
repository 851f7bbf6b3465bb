//! Every head forward and back on a batch of pairs, and the EM layer in its two forms.

mod support;

use burn::prelude::*;
use burn::tensor::Distribution;
use criterion::{Criterion, criterion_group, criterion_main};
use tvr_heads::emcl::{Gram, Start};
use tvr_heads::{
    ConditionedConfig, EmclConfig, Head, HeadError, MeanPoolingConfig, SeqLstmConfig, SeqTransfConfig,
    TextFeatures, TightTransfConfig, TokenWiseConfig, Tokens, VideoFeatures, XPoolConfig,
};

use support::measure;

/// CLIP ViT-B/32's, and CLIP4Clip's frames and words.
const WIDTH: usize = 512;
const FRAMES: usize = 12;
const TOKENS: usize = 32;

fn normal<const D: usize>(shape: [usize; D]) -> Tensor<D> {
    Tensor::random(shape, Distribution::Normal(0.0, 1.0), &Device::flex())
}

fn leaf<const D: usize>(shape: [usize; D]) -> Tensor<D> {
    Tensor::from_inner(normal(shape)).require_grad()
}

/// Codes, similarities of all pairs, and the gradient of their weighted sum.
fn step<H: Head>(criterion: &mut Criterion, name: &str, pairs: usize, head: Result<H, HeadError>) {
    let Ok(head) = head else { return };
    let head = head.train();
    let tokens = head.needs().tokens.then(|| Tokens {
        features: leaf([pairs, TOKENS, WIDTH]),
        mask: Tensor::<2, Int>::ones([pairs, TOKENS], &Device::flex().autodiff()).bool(),
    });
    let texts = TextFeatures { tokens, ..TextFeatures::pooled(leaf([pairs, WIDTH])) };
    let videos = VideoFeatures::unmasked(leaf([pairs, FRAMES, WIDTH]));
    let weight = Tensor::from_inner(normal([pairs, pairs]));
    measure(criterion, &format!("heads/{name}/{pairs}x{pairs}"), "tvr", || {
        let (texts, videos) = (head.code_texts(texts.clone()), head.code_videos(videos.clone()));
        let loss = tvr_nn::sum(head.similarity(&texts, &videos).fused * weight.clone());
        loss.backward()
    });
}

fn heads(criterion: &mut Criterion) {
    tvr_nn::keep_freed_memory();
    let training = Device::flex().autodiff();
    training.seed(1);
    let device = &training;
    step(criterion, "mean-pooling", 128, MeanPoolingConfig::reference().init(WIDTH, device));
    step(criterion, "seq-lstm", 128, SeqLstmConfig::reference().init(WIDTH, device));
    step(criterion, "seq-transf", 128, SeqTransfConfig::reference(WIDTH).init(WIDTH, device));
    let tight = TightTransfConfig { dropout: 0.0, ..TightTransfConfig::reference(WIDTH) };
    // 128 x 128 pairs would be 16 TFLOP.
    step(criterion, "tight-transf", 16, tight.init(WIDTH, device));
    let conditioned = ConditionedConfig { temporal: None, ..ConditionedConfig::reference(WIDTH) };
    step(criterion, "conditioned", 128, conditioned.init(WIDTH, device));
    let xpool = XPoolConfig { dropout: 0.0, ..XPoolConfig::reference() };
    step(criterion, "xpool", 128, xpool.init(WIDTH, device));
    let token_wise =
        |weight_layers: usize| TokenWiseConfig { adapter: None, ..TokenWiseConfig::ours(weight_layers) };
    step(criterion, "token-wise", 128, token_wise(0).init(WIDTH, device));
    step(criterion, "token-wise-weighted", 128, token_wise(2).init(WIDTH, device));
}

/// EMCL-Net's training batch: 128 x 128 pooled videos and 128 texts.
fn layer(criterion: &mut Criterion) {
    let Ok(layer) = EmclConfig::reference().layer() else { return };
    let em = layer.em();
    let items = normal([128 * 128 + 128, WIDTH]);
    let start = Start::Average(normal([1, 32]));
    measure(criterion, "emcl/direct/16512x512", "tvr", || {
        let (clusters, bases) = em.direct(&items, &start);
        clusters.rebuild(bases).into_data()
    });
    measure(criterion, "emcl/gram/16512x512", "tvr", || {
        em.gram(&Gram::of(&items), &start).reconstruct(items.clone()).into_data()
    });
}

criterion_group! {
    name = benches;
    config = Criterion::default().sample_size(10).measurement_time(std::time::Duration::from_secs(3));
    targets = heads, layer
}
criterion_main!(benches);
