//! Every head forward and back on a batch of pairs, galleries of two sizes by tiles, and the EM layer in its two forms.

mod support;

use burn::prelude::*;
use burn::tensor::Distribution;
use criterion::{Criterion, criterion_group, criterion_main};
use tvr_heads::emcl::{Gram, Start};
use tvr_heads::experts::mmt::TransformerConfig;
use tvr_heads::experts::{ExpertInput, Mixing};
use tvr_heads::{
    CamoeConfig, ConditionedConfig, EmclConfig, Expert, ExpertsConfig, Head, HeadError, MeanPoolingConfig,
    SeqLstmConfig, SeqTransfConfig, TextFeatures, TextStream, TightTransfConfig, Tile, TokenWiseConfig,
    Tokens, VideoFeatures, XPoolConfig, code_all_texts, code_all_videos, score_all,
};

use support::{measure, median_of_five};

/// CLIP ViT-B/32's, and CLIP4Clip's frames and words.
const WIDTH: usize = 512;
const FRAMES: usize = 12;
const TOKENS: usize = 32;

/// Feature experts and their widths, as MMT has them of MSR-VTT; steps of each.
const EXPERTS: [(&str, usize); 4] = [("rgb", 2048), ("s3d", 1024), ("scene", 2208), ("vggish", 128)];
const STEPS: usize = 3;

/// Items coded at a time where a gallery is scored.
const CHUNK: usize = 256;

fn normal<const D: usize>(shape: [usize; D]) -> Tensor<D> {
    Tensor::random(shape, Distribution::Normal(0.0, 1.0), &Device::flex())
}

fn leaf<const D: usize>(shape: [usize; D]) -> Tensor<D> {
    Tensor::from_inner(normal(shape)).require_grad()
}

/// Codes, similarities of all pairs, and the gradient of their weighted sum.
fn step<H: Head + Sync>(criterion: &mut Criterion, name: &str, pairs: usize, head: Result<H, HeadError>) {
    let Ok(head) = head else { return };
    let head = head.train();
    let tokens = head.needs().tokens.then(|| Tokens {
        features: leaf([pairs, TOKENS, WIDTH]),
        mask: Tensor::<2, Int>::ones([pairs, TOKENS], &Device::flex().autodiff()).bool(),
    });
    let all = |items: usize| Tensor::<1, Int>::ones([items], &Device::flex().autodiff()).bool();
    let streams = head.needs().streams.into_iter();
    let streams =
        streams.map(|name| TextStream { name, pooled: leaf([pairs, WIDTH]), available: all(pairs) });
    let texts =
        TextFeatures { tokens, streams: streams.collect(), ..TextFeatures::pooled(leaf([pairs, WIDTH])) };
    let experts = EXPERTS.into_iter().filter(|_| !head.needs().experts.is_empty());
    let experts = experts.map(|(name, width)| Expert {
        name: name.into(),
        features: leaf([pairs, STEPS, width]),
        mask: all(pairs * STEPS).reshape([pairs, STEPS]),
    });
    let videos =
        VideoFeatures { experts: experts.collect(), ..VideoFeatures::unmasked(leaf([pairs, FRAMES, WIDTH])) };
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
    step(criterion, "camoe", 128, CamoeConfig::ours(FRAMES).init(WIDTH, device));
    let transformer = TransformerConfig { dropout: 0.0, ..TransformerConfig::reference() };
    for (name, mixing) in [
        ("experts", Mixing::None {}),
        ("experts-gating", Mixing::Gating {}),
        ("experts-transformer", Mixing::Transformer(transformer)),
    ] {
        let inputs = EXPERTS.map(|(name, width)| ExpertInput { name: name.into(), width });
        let config = ExpertsConfig { width: WIDTH, mixing, ..ExpertsConfig::ours(inputs.to_vec()) };
        step(criterion, name, 128, config.init(WIDTH, device));
    }
    let emcl = EmclConfig::reference();
    let mean_pooling = MeanPoolingConfig::reference().init(WIDTH, device);
    step(criterion, "mean-pooling-emcl", 128, mean_pooling.and_then(|head| emcl.init(head, WIDTH, device)));
    let conditioned = conditioned.init(WIDTH, device);
    step(criterion, "conditioned-emcl", 128, conditioned.and_then(|head| emcl.init(head, WIDTH, device)));
}

/// A gallery against as many texts, tile by tile, without gradients. Of interest is the memory: the matrix itself grows
/// with the square of the gallery, everything beside it must grow with the gallery alone.
fn gallery<H: Head + Sync>(name: &str, items: usize, head: Result<H, HeadError>) {
    let Ok(head) = head else { return };
    let codes = || -> Result<_, HeadError> {
        let tokens = head.needs().tokens.then(|| Tokens {
            features: normal([items, TOKENS, WIDTH]),
            mask: Tensor::<2, Int>::ones([items, TOKENS], &Device::flex()).bool(),
        });
        let texts = TextFeatures { tokens, ..TextFeatures::pooled(normal([items, WIDTH])) };
        let videos = VideoFeatures::unmasked(normal([items, FRAMES, WIDTH]));
        Ok((code_all_texts(&head, &texts, CHUNK)?, code_all_videos(&head, &videos, CHUNK)?))
    };
    // Made at the first call, so that an id that is filtered out costs no memory.
    let made = std::sync::OnceLock::new();
    median_of_five(&format!("heads/score-all/{name}/{items}"), || {
        let Ok((texts, videos)) = made.get_or_init(codes) else { return };
        drop(score_all(&head, texts, videos, Tile::of(&head)).map(Tensor::into_data));
    });
}

fn galleries(_: &mut Criterion) {
    let device = &Device::flex();
    device.seed(1);
    for items in [250, 1000] {
        gallery("xpool", items, XPoolConfig::reference().init(WIDTH, device));
        let token_wise = TokenWiseConfig { adapter: None, ..TokenWiseConfig::ours(0) };
        gallery("token-wise", items, token_wise.init(WIDTH, device));
    }
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
    targets = heads, galleries, layer
}
criterion_main!(benches);
