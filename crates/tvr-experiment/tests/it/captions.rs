//! Captions told by the support-set's decoder say something of their video.

use burn::optim::{AdamWConfig, GradientsParams};
use burn::prelude::*;
use tvr_data::{Split, World, world::FRAMES};
use tvr_metrics::{bleu, cider};
use tvr_objectives::support_set::generate::{beam, greedy};
use tvr_objectives::{CaptionTokens, DecoderConfig, Objective, Pairs, Support, SupportSetConfig};

/// Cells of a side, and values of a video: the mean of each cell's colours over its frames.
const CELLS: usize = 8;
const WIDTH: usize = CELLS * CELLS * 3;
const TRAIN: usize = 600;
const JUDGED: usize = 100;
const CAPTIONS: usize = 5;
const BATCH: usize = 64;
const STEPS: usize = 240;

fn feature(world: &World, split: Split, video: usize) -> Vec<f32> {
    let clip = world.clip(split, video);
    let side = tvr_data::world::SIDE;
    let mut cells = vec![0f32; WIDTH];
    for (place, &byte) in clip.frames.iter().enumerate() {
        let (y, x, channel) = (place / 3 / side % side, place / 3 % side, place % 3);
        let cell = (y * CELLS / side) * CELLS + x * CELLS / side;
        cells[cell * 3 + channel] += f32::from(byte) / 255.0;
    }
    assert!(clip.length <= FRAMES);
    let share = (clip.length * side * side / (CELLS * CELLS)) as f32;
    cells.iter().map(|sum| 4.0 * (sum / share - 0.5)).collect()
}

fn sentences(world: &World, split: Split, videos: usize) -> Vec<Vec<String>> {
    (0..videos)
        .map(|video| (0..CAPTIONS).map(|number| world.caption(split, video, number).text()).collect())
        .collect()
}

fn matrix(rows: &[&Vec<f32>], device: &Device) -> Tensor<2> {
    let values: Vec<f32> = rows.iter().flat_map(|row| row.iter().copied()).collect();
    Tensor::from_data(TensorData::new(values, [rows.len(), WIDTH]), device)
}

/// The same decoder, once with each video's own vector and once with another video's.
#[test]
fn told_captions_beat_those_of_the_same_decoder_on_shuffled_videos() {
    let _alone = crate::run::generator();
    let (world, device) = (World::default(), Device::flex());
    let training = device.clone().autodiff();
    let train: Vec<Vec<f32>> = (0..TRAIN).map(|video| feature(&world, Split::Train, video)).collect();
    let train_sentences = sentences(&world, Split::Train, TRAIN);
    let mut words: Vec<&str> = train_sentences.iter().flatten().flat_map(|text| text.split(' ')).collect();
    words.sort_unstable();
    words.dedup();
    let end = words.len() as u32;
    let tokens = |text: &str| -> Vec<i32> {
        let known = text.split(' ').filter_map(|word| words.binary_search(&word).ok());
        known.map(|word| word as i32).chain([end as i32]).collect()
    };

    training.seed(5);
    let decoder = DecoderConfig { layers: 2, width: 64, heads: 4, prefix: 2, max_tokens: 20 };
    let config = SupportSetConfig { support: Support::Identity, decoder, ..SupportSetConfig::paper() };
    let mut objective = config.init(WIDTH, words.len() + 1, &training).unwrap();
    tvr_nn::touch(&objective);
    let mut adam = AdamWConfig::new().init();
    let mut losses = Vec::new();
    for step in 0..STEPS {
        let mut random = tvr_data::stream(5, "captions", step as u64);
        let mut videos: Vec<usize> = Vec::new();
        while videos.len() < BATCH {
            let video = random.below(TRAIN as u64) as usize;
            if !videos.contains(&video) {
                videos.push(video);
            }
        }
        let rows: Vec<Vec<i32>> = videos
            .iter()
            .map(|&video| tokens(&train_sentences[video][random.below(CAPTIONS as u64) as usize]))
            .collect();
        let longest = rows.iter().map(Vec::len).max().unwrap();
        let mask: Vec<bool> = rows.iter().flat_map(|row| (0..longest).map(|at| at < row.len())).collect();
        let ids: Vec<i32> =
            rows.iter().flat_map(|row| (0..longest).map(|at| row.get(at).copied().unwrap_or(0))).collect();
        let captions = CaptionTokens {
            ids: Tensor::from_data(TensorData::new(ids, [BATCH, longest]), &training),
            mask: Tensor::from_data(TensorData::new(mask, [BATCH, longest]), &training),
        };
        let vectors = matrix(&videos.iter().map(|&video| &train[video]).collect::<Vec<_>>(), &training);
        let similarity = Tensor::<2>::zeros([BATCH, BATCH], &training);
        let same = Tensor::<1, Int>::arange(0..BATCH as i64, &training);
        let pairs = Pairs {
            texts: Some(&vectors),
            videos: Some(&vectors),
            captions: Some(&captions),
            video_ids: Some(&same),
            ..Pairs::new(&similarity, Tensor::from_data([1f32], &training), &same)
        };
        pairs.check(&objective.needs()).unwrap();
        let loss = objective.loss(&pairs);
        losses.push(loss.parts[1].1.clone().into_scalar::<f32>());
        let gradients = GradientsParams::from_grads(loss.total.backward(), &objective);
        objective = adam.step(3e-3, objective, gradients);
    }
    assert!(losses[STEPS - 1] < 0.5 * losses[0], "{} to {}", losses[0], losses[STEPS - 1]);

    let decoder = objective.decoder.valid();
    let judged: Vec<Vec<f32>> = (0..JUDGED).map(|video| feature(&world, Split::Val, video)).collect();
    let references = sentences(&world, Split::Val, JUDGED);
    let own = matrix(&judged.iter().collect::<Vec<_>>(), &device);
    let others =
        matrix(&(0..JUDGED).map(|video| &judged[(video + 37) % JUDGED]).collect::<Vec<_>>(), &device);
    let told = |captions: Vec<Vec<u32>>| -> [f64; 2] {
        let captions: Vec<String> = captions
            .iter()
            .map(|caption| {
                let words: Vec<&str> =
                    caption.iter().filter_map(|&word| words.get(word as usize)).copied().collect();
                words.join(" ")
            })
            .collect();
        [bleu(&captions, &references).unwrap().bleu_4(), cider(&captions, &references).unwrap().mean]
    };
    for width in [1, 3] {
        let scores = |codes: &Tensor<2>| {
            told(
                if width == 1 { greedy(&decoder, codes, end) } else { beam(&decoder, codes, end, width) }
                    .unwrap(),
            )
        };
        let ([own_bleu, own_cider], [bleu, cider]) = (scores(&own), scores(&others));
        println!(
            "beam {width}: BLEU-4 {own_bleu:.3} against {bleu:.3}, CIDEr {own_cider:.3} against {cider:.3}"
        );
        assert!(own_bleu > bleu && own_cider > 1.2 * cider, "{own_bleu} {bleu} {own_cider} {cider}");
    }
}
