//! The host of feature experts: missing experts, their order, their weights.

use burn::module::Param;
use burn::nn::{DropoutConfig, Linear};
use burn::prelude::*;
use proptest::prelude::*;
use tvr_heads::experts::mmt::{Transformer, TransformerConfig};
use tvr_heads::experts::{ExpertInput, MissingExpert, Mixing};
use tvr_heads::{Experts, ExpertsConfig, Head, VideoFeatures};

use super::largest_difference;
use crate::common::{
    Draw, WIDTH, expert_inputs, experts, experts_config, floats, gated_experts, largest_gap, mixed_experts,
    refused, scores, videos_of,
};

fn transformer() -> TransformerConfig {
    TransformerConfig { layers: 1, heads: 2, hidden: 8, dropout: 0.0, positions: 3 }
}

/// Other values in the second expert of the videos that lack it; true where the video lacks it.
fn disturbed(videos: &VideoFeatures, value: f32) -> VideoFeatures {
    let mut disturbed = videos.clone();
    let audio = &mut disturbed.experts[1];
    let hidden = audio.mask.clone().bool_not().unsqueeze_dim::<3>(2).expand(audio.features.dims());
    audio.features = audio.features.clone().mask_fill(hidden, value);
    disturbed
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn p_ca_9_a_missing_expert_has_no_influence(
        texts in 1usize..4, videos in 2usize..5, steps in 1usize..5, value: f32, seed: u64,
    ) {
        let mut draw = Draw::new(seed);
        let (texts, videos) = (draw.texts(texts), draw.videos(videos, steps));
        let (n_texts, n_videos) = (texts.n_texts(), videos.n_videos());
        for head in [experts(seed), gated_experts(seed), mixed_experts(seed)] {
            // Whatever stands in its features, NaN too.
            let expected = scores(&head, &texts, &videos).to_data();
            for value in [value, f32::NAN] {
                scores(&head, &texts, &disturbed(&videos, value)).to_data().assert_eq(&expected, true);
            }
            // Whatever the text says to it.
            let mut deaf = head.clone();
            deaf.text[1] = draw.shake(deaf.text[1].clone());
            let (here, there) = (floats(&scores(&head, &texts, &videos)), floats(&scores(&deaf, &texts, &videos)));
            for pair in (0..n_texts * n_videos).filter(|pair| pair % n_videos % 2 == 1) {
                prop_assert_eq!(here[pair].to_bits(), there[pair].to_bits());
            }
            // The weights of the others sum to 1: with one expert left the score is its cosine.
            if head.project.len() == 2 {
                let (text_codes, codes) = (head.code_texts(texts.clone()), head.code_videos(videos.clone()));
                let vectors = |steps: &Tensor<3>| {
                    let [items, _, width] = steps.dims();
                    steps.clone().slice_dim(1, 0..1).reshape([items, width])
                };
                let cosine = vectors(&text_codes.steps().features)
                    .matmul(vectors(&codes.steps().features).transpose());
                let (cosine, fused) = (floats(&cosine), floats(&head.similarity(&text_codes, &codes).fused));
                for pair in (0..n_texts * n_videos).filter(|pair| pair % n_videos % 2 == 1) {
                    prop_assert!((cosine[pair] - fused[pair]).abs() <= 1e-6);
                }
            }
        }
    }

    #[test]
    fn p_ca_7_experts_permuted_with_their_parameters_leave_the_similarity(steps in 1usize..5, seed: u64) {
        let mut draw = Draw::new(seed);
        let (texts, videos) = (draw.texts(3), draw.videos(4, steps));
        for mixing in [Mixing::None {}, Mixing::Gating {}, Mixing::Transformer(transformer())] {
            let config = experts_config(mixing);
            let head = draw.shake(config.init(WIDTH, &Device::flex()).unwrap());
            let turned = ExpertsConfig { experts: expert_inputs().into_iter().rev().collect(), ..config };
            let mut turned = turned.init(WIDTH, &Device::flex()).unwrap();
            turned.gating = head.gating.clone();
            turned.transformer = head.transformer.clone();
            if let Some(transformer) = &mut turned.transformer {
                let types = transformer.types.val();
                let row = |row: usize| types.clone().slice_dim(0, row..row + 1);
                transformer.types = Param::from_tensor(Tensor::cat(vec![row(0), row(2), row(1)], 0));
            }
            turned.project = head.project.iter().rev().cloned().collect();
            turned.text = head.text.iter().rev().cloned().collect();
            let flipped = |x: Tensor<2>| x.flip([1]);
            let bias = head.weights.bias.as_ref().unwrap().val();
            turned.weights = Linear {
                weight: Param::from_tensor(flipped(head.weights.weight.val())),
                bias: Some(Param::from_tensor(bias.flip([0]))),
            };
            let drift = largest_difference(&scores(&turned, &texts, &videos), &scores(&head, &texts, &videos));
            prop_assert!(drift <= 1e-6, "{drift}");
        }
    }
}

/// MMT's released settings keep the weight of an expert that a video lacks, and compare what the network makes of
/// nothing: the property fails there, as it must.
#[test]
fn p_ca_9_fails_with_the_reference_s_kept_weights() {
    let mut draw = Draw::new(7);
    let (texts, videos) = (draw.texts(3), draw.videos(4, 3));
    for missing in [MissingExpert::Keep, MissingExpert::Equal] {
        let config = ExpertsConfig { missing, ..experts_config(Mixing::None {}) };
        let head: Experts = draw.shake(config.init(WIDTH, &Device::flex()).unwrap());
        let mut deaf = head.clone();
        deaf.text[1] = draw.shake(deaf.text[1].clone());
        let (here, there) =
            (floats(&scores(&head, &texts, &videos)), floats(&scores(&deaf, &texts, &videos)));
        assert!((here[1] - there[1]).abs() > 1e-4, "{missing:?}");
    }
}

#[test]
fn the_text_weighs_experts_unless_they_are_equal() {
    let mut draw = Draw::new(8);
    let (texts, videos) = (draw.texts(2), draw.videos(3, 2));
    let layer = experts(9).weights; // of three experts
    let weights = |missing| {
        let config = ExpertsConfig { missing, frames: true, ..experts_config(Mixing::None {}) };
        let mut head = config.init(WIDTH, &Device::flex()).unwrap();
        head.weights = layer.clone();
        assert!(scores(&head, &texts, &videos).dims() == [2, 3]);
        floats(head.code_texts(texts.clone()).extra("weights").unwrap())
    };
    assert_eq!(weights(MissingExpert::Equal), [1.0; 6]);
    for text in weights(MissingExpert::Drop).chunks(3) {
        assert!((text.iter().sum::<f64>() - 1.0).abs() <= 1e-6 && text[0] != text[1], "{text:?}");
    }
    // What is kept for a missing expert is the text's weight.
    assert_eq!(weights(MissingExpert::Keep), weights(MissingExpert::Drop));
}

/// How far what training makes of videos is from what evaluation does.
fn dropped(head: &Experts) -> f64 {
    let videos = Draw::new(10).videos(6, 3);
    let expected = floats(&head.code_videos(videos.clone()).steps().features);
    let mask = videos.mask.to_device(&Device::flex().autodiff());
    let codes = head.clone().train().code_videos(videos_of(Tensor::from_inner(videos.frames), mask));
    largest_gap(&floats(&codes.steps().features.clone().inner()), &expected)
}

/// Each of the four places is left alone in turn, by weights or settings that make the others idle.
#[test]
fn training_drops_at_every_place_and_evaluation_at_none() {
    let device = Device::flex();
    let config = TransformerConfig { dropout: 0.5, ..transformer() };
    let head = experts_config(Mixing::Transformer(config)).init(WIDTH, &device).unwrap();
    let layer = |weight: Tensor<2>, bias: Tensor<1>| Linear {
        weight: Param::from_tensor(weight),
        bias: Some(Param::from_tensor(bias)),
    };
    let (numbers, nothing) = (Draw::new(11).tensor::<1>([6]), Tensor::<1>::zeros([6], &device));
    let constant = |bias: &Tensor<1>| layer(Tensor::zeros([6, 6], &device), bias.clone());
    let silent = || DropoutConfig::new(0.0).init();
    let alone = |idle: &dyn Fn(&mut Transformer)| {
        let mut head = head.clone();
        idle(head.transformer.as_mut().unwrap());
        dropped(&head)
    };
    let no_perceptron = |parts: &mut Transformer| {
        parts.dropout = silent();
        parts.encoder[0].contract = layer(Tensor::zeros([8, 6], &device), nothing.clone());
    };
    let drifts = [
        ("input", alone(&|parts| parts.encoder[0].dropout = silent())),
        (
            // All values are alike, and the output takes them off: nothing is heard unless a weight is dropped.
            "attention's weights",
            alone(&|parts| {
                no_perceptron(parts);
                parts.encoder[0].value = constant(&numbers);
                parts.encoder[0].output = layer(Tensor::eye(6, &device), -numbers.clone());
            }),
        ),
        (
            "what is heard",
            alone(&|parts| {
                no_perceptron(parts);
                parts.encoder[0].value = constant(&nothing);
                parts.encoder[0].output = constant(&numbers);
            }),
        ),
        (
            "the perceptron",
            alone(&|parts| {
                parts.dropout = silent();
                parts.encoder[0].output = constant(&nothing);
            }),
        ),
    ];
    for (place, drift) in drifts {
        assert!(drift > 1e-3, "nothing is dropped of {place}: {drift}");
    }
    let none = |parts: &mut Transformer| (parts.dropout, parts.encoder[0].dropout) = (silent(), silent());
    assert!(alone(&none) <= 1e-6);
}

#[test]
fn experts_name_their_needs_and_refuse_settings_by_name() {
    let needs = experts(1).needs();
    assert_eq!((needs.frames, needs.experts), (true, expert_inputs()));
    assert!(!gated_experts(1).needs().frames);
    let plain = VideoFeatures::unmasked(Tensor::ones([1, 2, WIDTH], &Device::flex()));
    assert_eq!(
        refused(experts(1).needs().check_videos(&plain)),
        "the head needs the expert \"motion\", but the features carry none"
    );
    let mut wide = Draw::new(1).videos(2, 3);
    wide.experts[1].features = wide.experts[1].features.clone().repeat_dim(2, 2);
    assert_eq!(
        refused(experts(1).needs().check_videos(&wide)),
        "the expert \"audio\" is 6 wide, but the head was made for 3; set its width to 6"
    );
    let refuse = |config: ExpertsConfig| refused(config.init(WIDTH, &Device::flex()).map(|_| ()));
    let none = || experts_config(Mixing::None {});
    assert_eq!(
        refuse(ExpertsConfig { width: 0, ..none() }),
        "experts: width = 0, but it must be a number above 0"
    );
    assert_eq!(
        refuse(ExpertsConfig { experts: vec![], ..none() }),
        "experts: number of experts = 0, but it must be a number above 0"
    );
    let twice = vec![ExpertInput { name: "audio".into(), width: 3 }; 2];
    assert_eq!(
        refuse(ExpertsConfig { experts: twice, ..none() }),
        "experts: \"audio\" is listed twice; list it once"
    );
    let empty = vec![ExpertInput { name: "audio".into(), width: 0 }];
    assert_eq!(
        refuse(ExpertsConfig { experts: empty, ..none() }),
        "experts: experts.width = 0, but it must be a number above 0"
    );
    let mixed = |config| refuse(experts_config(Mixing::Transformer(config)));
    assert_eq!(
        mixed(TransformerConfig { heads: 4, ..transformer() }),
        "experts: heads = 4, but it must be a divisor of the width"
    );
    assert_eq!(
        mixed(TransformerConfig { dropout: 1.0, ..transformer() }),
        "experts: dropout = 1, but it must be at least 0 and below 1"
    );
    assert_eq!(
        mixed(TransformerConfig { layers: 0, ..transformer() }),
        "experts: layers = 0, but it must be a number above 0"
    );
}
