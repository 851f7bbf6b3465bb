//! What must hold for heads that judge every pair by itself: conditioned, xpool, token-wise.

use burn::prelude::*;
use proptest::prelude::*;
use tvr_heads::{
    Conditioned, ConditionedConfig, Head, PoolingMask, TextFeatures, TightTransfConfig, TokenMask,
    TokenWiseConfig, Tokens, Vectors, VideoFeatures, XPoolConfig,
};

use crate::common::{
    Draw, WIDTH, assert_close, conditioned_config, floats, largest_gap, mask_tensor, refused, scores,
    texts_of, tight_transf_config, token_wise, videos_of, xpool,
};

use super::largest_difference;

fn plain_conditioned(temperature: f64, mask: PoolingMask) -> Conditioned {
    let config = ConditionedConfig { temperature, mask, adapter: None, temporal: None };
    config.init(WIDTH, &Device::flex()).unwrap()
}

/// The cosine of raw vectors, by loops.
fn cosine(a: &[f64], b: &[f64]) -> f64 {
    let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
    dot(a, b) / (dot(a, a).sqrt() * dot(b, b).sqrt())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn p_conditioned_a_hot_text_hears_the_mean_of_the_frames(frames in 1usize..6, seed: u64) {
        let mut draw = Draw::new(seed);
        let (texts, videos) = (draw.texts(3), VideoFeatures::unmasked(draw.tensor([2, frames, WIDTH])));
        let found = floats(&scores(&plain_conditioned(1e9, PoolingMask::Before), &texts, &videos));
        let means = floats(&videos.frames.mean_dim(1));
        let texts = floats(&texts.pooled);
        let expected: Vec<f64> = texts
            .chunks(WIDTH)
            .flat_map(|text| means.chunks(WIDTH).map(move |mean| cosine(text, mean)).collect::<Vec<_>>())
            .collect();
        assert_close(&found, &expected, 1e-5);
    }

    #[test]
    fn p_conditioned_a_cold_text_hears_its_best_frame(frames in 1usize..6, seed: u64) {
        let mut draw = Draw::new(seed);
        let (texts, videos) = (draw.texts(3), VideoFeatures::unmasked(draw.tensor([2, frames, WIDTH])));
        let found = floats(&scores(&plain_conditioned(1e-6, PoolingMask::Before), &texts, &videos));
        let (frames_of, texts) = (floats(&videos.frames), floats(&texts.pooled));
        for (pair, found) in found.iter().enumerate() {
            let text = &texts[pair / 2 * WIDTH..][..WIDTH];
            let video = &frames_of[pair % 2 * frames * WIDTH..][..frames * WIDTH];
            let product = |frame: &&[f64]| text.iter().zip(*frame).map(|(a, b)| a * b).sum::<f64>();
            let best = video
                .chunks(WIDTH)
                .max_by(|a, b| product(a).total_cmp(&product(b)))
                .unwrap();
            prop_assert!((found - cosine(text, best)).abs() <= 1e-5);
        }
    }

    #[test]
    fn p_conditioned_both_masks_agree_where_there_is_no_padding(frames in 1usize..6, seed: u64) {
        let mut draw = Draw::new(seed);
        let (texts, videos) = (draw.texts(3), VideoFeatures::unmasked(draw.tensor([2, frames, WIDTH])));
        let [before, after] = [PoolingMask::Before, PoolingMask::After]
            .map(|mask| scores(&plain_conditioned(1.5, mask), &texts, &videos));
        prop_assert!(largest_difference(&before, &after) <= 1e-6);
    }

    #[test]
    fn p_xpool_every_text_hears_the_same_of_a_single_frame(seed: u64) {
        let head = xpool(seed);
        let mut draw = Draw::new(seed);
        let texts = head.code_texts(draw.texts(4));
        let videos = head.code_videos(VideoFeatures::unmasked(draw.tensor([3, 1, WIDTH])));
        let heard = floats(&head.vectors(&texts, &videos).remove(0).videos);
        for video in heard.chunks(4 * WIDTH) {
            for text in video.chunks(WIDTH) {
                assert_close(text, &video[..WIDTH], 1e-5);
            }
        }
    }

    #[test]
    fn p_token_wise_masked_tokens_of_any_content_change_nothing(
        layers in 0usize..4, extra in 1usize..4, exponent in -30f32..30.0, seed: u64,
    ) {
        let head = token_wise(layers, seed);
        let mut draw = Draw::new(seed);
        let (texts, videos) = (draw.texts(3), draw.videos(2, 4));
        let expected = scores(&head, &texts, &videos);
        let tokens = texts.tokens.unwrap();
        let garbage = draw.tensor([3, extra, WIDTH]) * 10f32.powf(exponent);
        let padded = Tokens {
            features: Tensor::cat(vec![tokens.features, garbage], 1),
            mask: Tensor::cat(vec![tokens.mask, mask_tensor(&vec![vec![false; extra]; 3])], 1),
        };
        let padded = TextFeatures { tokens: Some(padded), ..TextFeatures::pooled(texts.pooled) };
        prop_assert!(largest_difference(&scores(&head, &padded, &videos), &expected) <= 1e-5);
    }

    #[test]
    fn p_token_wise_one_token_and_one_frame_have_their_cosine(layers in 0usize..4, seed: u64) {
        let head = TokenWiseConfig { adapter: None, ..TokenWiseConfig::ours(layers) };
        let head = head.init(WIDTH, &Device::flex()).unwrap();
        let mut draw = Draw::new(seed);
        let (words, frames) = (draw.tensor::<3>([3, 1, WIDTH]), draw.tensor::<3>([2, 1, WIDTH]));
        let expected =
            Vectors::of_items(words.clone().reshape([3, WIDTH]), frames.clone().reshape([2, WIDTH])).cosine();
        let tokens = Tokens { features: words, mask: mask_tensor(&[vec![true], vec![true], vec![true]]) };
        let texts = TextFeatures { tokens: Some(tokens), ..TextFeatures::pooled(draw.tensor([3, WIDTH])) };
        let found = scores(&head, &texts, &VideoFeatures::unmasked(frames));
        prop_assert!(largest_difference(&found, &expected) <= 1e-6);
    }
}

/// A text and a video that point away from each other, so that padding, which offers 0, would win a maximum.
fn opposed(padded: bool) -> (TextFeatures, VideoFeatures) {
    let device = Device::flex();
    let text = Tensor::<2>::ones([1, WIDTH], &device);
    let mask = if padded { vec![true, false] } else { vec![true] };
    let frames = Tensor::<3>::ones([1, mask.len(), WIDTH], &device) * -1.0;
    let tokens = Tokens { features: text.clone().unsqueeze_dim(1), mask: mask_tensor(&[vec![true]]) };
    let texts = TextFeatures { tokens: Some(tokens), ..TextFeatures::pooled(text) };
    (texts, VideoFeatures::new(frames, mask_tensor(&[mask])))
}

#[test]
fn token_wise_with_multiplied_masks_lets_padding_win() {
    for (mask, expected) in [(TokenMask::Exclude, [-1.0, -1.0]), (TokenMask::Multiply, [-1.0, -0.5])] {
        let config = TokenWiseConfig { mask, adapter: None, ..TokenWiseConfig::ours(0) };
        let head = config.init(WIDTH, &Device::flex()).unwrap();
        let found = [false, true].map(|padded| {
            let (texts, videos) = opposed(padded);
            floats(&scores(&head, &texts, &videos))[0]
        });
        assert_close(&found, &expected, 1e-6);
    }
}

#[test]
fn conditioned_masked_after_the_softmax_depends_on_padding() {
    let mut draw = Draw::new(1);
    let (texts, videos) = (draw.texts(1), draw.tensor::<3>([1, 2, WIDTH]));
    let drift = |mask: PoolingMask| {
        let head = plain_conditioned(1.5, mask);
        let vectors = |more: f32| {
            let padding = Tensor::full([1, 1, WIDTH], more, &Device::flex());
            let frames = Tensor::cat(vec![videos.clone(), padding], 1);
            let videos = VideoFeatures::new(frames, mask_tensor(&[vec![true, true, false]]));
            let codes = (head.code_texts(texts.clone()), head.code_videos(videos));
            floats(&head.vectors(&codes.0, &codes.1).remove(0).videos)
        };
        let (a, b) = (vectors(0.0), vectors(2.0));
        largest_gap(&a, &b)
    };
    assert!(drift(PoolingMask::Before) <= 1e-6);
    assert!(drift(PoolingMask::After) > 1e-3);
}

/// A head's scores in training and at evaluation.
fn drift_of_training<H: Head>(head: &H) -> f64 {
    let mut draw = Draw::new(2);
    let (texts, videos) = (draw.texts(4), draw.videos(5, 3));
    let expected = scores(head, &texts, &videos);
    let (head, mask) = (head.clone().train(), videos.mask.to_device(&Device::flex().autodiff()));
    let texts = head.code_texts(texts_of(Tensor::from_inner(texts.pooled)));
    let videos = head.code_videos(videos_of(Tensor::from_inner(videos.frames), mask));
    largest_difference(&head.similarity(&texts, &videos).fused.inner(), &expected)
}

#[test]
fn training_drops_what_the_settings_say_and_evaluation_nothing() {
    let device = Device::flex();
    for (dropout, drops) in [(0.0, false), (0.5, true)] {
        let xpool = XPoolConfig { dropout, ..XPoolConfig::reference() }.init(WIDTH, &device).unwrap();
        let tight = TightTransfConfig { dropout, ..tight_transf_config() }.init(WIDTH, &device).unwrap();
        let drifts = [drift_of_training(&xpool), drift_of_training(&Draw::new(3).shake(tight))];
        assert!(drifts.iter().all(|&drift| (drift > 1e-3) == drops), "{dropout}: {drifts:?}");
    }
}

#[test]
fn settings_of_pairwise_heads_are_refused_by_name() {
    let device = Device::flex();
    for (temperature, shown) in [(0.0, "0"), (-1.0, "-1"), (f64::NAN, "NaN"), (f64::INFINITY, "inf")] {
        let config = ConditionedConfig { temperature, ..conditioned_config() };
        assert_eq!(
            refused(config.init(WIDTH, &device).map(|_| ())),
            format!("conditioned: temperature = {shown}, but it must be a number above 0")
        );
    }
    let config = ConditionedConfig { temperature: 1e-200, ..conditioned_config() };
    let cold = refused(config.init(WIDTH, &device).map(|_| ()));
    assert!(cold.ends_with(", but it must be a number of at least 1e-20"), "{cold}");
    let xpool = |config: XPoolConfig| refused(config.init(WIDTH, &device).map(|_| ()));
    assert_eq!(
        xpool(XPoolConfig { heads: 3, ..XPoolConfig::reference() }),
        "xpool: heads = 3, but it must be a divisor of the width"
    );
    assert_eq!(
        xpool(XPoolConfig { heads: 0, ..XPoolConfig::reference() }),
        "xpool: heads = 0, but it must be a number above 0"
    );
    assert_eq!(
        xpool(XPoolConfig { dropout: 1.0, ..XPoolConfig::reference() }),
        "xpool: dropout = 1, but it must be at least 0 and below 1"
    );
    let config = TokenWiseConfig::ours(4);
    assert_eq!(
        refused(config.init(WIDTH, &device).map(|_| ())),
        "token-wise: weight_layers = 4, but it must be 0 (all alike) to 3"
    );
    let head = token_wise(0, 1);
    let without = TextFeatures::pooled(Tensor::ones([1, WIDTH], &device));
    assert_eq!(
        refused(head.needs().check_texts(&without)),
        "the head needs token features of the texts, but the features carry none"
    );
    let silent =
        Tokens { features: Tensor::ones([1, 2, WIDTH], &device), mask: mask_tensor(&[vec![false; 2]]) };
    let silent = TextFeatures { tokens: Some(silent), ..without };
    assert_eq!(
        refused(head.needs().check_texts(&silent)),
        "text 0 has no real step: its mask is false everywhere; leave it out"
    );
}
