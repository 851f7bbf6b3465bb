//! Support-set: weights, leaks, bank, decoder, and captions told.

mod decoder;
mod state;
mod refusals;

use burn::prelude::*;
use burn::tensor::DType;
use proptest::prelude::*;
use tvr_objectives::support_set::generate::{beam, greedy};
use tvr_objectives::support_set::{Captions, Decoder};
use tvr_objectives::{
    CaptionTokens, ContrastiveConfig, DecoderConfig, HingeConfig, Objective, Pairs, Support, SupportSet,
    SupportSetConfig, SymmetricConfig,
};

use crate::common::{
    Batch, Draw, Rows, VOCABULARY, WIDTH, assert_close, captions, cast, diagonal, floats, indices, matrix,
    scale, small_decoder,
};

const SUPPORTS: [Support; 4] = [Support::Identity, Support::Full, Support::Hybrid, Support::Cross];

fn config(support: Support) -> SupportSetConfig {
    SupportSetConfig { support, decoder: small_decoder(), ..SupportSetConfig::paper() }
}

fn built(config: &SupportSetConfig, seed: u64) -> SupportSet {
    let device = Device::flex();
    let _alone = crate::generator();
    device.seed(seed);
    let objective = config.init(WIDTH, VOCABULARY, &device).unwrap();
    tvr_nn::touch(&objective);
    cast(&objective, DType::F64)
}

fn decoder(seed: u64) -> Decoder {
    built(&config(Support::Full), seed).decoder
}

/// A batch of vectors of its own, of lengths other than 1.
fn batch(seed: u64, texts: usize, videos: usize) -> Batch {
    let mut draw = Draw::new(seed);
    let (of_texts, of_videos) = (draw.scores(texts, WIDTH, 2.0), draw.scores(videos, WIDTH, 2.0));
    let same = draw.same(texts, videos);
    let (of_texts, of_videos) = (matrix(&of_texts), matrix(&of_videos));
    let similarity = of_texts.clone().matmul(of_videos.clone().transpose());
    Batch {
        streams: Vec::new(),
        texts: of_texts,
        videos: of_videos,
        captions: captions(&diagonal(texts), &Device::flex()),
        same: indices(&same),
        scale: scale(1.0),
        video_ids: indices(&(10..10 + videos).collect::<Vec<_>>()),
        similarity,
    }
}

fn same_of(batch: &Batch) -> Vec<usize> {
    batch.same.to_data().iter::<i64>().map(|video| video as usize).collect()
}

/// Weights row by row.
fn weights(objective: &SupportSet, batch: &Batch) -> Rows {
    let weights = objective.told(&batch.pairs()).unwrap().weights;
    let [_, columns] = weights.dims();
    floats(&weights).chunks(columns).map(<[f64]>::to_vec).collect()
}

fn codes(objective: &SupportSet, batch: &Batch) -> Rows {
    let codes = objective.told(&batch.pairs()).unwrap().codes;
    floats(&codes).chunks(WIDTH).map(<[f64]>::to_vec).collect()
}

fn replaced_row(x: &Tensor<2>, row: usize, values: &[f64]) -> Tensor<2> {
    let [_, columns] = x.dims();
    let mut rows: Rows = floats(x).chunks(columns).map(<[f64]>::to_vec).collect();
    rows[row] = values.to_vec();
    matrix(&rows)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn p_ss_1_weights_are_a_distribution_over_the_support(
        texts in 1usize..7, videos in 2usize..6, log_temperature in -2f64..2.0, seed: u64,
    ) {
        let batch = batch(seed, texts, videos);
        let same = same_of(&batch);
        let temperature = 10f64.powf(log_temperature) as f32;
        let of = |support| weights(&built(&SupportSetConfig { temperature, ..config(support) }, 1), &batch);
        for support in SUPPORTS {
            for (text, row) in of(support).iter().enumerate() {
                assert_close(&[row.iter().sum::<f64>()], &[1.0], 1e-6);
                for (video, &weight) in row.iter().enumerate() {
                    prop_assert!(weight >= 0.0);
                    let inside = match support {
                        Support::Identity => video == same[text],
                        Support::Cross => video != same[text],
                        Support::Full | Support::Hybrid => true,
                    };
                    prop_assert!(inside || weight == 0.0);
                }
            }
        }
        let half: Vec<f64> =
            of(Support::Identity).concat().iter().zip(of(Support::Full).concat()).map(|(a, b)| (a + b) / 2.0).collect();
        assert_close(&of(Support::Hybrid).concat(), &half, 1e-12);
    }

    #[test]
    fn p_ss_2_under_cross_a_code_does_not_know_its_video(texts in 2usize..7, videos in 2usize..5, seed: u64) {
        let objective = built(&config(Support::Cross), 1);
        let mut batch = batch(seed, texts, videos);
        let (before, same) = (codes(&objective, &batch), same_of(&batch));
        for video in 0..videos {
            let kept = batch.videos.clone();
            batch.videos = replaced_row(&kept, video, &Draw::new(seed ^ 7).scores(1, WIDTH, 50.0)[0]);
            let after = codes(&objective, &batch);
            for text in 0..texts {
                // Every caption of that video, and no other.
                prop_assert_eq!(before[text] == after[text], same[text] == video);
            }
            batch.videos = kept;
        }
    }

    #[test]
    fn p_ss_2_under_identity_a_code_is_its_video(texts in 1usize..7, videos in 1usize..5, seed: u64) {
        let objective = built(&config(Support::Identity), 1);
        let mut batch = batch(seed, texts, videos);
        let before = codes(&objective, &batch);
        let rows: Rows = floats(&batch.videos).chunks(WIDTH).map(<[f64]>::to_vec).collect();
        for (code, &video) in before.iter().zip(&same_of(&batch)) {
            prop_assert_eq!(code, &rows[video]);
        }
        batch.texts = batch.texts.clone() * -3.0 + 1.0;
        prop_assert_eq!(codes(&objective, &batch), before);
    }

    #[test]
    fn p_ss_3_a_permuted_batch_has_permuted_codes_and_the_same_loss(
        texts in 1usize..7, videos in 2usize..5, seed: u64,
    ) {
        for support in SUPPORTS {
            let objective = built(&config(support), 1);
            let one = batch(seed, texts, videos);
            let [order, places] = [texts, videos].map(|items| Draw::new(seed ^ 3).order(items));
            let pick = |x: &Tensor<2>, order: &[usize]| x.clone().select(0, indices(order));
            let same: Vec<usize> = order
                .iter()
                .map(|&text| places.iter().position(|&from| from == same_of(&one)[text]).unwrap())
                .collect();
            let other = Batch {
        streams: Vec::new(),
                texts: pick(&one.texts, &order),
                videos: pick(&one.videos, &places),
                similarity: pick(&one.similarity, &order).select(1, indices(&places)),
                same: indices(&same),
                captions: captions(&order, &Device::flex()),
                scale: scale(1.0),
                video_ids: one.video_ids.clone().select(0, indices(&places)),
            };
            let (before, after) = (codes(&objective, &one), codes(&objective, &other));
            for (place, &text) in order.iter().enumerate() {
                assert_close(&after[place], &before[text], 1e-9);
            }
            let total = |batch: &Batch| objective.loss(&batch.pairs()).total.into_scalar::<f64>();
            assert_close(&[total(&other)], &[total(&one)], 1e-9);
        }
    }

    #[test]
    fn p_ss_4_the_temperature_goes_from_the_nearest_to_all_alike(
        texts in 1usize..6, videos in 2usize..6, seed: u64,
    ) {
        let batch = batch(seed, texts, videos);
        let same = same_of(&batch);
        let hot = built(&SupportSetConfig { temperature: 1e6, ..config(Support::Cross) }, 1);
        for row in weights(&hot, &batch) {
            for weight in row.into_iter().filter(|&weight| weight > 0.0) {
                assert_close(&[weight], &[1.0 / (videos - 1) as f64], 1e-4);
            }
        }
        let cold = built(&SupportSetConfig { temperature: 1e-3, ..config(Support::Cross) }, 1);
        let unit = |x: &Tensor<2>| -> Rows {
            floats(x)
                .chunks(WIDTH)
                .map(|row| {
                    let length = row.iter().map(|x| x * x).sum::<f64>().sqrt();
                    row.iter().map(|x| x / length).collect()
                })
                .collect()
        };
        let (of_texts, of_videos) = (unit(&batch.texts), unit(&batch.videos));
        for (text, row) in weights(&cold, &batch).iter().enumerate() {
            let cosine = |video: usize| of_texts[text].iter().zip(&of_videos[video]).map(|(a, b)| a * b).sum::<f64>();
            let mut others: Vec<usize> = (0..videos).filter(|&video| video != same[text]).collect();
            others.sort_by(|&a, &b| cosine(b).total_cmp(&cosine(a)));
            if others.len() == 1 || cosine(others[0]) - cosine(others[1]) >= 0.1 {
                assert_close(&[row[others[0]]], &[1.0], 1e-6);
            }
        }
    }

    #[test]
    fn p_ss_7_no_place_sees_its_own_token_or_a_later_one(place in 0usize..5, seed: u64) {
        let decoder = decoder(seed);
        let mut draw = Draw::new(seed);
        let codes = matrix(&draw.scores(3, WIDTH, 1.0));
        let tokens: Vec<usize> = (0..15).map(|_| draw.below(VOCABULARY)).collect();
        let ids = |tokens: &[usize]| indices(tokens).reshape([3, 5]);
        let before = decoder.logits(codes.clone(), ids(&tokens)).slice_dim(1, 0..place + 1);
        let mut changed = tokens.clone();
        for at in (0..15).filter(|at| at % 5 >= place) {
            changed[at] = (changed[at] + 1 + draw.below(VOCABULARY - 1)) % VOCABULARY;
        }
        let logits = decoder.logits(codes.clone(), ids(&changed));
        prop_assert_eq!(floats(&logits.clone().slice_dim(1, 0..place + 1)), floats(&before));
        if place < 4 {
            let later = decoder.logits(codes.clone(), ids(&tokens)).slice_dim(1, place + 1..5);
            prop_assert_ne!(floats(&logits.slice_dim(1, place + 1..5)), floats(&later));
        }
        // The code reaches every place.
        let other = decoder.logits(codes + 1.0, ids(&tokens));
        prop_assert_ne!(floats(&other.slice_dim(1, place..place + 1)), floats(&before.slice_dim(1, place..place + 1)));
    }
}
