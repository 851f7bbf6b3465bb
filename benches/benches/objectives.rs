//! Losses with their gradients: NCL by four sweeps, dual softmax, hinge, one loss for each stream, a weighted sum, and
//! cross-captioning with its decoder.

mod support;

use burn::prelude::*;
use burn::tensor::TensorData;
use criterion::{Criterion, criterion_group, criterion_main};
use tvr_objectives::{
    CaptionTokens, DualSoftmaxConfig, Hinge, HingeConfig, NclConfig, Objective, ObjectiveError, Pairs,
    Stream, StreamsConfig, SupportSetConfig, SymmetricConfig, Term, Weighted,
};

use support::{cosines, measure};

/// CLIP's largest logit scale.
const SCALE: f32 = 100.0;

/// Width of the vectors that captions are told from, and tokens of the vocabulary.
const WIDTH: usize = 512;
const VOCABULARY: usize = 1000;

/// The longest of captions of 6 to 14 tokens.
const TOKENS: usize = 14;

fn objectives(criterion: &mut Criterion) {
    tvr_nn::keep_freed_memory();
    let device = Device::flex().autodiff();
    device.seed(1);
    let built = || -> Result<_, ObjectiveError> {
        Ok((
            NclConfig::reference().init(WIDTH, &device)?,
            DualSoftmaxConfig::reference().init()?,
            SupportSetConfig::paper().init(WIDTH, VOCABULARY, &device)?,
            [HingeConfig::paper().init()?, HingeConfig::reference().init()?],
            StreamsConfig::ours().init(SymmetricConfig::ours().init()?, SymmetricConfig::ours().init()?)?,
        ))
    };
    let Ok((ncl, dual_softmax, support_set, [hinge, hinge_all], streams)) = built() else { return };
    let term = |weight: f32, objective: &Hinge| {
        let name = weight.to_string();
        Term { name, weight, objective: objective.clone() }
    };
    let Ok(weighted) = Weighted::new(vec![term(1.0, &hinge), term(0.5, &hinge_all)]) else { return };
    tvr_nn::touch(&support_set);
    for size in [128, 1024] {
        let batch = Batch::new(size, &device);
        let id = |name: &str| format!("objectives/{name}/{size}x{size}/backward");
        measure(criterion, &id("ncl-4"), "tvr", || batch.backward(&ncl));
        measure(criterion, &id("dual-softmax"), "tvr", || batch.backward(&dual_softmax));
        measure(criterion, &id("hinge"), "tvr", || batch.backward(&hinge));
        measure(criterion, &id("hinge-all"), "tvr", || batch.backward(&hinge_all));
        measure(criterion, &id("streams"), "tvr", || batch.backward(&streams));
        measure(criterion, &id("weighted"), "tvr", || batch.backward(&weighted));
        if size == 128 {
            measure(criterion, &id("support-set-cross"), "tvr", || batch.backward(&support_set));
        }
    }
}

/// Pairs on the diagonal.
struct Batch {
    similarity: Tensor<2>,
    same: Tensor<1, Int>,
    texts: Tensor<2>,
    videos: Tensor<2>,
    captions: CaptionTokens,
    streams: Vec<Stream>,
}

impl Batch {
    fn new(size: usize, device: &Device) -> Self {
        let leaf = |values: Vec<f32>, columns: usize| {
            let data = TensorData::new(values, [size, columns]);
            Tensor::<2>::from_data(data, device).require_grad()
        };
        let vectors = |turn: f32| {
            let values = (0..size * WIDTH).map(|at| (at as f32 * turn).sin() / (WIDTH as f32 / 2.0).sqrt());
            leaf(values.collect(), WIDTH)
        };
        let ids: Vec<i32> =
            (0..size * TOKENS).map(|at| ((at / TOKENS * 7 + at % TOKENS * 13) % VOCABULARY) as i32).collect();
        let mask: Vec<bool> = (0..size * TOKENS).map(|at| at % TOKENS < 6 + at / TOKENS % 9).collect();
        // Each stream but the last lacks every seventh caption.
        let stream = |(number, name): (usize, &'static str)| Stream {
            name,
            similarity: leaf(cosines(size, size).into_raw_vec_and_offset().0, size),
            available: Tensor::from_data(
                TensorData::new((0..size).map(|text| number == 3 || text % 7 != number).collect(), [size]),
                device,
            ),
        };
        let streams = ["entity", "action", "scene", "fusion"].into_iter().enumerate().map(stream).collect();
        Self {
            streams,
            similarity: leaf(cosines(size, size).into_raw_vec_and_offset().0, size),
            same: Tensor::arange(0..size as i64, device),
            texts: vectors(0.37),
            videos: vectors(0.73),
            captions: CaptionTokens {
                ids: Tensor::from_data(TensorData::new(ids, [size, TOKENS]), device),
                mask: Tensor::from_data(TensorData::new(mask, [size, TOKENS]), device),
            },
        }
    }

    fn backward(&self, objective: &impl Objective) -> burn::tensor::Gradients {
        let scale = Tensor::from_data([SCALE], &self.similarity.device());
        let pairs = Pairs {
            texts: Some(&self.texts),
            videos: Some(&self.videos),
            captions: Some(&self.captions),
            video_ids: Some(&self.same),
            streams: &self.streams,
            ..Pairs::new(&self.similarity, scale, &self.same)
        };
        objective.loss(&pairs).total.backward()
    }
}

criterion_group! {
    name = benches;
    config = Criterion::default().sample_size(10).measurement_time(std::time::Duration::from_secs(3));
    targets = objectives
}
criterion_main!(benches);
