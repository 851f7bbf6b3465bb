//! Support-set in a run: the same gradient in any number of parts, and a decoder that no evaluation sees.

use std::path::Path;

use burn::module::Param;
use burn::nn;
use burn::prelude::*;
use tvr_data::Split;
use tvr_experiment::corpus::{Corpus, Texts};
use tvr_experiment::evaluate::{self, Splits};
use tvr_experiment::model::{Model, TextEncoder, VideoEncoder};
use tvr_experiment::recipe::FrameTokens;
use tvr_experiment::sources::Sources;
use tvr_experiment::step::{after_step, gradients};
use tvr_experiment::{Recipe, Surroundings, plan};
use tvr_heads::{MeanPooling, MeanPoolingConfig};
use tvr_objectives::{DecoderConfig, Support, SupportSet, SupportSetConfig, SymmetricConfig};

use crate::step::{WIDTH, batch, check_on, corpus, earlier, way};

const WORDS: usize = 20;

fn config(support: Support, bank: usize) -> SupportSetConfig {
    let decoder = DecoderConfig { layers: 1, width: 8, heads: 2, ..DecoderConfig::ours() };
    SupportSetConfig { support, bank, decoder, ..SupportSetConfig::paper() }
}

/// A model on words: embeddings of six numbers, frames of `frame_width`.
fn model(
    config: &SupportSetConfig,
    words: usize,
    frame_width: usize,
    device: &Device,
) -> Model<MeanPooling, SupportSet> {
    device.seed(12);
    let linear = |input| nn::LinearConfig::new(input, WIDTH).with_bias(false).init(device);
    let dropout = || nn::DropoutConfig::new(0.0).init();
    let model = Model {
        text: TextEncoder {
            tower: None,
            words: Some(nn::EmbeddingConfig::new(words, 6).init(device)),
            projection: Some(linear(6)),
            dropout: dropout(),
        },
        video: VideoEncoder {
            tower: None,
            projection: Some(linear(frame_width)),
            dropout: dropout(),
            unit: false,
            frame_tokens: FrameTokens::Class,
        },
        head: MeanPoolingConfig::reference().init(WIDTH, device).unwrap(),
        objective: config.init(WIDTH, words, device).unwrap(),
        logit_scale: Param::from_data([2.0f32], device),
    };
    tvr_nn::touch(&model);
    model
}

/// The small corpus with captions of four to six tokens.
fn words(videos: usize) -> Corpus {
    let last = WORDS as u32 - 1;
    let caption = |text: u32| -> Vec<u32> {
        let words = (0..2 + text % 3).map(|place| 3 + (text * 5 + place * 7) % (last - 3));
        std::iter::once(0).chain(words).chain([last]).collect()
    };
    Corpus { texts: Texts::Tokens((0..2 * videos as u32).map(caption).collect()), ..corpus(videos) }
}

#[test]
fn chunks_leave_the_gradient_of_cross_captioning_and_of_its_bank() {
    let _alone = crate::run::generator();
    let device = Device::flex().autodiff();
    for (support, bank) in [
        (Support::Identity, 0),
        (Support::Full, 0),
        (Support::Hybrid, 0),
        (Support::Cross, 0),
        (Support::Cross, 4),
        (Support::Full, 32),
    ] {
        let mut model = model(&config(support, bank), WORDS, 5, &device);
        if bank > 0 {
            let (_, _, seen) =
                gradients(&model, &words(12), &earlier(), &way(3, &Device::flex(), 5)).unwrap();
            after_step(&mut model, &seen);
            assert!(model.objective.bank.as_ref().unwrap().n_items() > 0);
        }
        let judged = gradients(&model, &words(6), &batch(), &way(0, &Device::flex(), 5)).unwrap().1;
        let caption = judged.parts.iter().find(|(name, _)| name == "caption").unwrap().1;
        assert!(caption > 0.1, "captions take no part: {caption}");
        check_on(&model, &words(6), &format!("support-set, {support:?}, bank {bank}"));
    }
}

#[test]
fn p_ss_8_similarities_and_ranks_do_not_see_the_decoder() {
    let _alone = crate::run::generator();
    let folder = tempfile::tempdir().unwrap();
    crate::made_up::write(&folder.path().join("data"), 24, 8, 8);
    let text = crate::run::RECIPE
        .replace("DATA", folder.path().join("data").to_str().unwrap())
        .replace("kind = \"projection\"", "kind = \"words\"")
        .replace("kind = \"symmetric\"", "kind = \"support-set\"")
        .replace("width = 16", "width = 8");
    let recipe = Recipe::parse(&text).unwrap();
    let surroundings = Surroundings {
        runs: folder.path().join("runs"),
        cache: folder.path().join("cache"),
        device: "flex".into(),
    };
    let plan = plan(&recipe, Path::new("x.toml"), &surroundings).unwrap();
    let [train, val] =
        [Split::Train, Split::Val].map(|split| Corpus::open(&plan, split, &Sources::default()).unwrap());
    let vocabulary = plan.offer.vocabulary.unwrap();
    let device = Device::flex().autodiff();
    let one = model(&config(Support::Cross, 4), vocabulary, val.width, &device);
    // Another decoder behind the same weights, and none at all.
    let mut other = one.clone();
    device.seed(99);
    other.objective = config(Support::Cross, 4).init(WIDTH, vocabulary, &device).unwrap();
    tvr_nn::touch(&other);
    let embedding =
        |model: &Model<MeanPooling, SupportSet>| model.objective.decoder.embedding.val().into_data();
    assert_ne!(embedding(&one), embedding(&other));
    let bare = Model {
        text: one.text.clone(),
        video: one.video.clone(),
        head: one.head.clone(),
        objective: SymmetricConfig::ours().init().unwrap(),
        logit_scale: one.logit_scale.clone(),
    };
    let splits = Splits { judged: &val, train: &train };
    let settled = evaluate::settled(&one, splits, &plan).unwrap();
    let sources = Sources::default();
    let judged = evaluate::judged(&one, splits, &plan, &sources, &settled).unwrap();
    for found in [
        evaluate::judged(&other, splits, &plan, &sources, &settled).unwrap(),
        evaluate::judged(&bare, splits, &plan, &sources, &settled).unwrap(),
    ] {
        assert_ne!(found.told, judged.told);
        assert_eq!(found.logits, judged.logits);
        for (found, expected) in found.rows.iter().zip(&judged.rows) {
            assert_eq!(found.judgement.text_to_video.ranks, expected.judgement.text_to_video.ranks);
            assert_eq!(found.judgement.video_to_text.ranks, expected.judgement.video_to_text.ranks);
        }
    }
}
