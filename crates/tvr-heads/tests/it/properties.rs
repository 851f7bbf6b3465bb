//! What must hold for any input.

mod camoe;
mod experts;
mod features;

use burn::nn::Linear;
use burn::prelude::*;
use proptest::prelude::*;
use tvr_heads::{
    Codes, FrameAdapterConfig, Head, MeanPoolingConfig, Positions, SeqLstmConfig, SeqTransfConfig, TextCodes,
    TextFeatures, TightTransfConfig, Tile, VideoCodes, VideoFeatures, score_all,
};

use crate::common::{
    Draw, MAX_FRAMES, WIDTH, adapted_mean_pooling, adapted_seq_transf, assert_close, conditioned, floats,
    largest_gap, mask_tensor, mean_pooling, refused, scores, seq_lstm, seq_transf, seq_transf_config,
    temporal_conditioned, tight_transf, tight_transf_config, token_wise, xpool,
};

mod emcl;
mod pairwise;

fn largest_difference(a: &Tensor<2>, b: &Tensor<2>) -> f64 {
    largest_gap(&floats(a), &floats(b))
}

fn permuted(videos: &VideoFeatures, order: &[usize]) -> VideoFeatures {
    let frames = order.iter().map(|&frame| videos.frames.clone().slice_dim(1, frame..frame + 1)).collect();
    let masks = order.iter().map(|&frame| videos.mask.clone().slice_dim(1, frame..frame + 1)).collect();
    VideoFeatures::new(Tensor::cat(frames, 1), Tensor::cat(masks, 1))
}

/// The largest difference that two forms of the same videos make.
fn drift<H: Head>(head: &H, texts: &TextFeatures, videos: [&VideoFeatures; 2]) -> f64 {
    largest_difference(&scores(head, texts, videos[0]), &scores(head, texts, videos[1]))
}

/// `code` of a batch padded by `extra` masked frames of size `garbage`, against the batch itself.
fn padding_drift<H: Head>(head: &H, size: [usize; 3], extra: usize, garbage: f32, seed: u64) -> f64 {
    let [n_texts, n_videos, frames] = size;
    let mut draw = Draw::new(seed);
    let (texts, videos) = (draw.texts(n_texts), draw.videos(n_videos, frames));
    let expected = scores(head, &texts, &videos);
    let more = draw.tensor([n_videos, extra, WIDTH]) * garbage;
    let masked = mask_tensor(&vec![vec![false; extra]; n_videos]);
    let padded = VideoFeatures::new(
        Tensor::cat(vec![videos.frames, more], 1),
        Tensor::cat(vec![videos.mask, masked], 1),
    );
    largest_difference(&scores(head, &texts, &padded), &expected)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn p_c4_1_masked_frames_of_any_content_change_nothing(
        texts in 1usize..5, videos in 1usize..5, frames in 1usize..7, extra in 1usize..5,
        exponent in -30f32..30.0, seed: u64,
    ) {
        let (size, garbage) = ([texts, videos, frames], 10f32.powf(exponent));
        let drifts = [
            padding_drift(&mean_pooling(), size, extra, garbage, seed),
            padding_drift(&adapted_mean_pooling(seed), size, extra, garbage, seed),
            padding_drift(&seq_transf(seed), size, extra, garbage, seed),
            padding_drift(&adapted_seq_transf(seed), size, extra, garbage, seed),
            padding_drift(&seq_lstm(seed), size, extra, garbage, seed),
            padding_drift(&tight_transf(seed), size, extra, garbage, seed),
            padding_drift(&conditioned(seed), size, extra, garbage, seed),
            padding_drift(&temporal_conditioned(seed), size, extra, garbage, seed),
            padding_drift(&xpool(seed), size, extra, garbage, seed),
            padding_drift(&token_wise(0, seed), size, extra, garbage, seed),
            padding_drift(&token_wise(2, seed), size, extra, garbage, seed),
        ];
        prop_assert!(drifts.iter().all(|&drift| drift <= 1e-5), "{drifts:?}");
    }

    #[test]
    fn p_c4_1_a_mask_with_gaps_is_the_gathered_frames(frames in 2usize..8, seed: u64) {
        let mut draw = Draw::new(seed);
        let texts = draw.texts(3);
        let all = draw.tensor([1, frames, WIDTH]);
        let mut mask: Vec<bool> = (0..frames).map(|_| draw.uniform() < 0.5).collect();
        let certain = draw.below(frames);
        mask[certain] = true;
        let kept = (0..frames).filter(|&f| mask[f]).map(|f| all.clone().slice_dim(1, f..f + 1)).collect();
        let gathered = VideoFeatures::unmasked(Tensor::cat(kept, 1));
        let gaps = VideoFeatures::new(all, mask_tensor(&[mask]));
        let drifts = [
            // An LSTM skips what is masked, so gaps close for it too.
            drift(&seq_lstm(seed), &texts, [&gaps, &gathered]),
            drift(&mean_pooling(), &texts, [&gaps, &gathered]),
            drift(&adapted_mean_pooling(seed), &texts, [&gaps, &gathered]),
            drift(&conditioned(seed), &texts, [&gaps, &gathered]),
            drift(&xpool(seed), &texts, [&gaps, &gathered]),
            drift(&token_wise(0, seed), &texts, [&gaps, &gathered]),
            drift(&token_wise(2, seed), &texts, [&gaps, &gathered]),
        ];
        prop_assert!(drifts.iter().all(|&drift| drift <= 1e-5), "{drifts:?}");
    }

    #[test]
    fn p_c4_1_heads_without_order_do_not_see_the_order_of_frames(frames in 2usize..8, seed: u64) {
        let mut draw = Draw::new(seed);
        let (texts, videos) = (draw.texts(3), draw.videos(2, frames));
        let mut order: Vec<usize> = (0..frames).collect();
        order.sort_by_cached_key(|_| draw.bits());
        let turned = permuted(&videos, &order);
        let drifts = [
            drift(&mean_pooling(), &texts, [&turned, &videos]),
            drift(&adapted_mean_pooling(seed), &texts, [&turned, &videos]),
            drift(&conditioned(seed), &texts, [&turned, &videos]),
            drift(&xpool(seed), &texts, [&turned, &videos]),
            drift(&token_wise(0, seed), &texts, [&turned, &videos]),
            drift(&token_wise(2, seed), &texts, [&turned, &videos]),
        ];
        prop_assert!(drifts.iter().all(|&drift| drift <= 1e-5), "{drifts:?}");
    }

    #[test]
    fn codes_are_cut_and_joined_without_loss(items in 2usize..9, cut in 1usize..8, steps in 1usize..4, seed: u64) {
        let cut = cut.min(items - 1);
        let mut draw = Draw::new(seed);
        let mask = draw.prefix_mask(items, steps);
        let codes = VideoCodes::new(draw.tensor([items, 3]))
            .with_sequence(draw.tensor([items, steps, 2]), mask_tensor(&mask))
            .with_extra("weights", draw.tensor([items, steps]));
        let joined = Codes::cat(vec![codes.rows(0..cut), codes.rows(cut..items)]).unwrap();
        prop_assert_eq!(joined.n_items(), items);
        joined.pooled.into_data().assert_eq(&codes.pooled.to_data(), true);
        let (found, expected) = (joined.sequence.unwrap(), codes.sequence.clone().unwrap());
        found.features.into_data().assert_eq(&expected.features.to_data(), true);
        found.mask.into_data().assert_eq(&expected.mask.to_data(), true);
        codes.extra("weights").unwrap().to_data().assert_eq(&joined.extras[0].1.to_data(), true);
        let last = Tensor::<1, Int>::from_data([items as i64 - 1], &Device::flex());
        codes.select(&last).pooled.into_data().assert_eq(&codes.rows(items - 1..items).pooled.to_data(), true);
    }
}

fn drift_of_turned_frames<H: Head>(head: &H) -> f64 {
    let mut draw = Draw::new(1);
    let (texts, videos) = (draw.texts(3), VideoFeatures::unmasked(draw.tensor([2, 5, WIDTH])));
    let turned = scores(head, &texts, &permuted(&videos, &[4, 3, 2, 1, 0]));
    largest_difference(&turned, &scores(head, &texts, &videos))
}

#[test]
fn p_c4_1_heads_with_order_see_the_order_of_frames() {
    // A witness is enough: some weights see the order, whichever the generator of the process has drawn.
    assert!((1..20).any(|seed| drift_of_turned_frames(&seq_transf(seed)) > 1e-3));
    assert!((1..20).any(|seed| drift_of_turned_frames(&seq_lstm(seed)) > 1e-3));
    assert!((1..20).any(|seed| drift_of_turned_frames(&tight_transf(seed)) > 1e-3));
    assert!((1..20).any(|seed| drift_of_turned_frames(&temporal_conditioned(seed)) > 1e-3));
}

#[test]
fn codes_of_different_lengths_are_padded_when_joined() {
    let mut draw = Draw::new(2);
    let part = |draw: &mut Draw, steps: usize| {
        let mask = mask_tensor(&vec![vec![true; steps]; 2]);
        TextCodes::new(draw.tensor([2, 3])).with_sequence(draw.tensor([2, steps, 4]), mask)
    };
    let (short, long) = (part(&mut draw, 2), part(&mut draw, 5));
    let joined = TextCodes::cat(vec![short.clone(), long]).unwrap().sequence.unwrap();
    assert_eq!(joined.features.dims(), [4, 5, 4]);
    let mask: Vec<bool> = joined.mask.into_data().iter::<bool>().collect();
    assert_eq!(mask[..10], [true, true, false, false, false, true, true, false, false, false]);
    let kept = joined.features.slice(s![0..2, 0..2, ..]);
    kept.into_data().assert_eq(&short.sequence.clone().unwrap().features.into_data(), true);
    assert_eq!(
        refused(TextCodes::cat(vec![short.clone(), TextCodes::new(short.pooled)])),
        "the parts hold different tensors; codes that are joined must come from one head"
    );
}

#[test]
fn a_fresh_adapter_changes_nothing() {
    let mut draw = Draw::new(3);
    let (texts, videos) = (draw.texts(3), draw.videos(4, 5));
    let device = Device::flex();
    let config = MeanPoolingConfig { adapter: Some(FrameAdapterConfig::ours()) };
    let adapted = scores(&config.init(WIDTH, &device).unwrap(), &texts, &videos);
    assert!(largest_difference(&adapted, &scores(&mean_pooling(), &texts, &videos)) <= 1e-6);
}

#[test]
fn sinusoid_positions_are_waves_of_amplitude_a_tenth() {
    let head = seq_transf_config().init(WIDTH, &Device::flex()).unwrap();
    let positions = floats(&head.positions.val());
    assert_eq!(positions.len(), MAX_FRAMES * WIDTH);
    for frame in 0..MAX_FRAMES {
        for pair in positions[frame * WIDTH..(frame + 1) * WIDTH].chunks(2) {
            assert_close(&[pair[0].hypot(pair[1])], &[0.1], 1e-7);
        }
    }
    // Channel 2 turns by 1 half turn over the frames: sin(pi (f + 1/2) / 12).
    assert_close(&positions[2..3], &[0.1 * (std::f64::consts::PI / 24.0).sin()], 1e-8);
}

#[test]
fn seq_transf_starts_from_a_tower_with_parameters_of_its_own() {
    let device = Device::flex();
    let config = SeqTransfConfig { layers: 2, ..seq_transf_config() };
    let tower = Draw::new(4)
        .shake(SeqTransfConfig { layers: 3, max_frames: 20, ..config.clone() }.init(WIDTH, &device).unwrap());
    let head = config.init(WIDTH, &device).unwrap();
    let head = head.start_from_tower(&tower.positions.val(), &tower.blocks).unwrap();
    assert_eq!(floats(&head.positions.val()), floats(&tower.positions.val())[..MAX_FRAMES * WIDTH]);
    let pairs: [fn(&tvr_nn::Block) -> &Linear; 2] = [|block| &block.query, |block| &block.contract];
    for (ours, theirs) in head.blocks.iter().zip(&tower.blocks) {
        for part in pairs {
            assert_eq!(floats(&part(ours).weight.val()), floats(&part(theirs).weight.val()));
            assert_ne!(part(ours).weight.id, part(theirs).weight.id);
        }
        assert_eq!(floats(&ours.mlp_norm.gamma.val()), floats(&theirs.mlp_norm.gamma.val()));
    }
    // Every part of a block counts: a head that starts from the whole of a twin acts as the twin does.
    let twin = Draw::new(5).shake(config.init(WIDTH, &device).unwrap());
    let head = config.init(WIDTH, &device).unwrap();
    let head = head.start_from_tower(&twin.positions.val(), &twin.blocks).unwrap();
    let VideoFeatures { frames, mask, .. } = Draw::new(6).videos(3, 5);
    let [found, expected] =
        [head, twin].map(|head| floats(&head.contextualise(frames.clone(), mask.clone())));
    assert_eq!(found, expected);
    let short = seq_transf_config().init(WIDTH, &device).unwrap();
    assert_eq!(
        refused(short.start_from_tower(&tower.positions.val().slice_dim(0, 0..5), &tower.blocks)),
        "the table of the tower's positions is [5, 8], but [12, 8] is needed"
    );
}

#[test]
fn tight_transf_starts_from_a_tower_whose_first_position_is_the_text_s() {
    let device = Device::flex();
    let deep = SeqTransfConfig { layers: 3, max_frames: 20, ..seq_transf_config() };
    let tower = Draw::new(5).shake(deep.init(WIDTH, &device).unwrap());
    let head = tight_transf_config().init(WIDTH, &device).unwrap();
    let head = head.start_from_tower(&tower.positions.val(), &tower.blocks).unwrap();
    assert_eq!(floats(&head.positions.val()), floats(&tower.positions.val())[..(1 + MAX_FRAMES) * WIDTH]);
    assert_eq!(head.blocks.len(), 2);
    for (ours, theirs) in head.blocks.iter().zip(&tower.blocks) {
        let parts: [fn(&tvr_nn::Block) -> &Linear; 2] = [|block| &block.value, |block| &block.expand];
        for part in parts {
            assert_eq!(floats(&part(ours).weight.val()), floats(&part(theirs).weight.val()));
            assert_ne!(part(ours).weight.id, part(theirs).weight.id);
        }
        assert_eq!(floats(&ours.attention_norm.beta.val()), floats(&theirs.attention_norm.beta.val()));
    }
    let short = tight_transf_config().init(WIDTH, &device).unwrap();
    assert_eq!(
        refused(short.start_from_tower(&tower.positions.val().slice_dim(0, 0..MAX_FRAMES), &tower.blocks)),
        "the table of the tower's positions is [12, 8], but [13, 8] is needed"
    );
}

/// A temporal transformer inside another head starts as one that is a head, and acts as the tower does.
#[test]
fn temporal_parts_start_from_a_tower_with_its_activation() {
    let device = Device::flex();
    let config = SeqTransfConfig { layers: 3, max_frames: 20, ..seq_transf_config() };
    let mut tower = Draw::new(6).shake(config.init(WIDTH, &device).unwrap());
    tower.blocks.iter_mut().for_each(|block| block.set_activation(tvr_nn::Activation::Gelu));
    let start = (tower.positions.val(), tower.blocks.clone());
    let check = |temporal: &tvr_heads::SeqTransf| {
        let positions = floats(&tower.positions.val())[..MAX_FRAMES * WIDTH].to_vec();
        assert_eq!(floats(&temporal.positions.val()), positions);
        for (ours, theirs) in temporal.blocks.iter().zip(&tower.blocks) {
            assert_eq!(floats(&ours.expand.weight.val()), floats(&theirs.expand.weight.val()));
            assert_eq!(ours.activation(), tvr_nn::Activation::Gelu);
        }
    };
    let conditioned = crate::common::temporal_conditioned(1).start_from_tower(&start.0, &start.1).unwrap();
    check(conditioned.frames.temporal.as_ref().unwrap());
    let temporal = Some(seq_transf_config());
    let token_wise = tvr_heads::TokenWiseConfig { temporal, ..tvr_heads::TokenWiseConfig::ours(1) };
    let token_wise = token_wise.init(WIDTH, &device).unwrap().start_from_tower(&start.0, &start.1).unwrap();
    check(token_wise.frames.temporal.as_ref().unwrap());
    let camoe = crate::common::camoe(1).start_from_tower(&start.0, &start.1).unwrap();
    let Some(tvr_heads::camoe::aggregators::Aggregator::SeqTransf(fusion)) = camoe.experts.last() else {
        panic!("the fusion is a temporal transformer")
    };
    check(fusion);
    assert_eq!(crate::common::camoe_config().block_heads(), [seq_transf_config().heads]);
    let shallow = crate::common::temporal_conditioned(1).start_from_tower(&start.0, &start.1[..1]);
    assert!(refused(shallow).starts_with("the depth of the tower is"), "a tower that is too shallow");
}

#[test]
fn normal_positions_have_a_deviation_of_a_hundredth() {
    let config = SeqTransfConfig { positions: Positions::Normal, max_frames: 200, ..seq_transf_config() };
    let positions = floats(&config.init(WIDTH, &Device::flex()).unwrap().positions.val());
    let deviation = (positions.iter().map(|x| x * x).sum::<f64>() / positions.len() as f64).sqrt();
    assert_close(&[deviation], &[0.01], 1e-3); // 1,600 numbers: 6 standard errors
}

#[test]
fn settings_outside_their_domain_are_refused_by_name() {
    let device = Device::flex();
    let config = seq_transf_config();
    let refuse = |config: SeqTransfConfig| refused(config.init(WIDTH, &device).map(|_| ()));
    assert_eq!(
        refuse(SeqTransfConfig { layers: 0, ..config.clone() }),
        "seq-transf: layers = 0, but it must be a number above 0"
    );
    assert_eq!(
        refuse(SeqTransfConfig { max_frames: 0, ..config.clone() }),
        "seq-transf: max_frames = 0, but it must be a number above 0"
    );
    assert_eq!(
        refuse(SeqTransfConfig { epsilon: f64::NAN, ..config.clone() }),
        "seq-transf: epsilon = NaN, but it must be a number above 0"
    );
    assert_eq!(
        refuse(SeqTransfConfig { heads: 3, ..config.clone() }),
        "seq-transf: block: width = 8 is not a multiple of heads = 3"
    );
    assert_eq!(
        refuse(SeqTransfConfig { adapter: Some(FrameAdapterConfig { hidden_factor: 0 }), ..config }),
        "frame-adapter: hidden_factor = 0, but it must be a number above 0"
    );
    let config = TightTransfConfig { dropout: 1.0, ..tight_transf_config() };
    assert_eq!(
        refused(config.init(WIDTH, &device).map(|_| ())),
        "tight-transf: dropout = 1, but it must be at least 0 and below 1"
    );
    assert_eq!(
        refused(SeqLstmConfig::reference().init(0, &device).map(|_| ())),
        "seq-lstm: width = 0, but it must be a number above 0"
    );
    assert_eq!(
        refused(MeanPoolingConfig::reference().init(0, &device).map(|_| ())),
        "mean-pooling: width = 0, but it must be a number above 0"
    );
    let (head, mut draw) = (mean_pooling(), Draw::new(5));
    let (texts, videos) = (head.code_texts(draw.texts(1)), head.code_videos(draw.videos(1, 1)));
    assert_eq!(
        refused(score_all(&head, &texts, &videos, Tile { texts: 0, videos: 1 })),
        "tiles: texts = 0, but it must be a number above 0"
    );
}

#[test]
fn recipes_name_settings_in_kebab_case_and_unknown_keys_are_refused() {
    let config: SeqTransfConfig = serde_json::from_str(
        r#"{"layers": 2, "heads": 4, "max_frames": 12, "positions": "normal", "adapter": {}}"#,
    )
    .unwrap();
    assert_eq!(config.positions, Positions::Normal);
    assert_eq!(config.adapter, Some(FrameAdapterConfig { hidden_factor: 2 }));
    let error = serde_json::from_str::<MeanPoolingConfig>(r#"{"adaptor": null}"#).unwrap_err();
    assert!(error.to_string().contains("unknown field `adaptor`"), "{error}");
}
