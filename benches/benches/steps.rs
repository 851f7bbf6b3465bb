//! The gradient of a batch: whole, in chunks, and over devices that are parts of one processor; and what ranks exchange.
//!
//! Over two devices each has half of the threads, so the difference to one is what meeting costs, and the copy of the model
//! that each device gets. All kinds of step are run in turns.

mod support;

use std::time::Duration;

use burn::module::{Module, Param};
use burn::nn;
use burn::prelude::*;
use criterion::{Criterion, criterion_group, criterion_main};
use tvr_experiment::collective::{Collective, Single, threads};
use tvr_experiment::corpus::{Corpus, FrameRows, Texts};
use tvr_experiment::model::{Model, TextEncoder, VideoEncoder};
use tvr_experiment::recipe::FrameTokens;
use tvr_experiment::step::{Batch, Way, gradients};
use tvr_experiment::{ExperimentError, in_pool};
use tvr_heads::{SeqTransf, SeqTransfConfig};
use tvr_objectives::{Symmetric, SymmetricConfig};

use support::{Piece, in_turns, measure};

const PAIRS: usize = 96;
const FRAMES: usize = 12;
const WIDTH: usize = 256;

/// Steps of each kind, in turns.
const ROUNDS: usize = 60;

type Built = Model<SeqTransf, Symmetric>;

fn corpus() -> Corpus {
    let wave = |index: usize| (index as f32 * 0.7).sin();
    Corpus {
        video_ids: (0..PAIRS).map(|video| format!("v{video}")).collect(),
        text_ids: (0..PAIRS).map(|text| format!("t{text}")).collect(),
        text_video: (0..PAIRS).collect(),
        queries: (0..PAIRS).collect(),
        frames: FrameRows::Values((0..PAIRS * FRAMES * WIDTH).map(wave).collect()),
        frames_per_video: FRAMES,
        width: WIDTH,
        mask: vec![true; PAIRS * FRAMES],
        texts: Texts::Features { values: (0..PAIRS * WIDTH).map(wave).collect(), width: WIDTH },
        sentences: Vec::new(),
        streams: Vec::new(),
        experts: Vec::new(),
        towers: None,
    }
}

fn model(device: &Device) -> Option<Built> {
    device.seed(1);
    let linear = || nn::LinearConfig::new(WIDTH, WIDTH).with_bias(false).init(device);
    let dropout = || nn::DropoutConfig::new(0.0).init();
    let model = Model {
        text: TextEncoder { tower: None, words: None, projection: Some(linear()), dropout: dropout() },
        video: VideoEncoder {
            tower: None,
            projection: Some(linear()),
            dropout: dropout(),
            unit: false,
            frame_tokens: FrameTokens::Class,
        },
        head: SeqTransfConfig { heads: 4, ..SeqTransfConfig::ours(FRAMES) }.init(WIDTH, device).ok()?,
        objective: SymmetricConfig::ours().init().ok()?,
        logit_scale: Param::from_data([3.0f32], device),
    };
    tvr_nn::touch(&model);
    Some(model)
}

fn step(ranks: &dyn Collective, model: &Built, corpus: &Corpus, chunk: usize) -> Result<(), ExperimentError> {
    let all: Vec<usize> = (0..PAIRS).collect();
    let batch = Batch { texts: all.clone(), videos: all.clone(), text_video: all, shuffle: None };
    let device = Device::flex();
    gradients(model, corpus, &batch, &Way { ranks, chunk, device: &device, random: 0, draws: false })?;
    Ok(())
}

fn devices(criterion: &mut Criterion) {
    tvr_nn::keep_freed_memory();
    let device = Device::flex().autodiff();
    let Some(model) = model(&device) else { return };
    let (device, model, corpus) = (&device, &model, &corpus());
    let patience = Duration::from_secs(60);
    let mut pieces: Vec<Piece<ExperimentError>> = Vec::new();
    for (name, chunk) in [("whole", 0), ("2-chunks", PAIRS / 2), ("4-chunks", PAIRS / 4)] {
        // As the commands run, and ranks: from outside the pool every product would wake one of its threads, and wait.
        let run = move || in_pool(|| step(&Single, model, corpus, chunk));
        pieces.push((format!("steps/{name}/{PAIRS}"), Box::new(run)));
    }
    // The last: as many pairs in memory as in 4 chunks, but each device has its own half of them, on one thread.
    for (name, count, chunk) in
        [("2-devices", 2, 0), ("4-devices", 4, 0), ("2-devices-4-chunks", 2, PAIRS / 8)]
    {
        let run = move || {
            let forks = (0..count).map(|_| model.clone().fork(device)).collect();
            threads::run(forks, None, patience, &mut |_| (), |ranks, model, _| {
                step(ranks, &model, corpus, chunk)
            })
            .map(|_| ())
        };
        pieces.push((format!("steps/{name}/{PAIRS}"), Box::new(run)));
    }
    in_turns(ROUNDS, pieces);
    for numbers in [1 << 16, 1 << 22] {
        measure(criterion, &format!("collective/sum/2x{numbers}"), "tvr", || {
            threads::run(vec![(); 2], None, patience, &mut |_| (), |ranks, (), _| {
                ranks.sum("numbers", vec![1.0; numbers]).map(|sum| sum.len())
            })
        });
    }
}

criterion_group!(benches, devices);
criterion_main!(benches);
