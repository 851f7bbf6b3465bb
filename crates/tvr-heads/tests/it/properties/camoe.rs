//! CAMoE: gate, fusion, aggregators, missing streams.

use burn::prelude::*;
use proptest::prelude::*;
use tvr_heads::camoe::Missing;
use tvr_heads::camoe::aggregators::{Aggregator, AggregatorConfig, SelfAttentionConfig, SqueezeExciteConfig};
use tvr_heads::{Camoe, CamoeConfig, Head, Similarity, TextFeatures, VideoFeatures};

use super::{largest_difference, permuted};
use crate::common::{
    Draw, MAX_FRAMES, WIDTH, camoe, camoe_config, dropping_camoe, floats, mask_tensor, refused, scores,
    texts_of, videos_of,
};

fn dropping(seed: u64) -> Camoe {
    let config = CamoeConfig { missing: Missing::Drop, ..camoe_config() };
    Draw::new(seed).shake(config.init(WIDTH, &Device::flex()).unwrap())
}

fn similarity(head: &Camoe, texts: &TextFeatures, videos: &VideoFeatures) -> Similarity {
    head.similarity(&head.code_texts(texts.clone()), &head.code_videos(videos.clone()))
}

fn gate(head: &Camoe, videos: &VideoFeatures) -> Vec<f64> {
    floats(head.code_videos(videos.clone()).extra("gate").unwrap())
}

/// Every aggregator, with weights of its own.
fn aggregators(seed: u64) -> Vec<Aggregator> {
    [camoe(seed).experts, dropping_camoe(seed).experts].concat()
}

fn blind_to_order(aggregator: &Aggregator) -> bool {
    aggregator.max_frames().is_none()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn p_ca_1_the_gate_is_a_distribution_from_the_video_alone(
        texts in 1usize..5, videos in 1usize..5, frames in 1usize..6, exponent in -3f32..6.0, seed: u64,
    ) {
        let mut draw = Draw::new(seed);
        let (texts, mut videos) = (draw.texts(texts), draw.videos(videos, frames));
        videos.frames = videos.frames * 10f32.powf(exponent);
        for head in [camoe(seed), dropping(seed)] {
            let shares = gate(&head, &videos);
            prop_assert!(shares.iter().all(|&share| share > 0.0), "{shares:?}");
            for video in shares.chunks(4) {
                prop_assert!((video.iter().sum::<f64>() - 1.0).abs() <= 1e-6, "{video:?}");
            }
            // Whatever is asked, and whoever else is there.
            let alone: Vec<f64> =
                (0..videos.n_videos()).flat_map(|video| gate(&head, &videos.rows(video..video + 1))).collect();
            prop_assert!(alone.iter().zip(&shares).all(|(a, b)| (a - b).abs() <= 1e-6));
            // One gate for all streams: the fused similarity is its mean of theirs.
            let found = similarity(&camoe(seed), &texts, &videos);
            let (fused, shares) = (floats(&found.fused), gate(&camoe(seed), &videos));
            let streams: Vec<Vec<f64>> = found.streams.iter().map(|stream| floats(&stream.similarity)).collect();
            for (pair, fused) in fused.iter().enumerate() {
                let video = pair % videos.n_videos();
                let mean: f64 = (0..4).map(|stream| shares[video * 4 + stream] * streams[stream][pair]).sum();
                prop_assert!((mean - fused).abs() <= 1e-6, "{mean} {fused}");
            }
        }
    }

    #[test]
    fn p_ca_2_the_fused_score_lies_between_those_that_count(
        texts in 1usize..6, videos in 1usize..5, frames in 1usize..6, seed: u64,
    ) {
        let mut draw = Draw::new(seed);
        let (texts, videos) = (draw.texts(texts), draw.videos(videos, frames));
        for (head, drops) in [(camoe(seed), false), (dropping(seed), true)] {
            let found = similarity(&head, &texts, &videos);
            for (pair, fused) in floats(&found.fused).into_iter().enumerate() {
                let counting: Vec<f64> = found
                    .streams
                    .iter()
                    .filter(|stream| {
                        let available: Vec<bool> = stream.available.to_data().iter::<bool>().collect();
                        !drops || available[pair / videos.n_videos()]
                    })
                    .map(|stream| floats(&stream.similarity)[pair])
                    .collect();
                let least = counting.iter().copied().fold(f64::MAX, f64::min);
                let most = counting.iter().copied().fold(f64::MIN, f64::max);
                prop_assert!(least - 1e-6 <= fused && fused <= most + 1e-6, "{least} {fused} {most}");
            }
        }
    }

    #[test]
    fn p_ca_3_equal_streams_and_a_single_expert_collapse(
        texts in 1usize..6, videos in 1usize..5, frames in 1usize..6, seed: u64,
    ) {
        let mut draw = Draw::new(seed);
        let (mut texts, videos) = (draw.texts(texts), draw.videos(videos, frames));
        // One expert: the gate is 1, and the score is its cosine.
        let single = CamoeConfig { entity: None, action: None, scene: None, ..camoe_config() };
        let single = draw.shake(single.init(WIDTH, &Device::flex()).unwrap());
        prop_assert!(gate(&single, &videos).iter().all(|&share| share == 1.0));
        let found = similarity(&single, &texts, &videos);
        prop_assert!(largest_difference(&found.fused, &found.streams[0].similarity) <= 1e-6);
        // All streams alike, on both sides.
        let same = CamoeConfig {
            entity: Some(AggregatorConfig::Mean {}),
            action: Some(AggregatorConfig::Mean {}),
            fusion: AggregatorConfig::Mean {},
            ..camoe_config()
        };
        for missing in [Missing::Fallback, Missing::Drop] {
            let head = draw.shake(CamoeConfig { missing, ..same.clone() }.init(WIDTH, &Device::flex()).unwrap());
            for stream in &mut texts.streams {
                stream.pooled = texts.pooled.clone();
            }
            let found = similarity(&head, &texts, &videos);
            prop_assert!(largest_difference(&found.fused, &found.streams[3].similarity) <= 1e-6);
        }
    }

    #[test]
    fn p_ca_4_aggregators_do_not_see_padding(
        videos in 1usize..5, frames in 1usize..6, extra in 1usize..4, exponent in -30f32..30.0, seed: u64,
    ) {
        let mut draw = Draw::new(seed);
        let (texts, given) = (draw.texts(3), draw.videos(videos, frames));
        let more = draw.tensor::<3>([videos, extra, WIDTH]) * 10f32.powf(exponent);
        let masked = mask_tensor(&vec![vec![false; extra]; videos]);
        let mask = Tensor::cat(vec![given.mask.clone(), masked], 1);
        let hidden = given.mask.clone().bool_not().unsqueeze_dim::<3>(2).expand(given.frames.dims());
        // At the border anything may stand there, NaN included.
        for garbage in [f32::NAN, f32::INFINITY, 1e30] {
            let frames = given.frames.clone().mask_fill(hidden.clone(), garbage);
            let padded = videos_of(Tensor::cat(vec![frames, more.clone()], 1), mask.clone());
            for head in [camoe(seed), dropping_camoe(seed)] {
                let drift = largest_difference(&scores(&head, &texts, &padded), &scores(&head, &texts, &given));
                prop_assert!(drift <= 1e-6, "{drift}");
            }
        }
        // And each aggregator by itself, with finite padding.
        for aggregator in aggregators(seed) {
            let frames = Tensor::cat(vec![given.frames.clone(), more.clone().clamp(-1e3, 1e3)], 1);
            let padded = tvr_nn::unit_rows(aggregator.forward(frames, mask.clone()));
            let whole = tvr_nn::unit_rows(aggregator.forward(given.frames.clone(), given.mask.clone()));
            prop_assert!(largest_difference(&padded, &whole) <= 2e-6);
        }
    }

    #[test]
    fn p_ca_4_without_positions_the_order_of_frames_does_not_matter(frames in 2usize..7, seed: u64) {
        let mut draw = Draw::new(seed);
        let videos = draw.videos(3, frames);
        let mut order: Vec<usize> = (0..frames).collect();
        order.sort_by_key(|_| draw.bits());
        let moved = permuted(&videos, &order);
        for aggregator in aggregators(seed).iter().filter(|aggregator| blind_to_order(aggregator)) {
            let there = tvr_nn::unit_rows(aggregator.forward(moved.frames.clone(), moved.mask.clone()));
            let here = tvr_nn::unit_rows(aggregator.forward(videos.frames.clone(), videos.mask.clone()));
            prop_assert!(largest_difference(&there, &here) <= 1e-6);
        }
    }

    #[test]
    fn p_ca_5_a_missing_stream_is_the_caption_or_nothing(videos in 1usize..5, garbage in -1e3f32..1e3, seed: u64) {
        let mut draw = Draw::new(seed);
        let (texts, videos) = (draw.texts(4), draw.videos(videos, 4));
        let absent = |place: usize| texts.streams[place].available.clone().bool_not().unsqueeze_dim::<2>(1);
        let filled = |value: Option<f32>| {
            let mut texts = texts.clone();
            for (place, stream) in texts.streams.iter_mut().enumerate() {
                let absent = absent(place).expand(stream.pooled.dims());
                stream.pooled = match value {
                    Some(value) => stream.pooled.clone().mask_fill(absent, value),
                    None => stream.pooled.clone().mask_where(absent, texts.pooled.clone()),
                };
            }
            texts
        };
        // Fallback: as one whose stream is the whole caption, and marked as there.
        let head = camoe(seed);
        let mut whole = filled(None);
        for stream in &mut whole.streams {
            stream.available = stream.available.clone().bool_or(stream.available.clone().bool_not());
        }
        let found = similarity(&head, &filled(Some(garbage)), &videos);
        let expected = similarity(&head, &whole, &videos);
        found.fused.to_data().assert_eq(&expected.fused.to_data(), true);
        // Drop: no influence at all.
        let head = dropping(seed);
        let expected = similarity(&head, &texts, &videos);
        let found = similarity(&head, &filled(Some(garbage)), &videos);
        found.fused.to_data().assert_eq(&expected.fused.to_data(), true);
        // The two modes differ.
        let drift = largest_difference(&similarity(&camoe(seed), &texts, &videos).fused, &expected.fused);
        prop_assert!(drift > 0.0);
    }
}

#[test]
fn p_ca_4_with_positions_the_order_of_frames_matters() {
    let sees = |seed: u64, place: usize| {
        let aggregator = camoe(seed).experts[place].clone();
        let videos = VideoFeatures::unmasked(Draw::new(seed).tensor([2, 5, WIDTH]));
        let moved = permuted(&videos, &[4, 3, 2, 1, 0]);
        let of = |videos: VideoFeatures| tvr_nn::unit_rows(aggregator.forward(videos.frames, videos.mask));
        largest_difference(&of(moved), &of(videos)) > 1e-4
    };
    for place in [1, 3] {
        assert!((1..20).any(|seed| sees(seed, place)), "expert {place}");
    }
}

#[test]
fn p_ca_2_a_gate_that_shuns_fusion_leaves_a_number() {
    let mut head = dropping(3);
    let bias = Tensor::<1>::from_data([1e4f32, 1e4, 1e4, -1e4], &Device::flex());
    head.gate.layer.bias = Some(burn::module::Param::from_tensor(bias));
    let mut texts = texts_of(Draw::new(4).tensor([1, WIDTH]));
    for stream in &mut texts.streams {
        stream.available = Tensor::from_data([false], &Device::flex());
    }
    let found = similarity(&head, &texts, &Draw::new(5).videos(3, 4));
    assert!(largest_difference(&found.fused, &found.streams[3].similarity) <= 1e-6);
}

#[test]
fn a_fresh_gate_counts_experts_alike_and_a_fresh_attention_is_the_mean() {
    let head = camoe_config().init(WIDTH, &Device::flex()).unwrap();
    let videos = Draw::new(6).videos(3, 4);
    assert!(gate(&head, &videos).iter().all(|share| (share - 0.25).abs() <= 1e-6));
    let mean = head.experts[2].forward(videos.frames.clone(), videos.mask.clone());
    let attended = head.experts[1].forward(videos.frames, videos.mask);
    assert!(largest_difference(&attended, &mean) <= 1e-6);
}

#[test]
fn camoe_names_its_needs_and_refuses_settings_by_name() {
    let needs = camoe(1).needs();
    assert_eq!((needs.streams, needs.max_frames), (vec!["entity", "action", "scene"], Some(MAX_FRAMES)));
    assert_eq!(dropping_camoe(1).streams(), ["entity", "scene", "fusion"]);
    let bare = TextFeatures::pooled(Tensor::ones([1, WIDTH], &Device::flex()));
    assert_eq!(
        refused(camoe(1).needs().check_texts(&bare)),
        "the head needs the text stream \"entity\", but the features carry none"
    );
    let refuse = |entity| {
        let config = CamoeConfig { entity: Some(entity), ..camoe_config() };
        refused(config.init(WIDTH, &Device::flex()).map(|_| ()))
    };
    let excite = |reduction| {
        AggregatorConfig::SqueezeExcite(SqueezeExciteConfig { reduction, over: Default::default() })
    };
    assert_eq!(refuse(excite(0)), "camoe: reduction = 0, but it must be a number above 0");
    assert_eq!(refuse(excite(9)), "camoe: reduction = 9, but it must be at most the width");
    let attention =
        |heads, max_frames| AggregatorConfig::SelfAttention(SelfAttentionConfig { heads, max_frames });
    assert_eq!(refuse(attention(3, None)), "camoe: heads = 3, but it must be a divisor of the width");
    assert_eq!(refuse(attention(0, None)), "camoe: heads = 0, but it must be a number above 0");
    assert_eq!(refuse(attention(2, Some(0))), "camoe: max_frames = 0, but it must be a number above 0");
    assert_eq!(
        refused(camoe_config().init(0, &Device::flex()).map(|_| ())),
        "camoe: width = 0, but it must be a number above 0"
    );
    let config: CamoeConfig =
        serde_json::from_str(r#"{"fusion": {"kind": "mean"}, "entity": {"kind": "squeeze-excite"}}"#)
            .unwrap();
    assert_eq!((config.missing, config.action), (Missing::Fallback, None));
}
